"""Which library is loaded, and what is rejected on import."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
from enum import IntEnum
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

import aaclip
from aaclip import _check, _enums, _library
from aaclip import _structs as s
from aaclip._functions import lib

SOURCE = Path(aaclip.__file__).parent.parent


def start(code: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    inherited = {k: v for k, v in os.environ.items() if k != "AACLIP_LIBRARY"}
    inherited["PYTHONPATH"] = os.pathsep.join([str(SOURCE), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-c", code], env={**inherited, **environment}, capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip


def refused(code: str, **environment: str) -> str:
    done = start(code, **environment)
    assert done.returncode == 1
    assert "ImportError" in done.stderr, done.stderr
    return done.stderr.strip().splitlines()[-1]


def test_version() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", aaclip.version())
    assert aaclip.version().split(".")[0] == aaclip.__version__.split(".")[0]


def test_named_library_is_the_one() -> None:
    named = start("import aaclip; print(aaclip.library_path())", AACLIP_LIBRARY=loaded_file())
    assert named.stdout.strip() == loaded_file(), named.stderr


def loaded_file() -> str:
    """The file behind the name that the loader was given."""
    with open("/proc/self/maps") as maps:
        (path,) = {row.split()[-1] for row in maps if "libaaclip" in row}
    return path


def test_named_library_that_is_missing() -> None:
    text = refused("import aaclip", AACLIP_LIBRARY="/nowhere/libaaclip.so")
    assert "AACLIP_LIBRARY" in text and "/nowhere/libaaclip.so" in text


def test_another_library_is_refused() -> None:
    text = refused("import aaclip", AACLIP_LIBRARY="libm.so.6")
    assert "libm.so.6 has no function aaclip_" in text


def test_no_library_at_all() -> None:
    code = (
        "import sys; import importlib.util as u; sys.path.insert(0, %r)\n"
        "import ctypes, types\n"
        "def no(name): raise OSError(name + ': cannot open shared object file')\n"
        "ctypes.CDLL = no\n"
        "import aaclip" % str(SOURCE)
    )
    if _library.carried_library():
        assert "the library inside the package cannot be loaded" in refused(code)
    else:
        text = refused(code)
        assert "libaaclip.so.0" in text and "AACLIP_LIBRARY" in text


def test_older_and_newer_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    for number, fits in ((0x000100, True), (0x000101, True), (0x000200, True), (0x000063, False),
                         (0x010000, False)):  # fmt: skip
        monkeypatch.setattr(lib, "version", lambda number=number: number)
        if fits:
            _check.check_version()
        else:
            with pytest.raises(ImportError, match="version: expected"):
                _check.check_version()


def changed(struct: type[ctypes.Structure], fields: list[Any]) -> type[ctypes.Structure]:
    return type(struct.__name__, (ctypes.Structure,), {"_fields_": fields})


def swapped(struct: type[ctypes.Structure], one: str, other: str) -> type[ctypes.Structure]:
    """The same struct, of the same size, with two members swapped."""
    names = {one: other, other: one}
    return changed(struct, [(names.get(f[0], f[0]), *f[1:]) for f in struct._fields_])


@pytest.mark.parametrize(
    ("struct", "one", "other", "check"),
    [
        (s.Region, "area", "peak_x", _check.check_regions),
        (s.Region, "peak", "mean", _check.check_regions),
        (s.MetricValues, "image_auroc", "image_f1_threshold", _check.check_metrics),
        (s.MetricValues, "images", "normal_images", _check.check_metrics),
    ],
)
def test_swapped_members_are_found(
    struct: type[ctypes.Structure], one: str, other: str, check: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    check()
    wrong = swapped(struct, one, other)
    monkeypatch.setattr(s, struct.__name__, wrong)
    function = {_check.check_regions: "regions_find", _check.check_metrics: "metrics_compute"}[check]
    _loosen(function, monkeypatch)
    with pytest.raises(ImportError, match=struct.__name__):
        check()


def _loosen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes a function accept the wrong struct."""
    function = getattr(lib, name)
    arguments = list(function.argtypes)
    monkeypatch.setattr(function, "argtypes", [ctypes.c_void_p if isinstance(a, type) and
                        issubclass(a, ctypes._Pointer) else a for a in arguments])  # fmt: skip
    if name == "regions_find":
        monkeypatch.setattr(lib.regions_free, "argtypes", [ctypes.c_void_p])


