"""aaclip-detect --tile, judged by Pillow's crops, each detected alone, and a blend by NumPy."""

import json
import math
import shutil
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

DETECT, GOLDEN = sys.argv[1:3]
NANO = Path(GOLDEN) / "nano"
PHOTO = Path(GOLDEN) / "images" / "chelsea.png"
SIZE = 112
OPTIONS = ["--model", NANO / "clip.pt", "--class", "metal_nut", "--dataset", "MVTec",
           "--image-size", SIZE]  # fmt: skip
for name in ("text_adapter.pth", "image_adapter_20.pth"):
    OPTIONS += ["--adapters", NANO / "adapters-document" / name]


def axis(length, tile, overlap):
    """Where tiles begin in the picture and in the map, their side, and the side of the map."""
    if length <= tile:
        return [0], [0], length, SIZE
    step = tile - math.floor(overlap * tile + 0.5)
    count = 1 + math.ceil((length - tile) / step)
    begins = [i * (length - tile) // (count - 1) for i in range(count)]
    places = [math.floor(begin * SIZE / tile + 0.5) for begin in begins]
    return begins, places, tile, places[-1] + SIZE


class Tiles(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp(prefix="aaclip-tiles-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.common = [*OPTIONS, "--text-cache", cls.folder / "text.safetensors"]

    def call(self, *arguments):
        return subprocess.run(
            [DETECT, *map(str, [*self.common, *arguments])],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    def detect(self, out, *arguments):
        result = self.call("--out", out, "--raw", "--json", out / "r.json", *arguments)
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads((out / "r.json").read_text())

    def out(self, name):
        path = self.folder / name
        path.mkdir()
        return path

    def blend(self, photo, tile, overlap, out):
        """The largest score of all crops, the mean of their maps, and how many made each value."""
        lefts, columns, width, map_width = axis(photo.width, tile, overlap)
        tops, rows, height, map_height = axis(photo.height, tile, overlap)
        crops = {}
        for i, top in enumerate(tops):
            for j, left in enumerate(lefts):
                path = out / f"crop-{i}-{j}.png"
                photo.crop((left, top, left + width, top + height)).save(path)
                crops[path] = (slice(rows[i], rows[i] + SIZE), slice(columns[j], columns[j] + SIZE))
        scores = [row["score"] for row in self.detect(out, *crops)["images"]]
        fall = np.minimum(np.arange(SIZE) + 0.5, SIZE - np.arange(SIZE) - 0.5)
        sums, weights, covering = np.zeros((3, map_height, map_width))
        for path, place in crops.items():
            weight = np.outer(fall, fall)
            sums[place] += weight * np.load(out / f"{path.stem}_map.npy")
            weights[place] += weight
            covering[place] += 1
        return max(scores), sums / weights, covering

    def test_blends_the_maps_of_crops(self):
        photo = Image.open(PHOTO).convert("RGB")
        cases = [(112, None), (100, 0.5), (75, 0), (160, 0.2)]
        for tile, overlap in cases:
            with self.subTest(tile=tile, overlap=overlap):
                given = [] if overlap is None else ["--tile-overlap", overlap]
                used = 0.25 if overlap is None else overlap
                score, expected, covering = self.blend(photo, tile, used, self.out(f"crops-{tile}"))
                out = self.out(f"tiles-{tile}")
                report = self.detect(out, "--tile", tile, *given, PHOTO)
                found = np.load(out / "chelsea_map.npy")
                self.assertEqual(report["tile"], tile)
                self.assertEqual(report["images"][0]["score"], score)
                self.assertEqual(found.shape, expected.shape)
                self.assertGreater(covering.max(), 1 if used else 0)
                np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * abs(expected).max())
                alone = covering == 1
                np.testing.assert_array_equal(found[alone], expected[alone].astype(np.float32))
                with Image.open(out / "chelsea_overlay.png") as overlay:
                    self.assertEqual(overlay.size, photo.size)

    def test_regions_are_those_of_the_blended_map(self):
        out = self.out("regions")
        report = self.detect(out, "--tile", 100, "--mask", "--threshold", 0.5, PHOTO)
        mask = np.asarray(Image.open(out / "chelsea_mask.png"))
        probability = np.asarray(Image.open(out / "chelsea_map.png")) / 65535
        sure = abs(probability - 0.5) > 1 / 65535
        np.testing.assert_array_equal((mask == 255)[sure], (probability >= 0.5)[sure])
        self.assertGreater((mask == 255).sum(), 0)
        self.assertEqual(sum(r["area"] for r in report["images"][0]["regions"]), (mask != 0).sum())

    def test_a_picture_of_one_tile(self):
        plain, tiled = self.out("plain"), self.out("one")
        expected = self.detect(plain, PHOTO)
        found = self.detect(tiled, "--tile", 225, PHOTO)
        self.assertNotIn("tile", expected)
        self.assertEqual(found["images"], expected["images"])
        for name in ("chelsea_map.npy", "chelsea_map.png", "chelsea_overlay.png"):
            self.assertEqual((plain / name).read_bytes(), (tiled / name).read_bytes())

    def fails(self, *arguments, says):
        result = self.call(*arguments)
        self.assertEqual(result.returncode, 1, result.stdout + result.stderr)
        for words in says:
            self.assertIn(words, result.stderr)

    def test_bad_calls(self):
        self.fails("--tile-overlap", "0.5", PHOTO, says=["--tile-overlap needs --tile"])
        self.fails("--tile", "100", "--tile-overlap", "0.95", PHOTO, says=["found 0.95"])
        self.fails("--tile", "100", "--tile-overlap", "-0.1", PHOTO, says=["--tile-overlap"])
        self.fails("--tile", "-3", PHOTO, says=["--tile"])
        large = self.folder / "large.png"
        Image.new("RGB", (400, 300)).save(large)
        self.fails("--tile", "1", large, says=["400x300", "44800x33600"])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
