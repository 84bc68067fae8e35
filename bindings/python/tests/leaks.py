"""LeakSanitizer, when the library and this process run under it; see run-tests.sh."""

from __future__ import annotations

import ctypes
import gc
import os
import re

_process = ctypes.CDLL(None)
RUNS = hasattr(_process, "__lsan_do_recoverable_leak_check")


def _log_file() -> str:
    """Where the sanitizer writes: `log_path` of ASAN_OPTIONS, and the process."""
    named = re.search(r"log_path=([^:]+)", os.environ.get("ASAN_OPTIONS", ""))
    if not named:
        raise RuntimeError("ASAN_OPTIONS: expected a log_path, for leaks are read from there")
    return f"{named[1]}.{os.getpid()}"


def of_the_library() -> list[str]:
    """
    Reports on memory that a function of libaaclip allocated and nothing refers to any more. Leaks of
    the interpreter and of other libraries are not ours.
    """
    gc.collect()
    path = _log_file()
    told = os.path.getsize(path) if os.path.exists(path) else 0
    if not _process["__lsan_do_recoverable_leak_check"]():
        return []
    with open(path) as file:
        file.seek(told)
        reports = file.read().split("\n\n")
    return [r for r in reports if "leak of" in r and re.search(r" in aac(lip)?_\w+ ", r)]


def allocated() -> int:
    """Bytes allocated from the sanitizer's malloc."""
    count = _process["__sanitizer_get_current_allocated_bytes"]
    count.restype = ctypes.c_size_t
    return int(count())
