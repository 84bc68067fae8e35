"""Copies tests/golden with plain PNG files rewritten as BMP under the same names.

For builds that read no PNG: the library knows a file by its content, so that their tests see the
same pixels. What is no plain 8-bit grey or RGB image is for tests of PNG alone and stays.
"""
import pathlib
import shutil
import struct
import sys
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunks(data):
    position = len(SIGNATURE)
    while position < len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        yield kind, data[position + 8:position + 8 + length]
        position += 12 + length


def paeth(left, above, corner):
    estimate = left + above - corner
    nearest = min((abs(estimate - left), 0, left), (abs(estimate - above), 1, above),
                  (abs(estimate - corner), 2, corner))
    return nearest[2]


def unfilter(data, stride, step):
    """Rows of samples, by the five filters of the PNG specification."""
    rows, above = [], bytes(stride)
    for start in range(0, len(data), stride + 1):
        kind, row = data[start], bytearray(data[start + 1:start + 1 + stride])
        for i in range(stride):
            left, corner = (row[i - step], above[i - step]) if i >= step else (0, 0)
            row[i] = (row[i] + (0, left, above[i], (left + above[i]) // 2,
                                paeth(left, above[i], corner))[kind]) & 255
        rows.append(bytes(row))
        above = row
    return rows


def as_bmp(data):
    """The BMP, or None for a PNG of another kind."""
    parts = list(chunks(data))
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", parts[0][1])
    kinds = {kind for kind, _ in parts}
    if depth != 8 or colour not in (0, 2) or interlaced or b"tRNS" in kinds:
        return None
    step = 3 if colour == 2 else 1
    rows = unfilter(zlib.decompress(b"".join(body for kind, body in parts if kind == b"IDAT")),
                    width * step, step)
    body = b""
    for row in reversed(rows):
        blue_first = b"".join(row[i:i + step][::-1] * (3 // step) for i in range(0, len(row), step))
        body += blue_first + bytes(-len(blue_first) % 4)
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, len(body), 0, 0, 0, 0)
    return struct.pack("<2sIHHI", b"BM", 54 + len(body), 0, 0, 54) + header + body


source, target = map(pathlib.Path, sys.argv[1:])
shutil.rmtree(target, ignore_errors=True)
count = 0
for path in source.rglob("*"):
    if path.is_file():  # bytes alone, as the source may be read-only
        data = path.read_bytes()
        bmp = as_bmp(data) if path.suffix == ".png" else None
        count += bmp is not None
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(bmp or data)
if not count:
    sys.exit(f"{source}: expected PNG files, found none that is plain")
