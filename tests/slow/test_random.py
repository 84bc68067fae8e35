"""Small random models and configurations against PyTorch: detection and both stages of training.

    AACLIP_LIBRARY=build/lib/libaaclip.so.0 python3 test_random.py [--seeds A..B] [--seconds N]

Each seed draws a case of detection (random_detection.py) and one of training (random_training.py),
writes their files, runs the library through its Python bindings and compares it with
aaclip_torch.py and aaclip_train.py in double precision. A difference beyond the tolerance passes
where float32 itself is at fault: within MULTIPLE times that of PyTorch's float32. What fails is
printed with its seed and its configuration. Needs PyTorch, NumPy and Pillow.
"""

import argparse
import random
import sys
import tempfile
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bindings" / "python" / "src"))
import test_full_size  # noqa: F401, first: skips where a package is missing

import torch

try:
    import aaclip  # noqa: F401
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

from compare_full_size import compare
from random_detection import compare_detection
from random_training import compare_training

CASES = {"detection": compare_detection, "training": compare_training}
SEEDS = range(1, 81)
MULTIPLE = 10


class Report:
    """Keeps the worst of each output and what failed, which it prints at once."""

    def __init__(self):
        self.failed_seeds, self.worst, self.excused = [], {}, {}
        self.seed, self.case = None, None  # of the running comparison; the case until it is printed

    def begin(self, seed):
        self.seed, self.case = seed, None

    def describe(self, case):
        """What is running, for the failures."""
        self.case = case

    def fail(self, words):
        if self.seed not in self.failed_seeds:
            self.failed_seeds.append(self.seed)
        if self.case:
            print(f"seed {self.seed}: {self.case}")
            self.case = None
        print(f"FAILED: seed {self.seed}: {words}", flush=True)

    def check(self, passed, words):
        if not passed:
            self.fail(words)

    def bounded(self, name, error, tolerance, float32_error):
        """`float32_error`: a function, asked only where the tolerance does not do."""
        if error <= tolerance:
            self.worst[name] = max((error, self.seed), self.worst.get(name, (0, 0)))
            return
        other = float32_error()
        if error <= MULTIPLE * other < float("inf"):
            multiple = (error / other, self.seed)
            self.excused[name] = max(multiple, self.excused.get(name, (0, 0)))
        else:
            self.fail(f"{name}: {error:.1e} (tolerance {tolerance:g}, float32 {other:.1e})")

    def compare(self, label, found, expected, tolerance):
        """`found`: name -> tensor; `expected(dtype)` gives the same names."""
        exact, rounded = expected(torch.double), {}

        def float32_error(name):
            if not rounded:
                rounded.update(expected(torch.float))
            return compare(rounded[name], exact[name])

        self.check(found.keys() == exact.keys(), f"{label}: outputs {', '.join(found)}")
        for name in found.keys() & exact.keys():
            error = compare(found[name], exact[name])
            kind = name.split(".")[0]
            self.bounded(f"{label} {kind}", error, tolerance, lambda n=name: float32_error(n))

    def finish(self):
        for name, (error, seed) in sorted(self.worst.items()):
            print(f"worst {name}: {error:.1e} (seed {seed})")
        for name, (multiple, seed) in sorted(self.excused.items()):
            print(f"beyond, {name}: {multiple:.1f} times float32's error (seed {seed})")
        for seed in self.failed_seeds:
            script = Path(__file__).resolve()
            library = aaclip.library_path()
            print(
                f"FAILED: AACLIP_LIBRARY={library} {sys.executable} {script} --seeds {seed}..{seed}"
            )
        return 1 if self.failed_seeds else 0


def run_seed(report, seed):
    for name, compare_case in CASES.items():
        report.begin(seed)
        with tempfile.TemporaryDirectory(prefix="aaclip-slow-") as folder:
            try:
                compare_case(report, random.Random(f"{name} {seed}"), Path(folder))
            except Exception:  # the other cases are still of interest
                report.fail(traceback.format_exc())


def seed_range(text):
    """A..B, both included."""
    first, last = map(int, text.split(".."))
    return range(first, last + 1)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seeds", type=seed_range, default=SEEDS, metavar="A..B")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="starts no seed later")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    torch.set_num_threads(1)  # the models are small
    report, start, done = Report(), time.monotonic(), 0
    for seed in arguments.seeds:
        if time.monotonic() - start > arguments.seconds:
            break
        run_seed(report, seed)
        done += 1
    print(f"{done} seeds in {time.monotonic() - start:.0f} s, from {arguments.seeds[0]}")
    sys.exit(report.finish())


if __name__ == "__main__":
    main()
