#!/usr/bin/env python3
"""Makes tests/golden/images: small files of every kind, and what Pillow, NumPy and PyTorch make of them.

Needs Pillow 13 or later (older ones misread run-length BMP files), NumPy and PyTorch.
Usage: make_image_goldens.py <folder> [chelsea.png of scikit-image]
"""
import io
import os
import struct
import sys
import zlib

import numpy as np
import PIL
import torch
from PIL import Image

assert int(PIL.__version__.split(".")[0]) >= 13, PIL.__version__


def noise(count, seed):
    """The bytes of fill_noise in tests/unit/images/golden.c."""
    x = (np.arange(count, dtype=np.uint64) + seed) * 2654435761 & 0xFFFFFFFF
    x ^= x >> 15
    x = x * 2246822519 & 0xFFFFFFFF
    x ^= x >> 13
    return (x >> 16 & 0xFF).astype(np.uint8)


# PNG -----------------------------------------------------------------------------------------


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def filtered(rows, step):
    """Every row with another of the five filters."""
    out, above = b"", bytes(len(rows[0]))
    for y, row in enumerate(rows):
        kind, line = y % 5, bytearray()
        for i, value in enumerate(row):
            left = row[i - step] if i >= step else 0
            up, corner = above[i], above[i - step] if i >= step else 0
            guess = left + up - corner
            near = min((left, up, corner), key=lambda v: abs(guess - v))
            line.append(value - (0, left, up, (left + up) // 2, near)[kind] & 0xFF)
        out += bytes([kind]) + line
        above = row
    return out


def packed(samples, depth):
    """Rows of samples (height, width * channels) as bytes."""
    if depth == 16:
        return [row.astype(">u2").tobytes() for row in samples]
    if depth == 8:
        return [row.astype(np.uint8).tobytes() for row in samples]
    bits = (samples[..., None] >> np.arange(depth - 1, -1, -1)) & 1
    return [np.packbits(row.reshape(-1).astype(np.uint8)).tobytes() for row in bits]


ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def make_png(colour, depth, interlaced=False, extra=b"", width=19, height=13, colours=None):
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    size = width * height * channels
    values = noise(2 * size, colour * 100 + depth).view(">u2").astype(np.uint32)
    values = values % colours if colours else values >> (16 - depth)
    if depth == 16:
        values[::3] %= 512  # both sides of 255, where Pillow clips grey
    image = values.reshape(height, width, channels)
    passes = ADAM7 if interlaced else ((0, 0, 1, 1),)
    data = b""
    for x, y, dx, dy in passes:
        part = image[y::dy, x::dx]
        if part.size:
            rows = packed(part.reshape(part.shape[0], -1), depth)
            data += filtered(rows, max(1, channels * depth // 8))
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    packed_data = zlib.compress(data, 9)
    half = len(packed_data) // 2
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", packed_data[:half])
            + chunk(b"IDAT", packed_data[half:]) + chunk(b"IEND", b""))


def png_files():
    palette = lambda depth: chunk(b"PLTE", noise(3 << depth, 7).tobytes())
    for colour, depths in ((0, (1, 2, 4, 8, 16)), (2, (8, 16)), (3, (1, 2, 4, 8)), (4, (8, 16)), (6, (8, 16))):
        for depth in depths:
            for interlaced in (False, True):
                name = f"{ {0: 'grey', 2: 'rgb', 3: 'palette', 4: 'grey-alpha', 6: 'rgba'}[colour] }{depth}"
                extra = palette(depth) if colour == 3 else b""
                yield f"{name}{'-interlaced' if interlaced else ''}.png", make_png(colour, depth, interlaced, extra)
    yield "grey8-transparent.png", make_png(0, 8, extra=chunk(b"tRNS", b"\0\7"))
    yield "grey16-transparent.png", make_png(0, 16, extra=chunk(b"tRNS", b"\0\7"))
    yield "rgb8-transparent.png", make_png(2, 8, extra=chunk(b"tRNS", b"\0\1\0\2\0\3"))
    yield "palette8-transparent.png", make_png(3, 8, extra=palette(8) + chunk(b"tRNS", noise(200, 3).tobytes()))
    short = chunk(b"PLTE", noise(30, 7).tobytes())
    yield "palette8-short.png", make_png(3, 8, extra=short)
    yield "palette4-background.png", make_png(3, 4, extra=palette(4) + chunk(b"bKGD", b"\1"))
    gamma = chunk(b"gAMA", struct.pack(">I", 100000)) + chunk(b"cHRM", struct.pack(
        ">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000))
    yield "rgb8-gamma.png", make_png(2, 8, extra=gamma)
    text = chunk(b"tEXt", b"Comment\0noise") + chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"x" * 900))
    yield "rgba8-text.png", make_png(6, 8, extra=text)
    yield "grey8-one-pixel.png", make_png(0, 8, width=1, height=1)
    yield "rgb8-one-pixel-interlaced.png", make_png(2, 8, True, width=1, height=1)


# JPEG ----------------------------------------------------------------------------------------


def picture(width=37, height=29):
    y, x = np.mgrid[0:height, 0:width]
    waves = [128 + 100 * np.sin(x * a + y * b) for a, b in ((0.2, 0.1), (0.05, 0.35), (-0.3, 0.15))]
    return np.stack(waves, -1).astype(np.uint8)


def jpeg(image, **options):
    out = io.BytesIO()
    image.save(out, "JPEG", **options)
    return out.getvalue()


def segments(data):
    """(marker, bytes) of each segment up to the entropy-coded data."""
    at = 2
    while True:
        length = struct.unpack(">H", data[at + 2:at + 4])[0]
        yield data[at + 1], data[at:at + 2 + length]
        at += 2 + length
        if data[at - 2 - length + 1] == 0xDA:
            yield None, data[at:]
            return


def rgb_jpeg():
    """No JFIF marker and components named R, G, B: the decoder takes them for RGB."""
    out = b"\xff\xd8"
    for marker, part in segments(jpeg(Image.fromarray(picture()), subsampling=0)):
        part = bytearray(part)
        if marker == 0xE0:
            continue
        if marker == 0xC0:
            part[10], part[13], part[16] = b"RGB"
        if marker == 0xDA:
            part[5], part[7], part[9] = b"RGB"
        out += part
    return out


def jpeg_files():
    colour = Image.fromarray(picture())
    for name, subsampling in (("444", 0), ("422", 1), ("420", 2)):
        yield f"colour-{name}.jpg", jpeg(colour, subsampling=subsampling, quality=80)
        yield f"colour-{name}-progressive.jpg", jpeg(colour, subsampling=subsampling, progressive=True)
    yield "grey.jpg", jpeg(colour.convert("L"))
    yield "grey-progressive.jpg", jpeg(colour.convert("L"), progressive=True)
    yield "colour-restart.jpg", jpeg(colour, restart_marker_blocks=2)
    yield "colour-rgb.jpg", rgb_jpeg()
    exif = Image.Exif()
    exif[0x112] = 6  # rotated by 90 degrees; not applied
    yield "colour-exif.jpg", jpeg(colour, exif=exif, optimize=True)
    yield "one-pixel.jpg", jpeg(Image.fromarray(picture(1, 1)))


# BMP -----------------------------------------------------------------------------------------


def make_bmp(bits, header=40, compression=0, masks=None, top_down=False, colours=0, pixels=None,
             width=21, height=11, offset=None):
    """`pixels`: run lengths in place of noise. `offset`: what the file says of where pixels begin."""
    stride = (width * bits + 31) // 32 * 4
    if pixels is None:
        pixels = noise(stride * height, bits).tobytes()
    entries = (colours or 1 << bits) if bits <= 8 else 0
    palette = noise(4 * entries, 5).reshape(-1, 4).copy()
    palette[:, 3] = 0
    palette = palette[:, :3 if header == 12 else 4].tobytes()
    if header == 12:
        dib = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        dib = struct.pack("<IiiHHIIiiII", header, width, -height if top_down else height, 1, bits,
                          compression, len(pixels), 2835, 2835, colours, 0)
        fields = struct.pack("<4I", *masks) if masks else b""
        dib = dib + fields[:12] if header == 40 else (dib + fields).ljust(header, b"\0")
    begin = 14 + len(dib) + len(palette)
    offset = begin if offset is None else offset
    return b"BM" + struct.pack("<IHHI", begin + len(pixels), 0, 0, offset) + dib + palette + pixels


RUNS_8 = bytes([3, 7, 2, 9, 0, 5, 1, 2, 3, 4, 5, 0, 11, 4, 0, 0]) + bytes([21, 30, 0, 0]) + bytes(
    [4, 8, 0, 2, 6, 1, 5, 33, 0, 0]) + bytes([0, 21]) + noise(21, 1).tobytes() + bytes([0, 0, 0])
RUNS_4 = bytes([5, 0x7A, 0, 6, 0x12, 0x34, 0x56, 0, 10, 0xBC, 0, 0]) + bytes([21, 0x3D, 0, 0]) + bytes(
    [4, 0x88, 0, 2, 6, 1, 5, 0x39, 0, 0]) + bytes([0, 8, 0x21, 0x43, 0x65, 0x87, 13, 0xF1, 0, 0])


def full(runs, end=b"\0\1"):
    """11 rows: the runs cover five, the rest follows."""
    return runs + bytes([21, 0x4C, 0, 0]) * 6 + end


def bmp_files():
    for bits in (1, 4, 8, 16, 24, 32):
        yield f"bits{bits}.bmp", make_bmp(bits)
        yield f"bits{bits}-top-down.bmp", make_bmp(bits, top_down=True)
        yield f"bits{bits}-v5.bmp", make_bmp(bits, header=124)
    for bits in (1, 4, 8, 24):
        yield f"bits{bits}-os2.bmp", make_bmp(bits, header=12)
    yield "bits8-os2v2.bmp", make_bmp(8, header=64)
    yield "bits8-few-colours.bmp", make_bmp(8, colours=77)
    yield "bits4-few-colours.bmp", make_bmp(4, colours=5)
    yield "bits8-no-offset.bmp", make_bmp(8, offset=0)
    yield "bits8-offset-of-header.bmp", make_bmp(8, offset=54)
    fields = {
        (16, (0xF800, 0x7E0, 0x1F, 0)): "565",
        (16, (0x7C00, 0x3E0, 0x1F, 0)): "555",
        (24, (0xFF0000, 0xFF00, 0xFF, 0)): "bgr",
        (32, (0xFF0000, 0xFF00, 0xFF, 0)): "bgrx",
        (32, (0xFF000000, 0xFF0000, 0xFF00, 0)): "xbgr",
        (32, (0xFF000000, 0xFF0000, 0xFF00, 0xFF)): "abgr",
        (32, (0xFF, 0xFF00, 0xFF0000, 0xFF000000)): "rgba",
        (32, (0xFF0000, 0xFF00, 0xFF, 0xFF000000)): "bgra",
        (32, (0, 0, 0, 0)): "none",
    }
    for (bits, masks), name in fields.items():
        for header in (52, 56, 108, 124) if masks[3] == 0 else (56, 108, 124):
            yield f"fields{bits}-{name}-{header}.bmp", make_bmp(bits, header, 3, masks)
        if masks[3] == 0 and name != "none":
            yield f"fields{bits}-{name}-40.bmp", make_bmp(bits, 40, 3, masks)
    yield "rle8.bmp", make_bmp(8, compression=1, pixels=full(RUNS_8))
    yield "rle4.bmp", make_bmp(4, compression=2, pixels=full(RUNS_4))
    yield "rle8-no-end.bmp", make_bmp(8, compression=1, pixels=full(RUNS_8, b""))


# What is not supported or not whole -----------------------------------------------------------


def refused_files():
    colour = Image.fromarray(picture())
    yield "cmyk.jpg", jpeg(colour.convert("CMYK"))
    twelve = bytearray(jpeg(colour))
    twelve[twelve.index(b"\xff\xc0") + 4] = 12
    yield "twelve-bits.jpg", bytes(twelve)
    out = io.BytesIO()
    colour.save(out, "GIF")
    yield "other.gif", out.getvalue()


# Resizing ------------------------------------------------------------------------------------


def sizes():
    edges = [1, 2, 3, 4, 5, 7, 14, 37]
    for i, a in enumerate(edges):
        for b in edges:
            yield a, b, edges[(i + 3) % 8], edges[(i * 5 + b) % 8]
    numbers = noise(4096, 99).astype(int)
    for i in range(150):
        a, b, c, d = numbers[4 * i:4 * i + 4] + 1
        yield a, b, c, d
    yield from ((5000, 1, 1, 3), (1, 5000, 3, 1), (3, 4000, 200, 2), (4000, 3, 2, 200), (1, 1, 300, 200),
                (640, 480, 518, 518), (300, 451, 518, 518), (518, 518, 518, 300), (518, 518, 300, 518),
                (518, 518, 518, 518), (700, 700, 224, 224), (37, 37, 518, 518))


def bicubic(image, size):
    """Columns first, as Pillow up to 12.2 always did; later ones begin with the rows of tall images."""
    return image.resize((size[0], image.height), Image.BICUBIC).resize(size, Image.BICUBIC)


def write_resized(folder):
    with open(f"{folder}/resized.txt", "w") as resized, open(f"{folder}/masks.txt", "w") as masks:
        for i, (w, h, new_w, new_h) in enumerate(sizes()):
            pixels = noise(w * h * 3, i)
            if i % 4 == 3:
                pixels = np.where(pixels < 128, 0, 255).astype(np.uint8)  # overshoots are clipped
            image = Image.fromarray(pixels.reshape(h, w, 3))
            crc = zlib.crc32(bicubic(image, (new_w, new_h)).tobytes())
            resized.write(f"{w} {h} {new_w} {new_h} {crc}\n")
            mask = Image.fromarray(np.where(noise(w * h, i) < 200, 0, 255).astype(np.uint8).reshape(h, w))
            small = np.asarray(mask.resize((new_w, new_h), Image.NEAREST)) != 0
            masks.write(f"{w} {h} {new_w} {new_h} {zlib.crc32(small.astype(np.uint8).tobytes())}\n")


def write_maps(folder):
    """Each: width, height, new width, new height (int32), the map, the resized map (float32)."""
    with open(f"{folder}/maps.bin", "wb") as out:
        for i, (w, h, new_w, new_h) in enumerate(
                ((7, 5, 13, 11), (1, 1, 4, 3), (9, 9, 50, 41), (2, 3, 1, 1), (20, 30, 7, 9), (5, 1, 9, 2), (3, 3, 3, 3))):
            values = torch.from_numpy(noise(w * h, i).astype(np.float32) / 255).reshape(1, 1, h, w)
            resized = torch.nn.functional.interpolate(values, (new_h, new_w), mode="bilinear", align_corners=True)
            out.write(struct.pack("<4i", w, h, new_w, new_h) + values.numpy().tobytes() + resized.numpy().tobytes())


def write_photo(folder, path):
    photo = Image.open(path).convert("RGB")
    photo.save(f"{folder}/chelsea.jpg", quality=88)
    bicubic(photo, (225, 150)).save(f"{folder}/chelsea.png", optimize=True)


def write_tensors(folder):
    for rank, shape in ((1, (5,)), (2, (3, 4)), (4, (2, 1, 3, 2))):
        np.save(f"{folder}/rank{rank}.npy", np.arange(np.prod(shape), dtype=np.float32).reshape(shape) / 8)


def main():
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    if len(sys.argv) > 2:
        write_photo(folder, sys.argv[2])
    files = dict([*png_files(), *jpeg_files(), *bmp_files()])
    for photo in ("chelsea.jpg", "chelsea.png"):
        with open(f"{folder}/{photo}", "rb") as file:
            files[photo] = file.read()
    with open(f"{folder}/decoded.txt", "w") as listing:
        for name, data in files.items():
            pixels = Image.open(io.BytesIO(data)).convert("RGB")
            listing.write(f"{name} {pixels.width} {pixels.height} {zlib.crc32(pixels.tobytes())}\n")
    for name, data in [*files.items(), *refused_files()]:
        with open(f"{folder}/{name}", "wb") as file:
            file.write(data)
    small = bicubic(Image.open(f"{folder}/chelsea.jpg"), (41, 41))
    with open(f"{folder}/chelsea-41x41.rgb", "wb") as file:
        file.write(small.tobytes())
    write_resized(folder)
    write_maps(folder)
    write_tensors(folder)


main()
