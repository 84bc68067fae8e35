"""Python functions called by the library: exceptions and Ctrl-C propagate out of its call."""

from __future__ import annotations

import signal
import threading
from typing import Any, Callable, ClassVar, Optional, Protocol

import numpy as np

ending = threading.Event()
"""Set when the interpreter exits: calls of daemon threads must stop."""


class Listener(Protocol):
    """What lets Ctrl-C cancel the library's calls: see _ctrl_c."""

    def pause(self, heard: bool) -> bool: ...

    def resume(self) -> None: ...


def _says_stop(answer: object) -> bool:
    """Whether a callback returned False, which may be NumPy's."""
    return isinstance(answer, (bool, np.bool_)) and not answer


class Relay:
    """
    Carries a callback's exception across the library, which only knows "stop". State is per thread:
    several may be inside calls with the same callback.
    """

    listener: ClassVar[Optional[Listener]] = None

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
            stops = _says_stop(self._run_python(function))
        except BaseException as error:  # nothing may pass through the library's frames
            self._local.error = error
            return False
        return not (stops or self._local.interrupted or ending.is_set())

    def _run_python(self, function: Callable[[], object]) -> object:
        """
        Runs the user's function with Python's own handler: Ctrl-C interrupts it as any other code.
        The library's calls inside it listen for themselves.
        """
        local, listener = self._local, self.listener
        if not getattr(local, "takes", False) or listener is None:
            return function()
        heard = local.interrupted
        paused = listener.pause(heard)
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            if local.interrupted and not heard:
                raise KeyboardInterrupt  # which came in between
            return function()
        finally:
            if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
                local.takes = False  # the function has set a handler, which stays
            else:
                signal.signal(signal.SIGINT, self._interrupt)
                if paused:
                    listener.resume()

    def _interrupt(self, _number: int, _frame: object) -> None:
        self._local.interrupted = True

    def run(self, function: Callable[..., object], *arguments: Any) -> None:
        """
        Calls the library and reraises a callback's exception. In the main thread Ctrl-C ends the
        library's call, or interrupts the callback where it is, and KeyboardInterrupt is raised. A
        SIGINT handler of the user's own stays in force.
        """
        local = self._local
        local.active, local.interrupted, local.error = True, False, None
        main = threading.current_thread() is threading.main_thread()
        local.takes = main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        failure: Optional[BaseException] = None
        try:
            if local.takes:
                signal.signal(signal.SIGINT, self._interrupt)
            function(*arguments)
        except BaseException as error:
            failure = error
        finally:
            if local.takes:
                signal.signal(signal.SIGINT, signal.default_int_handler)
            local.active = local.takes = False
        raised, local.error = local.error, None
        if raised is not None:
            raise raised
        if local.interrupted:
            raise KeyboardInterrupt
        if failure is not None:
            raise failure
