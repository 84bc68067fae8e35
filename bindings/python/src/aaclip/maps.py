"""Maps: scales, sizes, masks and regions."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, byref, c_size_t
from dataclasses import dataclass
from typing import Optional, Tuple

import numpy as np
import numpy.typing as npt

from . import _structs as s
from ._convert import FloatMap, Mask, address, float_map, mask, size_of, unsigned
from ._functions import lib


@dataclass(frozen=True)
class Region:
    """An 8-connected region of pixels at or above a threshold."""

    x: int  # top left pixel of the bounding box
    y: int
    width: int
    height: int
    area: int  # in pixels
    peak_x: int
    peak_y: int
    peak: float
    mean: float

    @property
    def box(self) -> Tuple[int, int, int, int]:
        """Left, top, right and bottom as in Pillow: right and bottom are exclusive."""
        return self.x, self.y, self.x + self.width, self.y + self.height


_REGION_FIELDS = s.names(s.Region)


def read_regions(found: "ctypes._Pointer[s.Region]", count: int) -> Tuple[Region, ...]:
    """Copies of the library's regions."""
    return tuple(
        Region(*(getattr(found[i], name) for name in _REGION_FIELDS)) for i in range(count)
    )


def probability(values: npt.ArrayLike, level_count: int) -> FloatMap:
    """A result's map on the scale used in training: 0 to 1, 0.5 is undecided."""
    array, level_count = float_map(values), unsigned(level_count, 32, "level_count")
    if level_count < 1:
        raise ValueError(f"level_count: expected 1 or more, found {level_count}")
    scaled = np.empty_like(array)
    lib.map_probability(address(array), array.size, level_count, address(scaled))
    return scaled


def resize_map(values: npt.ArrayLike, width: int, height: int) -> FloatMap:
    """Bilinear resize, corners aligned."""
    array = float_map(values)
    width, height = size_of(width, height)
    resized = np.empty((height, width), np.float32)
    lib.map_resize(
        address(array), array.shape[1], array.shape[0], width, height, address(resized)
    )
    return resized


def nearest(marks: Mask, width: int, height: int) -> Mask:
    """A mask at another size as in Pillow's NEAREST."""
    marks, resized = np.ascontiguousarray(marks), np.empty((height, width), np.uint8)
    lib.mask_resize(
        address(marks), marks.shape[1], marks.shape[0], width, height, address(resized)
    )
    return resized


def _look(roi: Optional[npt.ArrayLike], array: FloatMap) -> Optional[Mask]:
    return None if roi is None else mask(roi, "roi", array.shape)


def threshold_map(
    values: npt.ArrayLike, threshold: float, roi: Optional[npt.ArrayLike] = None
) -> Mask:
    """255 where the map reaches the threshold inside the region of interest, else 0."""
    array = float_map(values)
    look, found = _look(roi, array), np.empty(array.shape, np.uint8)
    lib.map_threshold(
        address(array), address(look), array.shape[1], array.shape[0], threshold, address(found)
    )
    return found


def map_peak(values: npt.ArrayLike, roi: Optional[npt.ArrayLike] = None) -> float:
    """The largest value inside the region of interest."""
    array, peak = float_map(values), ctypes.c_float()
    look = _look(roi, array)
    lib.map_peak(address(array), address(look), array.shape[1], array.shape[0], byref(peak))
    return peak.value


def find_regions(
    values: npt.ArrayLike,
    threshold: float,
    *,
    roi: Optional[npt.ArrayLike] = None,
    min_area: int = 0,
) -> Tuple[Region, ...]:
    """The regions at or above the threshold, the highest peak first."""
    array = float_map(values)
    look, found, count = _look(roi, array), POINTER(s.Region)(), c_size_t()
    lib.regions_find(
        byref(found),
        byref(count),
        address(array),
        address(look),
        array.shape[1],
        array.shape[0],
        threshold,
        unsigned(min_area, 32, "min_area"),
    )
    try:
        return read_regions(found, count.value)
    finally:
        lib.regions_free(byref(found))
