"""Thresholds from calibration images, and decisions with them."""

from __future__ import annotations

import ctypes
import os
from ctypes import byref
from dataclasses import dataclass, replace
from typing import Any, Optional, Tuple, Union

import numpy as np
import numpy.typing as npt

from . import _structs as s
from ._convert import Path, address, decode, encode, encode_path, float_map, mask, warn
from ._enums import CalibrationMethod, DecideBy, Domain, member
from ._functions import lib


@dataclass(frozen=True)
class Calibration:
    """
    Thresholds of the score and of the probability map, how they were chosen, which of them decides,
    and what they belong to: other detectors and other classes raise MismatchError. `image_size` 0:
    detector unknown; `class_name` "": any class. `method`, `decide_by` and `domain` may be given by
    name.
    """

    image_threshold: float
    map_threshold: float
    false_alarm_rate: float
    method: CalibrationMethod
    images: int  # number used
    decide_by: DecideBy = DecideBy.SCORE
    image_size: int = 0
    tile: int = 0
    tile_overlap: float = 0.0
    domain: Domain = Domain.INDUSTRIAL
    model_fingerprint: int = 0
    adapters_fingerprint: int = 0
    class_name: str = ""
    class_fingerprint: int = 0
    window_low: float = 0.0  # with window_high: of 16-bit images; 0, 0: none
    window_high: float = 0.0

    def __post_init__(self) -> None:
        for name, kind in (
            ("method", CalibrationMethod), ("decide_by", DecideBy), ("domain", Domain)
        ):  # fmt: skip
            object.__setattr__(self, name, member(kind, getattr(self, name), name))

    @staticmethod
    def new(**values: Any) -> Calibration:
        """The library's defaults, with other values where given."""
        return replace(Calibration._read(Calibration._default()), **values)

    @staticmethod
    def open(path: Path) -> Calibration:
        """Reads a small JSON file."""
        own = Calibration._default()
        lib.calibration_load(byref(own), encode_path(path))
        return Calibration._read(own)

    @staticmethod
    def from_good(
        scores: npt.ArrayLike,
        peaks: npt.ArrayLike,
        false_alarm_rate: float,
        decide_by: Union[DecideBy, str] = DecideBy.EITHER,
    ) -> Calibration:
        """
        Thresholds from good parts alone, by which at most the share `false_alarm_rate` of them is
        called defective; half of it by each where either decides. `scores` of their results,
        `peaks` of their probability maps at the size of the photograph. Warns if they are too few
        for that share.
        """
        by = member(DecideBy, decide_by, "decide_by")
        check_rate(false_alarm_rate)
        if not np.size(scores):
            raise ValueError("expected the scores of at least one good part, found none")
        share = false_alarm_rate / (2 if by == DecideBy.EITHER else 1)
        if np.size(scores) * share < 1:
            warn(
                f"{np.size(scores)} images are too few to promise a false alarm rate of "
                f"{false_alarm_rate:g}: the thresholds are just above the largest of them"
            )
        return Calibration.new(
            image_threshold=quantile_threshold(scores, share),
            map_threshold=quantile_threshold(peaks, share),
            false_alarm_rate=false_alarm_rate,
            method=CalibrationMethod.QUANTILE,
            images=int(np.size(scores)),
            decide_by=by,
        )

    def save(self, path: Path) -> None:
        """Writes the JSON file that `open` reads, whole or not at all."""
        own = self._write()
        lib.calibration_save(byref(own), encode_path(path))

    def decide(
        self,
        score: float,
        probability: Optional[npt.ArrayLike] = None,
        roi: Optional[npt.ArrayLike] = None,
    ) -> bool:
        """
        Whether an image is defective: by its score, the largest value of its probability map (of
        any size), or either, as `decide_by` says; with a region of interest (of the map's size) by
        the map inside it.
        """
        if roi is not None and probability is None:
            raise ValueError("probability: a region of interest needs the map")
        if self.decide_by != DecideBy.SCORE and probability is None:
            raise ValueError("probability: this calibration decides by the map, found none")
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
            decide_by=DecideBy(own.decide_by),
            image_size=own.image_size,
            tile=own.tile,
            tile_overlap=own.tile_overlap,
            domain=Domain(own.domain),
            model_fingerprint=own.model_fingerprint,
            adapters_fingerprint=own.adapters_fingerprint,
            class_name=decode(own.class_name),
            class_fingerprint=own.class_fingerprint,
            window_low=own.window_low,
            window_high=own.window_high,
        )

    def _write(self) -> s.Calibration:
        own = Calibration._default()
        own.image_threshold = self.image_threshold
        own.map_threshold = self.map_threshold
        own.false_alarm_rate = self.false_alarm_rate
        own.method = self.method
        own.images = self.images
        own.decide_by = self.decide_by
        own.image_size = self.image_size
        own.tile = self.tile
        own.tile_overlap = self.tile_overlap
        own.domain = self.domain
        own.model_fingerprint = self.model_fingerprint
        own.adapters_fingerprint = self.adapters_fingerprint
        own.class_fingerprint = self.class_fingerprint
        own.window_low, own.window_high = self.window_low, self.window_high
        name = encode(self.class_name, "class_name")
        if len(name) >= s.Calibration.class_name.size:
            raise ValueError(f"class_name: expected at most 127 bytes, found {len(name)}")
        own.class_name = name
        return own


def check_rate(false_alarm_rate: float) -> None:
    """Before it is halved, and before images are detected for it."""
    if not 0 <= false_alarm_rate < 1:
        raise ValueError(
            f"false_alarm_rate: expected 0 or more, below 1, found {false_alarm_rate:g}"
        )


def calibration_of(given: Union[Calibration, Path]) -> Calibration:
    """A calibration, or the one in a file."""
    if isinstance(given, Calibration):
        return given
    if isinstance(given, (str, os.PathLike)):
        return Calibration.open(given)
    raise TypeError(
        f"calibration: expected an aaclip.Calibration or a path, found {type(given).__name__}"
    )


def _scores(values: npt.ArrayLike, what: str) -> npt.NDArray[np.float32]:
    array = np.ascontiguousarray(values, dtype=np.float32)
    if array.ndim != 1:
        raise ValueError(f"{what}: expected one dimension, found shape {array.shape}")
    return array


def quantile_threshold(good_scores: npt.ArrayLike, false_alarm_rate: float) -> float:
    """The smallest threshold that at most a given share of the scores of good parts reaches."""
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
