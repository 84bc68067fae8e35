"""Structs, enumerations and functions against the C headers, as a C compiler reads them."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
from enum import IntEnum

import pytest
from conftest import ROOT

from aaclip import _enums as e
from aaclip import _functions, _structs
from aaclip._version import __version__

HEADERS = ROOT / "include" / "aaclip"

# Functions that Python does not call, and why.
NOT_USED = {
    "set_allocator",  # hooks in Python would be called by threads that Python does not know
    "detector_detect",  # detect_batch with one image
    "model_open_memory",  # the bytes would have to outlive everything made from the model
    "write_npy",  # numpy.save
    # for aaclip-bench and C programs: Python has its own profilers
    "profiler_close",
    "profiler_count",
    "profiler_get",
    "profiler_start",
    "profiler_stop",
}

PREFIXES: dict[type[IntEnum], str] = {
    e.LogLevel: "LOG",
    e.CalibrationMethod: "CALIBRATION",
    e.DecideBy: "DECIDE_BY",
    e.MetricsMode: "METRICS",
    e.MetricsWanted: "METRICS",
    e.PixelFormat: "PIXEL",
}


def structs() -> list[type[ctypes.Structure]]:
    found = vars(_structs).values()
    return [t for t in found if isinstance(t, type) and issubclass(t, ctypes.Structure)
            and t is not ctypes.Structure]  # fmt: skip


def enums() -> list[type[IntEnum]]:
    found = vars(e).values()
    return [t for t in found if isinstance(t, type) and issubclass(t, IntEnum)
            and t not in (IntEnum, e.Named)]  # fmt: skip


def snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def constant(member: IntEnum) -> str:
    kind = type(member)
    if kind is e.Status:
        return "AACLIP_OK" if member == 0 else f"AACLIP_ERROR_{member.name}"
    return f"AACLIP_{PREFIXES.get(kind, snake(kind.__name__).upper())}_{member.name}"


def header_text() -> str:
    text = "".join(path.read_text() for path in sorted(HEADERS.glob("*.h")))
    return re.sub(r"/\*.*?\*/", "", text, flags=re.S)


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """What a C program reports for every struct, member and constant."""
    folder = tmp_path_factory.mktemp("abi")
    include = folder / "include" / "aaclip"
    shutil.copytree(HEADERS, include)
    version = (HEADERS / "version.h.in").read_text()
    (include / "version.h").write_text(re.sub("@[A-Z]+@", "0", version))
    lines = []
    for struct in structs():
        c_name = f"aaclip_{snake(struct.__name__)}"
        lines.append(f'P("{struct.__name__}", sizeof({c_name}));')
        for field in struct._fields_:
            what = f"{struct.__name__}.{field[0]}"
            lines.append(f'P("{what}", offsetof({c_name}, {field[0]}));')
            lines.append(f'P("{what} size", sizeof((({c_name} *)0)->{field[0]}));')
    lines += [f'P("{constant(m)}", {constant(m)});' for kind in enums() for m in kind]
    lines += [f'P("{n}", AACLIP_{n});' for n in ("MAX_LEVELS", "MAX_MILESTONES")]
    lines.append('P("MEAN", AACLIP_METRICS_MEAN == (size_t)-1);')
    source = folder / "abi.c"
    source.write_text(
        "#include <stddef.h>\n#include <stdio.h>\n#include <aaclip/aaclip.h>\n"
        '#define P(name, value) printf("%s=%lld\\n", name, (long long)(value))\n'
        "int main(void) {\n" + "\n".join(lines) + "\nreturn 0; }\n"
    )
    compiler = os.environ.get("CC", "cc").split()
    program = folder / "abi"
    subprocess.run([*compiler, f"-I{folder / 'include'}", source, "-o", program], check=True)
    printed = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    return {name: int(value) for name, value in (row.split("=") for row in printed.splitlines())}


@pytest.mark.parametrize("struct", structs(), ids=lambda struct: struct.__name__)
def test_struct(struct: type[ctypes.Structure], values: dict[str, int]) -> None:
    assert ctypes.sizeof(struct) == values[struct.__name__]
    for field in struct._fields_:
        mirrored = getattr(struct, field[0])
        assert mirrored.offset == values[f"{struct.__name__}.{field[0]}"], field[0]
        assert mirrored.size == values[f"{struct.__name__}.{field[0]} size"], field[0]


@pytest.mark.parametrize("struct", structs(), ids=lambda struct: struct.__name__)
def test_struct_has_all_members(struct: type[ctypes.Structure]) -> None:
    """Also those that were added in a struct's padding."""
    found = re.search(
        rf"typedef struct aaclip_{snake(struct.__name__)} \{{(.*?)\n\}}", header_text(), re.S
    )
    assert found
    declared = set()
    for line in re.sub(r"//.*", "", found[1]).split(";"):
        for part in line.split(","):
            name = re.sub(r"\[.*?\]", "", part).strip().split(" ")[-1].lstrip("*")
            if name:
                declared.add(name)
    assert declared == {field[0] for field in struct._fields_}


