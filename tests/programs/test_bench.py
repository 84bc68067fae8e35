"""Every mode of aaclip-bench on a small model: its figures, its table and its comparisons."""

import copy
import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from copies import copy_file

BENCH, DETECT, MODELS, HAS_ONEDNN = sys.argv[1:5]
MODEL = ["--model", Path(MODELS) / "aaclip-mini" / "clip.safetensors", "--image-size", "48"]


def call(*arguments, **environment):
    return subprocess.run(
        [BENCH, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, **environment},
    )  # fmt: skip


class Bench(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name)

    def tearDown(self):
        self.folder.cleanup()

    def result(self, *arguments):
        """The JSON, after a look at what every mode has in common."""
        path = self.path / "figures.json"
        run = call(*arguments, "--json", path)
        self.assertEqual(run.returncode, 0, run.stderr)
        found = json.loads(path.read_text())
        lines = run.stdout.splitlines()[-len(found["figures"]) :]
        self.assertEqual([line.split()[0] for line in lines], list(found["figures"]))
        for name, figure in found["figures"].items():
            values = sorted(figure["values"])
            self.assertEqual((figure["least"], figure["largest"]), (values[0], values[-1]), name)
            middle = (values[(len(values) - 1) // 2] + values[len(values) // 2]) / 2
            self.assertAlmostEqual(figure["median"], middle, msg=name)
        return found

    def check_positive(self, found, count, *names):
        for name in names:
            values = found["figures"][name]["values"]
            self.assertEqual(len(values), count, name)
            self.assertGreater(min(values), 0, name)

    def check_yardstick(self, found, count):
        if HAS_ONEDNN == "1":
            self.check_positive(found, count, "product_gflops", "fraction_of_roofline")
        else:
            self.assertNotIn("product_gflops", found["figures"])

    def check_operations(self, found, whole, count):
        """The table adds up to what was measured around it."""
        rows, figures = found["operations"], found["figures"]
        for i in range(count):
            sums = sum(row["values"][i] for row in rows)
            self.assertAlmostEqual(sums, figures["operations_s"]["values"][i])
            parts = sums + figures["rest_s"]["values"][i]
            self.assertAlmostEqual(parts, figures[whole]["values"][i])
            self.assertLess(sums, parts)
        kinds = {row["operation"] for row in rows}
        self.assertLessEqual({"linear", "attention", "layer_norm"}, kinds)
        self.assertEqual(len({(r["operation"], r["shape"], r["backend"]) for r in rows}), len(rows))
        return 1e-9 * sum(row["flop"] for row in rows)

    def test_detect(self):
        for mode in ([], ["detect"]):
            found = self.result(*mode, *MODEL, "--repeat", 3, "--operations")
            self.assertEqual(found["mode"], "detect")
            self.assertEqual(found["settings"]["image_size"], 48)
            self.check_positive(found, 3, "detection_s", "gflops")
            self.check_positive(found, 1, "first_result_s", "peak_memory_mb", "copy_gbs")
            self.check_yardstick(found, 3)
            gflop = self.check_operations(found, "detection_s", 3)
            # what no output needs may be left out
            needed = found["figures"]["gflop"]["median"]
            self.assertTrue(0.7 * needed < gflop < 1.01 * needed, (gflop, needed))

    def test_no_operations_unless_asked(self):
        found = self.result(*MODEL, "--repeat", 1)
        self.assertEqual(found["operations"], [])
        self.assertNotIn("operations_s", found["figures"])

    def test_train(self):
        for stage in (1, 2):
            found = self.result(
                "train", *MODEL, "--stage", stage, "--batch-size", 2, "--repeat", 2, "--operations"
            )
            self.assertEqual(found["settings"]["stage"], stage)
            self.check_positive(found, 2, "step_s", "gflop", "gflops")
            self.check_positive(found, 1, "peak_memory_mb")
            self.check_yardstick(found, 2)
            gflop = self.check_operations(found, "step_s", 2)
            needed = found["figures"]["gflop"]["median"]
            self.assertTrue(0.7 * needed < gflop < 1.3 * needed, (stage, gflop, needed))
            kinds = {row["operation"] for row in found["operations"]}
            self.assertLessEqual({"attention_backward", "linear_gradient", "adam"}, kinds)
            values = [r for r in found["operations"] if ", value" in r["shape"]]
            self.assertEqual(bool(values), stage == 1)

    def test_load(self):
        found = self.result("load", *MODEL, "--repeat", 2, "--cold")
        self.check_positive(
            found, 2, "first_result_s", "process_s", "open_s", "forward_s", "peak_memory_mb"
        )
        figures = found["figures"]
        for i in range(2):
            first, forward = (figures[n]["values"][i] for n in ("first_result_s", "forward_s"))
            self.assertAlmostEqual(figures["beyond_s"]["values"][i], first - forward)
        self.assertEqual(found["settings"]["page_cache"], "cold")

    def test_folder(self):
        packed = self.path / "packed"
        packed.mkdir()
        detect = self.path / "detect"  # tells what it was called with
        detect.write_text(f'#!/bin/sh\necho "$@" >>"{self.path}/calls"\nexec "{DETECT}" "$@"\n')
        detect.chmod(0o755)
        found = self.result(
            "folder", *MODEL, "--repeat", 1, "--pictures", 2, "--detect", detect, "--packed", packed
        )
        self.assertIn(f"--packed {packed}", (self.path / "calls").read_text())
        self.check_positive(found, 1, "folder_s", "forward_s", "decoded_s", "images_per_second")
        self.assertEqual(found["settings"]["pictures"], 2)

    def test_growth(self):
        found = self.result(
            "growth", *MODEL, "--repeat", 1, "--sizes", "33,64", "--batches", "1,3",
            "--prompts", "1,9", "--thread-counts", "1,2",
        )  # fmt: skip
        wanted = [
            f"{curve}_{at}_s"
            for curve, points in (
                ("size", (32, 64)), ("batch", (1, 3)), ("prompts", (1, 9)), ("threads", (1, 2)),
            )
            for at in points
        ]  # fmt: skip
        self.check_positive(found, 1, *wanted, "size_64_mb", "threads_2_speedup")
        seconds = [n for n in found["figures"] if n.endswith("_s")]
        self.assertEqual(seconds, wanted)

    def test_growth_leaves_curves_out(self):
        found = self.result(
            "growth", *MODEL, "--repeat", 1, "--sizes", "", "--batches", "2", "--prompts", "",
            "--thread-counts", "",
        )  # fmt: skip
        self.assertEqual([n for n in found["figures"] if n.endswith("_s")], ["batch_2_s"])

    def test_temporary_folder(self):
        for mode in ("folder", "train"):
            run = call(mode, *MODEL, "--detect" if mode == "folder" else "--repeat",
                       DETECT if mode == "folder" else 1, TMPDIR=str(self.path / "none"))  # fmt: skip
            self.assertEqual(run.returncode, 1)
            self.assertIn(f"{self.path}/none/aaclip-bench-", run.stderr)
            self.assertIn(os.strerror(2), run.stderr)

    def test_a_path_that_is_not_utf_8(self):
        path = os.fsencode(self.path) + b"/\xff.safetensors"
        copy_file(MODEL[1], path)
        found = self.result("--model", os.fsdecode(path), "--image-size", 48, "--repeat", 1)
        self.assertTrue(found["settings"]["model"].endswith("/\\xff.safetensors"))

    def test_roofline(self):
        if HAS_ONEDNN == "1":
            found = self.result("roofline", "--repeat", 2, "--threads", 1)
            self.check_positive(found, 2, "product_gflops", "copy_gbs")
        else:
            run = call("roofline")
            self.assertEqual(run.returncode, 1)
            self.assertIn("no oneDNN", run.stderr)

    def compare(self, first, second):
        paths = [self.path / "a.json", self.path / "b.json"]
        for path, result in zip(paths, (first, second)):
            path.write_text(json.dumps(result))
        return call("--compare", *paths)

    def test_compare(self):
        def figure(better, *values):
            median = sorted(values)[len(values) // 2]
            return {"unit": "s", "better": better, "values": values, "median": median,
                    "least": min(values), "largest": max(values)}  # fmt: skip

        row = {"operation": "linear", "shape": "2 x 3 -> 4", **figure("less", 0.1, 0.2, 0.3)}
        first = {
            "mode": "detect",
            "settings": {"threads": 1.0, "model": "a"},
            "figures": {"time_s": figure("less", 1.0, 1.2, 1.1), "speed": figure("more", 5, 6, 7),
                        "memory": figure("less", 5), "work": figure("", 1, 2)},
            "operations": [row],
        }  # fmt: skip
        run = self.compare(first, first)
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertIn("nothing worse", run.stdout)
        self.assertNotIn("different:", run.stdout)

        second = copy.deepcopy(first)
        second["settings"]["threads"] = 2.0
        second["figures"]["time_s"] = figure("less", 1.19, 1.3, 1.4)  # overlaps
        second["figures"]["speed"] = figure("more", 7.5, 8, 9)  # better
        second["figures"]["memory"] = figure("less", 50)  # one value: not judged
        run = self.compare(first, second)
        self.assertEqual(run.returncode, 0, run.stdout)
        self.assertIn("different: threads 1 | 2", run.stdout)
        lines = {line.split()[0]: line for line in run.stdout.splitlines()}
        self.assertIn("1.182", lines["time_s"])
        self.assertTrue(lines["speed"].endswith("better"))
        self.assertTrue(lines["memory"].endswith("no spread known"))
        self.assertIn("200 ", lines["linear"])

        second["figures"]["time_s"] = figure("less", 1.25, 1.3, 1.4)
        second["figures"]["speed"] = figure("more", 1, 2, 3)
        run = self.compare(first, second)
        self.assertEqual(run.returncode, 3)
        lines = {line.split()[0]: line for line in run.stdout.splitlines()}
        self.assertTrue(lines["time_s"].endswith("WORSE"))
        self.assertTrue(lines["speed"].endswith("WORSE"))
        self.assertEqual(self.compare(second, first).returncode, 0)

        second = copy.deepcopy(first)  # an operation alone
        second["operations"] = [{**row, **figure("less", 1, 2, 3)}]
        run = self.compare(first, second)
        self.assertEqual(run.returncode, 3)
        self.assertRegex(run.stdout, r"(?m)^linear.*WORSE$")
        self.assertIn("\nworse by more", run.stdout)

        del second["figures"]["speed"]
        self.assertRegex(self.compare(first, second).stdout, r"speed +only in the first")
        self.assertRegex(self.compare(second, first).stdout, r"speed +only in the second")

    def test_compare_tells_places_apart(self):
        def row(backend, threads, *values):
            return {"operation": "linear", "shape": "2 x 3 -> 4", "backend": backend, "threads": threads,
                    "values": values, "median": values[1], "least": values[0], "largest": values[2]}  # fmt: skip

        def result(*rows):
            return {"mode": "detect", "settings": {}, "figures": {}, "operations": rows}

        slow, fast = (7, 8, 9), (1, 2, 3)
        both = result(row("onednn", 1, *slow), row("onednn", 2, *fast), row("blas", 2, *slow))
        turned = result(*reversed(both["operations"]))
        run = self.compare(both, turned)
        self.assertEqual(run.returncode, 0, run.stdout)
        self.assertEqual(run.stdout.count("linear 2 x 3 -> 4, "), 3)
        run = self.compare(both, result(row("onednn", 2, *fast)))
        self.assertEqual(run.stdout.count("only in the first"), 2)
        run = self.compare(result(row("onednn", 2, *fast)), both)
        self.assertEqual(run.stdout.count("only in the second"), 2)
        run = self.compare(result(row("onednn", 2, *fast)), result(row("blas", 1, *slow)))
        self.assertEqual(run.returncode, 3, run.stdout)  # once in both: of two backends

    def test_mistakes(self):
        broken, other = self.path / "broken.json", self.path / "other.json"
        broken.write_text("{")
        other.write_text('{"mode": "load", "figures": {}}')
        for arguments, words in (
            ([], "expected --model FILE"),
            (["train", *MODEL, "--stage", "3"], "--stage: expected a number from 0 to 2, found '3'"),
            (["train", *MODEL, "--stage", "0"], "--stage"),
            (["growth", *MODEL, "--sizes", "4,x"], "--sizes: expected"),
            (["folder", *MODEL, "--pictures", "0"], "--pictures: expected 1 or more"),
            (["folder", *MODEL, "--detect", "/no/such"], "/no/such: not found"),
            (["folder", *MODEL, "--image", "a.png"], "--image is for the other modes"),
            *(
                (["roofline", "--precision", name], f"expected f32, bf16 or int8, found {name}")
                for name in ("f16", "tf32", "auto")
            ),
            (["load", "--model", "/no/such"], "/no/such"),
            (["load", *MODEL, "--repeat", "0"], "expected"),
            (["roofline", "stray"], "unexpected argument"),
            (["--compare", broken], "expected two files"),
            (["--compare", broken, other], f"{broken}: "),
            (["--compare", other, self.path / "none"], "none: "),
        ):
            run = call(*arguments)
            self.assertEqual(run.returncode, 1, arguments)
            self.assertIn(words, run.stderr)
            self.assertTrue(run.stderr.startswith("aaclip-bench"), run.stderr)

    def test_every_mode_has_help(self):
        for mode in ([], ["train"], ["load"], ["folder"], ["growth"], ["roofline"], ["--compare"]):
            run = call(*mode, "--help")
            self.assertEqual(run.returncode, 0)
            self.assertIn("usage: aaclip-bench", run.stdout)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
