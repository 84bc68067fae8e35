"""Three steps of each stage on ViT-L/14-336 with random weights, in both profiles, against PyTorch.

    python3 test_training.py aaclip-train

The judge is aaclip_train.py in double precision. It trains the same three steps from the same
adapters: every loss must be within TOLERANCE of its, relative to it.

The weights after three steps are not compared with the judge's own. Adam divides a gradient by its
size, so of a matrix's several 100,000 weights the few whose first gradient nearly vanishes go
either way by rounding, and a LeakyReLU near zero then carries that further: PyTorch's own float32
ends up to 46 % of a tensor's largest change away from its double precision. So each step is judged
by itself, from the weights and moments that the program saved before it:

- the step's gradient of each tensor, within TOLERANCE of the judge's at these weights, relative to
  the tensor's largest. Where it is not, a value before a LeakyReLU may lie on the other side of
  zero in float32: the judge moves over those of its values within NEAR of zero, one by one, that
  bring it closer, and what is left must be within TOLERANCE;
- the weights after it, within TOLERANCE of what torch.optim.Adam makes of that gradient, relative
  to the tensor's largest change.

The program is called once a step, with --resume. Needs PyTorch, NumPy and Pillow, 1.5 GB of disk in
$TMPDIR, 8 GB of memory and some minutes. The vocabulary is that of test_full_size.py.
"""

import gc
import itertools
import shutil
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from test_full_size import (
    SEED,
    SHAPE,
    TESTS,
    Report,
    call,
    installed_vocabulary,
    make_vocabulary,
)

import torch
import torch.nn.functional as F

import aaclip_train
import compare_training
from make_checkpoints import write_adapters, write_layouts

PROFILES = ("document", "published")
DATA = TESTS / "golden" / "train"
IMAGE_SIZE = 112
STEPS = 3
TOLERANCE = 1e-4
NEAR = 5e-6  # of a tensor's root mean square
BETAS = (0.5, 0.999)


@dataclass(frozen=True)
class Stage:
    name: str
    batch_size: int  # none divides the seven pictures: the text's third batch is one alone
    learning_rate: float
    initial: str
    latest: str
    other: str


# The default rate of the text stage moves weights by some hundred float32 roundings: no measure.
STAGES = (
    Stage("text", 3, 1e-3, "text_adapter.pth", "text_adapter.pth", "image"),
    Stage("image", 2, 5e-4, "image_adapter_20.pth", "image_adapter_latest.pth", "text"),
)


class Setting:
    def __init__(self, folder, train):
        self.folder, self.train = folder, train
        self.vocabulary = installed_vocabulary() or make_vocabulary(folder / "vocabulary.txt.gz")
        (self.model,) = write_layouts(str(folder), SHAPE, SEED, ["torchscript"], "quick_gelu")
        for profile in PROFILES:
            write_adapters(self.adapters(profile), SHAPE, profile, SEED)

    def adapters(self, profile):
        return self.folder / f"adapters-{profile}"


def prompts(profile, stage):
    """
    The profile's. But of the text stage's 112 document prompts PyTorch would keep every activation,
    15 GB in double precision: it takes the 16 published ones.
    """
    name = "published" if stage.name == "text" else profile
    return TESTS / "reference" / f"prompts-{name}.json"


def prepare_judge(setting, profile, stage):
    """(stage of aaclip_train, samples, options)"""
    options = aaclip_train.parse_arguments(
        [
            "--stage", stage.name, "--profile", profile, "--dataset", "MVTec",
            "--checkpoint", setting.model, "--adapters-folder", str(setting.adapters(profile)),
            "--vocabulary", str(setting.vocabulary), "--prompts", str(prompts(profile, stage)),
            "--manifest", str(DATA / "manifest.jsonl"), "--data-root", str(DATA),
            "--image-size", str(IMAGE_SIZE), "--steps", str(STEPS),
            "--batch-size", str(stage.batch_size), "--lr", str(stage.learning_rate),
            "--double", "--output", str(setting.folder),
        ]
    )  # fmt: skip
    judge, samples = aaclip_train.prepare(options)
    return judge, samples, options


