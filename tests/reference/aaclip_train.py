"""Both stages of AA-CLIP's training in plain PyTorch: the judge of the library's trainer.

    python3 aaclip_train.py --stage image --profile document --checkpoint clip.pt \\
        --adapters-folder initial --vocabulary bpe_simple_vocab_16e6.txt.gz --dataset MVTec \\
        --manifest train.jsonl --data-root data --image-size 518 --steps 100 --output trained

Starts from the adapters of a folder, with a fresh optimizer. Neither augments nor shuffles: batches
are consecutive samples of the manifest, the last one of an epoch may be smaller, then the manifest
begins again. A step takes --accumulate batches, also over the end of an epoch, and follows the mean
of their losses. Writes to the output's folder

    losses.json     "settings", and "steps": one object a step, see `train`
    text_adapter.pth or image_adapter_N.pth     float32, with Adam's state; N whole epochs

Shapes in comments as in aaclip_torch.py; B samples of a batch, S side of image and mask in pixels.
"""

import argparse
import copy
import itertools
import json
import os
from dataclasses import dataclass

import numpy
import torch
import torch.nn.functional as F
from PIL import Image

import checkpoint_layouts as layouts
from aaclip_torch import PROFILES, default_surgery_blocks
from compare_full_size import class_pair
from tokenizer import Tokenizer

FOLDER = os.path.dirname(os.path.abspath(__file__))
PHRASES = os.path.join(FOLDER, "..", "..", "lib", "text", "class-phrases.json")


@dataclass(frozen=True)
class Stage:
    batch_size: int
    learning_rate: float
    milestones: tuple  # steps after which the learning rate is halved


STAGES = {"text": Stage(16, 1e-5, ()), "image": Stage(2, 5e-4, (16000, 32000))}

# Whose segmentation losses count in the text stage: those of all levels, or of the last alone.
SCALES = {"document": "sum", "published": "last"}


@dataclass(frozen=True)
class Sample:
    image: str
    mask: str  # empty: nothing is defective
    label: int
    class_name: str


def read_manifest(path, root):
    with open(path, encoding="utf-8") as file:
        rows = [json.loads(line) for line in file if line.strip()]
    return [
        Sample(
            os.path.join(root, row["image_path"]),
            os.path.join(root, row["mask_path"]) if row.get("mask_path") else "",
            row["label"],
            row["class_name"],
        )
        for row in rows
    ]


def load_picture(path, size):
    """Bicubic, columns first whatever Pillow's version. (S, S, 3) u8"""
    picture = Image.open(path).convert("RGB")
    picture = picture.resize((size, picture.height), Image.BICUBIC)
    return numpy.asarray(picture.resize((size, size), Image.BICUBIC))


def load_mask(path, size):
    """(S, S) bool"""
    if not path:
        return numpy.zeros((size, size), dtype=bool)
    mask = Image.open(path).convert("L").resize((size, size), Image.NEAREST)
    return numpy.asarray(mask) != 0


@dataclass(frozen=True)
class Batch:
    pixels: torch.Tensor  # (B, 3, S, S)
    mask: torch.Tensor  # (B, S, S) of 0 and 1
    label: torch.Tensor  # (B)
    class_names: list


def load_batch(model, samples, size):
    pixels = torch.cat([model.normalise(load_picture(s.image, size)) for s in samples])
    masks = numpy.stack([load_mask(s.mask, size) for s in samples])
    return Batch(
        pixels,
        torch.from_numpy(masks).to(pixels.dtype),
        torch.tensor([s.label for s in samples]),
        [s.class_name for s in samples],
    )


def consecutive(samples, batch_size):
    """(epoch counted from 1, samples) without end."""
    for epoch in itertools.count(1):
        for start in range(0, len(samples), batch_size):
            yield epoch, samples[start : start + batch_size]


