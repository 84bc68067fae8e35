"""Tests of the reference itself: against explicit loops, PyTorch's own modules and, where they are
installed, kornia and transformers. Run with `python3 -m unittest` in this folder.
"""

import os
import tempfile
import unittest
import zipfile
from importlib.util import find_spec

import numpy
import torch
from torch import nn

import checkpoint_layouts as layouts
from aaclip_torch import (
    AaClip,
    Attention,
    DocumentAdapter,
    TowerShape,
    blend,
    gaussian_blur,
    resample_position,
)
from make_checkpoints import CONFIGS, LAYOUTS, random_clip, write_adapters, write_layouts
from make_model_goldens import make_picture
from tokenizer import Tokenizer

SHAPE = CONFIGS["tiny"]


def cubic(x):
    """Keys' kernel with a = -0.5."""
    x = abs(x)
    if x < 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def antialiased_matrix(source, target):
    """Row i holds the weights of output i: the kernel is stretched where the table shrinks."""
    scale = source / target
    stretch = max(scale, 1.0)
    matrix = numpy.zeros((target, source))
    for i in range(target):
        center = scale * (i + 0.5)
        low = max(int(center - 2 * stretch + 0.5), 0)
        high = min(int(center + 2 * stretch + 0.5), source)
        for j in range(low, high):
            matrix[i, j] = cubic((j + 0.5 - center) / stretch)
    return matrix / matrix.sum(1, keepdims=True)


