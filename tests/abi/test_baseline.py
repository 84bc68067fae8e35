"""Nothing that the headers declare slips past the ABI tests.

- The baseline has every function, with all its parameters, and every struct and enum; what no
  function's type names is in constants.c.
- Every struct that begins with its size is tested with other sizes in test_options.c.
"""

import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

baseline, constants, options_test, *headers = map(Path, sys.argv[1:])
text = "\n".join(re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.S) for path in headers)
dump = ElementTree.parse(baseline).getroot()


def parameters(declared):
    return 0 if declared.strip() == "void" else declared.count(",") + 1


functions = {
    name: parameters(declared)
    for name, declared in re.findall(r"AACLIP_API[^;{]*?\b(aaclip_\w+)\s*\(([^;]*)\);", text)
}
found_functions = {
    function.get("name"): len(function.findall("parameter"))
    for function in dump.iter("function-decl")
}
symbols = {symbol.get("name") for symbol in dump.find("elf-function-symbols")}
types = {
    kind: set(re.findall(rf"^typedef {kind} (aaclip_\w+)", text, re.M))
    for kind in ("struct", "enum")
}
found_types = {
    "struct": {element.get("name") for element in dump.iter("class-decl")},
    "enum": {element.get("name") for element in dump.iter("enum-decl")},
}
sized = set(re.findall(r"^typedef struct (aaclip_\w+) \{\s*size_t size;", text, re.M))
if not (functions and sized and all(types.values())):
    sys.exit("no functions, structs or enums in the headers")

problems = [
    f"{name}: {expected} parameters in its header, "
    f"{found_functions.get(name, 'none')} in {baseline}"
    for name, expected in sorted(functions.items())
    if found_functions.get(name) != expected or name not in symbols
]
problems += [
    f"{name}: in {baseline}, in no header"
    for name in sorted(set(found_functions) - set(functions))
]
problems += [
    f"{kind} {name}: neither in {baseline} nor in {constants}"
    for kind, names in types.items()
    for name in sorted(names - found_types[kind])
    if name not in constants.read_text()
]
problems += [
    f"{kind} {name}: in {baseline}, in no header"
    for kind, names in found_types.items()
    for name in sorted(names - types[kind])
]
problems += [
    f"{name}: begins with its size and is not in {options_test}"
    for name in sorted(sized)
    if not re.search(rf"\b{name}\b", options_test.read_text())
]
type_count = sum(map(len, types.values()))
print("\n".join(problems) or f"{len(functions)} functions, {type_count} types, {len(sized)} sized")
sys.exit(bool(problems))
