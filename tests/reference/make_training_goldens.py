"""Makes tests/golden/train: a tiny data set, and what training on it must come to.

Seven pictures of two classes in manifest.jsonl, and for each profile and stage a folder with what
aaclip_train.py makes of 20 steps from the adapters of tests/golden/nano, in double precision:
losses.json, the adapters after the last step with Adam's state, and the gradients of the first
step. The batches do not divide the epoch: its last one is smaller. Under "float32_error"
losses.json tells how far the same training strays in float32, as compare_training.py counts it: a
floor for tolerances.
"""

import argparse
import os
import tempfile

import numpy
from PIL import Image

import aaclip_train
import compare_training
from make_defects import make_picture, write_manifest

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden")
NANO = os.path.join(GOLDEN, "nano")

# Class, defect, width and height: the network's square distorts most of them.
PICTURES = [
    ("wood", "good", 104, 96),
    ("metal_nut", "scratch", 104, 104),
    ("wood", "hole", 90, 104),
    ("metal_nut", "good", 104, 104),
    ("wood", "stain", 100, 100),
    ("metal_nut", "hole", 112, 100),
    ("wood", "crack", 120, 84),
]

# Adam divides by the size of a gradient: a weight whose first ones nearly vanish follows their
# rounding. With these pictures there is none; with some others float32 strays a hundred times more.
SEED = 1200

IMAGE_SIZE = 112  # 8 x 8 patches, where the checkpoint was trained with 6 x 6
STEPS = 20

# Stage -> batch size, learning rate. The text's is ten times its default, so that change shows.
STAGES = {"text": (4, 1e-4), "image": (2, 5e-4)}


def cut(array, width, height):
    """The middle of a square."""
    top, left = (len(array) - height) // 2, (len(array) - width) // 2
    return Image.fromarray(numpy.ascontiguousarray(array[top : top + height, left : left + width]))


def write_pictures(folder):
    os.makedirs(os.path.join(folder, "images"), exist_ok=True)
    rows = []
    for number, (class_name, kind, width, height) in enumerate(PICTURES):
        rgb, mask = make_picture(class_name, kind, max(width, height), SEED + number)
        row = {"image_path": f"images/{number}-{class_name}-{kind}.png"}
        row.update(label=int(kind != "good"), class_name=class_name)
        cut(rgb, width, height).save(os.path.join(folder, row["image_path"]), optimize=True)
        if kind != "good":
            row["mask_path"] = f"images/{number}-{class_name}-{kind}_mask.png"
            small = cut(mask.astype(numpy.uint8) * 255, width, height)
            assert numpy.asarray(small).any(), row
            small.save(os.path.join(folder, row["mask_path"]), optimize=True)
        rows.append(row)
    write_manifest(os.path.join(folder, "manifest.jsonl"), rows)


def train(folder, profile, stage, output, *more):
    """(options, steps)"""
    batch_size, learning_rate = STAGES[stage]
    options = aaclip_train.parse_arguments(
        [
            "--stage", stage, "--profile", profile, "--dataset", "MVTec",
            "--checkpoint", os.path.join(NANO, "clip.pt"),
            "--adapters-folder", os.path.join(NANO, f"adapters-{profile}"),
            "--vocabulary", os.path.join(NANO, "bpe_simple_vocab_16e6.txt.gz"),
            "--manifest", os.path.join(folder, "manifest.jsonl"), "--data-root", folder,
            "--image-size", str(IMAGE_SIZE), "--steps", str(STEPS),
            "--batch-size", str(batch_size), "--lr", str(learning_rate),
            "--output", output, *more,
        ]
    )  # fmt: skip
    return options, aaclip_train.run(options)


def adapter_file(folder):
    (file,) = (name for name in os.listdir(folder) if name.endswith(".pth"))
    return os.path.join(folder, file)


def float32_error(folder, profile, stage, output, steps):
    """The worst of the losses and of the adapters."""
    initial = "text_adapter.pth" if stage == "text" else "image_adapter_20.pth"
    with tempfile.TemporaryDirectory() as scratch:
        _, single = train(folder, profile, stage, scratch)
        files = (
            adapter_file(scratch),
            adapter_file(output),
            os.path.join(NANO, f"adapters-{profile}", initial),
        )
        adapters = compare_training.adapter_errors(*map(compare_training.read_adapter, files))
    log = {step["step"]: compare_training.expected_losses(step) for step in single}
    losses = compare_training.loss_errors(log, steps)
    worst = {"losses": max(error for error, _ in losses.values())}
    worst["adapters"] = max(adapters.values())
    return {name: float(f"{error:.1e}") for name, error in worst.items()}


def make_run(folder, profile, stage):
    output = os.path.join(folder, f"{profile}-{stage}")
    gradients = os.path.join(output, "gradients.safetensors")
    os.makedirs(output, exist_ok=True)
    options, steps = train(folder, profile, stage, output, "--double", "--gradients", gradients)
    floor = float32_error(folder, profile, stage, output, steps)
    aaclip_train.write_losses(
        os.path.join(output, "losses.json"),
        steps,
        settings=aaclip_train.settings(options),
        float32_error=floor,
    )
    print(
        f"{profile}-{stage}: loss {steps[0]['loss']:.6f} -> {steps[-1]['loss']:.6f}, "
        f"float32 strays {floor['losses']:.1e} (losses), {floor['adapters']:.1e} (adapters)"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--output", default=os.path.join(GOLDEN, "train"), metavar="FOLDER")
    output = parser.parse_args().output
    write_pictures(output)
    for profile in ("document", "published"):
        for stage in STAGES:
            make_run(output, profile, stage)


if __name__ == "__main__":
    main()
