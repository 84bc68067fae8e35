"""The version map, the headers and the built library name the same functions."""

import re
import subprocess
import sys
from pathlib import Path

library, symbol_map, *headers = sys.argv[1:]

mapped = set(re.findall(r"^\s+(aaclip_\w+);", Path(symbol_map).read_text(), re.M))
declared = set()
for header in headers:
    text = re.sub(r"/\*.*?\*/", "", Path(header).read_text(), flags=re.S)
    declared |= set(re.findall(r"AACLIP_API[^;{]*?\b(aaclip_\w+)\s*\(", text))
listing = subprocess.run(
    ["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True
).stdout
exported = {line.split()[-1].split("@")[0] for line in listing.splitlines() if " A " not in line}

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
print("\n".join(problems) or f"{len(mapped)} functions agree")
sys.exit(bool(problems) or not mapped)
