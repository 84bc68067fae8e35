"""aaclip-evaluate on small copies of every known data set's tree: files are called as there, and
are of the same type and mode. What it found is judged with Pillow and NumPy."""

import csv
import json
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

try:
    import numpy as np
    from PIL import Image, ImageDraw
except ImportError as error:
    print(error)
    sys.exit(77)

EVALUATE, DETECT, GOLDEN, HAS_JPEG = sys.argv[1:5]
NANO = Path(GOLDEN) / "nano"
SIDE = 84
MODEL = [
    "--model", NANO / "clip.pt", "--image-size", SIDE,
    "--adapters", NANO / "adapters-document" / "text_adapter.pth",
    "--adapters", NANO / "adapters-document" / "image_adapter_20.pth",
]  # fmt: skip
needs_jpeg = unittest.skipUnless(HAS_JPEG == "1", "this build reads no JPEG")


def call(program, *arguments):
    return subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )


def auroc(scores, labels):
    """Chance that an abnormal one has the larger score of a pair; half of it where equal."""
    _, group, sizes = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(sizes) - (sizes - 1) / 2)[group.ravel()]
    abnormal = int(labels.sum())
    pairs = abnormal * (labels.size - abnormal)
    return (ranks[labels].sum() - abnormal * (abnormal + 1) / 2) / pairs


def average_precision(scores, labels):
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(labels[order])
    last = np.r_[np.diff(scores[order]) != 0, True]  # of equal scores
    precision = hits[last] / (np.flatnonzero(last) + 1)
    return float(np.sum(np.diff(np.r_[0, hits[last] / hits[-1]]) * precision))


