"""Writes and reads CLIP in the layouts in which people have it; safetensors by hand.

In memory a checkpoint is OpenAI's state dict (the canonical names), without the three shape scalars
of the archive. `config` values are those of aaclip_torch.ClipShape.
"""

import glob
import json
import os
import struct

import numpy
import torch
from torch import nn

from aaclip_torch import (
    AaClip,
    ClipShape,
    TowerShape,
    adapter_kind,
    make_image_adapter,
    make_text_adapter,
)

SHAPE_SCALARS = ("input_resolution", "context_length", "vocab_size")

SAFETENSORS_TYPES = {
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float32: "F32",
    torch.float64: "F64",
    torch.int64: "I64",
}


def write_safetensors(path, tensors, metadata=None):
    """`tensors`: name -> tensor, or name -> (dtype, shape, function that makes the tensor)."""
    entries = {}
    for name, tensor in tensors.items():
        if isinstance(tensor, torch.Tensor):
            tensor = (tensor.dtype, tuple(tensor.shape), lambda t=tensor: t)
        entries[name] = tensor
    header, offset = {"__metadata__": metadata or {"format": "pt"}}, 0
    for name, (dtype, shape, _) in entries.items():
        size = (
            int(numpy.prod(shape, dtype=numpy.int64)) * torch.empty(0, dtype=dtype).element_size()
        )
        header[name] = {
            "dtype": SAFETENSORS_TYPES[dtype],
            "shape": list(shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for dtype, _, make in entries.values():
            tensor = make().to(dtype).contiguous()
            bits = tensor.view(torch.int16) if dtype == torch.bfloat16 else tensor
            file.write(bits.numpy().tobytes())


def read_safetensors(path):
    types = {tag: dtype for dtype, tag in SAFETENSORS_TYPES.items()}
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        data = bytearray(file.read())
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        start, end = entry["data_offsets"]
        # frombuffer refuses an offset that is not a multiple of the element size.
        flat = torch.frombuffer(data[start:end], dtype=types[entry["dtype"]])
        tensors[name] = flat.reshape(entry["shape"])
    return tensors


def is_half(name):
    """Whether OpenAI's convert_weights makes it fp16: matrices and biases, not norms or tables."""
    if name.endswith(("class_embedding", "positional_embedding", "logit_scale")):
        return False
    return not any(part.startswith("ln_") or part == "token_embedding" for part in name.split("."))


class Branch(nn.Module):
    """A node of the module tree whose attributes carry OpenAI's names."""

    def forward(self, x):
        return x


def module_tree(state):
    root = Branch()
    for name, tensor in state.items():
        node = root
        *path, last = name.split(".")
        for part in path:
            if part not in node._modules:
                node.add_module(part, Branch())
            node = node._modules[part]
        if last in SHAPE_SCALARS:
            node.register_buffer(last, tensor)
        else:
            node.register_parameter(last, nn.Parameter(tensor, requires_grad=False))
    return root


def write_torchscript(path, state, shape):
    """OpenAI's archive: a traced module in mixed precision with three shape scalars."""
    scalars = (shape.patch * shape.grid, shape.context, shape.vocabulary)
    tree = {n: t.half() if is_half(n) else t.float() for n, t in state.items()}
    tree.update({n: torch.tensor(v) for n, v in zip(SHAPE_SCALARS, scalars)})
    torch.jit.trace(module_tree(tree), torch.zeros(1)).save(path)


def write_state_dict(path, state, prefix="", wrap=False, dtype=torch.float16):
    """torch.save of a state dict; `wrap` puts it under "state_dict" beside an epoch."""
    state = {prefix + n: t.to(dtype) for n, t in state.items()}
    torch.save({"epoch": 32, "state_dict": state} if wrap else state, path)


# OpenAI's name -> Hugging Face's, outside the blocks. The projections are transposed as well.
HUGGING_FACE_NAMES = {
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.ln_pre.weight": "vision_model.pre_layrnorm.weight",
    "visual.ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "visual.ln_post.weight": "vision_model.post_layernorm.weight",
    "visual.ln_post.bias": "vision_model.post_layernorm.bias",
    "visual.proj": "visual_projection.weight",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
    "text_projection": "text_projection.weight",
    "logit_scale": "logit_scale",
}

HUGGING_FACE_PARTS = {
    "attn.out_proj": "self_attn.out_proj",
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}

TRANSPOSED = ("visual.proj", "text_projection")


def hugging_face_entries(state, dtype):
    """name -> (dtype, shape, function that makes the tensor), so that one is made at a time."""
    entries = {}

    def add(name, view):
        entries[name] = (dtype, tuple(view.shape), lambda: view.to(dtype).contiguous().clone())

    for name, tensor in state.items():
        if name in HUGGING_FACE_NAMES:
            add(HUGGING_FACE_NAMES[name], tensor.T if name in TRANSPOSED else tensor)
            continue
        tower, rest = name.split("transformer.resblocks.")
        layer, rest = rest.split(".", 1)
        stem = f"{'vision' if tower else 'text'}_model.encoder.layers.{layer}."
        part, kind = rest.replace("in_proj_", "in_proj.").rsplit(".", 1)
        if part == "attn.in_proj":
            for letter, rows in zip("qkv", tensor.chunk(3)):
                add(f"{stem}self_attn.{letter}_proj.{kind}", rows)
        else:
            add(f"{stem}{HUGGING_FACE_PARTS[part]}.{kind}", tensor)
    for tower, table in (
        ("vision", "visual.positional_embedding"),
        ("text", "positional_embedding"),
    ):
        ids = torch.arange(len(state[table]))[None]
        entries[f"{tower}_model.embeddings.position_ids"] = (ids.dtype, ids.shape, lambda i=ids: i)
    return entries


def from_hugging_face(state):
    canonical = {}
    for name, other in HUGGING_FACE_NAMES.items():
        tensor = state[other]
        canonical[name] = tensor.T.contiguous() if name in TRANSPOSED else tensor
    for side, prefix in (("vision_model", "visual."), ("text_model", "")):
        layer = 0
        while f"{side}.encoder.layers.{layer}.layer_norm1.weight" in state:
            source = f"{side}.encoder.layers.{layer}."
            target = f"{prefix}transformer.resblocks.{layer}."
            for kind in ("weight", "bias"):
                qkv = [state[f"{source}self_attn.{letter}_proj.{kind}"] for letter in "qkv"]
                canonical[f"{target}attn.in_proj_{kind}"] = torch.cat(qkv)
                for part, other in HUGGING_FACE_PARTS.items():
                    canonical[f"{target}{part}.{kind}"] = state[f"{source}{other}.{kind}"]
            layer += 1
    return canonical


def write_hugging_face_config(folder, shape, activation):
    def tower(t, **more):
        return {
            "hidden_size": t.width,
            "intermediate_size": t.mlp,
            "num_hidden_layers": t.layers,
            "num_attention_heads": t.heads,
            "hidden_act": activation,
            "layer_norm_eps": t.layer_norm_eps,
            "projection_dim": shape.embedding,
            **more,
        }

    config = {
        "architectures": ["CLIPModel"],
        "model_type": "clip",
        "projection_dim": shape.embedding,
        "vision_config": tower(
            shape.vision,
            model_type="clip_vision_model",
            image_size=shape.patch * shape.grid,
            patch_size=shape.patch,
        ),
        "text_config": tower(
            shape.text,
            model_type="clip_text_model",
            max_position_embeddings=shape.context,
            vocab_size=shape.vocabulary,
        ),
    }
    write_json(os.path.join(folder, "config.json"), config)


def write_hugging_face(folder, state, shape, activation, file, dtype=torch.float32):
    """`file`: "model.safetensors" or "pytorch_model.bin"."""
    os.makedirs(folder, exist_ok=True)
    entries = hugging_face_entries(state, dtype)
    path = os.path.join(folder, file)
    if file.endswith(".safetensors"):
        write_safetensors(path, entries)
    else:
        torch.save({name: make() for name, (_, _, make) in entries.items()}, path)
    write_hugging_face_config(folder, shape, activation)


def write_open_clip_config(folder, shape, activation):
    vision, text = shape.vision, shape.text
    model = {
        "embed_dim": shape.embedding,
        "vision_cfg": {
            "image_size": shape.patch * shape.grid,
            "layers": vision.layers,
            "width": vision.width,
            "head_width": vision.width // vision.heads,
            "mlp_ratio": vision.mlp / vision.width,
            "patch_size": shape.patch,
        },
        "text_cfg": {
            "context_length": shape.context,
            "vocab_size": shape.vocabulary,
            "width": text.width,
            "heads": text.heads,
            "layers": text.layers,
        },
    }
    # open_clip's own configurations leave out what is default.
    if text.mlp != 4 * text.width:
        model["text_cfg"]["mlp_ratio"] = text.mlp / text.width
    if activation == "quick_gelu":
        model["quick_gelu"] = True
    write_json(os.path.join(folder, "open_clip_config.json"), {"model_cfg": model})


def write_open_clip(folder, state, shape, activation, file, dtype=torch.float32):
    """`file`: "open_clip_model.safetensors" or "open_clip_pytorch_model.bin"."""
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, file)
    if file.endswith(".safetensors"):
        write_safetensors(
            path, {n: (dtype, tuple(t.shape), lambda t=t: t) for n, t in state.items()}
        )
    else:
        torch.save({n: t.to(dtype) for n, t in state.items()}, path)
    write_open_clip_config(folder, shape, activation)


FOLDER_FILES = (
    "model.safetensors",
    "pytorch_model.bin",
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.bin",
)


def read_state(path):
    """The canonical state dict of a file of any layout above."""
    if path.endswith(".safetensors"):
        state = read_safetensors(path)
    else:
        try:
            state = torch.jit.load(path, map_location="cpu").state_dict()
        except RuntimeError:
            state = torch.load(path, map_location="cpu")
    state = state.get("state_dict", state)
    state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    if "visual_projection.weight" in state:
        return from_hugging_face(state)
    return {name: tensor for name, tensor in state.items() if name not in SHAPE_SCALARS}


def tower_shape(state, prefix, heads=None, epsilon=1e-5):
    stem = prefix + "transformer.resblocks."
    mlp, width = state[stem + "0.mlp.c_fc.weight"].shape
    layers = len({n[len(stem) :].split(".")[0] for n in state if n.startswith(stem)})
    return TowerShape(width, layers, heads or width // 64, mlp, epsilon)


def read_config(folder):
    """(vision heads, text heads, epsilon of both, activation) of the config beside the weights."""
    config = os.path.join(folder, "config.json")
    open_clip = os.path.join(folder, "open_clip_config.json")
    if os.path.exists(open_clip):
        model = read_json(open_clip)["model_cfg"]
        vision, text = model["vision_cfg"], model["text_cfg"]
        heads = vision["width"] // vision.get("head_width", 64)
        activation = "quick_gelu" if model.get("quick_gelu", False) else "gelu"
        return heads, text["heads"], 1e-5, 1e-5, activation
    if os.path.exists(config):
        vision, text = read_json(config)["vision_config"], read_json(config)["text_config"]
        return (
            vision["num_attention_heads"],
            text["num_attention_heads"],
            vision["layer_norm_eps"],
            text["layer_norm_eps"],
            vision["hidden_act"],
        )
    return None, None, 1e-5, 1e-5, "quick_gelu"


def read_checkpoint(path):
    """A file or a folder -> (canonical state dict, ClipShape, activation)."""
    folder = os.path.dirname(path)
    if os.path.isdir(path):
        folder = path
        present = [f for f in FOLDER_FILES if os.path.exists(os.path.join(path, f))]
        if not present:
            raise FileNotFoundError(f"{path}: none of {', '.join(FOLDER_FILES)}")
        path = os.path.join(path, present[0])
    state = read_state(path)
    vision_heads, text_heads, vision_epsilon, text_epsilon, activation = read_config(folder)
    shape = ClipShape(
        vision=tower_shape(state, "visual.", vision_heads, vision_epsilon),
        text=tower_shape(state, "", text_heads, text_epsilon),
        patch=state["visual.conv1.weight"].shape[-1],
        grid=round((len(state["visual.positional_embedding"]) - 1) ** 0.5),
        embedding=state["visual.proj"].shape[1],
        context=len(state["positional_embedding"]),
        vocabulary=len(state["token_embedding.weight"]),
    )
    return state, shape, activation


def load_adapter(folder, side, make, tower, embedding):
    """The adapter of a folder with the highest epoch in its name, as a module; None if none."""
    files = glob.glob(os.path.join(folder, f"{side}_adapter*.pth"))
    if not files:
        return None
    file = max(files, key=lambda name: (len(name), name))
    state = torch.load(file, map_location="cpu")[f"{side}_adapter"]
    modules = make(adapter_kind(state), tower.width, embedding, tower.layers // 4)
    modules.load_state_dict(state)
    return modules


def load_model(checkpoint, adapters, profile):
    """AA-CLIP of a checkpoint and of a folder of adapter files (None: plain CLIP)."""
    state, shape, activation = read_checkpoint(checkpoint)
    text = image = None
    if adapters:
        text = load_adapter(adapters, "text", make_text_adapter, shape.text, shape.embedding)
        image = load_adapter(adapters, "image", make_image_adapter, shape.vision, shape.embedding)
    model = AaClip(shape, profile, activation, text, image)
    model.clip.load_state_dict(state)
    return model.eval()


def read_json(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1)
        file.write("\n")
