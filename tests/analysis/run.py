#!/usr/bin/env python3
"""Static analysis of lib/ and examples/: clang-tidy, cppcheck, gcc's -fanalyzer. A finding is a failure.

docs/reliability.md#static-analysis has what is looked for and what is left out.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
OUTPUTS = {"-o": 1, "-MQ": 1, "-MF": 1, "-MD": 0, "-Werror": 0, "-fdiagnostics-color=always": 0}


# gcc 12 takes the shift of a vector for one by more bits than an element has.
ANALYZER = ["-fanalyzer", "-Wno-analyzer-shift-count-overflow"]


def prepare(build):
    """A build folder with the sources that are made."""
    if not (build / "build.ninja").exists():
        options = ["-Dtests=disabled", "-Dbuildtype=debugoptimized", "-Dhardening=false"]
        subprocess.run(["meson", "setup", build, *options], cwd=SOURCE, check=True, stdout=subprocess.DEVNULL)
    tables = ["lib/text/entity_table.c", "lib/text/phrase_table.c"]
    subprocess.run(["ninja", "-C", build, *tables], check=True, stdout=subprocess.DEVNULL)


def arguments_of(entry, file):
    """The arguments without those for output files; in lib/ with what is to be assumed."""
    kept, words = [], iter(shlex.split(entry["command"]))
    for word in words:
        if word in OUTPUTS:
            for _ in range(OUTPUTS[word]):
                next(words)
        elif kept or Path(word).name != "ccache":
            kept.append(word)
    if SOURCE / "lib" in file.parents and file != SOURCE / "lib/core/error.c":
        kept[1:1] = ["-include", str(HERE / "assume.h")]
    return kept


def commands_of(build):
    """Each source once for each set of definitions and instruction sets that it is compiled with."""
    commands = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        file = (build / entry["file"]).resolve()
        if file.suffix == ".c" and {SOURCE / "lib", SOURCE / "examples"} & set(file.parents):
            arguments = arguments_of(entry, file)
            compiled_as = file, *sorted(a for a in arguments if a.startswith(("-D", "-m")))
            commands.setdefault(
                compiled_as, {"directory": str(build), "file": str(file), "arguments": arguments}
            )
    return list(commands.values())


def changed_since(revision):
    listing = subprocess.run(
        ["git", "diff", "--name-only", revision], cwd=SOURCE, check=True, capture_output=True, text=True
    )
    return {str(SOURCE / name) for name in listing.stdout.split()}


def includes_any(command, files):
    """Whether a compilation reads one of the files; also when a header of it is gone, as -MM fails."""
    status, text = run([*command["arguments"], "-MM", "-MF", "-"], command["directory"])
    words = text.replace("\\\n", " ").split()[1:]
    read = {str((Path(command["directory"]) / word).resolve()) for word in words}
    return status != 0 or bool(read & files)


def only_those(commands, files):
    """The compilations of some files, and those that include one of them."""
    headers = {file for file in files if file.endswith(".h")}
    return [
        command for command in commands
        if command["file"] in files or (headers and includes_any(command, headers))
    ]  # fmt: skip


def run(command, folder):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


# clang-tidy's, of headers: compilers call them by their way from the build folder.
OURS = f"^{SOURCE}/([^/]+/[.][.]/)?(lib|include|examples)/"


def clang_tidy(file, arguments, folder, work):
    """One file a process: version 14 takes each va_list of a second one for uninitialised."""
    del arguments
    status, text = run(
        ["clang-tidy", "-p", str(work), "--quiet", f"--header-filter={OURS}", file], folder
    )
    lines = text.splitlines()
    return "\n".join(line for line in lines if " generated." not in line) if status else ""


def fanalyzer(file, arguments, folder, work):
    """Of lib/; without OpenMP, whose parts of loops gcc 12 calls uninitialised."""
    del work
    if SOURCE / "lib" not in Path(file).parents:
        return ""
    serial = [word for word in arguments if not word.startswith("-fopenmp")]
    status, text = run([*serial, "-Wno-unknown-pragmas", *ANALYZER, "-o", os.devnull], folder)
    return text if status or "[-Wanalyzer" in text else ""


def cppcheck(commands, work, jobs):
    status, text = run(
        ["cppcheck", f"--project={work / 'compile_commands.json'}", "--quiet", "--template=gcc",
         "--enable=warning,performance,portability", "--inline-suppr", "--library=posix", "-j", str(jobs),
         f"--suppressions-list={HERE / 'cppcheck.txt'}", "--error-exitcode=1",
         # Of headers that it does not read.
         "-Djson_object_foreach(object,key,value)=while (next(object, &key, &value))",
         "-Djson_array_foreach(array,index,value)=while (next(array, &index, &value))"], work
    )  # fmt: skip
    return [text] if status else []


def each(check):
    """A check of all files, of one that takes a file."""

    def check_all(commands, work, jobs):
        with ThreadPoolExecutor(jobs) as pool:
            texts = pool.map(
                lambda command: check(command["file"], command["arguments"], command["directory"], work),
                commands,
            )
            return [text for text in texts if text]

    return check_all


CHECKS = {"cppcheck": cppcheck, "fanalyzer": each(fanalyzer), "clang-tidy": each(clang_tidy)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checks", nargs="*", metavar="CHECK", help=f"of {', '.join(CHECKS)}; else all")
    parser.add_argument("--build", type=Path, default=SOURCE / "build-analysis", help="a build folder; made if missing")
    parser.add_argument("--changed", metavar="REVISION", help="only what differs from it in git, and what includes that")
    parser.add_argument("--files", nargs="+", type=Path, help="only these")
    options = parser.parse_args()
    build = options.build.resolve()
    prepare(build)
    commands = commands_of(build)
    if options.changed or options.files:
        some = {str(file.resolve()) for file in options.files or []}
        some |= changed_since(options.changed) if options.changed else set()
        commands = only_those(commands, some)
    work = build / "analysis"
    work.mkdir(exist_ok=True)
    (work / "compile_commands.json").write_text(json.dumps(commands, indent=1))
    failed = False
    for name in options.checks or CHECKS:
        begin = time.monotonic()
        findings = CHECKS[name](commands, work, os.cpu_count())
        print(*findings, sep="\n", end="\n" if findings else "")
        seconds = time.monotonic() - begin
        print(f"{name}: {len(commands)} compilations, {'findings' if findings else 'clean'}, {seconds:.0f} s")
        failed |= bool(findings)
    sys.exit(failed)


main()
