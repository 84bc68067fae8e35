"""Cancelling calls from another thread, or at a deadline."""

from __future__ import annotations

import ctypes
import time
from contextlib import contextmanager
from typing import Iterator

from ._functions import lib


class CancelFlag:
    """
    Cancels long-running calls, usually within a tenth of a second, with CancelledError:

        stop = aaclip.CancelFlag()
        with stop.watching():           # in the thread that calls
            trainer.epoch()
        ...
        stop.set()                      # in any other one

    Whatever the call, handles stay usable: files are unchanged, a trainer has taken its step or not
    begun it. Any number of threads may watch one flag.
    """

    def __init__(self) -> None:
        self._value = ctypes.c_int()

    def set(self) -> None:
        """Cancels calls that watch it, now and until `clear`."""
        self._value.value = 1

    def clear(self) -> None:
        """Lets calls that begin from now on run to their end."""
        self._value.value = 0

    def is_set(self) -> bool:
        """Whether it is set."""
        return bool(self._value.value)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Within the block, calls of this thread watch this flag and no other."""
        before = lib.watch_cancel(ctypes.addressof(self._value))
        try:
            yield
        finally:
            lib.watch_cancel(before)


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """
    Within the block, calls of this thread that have not ended `seconds` after its beginning raise
    CancelledError, usually within a tenth of a second, and so do later ones. A flag that is watched
    stays watched. Blocks nest: an inner one cannot extend the time of an outer one.

        with aaclip.deadline(0.2):
            result = detector.detect(frame)
    """
    seconds = float(seconds)
    if seconds != seconds:
        raise ValueError("seconds: expected a number, found nan")
    begun = time.monotonic()
    before = lib.set_deadline(seconds)
    if before < seconds:
        lib.set_deadline(before)
    try:
        yield
    finally:
        lib.set_deadline(before - (time.monotonic() - begun))
