"""Makes tests/golden/model: small checkpoints, adapters, pictures, and what must come out of them.

Everything is computed in double precision and stored as float32. manifest.json holds one object a
case: its files (relative to the manifest), every size and choice, the prompts as rows of token ids
from start to end token (the first `normal_prompts` rows are the normal ones), and under
`float32_error` how far, as max|a - b| / max|b|, the same computation in float32 strays: a floor for
tolerances. Tensors of expected.safetensors, N a level counted in blocks, T = 1 + grid * grid:

    text.features (prompts, embedding)      not normalised
    text.pair (2, embedding)                [normal, abnormal] class vectors
    vision.position (T, width)              resampled positional table
    vision.embedded (T, width)              after ln_pre
    vision.block.1, vision.block.N (T, width)   residual stream after the block and its blend
    seg_tokens.N (grid * grid, embedding)   unit length
    det_token (embedding)
    similarity.N (grid * grid, 2)           100 * cosine to normal, abnormal
    blurred.N (grid, grid)                  one scale of the map, before it is enlarged
    map (image_size, image_size), score ()
    surgery.N (grid * grid, embedding)      stage 1: value-value tokens, unit length, without ...
    surgery.class (embedding)               ... the plain tower's unit class feature, to be added
"""

import argparse
import json
import os
import re
import shutil
from dataclasses import asdict, dataclass

import numpy
import torch
from PIL import Image

import checkpoint_layouts as layouts
from aaclip_torch import (
    PROFILES,
    ClipShape,
    TowerShape,
    anomaly_map,
    blurred_grid,
    default_surgery_blocks,
    image_score,
    resample_position,
    similarity,
)
from make_checkpoints import random_clip, write_adapters

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", "model")

NORMAL_PROMPTS, ABNORMAL_PROMPTS = 3, 4


@dataclass(frozen=True)
class Case:
    name: str
    shape: ClipShape
    layout: str
    profile: str
    domain: str
    image_size: int
    activation: str = "quick_gelu"
    text_adapter: str = ""  # kind, empty for none
    image_adapter: str = ""
    optimizer: bool = False  # adapter files carry Adam's state


CASES = [
    # Exact GELU on OpenAI's weights, heads of 64, a 4 x 4 table enlarged to an odd 5 x 5.
    Case(
        "openai-published",
        ClipShape(TowerShape(64, 4, 1, 48), TowerShape(64, 4, 1, 32), 14, 4, 48, 77, 120),
        "torchscript", "published", "Industrial", 70,
        text_adapter="published", image_adapter="published",
    ),
    # QuickGELU, a 7 x 7 table shrunk to 5 x 5: Medical's 9 taps reach over the whole grid.
    Case(
        "state-dict-document",
        ClipShape(TowerShape(64, 4, 1, 32), TowerShape(64, 4, 1, 32), 16, 7, 64, 24, 120),
        "state-dict-wrapped", "document", "Medical", 80,
        text_adapter="document", image_adapter="document",
    ),
    # Heads of 32, 8 blocks with 2 blended, the release's --relu, text narrower than the image.
    Case(
        "huggingface-published-relu",
        ClipShape(TowerShape(64, 8, 2, 32), TowerShape(32, 8, 1, 32), 14, 6, 40, 32, 130),
        "huggingface-safetensors", "published", "Industrial", 98,
        text_adapter="published", image_adapter="published-relu",
    ),
    # Plain CLIP: its own projections, its own exact GELU and epsilon, the table as trained.
    Case(
        "huggingface-document-plain",
        ClipShape(
            TowerShape(32, 4, 1, 64, 1e-3), TowerShape(32, 2, 1, 64, 1e-3), 14, 6, 32, 32, 120
        ),
        "huggingface-bin", "document", "Medical", 84, activation="gelu",
    ),
    # Three heads of 16, exact GELU by the configuration, 5 blocks (levels 1 2 3 5), an even grid.
    Case(
        "openclip-document",
        ClipShape(TowerShape(48, 5, 3, 96), TowerShape(32, 4, 2, 64), 16, 5, 56, 32, 120),
        "openclip-safetensors", "document", "Industrial", 96, activation="gelu",
        text_adapter="document", image_adapter="document",
    ),
    # QuickGELU of the configuration overruled by the profile; only the text is adapted.
    Case(
        "openclip-published-text-only",
        ClipShape(TowerShape(32, 4, 1, 48), TowerShape(32, 4, 1, 32), 14, 4, 24, 32, 120),
        "openclip-bin", "published", "Medical", 70,
        text_adapter="published", optimizer=True,
    ),
    # QuickGELU in the document's profile; only the image is adapted; fewer patches than trained.
    Case(
        "openclip-document-image-only",
        ClipShape(TowerShape(32, 4, 1, 48), TowerShape(32, 4, 1, 32), 14, 8, 32, 32, 120),
        "openclip-safetensors", "document", "Industrial", 84,
        image_adapter="document", optimizer=True,
    ),
]  # fmt: skip


