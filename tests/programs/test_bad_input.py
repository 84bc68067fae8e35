"""Hostile files and outputs that cannot be written: exit code 1, the file named, nothing left."""

import gzip
import io
import json
import os
import pickle
import re
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

from copies import copy_file

DETECT, CONVERT, GOLDEN = sys.argv[1:4]
NANO = Path(GOLDEN) / "nano"
PHOTO = Path(GOLDEN) / "images" / "chelsea.png"
JPEG = Path(GOLDEN) / "images" / "chelsea.jpg"
MODEL = ["--model", NANO / "clip.pt"]
ADAPTERS = [
    "--adapters", NANO / "adapters-document" / "text_adapter.pth",
    "--adapters", NANO / "adapters-document" / "image_adapter_20.pth",
]  # fmt: skip
CLASS = ["--class", "screw", "--image-size", "112"]
LIMIT = 60  # seconds; a hostile file must not hang a program


def read_safetensors(path):
    data = Path(path).read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def safetensors(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def describe(shapes):
    """The header of float32 tensors of these shapes, and how many bytes they take."""
    header, offset = {}, 0
    for name, shape in shapes.items():
        size = 4
        for extent in shape:
            size *= extent
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    return header, offset


def block_shapes(prefix, width):
    return {
        f"{prefix}transformer.resblocks.0.{name}": shape
        for name, shape in {
            "ln_1.weight": [width], "ln_1.bias": [width],
            "attn.in_proj_weight": [3 * width, width], "attn.in_proj_bias": [3 * width],
            "attn.out_proj.weight": [width, width], "attn.out_proj.bias": [width],
            "ln_2.weight": [width], "ln_2.bias": [width],
            "mlp.c_fc.weight": [width, width], "mlp.c_fc.bias": [width],
            "mlp.c_proj.weight": [width, width], "mlp.c_proj.bias": [width],
        }.items()
    }  # fmt: skip


def clip_shapes(vocabulary):
    width = 16
    return {
        "visual.conv1.weight": [width, 3, 2, 2], "visual.class_embedding": [width],
        "visual.positional_embedding": [17, width],
        "visual.ln_pre.weight": [width], "visual.ln_pre.bias": [width],
        "visual.ln_post.weight": [width], "visual.ln_post.bias": [width],
        "visual.proj": [width, width], "token_embedding.weight": [vocabulary, width],
        "positional_embedding": [8, width], "ln_final.weight": [width], "ln_final.bias": [width],
        "text_projection": [width, width],
        **block_shapes("visual.", width), **block_shapes("", width),
    }  # fmt: skip


def zip_of(name, data):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as writer:
        writer.writestr(name, data)
    return archive.getvalue()


def png(width, height, rows=b""):
    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )  # fmt: skip


