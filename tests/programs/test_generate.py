"""aaclip-generate as a user calls it: the tree, the manifests, the masks, the captions."""

import collections
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

try:
    import numpy
    from PIL import Image, ImageFilter
except ImportError:
    Image = None

GENERATE, TRAIN, EVALUATE, GOLDEN = map(os.path.abspath, sys.argv[1:5])
NANO = Path(GOLDEN) / "nano"
SIZE = ["--size", "96"]
MVTEC = {"bottle", "cable", "capsule", "carpet", "grid", "leather", "metal_nut", "pill", "screw",
         "tile", "wood", "zipper"}  # fmt: skip
DAMAGE = """abnormal anomal bad bent blemish blot broken bump chip clean contamina corro crack crease
    cut damag defect deform dent dirt discolo fault fibre flaw flawless fold good hole imperfect
    intact irregular mark misprint missing normal perfect rip rust scrape scratch smear spot stain
    tear thread torn undamaged unusual whole worn""".split()
EXTRA = r" with | (and|beside|next to) an? "  # patterns, prints, small things
COLOURS = {"red": (1, -0.5, -0.5), "green": (-0.5, 1, -0.5), "blue": (-0.5, -0.5, 1),
           "yellow": (0.5, 0.5, -1), "turquoise": (-1, 0.5, 0.5), "purple": (0.5, -1, 0.5),
           "orange": (1, 0, -1), "pink": (1, -0.8, -0.2)}  # fmt: skip
LIMIT = 300  # seconds


def call(program, *arguments):
    return subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True, timeout=LIMIT, check=False
    )


def contents(folder):
    """Path -> bytes of all files below a folder."""
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def pixels(path):
    with Image.open(path) as image:
        return numpy.asarray(image).astype(int)


