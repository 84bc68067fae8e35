"""Images: files, NumPy arrays and Pillow images, and drawing on them."""

from __future__ import annotations

import ctypes
import os
import tempfile
from contextlib import ExitStack, contextmanager
from ctypes import byref, c_void_p
from typing import Any, Iterator, Optional, Protocol, Tuple, Union

import numpy as np
import numpy.typing as npt

from . import _structs as s
from ._convert import FloatMap, Path, address, encode, encode_path, encode_png_path
from ._convert import float_map, size_of, unmasked, warn
from ._enums import PixelFormat
from ._functions import lib
from ._handle import Handle

Rgb = npt.NDArray[np.uint8]  # (height, width, 3)


Window = Tuple[float, float]


class PillowImage(Protocol):
    """The part of PIL.Image.Image that is used."""

    @property
    def mode(self) -> str: ...

    @property
    def size(self) -> Tuple[int, int]: ...

    def convert(self, mode: str) -> Any: ...


ImageLike = Union[Path, "npt.NDArray[Any]", "Image", PillowImage]
"""What counts as an image: a path, an array, an `aaclip.Image` or a Pillow image."""


class Image(Handle):
    """
    A decoded PNG, JPEG or BMP file: the pixels of Pillow's `Image.open(path).convert("RGB")`.
    `array` shows them without a copy. An image never changes: a copy of it is the image itself.
    """

    _noun = "image"
    _closer = "image_close"

    def __init__(self, path: Path, *, window: Optional[Tuple[float, float]] = None) -> None:
        handle = c_void_p()
        if window is None:
            lib.image_open(byref(handle), encode_path(path))
        else:
            lib.image_open_window(byref(handle), encode_path(path), *window)
        self._adopt(handle)

    @classmethod
    def open(cls, path: Path, *, window: Optional[Tuple[float, float]] = None) -> Image:
        """
        Decodes a file; its type is detected from the content. `window` (low, high): values of
        16-bit files that become 0 to 255, for scans of 10 to 16 bits; 8-bit files are read as
        usual.
        """
        return cls(path, window=window)

    @classmethod
    def decode(
        cls,
        data: Union[bytes, bytearray, memoryview],
        name: str = "image",
        *,
        window: Optional[Tuple[float, float]] = None,
    ) -> Image:
        """The same from bytes; `name` stands for the path in error texts."""
        image, handle, own = cls.__new__(cls), c_void_p(), bytes(data)  # bytes are not copied
        arguments = byref(handle), own, len(own), encode(name, "name")
        if window is None:
            lib.image_decode(*arguments)
        else:
            lib.image_decode_window(*arguments, *window)
        image._adopt(handle)
        return image

    @property
    def array(self) -> Rgb:
        """
        The pixels as a read-only array (height, width, 3) in the library's memory, which lives as
        long as the array or a view of it, also after `close`.
        """
        with self._use() as pointer:
            view = lib.image_get_view(pointer)
            array: Rgb = borrow(self, view.pixels, (view.height, view.width, 3), np.uint8)
            return array

    @property
    def size(self) -> Tuple[int, int]:
        """Width and height, as in Pillow."""
        with self._use() as pointer:
            view = lib.image_get_view(pointer)
            return view.width, view.height

    def __copy__(self) -> Image:
        return self

    def __deepcopy__(self, memo: object) -> Image:
        return self

    def __array__(self, dtype: Any = None, copy: Optional[bool] = None) -> npt.NDArray[Any]:
        array = self.array if dtype is None else self.array.astype(dtype, copy=False)
        return array.copy() if copy else array

    def _repr_png_(self) -> bytes:
        return png(self.array)

    def __repr__(self) -> str:
        if self.closed:
            return "<aaclip.Image, closed>"
        return "<aaclip.Image {} x {}>".format(*self.size)


class Lease:
    """Keeps a handle's memory alive for as long as an array refers to it."""

    def __init__(self, owner: Handle, interface: "dict[str, Any]") -> None:
        self._state = owner._state
        self._state.show()
        self.__array_interface__ = interface

    def __del__(self) -> None:
        self._state.hide()


def borrow(owner: Handle, pointer: int, shape: Tuple[int, ...], kind: Any) -> Any:
    """A read-only array over memory of a handle; its base keeps the memory alive."""
    lease = Lease(
        owner,
        {
            "version": 3,
            "data": (pointer, True),
            "shape": tuple(shape),
            "typestr": np.dtype(kind).str,
        },
    )
    return np.asarray(lease)


