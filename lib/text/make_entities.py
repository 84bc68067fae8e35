#!/usr/bin/env python3
"""Writes the C tables of HTML character references: make_entities.py OUTPUT"""
import html
import html.entities
import sys


def capital_entities():
    """Lower-case names that ftfy also reads in capitals, unless HTML gives those a meaning."""
    for name, text in html.entities.html5.items():
        reference = "&" + name.upper()
        if name.endswith(";") and name == name.lower() and html.unescape(reference) == reference:
            yield name.upper(), text.upper()


def c_string(text):
    return '"' + "".join(f"\\{byte:03o}" for byte in text.encode()) + '"'


def table(name, count_name, entities):
    rows = [f'    {{"{key}", {c_string(text)}}},' for key, text in sorted(entities)]
    return "\n".join([f"const aac_entity {name}[] = {{", *rows, "};",
                      f"const size_t {count_name} = {len(rows)};", ""])


def main():
    with open(sys.argv[1], "w", encoding="ascii") as output:
        output.write("/* Made by make_entities.py from Python's html.entities. */\n"
                     '#include "text/entities.h"\n\n')
        output.write(table("aac_html_entities", "aac_html_entity_count",
                           html.entities.html5.items()) + "\n")
        output.write(table("aac_capital_entities", "aac_capital_entity_count",
                           capital_entities()))


if __name__ == "__main__":
    main()
