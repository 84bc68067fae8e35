"""The library's messages, which are not shown unless asked for."""

from __future__ import annotations

import logging
from typing import Callable, Optional, Union

from . import _structs as s
from ._convert import decode
from ._enums import LogLevel, member
from ._functions import lib

LogFunction = Callable[[LogLevel, str], object]

_function: Optional[LogFunction] = None

_LEVELS = {
    LogLevel.ERROR: logging.ERROR,
    LogLevel.WARNING: logging.WARNING,
    LogLevel.INFO: logging.INFO,
    LogLevel.DEBUG: logging.DEBUG,
}


_OF_LOGGING = {value: level for level, value in _LEVELS.items()}
_OF_LOGGING[logging.CRITICAL] = LogLevel.ERROR


def _level(level: Union[LogLevel, str, int]) -> LogLevel:
    """Also of logging's levels: logging.INFO is LogLevel.INFO."""
    if not isinstance(level, (LogLevel, str)):
        level = _OF_LOGGING.get(level, level)
    return member(LogLevel, level, "level")


def _receive(level: int, message: bytes, _user: object) -> None:
    function = _function
    if function is not None:
        function(LogLevel(level), decode(message))  # ctypes reports what it raises


# Lives as long as the process: threads of the library may be about to call it at any time.
_trampoline = s.LogFunction(_receive)
_nothing = s.LogFunction()


def set_log(
    function: Optional[LogFunction], level: Union[LogLevel, str, int] = LogLevel.WARNING
) -> None:
    """
    Sends messages up to `level` to `function(level, text)`, which may be called from any thread;
    None turns them off. `level` may be logging's, like `logging.INFO`. Exceptions of the function
    go to `sys.unraisablehook`. May be called at any time; afterwards no other thread is in the former
    function. It waits for such calls: hold no lock that the function takes.
    """
    global _function
    chosen = _level(level)
    _function = function
    lib.set_log(_trampoline if function else _nothing, chosen, None)


def log_to(
    logger: Union[logging.Logger, str, None] = None,
    level: Union[LogLevel, str, int] = LogLevel.INFO,
) -> None:
    """
    Sends messages to a Python logger, or the one of that name; by default "aaclip". It shows them
    as `logging` is set up to: without `logging.basicConfig(level=logging.INFO)` or the like, only
    warnings and errors.
    """
    if logger is None or isinstance(logger, str):
        logger = logging.getLogger(logger or "aaclip")
    if not hasattr(logger, "log"):
        raise TypeError(f"logger: expected a logger or its name, found {type(logger).__name__}")
    target = logger
    set_log(lambda at, text: target.log(_LEVELS[at], "%s", text), level)