_FORMATS = {
    ("RGB", 1, 1): PixelFormat.GRAY8,
    ("RGB", 1, 3): PixelFormat.RGB8,
    ("RGB", 1, 4): PixelFormat.RGBA8,
    ("RGB", 2, 1): PixelFormat.GRAY16,
    ("RGB", 2, 3): PixelFormat.RGB16,
    ("BGR", 1, 1): PixelFormat.GRAY8,
    ("BGR", 1, 3): PixelFormat.BGR8,
    ("BGR", 1, 4): PixelFormat.BGRA8,
    ("BGR", 2, 1): PixelFormat.GRAY16,
    ("BGR", 2, 3): PixelFormat.BGR16,
}


def _is_packed(array: npt.NDArray[Any]) -> bool:
    """Whether pixels are contiguous within rows; there may be gaps between rows."""
    height, width, channels = array.shape
    row, pixel, sample = array.strides
    return (
        (channels == 1 or sample == array.itemsize)
        and (width == 1 or pixel == channels * array.itemsize)
        and (height == 1 or row >= width * channels * array.itemsize)
    )


def _channels_hint(shape: Tuple[int, ...]) -> str:
    if len(shape) == 3 and shape[0] in (1, 3, 4):
        return "; of channels first, `x.transpose(1, 2, 0)`"
    return "; of several images, `detect_batch`" if len(shape) == 4 else ""


def view_of_array(array: npt.NDArray[Any], order: str) -> Tuple[s.ImageView, npt.NDArray[Any]]:
    """A view, and the array that it refers to: `array` itself where the library can read it."""
    given, order = order, str(order).upper()
    if order not in ("RGB", "BGR"):
        raise ValueError(f"order: expected 'RGB' or 'BGR', found {given!r}")
    if array.dtype.kind != "u" or array.itemsize > 2:
        hint = "; for values of 0 to 1, `(x * 255).round().astype(np.uint8)`"
        raise TypeError(
            f"image: expected samples of uint8 or uint16, found {array.dtype}"
            f"{hint if array.dtype.kind == 'f' else ''}"
        )
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise ValueError(
            "image: expected shape (height, width) or (height, width, 1, 3 or 4), found "
            f"{array.shape}{_channels_hint(array.shape)}"
        )
    if 0 in array.shape:
        raise ValueError(f"image: expected pixels, found shape {array.shape}")
    pixels = array if array.ndim == 3 else array[:, :, np.newaxis]
    if pixels.shape[2] == 4 and pixels.itemsize == 2:
        pixels = pixels[:, :, :3]  # alpha is dropped anyway
    pixels = pixels if pixels.dtype.isnative else pixels.astype(pixels.dtype.newbyteorder("="))
    if not _is_packed(pixels):
        pixels = np.ascontiguousarray(pixels)
    height, width, channels = pixels.shape
    stride = pixels.strides[0] if height > 1 else 0
    form = _FORMATS[order, pixels.itemsize, channels]
    return s.ImageView(pixels.ctypes.data, width, height, stride, form), pixels


def refuse_single(images: object, what: str) -> None:
    """Rejects a single image, whose characters or rows would be taken for the images."""
    shape = images.shape if isinstance(images, np.ndarray) else ()
    one = len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4))
    if one or isinstance(images, (str, bytes, os.PathLike, Image)) or hasattr(images, "convert"):
        found = f"one of shape {shape}" if one else f"a single {type(images).__name__}"
        raise TypeError(f"{what}: expected a list of images, found {found}")


def _pillow_array(image: PillowImage) -> npt.NDArray[Any]:
    if image.mode.startswith("I"):  # 16 bits or more of grey
        above = np.count_nonzero(np.asarray(image) > 255)
        if above:
            warn(
                f"image: Pillow's mode {image.mode!r}, of which {above} pixels are above 255 and "
                "count as 255, as in a file; scale it with "
                "`aaclip.window(np.asarray(image).astype(np.uint16), low, high)`"
            )
    return np.asarray(image if image.mode in ("RGB", "RGBA", "L") else image.convert("RGB"))


def _tensor_hint(source: object) -> str:
    if not hasattr(source, "permute"):
        return ""
    return (
        "; of PyTorch's tensor of channels first with values of 0 to 1, "
        "`(x.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)`"
    )