class Tree:
    """A data set in the making: files, and what should be found of them."""

    def __init__(self, root):
        self.root = root
        self.samples = []  # (path, class, label, mask path)
        self.random = np.random.default_rng(7)

    def picture(self, path, size, mode="RGB"):
        width, height = size
        path = self.root / path
        path.parent.mkdir(parents=True, exist_ok=True)
        period, base = self.random.integers(3, 12), self.random.integers(0, 200, 3)
        rows, columns = np.mgrid[0:height, 0:width]
        wave = 25 * np.sin((rows + columns) / period)[..., None]
        pixels = np.clip(base + wave + self.random.normal(0, 6, (height, width, 3)), 0, 255)
        Image.fromarray(pixels.astype(np.uint8)).convert(mode).save(path)
        return path

    def mask(self, path, size, mode="L", value=255):
        """A box and an ellipse apart from it."""
        width, height = size
        image = Image.new("L", size)
        draw = ImageDraw.Draw(image)
        left, top = self.random.integers(1, width // 4), self.random.integers(1, height // 4)
        draw.rectangle([left, top, left + width // 5, top + height // 6], fill=value)
        draw.ellipse([width * 0.6, height * 0.55, width * 0.85, height * 0.9], fill=value)
        path = self.root / path
        path.parent.mkdir(parents=True, exist_ok=True)
        image.convert(mode).save(path)
        return path

    def good(self, path, name, size, mode="RGB"):
        self.samples.append((self.picture(path, size, mode), name, 0, None))

    def bad(self, path, mask, name, size, mode="RGB", mask_mode="L", value=255):
        image = self.picture(path, size, mode)
        self.samples.append((image, name, 1, self.mask(mask, size, mask_mode, value)))

    def text(self, path, text):
        path = self.root / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def mvtec_class(tree, name, defects, size, mode="RGB"):
    tree.picture(f"{name}/train/good/000.png", size, mode)
    for i in range(2):
        tree.good(f"{name}/test/good/{i:03}.png", name, size, mode)
    for defect in defects:
        for i in range(2):
            tree.bad(f"{name}/test/{defect}/{i:03}.png",
                     f"{name}/ground_truth/{defect}/{i:03}_mask.png", name, size, mode)  # fmt: skip


def visa_class(tree, name, size, table):
    tree.text(f"{name}/image_anno.csv", "image,label,mask\n")
    images, masks = f"{name}/Data/Images", f"{name}/Data/Masks/Anomaly"
    for i in range(3):
        path = f"{images}/Normal/{i:04}.JPG"
        if i == 0:
            tree.picture(path, size)
        else:
            tree.good(path, name, size)
        table.append(f"{name},{'test' if i else 'train'},normal,{path},")
    for i in range(2):
        path, mask = f"{images}/Anomaly/{i:03}.JPG", f"{masks}/{i:03}.png"
        tree.bad(path, mask, name, size, value=1 + i)  # kinds of defects, all but black
        table.append(f"{name},test,anomaly,{path},{mask}")


def bmad(tree, name, size, stems, mode="L"):
    tree.picture(f"train/good/{stems[0]}.png", size, mode)
    for split in ("valid", "test"):
        for stem in stems:
            path, mask = f"{split}/Ungood/img/{stem}.png", f"{split}/Ungood/label/{stem}.png"
            if split == "test":
                tree.bad(path, mask, name, size, mode)
                tree.good(f"{split}/good/img/{stem}.png", name, size, mode)
            else:
                tree.picture(path, size, mode)
                tree.mask(mask, size)
                tree.picture(f"{split}/good/img/{stem}.png", size, mode)
            empty = tree.root / f"{split}/good/label/{stem}.png"
            empty.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", size).save(empty)


class Layouts(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="aaclip-layouts-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def tree(self, name):
        return Tree(self.folder / name)

    def evaluate(self, *arguments):
        """JSON and CSV."""
        report, scores = self.folder / "r.json", self.folder / "r.csv"
        result = call(
            EVALUATE, *MODEL, "--out", self.folder / "out", "--json", report, "--csv", scores,
            *arguments,
        )  # fmt: skip
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        found = json.loads(report.read_text())
        return found, list(csv.DictReader(scores.read_text().splitlines()))

    def map_of(self, path):
        """That was kept of an image."""
        lines = (self.folder / "out" / "scores.jsonl").read_text().splitlines()
        (line,) = [line for line in map(json.loads, lines) if line["image"] == str(path)]
        (file,) = (self.folder / "out" / "cache").rglob(f"*-{line['id']}.npy")
        return np.load(file)

    def check_class(self, values, samples):
        """Counts and metrics of a class."""
        labels = [label for _, _, label, _ in samples]
        self.assertEqual(values["images"], len(samples))
        self.assertEqual(values["normal_images"], labels.count(0))
        self.assertEqual(values["abnormal_images"], labels.count(1))
        maps, marks = [], []
        for path, _, label, mask in samples:
            if mask is None and label != 0:
                continue
            maps.append(self.map_of(path))
            drawn = np.zeros((SIDE, SIDE), bool)
            if mask is not None:
                with Image.open(mask) as image:
                    small = image.convert("L").resize((SIDE, SIDE), Image.NEAREST)
                drawn = np.asarray(small) != 0
                self.assertTrue(drawn.any())
            marks.append(drawn)
        marks = np.array(marks, bool).ravel()
        self.assertEqual(values["abnormal_pixels"], marks.sum())
        self.assertEqual(values["normal_pixels"], marks.size - marks.sum())
        if not marks.any():
            self.assertIsNone(values["pixel_auroc"])
            return
        pixels = np.array(maps).ravel()
        self.assertAlmostEqual(values["pixel_auroc"], auroc(pixels, marks), places=9)
        self.assertAlmostEqual(values["pixel_ap"], average_precision(pixels, marks), places=9)

    def check_images(self, values, rows):
        labels = np.array([row["label"] == "1" for row in rows])
        for name, column in (("image", "dataset_score"), ("raw_image", "score")):
            scores = np.array([row[column] for row in rows], np.float32)
            if labels.all() or not labels.any():
                self.assertIsNone(values[f"{name}_auroc"])
                continue
            self.assertAlmostEqual(values[f"{name}_auroc"], auroc(scores, labels), places=9)
            precision = average_precision(scores, labels)
            self.assertAlmostEqual(values[f"{name}_ap"], precision, places=9)

    def check_phrases(self, rows, dataset, *options):
        """
        The class is known by its name in the data set's table, which aaclip-detect looks up. It
        builds the text of one class by itself, which rounds elsewhere than all of them together.
        """
        report = self.folder / "detect.json"
        for row in {row["class"]: row for row in rows}.values():
            result = call(
                DETECT, *MODEL, *options, "--dataset", dataset, "--class", row["class"],
                "--json", report, row["image"],
            )  # fmt: skip
            self.assertEqual(result.returncode, 0, result.stderr)
            score = json.loads(report.read_text())["images"][0]["score"]
            self.assertAlmostEqual(float(row["score"]), score, delta=1e-6)

    def check(self, tree, *arguments, root=None):
        found, rows = self.evaluate("--data-root", root or tree.root, *arguments)
        expected = {(str(path), name, str(label)) for path, name, label, _ in tree.samples}
        self.assertEqual({(row["image"], row["class"], row["label"]) for row in rows}, expected)
        self.assertEqual(len(rows), len(expected))
        (checkpoint,) = found["checkpoints"]
        names = sorted({name for _, name, _, _ in tree.samples})
        self.assertEqual(sorted(values["class"] for values in checkpoint["classes"]), names)
        for values in checkpoint["classes"]:
            name = values["class"]
            self.check_class(values, [sample for sample in tree.samples if sample[1] == name])
            self.check_images(values, [row for row in rows if row["class"] == name])
        return found, rows

    def check_known(self, tree, dataset, domain, *names, options=()):
        """A data set by its name, with the classes that its table has."""
        found, rows = self.check(tree, "--dataset", dataset, *options)
        self.assertEqual(found["domain"], domain)
        self.assertEqual({row["class"] for row in rows}, set(names))
        self.check_phrases(rows, dataset, *options)

    def splits(self, tree, dataset, **counts):
        for split, count in counts.items():
            _, rows = self.evaluate("--dataset", dataset, "--data-root", tree.root, "--split", split)
            self.assertEqual(len(rows), count, split)

    def test_mvtec(self):
        tree = self.tree("mvtec_ad")
        tree.text("license.txt", "CC BY-NC-SA 4.0\n")
        tree.text("readme.txt", "\n")
        mvtec_class(tree, "bottle", ["broken_large", "broken_small", "contamination"], (90, 90))
        mvtec_class(tree, "metal_nut", ["bent", "color", "flip", "scratch"], (70, 70))
        mvtec_class(tree, "screw", ["manipulated_front", "thread_top"], (102, 102), mode="L")
        self.check_known(tree, "MVTec", "industrial", "bottle", "metal_nut", "screw")
        self.splits(tree, "MVTec", train=3, all=len(tree.samples) + 3)

    @needs_jpeg
    def test_visa(self):
        tree = self.tree("VisA_20220922")
        table = ["object,split,label,image,mask"]
        visa_class(tree, "candle", (128, 117), table)
        visa_class(tree, "pcb1", (140, 96), table)
        tree.text("split_csv/1cls.csv", "\n".join(table) + "\n")
        tree.text("split_csv/2cls_fewshot.csv", table[0] + "\n")
        self.check_known(tree, "VisA", "industrial", "candle", "pcb1")
        self.splits(tree, "VisA", train=2, all=10)

    def test_mpdd(self):
        tree = self.tree("MPDD")
        mvtec_class(tree, "bracket_black", ["hole", "scratches"], (102, 102))
        mvtec_class(tree, "connector", ["parts_mismatch"], (102, 102))
        mvtec_class(tree, "metal_plate", ["major_rust", "scratches", "total_rust"], (102, 102))
        mvtec_class(tree, "tubes", ["anomalous"], (102, 102))
        names = ["bracket_black", "connector", "metal_plate", "tubes"]
        self.check_known(tree, "MPDD", "industrial", *names)

    def test_btad(self):
        """Images and masks: bmp and png, png and png, bmp and bmp."""
        tree = self.tree("BTech_Dataset_transformed")
        for name, size, image, mask in (
            ("01", (160, 160), "bmp", "png"),
            ("02", (60, 60), "png", "png"),
            ("03", (80, 60), "bmp", "bmp"),
        ):
            tree.picture(f"{name}/train/ok/0000.{image}", size)
            for i in range(2):
                tree.good(f"{name}/test/ok/{i:04}.{image}", name, size)
                tree.bad(f"{name}/test/ko/{i:04}.{image}", f"{name}/ground_truth/ko/{i:04}.{mask}",
                         name, size)  # fmt: skip
        # the model's few merges make more tokens of the long phrases than fit beside other words
        prompts = self.folder / "prompts.json"
        words = {"normal": ["{}"], "abnormal": ["bad {}"], "templates": ["{}"]}
        prompts.write_text(json.dumps(words))
        options = ["--prompts", prompts]
        self.check_known(tree, "BTAD", "industrial", "01", "02", "03", options=options)
        _, rows = self.evaluate("--dataset", "BTAD", "--data-root", tree.root, *options,
                                "--split", "train")  # fmt: skip
        self.assertEqual(len(rows), 3)

    def test_brain(self):
        tree = self.tree("MedAD/Brain_AD")
        bmad(tree, "Brain", (120, 120), ["00003_60", "00017_75"])
        self.check_known(tree, "Brain", "medical", "Brain")
        self.splits(tree, "Brain", train=1, validation=4)

    def test_liver(self):
        tree = self.tree("MedAD/Liver_AD")
        bmad(tree, "Liver", (128, 128), ["1_51", "11_77", "27_104"])
        self.check_known(tree, "Liver", "medical", "Liver")

    def test_retina(self):
        tree = self.tree("MedAD/Retina_RESC_AD")
        bmad(tree, "Retina", (128, 64), ["PC009_1", "PC031_46"], mode="RGB")
        self.check_known(tree, "Retina", "medical", "Retina")

    def polyps(self, folder, stems, size, ending="png", mask_mode="L"):
        tree = self.tree(f"Colon/{folder}")
        name = {"CVC-ClinicDB": "Colon_clinicDB", "CVC-ColonDB": "Colon_colonDB"}.get(folder, folder)
        for stem in stems:
            file = f"{stem}.{ending}"
            tree.bad(f"images/{file}", f"masks/{file}", name, size, mask_mode=mask_mode)
        return tree

    def test_clinicdb(self):
        tree = self.polyps("CVC-ClinicDB", [1, 2, 10], (96, 72))
        self.check_known(tree, "Colon_clinicDB", "medical", "Colon_clinicDB")

    def test_colondb(self):
        tree = self.polyps("CVC-ColonDB", [1, 38], (115, 100))
        self.check_known(tree, "Colon_colonDB", "medical", "Colon_colonDB")

    @needs_jpeg
    def test_kvasir(self):
        """Around the marks of its masks JPEG leaves what is not quite black, which counts."""
        stems = ["cju0qkwl35piu0993l0dewei2", "cju0qoxqj9q6s0835b43399p4"]
        tree = self.polyps("Kvasir", stems, (106, 89), ending="jpg", mask_mode="RGB")
        self.check_known(tree, "Colon_Kvasir", "medical", "Kvasir")

    def test_cvc300(self):
        tree = self.polyps("CVC-300", [149, 150, 208], (115, 100))
        self.check_known(tree, "Colon_cvc300", "medical", "CVC-300")

    def own(self):
        """Pictures in one folder; two of four with masks."""
        tree = self.tree("parts")
        for i in range(2):
            tree.good(f"ok-{i}.png", "bolt", (80, 70))
            tree.bad(f"bad {i}.bmp", f"marks/{i}.png", "bolt", (80, 70))
        return tree

    def test_own_manifest(self):
        tree = self.own()
        lines = [
            {
                "image_path": str(path.relative_to(tree.root)),
                "label": label,
                "class_name": name,
                **({"mask_path": str(mask.relative_to(tree.root))} if mask else {}),
            }
            for path, name, label, mask in tree.samples
        ]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        manifest = self.folder / "mine.jsonl"
        manifest.write_text(text)
        found, _ = self.check(tree, "--manifest", manifest)
        self.assertEqual(found["domain"], "industrial")
        tree.text("listed.jsonl", text)  # without a data root: that is its folder
        alone, _ = self.evaluate("--manifest", tree.root / "listed.jsonl")
        first, second = (r["checkpoints"][0] for r in (found, alone))
        self.assertEqual((second["failed"], second["classes"]), ([], first["classes"]))
        tree.text("full-shot.jsonl", text)  # found by itself
        again, _ = self.evaluate("--data-root", tree.root)
        first, second = (r["checkpoints"][0] for r in (found, again))
        self.assertEqual((second["reused"], second["classes"]), (4, first["classes"]))

    def test_own_folder(self):
        """Nothing is known of its pictures: scores and maps, no metrics."""
        tree = self.own()
        tree.samples = [(path, "parts", -1, None) for path, _, _, _ in tree.samples]
        self.check(tree)
        tree.samples = [(path, "bolt", -1, None) for path, _, _, _ in tree.samples]
        self.check(tree, "--class", "bolt", "--layout", "folder")


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[5:]])
