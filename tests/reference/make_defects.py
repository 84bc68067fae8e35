"""Draws pictures of surfaces and parts with defects, and their exact masks, as an MVTec tree.

    python3 make_defects.py --output defects

Writes CLASS/train/good, CLASS/test/{good,DEFECT} and CLASS/ground_truth/DEFECT, and two manifests:
train.jsonl of all classes but one, test.jsonl of the one held out. The manifests alternate classes,
and good and defective pictures, so that even a training that does not shuffle sees a mixture. Class
names are MVTec's, so that its phrases say what is seen. The same seed draws the same pictures.
"""

import argparse
import json
import math
import os
import zlib

import numpy
from PIL import Image, ImageDraw, ImageFilter

DEFECTS = ("scratch", "hole", "stain", "crack")


def cloud(random, height, width, rows, columns):
    """Smooth noise of deviation about 1 (height, width), from rows x columns random numbers."""
    grid = random.normal(0, 1, (rows, columns)).astype(numpy.float32)
    return numpy.asarray(Image.fromarray(grid).resize((width, height), Image.BICUBIC))


def square_cloud(random, side, cells):
    return cloud(random, side, side, cells, cells)


def between(dark, light, amount):
    """Colours (side, side, 3) for amounts 0 to 1."""
    dark, light = numpy.array(dark, float), numpy.array(light, float)
    return dark + (light - dark) * numpy.clip(amount, 0, 1)[..., None]


def axes(side):
    """Row and column of each pixel, 0 to 1."""
    return numpy.mgrid[0:side, 0:side] / side