def hold(source: ImageLike, order: str, stack: ExitStack) -> s.ImageView:
    """A view of any image; its pixels live until `stack` is closed."""
    if isinstance(source, (str, os.PathLike)):
        source = stack.enter_context(Image(source))
    if isinstance(source, Image):
        pointer = stack.enter_context(source._use())
        view: s.ImageView = lib.image_get_view(pointer)
        return view
    if isinstance(source, np.ndarray):
        array = unmasked(source, "image")
    elif hasattr(source, "convert") and hasattr(source, "mode"):
        array, order = _pillow_array(source), "RGB"
    else:
        raise TypeError(
            "image: expected a path, a NumPy array, an aaclip.Image or a Pillow image, found "
            f"{type(source).__name__}{_tensor_hint(source)}"
        )
    view, kept = view_of_array(array, order)
    stack.callback(lambda: kept)
    return view


def sixteen_bits(source: ImageLike) -> Optional[npt.NDArray[np.uint16]]:
    """The pixels of an array or Pillow image of 16 bits; None for others."""
    if isinstance(source, np.ndarray):
        return source if source.dtype.kind == "u" and source.dtype.itemsize == 2 else None
    if hasattr(source, "convert") and str(getattr(source, "mode", "")).startswith("I"):
        return np.clip(np.asarray(source), 0, 65535).astype(np.uint16)
    return None


def check_window(values: Window) -> Window:
    """Also refuses (0, 0), which the library takes for none."""
    low, high = map(float, values)
    if not low < high:
        raise ValueError(f"window: expected two numbers, the smaller first, found {values}")
    return low, high


def through_window(
    source: ImageLike, values: Optional[Window], order: str
) -> Tuple[ImageLike, str]:
    """An image whose 16-bit values from low to high become 0 to 255, and its order."""
    if values is None:
        return source, order
    if isinstance(source, (str, os.PathLike)):
        return Image(source, window=values), order
    deep = sixteen_bits(source)
    return (source, order) if deep is None else (window(deep, *values, order=order), "RGB")


@contextmanager
def viewed(source: ImageLike, order: str) -> Iterator[s.ImageView]:
    with ExitStack() as stack:
        yield hold(source, order, stack)


def resize(image: ImageLike, width: int, height: int, *, order: str = "RGB") -> Rgb:
    """Bit for bit Pillow's bicubic resize of the RGB image."""
    width, height = size_of(width, height)
    rgb = np.empty((height, width, 3), np.uint8)
    with viewed(image, order) as view:
        lib.image_resize(byref(view), width, height, address(rgb))
    return rgb


def window(image: ImageLike, low: float, high: float, *, order: str = "RGB") -> Rgb:
    """
    The values from `low` to `high` as 0 to 255, clipped outside: 8 bits of images that fill only
    part of 16, such as 12-bit scans from `np.asarray(PIL.Image.open(path))`.
    """
    with viewed(image, order) as view:
        rgb = np.empty((view.height, view.width, 3), np.uint8)
        lib.image_window(byref(view), low, high, address(rgb))
    return rgb


def colour_map(values: npt.ArrayLike) -> Rgb:
    """Colours of values in [0, 1], from blue through green to red: shape (..., 3)."""
    array = np.asarray(values, dtype=np.float32, order="C")  # a number has no axis
    rgb = np.empty((*array.shape, 3), np.uint8)
    lib.colour_map(address(array), array.size, address(rgb))
    return rgb


def overlay(
    image: ImageLike, values: npt.ArrayLike, opacity: float = 0.5, *, order: str = "RGB"
) -> Rgb:
    """Blends colours of `values` in [0, 1], of the image's size, over an image."""
    heat: FloatMap = float_map(values, "values")
    with viewed(image, order) as view:
        if heat.shape != (view.height, view.width):
            raise ValueError(
                f"values: expected the image's {view.height} x {view.width}, found shape {heat.shape}"
            )
        rgb = np.empty((*heat.shape, 3), np.uint8)
        lib.overlay(byref(view), address(heat), opacity, address(rgb))
    return rgb


def write_png(path: Path, image: ImageLike, *, order: str = "RGB") -> None:
    """Writes an 8-bit PNG, grey or RGB, whole or not at all."""
    with viewed(image, order) as view:
        lib.write_png(encode_png_path(path), byref(view))


def write_png16(path: Path, values: npt.ArrayLike) -> None:
    """Writes a 16-bit grey PNG of values in [0, 1]."""
    array = float_map(values, "values")
    lib.write_png16(encode_png_path(path), address(array), array.shape[1], array.shape[0])


def png(image: ImageLike) -> bytes:
    """The bytes of an 8-bit PNG file."""
    with tempfile.TemporaryDirectory(prefix="aaclip-") as folder:
        path = os.path.join(folder, "image.png")
        write_png(path, image)
        with open(path, "rb") as file:
            return file.read()
