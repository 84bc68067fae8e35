"""The programs as a user calls them: results, errors, exit codes, and nothing half-written."""

import csv
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from copies import copy_file

DETECT, CONVERT, BENCH, GOLDEN, HAS_JPEG = sys.argv[1:6]
NANO = Path(GOLDEN) / "nano"
PHOTO = Path(GOLDEN) / "images" / "chelsea.png"
JPEG = Path(GOLDEN) / "images" / "chelsea.jpg"
MODEL = ["--model", NANO / "clip.pt"]
CLASS = ["--class", "metal_nut", "--dataset", "MVTec"]
SIZE = ["--image-size", "112"]


def adapters(profile="document"):
    folder = NANO / f"adapters-{profile}"
    return ["--adapters", folder / "text_adapter.pth", "--adapters", folder / "image_adapter_20.pth"]


def call(program, *arguments):
    return subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )


def read_npy(path):
    data = Path(path).read_bytes()
    assert data[:6] == b"\x93NUMPY", path
    length = struct.unpack("<H", data[8:10])[0]
    header = data[10 : 10 + length].decode()
    assert "'<f4'" in header, header
    return struct.unpack(f"<{(len(data) - 10 - length) // 4}f", data[10 + length :])


class Programs(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="aaclip-programs-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def files(self):
        return sorted(str(p.relative_to(self.folder)) for p in self.folder.rglob("*") if p.is_file())

    def fails(self, program, *arguments, says):
        before = self.files()
        result = call(program, *arguments)
        self.assertEqual(result.returncode, 1, result.stdout + result.stderr)
        for words in [says] if isinstance(says, str) else says:
            self.assertIn(words, result.stderr)
        self.assertEqual(self.files(), before, "something was left behind")
        return result

    def scores(self, *arguments):
        path = self.folder / "scores.json"
        result = call(DETECT, *arguments, "--json", path)
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(path.read_text())["images"]

    def test_writes_everything(self):
        out = self.folder / "out"
        result = call(
            DETECT, *MODEL, *adapters(), *CLASS, *SIZE, "--out", out, "--raw", "--mask",
            "--json", out / "r.json", "--csv", out / "r.csv", PHOTO,
        )  # fmt: skip
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("chelsea.png", result.stdout)
        self.assertEqual(
            self.files(),
            [f"out/{n}" for n in ("chelsea_map.npy", "chelsea_map.png", "chelsea_mask.png",
                                  "chelsea_overlay.png", "r.csv", "r.json")],
        )  # fmt: skip
        report = json.loads((out / "r.json").read_text())["images"][0]
        self.assertEqual(
            [report[name] for name in ("map", "map_picture", "overlay", "mask")],
            ["chelsea_map.npy", "chelsea_map.png", "chelsea_overlay.png", "chelsea_mask.png"],
        )
        row = next(csv.DictReader((out / "r.csv").read_text().splitlines()))
        values = read_npy(out / "chelsea_map.npy")
        self.assertEqual(len(values), 112 * 112)
        self.assertAlmostEqual(max(values), report["map_maximum"], places=5)
        self.assertAlmostEqual(float(row["score"]), report["score"], places=6)
        self.assertEqual((report["width"], report["height"]), (225, 150))
        self.assertEqual((out / "chelsea_map.png").read_bytes()[24:26], b"\x10\x00")  # 16 bit grey

    def test_folder_takes_images_by_name_and_reads_them_by_content(self):
        images = self.folder / "images"
        images.mkdir()
        copy_file(PHOTO, images / "b.JPG")
        copy_file(PHOTO, images / "a.jpeg")
        copy_file(PHOTO, images / "c.png")
        (images / "notes.txt").write_text("not an image")
        found = self.scores(*MODEL, *adapters(), *CLASS, *SIZE, images)
        self.assertEqual([Path(f["path"]).name for f in found], ["a.jpeg", "b.JPG", "c.png"])
        self.assertEqual(len({f["score"] for f in found}), 1)

    def test_names_that_are_not_utf8_are_told_apart(self):
        images = self.folder / "images"
        images.mkdir()
        written = {  # as os.fsencode has them, and as the files of results do
            b"cut\xc3.png": r"cut\xc3.png",
            b"latin\xe9.png": r"latin\xe9.png",
            b"latin\xea \xc3\xa9\xe2\x82\xac.png": "latin\\xea \u00e9\u20ac.png",
            b"\xed\xa0\x80.png": r"\xed\xa0\x80.png",
        }
        for name in written:
            copy_file(PHOTO, images / os.fsdecode(name))
        report, table = self.folder / "r.json", self.folder / "r.csv"
        result = subprocess.run(
            [DETECT, *map(str, [*MODEL, *adapters(), *CLASS, *SIZE, images])]
            + ["--json", report, "--csv", table],
            capture_output=True, timeout=120, check=False,
        )  # fmt: skip
        self.assertEqual(result.returncode, 0, result.stderr)
        expected = sorted(f"{images}/{name}" for name in written.values())
        found = [image["path"] for image in json.loads(report.read_text("utf-8"))["images"]]
        self.assertEqual(sorted(found), expected)
        rows = list(csv.DictReader(table.read_text("utf-8").splitlines()))
        self.assertEqual(sorted(row["path"] for row in rows), expected)

    def test_names_cannot_command_terminals_and_spreadsheets(self):
        for name in ("=1+1.png", "-1.png", "a\x1b[2J\x9b.png"):
            copy_file(PHOTO, self.folder / name)
        paths = [Path(path).resolve() if os.sep in str(path) else path
                 for path in [*MODEL, *adapters(), *CLASS, *SIZE]]  # fmt: skip
        result = subprocess.run(
            [Path(DETECT).resolve(), *map(str, paths), "--csv", "r.csv", "--", "=1+1.png", "-1.png",
             "a\x1b[2J\x9b.png"],
            cwd=self.folder, capture_output=True, timeout=120, check=False,
        )  # fmt: skip
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn(rb"a\x1b[2J\xc2\x9b.png", result.stdout)
        self.assertNotIn(b"\x1b", result.stdout)
        rows = list(csv.DictReader((self.folder / "r.csv").read_text("utf-8").splitlines()))
        self.assertEqual([row["path"][:6] for row in rows[:2]], ["'=1+1.", "'-1.pn"])
        self.assertGreater(float(rows[0]["score"]), 0)

    def test_pictures_of_equal_names(self):
        images, out = self.folder / "images", self.folder / "new" / "out"
        images.mkdir()
        for name in ("a-2.png", "a.jpg", "a.png", "b.png"):
            copy_file(PHOTO, images / name)
        found = self.scores(*MODEL, *adapters(), *CLASS, *SIZE, "--out", out, images)
        names = {Path(image["path"]).name: image["overlay"] for image in found}
        self.assertEqual(
            names,
            {"a-2.png": "a-2_overlay.png", "a.jpg": "a_overlay.png", "a.png": "a-3_overlay.png",
             "b.png": "b_overlay.png"},
        )  # fmt: skip
        self.assertEqual({path.name for path in out.iterdir()}, set(names.values()))
        self.assertEqual({"map", "mask"} & set(found[0]), set())

    def test_jpeg(self):
        if HAS_JPEG == "1":
            found = self.scores(*MODEL, *adapters(), *CLASS, *SIZE, JPEG)
            smaller = self.scores(*MODEL, *adapters(), *CLASS, *SIZE, PHOTO)  # the same cat
            self.assertAlmostEqual(found[0]["score"], smaller[0]["score"], delta=0.02)
        else:
            self.fails(
                DETECT, *MODEL, *adapters(), *CLASS, *SIZE, JPEG,
                says=[str(JPEG), "not supported by this build"],
            )  # fmt: skip

    def test_profiles_differ_and_are_told_by_the_adapters(self):
        document = self.scores(*MODEL, *adapters("document"), *CLASS, *SIZE, PHOTO)
        published = self.scores(*MODEL, *adapters("published"), *CLASS, *SIZE, PHOTO)
        self.assertNotEqual(document[0]["score"], published[0]["score"])
        named = self.scores(
            *MODEL, *adapters("published"), *CLASS, *SIZE, "--profile", "published", PHOTO
        )
        self.assertEqual(published[0]["score"], named[0]["score"])
        self.fails(
            DETECT, *MODEL, *adapters("published"), *CLASS, "--profile", "document", PHOTO,
            says=["text_adapter", "expected bottleneck adapters"],
        )  # fmt: skip

    def test_backends_agree(self):
        reference = self.scores(*MODEL, *adapters(), *CLASS, *SIZE, "--backend", "reference", PHOTO)
        default = self.scores(*MODEL, *adapters(), *CLASS, *SIZE, "--threads", "1", PHOTO)
        self.assertAlmostEqual(reference[0]["score"], default[0]["score"], places=5)

    def test_text_cache_file_keeps_words_apart(self):
        call = [*MODEL, *adapters(), "--class", "metal_nut", *SIZE]
        cache = ["--text-cache", self.folder / "words.safetensors"]
        choices = ([], ["--phrase", "rusty bolt"], ["--dataset", "MVTec"])
        expected = [self.scores(*call, *choice, PHOTO) for choice in choices]
        self.assertEqual(len({str(scores) for scores in expected}), 3)
        for _ in range(2):  # written, then read
            for choice, scores in zip(choices, expected):
                self.assertEqual(self.scores(*call, *choice, *cache, PHOTO), scores)

    def test_text_cache_file(self):
        cache = self.folder / "text.safetensors"
        first = self.scores(*MODEL, *adapters(), *CLASS, *SIZE, "--text-cache", cache, PHOTO)
        second = self.scores(
            *MODEL, *adapters(), *CLASS, *SIZE, "--text-cache", cache, "--vocab", "/nowhere", PHOTO
        )
        self.assertEqual(first, second)
        self.fails(
            DETECT, *MODEL, *adapters("published"), *CLASS, "--text-cache", cache, PHOTO,
            says=[str(cache), "different text adapters"],
        )  # fmt: skip

    def test_converted_model_and_adapters_give_the_same(self):
        model, trained = self.folder / "clip.safetensors", self.folder / "adapters.safetensors"
        vocabulary = ["--vocab", NANO / "bpe_simple_vocab_16e6.txt.gz"]
        self.assertEqual(call(CONVERT, *MODEL, "--f16", "--out", model).returncode, 0)
        self.assertEqual(call(CONVERT, *MODEL, *adapters(), "--out", trained).returncode, 0)
        expected = self.scores(*MODEL, *adapters(), *CLASS, *SIZE, PHOTO)
        found = self.scores(
            "--model", model, *vocabulary, "--adapters", trained, *CLASS, *SIZE, PHOTO
        )
        self.assertEqual(found[0]["score"], expected[0]["score"])

    def test_damage_is_found(self):
        trained = self.folder / "adapters.safetensors"
        self.assertEqual(call(CONVERT, *MODEL, *adapters(), "--out", trained).returncode, 0)
        result = call(CONVERT, "--verify", trained)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertIn("as it was written", result.stdout)
        data = bytearray(trained.read_bytes())
        data[-1] ^= 1
        trained.write_bytes(data)
        words = [str(trained), "damaged: expected checksum"]
        self.fails(CONVERT, "--verify", trained, says=words)
        self.fails(DETECT, *MODEL, "--adapters", trained, *CLASS, *SIZE, PHOTO, says=words)
        trained.write_bytes(data.replace(b"aaclip.checksum", b"another.program"))
        self.assertEqual(
            call(DETECT, *MODEL, "--adapters", trained, *CLASS, *SIZE, PHOTO).returncode, 0
        )
        self.fails(CONVERT, "--verify", trained, says="has no checksum")
        self.fails(CONVERT, "--verify", NANO / "clip.pt", says="expected a safetensors file")
        self.fails(CONVERT, "--verify", self.folder / "none", says=str(self.folder / "none"))
        self.fails(CONVERT, "--verify", trained, "--out", trained, says="--verify goes without")

    def test_bundle_needs_neither_text_nor_vocabulary(self):
        bundle = self.folder / "bundle.safetensors"
        result = call(
            CONVERT, "--bundle", *MODEL, *adapters(), "--dataset", "MVTec", "--class", "metal_nut",
            "--class", "screw", "--out", bundle,
        )  # fmt: skip
        self.assertEqual(result.returncode, 0, result.stderr)
        expected = self.scores(*MODEL, *adapters(), *CLASS, *SIZE, PHOTO)
        found = self.scores("--model", bundle, "--class", "metal_nut", *SIZE, PHOTO)
        self.assertEqual(found[0]["score"], expected[0]["score"])
        self.fails(
            DETECT, "--model", bundle, "--class", "bottle", PHOTO,
            says=["class 'bottle'", "which has: metal_nut, screw"],
        )  # fmt: skip
        for option in ("--phrase", "--text-cache"):
            self.fails(
                DETECT, "--model", bundle, "--class", "screw", option, "x", PHOTO,
                says=[option, "is a bundle"],
            )  # fmt: skip
        self.fails(DETECT, "--model", bundle, PHOTO, says="--class is missing")

    def test_json_leads_where_its_link_does(self):
        link, target = self.folder / "link.json", self.folder / "target.json"
        target.write_text("old")
        target.chmod(0o600)
        link.symlink_to(target)
        result = call(DETECT, *MODEL, *CLASS, *SIZE, "--json", link, PHOTO)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertTrue(link.is_symlink())
        self.assertEqual(len(json.loads(target.read_text())["images"]), 1)
        self.assertEqual(target.stat().st_mode & 0o777, 0o600)

    def test_bundles_without_image_adapters(self):
        bundle = self.folder / "bundle.safetensors"
        published = ["--profile", "published"]
        for given in (published, adapters("published")[:2]):  # none, those of the text side
            made = call(CONVERT, "--bundle", *MODEL, *given, "--class", "nut", "--out", bundle)
            self.assertEqual(made.returncode, 0, made.stderr)
            expected = self.scores(*MODEL, *given, "--class", "nut", *SIZE, PHOTO)
            found = self.scores("--model", bundle, "--class", "nut", *SIZE, PHOTO)
            self.assertEqual(found, expected)

    def test_a_bad_image_does_not_stop_the_others(self):
        images = self.folder / "images"
        images.mkdir()
        copy_file(PHOTO, images / "good.png")
        (images / "bad.png").write_bytes(PHOTO.read_bytes()[:5000])
        path = self.folder / "r.json"
        result = call(DETECT, *MODEL, *adapters(), *CLASS, *SIZE, "--json", path, images)
        self.assertEqual(result.returncode, 1)
        self.assertIn("bad.png", result.stderr)
        self.assertIn("1 of 2 images failed", result.stderr)
        self.assertEqual(len(json.loads(path.read_text())["images"]), 1)

    def test_bad_calls(self):
        call_with = [*MODEL, *adapters(), *CLASS]
        empty = self.folder / "empty"
        empty.mkdir()
        self.fails(DETECT, *call_with, empty, says=[str(empty), "no png"])
        self.fails(DETECT, *call_with, self.folder / "none.png", says="none.png")
        self.fails(DETECT, *call_with, says="no image given")
        self.fails(DETECT, PHOTO, says="--model is missing")
        self.fails(DETECT, *call_with, "--json", "-", "--csv", "-", PHOTO, says="stdout takes one")
        self.fails(DETECT, *call_with, "--precision", "f8", PHOTO, says="expected f32, bf16, auto, int8, tf32 or f16")
        self.fails(DETECT, *call_with, "--backend", "abacus", PHOTO, says=["abacus", "reference"])
        self.fails(DETECT, *call_with, "--image-size", "100", PHOTO, says="multiple of the patch")
        self.fails(DETECT, *MODEL, *adapters(), "--class", "x", "--dataset", "No", PHOTO, says="No")
        self.fails(DETECT, "--model", PHOTO, *adapters(), *CLASS, PHOTO, says="chelsea.png")
        self.fails(DETECT, *MODEL, "--adapters", NANO / "clip.pt", *CLASS, PHOTO,
                   says=["clip.pt", "text_adapter"])  # fmt: skip
        self.fails(DETECT, *call_with, "--vocab", PHOTO, PHOTO, says="chelsea.png")
        self.fails(CONVERT, *MODEL, says="--out")

    def test_adapters_of_another_size(self):
        other = Path(GOLDEN) / "model" / "openai-published" / "image_adapter_20.pth"
        self.fails(
            DETECT, *MODEL, "--adapters", other, *CLASS, PHOTO,
            says=["image_adapter_20.pth: image_adapter.det_proj.fc.weight: expected 32x64, found 48x64"],
        )  # fmt: skip

    def test_truncated_checkpoint(self):
        whole = (NANO / "clip.pt").read_bytes()
        for size in (0, 3, 100, len(whole) // 2, len(whole) - 30):
            path = self.folder / "cut.pt"
            path.write_bytes(whole[:size])
            self.fails(DETECT, "--model", path, *CLASS, PHOTO, says="cut.pt")

    def test_unwritable_outputs(self):
        call_with = [*MODEL, *adapters(), *CLASS, *SIZE]
        nowhere = self.folder / "missing" / "r.json"
        out = self.folder / "out"
        call_out = [*call_with, "--out", out]
        self.fails(DETECT, *call_out, "--json", nowhere, PHOTO, says=str(nowhere))
        self.fails(DETECT, *call_out, "--csv", self.folder, PHOTO, says=str(self.folder))
        self.assertEqual([*out.iterdir()], [])  # told before anything is computed
        self.fails(CONVERT, *MODEL, "--out", nowhere, says=str(nowhere))
        blocker = self.folder / "file"
        blocker.write_text("")
        self.fails(DETECT, *call_with, "--out", blocker / "out", PHOTO, says=str(blocker))

    def test_full_disk(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("no /dev/full")
        arguments = [*MODEL, *adapters(), *CLASS, *SIZE, "--json", "-", PHOTO]
        for call_with in ([DETECT, *arguments], [CONVERT, "--help"], [BENCH, "--help"],
                          [BENCH, "growth", "--help"],
                          [BENCH, *MODEL, *SIZE, "--repeat", "1"]):  # fmt: skip
            with self.subTest(call_with), open("/dev/full", "w") as full:
                result = subprocess.run(
                    list(map(str, call_with)), stdout=full, stderr=subprocess.PIPE, check=False
                )
                self.assertEqual(result.returncode, 1)
                self.assertIn(b"stdout: ", result.stderr)

    def test_help_and_version(self):
        for program in (DETECT, CONVERT, BENCH):
            self.assertIn("usage:", call(program, "--help").stdout)
            self.assertRegex(call(program, "--version").stdout, r"^\d+\.\d+\.\d+\n$")

    def test_bench_reports_figures(self):
        path = self.folder / "figures.json"
        result = call(BENCH, *MODEL, *adapters(), *SIZE, "--repeat", "2", "--json", path)
        self.assertEqual(result.returncode, 0, result.stderr)
        figures = json.loads(path.read_text())
        for name in ("first_result_s", "detection_s", "peak_memory_mb"):
            self.assertGreater(figures["figures"][name]["median"], 0, name)

    def test_bench_text_builds_every_class_of_a_data_set(self):
        path = self.folder / "text.json"
        arguments = (BENCH, "text", *MODEL, "--dataset", "BTAD", "--repeat", "2", "--json", path)
        result = call(*arguments)
        self.assertEqual(result.returncode, 0, result.stderr)
        result = json.loads(path.read_text())
        settings, figures = result["settings"], result["figures"]
        self.assertEqual((settings["classes"], settings["prompts_of_a_class"]), (3, 112))
        for name in ("build_s", "padded_class_s", "fraction_of_padded"):
            self.assertEqual(len(figures[name]["values"]), 2)
        for fraction, build, padded in zip(
            *(figures[name]["values"] for name in ("fraction_of_padded", "build_s", "padded_class_s"))
        ):
            self.assertAlmostEqual(fraction, build / padded / 3, places=9)
        result = call(*arguments, "--dataset", "nothing")
        self.assertEqual(result.returncode, 1)
        self.assertIn('data set "nothing": expected one of', result.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