class Operations(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(3)

    def test_blur_is_the_sum_over_mirrored_neighbours(self):
        for size, sigma in ((7, 1.0), (9, 1.5)):
            side, half = 6, size // 2
            grid = torch.randn(side, side, dtype=torch.double)
            taps = numpy.exp(-(numpy.arange(-half, half + 1) ** 2) / (2 * sigma**2))
            expected = numpy.zeros((side, side))
            for y, x in numpy.ndindex(side, side):
                for dy, dx in numpy.ndindex(size, size):
                    sy, sx = abs(y + dy - half), abs(x + dx - half)
                    sy, sx = min(sy, 2 * side - 2 - sy), min(sx, 2 * side - 2 - sx)
                    expected[y, x] += taps[dy] * taps[dx] * grid[sy, sx].item()
            expected /= taps.sum() ** 2
            blurred = gaussian_blur(grid[None, None], size, sigma)[0, 0]
            numpy.testing.assert_allclose(blurred.numpy(), expected, atol=1e-12)

    @unittest.skipUnless(find_spec("kornia"), "no kornia")
    def test_blur_is_kornias(self):
        from kornia.filters import gaussian_blur2d

        grid = torch.randn(2, 1, 9, 9, dtype=torch.double)
        for size, sigma in ((7, 1.0), (9, 1.5)):
            expected = gaussian_blur2d(grid, (size, size), (sigma, sigma))
            torch.testing.assert_close(gaussian_blur(grid, size, sigma), expected)

    def test_position_is_resampled_with_the_stretched_kernel(self):
        for source, target in ((24, 37), (4, 5), (7, 5), (8, 3)):
            table = torch.randn(1 + source**2, 3, dtype=torch.double)
            rows = antialiased_matrix(source, target)
            grid = table[1:].reshape(source, source, 3).numpy()
            expected = numpy.einsum("yi,xj,ijc->yxc", rows, rows, grid).reshape(-1, 3)
            found = resample_position(table, target)
            self.assertTrue(torch.equal(found[0], table[0]))
            numpy.testing.assert_allclose(found[1:].numpy(), expected, atol=1e-12)

    def test_attention_is_pytorchs(self):
        ours = Attention(TowerShape(64, 1, 2, 64)).double()
        theirs = nn.MultiheadAttention(64, 2, batch_first=True).double()
        for parameter in theirs.parameters():
            nn.init.normal_(parameter, std=0.3)
        ours.load_state_dict(theirs.state_dict())
        x = torch.randn(2, 5, 64, dtype=torch.double)
        mask = torch.ones(5, 5, dtype=torch.bool).triu(1)
        torch.testing.assert_close(ours(x), theirs(x, x, x)[0])
        torch.testing.assert_close(ours(x, causal=True), theirs(x, x, x, attn_mask=mask)[0])
        with torch.no_grad():
            value_weight, value_bias = ours.in_proj_weight[128:], ours.in_proj_bias[128:]
            theirs.in_proj_weight.copy_(value_weight.repeat(3, 1))
            theirs.in_proj_bias.copy_(value_bias.repeat(3))
        torch.testing.assert_close(ours(x, value_value=True), theirs(x, x, x)[0])

    def test_blend_keeps_the_norm_of_the_adapted_part(self):
        adapter = DocumentAdapter(16)
        x = torch.randn(4, 16)
        added = (blend(x, adapter, 0.1) - 0.9 * x).norm(dim=-1)
        torch.testing.assert_close(added, 0.1 * x.norm(dim=-1))


class Layouts(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        list(write_layouts(cls.folder.name, SHAPE, 5, LAYOUTS, "quick_gelu"))
        cls.state = random_clip(SHAPE, 5)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def path(self, layout):
        return os.path.join(self.folder.name, LAYOUTS[layout][0])

    def test_every_layout_holds_the_same_model(self):
        for layout in LAYOUTS:
            state, shape, activation = layouts.read_checkpoint(self.path(layout))
            self.assertEqual((shape, activation), (SHAPE, "quick_gelu"), layout)
            self.assertEqual(state.keys(), self.state.keys(), layout)
            for name, tensor in self.state.items():
                self.assertTrue(torch.equal(state[name].float(), tensor.float()), (layout, name))

    def test_archive_is_openais(self):
        module = torch.jit.load(self.path("torchscript"))
        self.assertEqual(module.visual.conv1.weight.dtype, torch.float16)
        self.assertEqual(module.ln_final.weight.dtype, torch.float32)
        self.assertEqual(module.token_embedding.weight.dtype, torch.float32)
        self.assertEqual(int(module.input_resolution), 84)
        self.assertEqual(int(module.context_length), 77)
        self.assertEqual(int(module.vocab_size), 1024)
        with zipfile.ZipFile(self.path("torchscript")) as archive:
            tensors = [e for e in archive.infolist() if "/data/" in e.filename]
            self.assertEqual(len(tensors), len(self.state) + 3)
            for entry in tensors:
                self.assertEqual(entry.compress_type, zipfile.ZIP_STORED)
                archive.fp.seek(entry.header_offset + 26)
                lengths = numpy.frombuffer(archive.fp.read(4), "<u2")
                self.assertEqual((entry.header_offset + 30 + int(lengths.sum())) % 64, 0)

    def test_weights_only_load_takes_dicts_and_adapters(self):
        torch.load(self.path("state-dict"), weights_only=True)
        with tempfile.TemporaryDirectory() as folder:
            for kind in ("document", "published", "published-relu"):
                # PyTorch 1.13 refuses the floats among Adam's settings here; later ones take them.
                write_adapters(folder, SHAPE, kind, 5, optimizer=False)
                for file in os.listdir(folder):
                    torch.load(os.path.join(folder, file), weights_only=True)

    def test_published_adapter_names(self):
        with tempfile.TemporaryDirectory() as folder:
            write_adapters(folder, SHAPE, "published", 5, epoch=15)
            image = torch.load(os.path.join(folder, "image_adapter_15.pth"))
            text = torch.load(os.path.join(folder, "text_adapter.pth"))
        self.assertEqual(list(image), ["epoch", "image_adapter", "image_optimizer"])
        names = [f"layer_adapters.{i}.fc.0.weight" for i in range(2)]
        names += [f"seg_proj.{i}.fc.weight" for i in range(4)] + ["det_proj.fc.weight"]
        self.assertEqual(list(image["image_adapter"]), names)
        self.assertEqual(list(text["text_adapter"]), ["0.fc.0.weight", "1.fc.0.weight"])

    @unittest.skipUnless(find_spec("transformers"), "no transformers")
    def test_transformers_gives_the_same_features(self):
        from transformers import CLIPModel

        ours = layouts.load_model(self.path("torchscript"), None, "document")
        pixels = ours.normalise(make_picture(84, 1))
        ids = [[1022, 5, 17, 400, 1023], [1022, 1, 2, 3, 1023]]
        for layout in ("huggingface-bin", "huggingface-safetensors"):
            theirs = CLIPModel.from_pretrained(self.path(layout)).eval()
            with torch.no_grad():
                text = theirs.get_text_features(torch.tensor(ids))
                image = theirs.get_image_features(pixels)
                torch.testing.assert_close(ours.encode_text(ids), text, atol=1e-5, rtol=1e-4)
                _, feature = ours.encode_surgery(pixels, 0)
                image = nn.functional.normalize(image, dim=-1)
                torch.testing.assert_close(feature, image, atol=1e-6, rtol=1e-4)


class Model(unittest.TestCase):
    def test_padding_does_not_reach_the_end_token(self):
        model = AaClip(SHAPE, "document").double()
        model.clip.load_state_dict(random_clip(SHAPE, 2))
        row = [1022, 9, 8, 7, 1023]
        with torch.no_grad():
            alone, padded = (
                model.encode_text([row])[0],
                model.encode_text([row, [1022] * 76 + [1023]]),
            )
        torch.testing.assert_close(alone, padded[0], atol=1e-12, rtol=0)


class Tokens(unittest.TestCase):
    def test_merges_of_lowest_rank_come_first(self):
        merges = ["#version", "b c</w>", "a b", "ab c</w>"]
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "merges.txt")
            with open(path, "w", encoding="utf-8") as file:
                file.write("\n".join(merges) + "\n")
            tokenizer = Tokenizer(path, 512 + 3 + 2)
        first = {s: i for i, s in enumerate("!\"#$%&'()*+,-./0123456789")}
        self.assertEqual(
            tokenizer.encode(" ABC  7 "), [515, ord("a") - 33, 512, 256 + first["7"], 516]
        )


if __name__ == "__main__":
    unittest.main()
