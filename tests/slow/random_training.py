"""Training of a random model: losses, gradients and Adam's steps against PyTorch.

As in test_training.py, each step is judged from the weights and moments that the library saved
before it. The gradient is what the step added to Adam's exp_avg. At the end PyTorch takes a step
from the library's state, and the library goes on from PyTorch's.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from random_models import (
    CLASS_NAMES,
    CuttingTokenizer,
    Limits,
    draw_backend,
    draw_config,
    draw_pixels,
    load_judge,
    resolve_defaults,
    write_adapters,
    write_checkpoint,
    write_picture,
    write_prompts,
)

import numpy
import torch

import aaclip
import aaclip_train
from compare_full_size import class_pair
from test_training import State, difference, gradient, move_over

LIMITS = Limits(vision_layers=(2, 6), text_layers=(2, 4))
TOLERANCE = 1e-4  # of losses, gradients and weights, as in test_training.py
SMALL_LOSS = 1e-3  # smaller ones are compared as if they were so large,
SMALL_GRADIENT = 1e-6  # and so the largest of a tensor's gradients
CONFIDENT_STEPS, CONFIDENT_RATE = 40, 0.02


@dataclass(frozen=True)
class TrainingCase:
    """What is drawn, and the files that hold it."""

    name: str  # of the stage: text or image
    folder: Path
    checkpoint: object
    config: aaclip.Config  # resolved
    files: dict  # side -> adapters to start from
    prompts: Path
    backend: str
    threads: int
    samples: int
    image_size: int
    steps: int
    reload_after: int  # steps, after which another trainer goes on; or more than there are
    reload_file: str
    confident: bool  # the first adapters call everything abnormal
    options: dict  # of the aaclip.Trainer

    @property
    def manifest(self):
        return self.folder / "manifest.jsonl"

    @property
    def step_samples(self):
        """Batches that are accumulated are equal to one that is as large."""
        return self.options["batch_size"] * self.options["accumulate"]


def draw_labels(rng):
    """Class names with a label each: of every class a normal and an abnormal picture, or more."""
    pairs = []
    for name in rng.sample(CLASS_NAMES, rng.randint(1, 3)):
        labels = [0, 1, *(rng.randint(0, 1) for _ in range(rng.randint(0, 2)))]
        pairs += [(name, label) for label in labels]
    rng.shuffle(pairs)
    return pairs


def write_mask(rng, path, shape):
    """Some pixels of 1 or 255, one at least."""
    noise = numpy.random.default_rng(rng.randrange(2**32))
    mask = noise.random(shape) < rng.choice((0.02, 0.2, 0.5))
    mask[rng.randrange(shape[0]), rng.randrange(shape[1])] = True
    write_picture(path, mask.astype(numpy.uint8) * rng.choice((1, 255)))


def write_dataset(rng, folder, size):
    """manifest.jsonl and its pictures; returns how many."""
    rows = []
    for number, (name, label) in enumerate(draw_labels(rng)):
        row = {"image_path": f"{number}.png", "label": label, "class_name": name}
        pixels = draw_pixels(rng, size)
        write_picture(folder / row["image_path"], pixels)
        if label:
            row["mask_path"] = f"{number}_mask.png"
            write_mask(rng, folder / row["mask_path"], pixels.shape[:2])
        rows.append(json.dumps(row))
    (folder / "manifest.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return len(rows)


def draw_options(rng, stage, layers):
    options = {
        "batch_size": rng.randint(1, 4),
        "accumulate": rng.choice((1, 1, 2)),
        "learning_rate": rng.choice((1e-3, 5e-3, 1e-2)),
        "epsilon": rng.choice((1e-8, 1e-6, 1e-4)),
        "milestones": sorted(rng.sample(range(1, 6), rng.randint(0, 3))),
        "gamma": rng.choice((0.5, 0.3, 0.9)),
        "balanced_focal": rng.random() < 0.3,
        "seed": 5,
    }
    options["beta1"], options["beta2"] = rng.choice(((0.5, 0.999), (0.9, 0.99), (0.0, 0.9)))
    if stage == "text":
        options["scales"] = rng.choice(("sum", "last"))
        options["orthogonal_weight"] = rng.choice((0.1, 0.1, 3.0, 0.0))
        options["surgery_blocks"] = rng.choice((None, 1, layers))
    else:
        options["recompute"] = rng.random() < 0.4
    return options


def draw_case(rng, folder):
    stage = rng.choice(("text", "image"))
    checkpoint = write_checkpoint(rng, folder, LIMITS)
    shape = checkpoint.shape
    config = resolve_defaults(draw_config(rng, shape), shape)
    config = config.replace(  # training needs some
        image_adapter_layers=config.image_adapter_layers or 1,
        text_adapter_layers=config.text_adapter_layers or 1,
    )
    size = shape.patch * rng.randint(1, 6)
    steps = rng.randint(2, 3)
    return TrainingCase(
        name=stage,
        folder=folder,
        checkpoint=checkpoint,
        config=config,
        files=write_adapters(rng, folder, config, shape, ("text", "image")),
        prompts=write_prompts(rng, folder),
        backend=draw_backend(rng),
        threads=rng.choice((1, 2)),
        samples=write_dataset(rng, folder, size),
        image_size=size,
        steps=steps,
        reload_after=rng.randint(1, 2 * steps),
        reload_file=rng.choice(("state.pth", "state.safetensors")),
        confident=rng.random() < 0.5,
        options=draw_options(rng, stage, shape.vision.layers),
    )


class Judge:
    """The stage of aaclip_train.py that a case trains, in any precision, with the case's data."""

    def __init__(self, case):
        self.case, self.stages = case, {}
        samples = aaclip_train.read_manifest(case.manifest, case.folder)
        self.names = list(dict.fromkeys(sample.class_name for sample in samples))
        self.epoch = [
            samples[i : i + case.step_samples] for i in range(0, len(samples), case.step_samples)
        ]
        with torch.no_grad():  # stage 2 has them from here, in either judge and in the library
            pair_of = self.make_pairs(self.load(torch.double))
            self.pairs = {name: pair_of(name).float() for name in self.names}

    def load(self, dtype):
        case = self.case
        return load_judge(case.checkpoint, case.config, case.files, dtype)

    def make_pairs(self, model):
        """A function: class name -> [normal, abnormal] (2, E)."""
        tokenizer = CuttingTokenizer(self.case.checkpoint.shape.context)
        return lambda name: class_pair(
            model, tokenizer, self.case.prompts, name.replace("_", " ")
        )

    def stage(self, dtype=torch.double):
        if dtype not in self.stages:
            model = self.load(dtype)
            options = self.case.options
            settings = SimpleNamespace(
                balanced=options["balanced_focal"],
                scales=options.get("scales"),
                orthogonal_weight=options.get("orthogonal_weight"),
                surgery_blocks=options.get("surgery_blocks"),
            )
            if self.case.name == "text":
                stage = aaclip_train.TextStage(model, self.make_pairs(model), settings)
            else:
                fixed = {name: pair.to(dtype) for name, pair in self.pairs.items()}
                stage = aaclip_train.ImageStage(model, fixed.get, settings, self.names)
            stage.parameters.requires_grad_(True)
            self.stages[dtype] = stage
        return self.stages[dtype]

    def batch(self, position, dtype=torch.double):
        """Of a step, counted from 0, of any epoch."""
        samples = self.epoch[position % len(self.epoch)]
        model = self.stage(dtype).model
        return aaclip_train.load_batch(model, samples, self.case.image_size)


