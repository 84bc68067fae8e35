"""AA-CLIP inference in plain PyTorch, in both profiles: the judge of the library.

Parameter names are those of OpenAI's CLIP and of the adapter files, so that their state dicts load
with `load_state_dict` as they are. Shapes in comments: P prompts, L tokens of a text, T = 1 + G * G
image tokens, G patches a side, D width of a tower, E embedding, S side of the image in pixels.
"""

from dataclasses import dataclass

import numpy
import torch
import torch.nn.functional as F
from torch import nn


@dataclass(frozen=True)
class TowerShape:
    width: int
    layers: int
    heads: int
    mlp: int
    layer_norm_eps: float = 1e-5


@dataclass(frozen=True)
class ClipShape:
    vision: TowerShape
    text: TowerShape
    patch: int  # side in pixels
    grid: int  # patches a side of the trained positional table
    embedding: int
    context: int
    vocabulary: int


@dataclass(frozen=True)
class Profile:
    mean: tuple
    std: tuple
    exact_gelu: bool  # use the exact GELU whatever the checkpoint was trained with
    renormalise_class: bool  # L2-normalise the mean of the prompt vectors once more


PROFILES = {
    "document": Profile((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), False, False),
    "published": Profile(
        (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711), True, True
    ),
}

# Kernel size and sigma of the blur on the grid.
DOMAIN_BLUR = {"Industrial": (7, 1.0), "Medical": (9, 1.5)}

