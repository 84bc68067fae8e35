"""The programs killed at any moment: files are whole, the old or the new one; training goes on to the bit.

AACLIP_TEST_KILLS tells how many kills each test wants (12).
"""

import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
import zipfile
from pathlib import Path

TRAIN, CONVERT, DETECT, GOLDEN = map(os.path.abspath, sys.argv[1:5])
KILLS = int(os.environ.get("AACLIP_TEST_KILLS", "12"))
NANO = Path(GOLDEN) / "nano"
SAMPLES = Path(GOLDEN) / "train"
PHOTO = Path(GOLDEN) / "images" / "chelsea.png"
MODEL = ["--model", NANO / "clip.pt"]
PUBLISHED = [
    "--adapters", NANO / "adapters-published" / "text_adapter.pth",
    "--adapters", NANO / "adapters-published" / "image_adapter_20.pth",
]  # fmt: skip
# Few prompts, small images, one thread, a checkpoint after each step, and not a step is lost.
TRAINING = [
    TRAIN, *MODEL, "--profile", "published", "--img-size", "56", "--threads", "1",
    "--manifest", SAMPLES / "manifest.jsonl", "--text-epoch", "2", "--image-epoch", "2",
    "--text-batch-size", "2", "--save-steps", "1", "--resume",
]  # fmt: skip
CONVERSIONS = (
    [CONVERT, *MODEL],
    [CONVERT, *MODEL, *PUBLISHED],
    [CONVERT, *MODEL, *PUBLISHED, "--bundle", "--class", "cat", "--f16"],
)
DETECTION = [
    DETECT, *MODEL, *PUBLISHED, "--class", "cat", "--image-size", "112", "--threads", "1",
    "--precision", "int8", "--json", "-", PHOTO,
]  # fmt: skip
LIMIT = 300  # seconds
# what a kill may leave: a name that nothing reads
UNFINISHED = re.compile(r".+\.(pth|safetensors|packed)\.\w{6}")


def words(arguments):
    return list(map(str, arguments))


def run(arguments):
    result = subprocess.run(
        words(arguments), capture_output=True, text=True, timeout=LIMIT, check=False
    )
    if result.returncode:
        raise AssertionError(f"{words(arguments)}: {result.returncode}\n{result.stderr}")
    return result.stdout


def names(folder):
    return set(os.listdir(folder)) if folder.is_dir() else set()


def contents(folder):
    """Name -> digest of its bytes, of all that has its own name."""
    return {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in names(folder)
        if not UNFINISHED.fullmatch(name)
    }


class Killed(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="aaclip-killed-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.out = self.folder / "out"
        self.out.mkdir()
        self.chance = random.Random()
        self.kills = self.writing = 0

    def seconds(self, arguments):
        """How long a run takes."""
        started = time.monotonic()
        run(arguments)
        return time.monotonic() - started

    def wait(self, process, seconds, writing):
        """Then, if it is to be killed while it writes, until a file more is there."""
        deadline, before = time.monotonic() + seconds, None
        while process.poll() is None:
            if time.monotonic() < deadline:
                time.sleep(0.0005)
            elif not writing or (before is not None and names(self.out) - before):
                return
            elif before is None:
                before = names(self.out)

    def kill(self, arguments, usual):
        """Whether the program was killed; `usual` is how long it runs. Every other time it writes."""
        writing = self.chance.random() < 0.5
        before = names(self.out)
        with subprocess.Popen(
            words(arguments), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                self.wait(process, self.chance.uniform(0, usual), writing)
            finally:
                process.kill()
            _, errors = process.communicate(timeout=LIMIT)
        left = {name for name in names(self.out) - before if UNFINISHED.fullmatch(name)}
        self.assertLessEqual(len(left), 1, left)
        if process.returncode == 0:
            self.assertEqual(left, set())
            return False
        self.assertEqual(process.returncode, -9, errors)
        self.kills += 1
        self.writing += len(left)
        return True

    def until_enough(self, step):
        for turn in range(50 * KILLS):
            if self.kills >= KILLS:
                break
            step(turn)
        self.assertEqual(self.kills, KILLS)
        print(f"{self.id()}: {self.kills} kills, {self.writing} of them left an unfinished file")

    def check_checkpoints(self, expected):
        """All are whole; those of finished epochs are what they should be; the log has whole lines."""
        for name, digest in contents(self.out).items():
            if name == "log.jsonl":
                for line in (self.out / name).read_text().splitlines():
                    json.loads(line)
                continue
            with zipfile.ZipFile(self.out / name) as archive:
                self.assertIsNone(archive.testzip())
            self.assertIn(name, expected)
            if re.search(r"_\d+\.pth", name):
                self.assertEqual(digest, expected[name], name)

    def test_training(self):
        whole, copy = self.folder / "whole", self.folder / "copy"
        usual = self.seconds([*TRAINING, "--save-path", whole])
        expected = contents(whole)
        self.assertEqual(len(expected), 4)
        killed = [*TRAINING, "--save-path", self.out, "--log", self.out / "log.jsonl"]

        def step(_):
            if self.kill(killed, usual):
                self.check_checkpoints(expected)
                shutil.copytree(self.out, copy)
                run([*TRAINING, "--save-path", copy])  # the killed one goes on in the next turn
                self.assertEqual({**contents(copy), "log.jsonl": ""}, {**expected, "log.jsonl": ""})
                shutil.rmtree(copy)
            else:
                (self.out / "log.jsonl").unlink()
                self.assertEqual(contents(self.out), expected)
                shutil.rmtree(self.out)
                self.out.mkdir()

        self.until_enough(step)

    def test_conversion(self):
        """What stood there before is there, or the new file is."""
        path = self.out / "out.safetensors"
        wanted = []
        for conversion in CONVERSIONS:
            usual = self.seconds([*conversion, "--out", path])
            wanted.append((usual, contents(self.out)))

        def step(turn):
            number = turn % len(CONVERSIONS)
            usual, new = wanted[number]
            shutil.rmtree(self.out)
            self.out.mkdir()
            if turn % 2:
                path.write_text("old")
            old = contents(self.out)
            killed = self.kill([*CONVERSIONS[number], "--out", path], usual)
            self.assertIn(contents(self.out), (old, new) if killed else (new,))

        self.until_enough(step)

    def test_packed_weights(self):
        """Each file is whole or not there, and the next start makes the rest."""
        expected = run(DETECTION)
        arguments = [*DETECTION, "--packed", self.out]
        usual = self.seconds(arguments)
        packed = contents(self.out)
        if not packed:
            self.skipTest("no layout of this processor can be kept")

        def step(_):
            shutil.rmtree(self.out)
            self.out.mkdir()
            self.kill(arguments, usual)
            self.assertLessEqual(contents(self.out).items(), packed.items())
            self.assertEqual(run(arguments), expected)
            self.assertEqual(contents(self.out), packed)

        self.until_enough(step)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
