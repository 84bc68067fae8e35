"""aaclip-train as a user calls it: files, logs, resuming, bad input; killed runs are in faults/killed."""

import json
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest
import zipfile
import zlib
from pathlib import Path

from copies import copy_file, copy_tree

TRAIN, CONVERT, GOLDEN = map(os.path.abspath, sys.argv[1:4])
NANO = Path(GOLDEN) / "nano"
SAMPLES = Path(GOLDEN) / "train"
MODEL = ["--model", NANO / "clip.pt"]
# The published profile has few prompts; small images; one thread, so that runs are comparable.
SMALL = [*MODEL, "--profile", "published", "--img-size", "56", "--threads", "1"]
MANIFEST = ["--manifest", SAMPLES / "manifest.jsonl"]
TEXT = ["--text-epoch", "2", "--image-epoch", "0", "--text-batch-size", "2"]
BOTH = ["--text-epoch", "2", "--image-epoch", "2", "--text-batch-size", "2"]
STEPS = 4  # of an epoch: 7 samples in batches of 2
LIMIT = 120  # seconds


def initial(profile, kind):
    name = {"text": "text_adapter.pth", "image": "image_adapter_20.pth"}[kind]
    return ["--init", NANO / f"adapters-{profile}" / name]


def command(*arguments):
    return [TRAIN, *map(str, arguments)]


def call(*arguments, **more):
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=LIMIT, check=False, **more
    )


def read_lines(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def huge_adapters(path):
    """Image adapters of the document profile whose numbers are nearly too large for float32."""
    shapes = {"layer_adapters.0.fc1.weight": (32, 64), "layer_adapters.0.fc2.weight": (64, 32)}
    for name in ("seg_proj.0", "seg_proj.1", "seg_proj.2", "seg_proj.3", "det_proj"):
        shapes[f"{name}.fc.weight"] = (32, 64)
    header, data = {}, b""
    for name, (rows, columns) in shapes.items():
        values = struct.pack("<f", 3e38) * (rows * columns)
        offsets = [len(data), len(data) + len(values)]
        header[f"image_adapter.{name}"] = {
            "dtype": "F32", "shape": [rows, columns], "data_offsets": offsets,
        }  # fmt: skip
        data += values
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def black(width, height):
    """A grey PNG."""

    def chunk(name, data):
        check = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + check

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(height * (width + 1)))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


