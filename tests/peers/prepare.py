"""Makes, once, what all peers work on: weights, picture, prompts, and the two networks as ONNX.

    python3 prepare.py SETTINGS.json

Everything goes to settings["work"]; what is there already stays. `done.json` is written last.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy
import torch
from PIL import Image

import network
from make_checkpoints import CONFIGS, random_clip, write_adapters
from tokenizer import Tokenizer, read_prompts
from worker import class_pair

TESTS = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS / "slow"))

from test_full_size import make_vocabulary  # noqa: E402

PHRASE = "metal nut"
SEED = 11
STEPS = 100  # of an epoch; its first step waits for its pictures


def write_model(work, shape, convert):
    """fp16: PyTorch's file, and the library's safetensors of it."""
    torch.save(random_clip(shape, SEED), work / "clip.pt")
    write_adapters(work / "adapters", shape, network.PROFILE, SEED, optimizer=False)
    subprocess.run(
        [convert, "--model", work / "clip.pt", "--f16", "--out", work / "clip.safetensors"],
        check=True,
    )


def draw_picture(size):
    """(S, S, 3) u8: smooth, with a spot and noise, so that no value is special."""
    y, x = numpy.mgrid[0:size, 0:size] / size
    waves = numpy.stack([numpy.sin((3 + c) * x * 6 + (2 + c) * y * 5) for c in range(3)], -1)
    spot = numpy.exp(-((x - 0.6) ** 2 + (y - 0.4) ** 2) / 0.01)[..., None]
    noise = numpy.random.default_rng(SEED).normal(0, 6, (size, size, 3))
    return (128 + 70 * waves - 90 * spot + noise).clip(0, 255).astype(numpy.uint8)


def write_pictures(work, size):
    rgb = draw_picture(size)
    numpy.save(work / "picture.npy", rgb)
    Image.fromarray(rgb).save(work / "picture.png")
    mask = numpy.zeros((size, size), numpy.uint8)
    mask[:, size // 2 :] = 255
    Image.fromarray(mask).save(work / "mask.png")
    rows = [
        {"image_path": "picture.png", "label": 0, "class_name": "nut"},
        {"image_path": "picture.png", "label": 1, "class_name": "nut", "mask_path": "mask.png"},
    ] * STEPS
    (work / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_vocabulary(path, shape):
    """The tests' small one where it fits, else one as large as CLIP's."""
    if shape.vocabulary == CONFIGS["nano"].vocabulary:
        path.write_bytes((TESTS / "golden" / "text" / "small.txt.gz").read_bytes())
    else:
        make_vocabulary(path)


def write_prompts(work, shape):
    """ids (P, L), the normal ones first; their number."""
    write_vocabulary(work / "vocabulary.txt.gz", shape)
    tokenizer = Tokenizer(work / "vocabulary.txt.gz", shape.vocabulary)
    sides = read_prompts(network.REFERENCE / f"prompts-{network.PROFILE}.json", PHRASE)
    rows = [tokenizer.encode(prompt) for side in sides for prompt in side]
    ids = numpy.zeros((len(rows), max(map(len, rows))), numpy.int64)
    for row, values in zip(ids, rows):
        row[: len(values)] = values
    numpy.save(work / "ids.npy", ids)
    return len(sides[0])


def export(module, example, path):
    with torch.no_grad():
        program = torch.onnx.export(module, (example,), dynamo=True, verbose=False)
    program.save(str(path), external_data=True)


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        settings = json.load(file)
    work, shape = Path(settings["work"]), CONFIGS[settings["config"]]
    work.mkdir(parents=True, exist_ok=True)
    size = settings["image_size"]
    write_model(work, shape, settings["convert"])
    write_pictures(work, size)
    normal_count = write_prompts(work, shape)
    model = network.load(work / "clip.pt", work / "adapters").requires_grad_(False)
    ids = torch.from_numpy(numpy.load(work / "ids.npy"))
    prompts = network.Prompts(model).eval()
    with torch.no_grad():
        pair = class_pair(prompts(ids).numpy(), normal_count)
    numpy.save(work / "pair.npy", pair.astype(numpy.float32))
    if settings["device"] == "cpu":
        export(prompts, ids, work / "text.onnx")
        detection = network.Detection(model, torch.from_numpy(pair).float(), size).eval()
        export(detection, torch.from_numpy(numpy.load(work / "picture.npy")), work / "detect.onnx")
    done = {
        "config": settings["config"], "image_size": size, "device": settings["device"],
        "normal_count": normal_count,
    }  # fmt: skip
    (work / "done.json").write_text(json.dumps(done))


if __name__ == "__main__":
    main()