class Command:
    """Would be run by a reader of pickles that calls what it is told to."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


class BadInput(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="aaclip-bad-input-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def put(self, name, data):
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return path

    def contents(self):
        """Every path with what tells that it was not touched; folders may have been written to."""
        found = {}
        for path in self.folder.rglob("*"):
            info = path.lstat()
            times = 0 if path.is_dir() else info.st_mtime_ns
            found[str(path)] = (info.st_mode, info.st_size, info.st_ino, times)
        return found

    def fails(self, program, *arguments, says, **more):
        before = self.contents()
        result = subprocess.run(
            [program, *map(str, arguments)], capture_output=True, text=True, timeout=LIMIT,
            check=False, **more,
        )  # fmt: skip
        self.assertEqual(result.returncode, 1, result.stdout + result.stderr)
        for words in [says] if isinstance(says, (str, Path)) else says:
            self.assertIn(str(words), result.stderr)
        self.assertEqual(self.contents(), before, "something was left behind or touched")
        return result

    def refuses_model(self, path, *says):
        says = [path, *says]
        self.fails(DETECT, "--model", path, *CLASS, PHOTO, says=says)
        self.fails(CONVERT, "--model", path, "--out", self.folder / "out.safetensors", says=says)

    def works(self, program, *arguments):
        result = subprocess.run(
            [program, *map(str, arguments)], capture_output=True, text=True, timeout=LIMIT,
            check=False,
        )  # fmt: skip
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        return result

    def test_models(self):
        cyclic = []
        cyclic.append(cyclic)
        marker = self.folder / "marker"
        nested = b'{"a":' + b"[" * 100000
        resnet = clip_shapes(600) | {"visual.layer1.0.conv1.weight": [8, 8, 1, 1]}
        header, size = describe(resnet)
        files = {
            "empty": (b"", "the file is empty"),
            "text": (b"not a model at all, only words", "found neither"),
            "no-pickle": (zip_of("notes.txt", b"words"), "data.pkl"),
            "words": (zip_of("clip/data.pkl", b"words"), "clip/data.pkl"),
            "cyclic": (zip_of("clip/data.pkl", pickle.dumps(cyclic, 2)), "contains itself"),
            "command": (zip_of("clip/data.pkl", pickle.dumps(Command(marker), 2)), "posix.system is not allowed"),
            "long-header": (struct.pack("<Q", 1 << 60) + b"{}", "header of 1152921504606846976 bytes"),
            "nested": (safetensors(nested), "depth"),
            "beyond": (
                safetensors({"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}}, b"1234"),
                "a: data_offsets: end 36 is beyond the file's 4 bytes of data",
            ),
            "adapters": (
                (NANO / "adapters-document" / "text_adapter.pth").read_bytes(), "visual.conv1.weight",
            ),
            "resnet": (safetensors(header, bytes(size)), "a ResNet CLIP"),
            "picture": (PHOTO.read_bytes(), "found neither"),
        }  # fmt: skip
        for name, (data, words) in files.items():
            with self.subTest(name):
                self.refuses_model(self.put(name, data), words)
        self.assertFalse(marker.exists())

    def test_models_that_lack_or_contradict(self):
        whole = clip_shapes(600)
        missing = {n: s for n, s in whole.items() if n != "visual.ln_post.bias"}
        wrong = whole | {"text_projection": [15, 16]}
        table = whole | {"visual.positional_embedding": [16, 16]}
        for shapes, words in (
            (missing, "visual.ln_post.bias: expected 16, found no such tensor"),
            (wrong, "text_projection: expected 16 x 16, found 15x16"),
            (table, "expected a square grid and a class token, found 16 rows"),
        ):
            header, size = describe(shapes)
            self.refuses_model(
                self.put("clip.safetensors", safetensors(header, bytes(size))), words
            )

    def test_truncated_models(self):
        for source in (NANO / "clip.pt", self.bundle()):
            data = source.read_bytes()
            for part in (1, 4, 9, 100, len(data) // 3, len(data) // 2, len(data) - 1):
                self.refuses_model(self.put("cut", data[:part]))

    def test_folders_and_pipes_as_models(self):
        empty = self.folder / "empty"
        empty.mkdir()
        self.refuses_model(empty, "found 0")
        two = self.folder / "two"
        two.mkdir()
        for name in ("a.pt", "b.pt"):
            copy_file(NANO / "clip.pt", two / name)
        self.refuses_model(two, "found 2")
        os.mkfifo(self.folder / "pipe")
        self.refuses_model(self.folder / "pipe", "expected a regular file")
        header, size = describe(clip_shapes(600))
        self.put("open/open_clip_model.safetensors", safetensors(header, bytes(size)))
        config = self.put("open/open_clip_config.json", "{")
        self.fails(DETECT, "--model", config.parent, *CLASS, PHOTO, says=[config, "line 1"])
        config.write_text(json.dumps({"model_cfg": {"text_cfg": {"hf_model_name": "roberta"}}}))
        self.fails(
            CONVERT, "--model", config.parent, "--out", self.folder / "out",
            says=[config, "text_cfg.hf_model_name: expected CLIP's own tower, found roberta"],
        )  # fmt: skip

    def test_images(self):
        photo, jpeg = PHOTO.read_bytes(), JPEG.read_bytes()
        flipped = bytearray(photo)
        flipped[len(photo) // 2] ^= 0xFF
        files = {
            "empty.png": b"",
            "words.png": b"not an image",
            "signature.png": photo[:8],
            "cut.png": photo[: len(photo) // 2],
            "flipped.png": bytes(flipped),
            "huge.png": png(0x7FFFFFFF, 0x7FFFFFFF),
            "wide.png": png(1000000, 1000000),
            "no-rows.png": png(64, 64, b"\0" * 10),
            "flat.png": png(0, 64),
            "cut.jpg": jpeg[: len(jpeg) // 2],
            "start.jpg": jpeg[:2],
            "tail.jpg": jpeg[:200] + bytes(100),
            "cut.bmp": b"BM" + struct.pack("<IHHI", 100, 0, 0, 54) + struct.pack("<I", 40),
            "long.bmp": b"BM"
            + struct.pack("<IHHI", 100, 0, 0, 0xFFFFFFFF)
            + struct.pack("<IiiHHIIiiII", 40, 1 << 30, 1 << 30, 1, 24, 0, 0, 0, 0, 0, 0),
            "model.png": (NANO / "clip.pt").read_bytes()[:5000],
        }
        for name, data in files.items():
            with self.subTest(name):
                path = self.put(name, data)
                out = self.folder / "out"
                out.mkdir(exist_ok=True)
                self.fails(
                    DETECT, *MODEL, *CLASS, "--out", out, "--raw", path,
                    says=[path, "1 of 1 images failed"],
                )  # fmt: skip

    def test_vocabularies(self):
        whole = (NANO / "bpe_simple_vocab_16e6.txt.gz").read_bytes()
        text = gzip.decompress(whole)
        files = {
            "empty": b"",
            "words": b"not a vocabulary",
            "cut.gz": whole[: len(whole) // 2],
            "flipped.gz": whole[:-6] + bytes(6),
            "short.txt": b"\n".join(text.splitlines()[:20]) + b"\n",
            "bomb.gz": gzip.compress(b"#version: 1\n" + b"a b\n" * (8 << 20)),
            "binary.txt": b"#version: 1\n" + bytes(range(256)) * 4,
        }
        for name, data in files.items():
            with self.subTest(name):
                path = self.put(name, data)
                self.fails(DETECT, *MODEL, *CLASS, "--vocab", path, PHOTO, says=path)
        empty = self.folder / "folder"
        empty.mkdir()
        self.fails(DETECT, *MODEL, *CLASS, "--vocab", empty, PHOTO, says=[empty, "bpe_simple"])

    def test_adapters(self):
        out = self.folder / "out.safetensors"
        for name in ("text_adapter.pth", "image_adapter_20.pth"):
            data = (NANO / "adapters-document" / name).read_bytes()
            for part in (0, 5, 500, len(data) // 2, len(data) - 1):
                path = self.put(name, data[:part])
                self.fails(DETECT, *MODEL, "--adapters", path, *CLASS, PHOTO, says=path)
                self.fails(CONVERT, *MODEL, "--adapters", path, "--out", out, says=path)
        text, image = ADAPTERS[1], ADAPTERS[3]
        for first, second, words in (
            (text, text, "text adapters were already given by another file"),
            (image, image, "image adapters were already given by another file"),
            (text, NANO / "adapters-published" / "image_adapter_20.pth", "expected bottleneck"),
        ):
            self.fails(
                DETECT, *MODEL, "--adapters", first, "--adapters", second, *CLASS, PHOTO,
                says=[second, words],
            )  # fmt: skip

    def test_spoilt_own_adapters(self):
        own = self.folder / "own.safetensors"
        self.works(CONVERT, *MODEL, *ADAPTERS, "--out", own)
        header, data = read_safetensors(own)
        metadata = header["__metadata__"]
        config = json.loads(metadata["aaclip.config"])
        for change, words in (
            ({"aaclip.model_vision_fingerprint": "0" * 16}, "trained for a model with fingerprint"),
            ({"aaclip.model_vision_fingerprint": "none"}, "expected 16 hexadecimal digits"),
            ({"aaclip.config": "{"}, "metadata aaclip.config"),
            ({"aaclip.config": json.dumps(config | {"levels": [1, 2, 3, 10**9]})}, "levels[3]"),
            (
                {"aaclip.config": json.dumps(config | {"image_adapter_weight": 7})},
                "0 to 1, found 7",
            ),
        ):
            with self.subTest(words):
                spoilt = header | {"__metadata__": metadata | change}
                path = self.put("spoilt.safetensors", safetensors(spoilt, data))
                self.fails(DETECT, *MODEL, "--adapters", path, *CLASS, PHOTO, says=[path, words])

    def test_prompt_sets(self):
        good = {"normal": ["{}"], "abnormal": ["broken {}"], "templates": ["a {}."]}
        sets = {
            "empty": ("", "line 1"),
            "nested": ('{"normal":' + "[" * 100000, "depth"),
            "list": ("[]", "expected an object"),
            "twice": ('{"normal":["{}"],"normal":["{}"]}', "duplicate"),
            "numbers": (json.dumps(good | {"normal": [1]}), '"normal"[0]'),
            "no-hole": (json.dumps(good | {"abnormal": ["broken"]}), 'found "broken"'),
            "no-state": (json.dumps(good | {"abnormal": []}), '"abnormal"'),
            "too-many": (
                json.dumps(good | {"normal": ["{}"] * 20000, "templates": ["{}"] * 20000}),
                "expected at most 16384 prompts, found 20000 states in 20000 templates",
            ),
            "too-long": (json.dumps(good | {"templates": ["{}" + "a" * 5000]}), "4096 bytes"),
            "too-large": (json.dumps(good) + " " * (1 << 20), "expected at most 1048576 bytes"),
        }
        for name, (text, words) in sets.items():
            with self.subTest(name):
                path = self.put(name, text)
                self.fails(DETECT, *MODEL, *CLASS, "--prompts", path, PHOTO, says=[path, words])
                self.fails(
                    CONVERT, "--bundle", *MODEL, "--class", "screw", "--prompts", path, "--out",
                    self.folder / "out", says=[path, words],
                )  # fmt: skip
        path = self.put("latin", b'{"normal":["\xfc {}"]}')
        self.fails(DETECT, *MODEL, *CLASS, "--prompts", path, PHOTO, says=path)

    def test_text_caches(self):
        cache = self.folder / "cache.safetensors"
        call = [*MODEL, *CLASS, "--text-cache", cache, PHOTO]
        self.works(DETECT, *call)
        data = cache.read_bytes()
        for part in (0, 4, 20, len(data) // 2, len(data) - 1):
            cache.write_bytes(data[:part])
            self.fails(DETECT, *call, says=cache)
        cache.write_bytes(data)
        header, body = read_safetensors(cache)
        metadata, name = header.pop("__metadata__"), "text_cache.screw"
        vectors = header[name]
        self.assertEqual(list(header), [name])
        halves = [vectors["shape"][0] * 2, vectors["shape"][1] // 2]
        for tensor, change, words in (
            (vectors, {"aaclip.text_fingerprint": "f" * 16}, "made with different weights"),
            (vectors, {"aaclip.text_fingerprint": "f"}, "a text cache with metadata"),
            (vectors, {"aaclip.prompt_fingerprint": "f" * 16}, "made with different prompts"),
            (vectors, {"aaclip.text_cache_adapter_fingerprint": "f" * 16}, "different text adapters"),
            (vectors | {"shape": halves}, {}, f"{name}: expected float32 2x32, found float32 4x16"),
            (vectors | {"dtype": "I32"}, {}, f"{name}: expected float32 2x32, found int32 2x32"),
        ):
            with self.subTest(words):
                spoilt = {"__metadata__": metadata | change, name: tensor}
                cache.write_bytes(safetensors(spoilt, body))
                self.fails(DETECT, *call, says=[cache, words])
        cache.write_bytes(safetensors({"__metadata__": {}}))
        self.fails(DETECT, *call, says=[cache, "expected a text cache with metadata"])

    def bundle(self):
        path = self.folder / "bundle.safetensors"
        self.works(CONVERT, "--bundle", *MODEL, *ADAPTERS, "--class", "screw", "--out", path)
        return path

    def test_spoilt_bundles(self):
        header, data = read_safetensors(self.bundle())
        metadata = header["__metadata__"]
        for change, words in (
            (
                {"aaclip.vision_heads": "-3"},
                "aaclip.vision_heads: expected a positive whole number",
            ),
            ({"aaclip.vision_heads": "7"}, "expected a number of heads that divides the width"),
            ({"aaclip.activation": "step"}, "found step"),
            ({"aaclip.layer_norm_eps": "nan"}, "aaclip.layer_norm_eps"),
            ({"aaclip.text_fingerprint": ""}, "metadata aaclip.text_fingerprint"),
            ({"aaclip.text_cache_adapter_fingerprint": "0" * 16}, "made with different text adapters"),
            ({"aaclip.model_vision_fingerprint": "0" * 16}, "trained for a model"),
        ):
            with self.subTest(words):
                spoilt = header | {"__metadata__": metadata | change}
                path = self.put("spoilt.safetensors", safetensors(spoilt, data))
                self.fails(DETECT, "--model", path, *CLASS, PHOTO, says=[path, words])
        renamed = {
            n.replace("seg_proj.2", "seg_proj.9").replace("visual.proj", "visual.pr0j"): entry
            for n, entry in header.items()
        }
        path = self.put("spoilt.safetensors", safetensors(renamed, data))
        self.fails(DETECT, "--model", path, *CLASS, PHOTO, says=[path, "visual.proj"])
        renamed["visual.proj"] = renamed.pop("visual.pr0j")
        path = self.put("spoilt.safetensors", safetensors(renamed, data))
        self.fails(DETECT, "--model", path, *CLASS, PHOTO, says=[path, "image_adapter.seg_proj.2"])

    def test_outputs_that_cannot_be_written(self):
        blocker = self.put("file", "")
        out = self.folder / "out"
        out.mkdir()
        (out / "chelsea_overlay.png").mkdir()
        pipe = self.folder / "pipe"
        os.mkfifo(pipe)
        detect = [*MODEL, *CLASS]
        bundle = ["--bundle", *MODEL, "--class", "screw"]
        for path in (
            blocker / "x",
            "/proc/aaclip-test",
            self.folder / "no" / "x",
            self.folder,
            pipe,
        ):
            with self.subTest(path):
                self.fails(CONVERT, *MODEL, "--out", path, says=[path, "cannot write"])
                self.fails(CONVERT, *MODEL, *ADAPTERS, "--out", path, says=[path, "cannot write"])
                self.fails(CONVERT, *bundle, "--out", path, says=[path, "cannot write"])
                self.fails(DETECT, *detect, "--json", path, PHOTO, says=[path, "cannot write"])
                self.fails(DETECT, *detect, "--csv", path, PHOTO, says=[path, "cannot write"])
        for path in (blocker / "x", "/proc/aaclip-test", self.folder / "no" / "x"):
            with self.subTest(path):
                self.fails(DETECT, *detect, "--text-cache", path, PHOTO, says=path)
        for path in (blocker / "x", "/proc/aaclip-test"):
            with self.subTest(path):
                self.fails(DETECT, *detect, "--out", path, PHOTO, says=path)
        with open("/dev/full", "w", encoding="utf-8") as full:  # what nobody gets was not printed
            result = subprocess.run(
                [str(a) for a in (DETECT, *detect, PHOTO)], stdout=full, stderr=subprocess.PIPE,
                text=True, timeout=100, check=False,
            )  # fmt: skip
        self.assertEqual(result.returncode, 1)
        self.assertIn("stdout: cannot write", result.stderr)
        self.fails(DETECT, *detect, "--out", blocker, PHOTO, says=blocker / "chelsea_overlay.png")
        self.fails(DETECT, *detect, "--out", out, PHOTO, says=out / "chelsea_overlay.png")

    def old_file(self):
        path = self.put("results/model.safetensors", "what was there before")
        return path, ["--model", NANO / "clip.pt", "--out", path]

    def limited(self, on_limit):
        """Files may grow to 100 kB; then a write fails, or ends the process."""

        def prepare():
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000))
            signal.signal(signal.SIGXFSZ, on_limit)

        return prepare

    def test_full_disk(self):
        path, arguments = self.old_file()
        self.fails(
            CONVERT, *arguments, says=[path, "cannot write", os.strerror(27)],
            preexec_fn=self.limited(signal.SIG_IGN),
        )  # fmt: skip
        self.assertEqual(path.read_text(), "what was there before")

    def check_leftover(self, path, arguments):
        """After a sudden end: the old file, at most a temporary one that is told by its name."""
        self.assertEqual(path.read_text(), "what was there before")
        left = [p.name for p in path.parent.iterdir() if p != path]
        self.assertEqual(len(left), 1, left)
        self.assertTrue(re.fullmatch(r"model\.safetensors\.\w{6}", left[0]), left)
        self.works(CONVERT, *arguments)
        self.works(DETECT, "--model", path.parent, "--vocab", NANO, *CLASS, PHOTO)

    def test_ended_while_writing(self):
        path, arguments = self.old_file()
        result = subprocess.run(
            [CONVERT, *map(str, arguments)], timeout=LIMIT, check=False,
            preexec_fn=self.limited(signal.SIG_DFL),
        )  # fmt: skip
        self.assertEqual(result.returncode, -signal.SIGXFSZ)
        self.check_leftover(path, arguments)

    def large_model(self):
        """A model that takes a while to write, though its file has holes only."""
        header, size = describe(clip_shapes(vocabulary=2_000_000))
        path = self.put("large.safetensors", safetensors(header))
        os.truncate(path, path.stat().st_size + size)
        return path

    def test_killed_while_writing(self):
        path, arguments = self.old_file()
        command = [CONVERT, "--model", self.large_model(), "--f16", "--out", path]
        process = subprocess.Popen(list(map(str, command)))
        deadline = time.monotonic() + LIMIT
        while process.poll() is None and time.monotonic() < deadline:
            if any(p.stat().st_size for p in path.parent.glob("model.safetensors.*")):
                process.kill()
                break
        self.assertEqual(process.wait(), -signal.SIGKILL)
        self.check_leftover(path, arguments)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