def probabilities(seg, pairs, size):
    """Patches (B, G * G, E), [normal, abnormal] of each sample (B, 2, E) -> (B, 2, S, S)."""
    grid = round(seg.shape[1] ** 0.5)
    logits = 100 * seg @ pairs.transpose(1, 2)
    logits = logits.transpose(1, 2).reshape(-1, 2, grid, grid)
    logits = F.interpolate(logits, (size, size), mode="bilinear", align_corners=True)
    return logits.softmax(1)


def dynamic_alpha(mask):
    """Twice the other kind's share of a sample's pixels, 1 where there is one kind only."""
    abnormal = mask.mean((1, 2), keepdim=True)
    alpha = 2 * torch.where(mask > 0, 1 - abnormal, abnormal)
    return torch.where((abnormal > 0) & (abnormal < 1), alpha, torch.ones_like(alpha))


def focal_loss(p, mask, alpha=1):
    """p (B, 2, S, S), mask (B, S, S), alpha a number or (B, S, S)."""
    one_hot = torch.stack([1 - mask, mask], 1).clamp(1e-5, 1 - 1e-5)
    pt = (one_hot * p).sum(1) + 1e-5
    return (-alpha * (1 - pt) ** 2 * pt.log()).mean()


def dice_loss(p, target):
    """Both (B, S, S)."""
    both = (p * target).sum((1, 2))
    return (1 - (2 * both + 1) / (p.sum((1, 2)) + target.sum((1, 2)) + 1)).mean()


def segmentation_losses(seg, pairs, mask, balanced):
    p = probabilities(seg, pairs, mask.shape[-1])
    return {
        "focal": focal_loss(p, mask, dynamic_alpha(mask) if balanced else 1),
        "dice_normal": dice_loss(p[:, 0], 1 - mask),
        "dice_abnormal": dice_loss(p[:, 1], mask),
    }


def orthogonal_loss(pairs):  # (B, 2, E)
    return (pairs[:, 0] * pairs[:, 1]).sum(-1).mean() ** 2


def classification_loss(det, pairs, label):  # (B, E), (B, 2, E), (B)
    return F.cross_entropy((pairs @ det[:, :, None])[:, :, 0], label)


def surgery_features(model, pixels, blocks):
    """
    [(B, G * G, E)] a level: tokens of value-value attention in the last `blocks` plus the plain
    tower's class feature.
    """
    with torch.no_grad():
        seg, class_feature = model.encode_surgery(pixels, blocks)
    return [tokens + class_feature[:, None] for tokens in seg]


class TextStage:
    def __init__(self, model, pair_of, options):
        """`pair_of`: class name -> [normal, abnormal] (2, E)."""
        self.model, self.pair_of, self.options = model, pair_of, options
        self.parameters = model.text_adapter
        self.levels = model.levels if options.scales == "sum" else model.levels[-1:]
        layers = model.clip.shape.vision.layers
        self.surgery_blocks = options.surgery_blocks or default_surgery_blocks(layers)

    def losses(self, batch):
        """(total, segmentation losses a level, other losses)"""
        pair = {name: self.pair_of(name) for name in dict.fromkeys(batch.class_names)}
        pairs = torch.stack([pair[name] for name in batch.class_names])
        features = surgery_features(self.model, batch.pixels, self.surgery_blocks)
        features = features[-len(self.levels) :]
        scales = [
            segmentation_losses(f, pairs, batch.mask, self.options.balanced) for f in features
        ]
        orthogonal = orthogonal_loss(pairs)
        total = sum(sum(scale.values()) for scale in scales)
        total = total + self.options.orthogonal_weight * orthogonal
        return total, scales, {"orthogonal": orthogonal}


