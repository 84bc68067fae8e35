"""Masks, regions and decisions of aaclip-detect, judged by a flood fill of its 16-bit map."""

import csv
import json
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

try:
    import numpy as np
    from PIL import Image
except ImportError as error:
    print(error)
    sys.exit(77)

DETECT, CONVERT, GOLDEN = sys.argv[1:4]
NANO = Path(GOLDEN) / "nano"
PHOTO = Path(GOLDEN) / "images" / "chelsea.png"
ADAPTERS = [NANO / "adapters-document" / n for n in ("text_adapter.pth", "image_adapter_20.pth")]
MODEL = ["--model", NANO / "clip.pt"]
CLASS = ["--class", "metal_nut", "--dataset", "MVTec", "--image-size", "112"]
WIDTH, HEIGHT = 225, 150


def call(program, *arguments):
    return subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )


def adapter_options(*paths):
    return [word for path in paths for word in ("--adapters", path)]


def calibration(image, pixel, **changes):
    fields = {"image_threshold": image, "map_threshold": pixel, "false_alarm_rate": 0.01,
              "method": "quantile", "images": 100}  # fmt: skip
    return {**fields, **changes}


def with_metadata(source, target, key, value):
    data = source.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"][key] = value
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    target.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])


def flood(mask):
    """Numbers the 8-connected regions from 1; returns their image and how many there are."""
    labels = np.zeros(mask.shape, int)
    left = {(y, x) for y, x in np.argwhere(mask).tolist()}
    count = 0
    while left:
        count += 1
        waiting = [left.pop()]
        while waiting:
            y, x = waiting.pop()
            labels[y, x] = count
            around = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= around
            waiting += around
    return labels, count