@pytest.mark.parametrize("name", list(_check._READ))
def test_larger_struct_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    struct = getattr(s, name)
    monkeypatch.setattr(s, name, changed(struct, [*struct._fields_, ("later", ctypes.c_uint64)]))
    _loosen_all(monkeypatch)
    with pytest.raises(ImportError, match=f"size of {name}: expected .*, found that there is no later"):
        _check.check_sizes()


@pytest.mark.parametrize("name", ["DatasetOptions", "MetricsOptions", "Calibration"])
def test_smaller_struct_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """ModelOptions without its last member has the same size; test_abi finds that."""
    struct = getattr(s, name)
    monkeypatch.setattr(s, name, changed(struct, struct._fields_[:-1]))
    _loosen_all(monkeypatch)
    with pytest.raises(ImportError, match=f"size of {name}: expected "):
        _check.check_sizes()


def _loosen_all(monkeypatch: pytest.MonkeyPatch) -> None:
    for fill, _, _ in _check._READ.values():
        monkeypatch.setattr(fill, "argtypes", [ctypes.c_void_p, ctypes.c_size_t])
    for name in ("model_open", "dataset_open", "metrics_new", "decide"):
        _loosen(name, monkeypatch)


def renumbered(name: str, values: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_enums, name, IntEnum(name, values))


KINDS = [
    (name, check)
    for check, names in (
        (_check.check_names, ["Status"]),
        (_check.check_pixels, ["PixelFormat"]),
        (_check.check_profiles, ["Profile", "Stage"]),
        (_check.check_metrics, ["Curve"]),
        (_check.check_members, [kind for read in _check._READ.values() for kind in read[2].values()]),
    )
    for name in names
]


@pytest.mark.parametrize(("name", "check"), KINDS, ids=lambda part: getattr(part, "__name__", part))
@pytest.mark.parametrize("change", [1, -1])
def test_longer_and_shorter_enums_are_found(
    name: str, check: Any, change: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    check()
    values = {each.name: each.value for each in getattr(_enums, name)}
    if change > 0:
        values["NEWER"] = max(values.values()) + 1
    else:
        values.popitem()
    renumbered(name, values, monkeypatch)
    with pytest.raises(ImportError, match=name):
        check()


@pytest.mark.parametrize("name", ["Precision", "Profile", "Domain", "Status"])
def test_renumbered_enum_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names = reversed(getattr(_enums, name).__members__)
    renumbered(name, {each: i for i, each in enumerate(names)}, monkeypatch)
    with pytest.raises(ImportError, match=f"{name} 0"):
        _check.check_names()


def test_renumbered_pixel_format_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {each.name: each.value for each in _enums.PixelFormat}
    renumbered("PixelFormat", {**values, "RGB8": 1, "BGR8": 0}, monkeypatch)
    with pytest.raises(ImportError, match="PixelFormat RGB8"):
        _check.check_pixels()


def test_everything_public_says_what_it_is() -> None:
    silent = []
    for name in aaclip.__all__:
        public = getattr(aaclip, name)
        if not callable(public) or not getattr(public, "__module__", "").startswith("aaclip"):
            continue
        if not public.__doc__:
            silent.append(name)
        members = vars(public) if isinstance(public, type) else {}
        for member, value in members.items():
            method = isinstance(value, (FunctionType, classmethod, staticmethod, property))
            if method and not member.startswith("_") and not value.__doc__:
                silent.append(f"{name}.{member}")
    assert silent == []