@dataclass(frozen=True)
class State:
    """What the program saved: name -> tensor in double precision."""

    weights: dict
    average: dict  # Adam's exp_avg
    optimizer: dict

    @staticmethod
    def read(path, stage):
        content = torch.load(path, map_location="cpu")
        weights = {name: t.double() for name, t in content[f"{stage.name}_adapter"].items()}
        optimizer = content[f"{stage.name}_optimizer"]
        moments = optimizer["state"]
        average = {name: moments[i]["exp_avg"].double() for i, name in enumerate(weights)}
        return State(weights, average, optimizer)


def start(setting, profile, stage):
    """Before the first step."""
    content = torch.load(setting.adapters(profile) / stage.initial, map_location="cpu")
    weights = {name: t.double() for name, t in content[f"{stage.name}_adapter"].items()}
    zero = {name: torch.zeros_like(t) for name, t in weights.items()}
    return State(weights, zero, {})


def run_steps(setting, profile, stage, folder):
    """[State after each step]"""
    states = []
    for step in range(1, STEPS + 1):
        call(
            setting.train, "--model", setting.model, "--vocab", setting.vocabulary,
            "--init", setting.adapters(profile) / "text_adapter.pth",
            "--init", setting.adapters(profile) / "image_adapter_20.pth",
            "--dataset", "MVTec", "--manifest", DATA / "manifest.jsonl", "--data-root", DATA,
            "--prompts", prompts(profile, stage), "--img-size", IMAGE_SIZE,
            f"--{stage.name}-batch-size", stage.batch_size,
            f"--{stage.name}-lr", stage.learning_rate, f"--{stage.other}-epoch", 0,
            "--no-augmentation", "--no-shuffle", "--max-steps", step, "--resume",
            "--save-path", folder, "--log", folder / "log.jsonl",
        )  # fmt: skip
        states.append(State.read(folder / stage.latest, stage))
    return states


def compare_losses(report, label, log, steps):
    for key, (error, step) in compare_training.loss_errors(log, steps).items():
        report.check(error <= TOLERANCE, f"{label} {key}: {error:.1e} at step {step}")


def gradient(judge, batch):
    """At the weights that the judge has: name -> tensor."""
    parameters = dict(judge.parameters.named_parameters())
    for parameter in parameters.values():
        parameter.grad = None
    total, _, _ = judge.losses(batch)
    total.backward()
    return {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.clone()
        for name, parameter in parameters.items()
    }


@contextmanager
def before_leaky_relu(change):
    """`change`(number of the call, values) -> the values that the LeakyReLU takes."""
    leaky_relu, calls = F.leaky_relu, itertools.count()

    def changed(values, *more):
        return leaky_relu(change(next(calls), values), *more)

    with mock.patch.object(F, "leaky_relu", changed):
        yield


def undecided(judge, batch):
    """[(call, index)] of the values too near to zero for float32."""
    found = []

    def look(call_number, values):
        near = values.abs() < NEAR * values.pow(2).mean().sqrt()
        found.extend((call_number, tuple(index)) for index in near.nonzero().tolist())
        return values

    with torch.no_grad(), before_leaky_relu(look):
        judge.losses(batch)
    return found


def gradient_beyond_zero(judge, batch, place):
    """The gradient with one undecided value on the other side of zero."""

    def flip(call_number, values):
        if call_number == place[0]:
            values = values.clone()
            values[place[1]] -= 2 * values[place[1]].detach()  # the value alone: slope stays 1
        return values

    with before_leaky_relu(flip):
        return gradient(judge, batch)


def difference(found, expected, size):
    """The largest, relative to the largest of `size`; 0 where nothing differs."""
    largest = (found - expected).abs().max()
    return (largest / size.abs().max()).item() if largest else 0.0


