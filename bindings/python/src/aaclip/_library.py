"""Finds and loads the shared library."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

from ._version import __version__

VARIABLE = "AACLIP_LIBRARY"
MAJOR = __version__.split(".", maxsplit=1)[0]

# Next to this file in a wheel that carries the library; see setup.py.
CARRIED = Path(__file__).resolve().parent / "_lib"


def _system_name() -> str:
    if sys.platform == "darwin":
        return f"libaaclip.{MAJOR}.dylib"
    if sys.platform == "win32":
        return f"libaaclip-{MAJOR}.dll"
    return f"libaaclip.so.{MAJOR}"


def carried_library() -> Path | None:
    """The copy inside this package, if it has one."""
    found = sorted(CARRIED.glob("*aaclip*")) if CARRIED.is_dir() else []
    return found[0] if found else None


def _open(name: str, origin: str) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(name)
    except OSError as error:
        raise ImportError(f"aaclip: {origin} cannot be loaded: {error}") from error


def load() -> ctypes.CDLL:
    """The library of AACLIP_LIBRARY, else the one in the package, else the system's."""
    named = os.environ.get(VARIABLE)
    if named:
        return _open(named, f"the library that {VARIABLE} names")
    carried = carried_library()
    if carried:
        return _open(str(carried), "the library inside the package")
    name = _system_name()
    try:
        return ctypes.CDLL(name)
    except OSError as error:
        raise ImportError(
            f"aaclip: no library: {VARIABLE} is not set, this package carries none, and the "
            f"system's loader did not find {name} ({error}). Install libaaclip, or set "
            f"{VARIABLE} to the path of its shared library."
        ) from error
