"""What the linker and the compiler made of the hardening options: test_hardening.py FORTIFIED LIBRARY
PROGRAM..., by readelf. FORTIFIED, yes or no: whether calls that check lengths are expected."""

import re
import subprocess
import sys

fortified, library, *programs = sys.argv[1:]


def readelf(file, *options):
    command = ["readelf", "--wide", *options, file]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def missing(file):
    """What is not as it should be, in words."""
    header, segments, dynamic = (readelf(file, o) for o in ("--file-header", "--segments", "--dynamic"))
    stack = re.search(r"GNU_STACK.* (\S+)\s+0x\w+$", segments, re.M)
    writable_code = [line for line in segments.splitlines() if re.search(r"LOAD .* (RWE|WE) ", line)]
    flags = " ".join(re.findall(r"\(FLAGS(?:_1)?\)\s+(.*)", dynamic))
    checks = {
        "position independent": re.search(r"Type:\s+DYN", header),
        "relocations become read-only (GNU_RELRO)": "GNU_RELRO" in segments,
        "symbols are bound at the start (BIND_NOW)": re.search(r"BIND_NOW|\bNOW\b", flags + dynamic),
        "the stack is not executable": stack and "E" not in stack[1],
        "no memory is both writable and executable": not writable_code,
        "code is not relocated (TEXTREL)": "TEXTREL" not in dynamic,
    }
    return [what for what, holds in checks.items() if not holds]


problems = [f"{file}: not so: {what}" for file in (library, *programs) for what in missing(file)]
symbols = readelf(library, "--dyn-syms")
for paths in re.findall(r"\((?:RPATH|RUNPATH)\).*\[(.*)\]", readelf(library, "--dynamic")):
    if any(not path.startswith("/usr/") for path in paths.split(":")): # clang's libomp lies there
        problems.append(f"{library}: looks for libraries in {paths}")
if "__stack_chk_fail" not in symbols:
    problems.append(f"{library}: no function has a stack protector")
checked = sorted(set(re.findall(r"\b__\w+_chk\b", symbols)))
if fortified == "yes" and not {"__memcpy_chk", "__snprintf_chk", "__vsnprintf_chk"} <= set(checked):
    problems.append(f"{library}: calls that check lengths: {', '.join(checked) or 'none'}")
print("\n".join(problems) or f"{1 + len(programs)} files; {', '.join(checked) or 'not fortified'}")
sys.exit(bool(problems))
