#!/usr/bin/env python3
"""Trains aaclip-mini: a small CLIP on pictures and captions that aaclip-generate has written.

    for i in $(seq 101 116); do
        aaclip-generate --out captions-$i --captions 4000 --size 160 --seed $i
    done
    python3 train.py $(for i in $(seq 101 116); do echo --captions captions-$i; done) --out new-mini

Needs PyTorch 2, NumPy, Pillow and safetensors; 6 GB of memory for the pictures. Writes
clip.safetensors (float16, OpenAI's names) and merges.txt (CLIP's format) to --out. --state keeps what
a later run goes on from. Without a GPU take --batch 96 and fewer --steps.

Shapes in comments: B pictures of a batch, L tokens of a text, T = 1 + P tokens of a picture, P
patches, E embedding.
"""

import argparse
import collections
import concurrent.futures
import json
import math
import os
import re
import sys
import time
from pathlib import Path

import numpy
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tests" / "reference"))
from aaclip_torch import PROFILES, Attention, Clip, ClipShape, Mlp, TowerShape  # noqa: E402
from tokenizer import WORD, Tokenizer, byte_symbols  # noqa: E402

VISION = TowerShape(width=128, layers=8, heads=2, mlp=512)
TEXT = TowerShape(width=128, layers=4, heads=2, mlp=512)
PATCH, GRID, EMBEDDING, CONTEXT = 8, 12, 128, 77
MOST_MERGES = 512
GROUP = 32  # pictures of one class that are told apart word by word ...
SCENES = 8  # ... so many scenes, each with other small things


def words_of(texts):
    """Lower-case word -> how often."""
    counts = collections.Counter()
    for text in texts:
        counts.update(WORD.findall(" ".join(text.split()).lower()))
    return counts


def learn_merges(counts):
    """Byte-pair encoding: the most frequent pair first, until every word is one symbol."""
    symbol = byte_symbols()
    words = {}
    for word, count in counts.items():
        parts = [symbol[b] for b in word.encode()]
        parts[-1] += "</w>"
        words[tuple(parts)] = words.get(tuple(parts), 0) + count
    merges = []
    while len(merges) < MOST_MERGES:
        pairs = collections.Counter()
        for parts, count in words.items():
            for pair in zip(parts, parts[1:]):
                pairs[pair] += count
        if not pairs:
            break
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        merged_words = {}
        for parts, count in words.items():
            merged, i = [], 0
            while i < len(parts):
                width = 2 if parts[i : i + 2] == best else 1
                merged.append("".join(parts[i : i + width]))
                i += width
            merged_words[tuple(merged)] = count
        words = merged_words
    return merges


def prompt_texts():
    """The texts that libaaclip's profiles ask with: their words, too, become symbols."""
    for name in ("document", "published"):
        with open(HERE.parents[1] / "tests" / "reference" / f"prompts-{name}.json") as file:
            prompts = json.load(file)
        yield from (re.sub(r"[{}]", "", text) for group in prompts.values() for text in group)


def read_captions(folders):
    rows = []
    for folder in folders:
        with open(Path(folder) / "captions.jsonl") as file:
            rows += [{**row, "path": Path(folder) / row["image_path"]} for row in map(json.loads, file)]
    return rows


def read_pictures(rows):
    """(N, 3, S, S) bytes."""
    side = Image.open(rows[0]["path"]).size[0]
    pictures = numpy.empty((len(rows), 3, side, side), numpy.uint8)

    def read(picture, row):
        picture[:] = numpy.asarray(Image.open(row["path"]).convert("RGB")).transpose(2, 0, 1)

    with concurrent.futures.ThreadPoolExecutor() as pool:
        collections.deque(pool.map(read, pictures, rows), maxlen=0)
    return torch.from_numpy(pictures)


def read_texts(rows, tokenizer):
    """Tokens (N, L) padded with 0, and the place of each text's end (N)."""
    tokens = [tokenizer.encode(row["caption"]) for row in rows]
    longest = max(map(len, tokens))
    if longest > CONTEXT:
        raise SystemExit(f"a caption has {longest} tokens, expected at most {CONTEXT}")
    ends = torch.tensor([len(t) - 1 for t in tokens])
    return torch.tensor([t + [0] * (longest - len(t)) for t in tokens]), ends


