"""Thresholds from calibration images, and the decision by them."""

from __future__ import annotations

import ctypes
from ctypes import byref
from dataclasses import dataclass, replace
from typing import Any, Optional, Tuple

import numpy as np
import numpy.typing as npt

from . import _structs as s
from ._convert import Path, address, encode_path, float_map, mask
from ._enums import CalibrationMethod, member
from ._functions import lib


@dataclass(frozen=True)
class Calibration:
    """
    Thresholds of the score and of the probability map, and how they were chosen. They belong to
    the model, adapters, class, domain and image size that they were made with.
    """

    image_threshold: float
    map_threshold: float
    false_alarm_rate: float
    method: CalibrationMethod
    images: int  # that were used

    @staticmethod
    def new(**values: Any) -> Calibration:
        """The library's defaults, with other values where given."""
        return replace(Calibration._read(Calibration._default()), **values)

    @staticmethod
    def open(path: Path) -> Calibration:
        """Reads a small JSON file."""
        own = Calibration._default()
        lib.calibration_open(byref(own), encode_path(path))
        return Calibration._read(own)

    @staticmethod
    def from_good(
        scores: npt.ArrayLike, peaks: npt.ArrayLike, false_alarm_rate: float
    ) -> Calibration:
        """
        From good parts alone: thresholds that at most a share of them reaches. `scores` of their
        results, `peaks` of their probability maps at the size of the photograph.
        """
        return Calibration.new(
            image_threshold=quantile_threshold(scores, false_alarm_rate),
            map_threshold=quantile_threshold(peaks, false_alarm_rate),
            false_alarm_rate=false_alarm_rate,
            method=CalibrationMethod.QUANTILE,
            images=int(np.size(scores)),
        )

    def save(self, path: Path) -> None:
        own = self._write()
        lib.calibration_save(byref(own), encode_path(path))

    def decide(
        self,
        score: float,
        probability: Optional[npt.ArrayLike] = None,
        roi: Optional[npt.ArrayLike] = None,
    ) -> bool:
        """
        Whether an image is defective: by its score, or, with a region of interest, by the largest
        value of the probability map (of any size, as `roi`) inside it.
        """
        if roi is not None and probability is None:
            raise ValueError("probability: a region of interest needs the map")
        values = None if probability is None else float_map(probability, "probability")
        height, width = values.shape if values is not None else (0, 0)
        look = None if roi is None else mask(roi, "roi", (height, width))
        own, defective = self._write(), ctypes.c_bool()
        lib.decide(
            byref(own), score, address(values), address(look), width, height, byref(defective)
        )
        return defective.value

    @staticmethod
    def _default() -> s.Calibration:
        own = s.Calibration()
        lib.calibration_init_sized(byref(own), ctypes.sizeof(own))
        return own

    @staticmethod
    def _read(own: s.Calibration) -> Calibration:
        return Calibration(
            image_threshold=own.image_threshold,
            map_threshold=own.map_threshold,
            false_alarm_rate=own.false_alarm_rate,
            method=CalibrationMethod(own.method),
            images=own.images,
        )

    def _write(self) -> s.Calibration:
        own = Calibration._default()
        own.image_threshold = self.image_threshold
        own.map_threshold = self.map_threshold
        own.false_alarm_rate = self.false_alarm_rate
        own.method = member(CalibrationMethod, self.method, "method")
        own.images = self.images
        return own


def _scores(values: npt.ArrayLike, what: str) -> npt.NDArray[np.float32]:
    array = np.ascontiguousarray(values, dtype=np.float32)
    if array.ndim != 1:
        raise ValueError(f"{what}: expected one dimension, found shape {array.shape}")
    return array


def quantile_threshold(good_scores: npt.ArrayLike, false_alarm_rate: float) -> float:
    """The smallest threshold that at most a share of the scores of good parts reaches."""
    scores, threshold = _scores(good_scores, "good_scores"), ctypes.c_float()
    lib.calibrate_quantile(address(scores), scores.size, false_alarm_rate, byref(threshold))
    return threshold.value


def f1_threshold(scores: npt.ArrayLike, labels: npt.ArrayLike) -> Tuple[float, float]:
    """The threshold with the largest F1, and that F1. Labels: 0 normal, 1 abnormal."""
    values = _scores(scores, "scores")
    marks = np.ascontiguousarray(labels, dtype=np.intc)
    if not np.array_equal(marks, labels):
        raise ValueError(f"labels: expected 0 or 1, found {labels!r}")
    if marks.shape != values.shape:
        raise ValueError(f"labels: expected shape {values.shape}, found {marks.shape}")
    threshold, f1 = ctypes.c_float(), ctypes.c_double()
    lib.calibrate_f1(address(values), address(marks), values.size, byref(threshold), byref(f1))
    return threshold.value, f1.value
