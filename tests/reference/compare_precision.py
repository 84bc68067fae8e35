"""What a precision costs: a program runs in f32 and in another one, on the same model and pictures.

    python3 compare_precision.py detect --program build/examples/aaclip-detect -- \
        --model clip.safetensors --adapters text_adapter.pth ... --class nut photos/
    python3 compare_precision.py evaluate --program build/examples/aaclip-evaluate -- \
        --model clip.safetensors --adapters text_adapter.pth ... --data-root data
    python3 compare_precision.py train --precision bf16 --program build/examples/aaclip-train -- \
        --model clip.safetensors --manifest train.jsonl --data-root data ...

`detect` correlates the anomaly maps and compares the scores, `evaluate` compares AUROC, `train` the
losses. What stands behind -- goes to the program. Ends with 1 when a map correlates less than
--correlation, when a mean AUROC moves by more than --points hundredths, or when a stage's mean loss
differs by more than --loss percent. `--precision f32 --second=--backend --second=blas` has another
backend in the second run: what rounding alone changes.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

AUROC = ("pixel_auroc", "image_auroc", "raw_image_auroc")


def run(program, arguments, *more):
    command = [program, *arguments, *map(str, more)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(f"FAILED: {' '.join(command)}: {result.returncode}: {result.stderr}")


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def detect(program, arguments, folder):
    """{name: (map, score)}"""
    run(program, arguments, "--out", folder, "--raw", "--json", folder / "result.json")
    results, times = {}, Counter()
    for image in read_json(folder / "result.json")["images"]:
        stem = Path(image["path"]).stem
        times[stem] += 1  # pictures of one name are told apart by a number
        name = stem if times[stem] == 1 else f"{stem}-{times[stem]}"
        results[name] = np.load(folder / f"{name}_map.npy"), image["score"]
    return results


def compare_maps(options, exact, other):
    correlations, differences = [], []
    for name, (values, score) in exact.items():
        found, found_score = other[name]
        correlations.append(np.corrcoef(values.ravel(), found.ravel())[0, 1])
        differences.append(abs(found_score - score))
        reach = np.abs(found - values).max() / np.ptp(values)
        print(f"{name}: correlation {correlations[-1]:.6f}, largest difference {reach:.4f} of the "
              f"map's range, score {score:.6f} and {found_score:.6f}")  # fmt: skip
    print(f"{len(exact)} maps: correlation least {np.min(correlations):.6f}, median "
          f"{np.median(correlations):.6f}; score differs by at most {max(differences):.1e}")  # fmt: skip
    return all(found >= options.correlation for found in correlations)  # never true of NaN


def evaluate(program, arguments, folder):
    """The rows of all classes and their mean."""
    run(program, arguments, "--json", folder / "metrics.json")
    result = read_json(folder / "metrics.json")["checkpoints"][0]
    return [*result["classes"], result["mean"]]


def moved_by(row, found, name):
    """In hundredths; None where neither has it: without masks, or with one label."""
    if row[name] is None and found[name] is None:
        return None
    return 100 * (found[name] - row[name]) if None not in (row[name], found[name]) else np.nan


def compare_auroc(options, exact, other):
    for row, found in zip(exact, other):
        for name in AUROC:
            moved = moved_by(row, found, name)
            if moved is not None:
                pair = [np.nan if of[name] is None else 100 * of[name] for of in (row, found)]
                print(f"{row['class']:16} {name:16} {pair[0]:8.3f} {pair[1]:8.3f} {moved:+.3f}")
    moves = [moved_by(exact[-1], other[-1], name) for name in AUROC]
    moves = [abs(moved) for moved in moves if moved is not None]
    print(f"mean AUROC moves by at most {np.max(moves or [np.nan]):.3f} points")
    return bool(moves) and all(moved <= options.points for moved in moves)


def train(program, arguments, folder):
    """{stage: losses of its steps}"""
    run(program, arguments, "--save-path", folder, "--log", folder / "log.jsonl")
    losses = {}
    for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines():
        step = json.loads(line)
        losses.setdefault(step["stage"], []).append(step["loss"])
    return losses


def compare_losses(options, exact, other):
    moves = []
    for stage, losses in exact.items():
        losses, found = np.array(losses), np.array(other[stage])
        parts = zip(*(np.array_split(values, min(10, len(values))) for values in (losses, found)))
        for first, second in parts:
            print(f"stage {stage}: mean loss {first.mean():.5f} {second.mean():.5f} "
                  f"{100 * (second.mean() / first.mean() - 1):+.3f} %")  # fmt: skip
        each = 100 * np.abs(found - losses) / losses
        moved = 100 * (found.mean() / losses.mean() - 1)
        print(f"stage {stage}, {len(losses)} steps: mean loss {losses.mean():.5f} {found.mean():.5f} "
              f"{moved:+.3f} %, a step {np.median(each):.3f} % in the median")  # fmt: skip
        moves.append(abs(moved))
    return all(moved <= options.loss for moved in moves)


KINDS = {
    "detect": (detect, compare_maps),
    "evaluate": (evaluate, compare_auroc),
    "train": (train, compare_losses),
}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=KINDS)
    parser.add_argument("--program", required=True)
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--correlation", type=float, default=0.999)
    parser.add_argument("--points", type=float, default=0.2)
    parser.add_argument("--loss", type=float, default=1)
    parser.add_argument(
        "--second", action="append", default=[], help="argument of the second run alone; repeatable"
    )
    parser.add_argument("arguments", nargs="+", metavar="ARGUMENT", help="of the program")
    options = parser.parse_args()
    measure, compare = KINDS[options.what]
    runs = {"first": ["--precision", "f32"], "second": ["--precision", options.precision]}
    runs["second"] += options.second
    results = []
    with tempfile.TemporaryDirectory() as made:
        for name, own in runs.items():
            folder = Path(made) / name
            folder.mkdir()
            results.append(measure(options.program, [*own, *options.arguments], folder))
    return 0 if compare(options, *results) else 1


if __name__ == "__main__":
    sys.exit(main())