class Generate(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="aaclip-generate-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def generates(self, name, *arguments):
        out = self.folder / name
        result = call(GENERATE, "--out", out, *arguments)
        self.assertEqual(result.returncode, 0, result.stderr)
        return out

    def fails(self, *arguments, says):
        result = call(GENERATE, *arguments)
        self.assertEqual(result.returncode, 1, result.stdout + result.stderr)
        self.assertIn(says, result.stderr)

    def classes(self):
        """Name -> kinds of defects, as --list tells them."""
        result = call(GENERATE, "--list")
        self.assertEqual(result.returncode, 0, result.stderr)
        lines = [line.split(":") for line in result.stdout.splitlines()]
        return {name: kinds.split() for name, kinds in lines}

    def test_classes(self):
        classes = self.classes()
        self.assertGreaterEqual(len(classes), 12)
        self.assertLessEqual(MVTEC, set(classes))
        for name, kinds in classes.items():
            self.assertGreaterEqual(len(set(kinds)), 4, name)
        self.assertGreaterEqual(len({kind for kinds in classes.values() for kind in kinds}), 8)

    def test_same_arguments_same_bytes(self):
        small = [*SIZE, "--train", "1", "--good", "1", "--defective", "2"]
        some = ["--class", "wood", "--class", "screw"]
        first = contents(self.generates("first", *small, *some, "--seed", "7"))
        again = contents(self.generates("again", *small, *some, "--seed", "7"))
        self.assertEqual(first, again)
        other = contents(self.generates("other", *small, *some, "--seed", "8"))
        self.assertEqual([p for p, data in first.items() if p.endswith(("0.png", "mask.png"))
                          and other.get(p) == data], [])  # fmt: skip
        more = contents(
            self.generates("more", *SIZE, "--train", "2", "--good", "3", "--defective", "9",
                           "--class", "screw", "--class", "pill", "--seed", "7")
        )  # fmt: skip
        kept = {p: data for p, data in first.items() if p.startswith("screw/")}
        self.assertEqual({p: more.get(p) for p in kept}, kept)

    def test_pictures_differ(self):
        out = self.generates("out", *SIZE, "--train", "4", "--good", "4", "--defective", "0")
        files = {p: data for p, data in contents(out).items() if p.endswith(".png")}
        self.assertEqual(len(files), 8 * len(self.classes()))
        self.assertEqual(len(set(files.values())), len(files))

    def check_row(self, out, row):
        parts = row["image_path"].split("/")
        defect = row.get("defect")
        self.assertEqual(row["label"], 1 if defect else 0)
        self.assertEqual(parts[:3], [row["class_name"], row["split"], defect or "good"])
        self.assertTrue((out / row["image_path"]).is_file())
        mask = row["image_path"].replace(f"/{row['split']}/", "/ground_truth/")
        mask = mask.replace(".png", "_mask.png") if defect else None
        self.assertEqual(row.get("mask_path"), mask)
        return [row["image_path"], *([mask] if mask else [])]

    def two_classes(self):
        return self.generates(
            "deep/out", *SIZE, "--class", "tile", "--class", "cap", "--train", "2", "--good", "3",
            "--defective", "7", "--train-defective", "6",
        )  # fmt: skip

    def test_manifests(self):
        out = self.two_classes()
        rows = rows_of(out / "manifest.jsonl")
        named = [path for row in rows for path in self.check_row(out, row)]
        self.assertEqual(sorted(named), sorted(p for p in contents(out) if p.endswith(".png")))
        for name in ("tile", "cap"):
            kinds = collections.Counter(
                (row["split"], row["label"]) for row in rows if row["class_name"] == name
            )
            self.assertEqual(
                kinds, {("train", 0): 2, ("test", 0): 3, ("test", 1): 7, ("train", 1): 6}
            )
            tested = {row["defect"] for row in rows
                      if row["class_name"] == name and row["label"] and row["split"] == "test"}
            self.assertEqual(tested, set(self.classes()[name]))
        for split in ("train", "test"):
            part = [row for row in rows if row["split"] == split]
            self.assertEqual(rows_of(out / f"{split}.jsonl"), part)

    def test_the_other_programs_read_it(self):
        """By the manifests and as a tree, with the same pictures in each split."""
        out = self.two_classes()
        model = ["--model", NANO / "clip.pt", "--profile", "published"]
        run = [*model, "--img-size", "56", "--threads", "1", "--text-epoch", "1", "--image-epoch",
               "0", "--max-steps", "1"]  # fmt: skip
        result = call(TRAIN, *run, "--manifest", out / "train.jsonl", "--save-path", self.folder / "a")
        self.assertEqual(result.returncode, 0, result.stderr)
        adapters = NANO / "adapters-published"
        weights = ["--adapters", adapters / "text_adapter.pth", "--adapters",
                   adapters / "image_adapter_20.pth"]  # fmt: skip
        report = self.folder / "report.json"
        for split in ("train", "test"):
            result = call(
                EVALUATE, *model[:2], *weights, "--image-size", "56", "--threads", "1",
                "--data-root", out, "--layout", "mvtec", "--split", split, "--json", report,
            )  # fmt: skip
            self.assertEqual(result.returncode, 0, result.stderr)
            listed = collections.Counter(
                (row["class_name"], row["label"]) for row in rows_of(out / f"{split}.jsonl")
            )
            found = {}
            for row in json.loads(report.read_text())["checkpoints"][0]["classes"]:
                found[row["class"], 0] = row["normal_images"]
                found[row["class"], 1] = row["abnormal_images"]
            self.assertEqual(found, listed)

    def check_mask(self, out, row):
        """It is what the defect has changed; the shadow of a changed outline may move beside it."""
        path = row["image_path"]
        mask = pixels(out / row["mask_path"])
        self.assertEqual(mask.shape, (128, 128))
        self.assertEqual(set(numpy.unique(mask)), {0, 255}, path)
        damaged = pixels(out / path)
        whole = pixels(out / path.replace("/test/", "/undamaged/"))
        self.assertEqual(damaged.shape, (128, 128, 3))
        change = abs(damaged - whole).max(axis=2)
        inside = mask > 0
        self.assertTrue(0.0025 < inside.mean() < 0.085, path)
        self.assertGreater(change[inside].mean(), 25, path)
        self.assertGreater((change[inside] > 2).mean(), 0.6, path)
        self.assertLess(change[~inside].mean(), 1.5, path)
        if row["defect"] != "bent":
            with Image.open(out / row["mask_path"]) as image:
                near = numpy.asarray(image.filter(ImageFilter.MaxFilter(9))) > 0
            strong = change > 24
            self.assertLess((strong & ~near).sum(), 0.08 * strong.sum() + 1, path)

    @unittest.skipUnless(Image, "needs NumPy and Pillow")
    def test_masks(self):
        out = self.generates(
            "out", "--size", "128", "--train", "0", "--good", "1", "--defective", "6", "--pairs"
        )
        rows = [row for row in rows_of(out / "manifest.jsonl") if row["label"]]
        self.assertEqual(len(rows), 6 * len(self.classes()))
        for row in rows:
            with self.subTest(row["image_path"]):
                self.check_mask(out, row)

    @unittest.skipUnless(Image, "needs NumPy and Pillow")
    def test_sizes(self):
        for size in (64, 200):
            out = self.generates(f"{size}", "--size", size, "--class", "gear", "--train", "0",
                                 "--good", "1", "--defective", "1")  # fmt: skip
            for path in out.rglob("*.png"):
                self.assertEqual(pixels(path).shape[:2], (size, size))

    def test_captions(self):
        out = self.generates("out", "--size", "64", "--captions", "300", "--seed", "2")
        rows = rows_of(out / "captions.jsonl")
        self.assertEqual(len(rows), 300)
        self.assertEqual(
            sorted(row["image_path"] for row in rows),
            sorted(p for p in contents(out) if p.endswith(".png")),
        )
        self.assertEqual({row["class_name"] for row in rows}, set(self.classes()))
        for row in rows:
            for word in DAMAGE:
                self.assertNotRegex(row["caption"], rf"\b{word}", row["caption"])
            self.assertRegex(row["caption"], r"\ba[n]? [a-z]", row["caption"])
            for vowel in re.findall(r"\ba [aeiou]\w*|\ban [^aeiou]\w*", row["caption"]):
                self.fail(f"article: {vowel}")
        self.assertGreater(len({row["caption"] for row in rows}), 250)
        extras = sum(bool(re.search(EXTRA, row["caption"])) for row in rows)
        self.assertTrue(0.7 < extras / len(rows) < 0.9, extras)
        again = self.generates("again", "--size", "64", "--captions", "300", "--seed", "2")
        self.assertEqual(contents(again), contents(out))

    def check_place(self, path, colour, place):
        """What stands out most in that colour's channels has its middle at that place."""
        image = pixels(path).astype(float)
        strength = (image @ COLOURS[colour]) / image.sum(axis=2).clip(1)
        strength -= numpy.median(strength)
        down, right = numpy.nonzero(strength > 0.6 * strength.max())
        x, y = numpy.median(right) / image.shape[1], numpy.median(down) / image.shape[0]
        return all(
            (0.3 < x < 0.7 and 0.3 < y < 0.7) if word == "middle"
            else x < 0.5 if word == "left" else x > 0.5 if word == "right"
            else y < 0.5 if word in ("upper", "top") else y > 0.5
            for word in re.findall(r"\b(middle|left|right|upper|lower|top|bottom)\b", place)
        )  # fmt: skip

    @unittest.skipUnless(Image, "needs NumPy and Pillow")
    def test_captions_tell_where_and_which_colour(self):
        """Of single prints on plain surfaces; the unnamed defects can be stronger, but seldom."""
        out = self.generates("out", "--size", "64", "--captions", "2000", "--class", "concrete",
                             "--class", "metal_sheet", "--seed", "3")  # fmt: skip
        extra = rf" with an? [a-z ]*?({'|'.join(COLOURS)}) \w+ ((?:in|on|at|near) the .*)"
        agree = []
        for row in rows_of(out / "captions.jsonl"):
            caption = row["caption"]
            found = re.search(extra, caption)
            if found and " and " not in caption:
                agree.append(self.check_place(out / row["image_path"], found[1], found[2]))
        self.assertGreater(len(agree), 20)
        self.assertGreater(sum(agree) / len(agree), 0.85, len(agree))

    @unittest.skipUnless(Image, "needs NumPy and Pillow")
    def test_scenes(self):
        """Four captions a scene: the same picture but for the small things, which are named."""
        out = self.generates("out", *SIZE, "--captions", "96", "--seed", "4")
        scenes = collections.defaultdict(list)
        for row in rows_of(out / "captions.jsonl"):
            scenes[row["scene"]].append(row)
        self.assertEqual({len(rows) for rows in scenes.values()}, {4})
        alike = []
        for rows in scenes.values():
            self.assertEqual(len({row["class_name"] for row in rows}), 1)
            first, *others = [pixels(out / row["image_path"]) for row in rows]
            alike += [(first == other).all(axis=2).mean() for other in others]
        self.assertGreater(numpy.median(alike), 0.6)
        self.assertLess(sum(share == 1 for share in alike), 0.1 * len(alike))

    def test_folders_are_not_mixed(self):
        small = [*SIZE, "--class", "wood", "--train", "1", "--good", "0", "--defective", "0"]
        tree = self.generates("tree", *small)
        texts = self.generates("texts", *SIZE, "--class", "wood", "--captions", "1")
        for out in (tree, texts):
            before = contents(out)
            for more in (small, [*SIZE, "--captions", "1"]):
                self.fails("--out", out, *more, says="already exists")
            self.assertEqual(contents(out), before)

    def test_leftovers_are_not_mixed(self):
        """Pictures that an interrupted run has left without a list of them."""
        small = ["--class", "wood", "--train", "1", "--good", "0", "--defective", "0"]
        for part, more in (("wood", small), ("images", ["--captions", "1"])):
            left = self.folder / part / "out" / part / "old.png"
            left.parent.mkdir(parents=True)
            left.write_text("")
            out = left.parents[1]
            self.fails("--out", out, *SIZE, *more, says=f"{left.parent} already holds files")
            self.assertEqual([*out.rglob("*.*")], [left])
            left.unlink()
            self.generates(out, *SIZE, *more)

    def test_a_full_disk_is_told(self):
        for arguments in (["--help"], ["--list"]):
            with open("/dev/full", "w", encoding="utf-8") as full:
                result = subprocess.run(
                    [GENERATE, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False
                )
            self.assertEqual(result.returncode, 1)
            self.assertIn("stdout: cannot write", result.stderr)

    def test_wrong_arguments(self):
        out = self.folder / "out"
        file = self.folder / "file"
        file.write_text("")
        for arguments, words in (
            ([], "--out is missing"),
            (["--out", ""], "--out is missing"),
            (["--out", out, "--class", "moon"], "no class 'moon'; --list"),
            (["--out", out, "--size", "8"], "--size: expected 64 to 2048, found 8"),
            (["--out", out, "--size", "4096"], "--size: expected a number from 0 to 2048"),
            (["--out", out, "--seed", "-1"], "--seed: expected a number"),
            (["--out", out, "--train", "few"], "--train: expected a number"),
            (["--out", out, "--train", "0", "--good", "0", "--defective", "0"], "found 0"),
            (["--out", out, "--captions", "0"], "--captions: expected 1 or more"),
            (["--out", out, "--captions", "5", "--pairs"], "--captions excludes"),
            (["--out", out, "wood"], "unexpected argument 'wood'"),
            (["--out", out, "--colour", "red"], "colour"),
            (["--out", file], f"{file}: cannot create this folder"),
            (["--out", file / "below"], f"{file}: cannot create this folder"),
        ):
            with self.subTest(words):
                self.fails(*arguments, says=words)
        self.assertFalse(out.exists())
        self.assertEqual(call(GENERATE, "--help").returncode, 0)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
