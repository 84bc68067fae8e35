#!/usr/bin/python3
"""Writes small archives with PyTorch, and what PyTorch reads back from them.

Beside NAME.pt stands NAME.txt with one line an entry, in the order of the file:
    tensor NAME DTYPE RANK SIZE... VALUE...     values as hexadecimal floats
    number NAME VALUE
    string NAME VALUE
"""
import pathlib
import sys
import zipfile
from collections import OrderedDict

import torch

OUT = pathlib.Path(__file__).parent.parent / "golden" / "files" / "torch"


def describe(value, name, lines):
    if isinstance(value, torch.Tensor):
        sizes = " ".join(str(size) for size in value.shape)
        values = " ".join(float(x).hex() for x in value.detach().double().reshape(-1))
        dtype = str(value.dtype).split(".")[1]
        lines.append(" ".join(f"tensor {name} {dtype} {value.dim()} {sizes} {values}".split()))
    elif isinstance(value, (bool, int, float)):
        lines.append(f"number {name} {float(value).hex()}")
    elif isinstance(value, str):
        lines.append(f"string {name} {value}")
    elif isinstance(value, dict):
        for key, item in value.items():
            describe(item, f"{name}.{key}" if name else str(key), lines)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            describe(item, f"{name}.{index}" if name else str(index), lines)
    else:
        assert value is None, value


def write_expected(name, value):
    lines = []
    describe(value, "", lines)
    (OUT / f"{name}.txt").write_text("\n".join(lines) + "\n")


def save(name, value, **options):
    torch.save(value, OUT / f"{name}.pt", **options)
    write_expected(name, torch.load(OUT / f"{name}.pt"))


def every_view():
    base = torch.arange(24, dtype=torch.float32)
    state = OrderedDict()
    for dtype in (torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.bool,
                  torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64):
        state["plain." + str(dtype).split(".")[1]] = (base[:6] - 2).to(dtype).reshape(2, 3)
    state["transposed"] = base.reshape(4, 6).t()
    state["strided"] = base[1::5]
    state["block"] = base.reshape(2, 3, 4)[:, 1:, ::2]
    state["shared"] = base.reshape(4, 6)
    state["expanded"] = base[3:5].reshape(2, 1).expand(2, 3)
    state["scalar"] = torch.tensor(4.6052)
    state["empty"] = torch.zeros(0, 5)
    state["parameter"] = torch.nn.Parameter(base[20:])
    return state


def adapter_checkpoint():
    """The shape of a published text_adapter.pth: weights, epoch and the optimizer's state."""
    adapter = torch.nn.ModuleList(
        torch.nn.Sequential(OrderedDict(fc=torch.nn.Sequential(torch.nn.Linear(3, 3, bias=False))))
        for _ in range(2))
    optimizer = torch.optim.Adam(adapter.parameters(), lr=1e-5, betas=(0.5, 0.999))
    sum(module(torch.ones(1, 3)).sum() for module in adapter).backward()
    optimizer.step()
    return {"epoch": 5, "text_adapter": adapter.state_dict(),
            "text_optimizer": optimizer.state_dict(), "note": "a line of text",
            "size": torch.zeros(2, 7).shape, "nothing": None, "flags": [True, False],
            "large": 2 ** 40, "negative": -70000, -3: 0.25}


class Attention(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.in_proj_weight = torch.nn.Parameter(torch.randn(3 * width, width).half())
        self.out_proj = torch.nn.Linear(width, width).half()

    def forward(self, x):
        return x


class Tower(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.proj = torch.nn.Parameter(torch.randn(4, 2).half())
        self.blocks = torch.nn.Sequential(Attention(4), Attention(4))
        self.ln_post = torch.nn.LayerNorm(4)

    def forward(self, x):
        return self.blocks(x)


class Scripted(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.visual = Tower()
        self.logit_scale = torch.nn.Parameter(torch.tensor(4.6052))
        self.register_buffer("input_resolution", torch.tensor(336))
        self.sizes = [3, 5]

    def forward(self, x):
        return self.visual(x)


def save_scripted():
    module = Scripted()
    torch.jit.save(torch.jit.script(module), str(OUT / "scripted.pt"))
    write_expected("scripted", module.state_dict())


def rewrite(source, name, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(OUT / f"{source}.pt") as archive, \
            zipfile.ZipFile(OUT / f"{name}.pt", "w", method) as copy:
        for entry in archive.namelist():
            copy.writestr(entry, archive.read(entry))


def main():
    torch.manual_seed(1)
    OUT.mkdir(parents=True, exist_ok=True)
    save("views", every_view())
    save("adapter", adapter_checkpoint())
    save("protocol4", {"a": {"b": torch.arange(3)}, "c": 1.5}, pickle_protocol=4)
    save("list", [torch.ones(2), {"x": 1}])
    save_scripted()
    save("tensor", torch.ones(2))
    torch.save({"a": torch.ones(2)}, OUT / "legacy.pt", _use_new_zipfile_serialization=False)
    torch.save(torch.nn.Linear(1, 1), OUT / "module.pt")
    rewrite("views", "compressed", zipfile.ZIP_DEFLATED)
    zipfile.ZIP64_LIMIT = 8  # so that sizes, offsets and counts take their 64-bit forms
    zipfile.ZIP_FILECOUNT_LIMIT = 1
    rewrite("views", "zip64")
    print(sum(f.stat().st_size for f in OUT.iterdir()), "bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
