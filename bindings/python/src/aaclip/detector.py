"""From an image to its map and score."""

from __future__ import annotations

import ctypes
import weakref
from contextlib import ExitStack
from ctypes import byref, c_void_p
from itertools import islice
from typing import Any, Callable, Iterable, Iterator, Optional, Sequence, Tuple, Union

import numpy as np
import numpy.typing as npt

from . import _structs as s
from ._convert import Mask, Path, address, encode, mask, set_options, text_array
from ._enums import DecideBy, Domain, Layout, member
from ._functions import lib
from ._handle import Handle, use, use_optional
from .calibration import Calibration
from .config import Config, config_pointer
from .datasets import Dataset, Sample
from .errors import Error
from .images import Image, ImageLike, Lease, borrow, hold, refuse_single
from .maps import map_peak, read_regions
from .model import Adapters, Model
from .result import Result
from .text import TextCache

ErrorFunction = Callable[[str, Error], object]


class Detector(Handle):
    """
    Owns the working memory of detection. Any number of detectors can share a model, adapters and a
    cache. A detector serves one thread at a time, others wait: give each thread its own.
    """

    _noun = "detector"
    _closer = "detector_close"

    def __init__(
        self,
        model: Model,
        texts: TextCache,
        adapters: Optional[Adapters] = None,
        *,
        domain: Union[Domain, str, None] = None,
        image_size: Optional[int] = None,
        config: Optional[Config] = None,
        keep_features: Optional[bool] = None,
        tile: Optional[int] = None,
        tile_overlap: Optional[float] = None,
        calibration: Optional[Calibration] = None,
        min_area: Optional[int] = None,
        find_regions: Optional[bool] = None,
        roi: Optional[npt.ArrayLike] = None,
    ) -> None:
        """
        Options that are None take the library's defaults.

        - `domain`: "industrial" or "medical" smoothing.
        - `image_size`: side of the network's input in pixels, a multiple of the patch size.
        - `config`: used without adapters; None: the text cache's.
        - `keep_features`: results include patch and detection features.
        - `tile`, `tile_overlap`: side of square tiles in pixels of the photograph, and the least
          share of a tile that neighbours overlap.
        - `calibration`: thresholds; None: the adapters' own.
        - `find_regions`, `min_area`: results include regions of at least `min_area` pixels.
        - `roi`: as for `set_roi`.
        """
        options = s.DetectorOptions()
        lib.detector_options_init_sized(byref(options), ctypes.sizeof(options))
        thresholds = None if calibration is None else ctypes.pointer(calibration._write())
        set_options(
            options,
            {
                "domain": None if domain is None else member(Domain, domain, "domain"),
                "image_size": image_size,
                "config": config_pointer(config),
                "keep_features": keep_features,
                "tile": tile,
                "tile_overlap": tile_overlap,
                "calibration": thresholds,
                "min_area": min_area,
                "find_regions": find_regions,
            },
        )
        handle = c_void_p()
        with use(model, Model) as clip, use(texts, TextCache) as cache:
            with use_optional(adapters, Adapters) as adapted:
                lib.detector_new(byref(handle), clip, adapted, cache, byref(options))
        needs = [need for need in (model, texts, adapters) if need is not None]
        self._adopt(handle, *needs)
        self._texts = texts
        self._classes = list(texts)  # which the detector keeps when `texts` is closed
        self._roi: Optional[Mask] = None
        self._leases: weakref.WeakSet[Lease] = weakref.WeakSet()
        if roi is not None:
            self.set_roi(roi)

    @property
    def image_size(self) -> int:
        """Side of the network's input in pixels."""
        with self._use() as pointer:
            return int(lib.detector_image_size(pointer))

    def set_roi(self, roi: Optional[npt.ArrayLike]) -> None:
        """
        Sets the region of interest, for a fixed camera: nonzero where to look, resized to each
        photograph. It limits later decisions and regions; scores and maps do not change. None:
        everywhere.
        """
        look = None if roi is None else mask(roi, "roi").copy()
        height, width = look.shape if look is not None else (0, 0)
        with self._use_alone() as pointer:
            lib.detector_set_roi(pointer, address(look), width, height)
            self._roi = look

    def detect(
        self,
        image: ImageLike,
        class_name: Optional[str] = None,
        *,
        order: str = "RGB",
        copy: bool = True,
    ) -> Result:
        """
        Detects anomalies in one image: a path, an array, an `aaclip.Image` or a Pillow image.

        - Arrays are (height, width) or (height, width, 1, 3 or 4) of uint8 or uint16, in the
          `order` "RGB" or "BGR", and read in place, also with gaps between rows; only arrays with
          gaps inside a row or with rows in reverse are copied first.
        - Of uint16 the upper 8 bits are used. A 16-bit grey file is clipped at 255 instead, as in
          Pillow. Scale scans of 10 or 12 bits to uint8 yourself.
        - `class_name` may be omitted when the text cache has one class.
        - `copy=False` gives arrays that are read-only views of the detector's memory. While one of
          them lives the detector cannot detect again (BufferError), and closing it is deferred.
        """
        return self._detect([image], [self._class_of(class_name)], order, copy)[0]

    def detect_batch(
        self,
        images: Sequence[ImageLike],
        class_names: Union[str, Sequence[str], None] = None,
        *,
        order: str = "RGB",
        copy: bool = True,
    ) -> list[Result]:
        """The same for several images, of one class or one each; all are decoded up front."""
        refuse_single(images, "images")
        if not isinstance(images, Sequence):
            raise TypeError(f"images: expected a list of images, found {type(images).__name__}")
        if class_names is None or isinstance(class_names, str):
            names = [self._class_of(class_names)] * len(images) if images else []
        else:
            names = list(class_names)
        if len(names) != len(images):
            raise ValueError(f"class_names: expected {len(images)}, found {len(names)}")
        return self._detect(images, names, order, copy)

    def detect_many(
        self,
        images: Iterable[ImageLike],
        class_name: Optional[str] = None,
        *,
        order: str = "RGB",
        batch_size: int = 1,
    ) -> Iterator[Result]:
        """Results one by one, in order, on demand; `batch_size` images at once."""
        refuse_single(images, "images")
        if batch_size < 1:
            raise ValueError(f"batch_size: expected 1 or more, found {batch_size}")
        return self._detect_each(iter(images), class_name, order, batch_size)

    def _detect_each(
        self, waiting: Iterator[ImageLike], class_name: Optional[str], order: str, batch_size: int
    ) -> Iterator[Result]:
        while batch := list(islice(waiting, batch_size)):
            yield from self.detect_batch(batch, class_name, order=order)

    def detect_folder(
        self,
        folder: Path,
        class_name: Optional[str] = None,
        *,
        on_error: Optional[ErrorFunction] = None,
    ) -> Iterator[Result]:
        """
        The images of a folder by name, as `aaclip-detect` takes them. An image that cannot be read
        raises; with `on_error` it is reported as `on_error(path, error)` and skipped.
        """
        with Dataset.open(folder, layout=Layout.FOLDER) as listed:
            paths = [sample.image_path for sample in listed]
        for path in paths:
            try:
                result = self.detect(path, class_name)
            except Error as error:
                if on_error is None:
                    raise
                on_error(path, error)
                continue
            yield result

    def detect_dataset(self, dataset: Dataset) -> Iterator[Tuple[Sample, Result]]:
        """Every sample of a data set with its result, detected as the sample's class."""
        for sample in dataset:
            image: ImageLike = sample.image_path
            if dataset.window is not None:
                image = Image(sample.image_path, window=dataset.window)
            yield sample, self.detect(image, sample.class_name)

    def calibrate(
        self,
        good: Iterable[ImageLike],
        false_alarm_rate: float,
        class_name: Optional[str] = None,
        *,
        order: str = "RGB",
        decide_by: Optional[DecideBy] = None,
    ) -> Calibration:
        """
        Thresholds by which at most the share `false_alarm_rate` of these good parts is called
        defective, for the `calibration` of a detector or of `Adapters.save`. Peaks are taken at the
        size of the photograph, inside the region of interest, which must have that size here.
        `decide_by` None: the map with a region of interest, otherwise either.
        """
        refuse_single(good, "good")
        class_name = self._class_of(class_name)
        scores, peaks = [], []
        for result in self.detect_many(good, class_name, order=order):
            scores.append(result.score)
            peaks.append(map_peak(result.heat_map(), self._roi))
        if decide_by is None:
            decide_by = DecideBy.EITHER if self._roi is None else DecideBy.MAP
        own = Calibration.from_good(scores, peaks, false_alarm_rate, decide_by)._write()
        with self._use() as pointer:
            lib.detector_describe_calibration(
                pointer, encode(class_name, "class name"), byref(own)
            )
        return Calibration._read(own)

    def check_calibration(
        self, calibration: Calibration, class_name: Optional[str] = None
    ) -> None:
        """Raises MismatchError if the thresholds belong to another detector or class."""
        own, name = calibration._write(), encode(self._class_of(class_name), "class name")
        with self._use() as pointer:
            lib.detector_check_calibration(pointer, name, byref(own))

    def _class_of(self, class_name: Optional[str]) -> str:
        if class_name is not None:
            return class_name
        if not self._texts.closed:
            self._classes = list(self._texts)
        if len(self._classes) != 1:
            raise ValueError(f"class_name: expected one of {self._classes}, found none")
        return self._classes[0]

    def _detect(
        self, images: Sequence[ImageLike], names: Sequence[str], order: str, copy: bool
    ) -> list[Result]:
        if not images:
            return []
        classes = text_array(encode(name, "class name") for name in names)
        found = (s.Result * len(images))()
        found[0].size = ctypes.sizeof(s.Result)
        with ExitStack() as stack:
            views = (s.ImageView * len(images))(*(hold(i, order, stack) for i in images))
            pointer = stack.enter_context(self._use_alone())
            if len(self._leases):
                raise BufferError(
                    "this detector's memory is in use by a result detected with copy=False; "
                    "drop that result first"
                )
            lib.detector_detect_batch(pointer, views, classes, len(images), found)
            return [
                self._read(own, copy, class_name=name, size=(view.width, view.height),
                           source=image, order=order)
                for own, view, name, image in zip(found, views, names, images)
            ]  # fmt: skip

    def _read(self, own: s.Result, copy: bool, **known: Any) -> Result:
        features = own.level_count, own.patch_rows, own.patch_columns, own.embedding
        return Result(
            score=own.score,
            map=self._array(own.map, (own.map_height, own.map_width), copy),
            regions=read_regions(own.regions, own.region_count),
            defective=own.defective if own.decided else None,
            level_count=own.level_count,
            patch_features=self._array(own.patch_features, features, copy),
            detection_feature=self._array(own.detection_feature, (own.embedding,), copy),
            **known,
        )

    def _array(self, pointer: Optional[int], shape: Tuple[int, ...], copy: bool) -> Any:
        if not pointer:
            return None
        shown = borrow(self, pointer, shape, np.float32)
        if copy:
            return shown.copy()
        self._leases.add(shown.base)
        return shown

    def __repr__(self) -> str:
        if self.closed:
            return "<aaclip.Detector, closed>"
        return f"<aaclip.Detector of {self.image_size} pixels a side>"
