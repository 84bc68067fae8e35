"""Draws small CLIP models, configurations and adapters, writes them, and loads the judge's of each.

What is drawn depends on the random.Random that is passed alone. The library and the judge read the
same files.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from test_full_size import TESTS  # first: skips where a package is missing

import numpy
import torch
from PIL import Image
from torch import nn

import aaclip
import checkpoint_layouts as layouts
from aaclip_torch import (
    AaClip,
    ClipShape,
    DocumentAdapter,
    DocumentProjection,
    Profile,
    PublishedAdapter,
    PublishedProjection,
    TowerShape,
)
from make_checkpoints import random_clip
from tokenizer import Tokenizer

VOCABULARY = TESTS / "golden" / "text" / "small.txt.gz"
VOCABULARY_SIZE = 1014
PROFILES = ("document", "published")
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
CLASS_NAMES = (
    "metal_nut", "it's", "PCB-1", "3.14%", "wood", "don't_We'LL", "x" * 12, "spaced__out",
    "a <b> & c",
)  # fmt: skip
NORMAL = ("{}", "good {}", "perfect {}!", "flawless, {} ok")
ABNORMAL = ("damaged {}", "broken {}", "{} with flaw", "bad {} bad")
TEMPLATES = ("{}.", "a photo of {}.", "picture: {}", "{}")

# Layout -> its file, or the file in its folder. OpenAI's say neither heads nor activation.
OPENAI = {
    "torchscript": "clip.pt", "state-dict": "state_dict.pt", "state-dict-wrapped": "wrapped.pt"
}  # fmt: skip
HUGGING_FACE = {
    "huggingface-bin": "pytorch_model.bin", "huggingface-safetensors": "model.safetensors"
}  # fmt: skip
OPEN_CLIP = {
    "openclip-bin": "open_clip_pytorch_model.bin",
    "openclip-safetensors": "open_clip_model.safetensors",
}


@dataclass(frozen=True)
class Limits:
    """Blocks of the vision and of the text tower, from and to."""

    vision_layers: tuple = (1, 9)
    text_layers: tuple = (1, 6)


@dataclass(frozen=True)
class Checkpoint:
    path: Path  # file, or folder of a layout that is one
    layout: str
    dtype: torch.dtype
    shape: ClipShape

    @property
    def folder(self):
        return self.path if self.path.is_dir() else self.path.parent


def draw_tower(rng, layers, layout, epsilon):
    head = 64 if layout in OPENAI else rng.choice((4, 6, 8, 10, 12, 16, 20, 24, 32))
    heads = rng.randint(1, 2 if layout in OPENAI else 4)
    width = head * heads
    return TowerShape(width, rng.randint(*layers), heads, width * rng.choice((2, 3, 4)), epsilon)


def draw_shape(rng, layout, limits):
    epsilon = rng.choice((1e-5, 1e-5, 1e-6, 1e-4)) if layout in HUGGING_FACE else 1e-5
    return ClipShape(
        vision=draw_tower(rng, limits.vision_layers, layout, epsilon),
        text=draw_tower(rng, limits.text_layers, layout, epsilon),
        patch=rng.randint(2, 8),
        grid=rng.randint(1, 7),
        embedding=rng.choice((3, 5, 8, 12, 16, 24, 33, 40, 64)),
        context=rng.choice((77, 77, 24)),  # the shorter one cuts prompts
        vocabulary=VOCABULARY_SIZE,
    )


def write_checkpoint(rng, folder, limits=Limits()):
    """A model of any layout with random weights, and its vocabulary beside it."""
    layout = rng.choice((*OPENAI, *HUGGING_FACE, *OPEN_CLIP))
    shape = draw_shape(rng, layout, limits)
    dtype, activation = rng.choice(DTYPES), rng.choice(("gelu", "quick_gelu"))
    state = random_clip(shape, rng.random(), dtype)
    sharpness = rng.choice((0.3, 1, 2))  # of the attention
    for name, tensor in state.items():
        if name.endswith("in_proj_weight"):
            tensor.mul_(sharpness)
    path = folder / "model"
    if layout in OPENAI:
        path.mkdir()
        path /= OPENAI[layout]
    if layout == "torchscript":
        layouts.write_torchscript(path, state, shape)
    elif layout in OPENAI:
        wrapped = layout == "state-dict-wrapped"
        layouts.write_state_dict(path, state, "module." if wrapped else "", wrapped, dtype)
    else:
        write = layouts.write_hugging_face if layout in HUGGING_FACE else layouts.write_open_clip
        file = {**HUGGING_FACE, **OPEN_CLIP}[layout]
        write(str(path), state, shape, activation, file, dtype)
    checkpoint = Checkpoint(path, layout, dtype, shape)
    shutil.copy(VOCABULARY, checkpoint.folder / "bpe_simple_vocab_16e6.txt.gz")
    return checkpoint


def draw_config(rng, shape):
    """An aaclip.Config: the profile's, or one with some of its values changed."""
    config = aaclip.Config.of_profile(rng.choice(PROFILES))
    if rng.random() < 0.2:
        return config
    draws = {
        "activation": (0.4, lambda: rng.choice(list(aaclip.Activation))),
        "image_mean": (0.3, lambda: tuple(rng.uniform(0.3, 0.6) for _ in "rgb")),
        "image_deviation": (0.3, lambda: tuple(rng.uniform(0.15, 0.4) for _ in "rgb")),
        "layer_adapter_slope": (0.4, lambda: rng.uniform(0, 0.5)),
        "projection_slope": (0.4, lambda: rng.uniform(0, 0.5)),
        "image_projection_activation": (0.4, lambda: not config.image_projection_activation),
        "text_projection_activation": (0.2, lambda: not config.text_projection_activation),
        "image_adapter_weight": (0.4, lambda: rng.uniform(0.01, 0.95)),
        "text_adapter_weight": (0.4, lambda: rng.uniform(0.01, 0.95)),
        "image_adapter_layers": (0.5, lambda: rng.randint(1, shape.vision.layers)),
        "text_adapter_layers": (0.5, lambda: rng.randint(1, shape.text.layers)),
        "levels": (0.6, lambda: draw_levels(rng, shape.vision.layers)),
        "normalize_class_vector": (0.3, lambda: not config.normalize_class_vector),
    }
    changes = {name: draw() for name, (share, draw) in draws.items() if rng.random() < share}
    return config.replace(**changes)


