"""Metrics of a detector on a data set, as the program computes them."""

from __future__ import annotations

from typing import Optional, Tuple, Union

from . import _enums as e
from . import maps
from ._convert import Mask
from .datasets import Dataset, Sample
from .detector import Detector, ErrorFunction
from .errors import Error, FormatError, OutOfMemoryError
from .images import Image
from .metrics import Metrics
from .result import Result

_LEAST_SHARE = 0.98  # of the proportions of a photograph that its mask must have


def evaluate(
    detector: Detector,
    dataset: Dataset,
    *,
    mode: Union[e.MetricsMode, str, None] = None,
    wanted: Union[e.MetricsWanted, str, None] = None,
    bins: Optional[int] = None,
    memory_limit: Optional[int] = None,
    on_error: Optional[ErrorFunction] = None,
    batch_size: int = 1,
) -> Metrics:
    """
    Detects every sample and compares with its label and mask; then `metrics.compute()`. The numbers
    are those of `aaclip-evaluate` for the same samples: it takes the split "test" of a data set,
    `Dataset.open` takes "all" unless told otherwise. Maps count at the network's size (with tiles,
    at theirs), with masks resized to it; the domain is the detector's, the window of 16-bit values
    the data set's or else the detector's. `mode`, `wanted`, `bins` and `memory_limit` as for
    `Metrics`. An image that cannot be read raises; with `on_error` it is reported as
    `on_error(path, error)` and not counted.
    """
    metrics = Metrics(
        mode=mode, domain=detector.domain, wanted=wanted, bins=bins, memory_limit=memory_limit
    )
    pixels = wanted is None or e.member(e.MetricsWanted, wanted, "wanted") != e.MetricsWanted.IMAGES
    found = detector.detect_dataset(dataset, on_error=on_error, batch_size=batch_size)
    for sample, result in found:
        try:
            marks = _marks(sample, result) if pixels else None
            metrics.add(sample.class_name, result.score, sample.label, result.map, marks)
        except Error as error:
            if on_error is None or isinstance(error, OutOfMemoryError):
                raise
            on_error(sample.image_path, error)
    return metrics


def _marks(sample: Sample, result: Result) -> Optional[Mask]:
    """The mask at the size of the map: abnormal where Pillow's convert("L") does not give black."""
    if sample.mask_path is None:
        return None
    with Image.open(sample.mask_path) as opened:
        rgb = opened.array.astype("u4")
    grey = (rgb[:, :, 0] * 19595 + rgb[:, :, 1] * 38470 + rgb[:, :, 2] * 7471 + 0x8000) >> 16
    _check_proportions(sample, result, (grey.shape[1], grey.shape[0]))
    height, width = result.map.shape
    return maps.nearest((grey != 0).view("u1"), width, height)


def _check_proportions(sample: Sample, result: Result, size: Tuple[int, int]) -> None:
    """A mask of other proportions is of something else, or the photograph was turned."""
    across, along = size[0] * result.size[1], size[1] * result.size[0]
    if min(across, along) < _LEAST_SHARE * max(across, along):
        raise FormatError(
            f"{sample.mask_path}: expected the proportions of {sample.image_path}, "
            f"{result.size[0]}x{result.size[1]}, found {size[0]}x{size[1]}"
        )
