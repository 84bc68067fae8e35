"""The result of detection for one image."""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass, field, fields, replace
from typing import Any, Optional, Tuple

import numpy as np

from . import images, maps
from ._convert import FloatMap, Mask, Path, encode_path
from .images import ImageLike, Rgb
from .maps import Region

_NOTEBOOK_SIDE = 800  # pixels; full-size photographs make notebooks large


@dataclass(frozen=True, eq=False)
class Result:
    """
    Score, map and regions of one image. It owns its arrays, unless it was detected with
    `copy=False`. In a notebook it shows the heat map over the photograph.
    """

    score: float
    """(detection feature . abnormal + 1) / 2; with tiles, their maximum."""
    map: FloatMap
    """(height, width), unnormalised; stretch it over the image. Larger is more anomalous."""
    regions: Tuple[Region, ...]
    """Of the probability map at the size of the photograph; empty without `find_regions`."""
    defective: Optional[bool]
    """The decision; None when there was no calibration."""
    class_name: str
    size: Tuple[int, int]
    """Width and height of the photograph."""
    level_count: int
    patch_features: Optional[FloatMap] = field(default=None, repr=False)
    """With `keep_features`: (levels, rows, columns, embedding), rows of unit length."""
    detection_feature: Optional[FloatMap] = field(default=None, repr=False)
    """With `keep_features`: (embedding,)."""
    source: Optional[ImageLike] = field(default=None, repr=False)
    """The input: the path or the object itself, not a copy, for the overlay."""
    order: str = field(default="RGB", repr=False)
    window: Optional[Tuple[float, float]] = field(default=None, repr=False)
    """Values of a 16-bit image that became 0 to 255."""
    map_threshold: Optional[float] = field(default=None, repr=False)
    """Of the probability map; None when there was no calibration."""
    roi: Optional[Mask] = field(default=None, repr=False)
    """The region of interest, of any size; None: everywhere."""

    @property
    def path(self) -> Optional[str]:
        """Path of the image, if it was given as one."""
        return os.fspath(self.source) if isinstance(self.source, (str, os.PathLike)) else None

    @property
    def probability(self) -> FloatMap:
        """The map on a fixed scale: 0 to 1, 0.5 is undecided in every image."""
        return maps.probability(self.map, self.level_count)

    def heat_map(self, width: Optional[int] = None, height: Optional[int] = None) -> FloatMap:
        """The probability at the size of the photograph, or another."""
        wide, high = self.size
        width, height = wide if width is None else width, high if height is None else height
        resized = maps.resize_map(self.map, width, height)
        return maps.probability(resized, self.level_count)

    @property
    def mask(self) -> Optional[Mask]:
        """
        255 where the heat map reaches the calibration's threshold, inside the region of interest,
        else 0, at the size of the photograph; None when there was no calibration.
        """
        if self.map_threshold is None:
            return None
        width, height = self.size
        look = None if self.roi is None else maps.nearest(self.roi, width, height)
        return maps.threshold_map(self.heat_map(), self.map_threshold, look)

    def overlay(self, opacity: float = 0.5, *, longest_side: Optional[int] = None) -> Rgb:
        """
        The heat map over the photograph: RGB of its size, or smaller with `longest_side`. A path is
        read again; without a photograph (after pickling) the background is grey.
        """
        width, height = self.size
        photo: ImageLike
        if self.source is None:
            photo = np.full((height, width), 128, np.uint8)
        else:
            photo = self.source
        photo, order = images.through_window(photo, self.window, self.order)
        if longest_side is not None and max(width, height) > longest_side:
            scale = longest_side / max(width, height)
            width, height = max(1, round(width * scale)), max(1, round(height * scale))
            photo, order = images.resize(photo, width, height, order=order), "RGB"
        return images.overlay(photo, self.heat_map(width, height), opacity, order=order)

    def save_overlay(self, path: Path, opacity: float = 0.5) -> None:
        """Writes the overlay as PNG."""
        images.write_png(path, self.overlay(opacity))

    def save_map(self, path: Path) -> None:
        """
        A name ending in .npy: the map itself. In .png: 16-bit grey of the probability at the size
        of the photograph. As `aaclip-detect --raw`.
        """
        ending = os.path.splitext(os.fsdecode(path))[1].lower()
        if ending == ".npy":
            encode_path(path)
            with open(path, "wb") as file:
                np.save(file, self.map)
        elif ending == ".png":
            images.write_png16(path, self.heat_map())
        else:
            raise ValueError(f"{path}: expected a name that ends with .npy or .png")

    def _repr_png_(self) -> bytes:
        return images.png(self.overlay(longest_side=_NOTEBOOK_SIDE))

    def __getstate__(self) -> "dict[str, Any]":
        """For another process: with the path of the photograph, without its pixels."""
        return {**self.__dict__, "source": self.path}

    def __copy__(self) -> Result:
        return replace(self)

    def __deepcopy__(self, memo: "dict[int, Any]") -> Result:
        own = {part.name: copy.deepcopy(getattr(self, part.name), memo) for part in fields(self)}
        return Result(**own)

    def __repr__(self) -> str:
        height, width = self.map.shape
        verdict = {None: "", True: ", defective", False: ", good"}[self.defective]
        found = f", {len(self.regions)} regions" if self.regions else ""
        of = f" of {self.path!r}" if self.path else ""
        return (
            f"<aaclip.Result{of} as {self.class_name!r}: score {self.score:.6f}{verdict}{found}, "
            f"map {width} x {height}>"
        )
