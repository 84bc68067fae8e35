#!/usr/bin/env python3
"""Lines and branches of lib/ that builds with -Db_coverage=true have run, by folder, from gcov's JSON.

coverage.py BUILD... [--files] [--missing NAME...] [--least LINES BRANCHES]. tests/coverage.sh makes the
builds and runs the tests. A source that is compiled several times (instruction sets, the faulty file layer)
counts once: a branch was taken where any of them took it. docs/reliability.md#coverage has what is
left out.
"""

import argparse
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from collections import defaultdict
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1]


def gcov(note):
    """The report of an object by its .gcno; there is one, too, where nothing was run."""
    command = ["gcov", "--json-format", "--stdout", "--branch-probabilities", str(note)]
    done = subprocess.run(command, cwd=note.parent, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def source_of(report, name, build):
    """A file of lib/ by its name there, or None."""
    path = (build / name).resolve() if name.startswith("..") else (Path(report["current_working_directory"]) / name)
    try:
        relative = path.resolve().relative_to(SOURCE)
    except ValueError:
        return None
    return str(relative) if relative.parts[0] == "lib" else None


class Coverage:
    """What was run, by file."""

    def __init__(self):
        self.lines = defaultdict(dict)  # file: {line: whether it was run}
        self.branches = defaultdict(dict)  # file: {(function, line): [whether it was taken]}

    def add(self, file, lines):
        for line in lines:
            number, function = line["line_number"], line.get("function_name")
            # Threads count without a lock: a counter may be off, or negative, but not zero.
            self.lines[file][number] = self.lines[file].get(number, False) or line["count"] != 0
            taken = [branch["count"] != 0 for branch in line["branches"] if not branch["throw"]]
            known = self.branches[file].setdefault((function, number), taken)
            if len(known) == len(taken):
                self.branches[file][function, number] = [a or b for a, b in zip(known, taken)]
            elif sum(taken) > sum(known):
                self.branches[file][function, number] = taken

    def figures(self, file):
        """Lines run, lines, branches taken, branches."""
        branches = [taken for each in self.branches[file].values() for taken in each]
        return sum(self.lines[file].values()), len(self.lines[file]), sum(branches), len(branches)

    def missing(self, file):
        text = (SOURCE / file).read_text().splitlines()
        for number in sorted(self.lines[file]):
            if not self.lines[file][number]:
                yield f"{file}:{number}: not run: {text[number - 1].strip()}"
        for (_, number), taken in sorted(self.branches[file].items(), key=lambda item: item[0][1]):
            if self.lines[file][number] and not all(taken):
                pattern = "".join("+" if each else "-" for each in taken)
                yield f"{file}:{number}: {pattern} {text[number - 1].strip()}"


def collect(coverage, build):
    notes = [*build.glob("lib/**/*.gcno"), *build.glob("tests/faults/**/faulty_posix.c.gcno")]
    with ThreadPoolExecutor() as pool:
        for reports in pool.map(gcov, sorted(notes)):
            for report in reports:
                for each in report["files"]:
                    file = source_of(report, each["file"], build)
                    if file:
                        coverage.add(file, each["lines"])


def show(name, figures):
    run, lines, taken, branches = figures
    print(f"{name:44} {run:6} {lines:6} {percent(run, lines):6.1f} %  {taken:6} {branches:6} {percent(taken, branches):6.1f} %")


def percent(part, whole):
    return 100 * part / whole if whole else 100.0


def total(rows):
    return tuple(map(sum, zip(*rows))) if rows else (0, 0, 0, 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("builds", nargs="+", type=Path)
    parser.add_argument("--files", action="store_true", help="a row for each file, too")
    parser.add_argument("--missing", nargs="+", metavar="NAME", default=[],
                        help="the lines not run and branches not taken (-) of files with this in their name")
    parser.add_argument("--least", nargs=2, type=float, default=(0, 0), metavar="PERCENT",
                        help="lines and branches; less in all is a failure")  # fmt: skip
    options = parser.parse_args()
    coverage = Coverage()
    for build in options.builds:
        collect(coverage, build.resolve())
    by_folder = defaultdict(dict)
    for file in sorted(coverage.lines):
        by_folder[str(Path(file).parent)][file] = coverage.figures(file)
    print(f"{'':44} {'lines run':>13} {'':8}  {'branches taken':>13}")
    for folder, files in by_folder.items():
        for file, figures in files.items() if options.files else ():
            show(file, figures)
        show(folder, total(files.values()))
    whole = total([figures for files in by_folder.values() for figures in files.values()])
    show("lib", whole)
    for file in coverage.lines:
        if any(name in file for name in options.missing):
            print(*coverage.missing(file), sep="\n")
    reached = percent(*whole[:2]), percent(*whole[2:])
    if any(found < least for found, least in zip(reached, options.least)):
        sys.exit("expected at least {:.1f} % of the lines and {:.1f} % of the branches".format(*options.least))


main()
