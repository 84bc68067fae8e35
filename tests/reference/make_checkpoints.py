"""Writes CLIP checkpoints and adapters with random weights, in every layout the library reads.

    python3 make_checkpoints.py --config tiny --seed 7 --output /tmp/clip
    python3 make_checkpoints.py --config vit-l-14-336 --layout torchscript --output /tmp/clip

The same config, seed and vocabulary hold the same numbers in every layout: each weight is exact in
fp16 and depends on its name and the seed only.
"""

import argparse
import copy
import os
import zlib
from dataclasses import replace

import torch

import checkpoint_layouts as layouts
from aaclip_torch import Clip, ClipShape, TowerShape, make_image_adapter, make_text_adapter

CONFIGS = {
    "nano": ClipShape(
        vision=TowerShape(width=64, layers=4, heads=1, mlp=128),
        text=TowerShape(width=64, layers=4, heads=1, mlp=128),
        patch=14, grid=6, embedding=32, context=77, vocabulary=1014,
    ),
    "tiny": ClipShape(
        vision=TowerShape(width=128, layers=8, heads=2, mlp=512),
        text=TowerShape(width=64, layers=4, heads=1, mlp=256),
        patch=14, grid=6, embedding=64, context=77, vocabulary=1024,
    ),
    "vit-b-32": ClipShape(
        vision=TowerShape(width=768, layers=12, heads=12, mlp=3072),
        text=TowerShape(width=512, layers=12, heads=8, mlp=2048),
        patch=32, grid=7, embedding=512, context=77, vocabulary=49408,
    ),
    "vit-l-14-336": ClipShape(
        vision=TowerShape(width=1024, layers=24, heads=16, mlp=4096),
        text=TowerShape(width=768, layers=12, heads=12, mlp=3072),
        patch=14, grid=24, embedding=768, context=77, vocabulary=49408,
    ),
}  # fmt: skip

ADAPTER_KINDS = ("document", "published", "published-relu")


def seeded(seed, name):
    return torch.Generator().manual_seed(zlib.crc32(f"{seed}/{name}".encode()))


def distribution(name, tensor, tower):
    """
    (mean, deviation) of a weight. Like CLIP's initialisation, so that the residual stream keeps its
    size over the depth, but with biases, norms and positions large enough that losing one shows.
    """
    width = tower.width
    if "ln_" in name:
        return (1.0, 0.2) if name.endswith("weight") else (0.0, 0.1)
    if name == "logit_scale":
        return 4.6, 0.0
    if name.endswith("class_embedding") or name.endswith("positional_embedding"):
        return 0.0, 0.3
    if name == "token_embedding.weight":
        return 0.0, 0.5
    if name.endswith("bias"):
        return 0.0, 0.1
    if name.endswith("conv1.weight"):
        return 0.0, tensor[0].numel() ** -0.5
    if name.endswith(("out_proj.weight", "c_proj.weight")):
        return 0.0, 1.5 * width**-0.5 * (2 * tower.layers) ** -0.5
    if name.endswith("c_fc.weight"):
        return 0.0, (2 * width) ** -0.5
    if name.endswith("in_proj_weight"):
        return 0.0, 1.3 * width**-0.5
    return 0.0, width**-0.5  # projections to the joint space


def random_clip(shape, seed, dtype=torch.half):
    """OpenAI's state dict, in `dtype` where every value is exact."""
    with torch.no_grad():
        names = {name: t.shape for name, t in Clip(shape, "gelu").state_dict().items()}
        state = {}
        for name, size in names.items():
            tower = shape.vision if name.startswith("visual.") else shape.text
            values = torch.empty(size).normal_(generator=seeded(seed, name))
            mean, deviation = distribution(name, values, tower)
            state[name] = values.mul_(deviation).add_(mean).to(dtype)
        return state


def train_adapter(modules, learning_rate, seed, steps=3):
    """Xavier uniform, then some Adam steps on random gradients: (state dict, optimizer's)."""
    optimizer = torch.optim.Adam(modules.parameters(), lr=learning_rate, betas=(0.5, 0.999))
    with torch.no_grad():
        for name, parameter in modules.named_parameters():
            bound = (6 / sum(parameter.shape)) ** 0.5
            parameter.uniform_(-bound, bound, generator=seeded(seed, name))
    for step in range(steps):
        for name, parameter in modules.named_parameters():
            generator = seeded(seed, f"{name}/gradient/{step}")
            parameter.grad = 1e-3 * torch.randn(parameter.shape, generator=generator)
        optimizer.step()
    return modules.state_dict(), optimizer.state_dict()


