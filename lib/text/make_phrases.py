#!/usr/bin/env python3
"""Writes the C table of class phrases: make_phrases.py class-phrases.json OUTPUT"""
import json
import sys

DOMAINS = {"Industrial": "AACLIP_DOMAIN_INDUSTRIAL", "Medical": "AACLIP_DOMAIN_MEDICAL"}


def c_string(text):
    """Printable ASCII as it is, every other byte in octal."""
    escaped = (chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}"
               for byte in text.encode())
    return '"' + "".join(escaped) + '"'


def main():
    with open(sys.argv[1], encoding="utf-8") as source:
        datasets = json.load(source)
    lines = ["/* Made by make_phrases.py from class-phrases.json. */", '#include "text/phrases.h"', ""]
    for index, dataset in enumerate(datasets.values()):
        lines.append(f"static const aac_class_phrase classes_{index}[] = {{")
        lines += [f"    {{{c_string(name)}, {c_string(phrase)}}},"
                  for name, phrase in dataset["classes"].items()]
        lines += ["};", ""]
    lines.append("const aac_phrase_table aac_phrase_tables[] = {")
    lines += [f"    {{{c_string(name)}, {DOMAINS[dataset['domain']]}, classes_{index}, "
              f"{len(dataset['classes'])}}},"
              for index, (name, dataset) in enumerate(datasets.items())]
    lines += ["};", f"const size_t aac_phrase_table_count = {len(datasets)};", ""]
    with open(sys.argv[2], "w", encoding="ascii") as output:
        output.write("\n".join(lines))


if __name__ == "__main__":
    main()
