"""Training checkpoints of the library, judged by PyTorch.

    python3 test_torch_written.py training_file

Python loads what the library wrote into the modules of aaclip_torch.py and into torch.optim.Adam,
takes a step and saves; the library reads that, and its safetensors must hold the same numbers.
PyTorch 1.13 refuses floats under weights_only, its own too: there, such files are loaded without.
"""

import inspect
import io
import json
import pickletools
import subprocess
import sys
import tempfile
import unittest
import zipfile
from collections import OrderedDict
from pathlib import Path

try:
    import numpy
    import torch
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

from aaclip_torch import make_image_adapter, make_text_adapter

WIDTH, EMBEDDING, BLOCKS, LEVELS = 8, 6, 2, 3
CASES = [
    ("text", "document"),
    ("text", "published"),
    ("image", "document"),
    ("image", "published"),
    ("image", "published-relu"),
]
GLOBALS = {
    "torch._utils _rebuild_tensor_v2",
    "torch FloatStorage",
    "collections OrderedDict",
}


def takes_floats():
    file = io.BytesIO()
    torch.save({"lr": 0.5}, file)
    file.seek(0)
    try:
        return torch.load(file, weights_only=True) == {"lr": 0.5}
    except Exception:  # its class differs between versions
        return False


WEIGHTS_ONLY = takes_floats()