def write_adapters(folder, shape, kind, seed, text=True, image=True, optimizer=True, epoch=20):
    """text_adapter.pth and image_adapter_<epoch>.pth, as the training writes them."""
    os.makedirs(folder, exist_ok=True)
    jobs = []
    if text:
        modules = make_text_adapter(kind, shape.text.width, shape.embedding, shape.text.layers // 4)
        jobs.append(("text", "text_adapter.pth", 5, 1e-5, modules))
    if image:
        vision = shape.vision
        modules = make_image_adapter(kind, vision.width, shape.embedding, vision.layers // 4)
        jobs.append(("image", f"image_adapter_{epoch}.pth", epoch, 5e-4, modules))
    for side, file, epochs, learning_rate, modules in jobs:
        state, adam = train_adapter(modules, learning_rate, f"{seed}/{side}")
        content = {"epoch": epochs, f"{side}_adapter": copy.deepcopy(state)}
        if optimizer:
            content[f"{side}_optimizer"] = adam
        torch.save(content, os.path.join(folder, file))


def hugging_face(file):
    return lambda folder, state, shape, activation: layouts.write_hugging_face(
        folder, state, shape, activation, file
    )


def open_clip(file):
    return lambda folder, state, shape, activation: layouts.write_open_clip(
        folder, state, shape, activation, file
    )


# Layout -> (file or folder under the output, writer(path, state, shape, activation)).
LAYOUTS = {
    "torchscript": (
        "openai.pt",
        lambda p, state, shape, _: layouts.write_torchscript(p, state, shape),
    ),
    "state-dict": ("state_dict.pt", lambda p, state, *_: layouts.write_state_dict(p, state)),
    "state-dict-wrapped": (
        "wrapped.pt",
        lambda p, state, *_: layouts.write_state_dict(p, state, prefix="module.", wrap=True),
    ),
    "huggingface-bin": ("huggingface-bin", hugging_face("pytorch_model.bin")),
    "huggingface-safetensors": ("huggingface-safetensors", hugging_face("model.safetensors")),
    "openclip-bin": ("openclip-bin", open_clip("open_clip_pytorch_model.bin")),
    "openclip-safetensors": ("openclip-safetensors", open_clip("open_clip_model.safetensors")),
}


def write_layouts(output, shape, seed, names, activation):
    """Writes one layout after the other; yields the path of each."""
    os.makedirs(output, exist_ok=True)
    state = random_clip(shape, seed)
    for name in names:
        file, write = LAYOUTS[name]
        path = os.path.join(output, file)
        write(path, state, shape, activation)
        yield path


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--config", choices=CONFIGS, default="tiny")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--vocabulary-size", type=int, help="512 + merges + 2; else the config's")
    parser.add_argument(
        "--layout", choices=LAYOUTS, action="append", help="may repeat; default all"
    )
    parser.add_argument(
        "--activation",
        choices=("quick_gelu", "gelu"),
        default="quick_gelu",
        help="what the Hugging Face and open_clip configurations say",
    )
    parser.add_argument(
        "--adapters",
        choices=ADAPTER_KINDS,
        action="append",
        help="write adapters-KIND as well; may repeat",
    )
    parser.add_argument("--output", required=True, metavar="FOLDER")
    arguments = parser.parse_args()
    shape = CONFIGS[arguments.config]
    if arguments.vocabulary_size:
        shape = replace(shape, vocabulary=arguments.vocabulary_size)
    names = arguments.layout or LAYOUTS
    for path in write_layouts(arguments.output, shape, arguments.seed, names, arguments.activation):
        print(path)
    for kind in arguments.adapters or ():
        folder = os.path.join(arguments.output, f"adapters-{kind}")
        write_adapters(folder, shape, kind, arguments.seed)
        print(folder)


if __name__ == "__main__":
    main()
