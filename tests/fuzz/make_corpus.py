#!/usr/bin/python3
"""Writes the seeds of the fuzz targets that no other script makes: make_corpus.py tests/fuzz

Files of tensors come from safetensors and PyTorch, images from Pillow.
"""
import argparse
import io
import json
import pathlib
import struct

import numpy
import safetensors.torch
import torch
from PIL import Image

# Of tiny_model.c: its text tower, no text adapters, the prompts of the profile `document`.
TEXT_CACHE_KEYS = {
    "aaclip.text_fingerprint": "6de256ef214227c8",
    "aaclip.text_cache_adapter_fingerprint": "0000000000000000",
    "aaclip.prompt_fingerprint": "0282b6321d731cf7",
}
CALIBRATION = {"image_threshold": 0.625, "map_threshold": 0.75, "false_alarm_rate": 0.01,
               "method": "quantile", "images": 250}
ORIGIN = {"decide_by": "either", "class_name": "K\u00e4se", "image_size": 518, "tile": 700,
          "tile_overlap": 0.25, "domain": "medical", "model_fingerprint": "0123456789abcdef",
          "adapters_fingerprint": "0000000000000000",
          "class_fingerprint": "fedcba9876543210", "window_low": 0, "window_high": 4095.5}
CONFIG = {
    "profile": "document", "activation": 0, "image_mean": [0.485, 0.456, 0.406],
    "image_deviation": [0.229, 0.224, 0.225], "layer_adapter": 0, "layer_adapter_slope": 0.2,
    "image_projection_activation": False, "text_projection_activation": True,
    "projection_slope": 0.2, "image_adapter_weight": 0.1, "text_adapter_weight": 0.1,
    "image_adapter_layers": 1, "text_adapter_layers": 1, "levels": [1, 2],
    "normalize_class_vector": False,
}


def write(folder, name, data):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def save(tensors, metadata=None):
    """As safetensors writes it, but with the metadata always in one order."""
    data = safetensors.torch.save(tensors, metadata)
    length, = struct.unpack_from("<Q", data)
    header = json.loads(data[8:8 + length])
    if metadata:
        header["__metadata__"] = metadata
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data[8 + length:]


def half(*shape):
    return torch.full(shape, 0.5)


def image_tower(width=4, mlp=2, grid=4, embedding=3, layers=2):
    tensors = {
        "visual.conv1.weight": half(width, 3, 1, 1),
        "visual.class_embedding": half(width),
        "visual.positional_embedding": half(1 + grid * grid, width),
        "visual.proj": half(width, embedding),
    }
    for norm in "ln_pre", "ln_post":
        tensors[f"visual.{norm}.weight"] = tensors[f"visual.{norm}.bias"] = half(width)
    for i in range(layers):
        block = {
            "ln_1.weight": (width,), "ln_1.bias": (width,), "ln_2.weight": (width,),
            "ln_2.bias": (width,), "attn.in_proj_weight": (3 * width, width),
            "attn.in_proj_bias": (3 * width,), "attn.out_proj.weight": (width, width),
            "attn.out_proj.bias": (width,), "mlp.c_fc.weight": (mlp, width),
            "mlp.c_fc.bias": (mlp,), "mlp.c_proj.weight": (width, mlp), "mlp.c_proj.bias": (width,),
        }
        for name, shape in block.items():
            tensors[f"visual.transformer.resblocks.{i}.{name}"] = half(*shape)
    return {name: tensor.clone() for name, tensor in tensors.items()}


