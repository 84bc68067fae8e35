"""Conversion between Python values and those of the C interface."""

from __future__ import annotations

import ctypes
import numbers
import operator
import os
import sys
import warnings
from typing import Any, Iterable, Optional, Tuple, Union

import numpy as np
import numpy.typing as npt

Path = Union[str, "os.PathLike[str]"]
FloatMap = npt.NDArray[np.float32]
Mask = npt.NDArray[np.uint8]


def _no_nul(encoded: bytes, what: str) -> bytes:
    if b"\0" in encoded:
        raise ValueError(f"{what}: expected no null character, found one in {encoded!r}")
    return encoded


def encode_path(path: Path, what: str = "path") -> bytes:
    if not isinstance(path, (str, bytes, os.PathLike)):
        raise TypeError(f"{what}: expected a path, found {type(path).__name__}")
    return _no_nul(os.fsencode(path), what)


def encode_optional_path(path: Optional[Path], what: str = "path") -> Optional[bytes]:
    return None if path is None else encode_path(path, what)


def encode_png_path(path: Path) -> bytes:
    """Of a file that will be a PNG, which other endings would deny."""
    encoded = encode_path(path)
    if os.path.splitext(encoded)[1].lower() not in (b"", b".png"):
        raise ValueError(
            f"{os.fsdecode(encoded)}: expected a name that ends with .png, which is what is written"
        )
    return encoded


def encode_safetensors_path(path: Path) -> bytes:
    """Of a file that will be safetensors, which PyTorch's endings would deny."""
    encoded = encode_path(path)
    if os.path.splitext(encoded)[1].lower() in (b".pth", b".pt"):
        raise ValueError(
            f"{os.fsdecode(encoded)}: expected a name that ends with .safetensors, which is what "
            "is written; only Trainer.save writes .pth"
        )
    return encoded


def encode(text: str, what: str = "text") -> bytes:
    if not isinstance(text, str):
        raise TypeError(f"{what}: expected a str, found {type(text).__name__}")
    return _no_nul(text.encode("utf-8", "surrogateescape"), what)


def encode_optional(text: Optional[str], what: str = "text") -> Optional[bytes]:
    return None if text is None else encode(text, what)


def decode(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")


def decode_optional(text: Optional[bytes]) -> Optional[str]:
    return None if text is None else decode(text)


def text_array(texts: Iterable[bytes]) -> "ctypes.Array[ctypes.c_char_p]":
    listed = list(texts)
    return (ctypes.c_char_p * len(listed))(*listed)


def unmasked(values: Any, what: str) -> Any:
    """Rejects a masked array, whose mask would be ignored."""
    if isinstance(values, np.ma.MaskedArray):
        raise TypeError(f"{what}: expected an array without a mask; pass its `.filled(value)`")
    return values


def float_map(values: npt.ArrayLike, what: str = "map") -> FloatMap:
    """`values` itself if it is a contiguous float32 array, else a contiguous copy."""
    array = np.asarray(unmasked(values, what))
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{what}: expected numbers, found {array.dtype}")
    if array.ndim != 2:
        raise ValueError(f"{what}: expected height x width, found shape {array.shape}")
    return np.ascontiguousarray(array, dtype=np.float32)


def mask(values: npt.ArrayLike, what: str = "mask", shape: Optional[Tuple[int, ...]] = None) -> Mask:
    """A mask, nonzero where set. Contiguous bool and uint8 arrays are used as they are."""
    array = np.asarray(unmasked(values, what))
    if array.ndim != 2:
        raise ValueError(f"{what}: expected height x width, found shape {array.shape}")
    if shape is not None and array.shape != shape:
        raise ValueError(f"{what}: expected shape {shape}, found {array.shape}")
    if array.dtype not in (np.bool_, np.uint8):
        array = array != 0
    return np.ascontiguousarray(array).view(np.uint8)


def address(array: Optional[npt.NDArray[Any]]) -> Optional[int]:
    """Address of the first element; None for no array. The caller keeps the array."""
    return None if array is None else array.ctypes.data


_NUMBERS: "dict[Any, str]" = {
    ctypes.c_float: "a number",
    ctypes.c_double: "a number",
    ctypes.c_int: "a whole number",
    ctypes.c_uint32: "a whole number",
    ctypes.c_uint64: "a whole number",
    ctypes.c_size_t: "a whole number",
}


def set_options(options: ctypes.Structure, values: "dict[str, Any]") -> None:
    """Sets the fields whose value is not None; the others keep the library's defaults."""
    for name, value in values.items():
        if value is not None:
            if isinstance(value, numbers.Integral):  # NumPy's, too
                value = int(value)
            try:
                setattr(options, name, value)
            except TypeError:
                kinds = {field[0]: field[1] for field in options._fields_}
                expected = _NUMBERS.get(kinds[name], "another type")
                raise TypeError(f"{name}: expected {expected}, found {value!r}") from None
            if isinstance(value, int) and getattr(options, name) != value:  # ctypes cuts bits off
                raise ValueError(f"{name}: {value} is outside what the library takes")


def size_of(width: int, height: int) -> Tuple[int, int]:
    """A size that the library accepts."""
    width, height = unsigned(width, 32, "width"), unsigned(height, 32, "height")
    if width < 1 or height < 1:
        raise ValueError(f"size: expected at least 1 x 1, found {width} x {height}")
    return width, height


def unsigned(value: int, bits: int, what: str) -> int:
    """An unsigned argument in range: ctypes would drop the high bits of others."""
    try:
        value = operator.index(value)
    except TypeError:
        raise TypeError(f"{what}: expected a whole number, found {value!r}") from None
    if not 0 <= value < 1 << bits:
        raise ValueError(f"{what}: expected 0 to 2^{bits} - 1, found {value}")
    return value


def warn(text: str) -> None:
    """A warning that names the line of the user's that called this package."""
    folder, frame, level = os.path.dirname(__file__), sys._getframe(), 1
    while frame.f_back and os.path.dirname(frame.f_code.co_filename) == folder:
        frame, level = frame.f_back, level + 1
    warnings.warn(text, stacklevel=level)
