"""Python functions called by the library: exceptions and Ctrl-C propagate out of its call."""

from __future__ import annotations

import signal
import threading
from typing import Any, Callable, Optional

ending = threading.Event()
"""Set when the interpreter exits: calls of daemon threads must stop."""


class Relay:
    """
    Carries a callback's exception across the library, which only knows "stop". State is per thread:
    several may be inside calls with the same callback.
    """

    def __init__(self) -> None:
        self._local = threading.local()

    @property
    def active(self) -> bool:
        """Whether this thread is inside `run`."""
        return getattr(self._local, "active", False)

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C came during this thread's last `run`."""
        return getattr(self._local, "interrupted", False)

    def call(self, function: Callable[[], object]) -> bool:
        """Runs `function` for the library: False, which stops the call, if it says so or raises."""
        try:
            goes_on = function() is not False
        except BaseException as error:  # nothing may pass through the library's frames
            self._local.error = error
            return False
        return goes_on and not self._local.interrupted and not ending.is_set()

    def _interrupt(self, _number: int, _frame: object) -> None:
        self._local.interrupted = True

    def run(self, function: Callable[..., object], *arguments: Any) -> None:
        """
        Calls the library and reraises a callback's exception. In the main thread Ctrl-C ends the
        library's call, but never interrupts a callback, and then raises KeyboardInterrupt. A SIGINT
        handler of the user's own stays in force.
        """
        local = self._local
        local.active, local.interrupted, local.error = True, False, None
        main = threading.current_thread() is threading.main_thread()
        takes = main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        failure: Optional[BaseException] = None
        try:
            if takes:
                signal.signal(signal.SIGINT, self._interrupt)
            function(*arguments)
        except BaseException as error:
            failure = error
        finally:
            if takes:
                signal.signal(signal.SIGINT, signal.default_int_handler)
            local.active = False
        raised, local.error = local.error, None
        if raised is not None:
            raise raised
        if local.interrupted:
            raise KeyboardInterrupt
        if failure is not None:
            raise failure
