#!/usr/bin/env python3
"""Makes tests/golden/images/augment: what torchvision makes of noise with given parameters.

Needs Pillow, NumPy, PyTorch and torchvision.
Usage: make_augment_goldens.py <folder>

pillow.txt   one case a line, transforms on Pillow images (the document profile):
             width height size resized angle crop_x crop_y flip_horizontal flip_vertical count
             {kind factor} CRC-32 of the RGB bytes, CRC-32 of the mask's 0 and 1
tensor.txt   the same, colours first and geometry on normalised tensors (the published profile),
             without rotation; shift_x shift_y instead of crop_x crop_y
rotated.bin  with rotation: int32 width height size shift_x shift_y flip_horizontal flip_vertical,
             float64 angle, then RGB bytes and mask
Case number n is drawn on noise(width * height * 3, n); its mask is noise(width * height, n + 1) > 199.
"""
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)
COLOURS = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation)
NEAREST, BICUBIC = InterpolationMode.NEAREST, InterpolationMode.BICUBIC


def noise(count, seed):
    """The bytes of fill_noise in tests/unit/images/golden.c."""
    x = (np.arange(count, dtype=np.uint64) + seed) * 2654435761 & 0xFFFFFFFF
    x ^= x >> 15
    x = x * 2246822519 & 0xFFFFFFFF
    x ^= x >> 13
    return (x >> 16 & 0xFF).astype(np.uint8)


def inputs(width, height, number):
    image = Image.fromarray(noise(width * height * 3, number).reshape(height, width, 3))
    mask = (noise(width * height, number + 1) > 199).astype(np.uint8) * 255
    return image, Image.fromarray(mask.reshape(height, width))


def recolour(image, colours):
    for kind, factor in colours:
        image = COLOURS[kind](image, factor)
    return image


def colours_of(draw):
    chosen = draw.permutation(3)[: draw.integers(0, 4)]
    return [(int(kind), float(np.float32(draw.choice((0, 1, draw.uniform(0, 2)), p=(0.1, 0.1, 0.8))))) for kind in chosen]


def line(*parts, colours, image, mask):
    colour_texts = [str(len(colours))] + [f"{kind} {factor!r}" for kind, factor in colours]
    checks = [str(zlib.crc32(np.ascontiguousarray(a, np.uint8).tobytes())) for a in (image, mask)]
    return " ".join([*map(str, parts), *colour_texts, *checks]) + "\n"


def pillow_case(draw, number):
    width, height = (int(v) for v in draw.integers(20, 90, 2))
    size = int(draw.choice((28, 35, 70)))
    resized = size + round(size * draw.choice((0, 1 / 7)))
    angle = float(draw.choice((0, draw.uniform(-5, 5), draw.uniform(-180, 180))))
    crop_x, crop_y = (int(v) for v in draw.integers(0, resized - size + 1, 2))
    flips = [int(v) for v in draw.integers(0, 2, 2)]
    colours = colours_of(draw)
    done = []
    for picture, filter in zip(inputs(width, height, number), (BICUBIC, NEAREST)):
        picture = F.rotate(F.resize(picture, (resized, resized), filter), angle, NEAREST, fill=0)
        picture = F.crop(picture, crop_y, crop_x, size, size)
        picture = F.hflip(picture) if flips[0] else picture
        done.append(F.vflip(picture) if flips[1] else picture)
    image, mask = recolour(done[0], colours), np.asarray(done[1]) != 0
    return line(width, height, size, resized, repr(angle), crop_x, crop_y, *flips, colours=colours, image=image, mask=mask)


def tensor_result(draw, number, angle, colours, width, height, size, shift, flips):
    image, mask = inputs(width, height, number)
    image = F.resize(recolour(image, colours), (size, size), BICUBIC)
    image = F.normalize(F.to_tensor(image), MEAN, DEVIATION)
    mask = (F.to_tensor(F.resize(mask, (size, size), NEAREST)) != 0).float()
    both = torch.cat([image, mask])
    if angle is not None:
        both = F.rotate(both, angle, NEAREST, fill=[0.0] * 4)
    both = F.affine(both, 0.0, list(shift), 1.0, [0.0, 0.0], NEAREST, fill=[0.0] * 4)
    both = F.hflip(both) if flips[0] else both
    both = F.vflip(both) if flips[1] else both
    pixels = both[:3].permute(1, 2, 0).double() * torch.tensor(DEVIATION) + torch.tensor(MEAN)
    return (pixels * 255).round().byte().numpy(), both[3].byte().numpy()


def tensor_parameters(draw):
    width, height = (int(v) for v in draw.integers(20, 90, 2))
    size = int(draw.choice((28, 35, 70)))
    shift = [int(v) for v in draw.integers(-round(0.15 * size), round(0.15 * size) + 1, 2)]
    return width, height, size, shift, [int(v) for v in draw.integers(0, 2, 2)]


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(20250610)
    with open(folder / "pillow.txt", "w") as file:
        file.writelines(pillow_case(draw, number) for number in range(80))
    with open(folder / "tensor.txt", "w") as file:
        for number in range(40):
            width, height, size, shift, flips = tensor_parameters(draw)
            colours = colours_of(draw)
            image, mask = tensor_result(draw, number, None, colours, width, height, size, shift, flips)
            file.write(line(width, height, size, size, "0.0", *shift, *flips, colours=colours, image=image, mask=mask))
    with open(folder / "rotated.bin", "wb") as file:
        for number in range(8):
            width, height, size, shift, flips = tensor_parameters(draw)
            angle = float(draw.uniform(-30, 30))
            image, mask = tensor_result(draw, number, angle, [], width, height, size, shift, flips)
            file.write(struct.pack("<7id", width, height, size, *shift, *flips, angle))
            file.write(image.tobytes() + mask.tobytes())


if __name__ == "__main__":
    main()