ACTIVATIONS = {"gelu": F.gelu, "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x)}


def default_levels(layers):
    """The blocks (counted from 1) whose patch tokens are kept: 6, 12, 18, 24 of 24."""
    return [layers * k // 4 for k in (1, 2, 3, 4)]


def default_surgery_blocks(layers):
    """How many of the last blocks attend value to value in stage 1: 19 of 24."""
    return layers * 19 // 24


class Attention(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.heads = shape.heads
        self.in_proj_weight = nn.Parameter(torch.zeros(3 * shape.width, shape.width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * shape.width))
        self.out_proj = nn.Linear(shape.width, shape.width)

    def forward(self, x, causal=False, value_value=False):  # (B, T, D)
        batch, tokens, width = x.shape
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        qkv = qkv.view(batch, tokens, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, heads, T, D / heads)
        if value_value:
            q = k = v
        logits = q @ k.transpose(-1, -2) / (width // self.heads) ** 0.5
        if causal:
            future = torch.ones(tokens, tokens, dtype=torch.bool).triu(1)
            logits = logits.masked_fill(future, float("-inf"))
        mixed = logits.softmax(-1) @ v
        return self.out_proj(mixed.transpose(1, 2).reshape(batch, tokens, width))


class Mlp(nn.Module):
    def __init__(self, shape, activation):
        super().__init__()
        self.c_fc = nn.Linear(shape.width, shape.mlp)
        self.c_proj = nn.Linear(shape.mlp, shape.width)
        self.activation = ACTIVATIONS[activation]

    def forward(self, x):
        return self.c_proj(self.activation(self.c_fc(x)))


class Block(nn.Module):
    def __init__(self, shape, activation):
        super().__init__()
        self.ln_1 = nn.LayerNorm(shape.width, eps=shape.layer_norm_eps)
        self.attn = Attention(shape)
        self.ln_2 = nn.LayerNorm(shape.width, eps=shape.layer_norm_eps)
        self.mlp = Mlp(shape, activation)

    def forward(self, x, causal=False, value_value=False):
        x = x + self.attn(self.ln_1(x), causal, value_value)
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    def __init__(self, shape, activation):
        super().__init__()
        self.resblocks = nn.ModuleList(Block(shape, activation) for _ in range(shape.layers))


class VisionTower(nn.Module):
    def __init__(self, shape, activation):
        super().__init__()
        tower = shape.vision
        self.conv1 = nn.Conv2d(3, tower.width, shape.patch, stride=shape.patch, bias=False)
        self.class_embedding = nn.Parameter(torch.zeros(tower.width))
        self.positional_embedding = nn.Parameter(torch.zeros(1 + shape.grid**2, tower.width))
        self.ln_pre = nn.LayerNorm(tower.width, eps=tower.layer_norm_eps)
        self.transformer = Transformer(tower, activation)
        self.ln_post = nn.LayerNorm(tower.width, eps=tower.layer_norm_eps)
        self.proj = nn.Parameter(torch.zeros(tower.width, shape.embedding))

    def embed(self, pixels):  # (B, 3, S, S) -> (B, T, D)
        patches = self.conv1(pixels)
        grid = patches.shape[-1]
        patches = patches.flatten(2).transpose(1, 2)
        first = self.class_embedding.expand(patches.shape[0], 1, -1)
        position = resample_position(self.positional_embedding, grid)
        return self.ln_pre(torch.cat([first, patches], 1) + position)


class Clip(nn.Module):
    def __init__(self, shape, activation):
        super().__init__()
        self.shape = shape
        self.visual = VisionTower(shape, activation)
        self.transformer = Transformer(shape.text, activation)
        self.token_embedding = nn.Embedding(shape.vocabulary, shape.text.width)
        self.positional_embedding = nn.Parameter(torch.zeros(shape.context, shape.text.width))
        self.ln_final = nn.LayerNorm(shape.text.width, eps=shape.text.layer_norm_eps)
        self.text_projection = nn.Parameter(torch.zeros(shape.text.width, shape.embedding))
        self.logit_scale = nn.Parameter(torch.zeros(()))


def resample_position(table, grid):
    """The table (1 + trained^2, D) for another grid: (1 + grid^2, D), class row untouched."""
    trained = round((table.shape[0] - 1) ** 0.5)
    if trained == grid:
        return table
    first, rest = table[:1], table[1:]
    rest = rest.T.reshape(1, -1, trained, trained)
    rest = F.interpolate(rest, (grid, grid), mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([first, rest.flatten(2)[0].T])


class DocumentAdapter(nn.Module):
    def __init__(self, width, slope=0.2):
        super().__init__()
        self.slope = slope
        self.fc1 = nn.Linear(width, width // 2, bias=False)
        self.fc2 = nn.Linear(width // 2, width, bias=False)

    def forward(self, x):
        return self.fc2(F.leaky_relu(self.fc1(x), self.slope))


class PublishedAdapter(nn.Module):
    def __init__(self, width, slope=0.01):
        super().__init__()
        self.fc = nn.Sequential(nn.Linear(width, width, bias=False), nn.LeakyReLU(slope))

    def forward(self, x):
        return self.fc(x)


class DocumentProjection(nn.Module):
    def __init__(self, width, embedding, slope=0.2):
        """A slope of 1 leaves the activation out."""
        super().__init__()
        self.slope = slope
        self.fc = nn.Linear(width, embedding, bias=False)

    def forward(self, x):
        return F.leaky_relu(self.fc(x), self.slope)


class PublishedProjection(nn.Module):
    def __init__(self, width, embedding, relu, slope=0.01):
        super().__init__()
        self.fc = nn.Linear(width, embedding, bias=False)
        if relu:
            self.fc = nn.Sequential(self.fc, nn.LeakyReLU(slope))

    def forward(self, x):
        return self.fc(x)


def make_text_adapter(kind, width, embedding, blocks):
    """`blocks` layer adapters and the last projection. `kind`: document, published(-relu)."""
    if kind == "document":
        adapters, last = [DocumentAdapter(width) for _ in range(blocks)], DocumentProjection
        return nn.ModuleList(adapters + [last(width, embedding)])
    adapters = [PublishedAdapter(width) for _ in range(blocks)]
    return nn.ModuleList(adapters + [PublishedProjection(width, embedding, relu=True)])


def make_image_adapter(kind, width, embedding, blocks, levels=4):
    """`kind`: document, published, published-relu (the release's --relu)."""

    def projection():
        if kind == "document":
            return DocumentProjection(width, embedding)
        return PublishedProjection(width, embedding, relu=kind == "published-relu")

    layer = DocumentAdapter if kind == "document" else PublishedAdapter
    return nn.ModuleDict(
        {
            "layer_adapters": nn.ModuleList(layer(width) for _ in range(blocks)),
            "seg_proj": nn.ModuleList(projection() for _ in range(levels)),
            "det_proj": projection(),
        }
    )


def adapter_kind(state):
    """Which kind a state dict of text or image adapters is, told by its tensor names."""
    if any(".fc1." in name for name in state):
        return "document"
    return "published-relu" if "det_proj.fc.0.weight" in state else "published"


def blend(x, adapter, weight):
    adapted = adapter(x)
    adapted = adapted * x.norm(dim=-1, keepdim=True) / adapted.norm(dim=-1, keepdim=True)
    return weight * adapted + (1 - weight) * x


class AaClip(nn.Module):
    def __init__(
        self, shape, profile, activation="quick_gelu", text_adapter=None, image_adapter=None
    ):
        """
        `profile`: a Profile or its name; `activation`: the checkpoint's; adapters as made by
        make_text_adapter and its pair.
        """
        super().__init__()
        self.profile = PROFILES.get(profile, profile)
        self.clip = Clip(shape, "gelu" if self.profile.exact_gelu else activation)
        self.text_adapter = text_adapter
        self.image_adapter = image_adapter
        self.levels = default_levels(shape.vision.layers)
        self.text_weight = self.image_weight = 0.1

    def normalise(self, rgb):  # (S, S, 3) u8 -> (1, 3, S, S)
        dtype = self.clip.logit_scale.dtype
        pixels = torch.from_numpy(numpy.array(rgb)).to(dtype).permute(2, 0, 1) / 255
        mean = torch.tensor(self.profile.mean, dtype=dtype).view(3, 1, 1)
        std = torch.tensor(self.profile.std, dtype=dtype).view(3, 1, 1)
        return ((pixels - mean) / std)[None]

    def encode_text(self, ids):
        """Lists of ids of any length up to the context, each with its end token -> (P, E)."""
        longest = max(len(row) for row in ids)
        ids = torch.tensor([list(row) + [0] * (longest - len(row)) for row in ids])
        clip = self.clip
        x = clip.token_embedding(ids) + clip.positional_embedding[:longest]
        for i, block in enumerate(clip.transformer.resblocks):
            x = block(x, causal=True)
            if self.text_adapter is not None and i < len(self.text_adapter) - 1:
                x = blend(x, self.text_adapter[i], self.text_weight)
        x = clip.ln_final(x)[torch.arange(len(ids)), ids.argmax(-1)]
        if self.text_adapter is None:
            return x @ clip.text_projection
        return self.text_adapter[-1](x)

    def class_vector(self, features):  # (P, E) -> (E)
        mean = F.normalize(features, dim=-1).mean(0)
        return F.normalize(mean, dim=-1) if self.profile.renormalise_class else mean

    def run_vision(self, pixels):
        """The residual stream after ln_pre, then after every block (blended): [(B, T, D)]."""
        stream = [self.clip.visual.embed(pixels)]
        adapters = self.image_adapter["layer_adapters"] if self.image_adapter is not None else []
        for i, block in enumerate(self.clip.visual.transformer.resblocks):
            x = block(stream[-1])
            stream.append(blend(x, adapters[i], self.image_weight) if i < len(adapters) else x)
        return stream

    def encode_image(self, pixels):
        """Level tokens [(B, G * G, E)], each patch of unit length, and detection token (B, E)."""
        stream = self.run_vision(pixels)
        return self.project([stream[level][:, 1:] for level in self.levels])

    def project(self, tokens):
        tokens = [self.clip.visual.ln_post(t) for t in tokens]
        if self.image_adapter is None:
            seg = [t @ self.clip.visual.proj for t in tokens]
            det = seg[-1]
        else:
            seg = [proj(t) for proj, t in zip(self.image_adapter["seg_proj"], tokens)]
            det = self.image_adapter["det_proj"](tokens[-1])
        return [F.normalize(s, dim=-1) for s in seg], F.normalize(det, dim=-1).mean(1)

    def encode_surgery(self, pixels, surgery_blocks):
        """
        Stage 1 features of the frozen tower: [(B, G * G, E)] a level, from value-value attention in
        the last blocks, and the plain tower's class feature (B, E); both of unit length, unadded.
        """
        visual = self.clip.visual
        plain = surgical = visual.embed(pixels)
        kept = []
        for i, block in enumerate(visual.transformer.resblocks):
            plain = block(plain)
            in_surgery = i >= self.clip.shape.vision.layers - surgery_blocks
            surgical = block(surgical, value_value=in_surgery)
            if i + 1 in self.levels:
                kept.append(surgical[:, 1:])
        seg = [F.normalize(visual.ln_post(t) @ visual.proj, dim=-1) for t in kept]
        return seg, F.normalize(visual.ln_post(plain[:, 0]) @ visual.proj, dim=-1)


def similarity(seg, pair):
    """(B, G * G, E) and [normal, abnormal] (2, E) -> (B, G * G, 2)."""
    return 100 * seg @ pair.T


def gaussian_blur(grid, size, sigma):
    """(B, 1, G, G), separable Gaussian of `size` taps, border 'reflect' (edge not repeated)."""
    x = torch.arange(size, dtype=grid.dtype, device=grid.device) - size // 2
    taps = torch.exp(-(x**2) / (2 * sigma**2))
    taps = taps / taps.sum()
    grid = F.pad(grid, [size // 2] * 4, mode="reflect")
    grid = F.conv2d(grid, taps.view(1, 1, 1, size))
    return F.conv2d(grid, taps.view(1, 1, size, 1))


def blurred_grid(similarities, domain):
    """(B, G * G, 2) -> (B, 1, G, G), one scale of the anomaly map before it is enlarged."""
    normal, abnormal = similarities.unbind(-1)
    side = round(normal.shape[1] ** 0.5)
    grid = ((abnormal + 1 - normal) / 2).view(-1, 1, side, side)
    return gaussian_blur(grid, *DOMAIN_BLUR[domain])


def anomaly_map(grids, size):
    """Blurred grids of all scales -> (B, S, S)."""
    enlarged = [F.interpolate(g, (size, size), mode="bilinear", align_corners=True) for g in grids]
    return torch.stack(enlarged).sum(0)[:, 0]


def image_score(det, pair):
    """(B, E) and (2, E) -> (B)."""
    return (det @ pair[1] + 1) / 2