def gradient_error(found, expected):
    """(largest of any tensor, relative to the tensor's largest; its name)"""
    errors = {name: difference(found[name], t, t) for name, t in expected.items()}
    name = max(errors, key=errors.get)
    return errors[name], name


def inner(a, b):
    return sum((a[name] * b[name]).sum() for name in a).item()


def move_over(judge, batch, found, expected):
    """(`expected` with undecided values on the side of zero that `found` has, words)"""
    places, nearest, moved = undecided(judge, batch), expected, 0
    for place in places:
        other = gradient_beyond_zero(judge, batch, place)
        change = {name: other[name] - t for name, t in expected.items()}
        error = {name: found[name] - t for name, t in nearest.items()}
        if inner(error, change) > inner(change, change) / 2 > 0:
            nearest = {name: t + change[name] for name, t in nearest.items()}
            moved += 1
    return nearest, f"with {moved} of {len(places)} undecided values moved over zero"


def adam_step(before, gradients, learning_rate):
    """Name -> weights, in double precision."""
    weights = {name: t.clone().requires_grad_() for name, t in before.weights.items()}
    optimizer = torch.optim.Adam(weights.values(), lr=learning_rate, betas=BETAS, eps=1e-8)
    if before.optimizer:
        optimizer.load_state_dict(before.optimizer)
    for name, tensor in weights.items():
        tensor.grad = gradients[name]
    optimizer.step()
    return {name: tensor.detach() for name, tensor in weights.items()}


def compare_gradients(report, label, judge, batch, found):
    expected = gradient(judge, batch)
    error, name = gradient_error(found, expected)
    words = f"{label} gradients: {error:.1e} ({name})"
    if error > TOLERANCE:
        expected, moved = move_over(judge, batch, found, expected)
        error, name = gradient_error(found, expected)
        words += f"; {moved}: {error:.1e} ({name})"
    report.check(error <= TOLERANCE, words)


def compare_step(report, label, judge, batch, before, after, learning_rate):
    keep = BETAS[0]
    found = {
        name: (average - keep * before.average[name]) / (1 - keep)
        for name, average in after.average.items()
    }
    judge.parameters.load_state_dict(before.weights)
    compare_gradients(report, label, judge, batch, found)
    moved = adam_step(before, found, learning_rate)
    errors = compare_training.adapter_errors(after.weights, moved, before.weights)
    name = max(errors, key=errors.get)
    report.check(errors[name] <= TOLERANCE, f"{label} weights: {errors[name]:.1e} ({name})")


def compare_stage(report, setting, profile, stage):
    label = f"{profile} {stage.name}"
    folder = Path(tempfile.mkdtemp(dir=setting.folder))
    states = [start(setting, profile, stage), *run_steps(setting, profile, stage, folder)]
    judge, samples, options = prepare_judge(setting, profile, stage)
    steps, _, _ = aaclip_train.train(judge, samples, options)
    log = compare_training.read_log(folder / "log.jsonl", stage.name)
    compare_losses(report, label, log, steps)
    batches = aaclip_train.consecutive(samples, stage.batch_size)
    for number, (before, after) in enumerate(zip(states, states[1:]), 1):
        _, chosen = next(batches)
        batch = aaclip_train.load_batch(judge.model, chosen, IMAGE_SIZE)
        words = f"{label} step {number}"
        compare_step(report, words, judge, batch, before, after, stage.learning_rate)
    shutil.rmtree(folder)


def main():
    report = Report()
    with tempfile.TemporaryDirectory(prefix="aaclip-slow-") as folder:
        setting = Setting(Path(folder), sys.argv[1])
        for profile in PROFILES:
            for stage in STAGES:
                compare_stage(report, setting, profile, stage)
                gc.collect()  # the judge's model has cycles
    sys.exit(report.finish())


if __name__ == "__main__":
    main()
