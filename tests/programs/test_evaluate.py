"""aaclip-evaluate as a user calls it; its numbers are counted again here, from scores and maps."""

import csv
import functools
import html.parser
import json
import math
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import unittest
import zlib
from pathlib import Path

from copies import copy_file

try:
    from PIL import Image
except ImportError:
    Image = None
try:
    from sklearn.metrics import confusion_matrix
except ImportError:
    confusion_matrix = None

EVALUATE, DETECT, CONVERT, GOLDEN = sys.argv[1:5]
NANO = Path(GOLDEN) / "nano"
TRAINED = NANO / "adapters-document"
MODEL = ["--model", NANO / "clip.pt"]
ADAPTERS = [
    "--adapters",
    TRAINED / "text_adapter.pth",
    "--adapters",
    TRAINED / "image_adapter_20.pth",
]
SIDE = 112
SIZE = ["--image-size", SIDE]
WIDTH, HEIGHT = 150, 90  # of the photos: neither a divisor of SIDE nor square
GAP, SCALE = 6, 10  # between the panels of a picture, and its scale of colours


def call(program, *arguments):
    return subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )


def png(width, height, rows, colours, bits=8):
    def chunk(name, data):
        check = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + check

    head = struct.pack(">IIBBBBB", width, height, bits, 2 if colours == 3 else 0, 0, 0, 0)
    packed = zlib.compress(b"".join(b"\0" + bytes(row) for row in rows))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    )