def draw_levels(rng, layers):
    count = rng.randint(1, min(8, layers))
    return tuple(sorted(rng.sample(range(1, layers + 1), count)))


def resolve_defaults(config, shape):
    """With the numbers that 0 adapter layers and no levels stand for."""
    layers = shape.vision.layers
    quarters = {layers * k // 4 for k in (1, 2, 3, 4)} - {0}
    return config.replace(
        image_adapter_layers=config.image_adapter_layers or layers // 4,
        text_adapter_layers=config.text_adapter_layers or shape.text.layers // 4,
        levels=config.levels or tuple(sorted(quarters)),
    )


def make_adapters(config, shape):
    """{"text", "image"}: modules of the judge for a resolved configuration."""
    bottleneck = config.layer_adapter == aaclip.LayerAdapter.BOTTLENECK
    layer = DocumentAdapter if bottleneck else PublishedAdapter

    def layers(width, count):
        return [layer(width, config.layer_adapter_slope) for _ in range(count)]

    def projection(width, activation):
        if bottleneck:
            slope = config.projection_slope if activation else 1
            return DocumentProjection(width, shape.embedding, slope)
        return PublishedProjection(width, shape.embedding, activation, config.projection_slope)

    text, vision = shape.text.width, shape.vision.width
    on_image = config.image_projection_activation
    last = projection(text, config.text_projection_activation)
    return {
        "text": nn.ModuleList([*layers(text, config.text_adapter_layers), last]),
        "image": nn.ModuleDict(
            {
                "layer_adapters": nn.ModuleList(layers(vision, config.image_adapter_layers)),
                "seg_proj": nn.ModuleList(projection(vision, on_image) for _ in config.levels),
                "det_proj": projection(vision, on_image),
            }
        ),
    }


def write_adapters(rng, folder, config, shape, sides):
    """{side: path} of files with random weights, for a resolved configuration."""
    generator = torch.Generator().manual_seed(rng.randrange(2**32))
    dtype, files = rng.choice(DTYPES), {}
    for side, modules in make_adapters(config, shape).items():
        if side not in sides:
            continue
        for weight in modules.parameters():
            weight.data.normal_(std=weight.shape[1] ** -0.5, generator=generator)
        state = {name: tensor.to(dtype) for name, tensor in modules.state_dict().items()}
        files[side] = folder / f"{side}_adapter.pth"
        torch.save({"epoch": 3, f"{side}_adapter": state}, files[side])
    return files


class CuttingTokenizer(Tokenizer):
    """Cuts long prompts as the library does with `truncate`: the end token stays."""

    def __init__(self, context):
        super().__init__(VOCABULARY, VOCABULARY_SIZE)
        self.context = context

    def encode(self, text):
        ids = super().encode(text)
        return ids if len(ids) <= self.context else ids[: self.context - 1] + ids[-1:]


def load_judge(checkpoint, config, files, dtype=torch.double):
    """The PyTorch model of the files that were written, for a resolved configuration."""
    state, shape, activation = layouts.read_checkpoint(str(checkpoint.path))
    assert shape == checkpoint.shape
    if config.activation != aaclip.Activation.CHECKPOINT:
        activation = config.activation.name.lower()
    profile = Profile(
        config.image_mean, config.image_deviation, False, config.normalize_class_vector
    )
    adapters = make_adapters(config, shape)
    for side, file in files.items():
        adapters[side].load_state_dict(torch.load(file)[f"{side}_adapter"])
    text, image = (adapters[side] if side in files else None for side in ("text", "image"))
    model = AaClip(shape, profile, activation, text, image)
    model.clip.load_state_dict(state)
    model.levels = list(config.levels)
    model.text_weight = config.text_adapter_weight
    model.image_weight = config.image_adapter_weight
    return model.to(dtype).eval().requires_grad_(False)


def write_prompts(rng, folder):
    """The path of a JSON prompt set."""
    path = folder / "prompts.json"
    prompts = {
        "normal": rng.sample(NORMAL, rng.randint(1, len(NORMAL))),
        "abnormal": rng.sample(ABNORMAL, rng.randint(1, len(ABNORMAL))),
        "templates": rng.sample(TEMPLATES, rng.randint(1, 3)),
    }
    layouts.write_json(path, prompts)
    return path


def draw_pixels(rng, size):
    """(H, W, 3) u8 of noise or of one grey, of the model's size or another, thin ones too."""
    sides = rng.choice(
        (
            (size, size),
            (rng.randint(2, 60), rng.randint(2, 60)),
            (1, rng.randint(1, 90)),
            (rng.randint(1, 90), 1),
        )
    )
    if rng.random() < 0.1:
        return numpy.full((*sides, 3), rng.randrange(256), numpy.uint8)
    noise = numpy.random.default_rng(rng.randrange(2**32))
    return noise.integers(0, 256, (*sides, 3), numpy.uint8)


def write_picture(path, pixels):
    Image.fromarray(pixels).save(path)
    return path


def draw_backend(rng):
    """One of the backends on the CPU that this build has."""
    backends = ("onednn", "simd", "blas", "reference")
    return rng.choice([name for name in backends if aaclip.backends().get(name)])