def image_adapters(width=4, embedding=3, levels=2):
    tensors = {
        "image_adapter.layer_adapters.0.fc1.weight": half(width // 2, width),
        "image_adapter.layer_adapters.0.fc2.weight": half(width, width // 2),
        "image_adapter.det_proj.fc.weight": half(embedding, width),
    }
    for level in range(levels):
        tensors[f"image_adapter.seg_proj.{level}.fc.weight"] = half(embedding, width)
    return tensors


def pair(embedding=3):
    return torch.arange(2 * embedding, dtype=torch.float32).reshape(2, embedding) / 8


def write_bundles(folder):
    metadata = {"aaclip.bundle": "1", "aaclip.activation": "quick_gelu", "aaclip.vision_heads": "2",
                "aaclip.layer_norm_eps": "1e-5", **TEXT_CACHE_KEYS}
    plain = {**image_tower(), "text_cache.metal nut": pair()}
    write(folder, "plain", save(plain, metadata))
    whole = {**image_tower(), **image_adapters(), "text_cache.nut": pair(), "text_cache.bolt": pair()}
    write(folder, "adapters", save(whole, {
        **metadata, "aaclip.config": json.dumps(CONFIG),
        "aaclip.calibration": json.dumps(CALIBRATION)}))
    matrices = {name: tensor.half() if tensor.dim() > 1 and name.startswith("visual.trans")
                else tensor for name, tensor in plain.items()}
    write(folder, "float16", save(matrices, {**metadata, "aaclip.activation": "gelu"}))
    write(folder, "text-adapters", save({**whole, "text_adapter.0.fc.weight": half(3, 2)}, metadata))
    write(folder, "other-text", save(plain, {**metadata, "aaclip.text_fingerprint": "z"}))


def write_text_caches(folder):
    names = "class", "metal nut", "K\u00e4se", "class.0"
    write(folder, "one", save({"text_cache.class": pair()}, TEXT_CACHE_KEYS))
    write(folder, "many", save({f"text_cache.{name}": pair() for name in names}, TEXT_CACHE_KEYS))
    write(folder, "keyed", save({"text_cache.class": pair()}, {
        **TEXT_CACHE_KEYS, "aaclip.class_fingerprint.class": "fedcba9876543210"}))
    write(folder, "none", save({"other": pair()}, TEXT_CACHE_KEYS))
    write(folder, "shape", save({"text_cache.class": pair(4)}, TEXT_CACHE_KEYS))
    write(folder, "type", save({"text_cache.class": pair().half()}, TEXT_CACHE_KEYS))
    write(folder, "no-name", save({"text_cache.": pair()}, TEXT_CACHE_KEYS))
    write(folder, "other-prompts", save(
        {"text_cache.class": pair()}, {**TEXT_CACHE_KEYS, "aaclip.prompt_fingerprint": "0" * 16}))


def write_adapters(folder):
    """Beside those that the library wrote: with a calibration, good and damaged."""
    metadata = {"aaclip.config": json.dumps(CONFIG)}
    good = {**metadata, "aaclip.calibration": json.dumps(CALIBRATION)}
    bad = {**metadata, "aaclip.calibration": json.dumps({**CALIBRATION, "method": "guess"})}
    write(folder, "integers", save({name: tensor.int() for name, tensor in image_adapters().items()}))
    write(folder, "calibrated", save(image_adapters(), good))
    write(folder, "calibration-damaged", save(image_adapters(), bad))


def write_archives(folder, pickles):
    """As PyTorch writes them today, with its byte order; and what no honest program pickles."""
    write(folder, "byte-order", archive({"a": {"b": torch.arange(3)}, "c": 1.5}))
    write(folder, "big-endian", archive({"a": torch.arange(3)}).replace(b"little", b"big   "))
    write(pickles, "holds-itself.pkl", b"]q\0h\0a.")
    write(pickles, "tuple-as-key.pkl", b"})K\1s.")
    write(pickles, "deep.pkl", b"]" * 70 + b"a" * 69 + b".")
    write(pickles, "state-twice.pkl", b"c__torch__.A\nB\n)\x81NbNb.")


class Side(torch.nn.Module):
    """One side of the published adapters: width 8, embedding 6, as training_sample.h has it."""

    def __init__(self, image):
        super().__init__()
        def linear(rows):
            return torch.nn.Sequential(torch.nn.Linear(8, rows, bias=False), torch.nn.LeakyReLU())
        def module(layer):
            return torch.nn.ModuleDict({"fc": layer})
        self.names = []
        if image:
            self.layer_adapters = torch.nn.ModuleList(module(linear(8)) for _ in range(2))
            self.seg_proj = torch.nn.ModuleList(
                module(torch.nn.Linear(8, 6, bias=False)) for _ in range(3))
            self.det_proj = module(torch.nn.Linear(8, 6, bias=False))
        else:
            for i, rows in enumerate((8, 8, 6)):
                self.add_module(str(i), module(linear(rows)))


def archive(value):
    out = io.BytesIO()
    torch.save(value, out)
    return out.getvalue()


def train_one_step(side):
    optimizer = torch.optim.Adam(side.parameters(), lr=1e-3, betas=(0.5, 0.999))
    for weight in side.parameters():
        torch.nn.init.constant_(weight, 0.25)
    sum(weight.sum() for weight in side.parameters()).backward()
    optimizer.step()
    return optimizer


def flatten(value, name, tensors, metadata):
    if isinstance(value, torch.Tensor):
        tensors[name] = value.detach().clone().reshape(value.shape or (1,))
    elif isinstance(value, dict):
        for key, item in value.items():
            flatten(item, f"{name}.{key}" if name else str(key), tensors, metadata)
    elif isinstance(value, (list, tuple)) and not name.endswith("params"):
        for index, item in enumerate(value):
            flatten(item, f"{name}.{index}", tensors, metadata)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        metadata[name] = repr(value)


def write_training(folder):
    """The first byte: image side, or text; times two: document, published, published with ReLU."""
    progress = {"seed": "fedcba9876543210", "step": 1, "position": 5,
                "scheduler": {"gamma": 0.5, "milestones": [4, 9]},
                "config": json.dumps({**CONFIG, "profile": "published", "layer_adapter": 1,
                                      "levels": [1, 2, 3], "image_adapter_layers": 2,
                                      "text_adapter_layers": 2}),
                "options": "{\"batch\": 2}"}
    for name, first in ("text", 4), ("image", 3):
        side = Side(name == "image")
        optimizer = train_one_step(side)
        plain = {"epoch": 2, f"{name}_adapter": side.state_dict()}
        trained = {**plain, f"{name}_optimizer": optimizer.state_dict()}
        tensors, metadata = {}, {}
        flatten(trained, "", tensors, metadata)
        metadata.update({"aaclip.seed": "fedcba9876543210", "aaclip.step": "1",
                         "aaclip.position": "5", "aaclip.scheduler.gamma": "0.5",
                         "aaclip.scheduler.milestones.0": "4", "aaclip.config": progress["config"]})
        start = bytes([first])
        write(folder, f"{name}-fresh.pth", start + archive(plain))
        write(folder, f"{name}-adam.pth", start + archive(trained))
        write(folder, f"{name}-resume.pth", start + archive({**trained, "aaclip": progress}))
        write(folder, f"{name}-resume.safetensors", start + save(tensors, metadata))
        decayed = optimizer.state_dict()
        decayed["param_groups"][0]["weight_decay"] = 0.1
        write(folder, f"{name}-decay.pth", start + archive({**plain, f"{name}_optimizer": decayed}))


def write_settings(folder):
    write(folder, "calibration", b"c" + json.dumps(CALIBRATION, indent=2).encode())
    write(folder, "calibration-f1", b"c" + json.dumps(
        {**CALIBRATION, "method": "f1_max", "false_alarm_rate": 0, "later": [1]}).encode())
    write(folder, "calibration-huge", b"c" + json.dumps(
        {**CALIBRATION, "image_threshold": 1e300}).encode())
    write(folder, "calibration-origin", b"c" + json.dumps({**CALIBRATION, **ORIGIN}).encode())
    write(folder, "config", b"-" + json.dumps(CONFIG).encode())
    write(folder, "config-published", b"-" + json.dumps(
        {**CONFIG, "profile": "published", "levels": [], "image_adapter_layers": 1 << 40}).encode())


def write_datasets(folder):
    """The first byte: 1 table, 2 one class only, 4 to 12 splits, 16 and 32 masks."""
    lines = [
        {"image_path": "a.png", "label": 1, "class_name": "bolt", "mask_path": "mask.png"},
        {"image_path": "b.png", "label": 0, "class_name": "nut", "mask_path": None},
        {"image_path": "b.png", "class_name": "bolt", "mask_path": ""},
    ]
    text = "\n".join(json.dumps(line) for line in lines) + "\n"
    write(folder, "lines", b"\0" + text.encode())
    write(folder, "lines-one-class", b"\2" + text.replace("\n", "\r\n\n").encode())
    write(folder, "lines-masks-required", b"\20" + text.encode())
    write(folder, "lines-broken", b"\0" + text.encode()[:-20])
    table = ("object,split,label,image,mask\n"
             "bolt,train,normal,b.png,\nbolt,test,anomaly,a.png,mask.png\n")
    write(folder, "table", b"\1" + table.encode())
    write(folder, "table-train", b"\5" + table.replace("\n", "\r\n").encode())
    write(folder, "table-quotes", b"\1" + table.replace("bolt", '"bolt"').encode())
    write(folder, "table-short-row", b"\1" + table.encode() + b"bolt,test\n\n")


def change(kind, at, data=b"", count=None):
    return struct.pack("<BHB", kind, at, len(data) if count is None else count) + data


def write_packed(folder):
    """The first byte: oneDNN, oneDNN int8, BLAS, BLAS int8; then changes as fuzz_packed.c reads."""
    overwrite, insert, delete = range(3)
    for case in range(4):
        start = bytes([case])
        write(folder, f"whole-{case}", start)
        write(folder, f"header-length-{case}", start + change(overwrite, 0, b"\xff"))
        write(folder, f"shifted-{case}", start + change(insert, 9, b" "))
        write(folder, f"truncated-{case}", start + change(delete, 4000, count=255))
        write(folder, f"origin-{case}", start + change(overwrite, 40, b"another"))
        write(folder, f"empty-{case}", start + change(delete, 0, count=255) * 64)


def encoded(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def write_images(folder):
    """Small ones, so that a run is short: every mode that Pillow writes."""
    rows = numpy.arange(15 * 4, dtype=numpy.uint8).reshape(3, 5, 4) * 4
    colour, grey = Image.fromarray(rows[..., :3].copy()), Image.fromarray(rows[..., 0].copy())
    modes = {"rgb": colour, "rgba": Image.fromarray(rows), "grey": grey, "palette": colour.quantize(8),
             "bits": grey.convert("1"), "grey-alpha": grey.convert("LA"),
             "grey16": Image.fromarray(rows[..., 0].astype(numpy.uint16) * 257)}
    for name, image in modes.items():
        write(folder, f"{name}.png", encoded(image, "PNG"))
    for name in "rgb", "grey", "palette", "bits":
        write(folder, f"{name}.bmp", encoded(modes[name], "BMP"))
    for name in "rgb", "grey":
        for progressive in False, True:
            for sampling in 0, 2:
                kind = ("progressive" if progressive else "baseline") + f"-{sampling}"
                write(folder, f"{name}-{kind}.jpg", encoded(
                    modes[name], "JPEG", progressive=progressive, subsampling=sampling))
    write(folder, "restart.jpg", encoded(colour.resize((32, 16)), "JPEG", restart_marker_blocks=1))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("fuzz", type=pathlib.Path, help="tests/fuzz")
    fuzz = parser.parse_args().fuzz
    torch.manual_seed(1)
    write_bundles(fuzz / "corpus/bundle")
    write_text_caches(fuzz / "corpus/text_cache")
    write_adapters(fuzz / "corpus/adapters")
    write_archives(fuzz / "corpus/torch_archive", fuzz / "corpus/pickle")
    write_training(fuzz / "corpus/training")
    write_settings(fuzz / "corpus/settings")
    write_datasets(fuzz / "corpus/dataset")
    write_packed(fuzz / "corpus/packed")
    write_images(fuzz / "images/corpus")


if __name__ == "__main__":
    main()
