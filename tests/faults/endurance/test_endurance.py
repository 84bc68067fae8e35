"""A detector that sees thousands of images, spoilt ones among them, in one process.

AACLIP_TEST_IMAGES tells how many (200). Prints how memory and speed went; only memory is judged, as
the speed of a machine is not the program's.
"""

import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import unittest
import zlib
from pathlib import Path

DETECT, GOLDEN = map(os.path.abspath, sys.argv[1:3])
IMAGES = int(os.environ.get("AACLIP_TEST_IMAGES", "200"))
SPOILT = 0.04  # of the images
NANO, PICTURES = Path(GOLDEN) / "nano", Path(GOLDEN) / "images"
SOUND = ["chelsea.png", "chelsea.jpg", "colour-420.jpg", "colour-444-progressive.jpg", "bits24.bmp", "bits8.bmp"]
COMMAND = [
    DETECT, "--model", NANO / "clip.pt",
    "--adapters", NANO / "adapters-published" / "text_adapter.pth",
    "--adapters", NANO / "adapters-published" / "image_adapter_20.pth",
    "--class", "cat", "--image-size", "112", "--threads", "2",
]  # fmt: skip
SETTLED = 0.2  # of the images, after which memory should stay as it is
MORE_KB = 8192  # beside a twentieth: results are kept until the end


def png_of_size(width, height):
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


def flip_a_bit(data, chance):
    """In the first chunk of pixels of a PNG, which its checksum tells."""
    data, start = bytearray(data), data.index(b"IDAT") + 4
    length = struct.unpack(">I", data[start - 8 : start - 4])[0]
    data[start + chance.randrange(length)] ^= 1 << chance.randrange(8)
    return bytes(data)


def spoil(chance):
    """(suffix, bytes) of a file that cannot be read."""
    png, bmp, jpeg = ((PICTURES / name).read_bytes() for name in ("chelsea.png", "bits24.bmp", "chelsea.jpg"))
    return chance.choice([
        lambda: (".png", png[: chance.randrange(1, len(png) - 20)]),
        lambda: (".png", flip_a_bit(png, chance)),
        lambda: (".png", png_of_size(60000, 60000)),
        lambda: (".png", b""),
        lambda: (".bmp", bmp[: chance.randrange(1, len(bmp) // 2)]),
        lambda: (".jpg", jpeg[: chance.randrange(1, 200)]),
        lambda: (".jpg", bytes(chance.randrange(256) for _ in range(chance.randrange(1, 300)))),
    ])()  # fmt: skip


def resident_kb(process):
    try:
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    except OSError:
        return 0
    return next((int(l.split()[1]) for l in status.splitlines() if l.startswith("VmRSS:")), 0)


class Endurance(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="aaclip-endurance-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.pictures, self.out = self.folder / "pictures", self.folder / "out"
        self.pictures.mkdir()
        self.out.mkdir()
        self.seed = random.randrange(1 << 32)
        print(f"seed {self.seed}")

    def write_pictures(self):
        """Path -> name of the sound picture that it is, None of a spoilt one."""
        chance, written = random.Random(self.seed), {}
        for i in range(IMAGES):
            if chance.random() < SPOILT:
                suffix, data = spoil(chance)
                path = self.pictures / f"{i:06}{suffix}"
                path.write_bytes(data)
                written[str(path)] = None
            else:
                name = chance.choice(SOUND)
                path = self.pictures / f"{i:06}{Path(name).suffix}"
                os.symlink(PICTURES / name, path)
                written[str(path)] = name
        return written

    def watch(self, process):
        """[(seconds, overlays written, resident KB)], a few times a second."""
        started, seen = time.monotonic(), []
        while process.poll() is None:
            memory = resident_kb(process)
            if memory:
                seen.append((time.monotonic() - started, len(os.listdir(self.out)), memory))
            time.sleep(0.25)
        return seen

    def check_memory(self, seen, total):
        """From SETTLED of the overlays to the last one: then all results are put into one file."""
        settled = [memory for _, done, memory in seen if SETTLED * total <= done < total]
        if len(settled) < 8:
            print("too short a run to judge its memory")
            return
        at_work = [sample for sample in seen if sample[1] < total]
        quarters = [seen[0], *(next(s for s in seen if s[1] >= f * total) for f in (0.25, 0.5, 0.75)), at_work[-1]]
        for before, after in zip(quarters, quarters[1:]):
            speed = (after[1] - before[1]) / (after[0] - before[0])
            print(f"  to {after[1]} overlays: {speed:.0f} a second, {after[2] / 1024:.1f} MB resident")
        print(f"  writing the results: {max(memory for *_, memory in seen) / 1024:.1f} MB")
        self.assertLessEqual(max(settled), 1.05 * settled[0] + MORE_KB)

    def test_all_are_seen(self):
        written = self.write_pictures()
        errors, results = self.folder / "errors", self.folder / "results.json"
        command = [*COMMAND, "--out", self.out, "--json", results, self.pictures]
        with open(errors, "wb") as file:
            process = subprocess.Popen(list(map(str, command)), stderr=file, stdout=subprocess.DEVNULL)
            seen = self.watch(process)
        sound = {path for path, name in written.items() if name}
        spoilt = set(written) - sound
        lines = errors.read_text(encoding="utf-8", errors="replace").splitlines()
        self.assertEqual(process.returncode, 1 if spoilt else 0, lines[-3:])
        images = json.loads(results.read_text(encoding="utf-8"))["images"]
        self.assertEqual(sorted(image["path"] for image in images), sorted(sound))
        scores = {}
        for image in images:  # the same picture has the same score, to the last bit
            scores.setdefault(written[image["path"]], set()).add((image["score"], image["map_maximum"]))
        self.assertEqual({name: len(found) for name, found in scores.items()}, dict.fromkeys(scores, 1))
        named = [path for path in spoilt for line in lines if f" {path}: " in line]
        self.assertEqual(sorted(named), sorted(spoilt))
        self.assertEqual(
            sorted(os.listdir(self.out)), sorted(f"{Path(path).stem}_overlay.png" for path in sound)
        )
        print(f"{len(written)} images in {seen[-1][0]:.0f} s, {len(spoilt)} of them spoilt, each named")
        self.check_memory(seen, len(sound))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
