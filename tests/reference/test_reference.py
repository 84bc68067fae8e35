"""Tests of the reference itself: against explicit loops, PyTorch's own modules and, where they are
installed, kornia, monai and transformers. Run with `python3 -m unittest` in this folder.
"""

import json
import math
import os
import subprocess
import sys
import tempfile
import unittest
import zipfile
from importlib.util import find_spec
from types import SimpleNamespace

import numpy
import torch
from torch import nn

import aaclip_train as training
import checkpoint_layouts as layouts
import make_defects as defects
import make_training_goldens as goldens
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


def random_probabilities(batch, size):
    p = torch.rand(batch, size, size, dtype=torch.double)
    return torch.stack([1 - p, p], 1)


def random_mask(batch, size):
    return (torch.rand(batch, size, size) < 0.3).double()


class Losses(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(4)
        self.p, self.mask = random_probabilities(3, 5), random_mask(3, 5)

    def test_focal_is_the_mean_over_pixels(self):
        expected = 0
        for n, y, x in numpy.ndindex(3, 5, 5):
            normal, abnormal = self.p[n, :, y, x].tolist()
            right, wrong = (abnormal, normal) if self.mask[n, y, x] else (normal, abnormal)
            pt = (1 - 1e-5) * right + 1e-5 * wrong + 1e-5
            expected -= (1 - pt) ** 2 * math.log(pt) / 75
        self.assertAlmostEqual(training.focal_loss(self.p, self.mask).item(), expected, places=14)

    def test_focal_is_cross_entropy_that_spares_the_certain(self):
        each = nn.functional.nll_loss(self.p.log(), self.mask.long(), reduction="none")
        pt = (-each).exp()
        expected = (1 - pt) ** 2 * each
        # Clamp and summand raise pt by up to 2e-5; the loss is convex in it.
        slope = 2 * (1 - pt) * each + (1 - pt) ** 2 / pt
        found = training.focal_loss(self.p, self.mask)
        self.assertLessEqual(found.item(), expected.mean().item())
        self.assertGreaterEqual(found.item(), (expected - 2e-5 * slope).mean().item())

    def test_dice_is_the_mean_over_samples(self):
        expected = 0
        for p, t in zip(self.p[:, 1], self.mask):
            pairs = list(zip(p.flatten().tolist(), t.flatten().tolist()))
            both, apart = sum(a * b for a, b in pairs), sum(a + b for a, b in pairs)
            expected += (1 - (2 * both + 1) / (apart + 1)) / 3
        self.assertAlmostEqual(
            training.dice_loss(self.p[:, 1], self.mask).item(), expected, places=14
        )

    @unittest.skipUnless(find_spec("monai"), "no monai")
    def test_dice_is_monais(self):
        from monai.losses import DiceLoss

        theirs = DiceLoss(smooth_nr=1, smooth_dr=1)
        for p, t in ((self.p[:, 0], 1 - self.mask), (self.p[:, 1], self.mask)):
            torch.testing.assert_close(training.dice_loss(p, t), theirs(p[:, None], t[:, None]))

    def test_dynamic_alpha_gives_both_kinds_the_same_weight(self):
        self.mask[0] = 0
        alpha = training.dynamic_alpha(self.mask)
        self.assertTrue((alpha[0] == 1).all())
        for n in (1, 2):
            self.assertTrue(0 < self.mask[n].sum() < 25)
            weight = [alpha[n][self.mask[n] == kind].sum().item() for kind in (0, 1)]
            self.assertAlmostEqual(weight[0], weight[1], places=12)
            rare = alpha[n][self.mask[n] == 1][0].item() / 2
            self.assertAlmostEqual(rare, 1 - self.mask[n].mean().item(), places=12)

    def test_probabilities_are_those_of_the_interpolated_difference(self):
        grid, size = 3, 7
        seg = torch.randn(2, grid**2, 4, dtype=torch.double) / 50
        pairs = torch.randn(2, 2, 4, dtype=torch.double)
        found = training.probabilities(seg, pairs, size)
        for n, y, x in numpy.ndindex(2, size, size):
            v, u = y * (grid - 1) / (size - 1), x * (grid - 1) / (size - 1)
            apart = 0
            for row, column in numpy.ndindex(grid, grid):
                share = max(0, 1 - abs(v - row)) * max(0, 1 - abs(u - column))
                patch = seg[n, row * grid + column]
                apart += 100 * share * (patch @ (pairs[n, 1] - pairs[n, 0])).item()
            abnormal = 1 / (1 + math.exp(-apart))
            self.assertAlmostEqual(found[n, 1, y, x].item(), abnormal, places=12)
            self.assertAlmostEqual(found[n, 0, y, x].item(), 1 - abnormal, places=12)

    def test_losses_of_a_whole_sample(self):
        pairs = torch.randn(3, 2, 4, dtype=torch.double)
        det = torch.randn(3, 4, dtype=torch.double)
        product = sum((pairs[n, 0] @ pairs[n, 1]).item() for n in range(3)) / 3
        self.assertAlmostEqual(training.orthogonal_loss(pairs).item(), product**2, places=12)
        expected = 0
        for n, label in enumerate((1, 0, 1)):
            scores = [math.exp((det[n] @ pairs[n, k]).item()) for k in (0, 1)]
            expected -= math.log(scores[label] / sum(scores)) / 3
        found = training.classification_loss(det, pairs, torch.tensor([1, 0, 1]))
        self.assertAlmostEqual(found.item(), expected, places=12)

    def test_gradients_are_the_finite_differences(self):
        seg = (torch.randn(2, 4, 3, dtype=torch.double) / 50).requires_grad_()
        pairs = torch.randn(2, 2, 3, dtype=torch.double, requires_grad=True)
        det = torch.randn(2, 3, dtype=torch.double, requires_grad=True)
        mask, label = random_mask(2, 5), torch.tensor([0, 1])

        def total(seg, pairs, det, balanced):
            return (
                *training.segmentation_losses(seg, pairs, mask, balanced).values(),
                training.orthogonal_loss(pairs),
                training.classification_loss(det, pairs, label),
            )

        for balanced in (False, True):
            inputs = (seg, pairs, det, balanced)
            self.assertTrue(torch.autograd.gradcheck(total, inputs))


class Training(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.data = tempfile.TemporaryDirectory()
        goldens.write_pictures(cls.data.name)

    @classmethod
    def tearDownClass(cls):
        cls.data.cleanup()

    def setUp(self):
        torch.manual_seed(6)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def train(self, profile, stage, *more):
        """(steps, content of the adapter file, gradients of the first step)"""
        output = tempfile.mkdtemp(dir=self.folder)
        gradients = os.path.join(self.folder, "gradients.safetensors")
        _, steps = goldens.train(
            self.data.name, profile, stage, output, "--image-size", "84", "--double",
            "--gradients", gradients, *more,
        )  # fmt: skip
        content = torch.load(goldens.adapter_file(output))
        return steps, content, layouts.read_safetensors(gradients)

    def test_batches_begin_again_after_a_smaller_last_one(self):
        batches = training.consecutive(list("abcdefg"), 3)
        found = [(epoch, "".join(samples)) for epoch, samples in (next(batches) for _ in range(4))]
        self.assertEqual(found, [(1, "abc"), (1, "def"), (1, "g"), (2, "abc")])

    def test_first_step_of_adam(self):
        for stage, rate in (("text", 1e-4), ("image", 5e-4)):
            for profile in ("document", "published"):
                _, content, gradients = self.train(profile, stage, "--steps", "1")
                file = "text_adapter.pth" if stage == "text" else "image_adapter_20.pth"
                key = f"{stage}_adapter"
                initial = torch.load(os.path.join(goldens.NANO, f"adapters-{profile}", file))[key]
                self.assertEqual(content[key].keys(), initial.keys())
                for name, before in initial.items():
                    g = gradients[f"{key}.{name}"].double()
                    self.assertGreater(g.abs().max().item(), 0, name)
                    after = before.double() - rate * g / (g.abs() + 1e-8)
                    torch.testing.assert_close(
                        content[key][name].double(), after, atol=1e-7, rtol=1e-7
                    )

    def test_rate_is_halved_after_each_milestone(self):
        steps, _, _ = self.train(
            "document", "image", "--steps", "4", "--milestones", "2", "3", "--lr", "1e-3"
        )
        self.assertEqual([s["learning_rate"] for s in steps], [1e-3, 1e-3, 5e-4, 2.5e-4])
        self.assertEqual([s["epoch"] for s in steps], [1, 1, 1, 1])

    def test_accumulated_batches_are_a_larger_batch(self):
        three = ("--batch-size", "2", "--accumulate", "3")
        steps, _, gradients = self.train("document", "image", "--steps", "1", *three)
        one, _, expected = self.train("document", "image", "--steps", "1", "--batch-size", "6")
        self.assertAlmostEqual(steps[0]["loss"], one[0]["loss"], places=12)
        for level, other in zip(steps[0]["segmentation"], one[0]["segmentation"]):
            self.assertEqual(level.keys(), other.keys())
            for name in level:
                self.assertAlmostEqual(level[name], other[name], places=12)
        for name, gradient in gradients.items():
            torch.testing.assert_close(gradient, expected[name])

    def test_last_scale_is_one_of_the_summed(self):
        every, _, _ = self.train("document", "text", "--steps", "1", "--scales", "sum")
        last, _, _ = self.train("document", "text", "--steps", "1", "--scales", "last")
        self.assertEqual([s["level"] for s in every[0]["segmentation"]], [1, 2, 3, 4])
        self.assertEqual(last[0]["segmentation"], every[0]["segmentation"][3:])
        for step in (every[0], last[0]):
            levels = step["segmentation"]
            parts = [v for level in levels for name, v in level.items() if name != "level"]
            total = sum(parts) + 0.1 * step["orthogonal"]
            self.assertAlmostEqual(step["loss"], total, places=12)

    def test_gradients_are_the_finite_differences_of_training(self):
        for profile, name in (("document", "text"), ("published", "image")):
            stage, batch = self.make_stage(profile, name)
            total, _, _ = stage.losses(batch)
            total.backward()
            for parameter in stage.parameters.parameters():
                direction = torch.randn_like(parameter) / parameter.numel() ** 0.5
                direction += parameter.grad / parameter.grad.norm()
                slope = self.slope(stage, batch, parameter, direction)
                expected = (parameter.grad * direction).sum().item()
                self.assertAlmostEqual(slope / expected, 1, delta=1e-6)
            others = [p for p in stage.model.parameters() if not p.requires_grad]
            self.assertTrue(others and all(p.grad is None for p in others))

    def make_stage(self, profile, name):
        model = layouts.load_model(
            os.path.join(goldens.NANO, "clip.pt"),
            os.path.join(goldens.NANO, f"adapters-{profile}"),
            profile,
        ).double()
        model.requires_grad_(False)
        manifest = os.path.join(self.data.name, "manifest.jsonl")
        samples = training.read_manifest(manifest, self.data.name)[:3]
        options = SimpleNamespace(
            scales="sum", orthogonal_weight=0.1, balanced=True, surgery_blocks=None
        )
        ids = {"wood": [1012, 40, 41, 1013], "metal_nut": [1012, 70, 71, 72, 1013]}

        def pair_of(class_name):
            rows = [[ids[class_name]], [[1012, 300, *ids[class_name][1:]]]]
            return torch.stack([model.class_vector(model.encode_text(side)) for side in rows])

        if name == "text":
            stage = training.TextStage(model, pair_of, options)
        else:
            stage = training.ImageStage(model, pair_of, options, ids)
        stage.parameters.requires_grad_(True)
        return stage, training.load_batch(model, samples, 84)

    @staticmethod
    def slope(stage, batch, parameter, direction, step=1e-6):
        values = []
        with torch.no_grad():
            for sign in (1, -2):
                parameter += sign * step * direction
                values.append(stage.losses(batch)[0].item())
            parameter += step * direction
        return (values[0] - values[1]) / (2 * step)

    def test_class_phrases(self):
        for dataset, name, phrase in (
            ("mvtec", "wood", "wood surface"),
            ("MVTec", "metal_plate", "metal plate"),
            ("", "metal_nut", "metal nut"),
        ):
            self.assertEqual(training.class_phrase(dataset, name), phrase)


class Comparison(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        level = {"level": 1, "focal": 0.5, "dice_normal": 0.25, "dice_abnormal": 1.0}
        step = {"loss": 3.0, "segmentation": [level, level], "classification": 0.125}
        steps = [{"step": number, "epoch": 1, **step} for number in (1, 2)]
        training.write_losses(self.path("losses.json"), steps, settings={"stage": "image"})
        self.row = {
            "stage": "image", "epoch": 1, "loss": 3.0, "loss_focal": 1.0, "loss_dice_normal": 0.5,
            "loss_dice_abnormal": 2.0, "loss_classification": 0.125,
        }  # fmt: skip
        self.initial = torch.zeros(2, 2)
        self.expected = torch.tensor([[0.01, 0.02], [0.0, -0.1]])
        self.save("initial.pth", self.initial)
        self.save("expected.pth", self.expected)

    def path(self, name):
        return os.path.join(self.folder, name)

    def save(self, name, weight):
        torch.save({"epoch": 1, "image_adapter": {"a.weight": weight}}, self.path(name))

    def compare(self, rows, adapter):
        with open(self.path("log.jsonl"), "w", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
        self.save("found.pth", adapter)
        script = os.path.join(training.FOLDER, "compare_training.py")
        command = [sys.executable, script, "--expected", self.path("losses.json")]
        command += ["--log", self.path("log.jsonl"), "--initial", self.path("initial.pth")]
        command += ["--expected-adapter", self.path("expected.pth")]
        command += ["--adapter", self.path("found.pth")]
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)

    def test_small_differences_pass_and_larger_ones_are_named(self):
        first, second = {"step": 1, **self.row}, {"step": 2, **self.row}
        near = self.expected + torch.tensor([[0.0, 5e-6], [0.0, 0.0]])
        others = {"step": 1, "stage": "text", "loss": 9.0}, {"event": "epoch"}
        result = self.compare([*others, first, {**second, "loss": 3.0001}], near)
        self.assertEqual(result.returncode, 0, result.stdout)
        far = self.expected + torch.tensor([[0.0, 2e-5], [0.0, 0.0]])
        lost = self.expected.clone()
        lost[0, 0] = float("nan")
        lacking = {key: value for key, value in second.items() if key != "loss_focal"}
        for rows, adapter, name in (
            ([first, {**second, "loss": 3.001}], near, "loss (worst at step 2): 3.33e-04  FAILED"),
            ([first, {**second, "loss": float("nan")}], near, "loss (worst at step 2)"),
            ([first], near, "loss_dice_normal (worst at step 2): inf  FAILED"),
            ([first, lacking], near, "loss_focal (worst at step 2): inf  FAILED"),
            ([first, second], far, "image_adapter.a.weight: 2.00e-04  FAILED"),
            ([first, second], lost, "image_adapter.a.weight: inf  FAILED"),
        ):
            result = self.compare(rows, adapter)
            self.assertEqual(result.returncode, 1, name)
            self.assertIn(name, result.stdout)
            self.assertEqual(result.stdout.count("FAILED"), 5 if len(rows) == 1 else 1)


class Defects(unittest.TestCase):
    def test_masks_hold_what_changed(self):
        for class_name, draw in defects.CLASSES.items():
            for kind in defects.DEFECTS:
                random = numpy.random.default_rng(8)
                rgb, part = defects.rotate(random, *draw(random, 160), 128)
                painted, mask = defects.add_defect(random, rgb.copy(), part, kind)
                change = numpy.abs(painted - rgb).max(-1)
                reach = numpy.zeros_like(mask)  # the edge and the lit rim
                for down, right in numpy.ndindex(5, 5):
                    reach |= numpy.roll(mask, (down - 2, right - 2), (0, 1))
                self.assertTrue(mask.any() and not (mask & ~part).any(), (class_name, kind))
                self.assertLess(change[~reach].max(), 64, (class_name, kind))
                self.assertGreater((change[mask] > 8).mean(), 0.9, (class_name, kind))
                self.assertLess((change[~mask] > 8).mean(), 0.03, (class_name, kind))


if __name__ == "__main__":
    unittest.main()