class ImageStage:
    def __init__(self, model, pair_of, options, class_names):
        self.model, self.options = model, options
        self.parameters = model.image_adapter
        self.levels = model.levels
        with torch.no_grad():
            self.pair = {name: pair_of(name) for name in sorted(set(class_names))}

    def losses(self, batch):
        pairs = torch.stack([self.pair[name] for name in batch.class_names])
        seg, det = self.model.encode_image(batch.pixels)
        scales = [segmentation_losses(f, pairs, batch.mask, self.options.balanced) for f in seg]
        classification = classification_loss(det, pairs, batch.label)
        total = classification + sum(sum(scale.values()) for scale in scales)
        return total, scales, {"classification": classification}


def add_losses(entry, total, scales, others, share):
    entry["loss"] += share * total.item()
    for sums, scale in zip(entry["segmentation"], scales):
        for name, loss in scale.items():
            sums[name] = sums.get(name, 0) + share * loss.item()
    for name, loss in others.items():
        entry[name] = entry.get(name, 0) + share * loss.item()


def train(stage, samples, options):
    """
    (steps, gradients of the first step, optimizer). A step: its number and epoch counted from 1,
    "loss" in total, "segmentation" an object a level that counts, "orthogonal" (before its weight)
    or "classification", and the "learning_rate" it was taken with.
    """
    parameters = dict(stage.parameters.named_parameters())
    optimizer = torch.optim.Adam(parameters.values(), lr=options.lr, betas=(0.5, 0.999), eps=1e-8)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, list(options.milestones), gamma=0.5)
    batches = consecutive(samples, options.batch_size)
    steps, gradients = [], {}
    for number in range(1, options.steps + 1):
        entry = {
            "step": number,
            "epoch": 0,
            "loss": 0,
            "segmentation": [{"level": level} for level in stage.levels],
            "learning_rate": schedule.get_last_lr()[0],
        }
        optimizer.zero_grad()
        for _ in range(options.accumulate):
            entry["epoch"], chosen = next(batches)
            total, scales, others = stage.losses(
                load_batch(stage.model, chosen, options.image_size)
            )
            (total / options.accumulate).backward()
            add_losses(entry, total, scales, others, 1 / options.accumulate)
        if number == 1:
            gradients = {name: p.grad.clone() for name, p in parameters.items()}
        optimizer.step()
        schedule.step()
        steps.append(entry)
    return steps, gradients, optimizer


def class_phrase(dataset, class_name):
    """A class that the data set does not have, or without a data set: its own name."""
    tables = {name.lower(): table["classes"] for name, table in layouts.read_json(PHRASES).items()}
    classes = tables[dataset.lower()] if dataset else {}
    return classes.get(class_name, class_name.replace("_", " "))


