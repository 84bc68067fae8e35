"""Exceptions: one for each status of the library, with the library's text."""

from __future__ import annotations

import errno
import re
from typing import Any, Optional, cast

from ._enums import Status


class Error(Exception):
    """An error of the library; `str(error)` is its text, `error.status` the code."""

    status: Status = Status.OK

    def __init__(self, message: str = "", status: Status | None = None) -> None:
        super().__init__(message)
        if status is not None:
            self.status = status


class InvalidArgumentError(Error, ValueError):
    """An argument that the library does not accept."""

    status = Status.INVALID_ARGUMENT


class OutOfMemoryError(Error, MemoryError):
    """No memory, or none within the limits."""

    status = Status.OUT_OF_MEMORY


class InputOutputError(Error, OSError):
    """The operating system refused: open, read, write, map."""

    status = Status.IO


class FormatError(Error, ValueError):
    """A file is damaged, truncated or inconsistent."""

    status = Status.FORMAT


class UnsupportedError(Error):
    """Valid, but not supported by this library, build or processor, or beyond its limits."""

    status = Status.UNSUPPORTED


class MismatchError(Error, ValueError):
    """Two inputs do not belong together."""

    status = Status.MISMATCH


class NotFoundError(Error, LookupError):
    """No such file, tensor, class or backend."""

    status = Status.NOT_FOUND


class MissingFileError(NotFoundError, FileNotFoundError):
    """A path that does not exist, in `filename`."""

    def __init__(self, message: str = "", status: Status | None = None) -> None:
        super().__init__(message, status)
        self.errno = errno.ENOENT
        self.filename: Any = _missing_path(message)

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class CancelledError(Error):
    """A callback returned False, or a CancelFlag was set."""

    status = Status.CANCELLED


class BackendError(Error, RuntimeError):
    """A compute library failed."""

    status = Status.BACKEND


_KINDS: dict[int, type[Error]] = {
    kind.status: kind
    for kind in (
        InvalidArgumentError,
        OutOfMemoryError,
        InputOutputError,
        FormatError,
        UnsupportedError,
        MismatchError,
        NotFoundError,
        CancelledError,
        BackendError,
    )
}


# "a.png: No such file or directory", "/data: no such file or folder", "mask a.png: no such file"
_MISSING = re.compile(
    r"(?:.+:\d+: )?(?:(?:image|mask) )?(.+): no such file(?: or (?:directory|folder))?",
    re.IGNORECASE | re.DOTALL,
)


def _missing_path(text: str) -> Optional[str]:
    found = _MISSING.fullmatch(text)
    return found[1] if found else None


# Python's names of what the library's texts call by C's.
_NAMES = (
    ("aaclip_limits_set", "aaclip.set_limits"),
    ("aaclip_calibration_load", "aaclip.Calibration.open"),
    ("aaclip_calibration_init", "aaclip.Calibration.new"),
    (r"aaclip_(?:model|text_cache|detector|dataset|metrics|trainer)_options(?:\.|: )", ""),
    (r"aaclip_(?:calibration|config)\.", ""),
)


def _in_python(text: str) -> str:
    for name, own in _NAMES:
        text = re.sub(name, own, text)
    return text


def make(status: int, text: str) -> Error:
    """The exception of a status; a status of a newer library becomes an Error with its number."""
    message = _in_python(text) or f"status {status}"
    kind = _KINDS.get(status)
    if kind is NotFoundError and _missing_path(message):
        kind = MissingFileError
    return kind(message) if kind else Error(message, cast(Status, status))