def initialise(model):
    """As OpenAI's CLIP."""
    for tower, width, layers in (
        (model.visual.transformer, VISION.width, VISION.layers),
        (model.transformer, TEXT.width, TEXT.layers),
    ):
        for block in tower.resblocks:
            torch.nn.init.normal_(block.attn.in_proj_weight, std=width**-0.5)
            torch.nn.init.normal_(block.attn.out_proj.weight, std=width**-0.5 * (2 * layers) ** -0.5)
            torch.nn.init.normal_(block.mlp.c_fc.weight, std=(2 * width) ** -0.5)
            torch.nn.init.normal_(block.mlp.c_proj.weight, std=width**-0.5 * (2 * layers) ** -0.5)
            for linear in (block.attn.out_proj, block.mlp.c_fc, block.mlp.c_proj):
                torch.nn.init.zeros_(linear.bias)
    torch.nn.init.normal_(model.token_embedding.weight, std=0.02)
    torch.nn.init.normal_(model.positional_embedding, std=0.01)
    torch.nn.init.normal_(model.text_projection, std=TEXT.width**-0.5)
    for part in (model.visual.class_embedding, model.visual.positional_embedding, model.visual.proj):
        torch.nn.init.normal_(part, std=VISION.width**-0.5)
    torch.nn.init.constant_(model.logit_scale, math.log(1 / 0.07))


def fused_attention(self, x, causal=False, value_value=False):
    """Attention.forward in one fused operation."""
    batch, tokens, width = x.shape
    qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias)
    q, k, v = qkv.view(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
    mixed = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    return self.out_proj(mixed.transpose(1, 2).reshape(batch, tokens, width))


def fused_mlp(self, x):
    """Mlp.forward: QuickGELU by way of SiLU, its factor taken into the matrices."""
    hidden = F.silu(F.linear(x, 1.702 * self.c_fc.weight, 1.702 * self.c_fc.bias))
    return F.linear(hidden, self.c_proj.weight / 1.702, self.c_proj.bias)


def contrast(logits):
    """Each text's own picture against the others', and each picture's own text."""
    own = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


class Trained(torch.nn.Module):
    def __init__(self, vocabulary):
        super().__init__()
        shape = ClipShape(VISION, TEXT, PATCH, GRID, EMBEDDING, CONTEXT, vocabulary)
        self.clip = Clip(shape, "quick_gelu")
        initialise(self.clip)
        # between the best patches and the words; not part of CLIP, not written
        self.word_scale = torch.nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def see(self, pixels):  # (B, 3, S, S) -> class (B, E), patches (B, P, E), unit length
        visual = self.clip.visual
        x = visual.embed(pixels)
        for block in visual.transformer.resblocks:
            x = block(x)
        x = F.normalize(visual.ln_post(x) @ visual.proj, dim=-1)
        return x[:, 0], x[:, 1:]

    def read(self, tokens, ends):  # (B, L) -> text (B, E), words (B, L, E), unit length
        clip = self.clip
        x = clip.token_embedding(tokens) + clip.positional_embedding[: tokens.shape[1]]
        for block in clip.transformer.resblocks:
            x = block(x, causal=True)
        x = F.normalize(clip.ln_final(x) @ clip.text_projection, dim=-1)
        return x[torch.arange(len(x), device=x.device), ends], x

    def forward(self, pixels, tokens, ends):
        with torch.autocast("cuda", torch.bfloat16, enabled=pixels.is_cuda):
            image, patches = self.see(pixels)
            text, words = self.read(tokens, ends)
        whole = contrast(self.clip.logit_scale.exp() * image.float() @ text.float().T)
        place = torch.arange(tokens.shape[1], device=tokens.device)
        is_word = ((place > 0) & (place <= ends[:, None])).float()
        fine = sum(
            self.word_loss(patches[i : i + GROUP], words[i : i + GROUP], is_word[i : i + GROUP])
            for i in range(0, len(image), GROUP)
        ) / (len(image) // GROUP)
        return whole, fine

    def word_loss(self, patches, words, is_word):
        """Contrasts, too: a text fits a picture as its words fit each its best patch."""
        count, length = is_word.shape
        fits = words.reshape(count * length, -1) @ patches.reshape(-1, EMBEDDING).T
        best = fits.view(count, length, count, -1).amax(3).float()  # texts, words, pictures
        scores = (best * is_word[:, :, None]).sum(1) / is_word.sum(1)[:, None]
        return contrast(self.word_scale.exp() * scores)


def scenes_by_class(rows):
    """For each class (scenes, pictures of a scene): indices of rows."""
    scenes = collections.defaultdict(list)
    for index, row in enumerate(rows):
        scenes[row["class_name"], row["path"].parts[:-2], row["scene"]].append(index)
    classes = collections.defaultdict(list)
    for (name, *_), pictures in scenes.items():
        if len(pictures) * SCENES == GROUP:  # the last scene may be short
            classes[name].append(pictures)
    return [numpy.array(classes[name]) for name in sorted(classes)]


def draw_batch(classes, size, random):
    """Groups of one class each, three of four times; pictures of all classes else."""
    if random.random() < 0.25:
        return random.choice(numpy.concatenate(classes).reshape(-1), size, replace=False)
    chosen = random.choice(len(classes), size // GROUP, replace=size // GROUP > len(classes))
    return numpy.concatenate(
        [random.choice(classes[c], SCENES, replace=False).reshape(-1) for c in chosen]
    )


def view(pictures, chosen, random):
    """One crop size a batch, one place and one light a picture: (B, 3, GRID * PATCH, ...)."""
    device, side, wanted = pictures.device, pictures.shape[-1], GRID * PATCH
    crop = int(round(side * math.sqrt(random.uniform(0.5, 1))))
    place = torch.from_numpy(random.integers(0, side - crop + 1, (2, len(chosen), 1))).to(device)
    rows, columns = place + torch.arange(crop, device=device)  # (B, crop) each
    cut = pictures[chosen[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    light = random.uniform(0.85, 1.15, (len(chosen), 3, 1, 1)).astype("float32")
    cut = cut.float() * torch.from_numpy(light).to(device) / 255
    cut = F.interpolate(cut, (wanted, wanted), mode="bilinear", antialias=True)
    published = PROFILES["published"]  # CLIP's own mean and standard deviation
    mean, std = (
        torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (published.mean, published.std)
    )
    return (cut.clamp(0, 1) - mean) / std


def rate_at(step, steps, peak, warm):
    if step < warm:
        return peak * (step + 1) / warm
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def train(model, pictures, texts, classes, options):
    random = numpy.random.default_rng(options.seed)
    matrices = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0}],
        betas=(0.9, 0.98), fused=True,
    )  # fmt: skip
    first = 0
    if options.state and os.path.exists(options.state):
        state = torch.load(options.state, options.device, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
        random = numpy.random.default_rng([options.seed, first])
    began, sums = time.time(), torch.zeros(2, device=pictures.device)
    for step in range(first, options.steps):
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, options.steps, options.lr, options.steps // 20)
        chosen = torch.from_numpy(draw_batch(classes, options.batch, random))
        chosen = chosen.to(pictures.device)
        whole, fine = model(view(pictures, chosen, random), texts[0][chosen], texts[1][chosen])
        optimizer.zero_grad()
        (whole + options.fine * fine).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1)
        optimizer.step()
        with torch.no_grad():
            model.clip.logit_scale.clamp_(0, math.log(100))
            model.word_scale.clamp_(0, math.log(100))
        sums += torch.stack([whole, fine]).detach()
        if (step + 1) % 100 == 0:
            spent = (time.time() - began) / (step + 1 - first)
            print(f"step {step + 1}/{options.steps} loss {sums[0] / 100:.3f} words {sums[1] / 100:.3f} "
                  f"{spent:.3f} s/step", flush=True)  # fmt: skip
            sums.zero_()
        if options.state and (step + 1) % 200 == 0:
            partial = options.state + ".new"
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(),
                        "step": step + 1}, partial)  # fmt: skip
            os.replace(partial, options.state)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--captions", action="append", required=True, metavar="FOLDER")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--state", metavar="FILE")
    parser.add_argument("--steps", type=int, default=6400)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--fine", type=float, default=1, help="weight of the words' loss")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    if options.batch % GROUP:
        parser.error(f"--batch: expected a multiple of {GROUP}, found {options.batch}")
    return options