def write_checkpoint(folder, case, state):
    """Returns the path, relative to `folder`, that a reader is given."""
    if case.layout == "torchscript":
        layouts.write_torchscript(os.path.join(folder, "clip.pt"), state, case.shape)
        return "clip.pt"
    if case.layout == "state-dict-wrapped":
        path = os.path.join(folder, "clip.pt")
        layouts.write_state_dict(path, state, prefix="module.", wrap=True)
        return "clip.pt"
    file, write = {
        "huggingface-safetensors": ("model.safetensors", layouts.write_hugging_face),
        "huggingface-bin": ("pytorch_model.bin", layouts.write_hugging_face),
        "openclip-safetensors": ("open_clip_model.safetensors", layouts.write_open_clip),
        "openclip-bin": ("open_clip_pytorch_model.bin", layouts.write_open_clip),
    }[case.layout]
    target = os.path.join(folder, "clip")
    write(target, state, case.shape, case.activation, file, dtype=torch.float16)
    return "clip"


def make_picture(size, seed):
    """A shaded, textured surface with a bright blot and a scratch."""
    random = numpy.random.default_rng(seed)
    y, x = numpy.mgrid[0:size, 0:size] / size
    rgb = numpy.stack([90 + 80 * x, 110 + 50 * y, 130 - 60 * x * y], -1)
    rgb += 25 * numpy.sin(40 * x + 9 * y)[..., None] + random.normal(0, 3, rgb.shape)
    rgb[(x - 0.7) ** 2 + (y - 0.3) ** 2 < 0.015] += (110, 60, -70)
    rgb[abs(x + y - 0.9) < 0.02] -= 80
    return numpy.clip(rgb, 0, 255).astype(numpy.uint8)


def make_prompts(case, seed):
    """Rows of ids of different lengths, one of them as long as the context; normal rows first."""
    random = numpy.random.default_rng(seed)
    start, end = case.shape.vocabulary - 2, case.shape.vocabulary - 1
    lengths = [3, 9, 6, case.shape.context, 2, 12, 7]
    assert len(lengths) == NORMAL_PROMPTS + ABNORMAL_PROMPTS
    return [
        [start, *(int(i) for i in random.integers(0, start, length - 2)), end] for length in lengths
    ]


def load_case(folder, case, checkpoint):
    """The model as read back from the files of the case."""
    model = layouts.load_model(os.path.join(folder, checkpoint), folder, case.profile)
    assert model.clip.shape == case.shape
    return model


def compute(model, case, rgb, prompts):
    """Name -> tensor without batch dimension."""
    shape, levels = case.shape, model.levels
    features = model.encode_text(prompts)
    pair = torch.stack(
        [
            model.class_vector(features[:NORMAL_PROMPTS]),
            model.class_vector(features[NORMAL_PROMPTS:]),
        ]
    )
    pixels = model.normalise(rgb)
    stream = model.run_vision(pixels)
    seg, det = model.project([stream[level][:, 1:] for level in levels])
    similarities = [similarity(s, pair) for s in seg]
    grids = [blurred_grid(s, case.domain) for s in similarities]
    surgery, class_feature = model.encode_surgery(
        pixels, default_surgery_blocks(shape.vision.layers)
    )
    position = resample_position(
        model.clip.visual.positional_embedding, case.image_size // shape.patch
    )
    outputs = {
        "text.features": features,
        "text.pair": pair,
        "vision.position": position,
        "vision.embedded": stream[0][0],
        "vision.block.1": stream[1][0],
        "det_token": det[0],
        "map": anomaly_map(grids, case.image_size)[0],
        "score": image_score(det, pair)[0],
        "surgery.class": class_feature[0],
    }
    for k, level in enumerate(levels):
        outputs[f"vision.block.{level}"] = stream[level][0]
        outputs[f"seg_tokens.{level}"] = seg[k][0]
        outputs[f"similarity.{level}"] = similarities[k][0]
        outputs[f"blurred.{level}"] = grids[k][0, 0]
        outputs[f"surgery.{level}"] = surgery[k][0]
    return outputs


