#!/usr/bin/env python3
"""Makes tests/golden/metrics/cases.json: random cases and what scikit-learn and SciPy say."""

import json
import sys
from pathlib import Path

import numpy

from metric_judge import judge, random_case

CASES = 24


def main():
    random = numpy.random.default_rng(24)
    cases = [random_case(random, side=7) for _ in range(CASES)]
    lines = [json.dumps({"case": case, "expected": judge(case)}) for case in cases]
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cases.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    main()
