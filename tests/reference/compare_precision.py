"""What a precision costs: a program runs in f32 and in another one, on the same model and pictures.

    python3 compare_precision.py detect --program build/examples/aaclip-detect -- \
        --model clip.safetensors --adapters text_adapter.pth ... --class nut photos/
    python3 compare_precision.py evaluate --program build/examples/aaclip-evaluate -- \
        --model clip.safetensors --adapters text_adapter.pth ... --data-root data

`detect` correlates the anomaly maps and compares the scores, `evaluate` compares AUROC. What stands
behind -- goes to the program. Ends with 1 when a map correlates less than --correlation, or when a
mean AUROC moves by more than --points hundredths.
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


def run(program, precision, arguments, *more):
    command = [program, "--precision", precision, *arguments, *map(str, more)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(f"FAILED: {' '.join(command)}: {result.returncode}: {result.stderr}")


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def detect(program, precision, arguments, folder):
    """{name: (map, score)}"""
    run(program, precision, arguments, "--out", folder, "--raw", "--json", folder / "result.json")
    results, times = {}, Counter()
    for image in read_json(folder / "result.json")["images"]:
        stem = Path(image["path"]).stem
        times[stem] += 1  # pictures of one name are told apart by a number
        name = stem if times[stem] == 1 else f"{stem}-{times[stem]}"
        results[name] = np.load(folder / f"{name}_map.npy"), image["score"]
    return results


def compare_maps(options, folders):
    exact, other = (
        detect(options.program, precision, options.arguments, folder)
        for precision, folder in folders.items()
    )
    correlations, differences = [], []
    for name, (values, score) in exact.items():
        found, found_score = other[name]
        correlations.append(np.corrcoef(values.ravel(), found.ravel())[0, 1])
        differences.append(abs(found_score - score))
        reach = np.abs(found - values).max() / np.ptp(values)
        print(f"{name}: correlation {correlations[-1]:.6f}, largest difference {reach:.4f} of the "
              f"map's range, score {score:.6f} and {found_score:.6f}")  # fmt: skip
    print(f"{len(exact)} maps: correlation least {min(correlations):.6f}, median "
          f"{np.median(correlations):.6f}; score differs by at most {max(differences):.1e}")  # fmt: skip
    return min(correlations) >= options.correlation


def evaluate(program, precision, arguments, folder):
    """The rows of all classes and their mean."""
    run(program, precision, arguments, "--json", folder / "metrics.json")
    result = read_json(folder / "metrics.json")["checkpoints"][0]
    return [*result["classes"], result["mean"]]


def compare_auroc(options, folders):
    exact, other = (
        evaluate(options.program, precision, options.arguments, folder)
        for precision, folder in folders.items()
    )
    for row, found in zip(exact, other):
        for name in AUROC:
            moved = 100 * (found[name] - row[name])
            print(f"{row['class']:16} {name:16} {100 * row[name]:8.3f} {100 * found[name]:8.3f} "
                  f"{moved:+.3f}")  # fmt: skip
    moves = [100 * abs(other[-1][name] - exact[-1][name]) for name in AUROC]
    print(f"mean AUROC moves by at most {max(moves):.3f} points")
    return max(moves) <= options.points


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("detect", "evaluate"))
    parser.add_argument("--program", required=True)
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--correlation", type=float, default=0.999)
    parser.add_argument("--points", type=float, default=0.2)
    parser.add_argument("arguments", nargs="+", metavar="ARGUMENT", help="of the program")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folders = {name: Path(made) / name for name in ("f32", options.precision)}
        for folder in folders.values():
            folder.mkdir()
        compare = compare_maps if options.what == "detect" else compare_auroc
        return 0 if compare(options, folders) else 1


if __name__ == "__main__":
    sys.exit(main())