def make_confident(case, judge):
    """Trains the adapters on masks that are all abnormal, and writes them for the library."""
    stage, batch = judge.stage(), judge.batch(0)
    batch = aaclip_train.Batch(
        batch.pixels, torch.ones_like(batch.mask), torch.ones_like(batch.label), batch.class_names
    )
    optimizer = torch.optim.Adam(stage.parameters.parameters(), lr=CONFIDENT_RATE)
    for _ in range(CONFIDENT_STEPS):
        optimizer.zero_grad()
        stage.losses(batch)[0].backward()
        optimizer.step()
    state = aaclip_train.as_float(dict(stage.parameters.state_dict()))
    torch.save({"epoch": 3, f"{case.name}_adapter": state}, case.files[case.name])


def first_state(case):
    """Before the first step."""
    content = torch.load(case.files[case.name])[f"{case.name}_adapter"]
    weights = {name: tensor.double() for name, tensor in content.items()}
    return State(weights, {name: torch.zeros_like(t) for name, t in weights.items()}, {})


class Library:
    """The library's model, adapters and data of a case."""

    def __init__(self, case, pairs):
        self.case = case
        self.model = aaclip.Model.open(
            case.checkpoint.path, backend=case.backend, threads=case.threads
        )
        self.adapters = self.model.adapters(*case.files.values(), config=case.config)
        self.texts = aaclip.TextCache(self.model, self.adapters)
        for name, pair in pairs.items():
            self.texts[name] = pair.numpy()
        self.data = aaclip.Dataset.open(
            case.folder, manifest=case.manifest, masks="required"
        )

    def trainer(self, state=None):
        """A new one; `state`: the file that it goes on from."""
        case = self.case
        trainer = aaclip.Trainer(
            self.model, self.data, case.name, self.texts if case.name == "image" else None,
            profile=case.config.profile, initial=self.adapters, image_size=case.image_size,
            augmentation=False, shuffle=False, truncate=True,
            prompts=case.prompts if case.name == "text" else None, **case.options,
        )  # fmt: skip
        if state:
            trainer.load(state)
        return trainer


