#!/usr/bin/env python3
"""Writes a program's manual page from what it prints for --help and --version."""

import re
import subprocess
import sys


def roff(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.M)


def paragraphs(text):
    """Blocks between empty lines, as lists of lines."""
    return [block.split("\n") for block in re.split(r"\n{2,}", text.strip("\n"))]


def options(lines):
    """["  --out FILE  where", "              it goes"] -> [("--out FILE", "where it goes")]."""
    # the column in which the help of most options begins
    columns = [re.match(r"  \S.*?  +(?=\S)", line) for line in lines]
    starts = [match.end() for match in columns if match]
    column = max(set(starts), key=starts.count) if starts else 0
    found = []
    for line in lines:
        if line.startswith("  -"):
            name, _, help_text = re.match(r"  (.*?)(  +|$)(.*)", line).groups()
            if not help_text and len(line) > column and line[column - 1] == " ":
                name, help_text = line[2:column].strip(), line[column:]
            found.append([name, help_text])
        elif found:
            found[-1][1] += " " + line.strip()
    # two options in one line, each with its default: --a N  [1]     --b N  [2]
    split = []
    for name, help_text in found:
        first, *others = re.split(r" {2,}(?=--)", help_text)
        split.append((name, first.strip()))
        split += [tuple(re.match(r"(.*?)(?: {2,}|$)(.*)", other).groups()) for other in others]
    return split


def page(name, help_text, version):
    usage, *rest = paragraphs(help_text)
    about = rest[0]
    sentence = re.split(r"(?<=\.) ", " ".join(about))[0].rstrip(".")
    lines = [
        f'.TH "{name.upper()}" "1" "" "libaaclip {version}" "libaaclip"',
        ".SH NAME",
        f"{roff(name)} \\- {roff(sentence[0].lower() + sentence[1:])}",
        ".SH SYNOPSIS",
    ]
    calls = re.sub(r"\n {2,}(?=[\[(.])", " ", "\n".join(usage)).split("\n")
    for call in calls:
        call = re.sub(r"^(usage:|\s+)\s*", "", call)
        program, _, arguments = call.partition(" ")
        lines += [f".B {roff(program)}", roff(arguments), ".br"]
    lines.append(".SH DESCRIPTION")
    listed = False
    for block in rest:
        if any(line.startswith("  -") for line in block):
            if not listed:
                lines.append(".SH OPTIONS")
                listed = True
            for option, text in options(block):
                lines += [".TP", f".B {roff(option)}", roff(text) or "\\&"]
        else:
            lines += [".PP", *map(roff, (line.strip() for line in block))]
    lines += [
        ".SH SEE ALSO",
        roff("The other programs of libaaclip: ")
        + ", ".join(f"{roff(p)}(1)" for p in PROGRAMS if p != name) + ".",
    ]
    return "\n".join(lines) + "\n"


PROGRAMS = [f"aaclip-{p}" for p in ("bench", "convert", "detect", "evaluate", "generate", "train")]


def main():
    program, name, out = sys.argv[1:]

    def ask(option):
        return subprocess.run([program, option], check=True, capture_output=True, text=True).stdout

    with open(out, "w", encoding="utf-8") as file:
        file.write(page(name, ask("--help"), ask("--version").split()[-1]))


if __name__ == "__main__":
    main()