class Regions(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.shared = Path(tempfile.mkdtemp(prefix="aaclip-regions-"))
        cls.addClassCleanup(shutil.rmtree, cls.shared)
        cls.adapters = cls.shared / "adapters.safetensors"
        made = call(CONVERT, *MODEL, *adapter_options(*ADAPTERS), "--out", cls.adapters)
        assert made.returncode == 0, made.stderr
        cls.common = [*MODEL, *CLASS, "--text-cache", cls.shared / "text.safetensors"]
        found = call(
            DETECT, *cls.common, *adapter_options(cls.adapters), "--out", cls.shared, "--raw",
            "--json", cls.shared / "r.json", PHOTO,
        )  # fmt: skip
        assert found.returncode == 0, found.stderr
        cls.report = json.loads((cls.shared / "r.json").read_text())
        cls.score = cls.report["images"][0]["score"]
        cls.map = np.asarray(Image.open(cls.shared / "chelsea_map.png")).astype(float) / 65535

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="aaclip-regions-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def detect(self, *options, adapters=None):
        """The report of one photograph."""
        path = self.folder / "r.json"
        result = call(
            DETECT, *self.common, *adapter_options(adapters or self.adapters), "--json", path,
            *options, PHOTO,
        )  # fmt: skip
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(path.read_text())

    def fails(self, *options, says):
        result = call(DETECT, *self.common, *adapter_options(self.adapters), *options, PHOTO)
        self.assertEqual(result.returncode, 1, result.stdout + result.stderr)
        for words in says:
            self.assertIn(words, result.stderr)

    def threshold(self, share):
        """One that this share of pixels is below, in the middle of a gap between 16-bit values."""
        values = np.unique(self.map)
        values = values[values >= np.quantile(self.map, share)]
        wide = np.flatnonzero(np.diff(values) > 1.5 / 65535)[0]
        return float((values[wide] + values[wide + 1]) / 2)

    def file(self, name, content):
        path = self.folder / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    def roi(self, name="roi.png", width=WIDTH, height=HEIGHT):
        look = np.zeros((height, width), np.uint8)
        look[20:110, 30:200] = 1  # nearly black, but not black
        look[50:60, 90:120] = 0
        Image.fromarray(look).save(self.folder / name)
        return self.folder / name, look

    def check_regions(self, regions, mask):
        labels, count = flood(mask)
        expected = []
        for number in range(1, count + 1):
            rows, columns = np.nonzero(labels == number)
            left, top = columns.min(), rows.min()
            expected.append(
                (left, top, columns.max() - left + 1, rows.max() - top + 1, len(rows))
            )  # fmt: skip
        self.assertGreater(count, 0)
        boxes = [tuple(r[k] for k in ("x", "y", "width", "height", "area")) for r in regions]
        self.assertEqual(sorted(boxes), sorted(expected))
        peaks = [r["peak"] for r in regions]
        self.assertEqual(peaks, sorted(peaks, reverse=True))
        for region in regions:
            inside = labels == labels[region["peak_y"], region["peak_x"]]
            self.assertEqual(inside.sum(), region["area"])
            self.assertAlmostEqual(region["peak"], self.map[inside].max(), delta=0.6 / 65535)
            at_peak = self.map[region["peak_y"], region["peak_x"]]
            self.assertAlmostEqual(region["peak"], at_peak, delta=0.6 / 65535)
            self.assertAlmostEqual(region["mean"], self.map[inside].mean(), delta=0.6 / 65535)
        return count

    def mask_and_regions(self, share, *options, look=True):
        threshold = self.threshold(share)
        report = self.detect("--out", self.folder, "--mask", "--threshold", threshold, *options)
        mask = Image.open(self.folder / "chelsea_mask.png")
        self.assertEqual((mask.mode, mask.size), ("L", (WIDTH, HEIGHT)))
        expected = (self.map >= threshold) & look
        np.testing.assert_array_equal(np.asarray(mask), np.where(expected, 255, 0))
        self.assertAlmostEqual(report["map_threshold"], threshold, places=6)
        return report["images"][0]["regions"], expected

    def test_mask_and_regions(self):
        several = 0
        for share in (0.3, 0.6, 0.9, 0.97):
            several += self.check_regions(*self.mask_and_regions(share)) > 1
        self.assertGreater(several, 0)

    def test_region_of_interest(self):
        path, look = self.roi()
        regions, mask = self.mask_and_regions(0.6, "--roi", path, look=look != 0)
        self.check_regions(regions, mask)

    def test_smallest_area(self):
        threshold = self.threshold(0.6)
        everything = self.detect("--threshold", threshold)["images"][0]["regions"]
        least = max(r["area"] for r in everything)
        large = self.detect("--threshold", threshold, "--min-area", least)["images"][0]["regions"]
        self.assertEqual(large, [r for r in everything if r["area"] >= least])
        larger = self.detect("--threshold", threshold, "--min-area", least + 1)
        self.assertEqual(larger["images"][0]["regions"], [])

    def test_without_calibration(self):
        self.assertEqual(self.report["map_threshold"], 0.5)
        self.assertNotIn("image_threshold", self.report)
        self.assertNotIn("decision", self.report["images"][0])
        self.assertEqual(bool(self.report["images"][0]["regions"]), bool((self.map >= 0.5).any()))

    def test_decision_by_score(self):
        for image, decision in ((self.score, True), (self.score + 1e-6, False)):
            file = self.file("c.json", calibration(image, 0.25))
            table = self.folder / "r.csv"
            report = self.detect("--calibration", file, "--csv", table)
            self.assertIs(report["images"][0]["decision"], decision)
            self.assertEqual(report["map_threshold"], 0.25)
            self.assertAlmostEqual(report["image_threshold"], image, places=6)
            row = next(csv.DictReader(table.read_text().splitlines()))
            self.assertEqual(row["decision"], str(int(decision)))

    def test_decision_in_the_region_of_interest(self):
        path, look = self.roi()
        peak = self.map[look != 0].max()
        never = self.score + 1  # the score does not count here
        for pixel, decision in ((peak - 1e-4, True), (peak + 1e-4, False)):
            file = self.file("c.json", calibration(never, pixel))
            found = self.detect("--calibration", file, "--roi", path)["images"][0]
            self.assertIs(found["decision"], decision)
            self.assertEqual(bool(found["regions"]), decision)
        file = self.file("c.json", calibration(never, 0.999))
        found = self.detect("--calibration", file, "--roi", path, "--threshold", peak - 1e-4)
        self.assertIs(found["images"][0]["decision"], True)

    def test_calibration_with_the_adapters(self):
        own = self.folder / "calibrated.safetensors"
        stored = json.dumps(calibration(self.score, 0.125))
        with_metadata(self.adapters, own, "aaclip.calibration", stored)
        report = self.detect(adapters=own)
        self.assertIs(report["images"][0]["decision"], True)
        self.assertEqual(report["map_threshold"], 0.125)
        file = self.file("c.json", calibration(self.score + 1, 0.75))
        report = self.detect("--calibration", file, adapters=own)  # the file goes first
        self.assertIs(report["images"][0]["decision"], False)
        self.assertEqual(report["map_threshold"], 0.75)
        again = self.folder / "again.safetensors"
        made = call(CONVERT, *MODEL, *adapter_options(own), "--out", again)
        self.assertEqual(made.returncode, 0, made.stderr)
        self.assertEqual(self.detect(adapters=again)["map_threshold"], 0.125)

    def test_table(self):
        file = self.file("c.json", calibration(self.score, 0.5))
        result = call(DETECT, *self.common, *adapter_options(self.adapters), "--calibration", file,
                      PHOTO)  # fmt: skip
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("decision", result.stdout)
        self.assertIn("defect", result.stdout)

    def test_bad_calls(self):
        self.fails("--mask", says=["--mask needs --out"])
        self.fails("--threshold", "1.5", says=["--threshold", "found 1.5"])
        self.fails("--threshold", "x", says=["--threshold"])
        self.fails("--min-area", "-1", says=["--min-area"])
        self.fails("--calibration", self.folder / "none.json", says=["none.json"])
        bad = self.file("bad.json", calibration("high", 0.5))
        self.fails("--calibration", bad, says=["bad.json", "image_threshold"])
        self.fails("--roi", self.folder / "none.png", says=["none.png"])
        other, _ = self.roi("other.png", WIDTH - 1)
        report = ["--json", self.folder / "r.json"]
        self.fails("--roi", other, *report, says=["other.png: expected 225x150", "found 224x150"])
        own = self.folder / "broken.safetensors"
        with_metadata(self.adapters, own, "aaclip.calibration", "{}")
        result = call(DETECT, *self.common, *adapter_options(own), PHOTO)
        self.assertEqual(result.returncode, 1)
        self.assertIn("broken.safetensors: metadata aaclip.calibration: image_threshold",
                      result.stderr)  # fmt: skip

    def test_what_nothing_would_use(self):
        path, _ = self.roi()
        csv = ["--csv", self.folder / "r.csv", "--out", self.folder]
        file = ["--calibration", self.file("c.json", calibration(0.5, 0.5))]
        either = self.file("e.json", {**calibration(0.5, 0.5), "decide_by": "either"})
        common = [*self.common, *adapter_options(self.adapters), *csv]
        for options, words in (
            (["--min-area", "3"], "--min-area needs --json"),
            (["--min-area", "3", "--mask", *file], "--min-area needs --json"),
            (["--roi", path], "--roi needs --mask"),
            (["--threshold", "0.5"], "--threshold needs --mask"),
            (["--threshold", "0.5", *file], "--threshold needs --mask"),
        ):
            with self.subTest(options):
                self.fails(*csv, *options, says=[words])
        for options in (["--roi", path, *file], ["--roi", path, *file, "--threshold", "0.5"],
                        ["--threshold", "0.5", "--calibration", either],
                        ["--roi", path, "--mask"], ["--threshold", "0.5", "--mask"]):  # fmt: skip
            with self.subTest(options):
                result = call(DETECT, *common, *options, PHOTO)
                self.assertEqual(result.returncode, 0, result.stderr)

    def test_thresholds_of_other_words(self):
        own = {**calibration(0.5, 0.5), "class_name": CLASS[1]}
        self.detect("--calibration", self.file("c.json", own))
        other = self.file("o.json", {**own, "class_fingerprint": "0123456789abcdef"})
        self.fails("--calibration", other, says=["class_fingerprint", "0123456789abcdef"])

    def test_empty_region_of_interest(self):
        Image.new("L", (WIDTH, HEIGHT)).save(self.folder / "black.png")
        roi = ["--roi", self.folder / "black.png"]
        self.assertEqual(self.detect(*roi)["images"][0]["regions"], [])
        file = self.file("c.json", calibration(0.5, 0.5))
        self.fails(*roi, "--calibration", file, says=["no pixel selected"])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