def adam(case, before):
    """(torch.optim.Adam that continues a State, its weights by name), in double precision."""
    weights = {name: tensor.clone().requires_grad_() for name, tensor in before.weights.items()}
    options = case.options
    optimizer = torch.optim.Adam(
        weights.values(), lr=options["learning_rate"],
        betas=(options["beta1"], options["beta2"]), eps=options["epsilon"],
    )  # fmt: skip
    if before.optimizer:
        optimizer.load_state_dict(before.optimizer)
    return optimizer, weights


def adam_step(case, before, gradients):
    """(optimizer, weights after the step)"""
    optimizer, weights = adam(case, before)
    for name, weight in weights.items():
        weight.grad = gradients[name]
    optimizer.step()
    return optimizer, {name: weight.detach() for name, weight in weights.items()}


def rate_after(case, steps):
    """The learning rate that torch.optim.Adam has then."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], case.options["learning_rate"])
    schedule = torch.optim.lr_scheduler.MultiStepLR(
        optimizer, case.options["milestones"], case.options["gamma"]
    )
    for _ in range(steps):
        optimizer.step()
        schedule.step()
    return schedule.get_last_lr()[0]


def losses_of(stage, batch):
    """By the names of aaclip.Losses."""
    with torch.no_grad():
        total, scales, others = stage.losses(batch)
    losses = {name: sum(scale[name] for scale in scales).item() for name in scales[0]}
    return {"total": total.item(), **losses, **{name: t.item() for name, t in others.items()}}


def gradient_error(found, expected, rounding):
    """The largest of any tensor, relative to its largest, beyond the `rounding` of each."""

    def error(name, tensor):
        apart = (found[name] - tensor).abs().max() - rounding.get(name, 0)
        return apart / tensor.abs().max().clamp(min=SMALL_GRADIENT)

    # torch's max, unlike Python's, is NaN if any is.
    return torch.stack([error(name, tensor) for name, tensor in expected.items()]).max().item()


class StepComparison:
    """Compares one step of the library with the judge's."""

    def __init__(self, report, case, judge, before, steps, position):
        """`steps`: how many were done before; `position`: of the step in its epoch."""
        self.report, self.case, self.judge = report, case, judge
        self.before, self.steps, self.position = before, steps, position

    def label(self, what):
        return f"{self.case.name} stage {what}"

    def stage(self, dtype):
        """At the weights before the step."""
        stage = self.judge.stage(dtype)
        stage.parameters.load_state_dict(self.before.weights)
        return stage

    def losses(self, dtype):
        return losses_of(self.stage(dtype), self.judge.batch(self.position, dtype))

    def gradients(self, dtype):
        own = gradient(self.stage(dtype), self.judge.batch(self.position, dtype))
        return {name: tensor.double() for name, tensor in own.items()}

    def compare_losses(self, found):
        expected = self.losses(torch.double)

        def error(value, name):
            return abs(value - expected[name]) / max(abs(expected[name]), SMALL_LOSS)

        for name in expected:
            self.report.bounded(
                self.label(f"loss {name}"), error(getattr(found, name), name), TOLERANCE,
                lambda name=name: error(self.losses(torch.float)[name], name),
            )  # fmt: skip

    def gradient_error(self, found, rounding):
        """Where values lie on the other side of a LeakyReLU's zero, with those moved over."""
        expected = self.gradients(torch.double)
        error = gradient_error(found, expected, rounding)
        if error > TOLERANCE:
            batch = self.judge.batch(self.position)
            expected, _ = move_over(self.stage(torch.double), batch, found, expected)
            error = gradient_error(found, expected, rounding)
        return error

    def compare_gradients(self, found):
        keep = self.case.options["beta1"]
        rounding = {  # of the difference that `found` is
            name: 2**-22 * keep / (1 - keep) * average.abs().max()
            for name, average in self.before.average.items()
        }
        self.report.bounded(
            self.label("gradients"), self.gradient_error(found, rounding), TOLERANCE,
            lambda: self.gradient_error(self.gradients(torch.float), {}),
        )  # fmt: skip

    def compare_weights(self, found, gradients):
        """What Adam makes of the library's own gradients; the weights are rounded to float32."""
        _, expected = adam_step(self.case, self.before, gradients)
        for name, tensor in expected.items():
            change = tensor - self.before.weights[name]
            error = difference(found[name], tensor, change)
            rounding = difference(tensor * (1 + 2**-24), tensor, change)
            self.report.bounded(
                self.label("weights"), max(error - rounding, 0), TOLERANCE, lambda: 0
            )

    def compare_rate(self, found):
        expected = rate_after(self.case, self.steps + 1)
        same = abs(found - expected) <= 1e-9 * expected
        self.report.check(same, self.label(f"learning rate {found}, expected {expected}"))

    def compare(self, losses, after):
        keep = self.case.options["beta1"]
        gradients = {
            name: (average - keep * self.before.average[name]) / (1 - keep)
            for name, average in after.average.items()
        }
        self.compare_losses(losses)
        self.compare_gradients(gradients)
        self.compare_weights(after.weights, gradients)
        self.compare_rate(after.optimizer["param_groups"][0]["lr"])