def relative_error(a, b):
    return ((a.double() - b.double()).abs().max() / b.abs().max()).item()


def make_case(root, case, seed):
    folder = os.path.join(root, case.name)
    os.makedirs(folder)
    checkpoint = write_checkpoint(folder, case, random_clip(case.shape, seed))
    for side in ("text", "image"):
        kind = getattr(case, f"{side}_adapter")
        if kind:
            chosen = {"text": side == "text", "image": side == "image"}
            write_adapters(folder, case.shape, kind, seed, **chosen, optimizer=case.optimizer)
    rgb = make_picture(case.image_size, seed)
    Image.fromarray(rgb).save(os.path.join(folder, "image.png"), optimize=True)
    prompts = make_prompts(case, seed)
    with torch.no_grad():
        model = load_case(folder, case, checkpoint)
        single = compute(model.float(), case, rgb, prompts)
        outputs = compute(model.double(), case, rgb, prompts)
    layouts.write_safetensors(
        os.path.join(folder, "expected.safetensors"),
        {name: t.detach().float() for name, t in sorted(outputs.items())},
    )
    floor = {name: float(f"{relative_error(single[name], outputs[name]):.1e}") for name in outputs}
    return manifest_entry(case, checkpoint, model, prompts, floor)


def manifest_entry(case, checkpoint, model, prompts, floor):
    shape, profile = case.shape, PROFILES[case.profile]
    text, image = model.text_adapter, model.image_adapter
    return {
        "name": case.name,
        "layout": case.layout,
        "checkpoint": f"{case.name}/{checkpoint}",
        "text_adapter": f"{case.name}/text_adapter.pth" if case.text_adapter else None,
        "image_adapter": f"{case.name}/image_adapter_20.pth" if case.image_adapter else None,
        "image": f"{case.name}/image.png",
        "expected": f"{case.name}/expected.safetensors",
        "profile": case.profile,
        "domain": case.domain,
        "image_size": case.image_size,
        "vision": asdict(shape.vision),
        "text": asdict(shape.text),
        "patch": shape.patch,
        "trained_grid": shape.grid,
        "grid": case.image_size // shape.patch,
        "embedding": shape.embedding,
        "context": shape.context,
        "vocabulary": shape.vocabulary,
        "checkpoint_activation": case.activation,
        "activation": "gelu" if profile.exact_gelu else case.activation,
        "mean": profile.mean,
        "std": profile.std,
        "renormalise_class": profile.renormalise_class,
        "levels": model.levels,
        "text_adapter_kind": case.text_adapter or None,
        "image_adapter_kind": case.image_adapter or None,
        "text_adapter_blocks": len(text) - 1 if text is not None else 0,
        "image_adapter_blocks": len(image["layer_adapters"]) if image is not None else 0,
        "adapter_weight": model.weight,
        "surgery_blocks": default_surgery_blocks(shape.vision.layers),
        "normal_prompts": NORMAL_PROMPTS,
        "prompts": prompts,
        "float32_error": dict(sorted(floor.items())),
    }


def write_manifest(path, entries):
    """JSON, but with lists of numbers on one line."""
    text = json.dumps({"cases": entries}, indent=1)
    text = re.sub(r"\[[-0-9., \n]*\]", lambda match: " ".join(match[0].split()), text)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--output", default=FOLDER, metavar="FOLDER", help="replaced as a whole")
    output = parser.parse_args().output
    shutil.rmtree(output, ignore_errors=True)
    os.makedirs(output)
    entries = [make_case(output, case, seed) for seed, case in enumerate(CASES, start=1)]
    write_manifest(os.path.join(output, "manifest.json"), entries)


if __name__ == "__main__":
    main()