def draw_wood(random, side):
    """Planed wood: wavy year rings along the picture, and fibres."""
    _, across = axes(side)
    across = across + 0.03 * cloud(random, side, side, 4, 6)
    rings = numpy.sin(2 * math.pi * across * random.uniform(9, 13) + random.uniform(0, 6))
    fibres = cloud(random, side, side, 8, side // 2)
    amount = 0.55 + 0.2 * rings + 0.13 * fibres + 0.08 * square_cloud(random, side, 3)
    return between((118, 76, 42), (208, 162, 110), amount), numpy.ones((side, side), bool)


def draw_tile(random, side):
    """Speckled square tiles in grout."""
    pitch, joint = side / random.uniform(5, 6), max(side / 110, 1.5)
    row, column = axes(side) * side + random.uniform(0, pitch, (2, 1, 1))
    shade = random.normal(0, 0.05, (9, 9))[
        (row // pitch).astype(int), (column // pitch).astype(int)
    ]
    speckles = square_cloud(random, side, side // 3)
    amount = 0.72 + shade + 0.03 * square_cloud(random, side, side // 8)
    amount = amount - 0.3 * (speckles > 1.1) + 0.15 * (speckles < -1.5)
    edge = numpy.minimum(row % pitch, column % pitch)
    grout = between((70, 68, 64), (110, 106, 98), 0.5 + 0.3 * square_cloud(random, side, side // 4))
    rgb = between((60, 72, 84), (196, 204, 208), amount)
    return numpy.where((edge < joint)[..., None], grout, rgb), numpy.ones((side, side), bool)


def draw_metal_nut(random, side):
    """A brushed nut with four notches and a bore, on a dark conveyor."""
    row, column = axes(side) - 0.5 + random.normal(0, 0.008, (2, 1, 1))
    radius, angle = numpy.hypot(row, column), numpy.arctan2(row, column)
    notch = numpy.abs((angle - random.uniform(0, 1.5)) % (math.pi / 2) - math.pi / 4) < 0.22
    outer = random.uniform(0.27, 0.29) - 0.045 * notch
    part = (radius < outer) & (radius > 0.1)
    sheen = numpy.cos(2 * (angle - random.uniform(0, math.pi)))
    brushed = cloud(random, 1, side, 1, side)[0][(radius * 1.4 * side).astype(int) % side]
    amount = 0.55 + 0.16 * sheen + 0.05 * brushed + 0.03 * square_cloud(random, side, side // 2)
    bevel = numpy.minimum(outer - radius, radius - 0.1) < 0.014
    metal = between((66, 68, 74), (226, 226, 222), amount - 0.22 * bevel)
    belt = between((22, 24, 26), (58, 60, 62), 0.4 + 0.15 * square_cloud(random, side, side // 3))
    shadow = 1 - 0.5 * numpy.clip(1 - numpy.abs(radius - outer) / 0.03, 0, 1) * (radius > outer)
    return numpy.where(part[..., None], metal, belt * shadow[..., None]), part


def draw_carpet(random, side):
    """A plain weave of grey yarn: each crossing shows the warp or the weft."""
    pitch = side / random.uniform(40, 46)
    row, column = axes(side) * side + 0.25 * pitch * numpy.stack(
        [square_cloud(random, side, 12), square_cloud(random, side, 12)]
    )
    on_top = ((row // pitch + column // pitch) % 2).astype(bool)
    warp = numpy.sin(math.pi * (column % pitch) / pitch)
    weft = numpy.sin(math.pi * (row % pitch) / pitch)
    height = numpy.where(on_top, warp * (0.6 + 0.4 * weft), 0.9 * weft * (0.6 + 0.4 * warp))
    amount = 0.2 + 0.5 * height + 0.07 * square_cloud(random, side, side // 2)
    amount = amount + 0.05 * square_cloud(random, side, 5)
    return between((46, 46, 50), (182, 180, 178), amount), numpy.ones((side, side), bool)


def draw_leather(random, side):
    """Brown pebbles between creases: distances to the two nearest of jittered points."""
    cells = int(random.uniform(30, 34))
    row, column = axes(side) * cells
    offset = random.uniform(0.1, 0.9, (2, cells, cells))
    nearest = numpy.full((2, side, side), 9.0)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            y, x = row.astype(int) + down, column.astype(int) + right
            at = offset[:, y % cells, x % cells]
            distance = numpy.hypot(row - y - at[0], column - x - at[1])
            nearest[1] = numpy.minimum(nearest[1], numpy.maximum(nearest[0], distance))
            nearest[0] = numpy.minimum(nearest[0], distance)
    pebble = numpy.clip((nearest[1] - nearest[0]) / 0.5, 0, 1) ** 0.6
    amount = 0.22 + 0.45 * pebble + 0.08 * square_cloud(random, side, 4)
    amount = amount + 0.04 * square_cloud(random, side, side // 2)
    return between((48, 26, 16), (164, 104, 66), amount), numpy.ones((side, side), bool)


CLASSES = {
    "wood": draw_wood,
    "tile": draw_tile,
    "metal_nut": draw_metal_nut,
    "carpet": draw_carpet,
    "leather": draw_leather,
}


def rotate(random, rgb, part, size):
    """A few degrees, then the middle of the canvas: ((size, size, 3) float, (size, size) bool)."""
    angle, start = random.uniform(-8, 8), (rgb.shape[0] - size) // 2
    box = (start, start, start + size, start + size)
    picture = Image.fromarray(numpy.clip(rgb, 0, 255).astype(numpy.uint8))
    picture = picture.rotate(angle, Image.BICUBIC).crop(box)
    mask = Image.fromarray(part.astype(numpy.uint8) * 255).rotate(angle, Image.NEAREST).crop(box)
    return numpy.asarray(picture).astype(float), numpy.asarray(mask) != 0


def walk(random, start, direction, steps, length, bend):
    """Points of a path whose direction changes at random."""
    points = [start]
    for _ in range(steps):
        direction += random.normal(0, bend)
        x, y = points[-1]
        points.append((x + length * math.cos(direction), y + length * math.sin(direction)))
    return points


class Stencil:
    """A shape drawn four times as large, so that its edge has fractions of a pixel."""

    SCALE = 4

    def __init__(self, size):
        self.image = Image.new("L", (size * self.SCALE,) * 2)
        self.draw = ImageDraw.Draw(self.image)
        self.size = size

    def line(self, points, widths):
        for (a, b), width in zip(zip(points, points[1:]), widths):
            scaled = [self.SCALE * v for v in (*a, *b)]
            self.draw.line(scaled, 255, max(round(self.SCALE * width), 2))

    def polygon(self, points):
        self.draw.polygon([(self.SCALE * x, self.SCALE * y) for x, y in points], 255)

    def coverage(self):
        small = self.image.resize((self.size, self.size), Image.BOX)
        return numpy.asarray(small) / 255.0


def blob(random, centre, radius, roughness):
    """Corners of a closed outline around the centre."""
    angles = numpy.linspace(0, 2 * math.pi, 48, endpoint=False)
    scale = numpy.ones_like(angles)
    for wave in (2, 3, 5):
        scale += (
            roughness / wave * random.normal() * numpy.sin(wave * angles + random.uniform(0, 6))
        )
    stretch, turn = random.uniform(0.7, 1.0), random.uniform(0, math.pi)
    x, y = radius * scale * numpy.cos(angles), radius * stretch * scale * numpy.sin(angles)
    return [
        (centre[0] + a * math.cos(turn) - b * math.sin(turn),
         centre[1] + a * math.sin(turn) + b * math.cos(turn))
        for a, b in zip(x, y)
    ]  # fmt: skip


def scratch_shape(random, stencil, centre):
    size, direction = stencil.size, random.uniform(0, 2 * math.pi)
    steps, length = 12, random.uniform(0.016, 0.03) * size
    back = steps * length / 2
    start = (centre[0] - back * math.cos(direction), centre[1] - back * math.sin(direction))
    points = walk(random, start, direction, steps, length, 0.05)
    width = random.uniform(0.008, 0.014) * size
    stencil.line(points, [width] * steps)


def crack_shape(random, stencil, centre):
    size, direction = stencil.size, random.uniform(0, 2 * math.pi)
    steps, length = 18, random.uniform(0.012, 0.02) * size
    for turn in (0, math.pi + random.normal(0, 0.3)):
        points = walk(random, centre, direction + turn, steps, length, 0.45)
        width = random.uniform(0.012, 0.018) * size
        stencil.line(points, numpy.linspace(width, 0.004 * size, steps))
    branch = walk(random, points[steps // 2], direction + turn + 0.9, 8, length, 0.4)
    stencil.line(branch, [0.006 * size] * 8)


def hole_shape(random, stencil, centre):
    stencil.polygon(blob(random, centre, random.uniform(0.035, 0.07) * stencil.size, 0.15))


def stain_shape(random, stencil, centre):
    radius = random.uniform(0.06, 0.13) * stencil.size
    stencil.polygon(blob(random, centre, radius, 0.3))
    for _ in range(random.integers(0, 4)):
        x, y = centre + random.normal(0, 1.3 * radius, 2)
        stencil.polygon(blob(random, (x, y), random.uniform(0.1, 0.25) * radius, 0.2))


SHAPES = {
    "scratch": scratch_shape,
    "hole": hole_shape,
    "stain": stain_shape,
    "crack": crack_shape,
}


def shifted(coverage, pixels):
    return numpy.roll(coverage, (pixels, pixels), (0, 1))


def paint(random, rgb, coverage, kind):
    """The defect laid over the surface."""
    a = coverage[..., None]
    rim = numpy.clip(shifted(coverage, 1) - coverage, 0, 1)[..., None]
    if kind == "scratch":
        light = random.random() < 0.6
        scratched = rgb * 0.45 + 140 if light else rgb * 0.4
        return rgb * (1 - a) + scratched * a + (-30 if light else 35) * rim
    if kind == "stain":
        tint = numpy.array([(0.52, 0.46, 0.36), (0.42, 0.5, 0.62), (0.62, 0.4, 0.38)])
        strength = 0.85 + 0.15 * square_cloud(random, len(rgb), 14)[..., None]
        return rgb * (1 - a * (1 - tint[random.integers(3)]) * strength)
    depth = 18 if kind == "hole" else 14
    inside = depth + 0.1 * rgb
    if kind == "hole":
        inside = inside + 26 * numpy.clip(coverage - shifted(coverage, 3), 0, 1)[..., None]
    return rgb * (1 - a) + inside * a + 45 * rim


def add_defect(random, rgb, part, kind):
    """(picture, mask): tries places until enough of the shape lies on the part."""
    size = len(rgb)
    margin = size // 8
    spots = margin + numpy.argwhere(part[margin:-margin, margin:-margin])
    while True:
        row, column = spots[random.integers(len(spots))]
        stencil = Stencil(size)
        SHAPES[kind](random, stencil, (float(column), float(row)))
        coverage = stencil.coverage() * part
        mask = coverage > 0.5
        if mask.sum() > 0.0012 * size**2:
            return paint(random, rgb, coverage, kind), mask


def photograph(random, rgb):
    """Uneven light, darker corners, a soft lens, a tint and the sensor's noise. -> u8"""
    size = len(rgb)
    row, column = axes(size) - 0.5
    direction, slope = random.uniform(0, 2 * math.pi), random.uniform(0.1, 0.4)
    light = 1 + slope * (math.cos(direction) * row + math.sin(direction) * column)
    light = light * (1 - 0.25 * (row**2 + column**2)) * random.uniform(0.88, 1.08)
    rgb = rgb * light[..., None] * random.normal(1, 0.015, 3)
    lens = Image.fromarray(numpy.clip(rgb, 0, 255).astype(numpy.uint8))
    rgb = numpy.asarray(lens.filter(ImageFilter.GaussianBlur(0.5))).astype(float)
    noise = random.normal(0, 1, rgb.shape) * (1.2 + 0.16 * numpy.sqrt(rgb))
    return numpy.clip(rgb + noise + 0.5, 0, 255).astype(numpy.uint8)


def make_picture(class_name, kind, size, seed):
    """`kind`: of DEFECTS, or "good". ((size, size, 3) u8, (size, size) bool)"""
    random = numpy.random.default_rng([zlib.crc32(f"{class_name}/{kind}".encode()), seed])
    rgb, part = rotate(random, *CLASSES[class_name](random, size * 5 // 4), size)
    mask = numpy.zeros((size, size), dtype=bool)
    if kind != "good":
        rgb, mask = add_defect(random, rgb, part, kind)
    return photograph(random, rgb), mask


def save(array, root, path):
    os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
    Image.fromarray(array).save(os.path.join(root, path), optimize=True)


def write_picture(root, split, class_name, kind, number, size, seed):
    """The pair of files, and their line of the manifest."""
    rgb, mask = make_picture(class_name, kind, size, 1000 * seed + number)
    row = {
        "image_path": f"{class_name}/{split}/{kind}/{number:03d}.png",
        "label": int(kind != "good"),
        "class_name": class_name,
    }
    save(rgb, root, row["image_path"])
    if kind != "good":
        row["mask_path"] = f"{class_name}/ground_truth/{kind}/{number:03d}_mask.png"
        save(mask.astype(numpy.uint8) * 255, root, row["mask_path"])
    return row


def alternating(good, defective):
    """Kinds of pictures, defects in turn, good ones spread among them."""
    kinds = [(i + 0.5, DEFECTS[i % len(DEFECTS)]) for i in range(defective)]
    kinds += [((i + 0.4) * defective / good, "good") for i in range(good)]
    return [kind for _, kind in sorted(kinds)]


def write_classes(root, names, kinds, good_split, size, seed):
    """Manifest lines of the classes by turns. Good pictures go to `good_split`."""
    rows, count = [], {}
    for kind in kinds:
        for name in names:
            split = good_split if kind == "good" else "test"
            number = count.get((name, kind), 0)
            rows.append(write_picture(root, split, name, kind, number, size, seed))
            count[name, kind] = number + 1
    return rows


def write_manifest(path, rows):
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--output", required=True, metavar="FOLDER")
    parser.add_argument("--held-out", choices=CLASSES, default="leather")
    parser.add_argument(
        "--train", type=int, nargs=2, default=(20, 20), metavar=("GOOD", "DEFECTIVE")
    )
    parser.add_argument(
        "--test", type=int, nargs=2, default=(12, 20), metavar=("GOOD", "DEFECTIVE")
    )
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    root, size, seed = options.output, options.size, options.seed
    names = [name for name in CLASSES if name != options.held_out]
    train = write_classes(root, names, alternating(*options.train), "train", size, seed)
    test = write_classes(root, [options.held_out], alternating(*options.test), "test", size, seed)
    write_manifest(os.path.join(root, "train.jsonl"), train)
    write_manifest(os.path.join(root, "test.jsonl"), test)
    print(f"{len(train)} pictures to train on, {len(test)} to test on")


if __name__ == "__main__":
    main()