class Train(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="aaclip-train-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def trains(self, *arguments, **more):
        result = call(*arguments, **more)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        return result

    def contents(self, path):
        """Name -> bytes of all files of a folder."""
        return {p.name: p.read_bytes() for p in Path(path).iterdir()} if path.is_dir() else {}

    def fails(self, *arguments, says, out=None, **more):
        """Exit code 1, with these words; nothing in `out` was touched."""
        before = self.contents(out) if out else None
        result = call(*arguments, **more)
        self.assertEqual(result.returncode, 1, result.stdout + result.stderr)
        for words in [says] if isinstance(says, (str, Path)) else says:
            self.assertIn(str(words), result.stderr)
        if out:
            self.assertEqual(self.contents(out), before)
        return result

    def opens(self, path):
        """A checkpoint is whole: the zip's sums are right, and the library reads it."""
        with zipfile.ZipFile(path) as archive:
            self.assertIsNone(archive.testzip())
        out = self.folder / "opened.safetensors"
        subprocess.run(
            list(map(str, [CONVERT, *MODEL, "--adapters", path, "--out", out])), check=True,
            capture_output=True, timeout=LIMIT,
        )  # fmt: skip
        out.unlink()

    def make_data(self):
        """A copy of the samples as data/MVTec, where --dataset looks for them."""
        root = self.folder / "data" / "MVTec"
        copy_tree(SAMPLES / "images", root / "images")
        copy_file(SAMPLES / "manifest.jsonl", root / "full-shot.jsonl")
        return root

    def names(self, path):
        return sorted(p.name for p in path.iterdir())

    def test_command_lines_of_the_document(self):
        self.make_data()
        stage_1 = [
            "--dataset", "MVTec", "--training_mode", "few_shot", "--shot", "32", "--text_epoch", "5",
            "--image_epoch", "0", "--text_batch_size", "16", "--text_lr", "0.00001",
            "--save_path", "ckpt/mvtec_stage1", "--img_size", "56",
        ]  # fmt: skip
        stage_2 = [
            "--dataset", "MVTec", "--training_mode", "few_shot", "--shot", "32", "--text_epoch", "5",
            "--image_epoch", "20", "--image_batch_size", "2", "--image_lr", "0.0005",
            "--save_path", "ckpt/mvtec_stage1", "--img_size", "56",
        ]  # fmt: skip
        both = [
            "--dataset", "MVTec", "--training-mode", "few-shot", "--shot", "32", "--text-epoch", "5",
            "--image-epoch", "20", "--text-batch-size", "16", "--image-batch-size", "2",
            "--text-lr", "0.00001", "--image-lr", "0.0005", "--save-path", "ckpt/mvtec_full",
            "--img-size", "56",
        ]  # fmt: skip
        threads = [*MODEL, "--threads", "1"]
        first = self.trains(*threads, *stage_1, cwd=self.folder)
        self.assertIn("text epoch 5/5: loss ", first.stdout)
        one, whole = self.folder / "ckpt" / "mvtec_stage1", self.folder / "ckpt" / "mvtec_full"
        self.assertEqual(self.names(one), ["samples.jsonl", "text_adapter.pth"])
        text = (one / "text_adapter.pth").stat()
        second = self.trains(*threads, *stage_2, cwd=self.folder)
        self.assertIn("image epoch 20/20: loss ", second.stdout)
        self.assertNotIn("text epoch", second.stdout)
        again = (one / "text_adapter.pth").stat()
        self.assertEqual((text.st_ino, text.st_mtime_ns), (again.st_ino, again.st_mtime_ns))
        self.trains(*threads, *both, cwd=self.folder)
        self.assertEqual(self.contents(one), self.contents(whole))
        images = [f"image_adapter_{n}.pth" for n in (*range(1, 21), "latest")]
        self.assertEqual(set(self.names(whole)), {*images, "samples.jsonl", "text_adapter.pth"})
        self.assertEqual(
            (whole / "image_adapter_20.pth").read_bytes(),
            (whole / "image_adapter_latest.pth").read_bytes(),
        )
        self.assertNotEqual(
            (whole / "image_adapter_19.pth").read_bytes(),
            (whole / "image_adapter_20.pth").read_bytes(),
        )
        self.opens(whole / "image_adapter_7.pth")

    def test_few_shot_writes_what_it_drew(self):
        root, out = self.make_data(), self.folder / "out"
        self.trains(
            *SMALL, "--data-root", root, "--training-mode", "few_shot", "--shot", "1",
            "--max-steps", "1", *TEXT, "--save-path", out, "--seed", "3",
        )  # fmt: skip
        drawn = read_lines(out / "samples.jsonl")
        known = [json.dumps(row, sort_keys=True) for row in read_lines(root / "full-shot.jsonl")]
        self.assertEqual(
            sorted((row["class_name"], row["label"]) for row in drawn),
            [("metal_nut", 0), ("metal_nut", 1), ("wood", 0), ("wood", 1)],
        )
        for row in drawn:
            self.assertIn(json.dumps(row, sort_keys=True), known)
        other = self.folder / "other"  # the list is a manifest itself
        self.trains(
            *SMALL, "--manifest", out / "samples.jsonl", "--data-root", root, "--max-steps", "1",
            *TEXT, "--save-path", other, "--seed", "3",
        )  # fmt: skip
        self.assertEqual(
            (out / "text_adapter.pth").read_bytes(), (other / "text_adapter.pth").read_bytes()
        )

    def test_initial_adapters(self):
        """Twice --init: both stages start there; the profile is told by them."""
        start = [*initial("published", "text"), *initial("published", "image")]
        sizes = [*MODEL, "--img-size", "56", "--threads", "1"]
        out = self.folder / "out"
        log = self.folder / "log.jsonl"
        self.trains(
            *sizes, *MANIFEST, *start, *BOTH, "--max-steps", "1", "--save-path", out, "--log", log
        )
        random_log = self.folder / "random.jsonl"
        self.trains(
            *SMALL, *MANIFEST, *BOTH, "--max-steps", "1", "--save-path", self.folder / "random",
            "--log", random_log,
        )  # fmt: skip
        for given, drawn in zip(read_lines(log), read_lines(random_log)):
            self.assertNotEqual(given["loss"], drawn["loss"])
        self.fails(
            *sizes, *MANIFEST, *start, *BOTH, "--profile", "document", "--save-path",
            self.folder / "x", says=["text_adapter", "expected bottleneck adapters"],
        )  # fmt: skip
        only_image = self.folder / "image"  # stage 1 may be left out
        self.trains(
            *sizes, *MANIFEST, *start, "--text-epoch", "0", "--image-epoch", "1", "--save-path",
            only_image,
        )  # fmt: skip
        self.assertEqual(
            self.names(only_image), ["image_adapter_1.pth", "image_adapter_latest.pth"]
        )
        self.fails(
            *SMALL, *MANIFEST, "--text-epoch", "0", "--save-path", self.folder / "y",
            says="stage 2 needs text adapters",
        )  # fmt: skip
        plain = self.folder / "plain"  # stage 2 with the text vectors of CLIP itself
        self.trains(*SMALL, *MANIFEST, "--plain-text", "--image-epoch", "1", "--save-path", plain)
        self.assertEqual(self.names(plain), ["image_adapter_1.pth", "image_adapter_latest.pth"])
        self.trains( # with those of the profile, which the library checks
            *SMALL, *MANIFEST, "--plain-text", "--profile", "published", "--image-epoch", "1",
            "--save-path", self.folder / "z",
        )  # fmt: skip

    def config_of(self, folder):
        """The configuration that a folder's adapters carry."""
        out = folder / "both.safetensors"
        adapters = [("--adapters", folder / name) for name in ("text_adapter.pth", "image_adapter_2.pth")]
        made = subprocess.run(
            [CONVERT, *map(str, [*MODEL, *adapters[0], *adapters[1], "--out", out])],
            capture_output=True, text=True, timeout=LIMIT, check=False,
        )  # fmt: skip
        self.assertEqual(made.returncode, 0, made.stderr)
        content = out.read_bytes()
        header = json.loads(content[8 : 8 + struct.unpack("<Q", content[:8])[0]])
        return json.loads(header["__metadata__"]["aaclip.config"])

    def test_options_upon_those_of_the_adapters(self):
        """An option changes what it names; the rest is what the adapters of --init were made with."""
        first, second = self.folder / "first", self.folder / "second"
        small = ["--image-adapt-until", "3", "--levels", "1,2,4", "--text-adapt-weight", "0.3"]
        self.trains(*SMALL, *MANIFEST, *BOTH, *small, "--save-path", first)
        start = ["--init", first / "text_adapter.pth", "--init", first / "image_adapter_2.pth"]
        self.trains(
            *MODEL, "--img-size", "56", "--threads", "1", *MANIFEST, *BOTH, *start,
            "--image-adapt-weight", "0.2", "--save-path", second,
        )  # fmt: skip
        before, after = self.config_of(first), self.config_of(second)
        self.assertEqual((before["profile"], before["levels"]), ("published", [1, 2, 4]))
        self.assertAlmostEqual(before["text_adapter_weight"], 0.3, places=6)
        self.assertAlmostEqual(after["image_adapter_weight"], 0.2, places=6)
        self.assertEqual(after | {"image_adapter_weight": before["image_adapter_weight"]}, before)

    def test_log(self):
        log = self.folder / "log.jsonl"
        arguments = [*SMALL, *MANIFEST, *BOTH, "--save-path", self.folder / "out", "--log", log]
        result = self.trains(*arguments)
        lines = read_lines(log)
        expected = [
            (stage, step, (step - 1) // STEPS + 1)
            for stage in ("text", "image")
            for step in range(1, 2 * STEPS + 1)
        ]
        self.assertEqual([(l["stage"], l["step"], l["epoch"]) for l in lines], expected)
        for line in lines:
            parts = line["loss_focal"] + line["loss_dice_normal"] + line["loss_dice_abnormal"]
            if line["stage"] == "text":
                parts += 0.1 * line["loss_orthogonal"]
                self.assertEqual(line["learning_rate"], 1e-5)
            else:
                parts += line["loss_classification"]
                self.assertEqual(line["learning_rate"], 5e-4)
            self.assertAlmostEqual(line["loss"], parts, places=9)
            self.assertGreater(line["images_per_second"], 0)
        epoch = [line["loss"] for line in lines[-STEPS:]]
        mean = (2 * sum(epoch[:3]) + epoch[3]) / 7  # the last batch has one image
        self.assertIn(f"image epoch 2/2: loss {mean:.6f} ", result.stdout)
        before = self.contents(self.folder / "out")
        again = self.trains(*arguments)  # everything is finished
        self.assertEqual(again.stdout.count("finished before, kept"), 2)
        self.assertNotIn("epoch", again.stdout)
        self.assertEqual(self.contents(self.folder / "out"), before)
        self.assertEqual(read_lines(log), lines)

    def test_unfinished_runs(self):
        """--max-steps stops, --resume goes on, and nothing goes on by itself."""
        out, whole = self.folder / "out", self.folder / "whole"
        arguments = [*SMALL, *MANIFEST, *TEXT]
        self.trains(*arguments, "--save-path", whole)
        self.trains(*arguments, "--save-path", out, "--max-steps", "3")
        self.fails(
            *arguments, "--save-path", out, out=out,
            says=[out / "text_adapter.pth", "at step 3 of 8", "--resume", "another --save-path"],
        )  # fmt: skip
        self.trains(*arguments, "--save-path", out, "--max-steps", "5", "--resume")
        self.fails(
            *arguments, "--save-path", out, "--resume", "--seed", "1", out=out,
            says=[out / "text_adapter.pth", "seed: expected 1, found 0"],
        )  # fmt: skip
        self.fails(
            *arguments, "--save-path", out, "--resume", "--training-mode", "few_shot", "--shot",
            "1", says=[out / "text_adapter.pth", "was trained on another list of images or with another window", "new folder"],
        )  # fmt: skip
        self.fails(
            *arguments, "--save-path", out, "--resume", "--window", "0,4095",
            says=[out / "text_adapter.pth", "with another window"],
        )  # fmt: skip
        (out / "samples.jsonl").unlink()
        self.trains(*arguments, "--save-path", out, "--resume")
        self.assertEqual(self.contents(out), self.contents(whole))
        again = self.trains(*arguments, "--save-path", out)
        self.assertEqual(again.stdout, f"text: finished before, kept: {out}/text_adapter.pth\n")

    def interrupt(self, arguments, log, lines):
        process = subprocess.Popen(
            command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        deadline = time.monotonic() + LIMIT
        while time.monotonic() < deadline and process.poll() is None:
            if log.exists() and log.read_text().count("\n") >= lines:
                break
            time.sleep(0.001)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=LIMIT)
        return process.returncode, errors

    def test_interrupted(self):
        whole = self.folder / "whole"
        arguments = [*SMALL, *MANIFEST, "--text-epoch", "2", "--text-batch-size", "2",
                     "--image-epoch", "40"]  # fmt: skip
        self.trains(*arguments, "--save-path", whole)
        for lines in (1, 2 * STEPS + 2):  # in stage 1, in stage 2
            out, log = self.folder / f"out{lines}", self.folder / f"log{lines}.jsonl"
            more = ["--save-path", out, "--log", log]
            code, errors = self.interrupt([*arguments, *more], log, lines)
            self.assertEqual(code, 1, errors)
            self.assertIn("interrupted; --resume continues", errors)
            done = read_lines(log)[-1]
            latest = out / (
                "text_adapter.pth" if done["stage"] == "text" else "image_adapter_latest.pth"
            )
            self.opens(latest)
            self.trains(*arguments, *more, "--resume")
            following = read_lines(log)
            steps = [(line["stage"], line["step"]) for line in following]
            self.assertEqual(len(steps), len(set(steps)), "a step was done twice")
            self.assertEqual(len(steps), 2 * STEPS + 40 * STEPS)
            self.assertEqual(self.contents(out), self.contents(whole))

    def write_manifest(self, name, change):
        """The samples with one change, their paths relative to the samples' folder."""
        rows = read_lines(SAMPLES / "manifest.jsonl")
        change(rows)
        path = self.folder / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return ["--manifest", path, "--data-root", SAMPLES]

    def started(self):
        """A folder with an unfinished run, and what goes on with it."""
        out = self.folder / "started"
        if not out.exists():
            self.trains(*SMALL, *MANIFEST, *TEXT, "--max-steps", "2", "--save-path", out)
        return out, [*SMALL, *TEXT, "--resume", "--save-path", out]

    def test_bad_samples(self):
        out, arguments = self.started()
        wrong_mask = "images/5-metal_nut-hole_mask.png"

        def no_mask(rows):
            del rows[1]["mask_path"]

        def lost_mask(rows):
            rows[1]["mask_path"] = "images/lost.png"

        def other_mask(rows):
            rows[1]["mask_path"] = wrong_mask

        def only_normal(rows):
            rows[:] = [row for row in rows if row["class_name"] == "wood" or not row["label"]]

        def label_2(rows):
            rows[3]["label"] = 2

        def text_label(rows):
            rows[3]["label"] = "bad"

        def lost_image(rows):
            rows[3]["image_path"] = "images/lost.png"

        for change, words in (
            (no_mask, ["1-metal_nut-scratch.png", "mask"]),
            (lost_mask, ["lost.png"]),
            (only_normal, ['class "metal_nut"', "found 1 normal, 0 abnormal"]),
            (label_2, ["label_2.jsonl:4", "label"]),
            (text_label, ["text_label.jsonl:4", "label"]),
            (lost_image, ["lost.png"]),
        ):
            with self.subTest(change.__name__):
                data = self.write_manifest(f"{change.__name__}.jsonl", change)
                self.fails(*arguments, *data, says=words, out=out)
        # what only shows when the mask is read: the set is named as it was before
        data = self.write_manifest("manifest.jsonl", other_mask)
        self.fails(
            *arguments, *data, out=out,
            says=["1-metal_nut-scratch.png: 104x104 pixels", f"{wrong_mask} has 112x100"],
        )  # fmt: skip

    def test_masks_without_a_defect_are_told_once(self):
        root = self.folder / "data"
        copy_tree(SAMPLES / "images", root / "images")
        copy_file(SAMPLES / "manifest.jsonl", root / "full-shot.jsonl")
        name = "images/1-metal_nut-scratch_mask.png"
        width, height = struct.unpack(">II", (root / name).read_bytes()[16:24])
        (root / name).write_bytes(black(width, height))
        result = self.trains(
            *SMALL, "--data-root", root, *BOTH, "--max-steps", "8",
            "--save-path", self.folder / "out",
        )  # fmt: skip
        self.assertEqual(
            [line for line in result.stderr.splitlines() if "expected a defect" in line],
            [
                f"warning: {root}/{name}: expected a defect, found none in "
                f"{width}x{height} pixels"
            ],
        )

    def test_a_set_of_one_class_has_its_name(self):
        out, arguments = self.started()
        good = self.folder / "Brain_AD" / "train" / "good"
        good.mkdir(parents=True)
        copy_file(SAMPLES / "images" / "3-metal_nut-good.png", good / "000.png")
        self.fails(
            *arguments, "--dataset", "Brain", "--data-root", self.folder / "Brain_AD",
            says=['class "Brain"', "found 1 normal, 0 abnormal"], out=out,
        )  # fmt: skip

    def test_full_disk(self):
        out, arguments = self.started()

        def small_files():
            resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

        for more in ([], ["--save-steps", "1"], ["--max-steps", "3"]):
            self.fails(
                *arguments, *MANIFEST, *more, out=out, preexec_fn=small_files,
                says=[out / "text_adapter.pth", "cannot write", os.strerror(27)],
            )  # fmt: skip
        self.trains(*arguments, *MANIFEST)

    def test_full_disk_of_the_log(self):
        out, arguments = self.started()
        if os.path.exists("/dev/full"):
            self.fails(
                *arguments, *MANIFEST, "--log", "/dev/full", out=out,
                says=["/dev/full: cannot write", os.strerror(28)],
            )  # fmt: skip

    def test_loss_that_is_no_number(self):
        out, huge = self.folder / "out", self.folder / "huge.safetensors"
        document = [*MODEL, "--img-size", "56", "--threads", "1", *MANIFEST, "--save-path", out]
        self.trains(*document, "--text-epoch", "1", "--image-epoch", "0")
        huge_adapters(huge)
        self.fails(
            *document, "--text-epoch", "1", "--image-epoch", "1", "--init", huge, out=out,
            says=["step 1: expected a finite loss and gradient", "the adapters were not changed"],
        )  # fmt: skip
        self.opens(out / "text_adapter.pth")

    def test_spoilt_checkpoints(self):
        out, arguments = self.started()
        path = out / "text_adapter.pth"
        whole = path.read_bytes()
        for data in (b"", whole[: len(whole) // 2], b"not a checkpoint"):
            path.write_bytes(data)
            self.fails(*arguments, *MANIFEST, says=path, out=out)

    def test_places_that_cannot_be_written(self):
        blocker = self.folder / "file"
        blocker.write_text("")
        for path in (blocker, blocker / "x", "/proc/aaclip-test"):
            self.fails(*SMALL, *MANIFEST, *TEXT, "--save-path", path, says=path)
        self.assertEqual(blocker.read_text(), "")

    def test_wrong_arguments(self):
        out = self.folder / "out"
        run = [*SMALL, *MANIFEST, "--save-path", out]
        for arguments, words in (
            ([], "--model is missing"),
            ([*MODEL, *MANIFEST], "--save-path is missing"),
            ([*MODEL, *MANIFEST, "--save-path", ""], "--save-path is missing"),
            ([*MODEL, "--save-path", out], "--dataset, --manifest or --data-root is missing"),
            ([*run, "--training-mode", "half"], "expected few_shot or full_shot, found 'half'"),
            ([*run, "--stage1-scales", "first"], "expected sum or last, found 'first'"),
            ([*run, "--text-lr", "nan"], "--text-lr"),
            ([*run, "--text-lr", "0"], "--text-lr: expected a positive number"),
            ([*run, "--image-lr", "0"], "--image-lr: expected a positive number"),
            ([*run, "--image-lr", "1e300"], "--image-lr: expected a positive number, at most 1e+06"),
            ([*run, "--image-lr", "nan"], "--image-lr"),
            ([*run, "--text-batch-size", "0"], "--text-batch-size: expected 1 to 65536"),
            ([*run, "--image-batch-size", "0"], "--image-batch-size: expected 1 to 65536"),
            ([*run, "--accumulate", "0"], "--accumulate: expected 1 to 65536"),
            ([*run, "--training-mode", "few_shot", "--shot", "0"], "--shot: expected 1 or more"),
            ([*run, "--shot", "2"], "--shot needs --training-mode few_shot"),
            ([*run, "--text-adapt-weight", "2"], "text_adapter_weight: expected 0 to 1"),
            ([*run, "--levels", "2,1"], "levels[1]"),
            ([*run, "--levels", "1,x"], "--levels: expected at most 8 numbers"),
            ([*run, "--dataset", "Nothing", "--data-root", SAMPLES], "Nothing"),
            ([*run, "--prompts", self.folder / "none.json"], "none.json"),
            ([*run, "--backend", "none"], "none"),
            ([*run, "screw.png"], "unexpected argument 'screw.png'"),
        ):
            with self.subTest(words):
                self.fails(*arguments, says=words)
        self.assertEqual(list(out.glob("*")), [])

    def test_settings_change_what_is_trained(self):
        """Each option that bends the computation reaches it."""
        results = {}
        base = [*SMALL, *MANIFEST, *BOTH, "--max-steps", "2"]
        prompts = self.folder / "prompts.json"
        prompts.write_text(
            json.dumps({"normal": ["{}"], "abnormal": ["bad {}"], "templates": ["a {}."]})
        )
        for more in (
            [], ["--seed", "1"], ["--dataset", "MVTec", "--data-root", SAMPLES],
            ["--no-augmentation"], ["--no-shuffle"], ["--balanced-focal"], ["--stage1-scales", "sum"],
            ["--surgery-blocks", "1"], ["--text-norm-weight", "1"], ["--text-lr", "1e-3"],
            ["--text-adapt-weight", "0.3"], ["--text-adapt-until", "2"], ["--prompts", prompts],
        ):  # fmt: skip
            out = self.folder / f"out{len(results)}"
            self.trains(*base, *more, "--save-path", out)
            results[" ".join(map(str, more))] = (out / "text_adapter.pth").read_bytes()
        self.assertEqual(len(set(results.values())), len(results))
        images = {}
        base = [*base, *initial("published", "text"), "--text-epoch", "0"]
        for more in (
            [], ["--image-lr", "1e-3"], ["--image-batch-size", "1"], ["--accumulate", "2"],
            ["--image-adapt-weight", "0.3"],
        ):  # fmt: skip
            out = self.folder / f"image{len(images)}"
            self.trains(*base, *more, "--save-path", out)
            images[" ".join(map(str, more))] = (out / "image_adapter_latest.pth").read_bytes()
        self.assertEqual(len(set(images.values())), len(images))
        out = self.folder / "again"
        self.trains(*base, "--recompute", "--save-path", out)
        self.assertEqual((out / "image_adapter_latest.pth").read_bytes(), images[""])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
