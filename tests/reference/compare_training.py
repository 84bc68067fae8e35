"""Compares a run of aaclip-train with what aaclip_train.py recorded of the same training.

    aaclip-train ... --log log.jsonl --save-path trained
    python3 compare_training.py --expected golden/losses.json --log log.jsonl \\
        --initial initial/text_adapter.pth --expected-adapter golden/text_adapter.pth \\
        --adapter trained/text_adapter.pth

Every loss of every step must be within --tolerance of the expected one, relative to it; and every
weight within --tolerance times the largest change that training made to its tensor. Prints the
worst of each; exit status 1 when one is beyond. The log has a JSON object a line; lines without a
step, and those of another stage, are passed over.
"""

import argparse
import json
import sys

import torch

import checkpoint_layouts as layouts

# Key of the log -> how losses.json has it: the sum over the levels, or one number a step.
STEP_KEY, STAGE_KEY = "step", "stage"
LEVEL_LOSSES = {
    "loss_focal": "focal",
    "loss_dice_normal": "dice_normal",
    "loss_dice_abnormal": "dice_abnormal",
}
STEP_LOSSES = {
    "loss": "loss",
    "loss_orthogonal": "orthogonal",
    "loss_classification": "classification",
}

ADAPTERS = ("text_adapter", "image_adapter")


def expected_losses(step):
    """A step of losses.json under the log's keys."""
    losses = {key: step[name] for key, name in STEP_LOSSES.items() if name in step}
    for key, name in LEVEL_LOSSES.items():
        losses[key] = sum(level[name] for level in step["segmentation"])
    return losses


def read_log(path, stage):
    """Step -> its object."""
    with open(path, encoding="utf-8") as file:
        rows = [json.loads(line) for line in file if line.strip()]
    return {
        row[STEP_KEY]: row for row in rows if STEP_KEY in row and row.get(STAGE_KEY, stage) == stage
    }


def loss_errors(log, steps):
    """Key -> (largest relative error, its step); infinite for what the log lacks."""
    worst = {}
    for step in steps:
        found = log.get(step["step"], {})
        for key, expected in expected_losses(step).items():
            value = found.get(key)
            error = float("inf") if value is None else abs(value - expected) / abs(expected)
            if not error <= worst.get(key, (-1.0, 0))[0]:
                worst[key] = (error, step["step"])
    return worst


def read_adapter(path):
    """Name -> tensor, of a .pth of one adapter or a .safetensors with names like text_adapter.*."""
    if path.endswith(".safetensors"):
        return layouts.read_safetensors(path)
    content = torch.load(path, map_location="cpu")
    (kind,) = (key for key in ADAPTERS if key in content)
    return {f"{kind}.{name}": tensor for name, tensor in content[kind].items()}


def change_error(found, expected, initial):
    """max|found - expected| / max|expected - initial|, infinite where it cannot be told."""
    if found is None or found.shape != expected.shape or not torch.isfinite(found).all():
        return float("inf")
    found, expected, initial = found.double(), expected.double(), initial.double()
    return ((found - expected).abs().max() / (expected - initial).abs().max()).item()


def adapter_errors(found, expected, initial):
    return {name: change_error(found.get(name), t, initial[name]) for name, t in expected.items()}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--expected", required=True, help="losses.json")
    parser.add_argument("--log", help="JSON lines of aaclip-train")
    parser.add_argument("--initial", help="adapter that training started from")
    parser.add_argument("--expected-adapter", help="adapter beside losses.json")
    parser.add_argument("--adapter", help="adapter that aaclip-train wrote")
    parser.add_argument("--tolerance", type=float, default=1e-4)
    arguments = parser.parse_args()
    adapters = (arguments.initial, arguments.expected_adapter, arguments.adapter)
    if any(adapters) and not all(adapters):
        parser.error("--initial, --expected-adapter and --adapter belong together")
    if not (arguments.log or arguments.adapter):
        parser.error("nothing to do: give --log or --adapter")
    return arguments


def main():
    arguments = parse_arguments()
    expected = layouts.read_json(arguments.expected)
    errors = {}
    if arguments.log:
        log = read_log(arguments.log, expected["settings"]["stage"])
        for key, (error, step) in loss_errors(log, expected["steps"]).items():
            errors[f"{key} (worst at step {step})"] = error
    if arguments.adapter:
        files = (arguments.adapter, arguments.expected_adapter, arguments.initial)
        errors.update(adapter_errors(*map(read_adapter, files)))
    failed = False
    for name, error in errors.items():
        within = error <= arguments.tolerance
        failed |= not within
        print(f"{name}: {error:.2e}{'' if within else '  FAILED'}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
