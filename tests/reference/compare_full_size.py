"""Compares what aaclip-detect wrote for one image with the PyTorch model, at full size.

    aaclip-detect --model clip --json result.json --out maps --raw ... image.png
    python3 compare_full_size.py --checkpoint clip --image image.png --adapters ckpt \\
        --vocabulary bpe_simple_vocab_16e6.txt.gz --prompts prompts.json --phrase "metal nut" \\
        --profile published --domain Industrial --raw maps/image_map.npy --json result.json

Prints max|a - b| / max|b| for each output that is given; exit status 1 if one exceeds --tolerance.
"""

import argparse
import os
import sys
import time

import numpy
import torch
from PIL import Image

import checkpoint_layouts as layouts
from aaclip_torch import (
    DOMAIN_BLUR,
    PROFILES,
    anomaly_map,
    blurred_grid,
    image_score,
    similarity,
)
from tokenizer import Tokenizer, read_prompts

# Where the program's JSON holds the score: keys and list positions, separated by dots.
SCORE_KEY = "images.0.score"


def class_pair(model, tokenizer, prompts, phrase):
    """[normal, abnormal] (2, E)."""
    rows = [[tokenizer.encode(p) for p in side] for side in read_prompts(prompts, phrase)]
    return torch.stack([model.class_vector(model.encode_text(side)) for side in rows])


def look_up(value, path):
    for key in path.split("."):
        value = value[int(key)] if isinstance(value, list) else value[key]
    return value


def expected_outputs(model, pair, image, image_size, domain):
    """
    Name -> tensor: map (S, S), score (), text.pair (2, E), det_token (E) and, with levels counted
    in blocks, seg_tokens.LEVEL (G * G, E).
    """
    picture = Image.open(image).convert("RGB").resize((image_size, image_size), Image.BICUBIC)
    seg, det = model.encode_image(model.normalise(picture))
    grids = [blurred_grid(similarity(s, pair), domain) for s in seg]
    outputs = {
        "map": anomaly_map(grids, image_size)[0],
        "score": image_score(det, pair)[0],
        "text.pair": pair,
        "det_token": det[0],
    }
    for level, tokens in zip(model.levels, seg):
        outputs[f"seg_tokens.{level}"] = tokens[0]
    return outputs


def read_array(path):
    return torch.from_numpy(numpy.load(path))


def read_features(folder):
    """Name -> tensor of every .npy."""
    files = [file for file in os.listdir(folder) if file.endswith(".npy")]
    return {file.removesuffix(".npy"): read_array(os.path.join(folder, file)) for file in files}


def program_outputs(arguments):
    """The same names, those that the program's files hold."""
    outputs = {}
    if arguments.features:
        outputs.update(read_features(arguments.features))
    if arguments.raw:
        outputs["map"] = read_array(arguments.raw)
    if arguments.json:
        score = look_up(layouts.read_json(arguments.json), arguments.score_key)
        outputs["score"] = torch.tensor(float(score))
    return outputs


def compare(found, expected):
    """max|a - b| / max|b|, infinite where shapes differ or a value is not finite."""
    found = found.double().squeeze()
    expected = expected.double().squeeze()
    if found.shape != expected.shape or not torch.isfinite(found).all():
        return float("inf")
    return ((found - expected).abs().max() / expected.abs().max()).item()


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--checkpoint", required=True, help="file or folder of any layout")
    parser.add_argument("--adapters", help="folder of text_adapter.pth and image_adapter_N.pth")
    parser.add_argument("--image", required=True)
    parser.add_argument("--vocabulary", required=True, help="bpe_simple_vocab_16e6.txt.gz")
    parser.add_argument("--prompts", required=True, help="JSON: normal, abnormal, templates")
    parser.add_argument("--phrase", required=True, help="what {} stands for")
    parser.add_argument("--profile", choices=PROFILES, default="document")
    parser.add_argument("--domain", choices=DOMAIN_BLUR, default="Industrial")
    parser.add_argument("--image-size", type=int, default=518)
    parser.add_argument("--raw", help="the program's map, .npy")
    parser.add_argument("--json", help="the program's result")
    parser.add_argument("--score-key", default=SCORE_KEY, help=f"path in it [{SCORE_KEY}]")
    parser.add_argument("--features", help="folder that tests/slow/write_features.c filled")
    parser.add_argument("--tolerance", type=float, default=1e-4)
    parser.add_argument("--save", help="also write PyTorch's outputs, .safetensors")
    parser.add_argument("--double", action="store_true", help="compute in double precision")
    arguments = parser.parse_args()
    if not (arguments.raw or arguments.json or arguments.features or arguments.save):
        parser.error("nothing to do: give --raw, --json, --features or --save")
    return arguments


def main():
    arguments = parse_arguments()
    start = time.monotonic()
    with torch.no_grad():
        model = layouts.load_model(arguments.checkpoint, arguments.adapters, arguments.profile)
        if arguments.double:
            model.double()
        tokenizer = Tokenizer(arguments.vocabulary, model.clip.shape.vocabulary)
        pair = class_pair(model, tokenizer, arguments.prompts, arguments.phrase)
        expected = expected_outputs(
            model, pair, arguments.image, arguments.image_size, arguments.domain
        )
    print(f"PyTorch: score {expected['score'].item():.6f}, {time.monotonic() - start:.1f} s")
    if arguments.save:
        layouts.write_safetensors(arguments.save, expected)
    found = program_outputs(arguments)
    failed = False
    for name, tensor in found.items():
        error = compare(tensor, expected[name])
        failed |= not error <= arguments.tolerance
        print(f"{name}: {error:.2e}{'' if error <= arguments.tolerance else '  FAILED'}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
