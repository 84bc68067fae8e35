"""Ctrl-C in the main thread cancels the running library call, not only what follows it."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import threading
from typing import Any, Callable, Optional

from ._interrupt import Relay
from .errors import CancelledError


class CtrlC:
    """
    Python handles a signal only between its own instructions. Its C handler, however, writes to a
    socket at once; a thread that reads there sets the flag that the library's call polls. The call
    ends, and Python raises the pending KeyboardInterrupt.
    """

    def __init__(self, watch: Callable[[Any], Optional[int]]) -> None:
        self._watch = watch
        self._flag = ctypes.c_int()
        self._inside = False
        self._sender: Optional[socket.socket] = None
        self._settled = threading.Event()
        Relay.listener = self
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork)

    def call(self, function: Any, arguments: tuple[Any, ...]) -> Any:
        if threading.current_thread() is not threading.main_thread():
            return function(*arguments)
        if self._inside:  # a log function's own call
            return self._undisturbed(function, arguments)
        handler = signal.getsignal(signal.SIGINT)
        if handler is signal.default_int_handler or isinstance(_owner(handler), Relay):
            return self._listening(function, arguments, _owner(handler))
        return function(*arguments)

    def _undisturbed(self, function: Any, arguments: tuple[Any, ...]) -> Any:
        before = self._watch(None)
        try:
            return function(*arguments)
        finally:
            self._watch(before)

    def _listening(self, function: Any, arguments: tuple[Any, ...], relay: object) -> Any:
        if not self._begin():
            return function(*arguments)
        interrupted = False
        try:
            return function(*arguments)
        except (CancelledError, KeyboardInterrupt):
            interrupted = True
            raise
        finally:
            self._end()
            if interrupted or (isinstance(relay, Relay) and relay.interrupted):
                self._settle()

    def _end(self) -> None:
        if self._inside:
            self._inside = False
            self._watch(None)
            signal.set_wakeup_fd(-1)

    def pause(self, heard: bool) -> bool:
        """
        Before a callback's Python code: its calls of the library listen for themselves, and are not
        cancelled by a Ctrl-C that was `heard` before. False if nothing was listening.
        """
        if not self._inside:
            return False
        self._end()
        if heard:
            self._settle()
        return True

    def resume(self) -> None:
        """After it, for the rest of the library's call."""
        self._begin()

    def _begin(self) -> bool:
        """False where another wakeup descriptor or another flag is in use."""
        self._flag.value = 0
        before = self._watch(ctypes.addressof(self._flag))
        if before not in (None, ctypes.addressof(self._flag)):
            self._watch(before)
            return False
        try:
            sender = self._sender or self._start()
        except (OSError, RuntimeError):  # out of files or threads: continue without Ctrl-C
            self._watch(None)
            return False
        other = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
        if other not in (-1, sender.fileno()):
            signal.set_wakeup_fd(other)
            self._watch(None)
            return False
        self._inside = True
        return True

    def _start(self) -> socket.socket:
        receiver, sender = socket.socketpair()
        sender.setblocking(False)
        threading.Thread(target=self._listen, args=(receiver,), daemon=True).start()
        self._sender = sender
        return sender

    def _listen(self, receiver: socket.socket) -> None:
        while received := receiver.recv(256):
            if signal.SIGINT in received:
                self._flag.value = 1
            if 0 in received:
                self._settled.set()

    def _settle(self) -> None:
        """Waits until the thread has read what was written, which must not affect the next call."""
        if not self._sender:  # a fork in a callback
            return
        self._settled.clear()
        self._sender.send(b"\0")
        self._settled.wait(1)

    def _after_fork(self) -> None:
        if self._inside:
            signal.set_wakeup_fd(-1)
        self._sender = None  # its thread is the parent's
        self._settled = threading.Event()


class Interruptible:
    """A library function whose calls Ctrl-C cancels."""

    def __init__(self, ctrl_c: CtrlC, function: Any) -> None:
        self._ctrl_c = ctrl_c
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._ctrl_c.call(self._function, arguments)

    @property
    def argtypes(self) -> Any:
        return self._function.argtypes

    @argtypes.setter
    def argtypes(self, types: Any) -> None:
        self._function.argtypes = types


def _owner(handler: Any) -> object:
    return getattr(handler, "__self__", None)
