"""Handles of the library: closed once, never while a call uses them, and safe across a fork."""

from __future__ import annotations

import atexit
import ctypes
import os
import threading
import time
import weakref
from contextlib import contextmanager
from typing import Any, Callable, ClassVar, Iterator, TypeVar

from ._functions import lib
from ._interrupt import ending

Self = TypeVar("Self", bound="Handle")
H = TypeVar("H", bound="Handle")


class State:
    """
    The library's pointer and the number of calls that are using it. Closing while there are some is
    deferred until the last of them ends, without blocking the closer.
    """

    def __init__(self, pointer: int, close: Callable[..., None], noun: str) -> None:
        self._pointer = ctypes.c_void_p(pointer)  # in memory that LeakSanitizer looks at
        self._close = close
        self.noun = noun
        self._users = 0
        self._shown = 0  # arrays over its memory
        self._closing = False
        self._lost = False
        self.has_threads = False  # of its own, which must end before the interpreter
        self.needs: tuple[State, ...] = ()  # what its calls may lock inside the library
        self.keep: tuple[Any, ...] = ()  # callbacks that live as long as the pointer
        self._new_locks()
        _states.add(self)

    def _new_locks(self) -> None:
        # Reentrant: the garbage collector may close something in the middle of acquire().
        self._lock = threading.RLock()
        self.exclusive = threading.RLock()

    @property
    def closed(self) -> bool:
        return self._closing or not self._pointer

    def acquire(self) -> int:
        _park_daemon()
        with self._lock:
            if self._lost:
                raise RuntimeError(
                    f"this {self.noun} cannot be used here: the process was forked while it was "
                    "in use; make it in this process"
                )
            if self.closed:
                raise ValueError(f"this {self.noun} is closed")
            self._users += 1
            _here.held += 1
            return self._pointer.value or 0

    def release(self) -> None:
        with self._lock:
            self._users -= 1
            _here.held -= 1
        self._free_unused()
        _park_daemon()

    @property
    def running(self) -> bool:
        return bool(self._users) and not self._lost

    def show(self) -> None:
        """An array over its memory was made; `hide` ends it."""
        with self._lock:
            self._shown += 1

    def hide(self) -> None:
        with self._lock:
            self._shown -= 1
        self._free_unused()

    def close(self) -> None:
        self._closing = True
        self._free_unused()

    def take(self) -> None:
        """The library has closed it itself."""
        self._pointer = ctypes.c_void_p()

    def _free_unused(self) -> None:
        with self._lock:
            unused = not (self._users or self._shown)
            if not unused or not self._closing or not self._pointer or self._lost:
                return
            pointer, self._pointer = self._pointer, ctypes.c_void_p()
        self._close(ctypes.byref(pointer))
        self.keep = ()

    def lose(self) -> None:
        self._lost = True
        for state in self.needs:
            state.lose()

    def after_fork(self) -> None:
        """In the child, where locks may be held by threads that do not exist there."""
        if self._users:
            self.lose()
        self._new_locks()


_states: weakref.WeakSet[State] = weakref.WeakSet()


def _all_states() -> list[State]:
    while True:
        try:
            return list(_states)
        except RuntimeError:  # another thread made one meanwhile
            continue


def _after_fork_in_child() -> None:
    for state in _all_states():
        state.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


class _Here(threading.local):
    """How many pointers this thread is using."""

    held = 0


_here = _Here()


def _park_daemon() -> None:
    """Blocks a thread that enters or leaves the library while the interpreter exits."""
    other = threading.current_thread() is not threading.main_thread()
    if other and ending.is_set() and not _here.held:
        threading.Event().wait()


def _at_exit() -> None:
    """
    Only daemon threads are left: waits for their calls, for training until its step ends, and for
    the library's threads. Otherwise they would keep running while the process shuts down.
    """
    ending.set()
    while any(state.running for state in _all_states()):
        time.sleep(0.002)
    for state in _all_states():
        if state.has_threads:
            state.close()


atexit.register(_at_exit)


class Handle:
    """
    A library object that can be closed: by `close()`, at the end of a `with` block, or by the
    garbage collector. Handles may be closed in any order and at any time.
    """

    _noun: ClassVar[str] = "handle"
    _closer: ClassVar[str]
    _state: State

    def _adopt(
        self,
        pointer: ctypes.c_void_p,
        *needs: Handle,
        keep: tuple[Any, ...] = (),
        has_threads: bool = False,
    ) -> None:
        assert pointer.value
        self._state = State(pointer.value, getattr(lib, self._closer), self._noun)
        self._state.needs = tuple(need._state for need in needs)
        self._state.keep = keep
        self._state.has_threads = has_threads
        finalizer: Any = weakref.finalize(self, self._state.close)
        finalizer.atexit = False  # memory goes with the process; see _at_exit

    @contextmanager
    def _use(self) -> Iterator[int]:
        """The pointer, which is not freed inside the block."""
        state = self._state
        pointer = state.acquire()
        try:
            yield pointer
        finally:
            state.release()

    @contextmanager
    def _use_alone(self) -> Iterator[int]:
        """The same for objects that only one thread at a time may use: the others wait."""
        with self._state.exclusive, self._use() as pointer:
            yield pointer

    def close(self) -> None:
        """Releases it. A call that is running in another thread finishes first."""
        self._state.close()

    @property
    def closed(self) -> bool:
        return self._state.closed

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _one(self) -> str:
        return f"{'an' if self._noun[0] in 'aeiou' else 'a'} {self._noun}"

    def __reduce__(self) -> Any:
        raise TypeError(
            f"{self._one()} cannot be pickled; send the paths that it is made from to the other "
            "process and make it there"
        )

    def __copy__(self) -> Any:
        raise TypeError(f"{self._one()} cannot be copied; share this one, or make another one")

    def __deepcopy__(self, memo: object) -> Any:
        return self.__copy__()


def _is_a(handle: object, kind: type[Handle]) -> bool:
    """C accepts any pointer: a handle of another kind would be misread."""
    if isinstance(handle, kind):
        return True
    raise TypeError(f"expected {kind.__name__}, found {type(handle).__name__}")


@contextmanager
def use(handle: H, kind: type[H]) -> Iterator[int]:
    """The pointer of an argument, which is not freed inside the block."""
    if _is_a(handle, kind):
        with handle._use() as pointer:
            yield pointer


@contextmanager
def use_optional(handle: H | None, kind: type[H]) -> Iterator[int | None]:
    """The same for an optional argument."""
    if handle is None:
        yield None
        return
    with use(handle, kind) as pointer:
        yield pointer