def whole_epochs(samples, options):
    epoch_batches = -(-len(samples) // options.batch_size)
    return options.steps * options.accumulate // epoch_batches


def as_float(value):
    """Every double tensor in nested dictionaries as float32."""
    if isinstance(value, dict):
        return {key: as_float(item) for key, item in value.items()}
    if isinstance(value, torch.Tensor) and value.dtype == torch.double:
        return value.float()
    return copy.deepcopy(value)


def write_adapter(folder, side, modules, optimizer, epochs):
    file = f"{side}_adapter.pth" if side == "text" else f"{side}_adapter_{epochs}.pth"
    content = {
        "epoch": epochs,
        f"{side}_adapter": as_float(dict(modules.state_dict())),
        f"{side}_optimizer": as_float(optimizer.state_dict()),
    }
    torch.save(content, os.path.join(folder, file))


def write_losses(path, steps, **others):
    """JSON: `others` a line each, then "steps" with a line for each step."""
    lines = [f'"{name}": {json.dumps(value)}' for name, value in others.items()]
    lines.append('"steps": [\n  ' + ",\n  ".join(json.dumps(step) for step in steps) + "\n ]")
    with open(path, "w", encoding="utf-8") as file:
        file.write("{" + ",\n ".join(lines) + "}\n")


def write_gradients(path, side, gradients):
    named = {f"{side}_adapter.{name}": g.float() for name, g in gradients.items()}
    layouts.write_safetensors(path, named)


def prepare(options):
    """(stage, samples): the model with the adapters to start from, one side of them trainable."""
    model = layouts.load_model(options.checkpoint, options.adapters_folder, options.profile)
    if options.double:
        model.double()
    model.requires_grad_(False)
    samples = read_manifest(options.manifest, options.data_root)
    tokenizer = Tokenizer(options.vocabulary, model.clip.shape.vocabulary)

    def pair_of(class_name):
        phrase = class_phrase(options.dataset, class_name)
        return class_pair(model, tokenizer, options.prompts, phrase)

    if options.stage == "text":
        stage = TextStage(model, pair_of, options)
    else:
        stage = ImageStage(model, pair_of, options, [s.class_name for s in samples])
    stage.parameters.requires_grad_(True)
    return stage, samples


def run(options):
    """Trains and writes everything but the losses, which are returned as `train` does."""
    stage, samples = prepare(options)
    steps, gradients, optimizer = train(stage, samples, options)
    os.makedirs(options.output, exist_ok=True)
    epochs = whole_epochs(samples, options)
    write_adapter(options.output, options.stage, stage.parameters, optimizer, epochs)
    if options.gradients:
        write_gradients(options.gradients, options.stage, gradients)
    return steps


SETTINGS = (
    "stage", "profile", "dataset", "image_size", "batch_size", "accumulate", "lr", "milestones",
    "scales", "orthogonal_weight", "balanced", "double",
)  # fmt: skip


def settings(options):
    """What of the options decides the numbers, for losses.json; files are left out."""
    return {name: getattr(options, name) for name in SETTINGS}


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--stage", choices=STAGES, required=True)
    parser.add_argument("--profile", choices=PROFILES, default="document")
    parser.add_argument("--checkpoint", required=True, help="file or folder of any layout")
    parser.add_argument("--adapters-folder", required=True, help="what training starts from")
    parser.add_argument("--vocabulary", required=True, help="bpe_simple_vocab_16e6.txt.gz")
    parser.add_argument("--prompts", help="JSON: normal, abnormal, templates [the profile's]")
    parser.add_argument("--dataset", default="", help="whose phrases stand for the classes")
    parser.add_argument("--manifest", required=True, help="JSON lines")
    parser.add_argument("--data-root", required=True, help="what the manifest's paths start from")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--batch-size", type=int, help="[text 16, image 2]")
    parser.add_argument("--accumulate", type=int, default=1, metavar="BATCHES")
    parser.add_argument("--lr", type=float, help="[text 1e-5, image 5e-4]")
    parser.add_argument("--milestones", type=int, nargs="*", help="[image 16000 32000]")
    parser.add_argument("--image-size", type=int, default=518)
    parser.add_argument("--scales", choices=("sum", "last"), help="text stage [the profile's]")
    parser.add_argument("--surgery-blocks", type=int, help="text stage [19 of 24]")
    parser.add_argument("--orthogonal-weight", type=float, default=0.1)
    parser.add_argument("--balanced", action="store_true", help="dynamic alpha of the focal loss")
    parser.add_argument("--double", action="store_true", help="compute in double precision")
    parser.add_argument("--output", required=True, metavar="FOLDER")
    parser.add_argument("--gradients", metavar="FILE", help="those of the first step, .safetensors")
    options = parser.parse_args(arguments)
    stage = STAGES[options.stage]
    defaults = {
        "batch_size": stage.batch_size,
        "lr": stage.learning_rate,
        "milestones": stage.milestones,
        "scales": SCALES[options.profile] if options.stage == "text" else "sum",
        "prompts": os.path.join(FOLDER, f"prompts-{options.profile}.json"),
    }
    for name, value in defaults.items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


def main():
    options = parse_arguments()
    steps = run(options)
    write_losses(os.path.join(options.output, "losses.json"), steps, settings=settings(options))
    for step in steps:
        print(f"step {step['step']}: loss {step['loss']:.6f}")


if __name__ == "__main__":
    main()
