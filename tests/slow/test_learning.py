"""Training both stages on drawn defects finds defects on a class that it never saw.

    python3 test_learning.py aaclip-train aaclip-detect [--seed N] [--profile P] [--keep FOLDER]

Draws make_defects.py's pictures, makes a small CLIP with random weights and adapters, trains them
on four classes and looks at the fifth, leather, before and after: pixel AUROC against the masks.
Leather must rise by MARGIN and reach LEAST, and the losses of both stages must fall.

Every class is called "object": a text tower with random weights knows no words, so what is learnt
of "wood" says nothing of "leather". That needs a real CLIP; what is tested here is that what
defects look like carries over.

One thread, so that the numbers do not depend on the machine's processors. Needs PyTorch, NumPy and
Pillow, and about three minutes. --keep leaves pictures, checkpoints and overlays in a folder.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS / "reference"))
try:
    import numpy
    from PIL import Image

    from make_checkpoints import CONFIGS, write_adapters, write_layouts
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

VOCABULARY = TESTS / "golden" / "text" / "small.txt.gz"
SHAPE = replace(CONFIGS["tiny"], vocabulary=512 + 500 + 2)
IMAGE_SIZE = 224
CLASS = "object"

# Few good pictures: "nothing anywhere" answers those without fault, and is a place to get stuck.
GOOD, DEFECTIVE = 4, 36

# Rates for a tiny model: a hundred times and twice the defaults.
TEXT = ["--text-epoch", 2, "--text-batch-size", 4, "--text-lr", 1e-3]
IMAGE = ["--image-epoch", 8, "--image-lr", 1e-3]

MARGIN = 0.2
LEAST = 0.8
# The last epoch's loss over the first one's; the published stage 1 looks at the last level alone.
FALL = {
    "document": {"text": 0.97, "image": 0.9},
    "published": {"text": 0.985, "image": 0.9},
}


def call(*command):
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)


def read_lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def draw_pictures(folder):
    """Makes data/{train,test}.jsonl; the rows of the second."""
    data = folder / "data"
    call(
        sys.executable, TESTS / "reference" / "make_defects.py", "--output", data,
        "--size", IMAGE_SIZE, "--train", GOOD, DEFECTIVE,
    )  # fmt: skip
    for name in ("train.jsonl", "test.jsonl"):
        rows = [{**row, "class_name": CLASS} for row in read_lines(data / name)]
        (data / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return rows


def auroc(values, positive):
    """Chance that a positive has the larger value of a pair; half of it where they are equal."""
    _, group, sizes = numpy.unique(values, return_inverse=True, return_counts=True)
    ranks = (numpy.cumsum(sizes) - (sizes - 1) / 2)[group]
    positives = int(positive.sum())
    pairs = positives * (positive.size - positives)
    return (ranks[positive].sum() - positives * (positives + 1) / 2) / pairs


def read_mask(data, row):
    if not row["label"]:
        return numpy.zeros((IMAGE_SIZE, IMAGE_SIZE), dtype=bool)
    return numpy.asarray(Image.open(data / row["mask_path"])) != 0


def map_names(rows):
    """As aaclip-detect names them: pictures of one name are told apart by a number."""
    count = {}
    for row in rows:
        stem = Path(row["image_path"]).stem
        count[stem] = count.get(stem, 0) + 1
        yield f"{stem}{'' if count[stem] == 1 else f'-{count[stem]}'}_map.npy"


class Setting:
    def __init__(self, folder, arguments):
        self.folder, self.arguments = folder, arguments
        self.rows = draw_pictures(folder)
        seed, profile = arguments.seed, arguments.profile
        (self.model,) = write_layouts(str(folder), SHAPE, seed, ["torchscript"], "quick_gelu")
        write_adapters(folder / "initial", SHAPE, profile, seed, optimizer=False, epoch=0)
        self.initial = sorted((folder / "initial").iterdir())

    def model_options(self):
        return ["--model", self.model, "--vocab", VOCABULARY, "--threads", 1]


def detect(setting, adapters, name):
    """Pixel AUROC on the pictures of the class held out."""
    data, out = setting.folder / "data", setting.folder / name
    call(
        setting.arguments.detect, *setting.model_options(), "--class", CLASS,
        "--image-size", IMAGE_SIZE, "--out", out, "--raw",
        *(word for adapter in adapters for word in ("--adapters", adapter)),
        *(data / row["image_path"] for row in setting.rows),
    )  # fmt: skip
    maps = numpy.stack([numpy.load(out / file) for file in map_names(setting.rows)])
    masks = numpy.stack([read_mask(data, row) for row in setting.rows])
    return auroc(maps.ravel(), masks.ravel())


def train(setting):
    """Files of the trained adapters."""
    data, out = setting.folder / "data", setting.folder / "trained"
    call(
        setting.arguments.train, *setting.model_options(), "--img-size", IMAGE_SIZE,
        *(word for adapter in setting.initial for word in ("--init", adapter)),
        "--manifest", data / "train.jsonl", "--data-root", data, "--seed", setting.arguments.seed,
        *TEXT, *IMAGE, "--save-path", out, "--log", setting.folder / "log.jsonl",
    )  # fmt: skip
    return [out / "text_adapter.pth", out / "image_adapter_latest.pth"]


def epoch_losses(setting, stage):
    """Means of the first and the last epoch."""
    rows = [row for row in read_lines(setting.folder / "log.jsonl") if row["stage"] == stage]
    ends = (1, rows[-1]["epoch"])
    return [numpy.mean([row["loss"] for row in rows if row["epoch"] == e]) for e in ends]


def run(setting):
    """How many checks failed."""
    plain = detect(setting, [], "plain")
    before = detect(setting, setting.initial, "before")
    after = detect(setting, train(setting), "after")
    checks = []
    for stage, most in FALL[setting.arguments.profile].items():
        first, last = epoch_losses(setting, stage)
        checks.append((last <= most * first, f"{stage} loss {first:.3f} -> {last:.3f}"))
    words = f"pixel AUROC {before:.3f} -> {after:.3f} (CLIP without adapters: {plain:.3f})"
    checks.append((after >= before + MARGIN and after >= LEAST, words))
    for passed, words in checks:
        print(f"{'ok' if passed else 'FAILED'}: {words}")
    return sum(not passed for passed, _ in checks)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("train")
    parser.add_argument("detect")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--profile", choices=("document", "published"), default="document")
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    arguments = parser.parse_args()
    if arguments.keep:
        arguments.keep.mkdir(parents=True)
        place = nullcontext(arguments.keep)
    else:
        place = tempfile.TemporaryDirectory(prefix="aaclip-slow-")
    with place as folder:
        sys.exit(1 if run(Setting(Path(folder), arguments)) else 0)


if __name__ == "__main__":
    main()
