"""The DLL exports the functions of the version map and no others."""

import re
import subprocess
import sys
from pathlib import Path

objdump, library, symbol_map = sys.argv[1:]

mapped = set(re.findall(r"^\s+(aaclip_\w+);", Path(symbol_map).read_text(), re.M))
listing = subprocess.run([objdump, "-p", library], capture_output=True, text=True, check=True).stdout
table = listing.partition("[Ordinal/Name Pointer] Table")[2].partition("\n\n")[0]
exported = {line.split()[-1] for line in table.splitlines() if line.strip().startswith("[")}

problems = [f"{name}: in the version map, not exported" for name in sorted(mapped - exported)]
problems += [f"{name}: exported, not in the version map" for name in sorted(exported - mapped)]
print("\n".join(problems) or f"{len(mapped)} functions agree")
sys.exit(bool(problems) or not mapped)
