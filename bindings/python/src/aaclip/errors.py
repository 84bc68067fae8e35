"""Exceptions: one for each status of the library, with the library's text."""

from __future__ import annotations

from typing import cast

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


def make(status: int, text: str) -> Error:
    """The exception of a status; a status of a newer library becomes an Error with its number."""
    message = text or f"status {status}"
    kind = _KINDS.get(status)
    return kind(message) if kind else Error(message, cast(Status, status))