@pytest.mark.parametrize("kind", enums(), ids=lambda kind: kind.__name__)
def test_enum(kind: type[IntEnum], values: dict[str, int]) -> None:
    for each in kind:
        assert values[constant(each)] == each.value, each


def test_enums_are_complete() -> None:
    bodies = re.findall(r"typedef enum \w+ \{(.*?)\}", header_text(), re.S)
    declared = {name for body in bodies for name in re.findall(r"(AACLIP_\w+)\s*=", body)}
    assert declared == {constant(each) for kind in enums() for each in kind}


def test_limits(values: dict[str, int]) -> None:
    assert values["MAX_LEVELS"] == _structs.MAX_LEVELS
    assert values["MAX_MILESTONES"] == _structs.MAX_MILESTONES
    assert values["MEAN"] == 1


def declarations() -> dict[str, tuple[str, list[str]]]:
    """Name -> return type, arguments."""
    text = header_text() + re.sub(r"/\*.*?\*/", "", (HEADERS / "version.h.in").read_text(), flags=re.S)
    found = {}
    for result, name, arguments in re.findall(
        r"AACLIP_API\s+([\w\s]+?[\s*]+)aaclip_(\w+)\(([^;]*)\);", text
    ):
        listed = [] if arguments.strip() == "void" else arguments.split(",")
        found[name] = (" ".join(result.split()), [" ".join(a.split()) for a in listed])
    return found


def test_every_function_is_used() -> None:
    exported = set(re.findall(r"aaclip_(\w+);", (ROOT / "lib" / "aaclip.map").read_text()))
    assert exported == set(declarations())
    assert exported - set(_functions._STATUS) - set(_functions._OTHER) == NOT_USED


SCALARS = {
    "size_t": ctypes.c_size_t,
    "uint32_t": ctypes.c_uint32,
    "uint64_t": ctypes.c_uint64,
    "unsigned": ctypes.c_uint,
    "float": ctypes.c_float,
    "double": ctypes.c_double,
    "bool": ctypes.c_bool,
    "int": ctypes.c_int,
    "void": None,
}


def expected_type(declared: str, is_argument: bool) -> object:
    """The ctypes type of a scalar; for a pointer only that it is one."""
    if "*" in declared:
        return "pointer"
    words = [w for w in declared.split() if w != "const"]
    if is_argument and len(words) > 1:
        words = words[:-1]
    name = words[0]
    if name in SCALARS:
        return SCALARS[name]
    mirrored = {f"aaclip_{snake(kind.__name__)}": ctypes.c_int for kind in enums()}
    if name == "aaclip_log_function":
        return "pointer"
    return mirrored.get(name, name)


FUNCTION: type = type(_structs.LogFunction()).__mro__[1]  # ctypes has no public name for it


def kind_of(mirrored: object) -> object:
    if mirrored in (ctypes.c_void_p, ctypes.c_char_p):
        return "pointer"
    if isinstance(mirrored, type) and issubclass(mirrored, (ctypes._Pointer, FUNCTION)):
        return "pointer"
    if isinstance(mirrored, type) and issubclass(mirrored, ctypes.Structure):
        return f"aaclip_{snake(mirrored.__name__)}"
    return mirrored


def test_signatures() -> None:
    declared = declarations()
    mirrored = {name: (ctypes.c_int, arguments) for name, arguments in _functions._STATUS.items()}
    mirrored.update(_functions._OTHER)
    assert len(mirrored) > 80
    for name, (result, arguments) in mirrored.items():
        c_result, c_arguments = declared[name]
        assert (c_result == "aaclip_status") == (name in _functions._STATUS), name
        assert kind_of(result) == expected_type(c_result, False), name
        assert [kind_of(a) for a in arguments] == [expected_type(a, True) for a in c_arguments], name


def test_version_is_the_library_s() -> None:
    declared = re.search(r"version: '([\d.]+)'", (ROOT / "meson.build").read_text())
    assert declared and declared[1] == __version__