def run(*arguments):
    command = [PROGRAM, *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def refuse(*arguments):
    """What the program says when it fails."""
    command = [PROGRAM, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1, result
    return result.stderr


def make_module(side, kind):
    if side == "text":
        return make_text_adapter(kind, WIDTH, EMBEDDING, BLOCKS)
    return make_image_adapter(kind, WIDTH, EMBEDDING, BLOCKS, LEVELS)


def written_numbers(parameter, shape):
    """Weight, exp_avg and exp_avg_sq as training_sample.c fills them."""
    i = numpy.arange(numpy.prod(shape))
    value = ((7 * i + 13 * parameter) % 31 - 15) / 16
    exp_avg = ((5 * i + 3 * parameter) % 17 - 8) / 64
    exp_avg_sq = ((3 * i + parameter) % 11) / 256
    return [torch.tensor(a, dtype=torch.float32).view(shape) for a in (value, exp_avg, exp_avg_sq)]


def read_safetensors(path):
    data = Path(path).read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    metadata = header.pop("__metadata__")
    del metadata["aaclip.checksum"]  # of this form alone
    tensors = {}
    for name, entry in header.items():
        assert entry["dtype"] == "F32", name
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        numbers = numpy.frombuffer(data[begin:end], "<f4").reshape(entry["shape"])
        tensors[name] = torch.from_numpy(numbers.copy())
    return tensors, metadata


def flatten(value, name=""):
    """As the library's reader names what it finds: {name: tensor, number or string}."""
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, (list, tuple)):
        items = enumerate(value)
    else:
        return {} if value is None else {name: value}
    flat = {}
    for key, item in items:
        flat.update(flatten(item, f"{name}.{key}" if name else str(key)))
    return flat


class TorchWritten(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.pth = self.folder / "adapter.pth"
        self.safetensors = self.folder / "adapter.safetensors"

    def make(self, side, kind):
        run("make", side, kind, self.pth, self.safetensors)
        return torch.load(self.pth, weights_only=WEIGHTS_ONLY)

    def convert(self, side, kind, checkpoint):
        """Saves with PyTorch; what the library then has: output, tensors, metadata."""
        saved, read = self.folder / "saved.pth", self.folder / "read.safetensors"
        torch.save(checkpoint, saved)
        output = run("convert", side, kind, saved, read)
        return output, *read_safetensors(read)

    def assert_same_tensors(self, found, expected):
        self.assertEqual(set(found), set(expected))
        for name, tensor in expected.items():
            self.assertTrue(torch.equal(found[name], tensor), name)

    def test_values_of_every_kind(self):
        run("values", self.pth)
        values = torch.load(self.pth, weights_only=True)
        self.assertEqual(
            values["integers"],
            [0, 255, 256, 65535, 65536, -1, 2**31 - 1, -(2**31), 2**31, -(2**31) - 1]
            + [2**63 - 1, -(2**63)],
        )
        self.assertEqual(values[-3], (None, True, False, "ü🙂", (), [], {}))
        self.assertIs(type(values["state"]), OrderedDict)
        self.assertIs(type(values), dict)
        transposed = values["state"]["transposed"]
        self.assertEqual(transposed.tolist(), [[0, 3], [1, 4], [2, 5]])
        self.assertTrue(transposed.is_contiguous())
        self.assertEqual(values["state"]["empty"].shape, (2, 0))

    def test_archive(self):
        self.make("image", "document")
        with zipfile.ZipFile(self.pth) as archive:
            self.assertIsNone(archive.testzip())
            for entry in archive.infolist():
                self.assertEqual(entry.compress_type, zipfile.ZIP_STORED)
                with archive.open(entry) as file:
                    content = file.read()
                begin = self.data_offset(entry)
                self.assertEqual(begin % 64, 0)
                self.assertEqual(self.pth.read_bytes()[begin : begin + len(content)], content)
            pickle = archive.read("archive/data.pkl")
        opcodes = list(pickletools.genops(pickle))
        self.assertEqual(opcodes[0][0].name, "PROTO")
        self.assertEqual(opcodes[0][1], 2)
        self.assertTrue(all(opcode.proto <= 2 for opcode, _, _ in opcodes))
        self.assertEqual({a for o, a, _ in opcodes if o.name == "GLOBAL"}, GLOBALS)

    def data_offset(self, entry):
        header = self.pth.read_bytes()[entry.header_offset : entry.header_offset + 30]
        name, extra = (int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
        return entry.header_offset + 30 + name + extra

    def test_mapped(self):
        if "mmap" not in inspect.signature(torch.load).parameters:
            self.skipTest("this PyTorch does not map files")
        copied = flatten(self.make("text", "published"))
        mapped = flatten(torch.load(self.pth, weights_only=True, mmap=True))
        self.assertEqual(list(mapped), list(copied))
        for name, value in copied.items():
            if isinstance(value, torch.Tensor):
                self.assertTrue(torch.equal(mapped[name], value), name)

    def test_own_keys(self):
        own = self.make("image", "published")["aaclip"]
        config = json.loads(own.pop("config"))
        self.assertEqual(config["profile"], "published")
        self.assertEqual(
            own,
            {
                "options": '{"batch": 2, "class": "Käse"}',
                "model_vision_fingerprint": "0123456789abcdef",
                "text_adapter_fingerprint": "00000000deadbeef",
                "seed": "fedcba9876543210",
                "step": 7,
                "position": 5,
                "scheduler": {"gamma": 0.5, "milestones": [4, 9]},
            },
        )

    def test_both_forms_hold_the_same(self):
        for side, kind in CASES:
            with self.subTest(side=side, kind=kind):
                flat = flatten(self.make(side, kind))
                tensors, metadata = read_safetensors(self.safetensors)
                expected = {n: v for n, v in flat.items() if isinstance(v, torch.Tensor)}
                self.assert_same_tensors(tensors, expected)
                for name, text in metadata.items():
                    value = flat[name]
                    self.assertEqual(text if isinstance(value, str) else json.loads(text), value)
                missing = {n for n in flat if n not in tensors and n not in metadata}
                self.assertTrue(all("_optimizer.param_groups.0." in name for name in missing))

    def resume(self, side, kind):
        """The library's checkpoint, module and optimizer that continue from it."""
        checkpoint = self.make(side, kind)
        module = make_module(side, kind)
        optimizer = torch.optim.Adam(module.parameters(), lr=1)
        keys = set(optimizer.state_dict()["param_groups"][0])
        module.load_state_dict(checkpoint[f"{side}_adapter"])
        optimizer.load_state_dict(checkpoint[f"{side}_optimizer"])
        self.assertLessEqual(keys, set(checkpoint[f"{side}_optimizer"]["param_groups"][0]))
        return checkpoint, module, optimizer

    def test_pytorch_finds_what_was_written(self):
        for side, kind in CASES:
            with self.subTest(side=side, kind=kind):
                checkpoint, module, optimizer = self.resume(side, kind)
                self.assertEqual(checkpoint["epoch"], 3)
                self.assertEqual(list(checkpoint[f"{side}_adapter"]), list(module.state_dict()))
                group = optimizer.param_groups[0]
                self.assertEqual((group["lr"], group["initial_lr"]), (0.00025, 0.0005))
                self.assertEqual((group["betas"], group["eps"]), ((0.5, 0.999), 1e-8))
                for i, parameter in enumerate(module.parameters()):
                    state = optimizer.state[parameter]
                    value, exp_avg, exp_avg_sq = written_numbers(i, parameter.shape)
                    self.assertTrue(torch.equal(parameter.detach(), value))
                    self.assertTrue(torch.equal(state["exp_avg"], exp_avg))
                    self.assertTrue(torch.equal(state["exp_avg_sq"], exp_avg_sq))
                    self.assertEqual(state["step"].dtype, torch.float32)
                    self.assertEqual((state["step"].shape, state["step"].item()), ((), 7))

    def test_pytorch_continues_and_the_library_reads_it(self):
        for side, kind in CASES:
            with self.subTest(side=side, kind=kind):
                _, module, optimizer = self.resume(side, kind)
                schedule = torch.optim.lr_scheduler.MultiStepLR(
                    optimizer, milestones=[4, 9], gamma=0.5, last_epoch=7
                )
                torch.manual_seed(1)
                for parameter in module.parameters():
                    parameter.grad = torch.randn(parameter.shape)
                optimizer.step()
                schedule.step()
                self.assertEqual(optimizer.param_groups[0]["lr"], 0.000125)
                state = optimizer.state_dict()
                saved = {
                    "epoch": 4,
                    f"{side}_adapter": module.state_dict(),
                    f"{side}_optimizer": state,
                }
                output, tensors, metadata = self.convert(side, kind, saved)
                self.assertEqual(output, "optimizer 1 progress 0\n")
                expected = {n: v for n, v in flatten(saved).items() if torch.is_tensor(v)}
                self.assert_same_tensors(tensors, expected)
                group = f"{side}_optimizer.param_groups.0"
                self.assertEqual(float(metadata[f"{group}.lr"]), 0.000125)
                self.assertEqual(float(metadata[f"{group}.initial_lr"]), 0.0005)
                self.assertEqual((metadata["epoch"], metadata["aaclip.step"]), ("4", "8"))

    def test_a_resaved_checkpoint_keeps_everything(self):
        checkpoint = self.make("image", "published-relu")
        output, tensors, metadata = self.convert("image", "published-relu", checkpoint)
        self.assertEqual(output, "optimizer 1 progress 1\n")
        expected_tensors, expected_metadata = read_safetensors(self.safetensors)
        self.assert_same_tensors(tensors, expected_tensors)
        self.assertEqual(metadata, expected_metadata)

    def test_integer_steps_of_old_versions(self):
        checkpoint = self.make("text", "document")
        for state in checkpoint["text_optimizer"]["state"].values():
            state["step"] = int(state["step"])
        _, tensors, _ = self.convert("text", "document", checkpoint)
        self.assert_same_tensors(tensors, read_safetensors(self.safetensors)[0])

    def test_a_fresh_optimizer(self):
        module = make_module("text", "published")
        optimizer = torch.optim.Adam(module.parameters(), lr=0.125, betas=(0.25, 0.75), eps=1e-6)
        saved = {
            "epoch": 0,
            "text_adapter": module.state_dict(),
            "text_optimizer": optimizer.state_dict(),
        }
        output, tensors, metadata = self.convert("text", "published", saved)
        self.assertEqual(output, "optimizer 1 progress 0\n")
        self.assert_same_tensors(tensors, flatten({"text_adapter": module.state_dict()}))
        for key in ("lr", "initial_lr"):
            self.assertEqual(float(metadata[f"text_optimizer.param_groups.0.{key}"]), 0.125)
        del saved["text_optimizer"]
        output, tensors, _ = self.convert("text", "published", saved)
        self.assertEqual(output, "optimizer 0 progress 0\n")
        self.assert_same_tensors(tensors, flatten({"text_adapter": module.state_dict()}))

    def test_other_optimizers_are_refused(self):
        module = make_module("text", "document")
        parameters = list(module.parameters())
        cases = [
            (torch.optim.Adam(parameters, weight_decay=0.5), "param_groups.0.weight_decay"),
            (torch.optim.Adam(parameters, amsgrad=True), "param_groups.0.amsgrad"),
            (torch.optim.Adam(parameters, maximize=True), "param_groups.0.maximize"),
            (torch.optim.Adam(parameters[:-1]), "param_groups.0.params.4"),
            (torch.optim.SGD(parameters, lr=0.1), "param_groups.0.betas.0"),
            (
                torch.optim.Adam([{"params": parameters[:2]}, {"params": parameters[2:]}]),
                "param_groups.1.lr",
            ),
        ]
        for optimizer, name in cases:
            with self.subTest(name=name):
                for parameter in parameters:
                    parameter.grad = torch.ones_like(parameter)
                optimizer.step()
                saved = self.folder / "saved.pth"
                torch.save(
                    {
                        "text_adapter": module.state_dict(),
                        "text_optimizer": optimizer.state_dict(),
                    },
                    saved,
                )
                text = refuse("convert", "text", "document", saved, self.pth)
                self.assertIn(f"saved.pth: text_optimizer.{name}: expected ", text)


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    print(f"PyTorch {torch.__version__}, weights_only with floats: {WEIGHTS_ONLY}")
    unittest.main()