def write(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


@functools.cache
def photo(seed):
    """Stripes with a spot: pictures that score differently."""
    chance = random.Random(seed)
    colours = [chance.randrange(256) for _ in range(6)]
    x0, y0, period = chance.randrange(WIDTH), chance.randrange(HEIGHT), chance.randrange(3, 20)

    def pixel(x, y):
        if (x - x0) ** 2 + (y - y0) ** 2 < 150:
            return colours[3:]
        return [(c + 9 * (x // period)) % 256 for c in colours[:3]]

    rows = ([v for x in range(WIDTH) for v in pixel(x, y)] for y in range(HEIGHT))
    return png(WIDTH, HEIGHT, rows, colours=3)


def write_photo(path, seed):
    write(path, photo(seed))


def mask_pixel(seed, x, y):
    """Two regions, away from each other; grey values count as abnormal, too."""
    left, top = 10 + 7 * seed, 8 + 5 * seed
    if left <= x < left + 31 and top <= y < top + 23:
        return 255
    return 1 if (x - 120) ** 2 + (y - 70) ** 2 < 40 + seed else 0


@functools.cache
def mask(seed):
    rows = ([mask_pixel(seed, x, y) for x in range(WIDTH)] for y in range(HEIGHT))
    return png(WIDTH, HEIGHT, rows, colours=1)


def write_mask(path, seed):
    write(path, mask(seed))


def truth(seed, width=SIDE, height=SIDE):
    """The mask at a map's size as Pillow's NEAREST gives it: it adds up steps."""

    def places(length, size):
        step = length / size
        at, found = step * 0.5, []
        for _ in range(size):
            found.append(int(at))
            at += step
        return found

    rows, columns = places(HEIGHT, height), places(WIDTH, width)
    return [mask_pixel(seed, x, y) != 0 for y in rows for x in columns]


def read_npy(path):
    """Values, width and height."""
    data = Path(path).read_bytes()
    length = struct.unpack("<H", data[8:10])[0]
    head = data[10 : 10 + length].decode()
    height, width = map(int, re.search(r"'shape': \((\d+), (\d+)\)", head).groups())
    return struct.unpack(f"<{width * height}f", data[10 + length :]), width, height


def neighbour(value, step):
    """The float32 before (-1) or after (1) a positive one."""
    bits = struct.unpack("<i", struct.pack("<f", value))[0]
    return struct.unpack("<f", struct.pack("<i", bits + step))[0]


def regions(marks, width):
    """Sets of pixels that touch, also at corners."""
    left, found = {i for i, mark in enumerate(marks) if mark}, []
    while left:
        waiting, region = [left.pop()], set()
        while waiting:
            at = waiting.pop()
            region.add(at)
            beside = [dx for dx in (-1, 0, 1) if 0 <= at % width + dx < width]
            around = {at + dy * width + dx for dy in (-1, 0, 1) for dx in beside} & left
            left -= around
            waiting += around
        found.append(region)
    return found


def aupro(maps, masks, width, limit):
    """Mean part of the regions found over the false positive rate, threshold by threshold."""
    pixels, count, normal = [], 0, 0
    for values, marks in zip(maps, masks):
        weights = [0.0] * len(values)
        for region in regions(marks, width):
            count += 1
            for at in region:
                weights[at] = 1 / len(region)
        normal += len(marks) - sum(marks)
        pixels += zip(values, weights, marks)
    pixels.sort(reverse=True)
    area = fpr = pro = 0.0
    false, found = 0, 0.0
    for i, (value, weight, mark) in enumerate(pixels):
        false += not mark
        found += weight
        if i + 1 < len(pixels) and pixels[i + 1][0] == value:
            continue
        next_fpr, next_pro = false / normal, found / count
        if next_fpr >= limit:
            part = (limit - fpr) / (next_fpr - fpr)
            area += (limit - fpr) * (2 * pro + part * (next_pro - pro)) / 2
            return area / limit
        area += (next_fpr - fpr) * (pro + next_pro) / 2
        fpr, pro = next_fpr, next_pro
    raise AssertionError("the rate ends at 1")


def auroc(scores, labels):
    """Share of pairs in the right order, ties half: from ranks."""
    order = sorted(zip(scores, labels))
    ranks, start = 0.0, 0
    while start < len(order):
        end = start
        while end < len(order) and order[end][0] == order[start][0]:
            end += 1
        ranks += (start + end + 1) / 2 * sum(label for _, label in order[start:end])
        start = end
    abnormal = sum(labels)
    return (ranks - abnormal * (abnormal + 1) / 2) / (abnormal * (len(labels) - abnormal))


def sweep(scores, labels):
    """AP and F1-max over every distinct threshold."""
    order = sorted(zip(scores, labels), reverse=True)
    total, hits, precision_sum, best, before = sum(labels), 0, 0.0, 0.0, 0
    for i, (score, label) in enumerate(order):
        hits += label
        if i + 1 < len(order) and order[i + 1][0] == score:
            continue
        precision_sum += hits / (i + 1) * (hits - before) / total
        best = max(best, 2 * hits / (total + i + 1))
        before = hits
    return precision_sum, best


def f1_at(scores, labels, threshold):
    """F1 when calling abnormal what reaches the threshold."""
    called = [label for score, label in zip(scores, labels) if score >= threshold]
    return 2 * sum(called) / (len(called) + sum(labels))


def confusion(labels, calls):
    """TN, FP, FN, TP."""
    found = [sum((bool(a), bool(b)) == pair for a, b in zip(labels, calls))
             for pair in ((0, 0), (0, 1), (1, 0), (1, 1))]  # fmt: skip
    if confusion_matrix:
        judged = confusion_matrix(labels, [int(call) for call in calls], labels=[0, 1])
        assert judged.ravel().tolist() == found, (judged, found)
    return found


def told(result):
    """Warnings, but for that of the model: no configuration tells whose state dict it is."""
    lines = [line for line in result.stderr.splitlines() if "warning: " in line]
    return [line for line in lines if "no open_clip_config.json beside it" not in line]


class Outline(html.parser.HTMLParser):
    """Tags in pairs, and everything that would be loaded."""

    EMPTY = frozenset(("meta", "img", "br", "path", "rect"))

    def __init__(self):
        super().__init__()
        self.open, self.counts, self.loaded, self.texts = [], {}, [], []

    def handle_starttag(self, tag, attributes):
        self.counts[tag] = self.counts.get(tag, 0) + 1
        self.loaded += [v for name, v in attributes if name in ("src", "href", "srcset", "data")]
        # a path of SVG holds its title, or closes itself
        if tag not in self.EMPTY or (tag == "path" and ("fill", "none") in attributes):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.counts[tag] = self.counts.get(tag, 0) + 1

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, (tag, self.open)
        self.open.pop()

    def handle_data(self, data):
        self.texts.append(data)


class Evaluate(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="aaclip-evaluate-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.data = self.folder / "data"
        self.out = self.folder / "out"

    def mvtec(self, category="metal_nut", good=3, bad=3, seed=0):
        root = self.data / category
        for i in range(good):
            write_photo(root / "test" / "good" / f"{i:03}.png", seed + i)
        for i in range(bad):
            write_photo(root / "test" / "bent" / f"{i:03}.png", seed + 50 + i)
            write_mask(root / "ground_truth" / "bent" / f"{i:03}_mask.png", i)
        write_photo(root / "train" / "good" / "000.png", 99)
        return root

    def evaluate(self, *arguments, code=0, root=None, weights=ADAPTERS):
        """Runs the program; its table, JSON and CSV."""
        report, scores = self.folder / "r.json", self.folder / "r.csv"
        for path in (report, scores):
            path.unlink(missing_ok=True)
        result = call(
            EVALUATE, *MODEL, *weights, *SIZE, "--data-root", root or self.data, "--json", report,
            "--csv", scores, *arguments,
        )  # fmt: skip
        self.assertEqual(result.returncode, code, result.stdout + result.stderr)
        found = json.loads(report.read_text())
        rows = list(csv.DictReader(scores.read_text().splitlines()))
        return result, found, rows

    def computed(self, *arguments, **more):
        _, found, _ = self.evaluate("--dataset", "MVTec", "--out", self.out, *arguments, **more)
        return found["checkpoints"][0]["computed"], found["checkpoints"][0]["reused"]

    def fails(self, *arguments, says, program=EVALUATE):
        result = call(program, *arguments)
        self.assertEqual(result.returncode, 1, result.stdout + result.stderr)
        for words in [says] if isinstance(says, str) else says:
            self.assertIn(words, result.stderr)

    def check_threshold(self, metrics, name, values, labels):
        """What reaches the threshold has the F1; scores are those of the CSV, with nine digits."""
        threshold = metrics[f"{name}_f1_threshold"] - (0 if name == "pixel" else 1e-6)
        self.assertAlmostEqual(f1_at(values, labels, threshold), metrics[f"{name}_f1_max"], places=9)

    def check_pixels(self, metrics):
        """Counts again, from the maps that were kept and the masks as they were drawn."""
        maps, masks = [], []
        for kind, count in (("bent", 3), ("good", 3)):
            for i in range(count):
                (path,) = (self.out / "cache" / "metal_nut").glob(f"{kind}-{i:03}-*.npy")
                values, width, height = read_npy(path)
                drawn = truth(i, width, height) if kind == "bent" else [False] * len(values)
                maps.append(values)
                masks.append(drawn)
        values, marks = sum(maps, ()), sum(masks, [])
        self.assertAlmostEqual(metrics["pixel_auroc"], auroc(values, marks), places=9)
        precision, f1 = sweep(values, marks)
        self.assertAlmostEqual(metrics["pixel_ap"], precision, places=9)
        self.assertAlmostEqual(metrics["pixel_f1_max"], f1, places=9)
        self.check_threshold(metrics, "pixel", values, marks)
        for name, limit in (("aupro_30", 0.3), ("aupro_05", 0.05)):
            self.assertAlmostEqual(metrics[name], aupro(maps, masks, width, limit), places=9)
        return width, height

    def test_numbers(self):
        root = self.mvtec()
        result, found, rows = self.evaluate("--dataset", "MVTec", "--out", self.out)
        metrics = found["checkpoints"][0]["classes"][0]
        labels = [int(row["label"]) for row in rows]
        self.assertEqual(labels, [1, 1, 1, 0, 0, 0])

        # scores are those of aaclip-detect
        paths = [row["image"] for row in rows]
        other = self.folder / "detect.json"
        call(DETECT, *MODEL, *ADAPTERS, *SIZE, "--class", "metal_nut", "--dataset", "MVTec",
             "--json", other, *paths)  # fmt: skip
        alone = json.loads(other.read_text())["images"]
        for row, image in zip(rows, alone):
            self.assertEqual(float(row["score"]), float(f"{image['score']:.9g}"))
            self.assertEqual(float(row["map_largest"]), float(f"{image['map_maximum']:.9g}"))

        # image metrics, of scores as given and of the published data-set score
        scores = [float(row["score"]) for row in rows]
        tops = [float(row["map_largest"]) for row in rows]
        low, high = min(float(row["map_least"]) for row in rows), max(tops)
        stretched = [
            0.5 * (top - low) / (high - low)
            + 0.5 * (score - min(scores)) / (max(scores) - min(scores))
            for top, score in zip(tops, scores)
        ]
        for row, value in zip(rows, stretched):
            self.assertAlmostEqual(float(row["dataset_score"]), value, places=5)
        for name, values in (("raw_image", scores), ("image", stretched)):
            self.assertAlmostEqual(metrics[f"{name}_auroc"], auroc(values, labels), places=9)
            precision, f1 = sweep(values, labels)
            self.assertAlmostEqual(metrics[f"{name}_ap"], precision, places=9)
            self.assertAlmostEqual(metrics[f"{name}_f1_max"], f1, places=9)
            self.check_threshold(metrics, name, values, labels)

        self.check_pixels(metrics)
        self.assertIsNone(found["checkpoints"][0]["mean"]["pixel_f1_threshold"])
        self.assertEqual(metrics["regions"], 6)
        self.assertEqual((metrics["images"], metrics["abnormal_images"]), (6, 3))

        columns = ["pixel_auroc", "pixel_ap", "pixel_f1_max", "aupro_30", "image_auroc", "image_ap",
                   "image_f1_max"]  # fmt: skip
        lines = [re.split(r"\s{2,}", line.strip()) for line in result.stdout.splitlines()]
        expected = [f"{100 * metrics[name]:.1f}" for name in columns]
        self.assertIn(["metal_nut", *expected], lines)
        self.assertIn(["mean", *expected], lines)
        self.assertTrue((root / "test").is_dir())

    def test_masks_are_resized_as_pillow_does(self):
        if Image is None:
            self.skipTest("no Pillow")
        for seed in range(3):
            path = self.folder / "mask.png"
            write_mask(path, seed)
            with Image.open(path) as drawn:
                small = drawn.convert("L").resize((SIDE, SIDE), Image.NEAREST)
            self.assertEqual([v != 0 for v in small.tobytes()], truth(seed))

    def test_finished_images_are_not_computed_again(self):
        root = self.mvtec()
        self.assertEqual(self.computed(), (6, 0))
        first = (self.folder / "r.csv").read_text()
        before = json.loads((self.folder / "r.json").read_text())["checkpoints"][0]["classes"]
        self.assertEqual(self.computed(), (0, 6))
        self.assertEqual((self.folder / "r.csv").read_text(), first)
        after = json.loads((self.folder / "r.json").read_text())["checkpoints"][0]["classes"]
        self.assertEqual(before, after)

        # what an interrupted run leaves does not pass for finished
        log = self.out / "scores.jsonl"
        log.write_bytes(log.read_bytes()[:-9])
        self.assertEqual(self.computed(), (1, 5))
        for line in log.read_text().splitlines():
            json.loads(line)
        maps = sorted((self.out / "cache").rglob("*.npy"))
        self.assertEqual(len(maps), 6)
        maps[0].write_bytes(maps[0].read_bytes()[:-4])
        maps[1].unlink()
        self.assertEqual(self.computed(), (2, 4))
        self.assertEqual((self.folder / "r.csv").read_text(), first)

        # nor does what belongs to other images, settings or weights
        os.utime(root / "test" / "good" / "000.png", (1, 1))
        self.assertEqual(self.computed(), (1, 5))
        self.assertEqual(self.computed("--domain", "medical"), (6, 0))
        self.assertEqual(self.computed("--image-size", "56"), (6, 0))
        other = self.folder / "image_adapter_1.pth"
        copy_file(Path(GOLDEN) / "train" / "document-image" / "image_adapter_5.pth", other)
        weights = ["--adapters", TRAINED / "text_adapter.pth", "--adapters", other]
        self.assertEqual(self.computed(weights=weights), (6, 0))
        copy_file(TRAINED / "image_adapter_20.pth", other)  # the same weights in another file
        self.assertEqual(self.computed(weights=weights), (0, 6))

    def test_killed_run_goes_on(self):
        self.mvtec(good=12, bad=0)
        arguments = [EVALUATE, *MODEL, *ADAPTERS, *SIZE, "--dataset", "MVTec", "--data-root",
                     self.data, "--out", self.out]  # fmt: skip
        log = self.out / "scores.jsonl"
        with subprocess.Popen([*map(str, arguments)], stdout=subprocess.DEVNULL) as running:
            while running.poll() is None and not (log.exists() and log.stat().st_size):
                time.sleep(0.002)
            running.kill()
        finished = log.read_bytes().count(b"\n")
        self.assertGreater(finished, 0)
        self.assertEqual(self.computed(), (12 - finished, finished))

    def test_corrupt_image_is_named_and_the_rest_evaluated(self):
        root = self.mvtec(good=3, bad=3)
        broken = root / "test" / "bent" / "001.png"
        broken.write_bytes(broken.read_bytes()[:-100])
        no_mask = root / "ground_truth" / "bent" / "002_mask.png"
        no_mask.write_bytes(b"no mask")
        turned = root / "ground_truth" / "bent" / "000_mask.png"
        write(turned, png(HEIGHT, WIDTH, [[0] * HEIGHT] * WIDTH, colours=1))
        result, found, rows = self.evaluate("--dataset", "MVTec", "--out", self.out, code=1)
        self.assertIn(str(broken), result.stderr)
        self.assertIn(str(no_mask), result.stderr)
        self.assertIn(f"{turned}: expected the proportions of", result.stderr)
        self.assertIn("150x90, found 90x150", result.stderr)
        self.assertIn("3 of 6 images failed", result.stderr)
        checkpoint = found["checkpoints"][0]
        self.assertEqual(checkpoint["computed"], 3)
        failures = [failure["image"] for failure in checkpoint["failed"]]
        bent = root / "test" / "bent"
        self.assertEqual(failures, [str(bent / f"{i:03}.png") for i in range(3)])
        self.assertEqual(checkpoint["classes"][0]["images"], 3)
        self.assertEqual(len(rows), 3)
        report = (self.out / "report.html").read_text()
        self.assertIn("3 of 6 images do not count", report)
        self.assertIn(str(broken), report)

        # repaired, only they are computed; a mask of half the size fits
        write_photo(broken, 51)
        write_mask(no_mask, 2)
        write(turned, png(WIDTH // 2, HEIGHT // 2, [[9] * (WIDTH // 2)] * (HEIGHT // 2), colours=1))
        self.assertEqual(self.computed(), (3, 3))

    def test_masks_of_one_value_and_clipped_grey_are_told_once(self):
        root = self.mvtec()
        black, white = (root / "ground_truth" / "bent" / f"00{i}_mask.png" for i in (0, 1))
        write(black, png(WIDTH, HEIGHT, [[0] * WIDTH] * HEIGHT, colours=1))
        write(white, png(WIDTH, HEIGHT, [[255] * WIDTH] * HEIGHT, colours=1))
        deep = root / "test" / "good" / "001.png"
        rows = [[byte for x in range(WIDTH) for byte in (x // 8, x)] for _ in range(HEIGHT)]
        write(deep, png(WIDTH, HEIGHT, rows, colours=1, bits=16))
        result, _, _ = self.evaluate("--dataset", "MVTec", "--out", self.out, "--pictures")
        warnings = sorted(told(result))
        size = f"{WIDTH}x{HEIGHT} pixels"
        self.assertEqual(
            warnings[:2],
            [
                f"warning: {black}: expected a defect, found none in {size}",
                f"warning: {white}: expected a defect, found all {size} marked; "
                "alpha is ignored",
            ],
        )
        self.assertEqual(len(warnings), 3, result.stderr)
        cut = HEIGHT * (WIDTH - 8)
        self.assertIn(f"{deep}: 16-bit grey: {cut} of {HEIGHT * WIDTH}", warnings[2])
        self.assertIn("choose a window of values", warnings[2])

    def test_window_of_12_bits(self):
        """Photos of 12 bits under a window are those that were scaled to 8 bits before."""
        found = {}
        for kind in ("deep", "scaled"):
            self.data = self.folder / kind
            root = self.mvtec()
            for i, path in enumerate(sorted((root / "test").rglob("*.png"))):
                values = [[(x * (i + 7) * 31 + y * 57) % 4096 for x in range(WIDTH)]
                          for y in range(HEIGHT)]  # fmt: skip
                deep = [[byte for v in row for byte in divmod(v, 256)] for row in values]
                scaled = [[(2 * 255 * v + 4095) // (2 * 4095) for v in row] for row in values]
                write(path, png(WIDTH, HEIGHT, deep, colours=1, bits=16) if kind == "deep" else
                            png(WIDTH, HEIGHT, scaled, colours=1))  # fmt: skip
            window = ["--window", "0,4095"] if kind == "deep" else []
            out = ["--out", self.out / kind, "--pictures"]
            result, _, rows = self.evaluate("--dataset", "MVTec", *window, *out)
            self.assertEqual(told(result), [])
            pictures = sorted((self.out / kind / "pictures").rglob("*.png"))
            alone = self.detect([row["image"] for row in rows], *window)
            found[kind] = ([row["score"] for row in rows], [p.read_bytes() for p in pictures],
                           [(image["score"], image["map_maximum"]) for image in alone])  # fmt: skip
            if kind == "deep":  # other pixels, computed again
                self.evaluate("--dataset", "MVTec", "--window", "0,2000", *out)
                again = json.loads((self.folder / "r.json").read_text())["checkpoints"][0]
                self.assertEqual((again["computed"], again["reused"]), (6, 0))
        self.assertEqual(found["deep"], found["scaled"])
        self.assertEqual(len(found["deep"][1]), 6)
        data = [*MODEL, *ADAPTERS, *SIZE, "--data-root", self.data]
        for wrong in ("5", "5,5", "7,5", "0,65536", "-1,5", "0,5x", ",5", "0,"):
            self.fails(*data, "--window", wrong, says=f"found '{wrong}'")

    def test_thresholds_belong_to_a_window(self):
        photos = [self.mvtec() / "test" / "bent" / "000.png"]
        file, window = self.folder / "c.json", ["--window", "0,4095"]
        named = ["--dataset", "MVTec"]
        self.evaluate(*named, "--calibrate", file, *window)
        made = json.loads(file.read_text())
        self.assertEqual((made["window_low"], made["window_high"]), (0, 4095))
        self.evaluate(*named, "--calibration", file, *window)
        given = ["--calibration", file]
        self.detect(photos, *given, *window)
        data = [*MODEL, *ADAPTERS, *SIZE, "--data-root", self.data, *named, *given]
        alone = [*MODEL, *ADAPTERS, *SIZE, "--class", "metal_nut", *named, *given, *photos]
        for options, found in (([], "none"), (["--window", "0,1023"], "0 to 1023")):
            words = f"expected the detector's window, {found}, found 0 to 4095"
            self.fails(*data, *options, says=words)
            self.fails(*alone, *options, says=words, program=DETECT)
        self.evaluate(*named, "--calibrate", file)
        self.assertNotIn("window_low", json.loads(file.read_text()))

    def test_missing_mask_is_named_before_anything_is_computed(self):
        root = self.mvtec()
        (root / "ground_truth" / "bent" / "001_mask.png").unlink()
        data = [*MODEL, *ADAPTERS, *SIZE, "--data-root", self.data]
        self.fails(*data, "--out", self.out, says=["bent/001.png", "001_mask.png, found none"])
        self.assertFalse(self.out.exists())
        self.evaluate("--no-pixels")  # which needs none

    def test_one_label_has_no_metrics(self):
        self.mvtec("metal_nut")
        self.mvtec("screw", good=2, bad=0, seed=20)
        result, found, _ = self.evaluate("--dataset", "MVTec", "--out", self.out)
        nut, screw = found["checkpoints"][0]["classes"]
        self.assertEqual((nut["class"], screw["class"]), ("metal_nut", "screw"))
        for name in ("pixel_auroc", "aupro_30", "image_auroc", "image_ap", "raw_image_auroc"):
            self.assertIsNone(screw[name], name)
            self.assertEqual(found["checkpoints"][0]["mean"][name], nut[name])
        self.assertRegex(result.stdout, r"screw( +n/a){7}\n")
        self.assertRegex((self.out / "report.html").read_text(), r"<td>screw</td>(<td>n/a</td>){7}")

    def test_layouts_give_the_same(self):
        root = self.mvtec()
        _, expected, rows = self.evaluate("--layout", "mvtec")
        images, masks = root / "test", root / "ground_truth" / "bent"

        visa = self.folder / "visa"
        parts = visa / "metal_nut" / "Data"
        table = ["object,split,label,image,mask"]
        lines = []
        for i in range(3):
            for kind, label, source in (
                ("Anomaly", "anomaly", "bent"),
                ("Normal", "normal", "good"),
            ):
                target = parts / "Images" / kind / f"{i:03}.png"
                target.parent.mkdir(parents=True, exist_ok=True)
                copy_file(images / source / f"{i:03}.png", target)
                line = {"image_path": str(target.relative_to(visa)), "label": int(kind == "Anomaly"),
                        "class_name": "metal_nut"}  # fmt: skip
                marks = ""
                if kind == "Anomaly":
                    target = parts / "Masks" / "Anomaly" / f"{i:03}.png"
                    target.parent.mkdir(parents=True, exist_ok=True)
                    copy_file(masks / f"{i:03}_mask.png", target)
                    marks = line["mask_path"] = str(target.relative_to(visa))
                table.append(f"metal_nut,test,{label},{line['image_path']},{marks}")
                lines.append(json.dumps(line) + "\n")
        manifest = self.folder / "manifest.jsonl"
        manifest.write_text("".join(lines))
        (visa / "split_csv").mkdir()
        (visa / "split_csv" / "1cls.csv").write_text("\n".join(table) + "\n")
        for arguments in (["--layout", "auto"], ["--layout", "visa"], ["--manifest", manifest]):
            _, found, others = self.evaluate(*arguments, root=visa)
            self.assertEqual(
                found["checkpoints"][0]["classes"], expected["checkpoints"][0]["classes"], arguments
            )
            self.assertEqual(
                sorted(row["score"] for row in others), sorted(row["score"] for row in rows)
            )

    def test_all_epochs(self):
        self.mvtec()
        folder = self.folder / "trained"
        folder.mkdir()
        copy_file(TRAINED / "text_adapter.pth", folder)
        copy_file(TRAINED / "image_adapter_20.pth", folder / "image_adapter_10.pth")
        fifth = Path(GOLDEN) / "train" / "document-image" / "image_adapter_5.pth"
        copy_file(fifth, folder / "image_adapter_2.pth")
        copy_file(fifth, folder / "image_adapter_latest.pth")
        weights = ["--checkpoints", folder]
        _, found, rows = self.evaluate(
            "--dataset", "MVTec", "--out", self.out, "--pictures", weights=weights
        )
        first, second = found["checkpoints"]
        self.assertEqual(first["name"], "image_adapter_2.pth")
        self.assertEqual(second["name"], "image_adapter_10.pth")
        self.assertNotEqual(first["mean"], second["mean"])
        self.assertEqual(len(rows), 12)
        self.assertEqual(len(list((self.out / "pictures").rglob("*.png"))), 12)
        _, alone, _ = self.evaluate("--dataset", "MVTec")
        self.assertEqual(alone["checkpoints"][0]["classes"], second["classes"])
        outline = Outline()
        outline.feed((self.out / "report.html").read_text())
        self.assertEqual(outline.counts["table"], 3)  # of both, and their means
        (folder / "text_adapter.pth").unlink()
        plain, found, _ = self.evaluate("--dataset", "MVTec", weights=weights)
        self.assertIn(f"{folder}/text_adapter.pth: not found", plain.stderr)
        image = folder / "image_adapter_10.pth"
        self.assertEqual(found["checkpoints"][1]["files"], [str(image)])
        _, alone, _ = self.evaluate("--dataset", "MVTec", weights=["--adapters", image])
        self.assertEqual(alone["checkpoints"][0]["classes"], found["checkpoints"][1]["classes"])

    def test_pictures(self):
        self.mvtec(good=1, bad=1)
        self.evaluate("--dataset", "MVTec", "--out", self.out, "--pictures")
        pictures = sorted((self.out / "pictures" / "metal_nut").iterdir())
        self.assertEqual([p.name.rsplit("-", 1)[0] for p in pictures], ["bent-000", "good-000"])
        for path in pictures:
            size = struct.unpack(">II", path.read_bytes()[16:24])
            self.assertEqual(size, (3 * (WIDTH + GAP) + SCALE, HEIGHT))
        if Image is None:
            return
        with Image.open(pictures[0]) as drawn:
            pixels = drawn.convert("RGB")
        with Image.open(self.data / "metal_nut" / "test" / "bent" / "000.png") as given:
            self.assertEqual(pixels.crop((0, 0, WIDTH, HEIGHT)).tobytes(), given.tobytes())
        left = WIDTH + GAP
        shown = [pixels.getpixel((left + x, y))[0] for y in range(HEIGHT) for x in range(WIDTH)]
        wanted = [255 * (mask_pixel(0, x, y) != 0) for y in range(HEIGHT) for x in range(WIDTH)]
        self.assertEqual(shown, wanted)
        scale = [pixels.getpixel((3 * left + 1, y)) for y in range(HEIGHT)]
        self.assertEqual((scale[0], scale[-1]), ((255, 0, 0), (0, 0, 255)))
        self.check_colours(pictures)

    def check_colours(self, pictures):
        """The corners of the maps, where resizing changes nothing, on the scale of their class."""
        lines = [json.loads(line) for line in (self.out / "scores.jsonl").read_text().splitlines()]
        least = min(line["map_least"] for line in lines)
        largest = max([line["map_largest"] for line in lines] + [lines[0]["levels"] / 2])
        for path in pictures:
            defect, number, _ = path.name.split("-")
            (cached,) = (self.out / "cache").rglob(f"{defect}-{number}-*.npy")
            data = cached.read_bytes()
            header = 10 + struct.unpack("<H", data[8:10])[0]
            rows, columns = map(int, re.search(rb"\((\d+), (\d+)\)", data).groups())
            values = struct.unpack(f"<{rows * columns}f", data[header:])
            drawn = Image.open(path).convert("RGB")
            for x, y in ((0, 0), (1, 0), (0, 1), (1, 1)):
                value = values[y * (rows - 1) * columns + x * (columns - 1)]
                v = 4 * (value - least) / (largest - least)
                colour = [min(max(part, 0), 1) for part in (v - 2, min(v, 4 - v), 2 - v)]
                place = x * (WIDTH - 1), y * (HEIGHT - 1)
                photo = drawn.getpixel(place)
                heat = drawn.getpixel((place[0] + 2 * (WIDTH + GAP), place[1]))
                for got, below, part in zip(heat, photo, colour):
                    self.assertAlmostEqual(got, (below + 255 * part) / 2, delta=2)

    def test_histogram_and_scores_alone(self):
        self.mvtec()
        _, exact, _ = self.evaluate()
        _, binned, _ = self.evaluate("--histogram")
        _, scores, _ = self.evaluate("--no-pixels", "--out", self.out)
        exact, binned, scores = (r["checkpoints"][0]["classes"][0] for r in (exact, binned, scores))
        for name in ("pixel_auroc", "pixel_ap", "pixel_f1_max", "aupro_30", "aupro_05"):
            self.assertLessEqual(abs(binned[name] - exact[name]), binned[f"{name}_error"] + 1e-12)
            self.assertIsNone(scores[name])
        self.assertGreater(binned["pixel_auroc_error"], 0)
        for name in ("image_auroc", "image_ap", "image_f1_max", "raw_image_auroc"):
            self.assertEqual(scores[name], exact[name])
        self.assertEqual(list(self.out.rglob("*.npy")), [])

    def report(self):
        """Of a data set whose names would be markup."""
        lines = []
        for i in range(4):
            name = f"{i} <i>&'.png"
            write_photo(self.data / name, i)
            lines.append({"image_path": name, "label": i % 2, "class_name": '<b>&"x"'})
            if i % 2:
                write_mask(self.data / f"mask{i}.png", i)
                lines[-1]["mask_path"] = f"mask{i}.png"
        (self.data / "list.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        self.evaluate("--manifest", self.data / "list.jsonl", "--out", self.out)
        return self.out / "report.html"

    def test_report_is_whole_in_itself(self):
        text = self.report().read_text()
        outline = Outline()
        outline.feed(text)
        outline.close()
        self.assertEqual(outline.open, [])
        self.assertNotIn("b", outline.counts)
        self.assertNotIn("i", outline.counts)
        self.assertEqual(outline.counts["img"], 4)
        self.assertEqual(len(outline.loaded), 4)
        for source in outline.loaded:
            self.assertTrue(source.startswith("data:image/png;base64,"), source[:40])
        self.assertNotIn("url(", text)
        self.assertNotIn("<script", text)
        self.assertIn('<b>&"x"', outline.texts)
        self.assertEqual(len(re.findall(r'<path fill="none"', text)), 6)

    def test_report_opens_in_a_browser(self):
        browser = shutil.which("chromium") or shutil.which("chromium-browser")
        if not browser:
            self.skipTest("no chromium")
        shot = self.folder / "report.png"
        # what a page loads from elsewhere would fail to resolve
        subprocess.run(
            [browser, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1200,1600",
             "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={self.folder / 'browser'}",
             f"--screenshot={shot}", self.report().as_uri()],
            capture_output=True, timeout=100, check=False,
        )  # fmt: skip
        self.assertEqual(struct.unpack(">II", shot.read_bytes()[16:24]), (1200, 1600))
        self.assertGreater(shot.stat().st_size, 50000)  # an empty page has a twentieth of it

    def test_one_class_and_other_split(self):
        self.mvtec("metal_nut")
        self.mvtec("screw", good=2, bad=2, seed=20)
        _, found, rows = self.evaluate("--dataset", "MVTec", "--class", "screw")
        self.assertEqual([c["class"] for c in found["checkpoints"][0]["classes"]], ["screw"])
        self.assertEqual(len(rows), 4)
        _, found, rows = self.evaluate("--dataset", "MVTec", "--split", "train")
        self.assertEqual(len(rows), 2)
        self.assertTrue(all(math.isfinite(float(row["dataset_score"])) for row in rows))

    def test_plain_clip(self):
        self.mvtec()
        _, trained, _ = self.evaluate()
        _, plain, _ = self.evaluate(weights=[])
        self.assertEqual(plain["checkpoints"][0]["name"], "plain CLIP")
        self.assertNotEqual(plain["checkpoints"][0]["mean"], trained["checkpoints"][0]["mean"])

    def test_bundle(self):
        self.mvtec()
        bundle = self.folder / "bundle.safetensors"
        made = call(
            CONVERT, "--bundle", *MODEL, *ADAPTERS, "--dataset", "MVTec", "--class", "metal_nut",
            "--out", bundle,
        )  # fmt: skip
        self.assertEqual(made.returncode, 0, made.stderr)
        _, expected, _ = self.evaluate("--dataset", "MVTec")
        _, found, _ = self.evaluate(weights=["--model", bundle])
        self.assertEqual(found["checkpoints"][0]["mean"], expected["checkpoints"][0]["mean"])

    def detect(self, paths, *options, weights=ADAPTERS):
        """What aaclip-detect reports of the images."""
        report = self.folder / "detect.json"
        result = call(
            DETECT, *MODEL, *weights, *SIZE, "--class", "metal_nut", "--dataset", "MVTec",
            "--json", report, *options, *paths,
        )  # fmt: skip
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(report.read_text())["images"]

    def check_decisions(self, images, thresholds):
        """Decisions and regions of images of which score and peak are known."""
        for image, alone in zip(images, self.peaks):
            self.assertEqual(image["score"], alone["score"])
            score = alone["score"] >= thresholds["image_threshold"]
            reached = alone["regions"][0]["peak"] >= thresholds["map_threshold"]
            expected = {"score": score, "map": reached, "either": score or reached}
            self.assertIs(image["decision"], expected[thresholds["decide_by"]])
            self.assertIs(bool(image["regions"]), reached)

    def calibrated(self, *options, count=(8, 4)):
        """Thresholds of a new data set; self.peaks has every image's score and highest peak."""
        self.mvtec(good=count[0], bad=count[1])
        file = self.folder / "nut.json"
        result, _, rows = self.evaluate("--dataset", "MVTec", "--calibrate", file, *options)
        self.paths = [row["image"] for row in rows]
        self.labels = [int(row["label"]) for row in rows]
        self.peaks = self.detect(self.paths, "--threshold", 0)
        return result, file, json.loads(file.read_text())

    def test_calibration_on_good_parts(self):
        self.calibrate_on_good_parts("either", 1)

    def test_calibration_of_maps(self):
        self.calibrate_on_good_parts("map", 2, "--decide-by", "map")

    def calibrate_on_good_parts(self, decide_by, alarms, *more):
        """`alarms` of 8 good parts are allowed to each threshold."""
        saved = self.folder / "nut.safetensors"
        options = ["--false-alarm-rate", 0.25, "--save-adapters", saved, *more]
        result, file, thresholds = self.calibrated(*options)
        self.assertEqual(thresholds["decide_by"], decide_by)
        self.assertEqual((thresholds["class_name"], thresholds["tile"]), ("metal_nut", 0))
        self.assertEqual(thresholds["image_size"], int(SIZE[1]))
        self.assertEqual((thresholds["method"], thresholds["images"]), ("quantile", 8))
        self.assertEqual(thresholds["false_alarm_rate"], 0.25)
        self.assertIn(f"metal_nut: image threshold {thresholds['image_threshold']:.6g}",
                      result.stdout)  # fmt: skip
        good = [image for image, label in zip(self.peaks, self.labels) if not label]
        for name, values in (
            ("image_threshold", [image["score"] for image in good]),
            ("map_threshold", [image["regions"][0]["peak"] for image in good]),
        ):
            reaching = [
                sum(value >= threshold for value in values)
                for threshold in (thresholds[name], neighbour(thresholds[name], -1))
            ]
            self.assertLessEqual(reaching[0], alarms)
            self.assertGreater(reaching[1], alarms)  # the smallest of such thresholds
        images = self.detect(self.paths, "--calibration", file)
        self.check_decisions(images, thresholds)
        called = [i["decision"] for i, label in zip(images, self.labels) if not label]
        self.assertLessEqual(sum(called), 2)
        weights = ["--adapters", saved]
        self.check_decisions(self.detect(self.paths, weights=weights), thresholds)
        self.fails(*MODEL, *ADAPTERS, "--image-size", 2 * int(SIZE[1]), "--class", "metal_nut",
                   "--calibration", file, *self.paths, program=DETECT,
                   says="aaclip_calibration.image_size: expected")  # fmt: skip
        self.fails(*MODEL, *ADAPTERS, *SIZE, "--class", "screw", "--calibration", file,
                   *self.paths, program=DETECT, says="not 'screw'")  # fmt: skip
        self.fails(*MODEL, *ADAPTERS, *SIZE, "--domain", "medical", "--data-root", self.data,
                   "--calibration", file, says="aaclip_calibration.domain")  # fmt: skip

    def test_calibration_by_f1(self):
        _, file, thresholds = self.calibrated("--f1")
        self.assertEqual((thresholds["method"], thresholds["images"]), ("f1_max", 12))
        found = []
        for name, values in (
            ("image_threshold", [image["score"] for image in self.peaks]),
            ("map_threshold", [image["regions"][0]["peak"] for image in self.peaks]),
        ):
            best = max((f1_at(values, self.labels, value), value) for value in values)
            below = max((value for value in values if value < best[1]), default=best[1])
            self.assertAlmostEqual(thresholds[name], (best[1] + below) / 2, places=6)
            found.append(best[0])
        self.assertEqual(thresholds["decide_by"], "map" if found[1] > found[0] else "score")
        self.check_decisions(self.detect(self.paths, "--calibration", file), thresholds)

    def test_calibration_from_another_split(self):
        result, _, thresholds = self.calibrated("--split", "train", count=(2, 1))
        self.assertEqual(thresholds["images"], 1)
        self.assertEqual(thresholds["false_alarm_rate"], 0.01)
        self.assertIn("1 normal images are too few", result.stderr)
        self.assertEqual(thresholds["image_threshold"], neighbour(self.peaks[0]["score"], 1))

    def test_calibration_of_several_classes(self):
        self.mvtec("metal_nut")
        self.mvtec("screw", good=2, bad=0, seed=20)
        folder = self.folder / "thresholds"
        self.evaluate("--calibrate", folder)
        self.assertEqual(sorted(p.name for p in folder.iterdir()), ["metal_nut.json", "screw.json"])
        of_all = json.loads((folder / "screw.json").read_text())
        self.assertEqual(of_all["images"], 2)
        self.evaluate("--class", "screw", "--calibrate", self.folder / "one.json")
        self.assertEqual(json.loads((self.folder / "one.json").read_text()), of_all)
        data = [*MODEL, *ADAPTERS, *SIZE, "--data-root", self.data]
        one = ["--calibrate", self.folder / "one.json"]
        self.fails(*data, *one, says=["one class, found 2", "--class"])
        self.fails(*data, "--save-adapters", self.folder / "a", says="one class, found 2")
        self.fails(*data, "--calibrate", folder, "--f1", says=["screw", "2 normal and 0 abnormal"])
        self.fails(*data, "--calibrate", folder, "--no-pixels", says="--no-pixels")
        self.fails(*data, "--f1", says="--f1 needs --calibrate")
        self.fails(*data, *one, "--f1", "--false-alarm-rate", 0, says="exclude each other")
        self.fails(*data, *one, "--false-alarm-rate", 1, says="below 1")
        self.fails(*data, *one, "--decide-by", "luck", says="score, map or either, found 'luck'")
        self.fails(*data, "--decide-by", "map", says="--decide-by needs --calibrate")
        plain = [*MODEL, *SIZE, "--data-root", self.data, "--class", "screw"]
        self.fails(*plain, "--save-adapters", self.folder / "a", says="--save-adapters needs adapters")

    def test_calibration_tells_how_good_it_is(self):
        result, _, thresholds = self.calibrated("--false-alarm-rate", 0.25)
        scores = [image["score"] for image in self.peaks]
        peaks = [image["regions"][0]["peak"] for image in self.peaks]
        lines = result.stdout.splitlines()
        at = lines.index(next(line for line in lines if "image threshold" in line))
        for line, name, values in zip(lines[at + 1 :], ("image", "map"), (scores, peaks)):
            calls = [value >= thresholds[f"{name}_threshold"] for value in values]
            _, false, missed, _ = confusion(self.labels, calls)
            f1 = 100 * f1_at(values, self.labels, thresholds[f"{name}_threshold"])
            self.assertEqual(
                line,
                f"  {'score' if name == 'image' else name}: {false} of 8 normal images called "
                f"abnormal, {missed} of 4 abnormal ones missed, F1 {f1:.1f}",
            )
        calls = [score >= thresholds["image_threshold"] or peak >= thresholds["map_threshold"]
                 for score, peak in zip(scores, peaks)]  # fmt: skip
        _, false, missed, _ = confusion(self.labels, calls)
        self.assertIn(f"  either: {false} of 8 normal images called abnormal, {missed} of 4",
                      lines[at + 3])  # fmt: skip
        metrics = json.loads((self.folder / "r.json").read_text())["checkpoints"][0]["classes"][0]
        self.assertEqual(
            lines[at + 4],
            f"  image AUROC: {100 * metrics['raw_image_auroc']:.1f} of the score, "
            f"{100 * metrics['image_auroc']:.1f} of the data-set score",
        )

    def test_calibration_that_is_useless_is_told(self):
        for i in range(4):
            write_photo(self.data / f"{i}.png", i)
        _, _, rows = self.evaluate("--layout", "folder")
        rows.sort(key=lambda row: float(row["score"]))
        lines = [{"image_path": Path(row["image"]).name, "label": int(row is not rows[-1]),
                  "class_name": "nut"} for row in rows]  # fmt: skip
        manifest = self.data / "list.jsonl"
        manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
        result, _, _ = self.evaluate("--manifest", manifest, "--f1", "--calibrate",
                                     self.folder / "nut.json")  # fmt: skip
        self.assertIn('"nut": the image threshold calls every image abnormal', result.stderr)
        self.assertIn("image AUROC of the score is 0.0: it hardly separates", result.stderr)
        self.assertIn("1 of 1 normal images called abnormal, 0 of 3", result.stdout)

    def thresholds(self, rows):
        """A folder of files: a score that occurs, and a probability that no pixel of a map has."""
        folder = self.folder / "thresholds"
        folder.mkdir()
        levels = json.loads((self.out / "scores.jsonl").read_text().splitlines()[0])["levels"]
        for name in {row["class"] for row in rows}:
            scores = sorted(float(row["score"]) for row in rows if row["class"] == name)
            values = sorted({v for p in (self.out / "cache" / name).iterdir() for v in read_npy(p)[0]})
            at = next(i for i in range(len(values) // 2, len(values))
                      if values[i] - values[i - 1] > 1e-4)  # fmt: skip
            middle = (values[at] + values[at - 1]) / 2
            (folder / f"{name}.json").write_text(json.dumps({
                "image_threshold": scores[len(scores) // 2],
                "map_threshold": 1 / (1 + math.exp(1 - 2 * middle / levels)),
                "false_alarm_rate": 0.01, "method": "quantile", "images": 100}))  # fmt: skip
        return folder, levels

    def check_rates(self, decisions, rows, folder, levels):
        """Counts the decisions of a class again; its pixels from the maps that were kept."""
        name = rows[0]["class"]
        labels, calls = ([int(row[key]) for row in rows] for key in ("label", "decision"))
        threshold = json.loads((folder / f"{name}.json").read_text())
        wanted = [float(row["score"]) >= threshold["image_threshold"] for row in rows]
        self.assertEqual([call == 1 for call in calls], wanted)
        negatives, false, missed, hits = confusion(labels, calls)
        for key, value in (
            ("true_positives", hits), ("false_positives", false), ("true_negatives", negatives),
            ("false_negatives", missed), ("sensitivity", hits / (hits + missed)),
            ("specificity", negatives / (negatives + false)),
        ):  # fmt: skip
            self.assertEqual(decisions[key], value, key)
        marks, called = [], []
        for row in rows:
            path = Path(row["image"])
            kind, number = path.parent.name, path.stem
            (kept,) = (self.out / "cache" / name).glob(f"{kind}-{number}-*.npy")
            values, width, height = read_npy(kept)
            drawn = kind == "bent"
            marks += truth(int(number), width, height) if drawn else [False] * len(values)
            called += [1 / (1 + math.exp(1 - 2 * value / levels)) >= threshold["map_threshold"]
                       for value in values]  # fmt: skip
        _, false, missed, hits = confusion(marks, called)
        self.assertGreater(hits, 0)
        self.assertAlmostEqual(decisions["pixel_dice"], 2 * hits / (2 * hits + false + missed))
        self.assertAlmostEqual(decisions["pixel_iou"], hits / (hits + false + missed))
        for key in ("image_threshold", "map_threshold"):
            self.assertAlmostEqual(decisions[key], threshold[key], places=6)

    def test_decisions(self):
        self.mvtec("metal_nut", good=5, bad=3)
        self.mvtec("screw", good=2, bad=2, seed=20)
        keep = ["--dataset", "MVTec", "--out", self.out]
        _, _, rows = self.evaluate(*keep)
        self.assertNotIn("decision", rows[0])
        folder, levels = self.thresholds(rows)
        result, found, rows = self.evaluate(*keep, "--calibration", folder, "--pictures")
        self.assertEqual(found["calibration"], str(folder))
        checkpoint = found["checkpoints"][0]
        self.assertEqual((checkpoint["computed"], checkpoint["reused"]), (0, 12))
        nut, screw = (c["decisions"] for c in checkpoint["classes"])
        nuts = [row for row in rows if row["class"] == "metal_nut"]
        self.check_rates(nut, nuts, folder, levels)
        self.check_rates(screw, [row for row in rows if row["class"] == "screw"], folder, levels)
        mean = checkpoint["mean"]["decisions"]
        self.assertEqual(mean["true_positives"], nut["true_positives"] + screw["true_positives"])
        for key in ("sensitivity", "specificity", "pixel_dice", "pixel_iou"):
            self.assertAlmostEqual(mean[key], (nut[key] + screw[key]) / 2)
        self.assertNotIn("map_threshold", mean)

        # as aaclip-detect decides
        images = self.detect([row["image"] for row in nuts], "--calibration",
                             folder / "metal_nut.json")  # fmt: skip
        self.assertEqual([str(int(i["decision"])) for i in images], [r["decision"] for r in nuts])

        # in the table, in the report, and which picture is whose
        shown = [str(nut[f"{a}_{b}"]) for a, b in (("true", "positives"), ("false", "positives"),
                                                  ("true", "negatives"), ("false", "negatives"))]
        shown += [f"{100 * nut[key]:.1f}" for key in ("sensitivity", "specificity", "pixel_dice",
                                                     "pixel_iou")]  # fmt: skip
        self.assertIn(["metal_nut", *shown], [line.split() for line in result.stdout.splitlines()])
        cells = "".join(f"<td>{text}</td>" for text in ["metal_nut", *shown])
        self.assertIn(cells, (self.out / "report.html").read_text())
        drawn = {str(path.relative_to(self.out)) for path in (self.out / "pictures").rglob("*.png")}
        self.assertEqual({row["picture"] for row in rows}, drawn)
        for row in rows:
            path = Path(row["image"])
            self.assertIn(f"{row['class']}/{path.parent.name}-{path.stem}-", row["picture"])

        # without what was kept, and without pixels, whose maps are kept for their peaks
        _, again, _ = self.evaluate("--dataset", "MVTec", "--calibration", folder)
        self.assertEqual(again["checkpoints"][0]["mean"]["decisions"], mean)
        for computed in (12, 0):
            _, alone, others = self.evaluate("--dataset", "MVTec", "--calibration", folder,
                                             "--no-pixels", "--out", self.folder / "o")  # fmt: skip
            self.assertEqual(alone["checkpoints"][0]["computed"], computed)
            self.assertEqual([r["decision"] for r in others], [r["decision"] for r in rows])
            self.assertIsNone(alone["checkpoints"][0]["mean"]["decisions"]["pixel_dice"])

    def test_decisions_of_images_without_labels(self):
        for i in range(2):
            write_photo(self.data / f"{i}.png", i)
        nowhere = {"image_threshold": 2.0, "map_threshold": 1.0, "false_alarm_rate": 0,
                   "method": "quantile", "images": 1}  # fmt: skip
        file = self.folder / "c.json"
        file.write_text(json.dumps(nowhere))
        _, found, rows = self.evaluate("--layout", "folder", "--calibration", file)
        self.assertEqual([row["decision"] for row in rows], ["0", "0"])
        decisions = found["checkpoints"][0]["classes"][0]["decisions"]
        self.assertEqual([decisions[k] for k in ("true_negatives", "specificity")], [0, None])

    def test_bad_calls_of_decisions(self):
        self.mvtec("metal_nut", good=1, bad=1)
        self.mvtec("screw", good=1, bad=0)
        folder = self.folder / "thresholds"
        self.evaluate("--class", "screw", "--calibrate", folder)
        file = folder / "screw.json"
        data = [*MODEL, *ADAPTERS, *SIZE, "--data-root", self.data, "--out", self.out]
        self.fails(*data, "--calibration", file, says=["one class, found 2", "--class"])
        self.fails(*data, "--calibration", folder, says=['"metal_nut"', "metal_nut.json"])
        self.fails(*data, "--class", "screw", "--calibration", folder / "no.json", says="no.json")
        line = {"image_path": "screw/test/good/000.png", "class_name": "../screw", "label": 0}
        manifest = self.data / "list.jsonl"
        manifest.write_text(json.dumps(line) + "\n")
        self.fails(*data, "--manifest", manifest, "--calibration", folder,
                   says='class "../screw": expected a valid file name')  # fmt: skip
        manifest.unlink()
        for option in ("--calibrate", "--save-adapters"):
            self.fails(*data, "--calibration", folder, option, folder / "x",
                       says=f"--calibration and {option} exclude each other")  # fmt: skip
        self.fails(*data, "--calibration", folder, "--f1", says="--f1 needs --calibrate")
        epochs = self.folder / "epochs"
        epochs.mkdir()
        for number in (1, 2):
            copy_file(TRAINED / "image_adapter_20.pth", epochs / f"image_adapter_{number}.pth")
        self.fails(*MODEL, "--checkpoints", epochs, *SIZE, "--data-root", self.data,
                   "--calibration", folder, says="one checkpoint, found 2")  # fmt: skip
        self.assertEqual([*self.out.rglob("*.npy")], [])

    def test_phrase(self):
        self.mvtec("metal_nut")
        phrase = ["--phrase", "hexagonal steel bolt"]
        file = self.folder / "bolt.json"
        _, _, plain = self.evaluate("--dataset", "MVTec")
        _, _, rows = self.evaluate("--dataset", "MVTec", "--calibrate", file,
                                   "--decide-by", "score", *phrase)  # fmt: skip
        self.assertNotEqual([r["score"] for r in rows], [r["score"] for r in plain])
        images = self.detect([row["image"] for row in rows], "--calibration", file, *phrase)
        self.assertEqual([r["score"] for r in rows], [f"{i['score']:.9g}" for i in images])
        thresholds = json.loads(file.read_text())
        for image in images:
            self.assertIs(image["decision"], image["score"] >= thresholds["image_threshold"])
        _, _, again = self.evaluate("--dataset", "MVTec")
        self.assertEqual([r["score"] for r in again], [r["score"] for r in plain])
        self.mvtec("screw", good=2, bad=2, seed=20)
        data = [*MODEL, *ADAPTERS, *SIZE, "--data-root", self.data]
        self.fails(*data, *phrase, says=["one class, found 2", "--class"])

    def test_tiles(self):
        self.mvtec()
        tiles = ["--tile", 70]
        self.assertEqual(self.computed(*tiles, "--pictures"), (6, 0))
        found = json.loads((self.folder / "r.json").read_text())
        self.assertEqual((found["tile"], found["tile_overlap"]), (70, 0.25))
        width, height = self.check_pixels(found["checkpoints"][0]["classes"][0])
        self.assertNotEqual((width, height), (SIDE, SIDE))
        lines = (self.out / "scores.jsonl").read_text().splitlines()
        paths = [json.loads(line)["image"] for line in lines]
        alone = self.detect(paths, *tiles)
        rows = list(csv.DictReader((self.folder / "r.csv").read_text().splitlines()))
        scores = {row["image"]: (row["score"], row["map_largest"]) for row in rows}
        for path, image in zip(paths, alone):
            wanted = (f"{image['score']:.9g}", f"{image['map_maximum']:.9g}")
            self.assertEqual(tuple(map(float, scores[path])), tuple(map(float, wanted)))
        self.assertEqual(self.computed(*tiles), (0, 6))
        self.assertEqual(self.computed(*tiles, "--tile-overlap", 0.5), (6, 0))
        self.assertEqual(self.computed("--tile", 60), (6, 0))
        self.assertEqual(self.computed(), (6, 0))
        data = [*MODEL, *ADAPTERS, *SIZE, "--data-root", self.data]
        self.fails(*data, "--tile-overlap", 0.5, says="--tile-overlap needs --tile")

    def test_json_to_stdout_stands_alone(self):
        self.mvtec(good=1, bad=1)
        result = call(
            EVALUATE, *MODEL, *ADAPTERS, *SIZE, "--data-root", self.data, "--json", "-"
        )  # fmt: skip
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(json.loads(result.stdout)["images"], 2)

    def test_bad_calls(self):
        self.mvtec(good=1, bad=1)
        data = ["--data-root", self.data]
        self.fails(*data, says="--model is missing")
        self.fails(*MODEL, says="no data")
        self.fails(*MODEL, *data, "more", says="unexpected argument 'more'")
        self.fails(*MODEL, *data, "--pictures", says="--pictures needs --out")
        self.fails(*MODEL, *data, "--layout", "tree", says=["--layout", "visa", "'tree'"])
        self.fails(*MODEL, *data, "--split", "some", says=["--split", "validation", "'some'"])
        self.fails(*MODEL, *data, *ADAPTERS, "--checkpoints", self.data, says="exclude each other")
        self.fails(*MODEL, *data, "--checkpoints", self.data, says="no image_adapter_N.pth")
        self.fails(*MODEL, *data, "--class", "bottle", says="bottle")
        self.fails(*MODEL, *data, "--dataset", "Nothing", says="Nothing")
        self.fails(*MODEL, "--data-root", self.folder / "none", says="none")
        blocker = self.folder / "file"
        blocker.write_text("")
        self.fails(*MODEL, *ADAPTERS, *data, *SIZE, "--out", blocker / "out", says=str(blocker))
        self.fails(*MODEL, *data, "--json", "-", "--csv", "-", says="stdout takes one")
        # told before anything is computed
        for option in ("--json", "--csv", "--save-adapters", "--calibrate"):
            self.fails(*MODEL, *ADAPTERS, *data, *SIZE, "--class", "metal_nut", "--out", self.out,
                       option, self.folder / "no" / "r.json", says="no/r.json: cannot write")  # fmt: skip
        self.fails(*MODEL, *ADAPTERS, *data, *SIZE, "--out", self.out, "--calibrate",
                   blocker / "thresholds", says=str(blocker))  # fmt: skip
        self.assertEqual([*self.out.rglob("*.npy")], [])
        self.assertIn("usage:", call(EVALUATE, "--help").stdout)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[5:]])