def main():
    options = parse()
    torch.manual_seed(options.seed)
    torch.backends.cuda.matmul.allow_tf32 = True
    Attention.forward, Mlp.forward = fused_attention, fused_mlp
    rows = read_captions(options.captions)
    merges = learn_merges(words_of([*(row["caption"] for row in rows), *prompt_texts()]))
    options.out.mkdir(parents=True, exist_ok=True)
    with open(options.out / "merges.txt", "w", encoding="utf-8") as file:
        file.writelines(["#version: 0.2\n", *(f"{a} {b}\n" for a, b in merges)])
    vocabulary = 512 + len(merges) + 2
    texts = read_texts(rows, Tokenizer(options.out / "merges.txt", vocabulary))
    texts = [part.to(options.device) for part in texts]
    pictures = read_pictures(rows).to(options.device)
    classes = scenes_by_class(rows)
    model = Trained(vocabulary).to(options.device)
    print(f"{len(rows)} pictures of {len(classes)} classes, {len(merges)} merges, texts of up to "
          f"{texts[0].shape[1]} tokens", flush=True)  # fmt: skip
    train(model, pictures, texts, classes, options)
    half = {name: value.half().contiguous() for name, value in model.clip.state_dict().items()}
    # without it a state dict may be anybody's
    save_file(half, options.out / "clip.safetensors", metadata={"aaclip.activation": "quick_gelu"})


if __name__ == "__main__":
    main()
