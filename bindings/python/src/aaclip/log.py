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


def _receive(level: int, message: bytes, _user: object) -> None:
    function = _function
    if function is not None:
        function(LogLevel(level), decode(message))  # ctypes reports what it raises


# Lives as long as the process: threads of the library may be about to call it at any time.
_trampoline = s.LogFunction(_receive)
_nothing = s.LogFunction()


def set_log(function: Optional[LogFunction], level: Union[LogLevel, str] = LogLevel.WARNING) -> None:
    """
    Sends messages up to `level` to `function(level, text)`, which may be called from any thread;
    None turns them off. Exceptions of the function go to `sys.unraisablehook`. Set it before other
    threads use the library.
    """
    global _function
    chosen = member(LogLevel, level, "level")
    _function = function
    lib.set_log(_trampoline if function else _nothing, chosen, None)


def log_to(
    logger: Optional[logging.Logger] = None, level: Union[LogLevel, str] = LogLevel.INFO
) -> None:
    """Sends messages to a Python logger; by default the one named "aaclip"."""
    target = logger or logging.getLogger("aaclip")
    set_log(lambda at, text: target.log(_LEVELS[at], "%s", text), level)
