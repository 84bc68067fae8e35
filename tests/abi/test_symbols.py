"""The version map, the headers and the built library name the same functions, one by one; the
soversion and the map's version are the major version."""

import re
import subprocess
import sys
from pathlib import Path

library, symbol_map, *headers = sys.argv[1:]

form = re.fullmatch(
    r"AACLIP_(\d+) \{\nglobal:\n((?:    aaclip_\w+;\n)+)local:\n    \*;\n\};\n",
    Path(symbol_map).read_text(),
)
if not form:
    sys.exit(f"{symbol_map}: expected one version AACLIP_n, each function by its name, no wildcard")
mapped = set(re.findall(r"aaclip_\w+", form[2]))
major = None
declared = set()
for header in headers:
    text = re.sub(r"/\*.*?\*/", "", Path(header).read_text(), flags=re.S)
    declared |= set(re.findall(r"AACLIP_API[^;{]*?\b(aaclip_\w+)\s*\(", text))
    major = next(iter(re.findall(r"define AACLIP_VERSION_MAJOR\s+(\d+)", text)), major)
listing = subprocess.run(
    ["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True
).stdout
exported = {line.split()[-1].split("@")[0] for line in listing.splitlines() if " A " not in line}
dynamic = subprocess.run(
    ["readelf", "--dynamic", library], capture_output=True, text=True, check=True
).stdout
soname = re.search(r"soname: \[(.*)\]", dynamic)

problems = [
    f"{name}: {what}"
    for names, what in (
        (declared - mapped, "declared in a header, not in the version map"),
        (mapped - declared, "in the version map, not declared in a header"),
        (mapped - exported, "in the version map, not exported by the library"),
        (exported - mapped, "exported by the library, not in the version map"),
    )
    for name in sorted(names)
]
for found, expected in ((form[1], major), (soname and soname[1], f"libaaclip.so.{major}")):
    if found != expected:
        problems.append(f"{found}: the major version expected: {expected}")
print("\n".join(problems) or f"{len(mapped)} functions agree")
sys.exit(bool(problems) or not mapped)
