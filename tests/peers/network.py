"""The forward of AA-CLIP as peers run it: PyTorch modules of fixed shapes, for running and export.

The same model as tests/reference/aaclip_torch.py, with PyTorch's fused attention and the positional
table of the image's size worked out beforehand. Shapes in comments as there.
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

REFERENCE = Path(__file__).resolve().parent.parent / "reference"
sys.path.insert(0, str(REFERENCE))

import aaclip_torch  # noqa: E402
import checkpoint_layouts as layouts  # noqa: E402

PROFILE, DOMAIN = "document", "Industrial"


def fused_attention(self, x, causal=False, value_value=False):  # (B, T, D)
    batch, tokens, width = x.shape
    qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias)
    qkv = qkv.view(batch, tokens, 3, self.heads, width // self.heads)
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    if value_value:
        q = k = v
    mixed = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    return self.out_proj(mixed.transpose(1, 2).reshape(batch, tokens, width))


aaclip_torch.Attention.forward = fused_attention


def load(checkpoint, adapters):
    return layouts.load_model(str(checkpoint), str(adapters), PROFILE)


class Detection(nn.Module):
    """RGB bytes (S, S, 3) -> map (S, S) and score (); (B, S, S, 3) -> (B, S, S) and (B)."""

    def __init__(self, model, pair, size):
        super().__init__()
        visual = model.clip.visual
        grid = size // visual.conv1.kernel_size[0]
        with torch.no_grad():
            table = aaclip_torch.resample_position(visual.positional_embedding, grid)
        visual.positional_embedding = nn.Parameter(table.clone(), requires_grad=False)
        self.model, self.size = model, size
        self.register_buffer("pair", pair)
        for name in ("mean", "std"):
            values = torch.tensor(getattr(model.profile, name)).view(3, 1, 1)
            self.register_buffer(name, values)

    def forward(self, rgb):
        single = rgb.dim() == 3
        pixels = (rgb[None] if single else rgb).permute(0, 3, 1, 2).float() / 255
        seg, det = self.model.encode_image((pixels - self.mean) / self.std)
        grids = [
            aaclip_torch.blurred_grid(aaclip_torch.similarity(s, self.pair), DOMAIN) for s in seg
        ]
        score = aaclip_torch.image_score(det, self.pair)
        maps = aaclip_torch.anomaly_map(grids, self.size)
        return (maps[0], score[0]) if single else (maps, score)


class Prompts(nn.Module):
    """Ids (P, L), filled up with zeros behind the end token -> text features (P, E)."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, ids):
        clip, adapter = self.model.clip, self.model.text_adapter
        x = clip.token_embedding(ids) + clip.positional_embedding[: ids.shape[1]]
        for i, block in enumerate(clip.transformer.resblocks):
            x = block(x, causal=True)
            if i < len(adapter) - 1:
                x = aaclip_torch.blend(x, adapter[i], self.model.weight)
        x = clip.ln_final(x)
        ends = ids.argmax(-1)[:, None, None].expand(-1, 1, x.shape[-1])
        return adapter[-1](x.gather(1, ends)[:, 0])