class Run:
    """Steps of the library, each compared with the judge."""

    def __init__(self, report, case, judge, library):
        self.report, self.case, self.judge, self.library = report, case, judge, library
        self.trainer, self.state = library.trainer(), first_state(case)
        self.steps = self.position = 0

    def comparison(self):
        """Of the next step."""
        return StepComparison(
            self.report, self.case, self.judge, self.state, self.steps, self.position
        )

    def step(self):
        losses = self.trainer.step()
        file = self.case.folder / "step.pth"
        self.trainer.save(file)
        after = State.read(file, self.case)
        self.comparison().compare(losses, after)
        self.state = after
        self.steps += 1
        self.position += 1

    def reload(self):
        """Another trainer goes on."""
        file = self.case.folder / self.case.reload_file
        self.trainer.save(file)
        self.trainer = self.library.trainer(file)

    def step_in_torch(self):
        """torch.optim.Adam takes a step, and another trainer goes on from it in a new epoch."""
        gradients = self.comparison().gradients(torch.double)
        optimizer, weights = adam_step(self.case, self.state, gradients)
        rate = rate_after(self.case, self.steps + 1)  # what a MultiStepLR would leave
        optimizer.param_groups[0]["lr"] = rate
        file, name = self.case.folder / "torch.pth", self.case.name
        content = {
            "epoch": 0, f"{name}_adapter": weights, f"{name}_optimizer": optimizer.state_dict()
        }  # fmt: skip
        torch.save(aaclip_train.as_float(content), file)
        self.trainer, self.state = self.library.trainer(file), State.read(file, self.case)
        self.steps, self.position = self.steps + 1, 0
        progress = self.trainer.progress
        self.report.check(
            progress.step == self.steps, f"step {progress.step}, after torch's {self.steps}"
        )


def compare_training(report, rng, folder):
    """Draws a case and compares it."""
    case = draw_case(rng, folder)
    report.describe(case)
    judge = Judge(case)
    if case.confident:
        make_confident(case, judge)
    run = Run(report, case, judge, Library(case, judge.pairs))
    for _ in range(case.steps):
        run.step()
        if run.steps == case.reload_after:
            run.reload()
    run.step_in_torch()
    run.step()
