#!/usr/bin/env python3
"""A kernel file of lib/backend/cuda as C++ for emulated.h: convert.py FILE.cu FILE.cpp DEPFILE LIB

Launches and declarations of shared memory have a syntax of their own in CUDA C++; the rest compiles
with the headers of include/."""

import os
import re
import sys


def closing(text, start, opened, closed):
    """Behind the bracket that closes the one at `start`."""
    depth = 0
    for at in range(start, len(text)):
        depth += (text[at] == opened) - (text[at] == closed)
        if depth == 0:
            return at + 1
    raise SystemExit(f"no end of {text[start:start + 40]!r}")


def split(text):
    """At the commas outside of brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def launches(text):
    """kernel<<<shape>>>(arguments) becomes emulated::run({shape}, kernel, arguments)."""
    while "<<<" in text:
        at = text.index("<<<")
        name = re.search(r"\w+(<[\w, ]+>)?$", text[:at])
        shape_end = text.index(">>>", at)
        end = closing(text, shape_end + 3, "(", ")")
        shape, arguments = text[at + 3:shape_end], text[shape_end + 4:end - 1]
        text = (text[:name.start()] + f"emulated::run(emulated::launch({shape}), [](auto... a) "
                f"{{ {name[0]}(a...); }}, {arguments})" + text[end:])
    return text


def shared(text):
    """Variables become references to the block's memory."""
    text = re.sub(r"extern __shared__ (\w+) (\w+)\[\];",
                  r"\1 *\2 = static_cast<\1 *>(emulated::dynamic_memory());", text)

    def declaration(found):
        align = found["align"] or f"alignof({found['type']})"
        made = []
        for declared in split(found["names"]):
            name = re.match(r"\w+", declared)[0]
            kind = found["type"] + declared[len(name):]
            made.append(f"static char {name}_place; auto &{name} = "
                        f"emulated::shared<{kind}>(&{name}_place, {align});")
        return " ".join(made)

    return re.sub(r"__shared__ (__align__\((?P<align>\w+)\) )?(?P<type>\w+) (?P<names>[^;]+);",
                  declaration, text)


def convert(path, folders, read):
    """The file, with the headers of lib/backend/cuda in place of their #include lines."""
    read.append(path)
    with open(path, encoding="utf-8") as file:
        text = file.read()

    def include(found):
        for folder in folders:
            header = os.path.join(folder, found[1])
            if os.path.exists(header):
                line = text[:found.end()].count("\n") + 2
                return convert(header, folders, read) + f'#line {line} "{path}"'
        raise SystemExit(f"{path}: no {found[1]}")

    return f'#line 1 "{path}"\n' + re.sub(r'#include "(backend/cuda/\w+\.cuh)"', include,
                                           shared(launches(text)))


def main():
    source, target, depfile, lib = sys.argv[1:]
    read = []
    text = convert(source, [os.path.join(os.path.dirname(__file__), "include"), lib], read)
    with open(target, "w", encoding="utf-8") as file:
        file.write(text)
    with open(depfile, "w", encoding="utf-8") as file:
        file.write(f"{target}: {' '.join(read)}\n")


main()
