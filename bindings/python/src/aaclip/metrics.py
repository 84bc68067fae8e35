"""Quality of maps and scores: AUROC, AP, F1-max and AUPRO."""

from __future__ import annotations

import ctypes
from contextlib import ExitStack
from ctypes import byref, c_size_t, c_void_p
from dataclasses import dataclass
from typing import Optional, Union

import numpy as np
import numpy.typing as npt

from . import _structs as s
from . import _enums as e
from ._convert import address, decode, encode, float_map, set_options
from ._convert import mask as as_mask
from ._enums import member
from ._functions import lib
from ._handle import Handle, use

_MEAN = c_size_t(-1).value  # stands for a class's index


@dataclass(frozen=True)
class MetricValues:
    """
    Metrics in [0, 1], NaN where not available, and the counts behind them.

    - `pixel_*`, `aupro_*`: of the maps against the masks.
    - `dataset_*`: of the data-set score, for which maps and scores are stretched over the class:
      the paper's image AUROC, and `image_*` in the JSON of `aaclip-evaluate`.
    - `image_*`: of the plain scores, `raw_image_*` in that JSON.
    """

    pixel_auroc: float
    pixel_ap: float
    pixel_f1_max: float
    pixel_f1_threshold: float
    aupro_30: float
    aupro_05: float
    image_auroc: float
    image_ap: float
    image_f1_max: float
    image_f1_threshold: float
    dataset_auroc: float
    dataset_ap: float
    dataset_f1_max: float
    dataset_f1_threshold: float
    pixel_auroc_error: float  # how far the value may be from exact
    pixel_ap_error: float
    pixel_f1_max_error: float
    aupro_30_error: float
    aupro_05_error: float
    images: int
    normal_images: int
    abnormal_images: int
    normal_pixels: int
    abnormal_pixels: int
    regions: int


class Metrics(Handle):
    """
    Images are added one by one and need not be kept. One thread at a time, others wait; with
    several threads, give each its own and merge them.
    """

    _noun = "set of metrics"
    _closer = "metrics_close"

    def __init__(
        self,
        *,
        mode: Union[e.MetricsMode, str, None] = None,
        domain: Union[e.Domain, str, None] = None,
        wanted: Union[e.MetricsWanted, str, None] = None,
        bins: Optional[int] = None,
        memory_limit: Optional[int] = None,
    ) -> None:
        """
        `mode`: "exact" keeps every pixel, "histogram" counts them in `bins`. `domain`: of the
        data-set score, "industrial" or "medical", as the detector's. `wanted`: "pixels", "images"
        or "all". `memory_limit`: bytes of exact mode.
        """
        options = s.MetricsOptions()
        lib.metrics_options_init_sized(byref(options), ctypes.sizeof(options))
        set_options(
            options,
            {
                "mode": None if mode is None else member(e.MetricsMode, mode, "mode"),
                "domain": None if domain is None else member(e.Domain, domain, "domain"),
                "wanted": None if wanted is None else member(e.MetricsWanted, wanted, "wanted"),
                "bins": bins,
                "memory_limit": memory_limit,
            },
        )
        handle = c_void_p()
        lib.metrics_new(byref(handle), byref(options))
        self._adopt(handle)

    def add(
        self,
        class_name: str,
        score: float,
        label: Optional[int],
        map: Optional[npt.ArrayLike] = None,
        mask: Optional[npt.ArrayLike] = None,
    ) -> None:
        """
        Adds one image: `label` 0 normal, 1 abnormal, None unknown. `map` and `mask` (nonzero where
        abnormal) have the same shape; without a mask the pixels of a normal image are normal, those
        of any other unknown. Give `result.map`, as `aaclip.evaluate` does, with the mask at its
        size: the largest values of `heat_map()` are all the same, 1.0.
        """
        values = None if map is None else float_map(map)
        if mask is not None and values is None:
            raise ValueError("mask: a mask needs a map")
        height, width = values.shape if values is not None else (0, 0)
        if label is not None and label not in (0, 1):
            raise ValueError(f"label: expected 0, 1 or None, found {label!r}")
        truth = None if mask is None else as_mask(mask, "mask", (height, width))
        with self._use_alone() as pointer:
            lib.metrics_add(
                pointer,
                encode(class_name, "class name"),
                address(values),
                address(truth),
                width,
                height,
                score,
                -1 if label is None else int(label),
            )

    def merge(self, other: Metrics) -> None:
        """Moves everything from `other`, made with equal options, here, and closes it."""
        if other is self:
            raise ValueError("expected other metrics, found the same")
        with ExitStack() as stack:
            for each in sorted((self, other), key=id):  # always in one order: no deadlock
                stack.enter_context(each._use_alone())
            with self._use() as own, use(other, Metrics) as theirs:
                lib.metrics_merge(own, byref(c_void_p(theirs)))
            other._state.take()

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in order of first images."""
        with self._use_alone() as pointer:
            count = lib.metrics_class_count(pointer)
            return tuple(decode(lib.metrics_class_name(pointer, i)) for i in range(count))

    def _index(self, class_name: Optional[str]) -> int:
        if class_name is None:
            return _MEAN
        try:
            return self.classes.index(class_name)
        except ValueError:
            raise KeyError(class_name) from None

    def compute(self, class_name: Optional[str] = None) -> MetricValues:
        """Metrics of a class; None: their mean over the classes that have them."""
        index, own = self._index(class_name), s.sized(s.MetricValues)
        with self._use_alone() as pointer:
            lib.metrics_compute(pointer, index, byref(own))
        return MetricValues(**{name: getattr(own, name) for name in s.names(s.MetricValues)})

    def curve(
        self, class_name: str, curve: Union[e.Curve, str], points: int = 512
    ) -> npt.NDArray[np.float64]:
        """
        A class's curve, at most `points` points (8 or more), x ascending: columns x, y, threshold.
        ROC and PRO are joined by lines, PR is drawn as steps. No points if not available.
        """
        index, kind = self._index(class_name), member(e.Curve, curve, "curve")
        room, count = (s.CurvePoint * max(points, 0))(), c_size_t()
        with self._use_alone() as pointer:
            lib.metrics_curve(pointer, index, kind, room, len(room), byref(count))
        return np.frombuffer(memoryview(room), np.float64).reshape(-1, 3)[: count.value].copy()

    def __repr__(self) -> str:
        if self.closed:
            return "<aaclip.Metrics, closed>"
        return f"<aaclip.Metrics of classes {list(self.classes)!r}>"
