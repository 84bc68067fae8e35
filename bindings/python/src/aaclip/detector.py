"""From an image to its map and score."""

from __future__ import annotations

import ctypes
import os
import weakref
from contextlib import ExitStack
from ctypes import byref, c_void_p
from itertools import islice
from typing import Any, Callable, Iterable, Iterator, Optional, Sequence, Tuple, Union

import numpy as np
import numpy.typing as npt

from . import _structs as s
from ._convert import Mask, Path, address, encode, encode_optional, mask, set_options, text_array
from ._convert import unsigned
from ._enums import DecideBy, Domain, Layout, member
from ._functions import lib
from ._handle import Handle, use, use_optional
from .calibration import Calibration, calibration_of, check_rate
from .config import ConfigLike, config_pointer
from .datasets import Dataset, Sample
from .errors import CancelledError, Error, NotFoundError
from .images import ImageLike, Lease, Window, borrow, check_window, hold, refuse_single
from .images import sixteen_bits, through_window
from .maps import map_peak, read_regions
from .model import Adapters, Model
from .result import Result
from .text import TextCache

ErrorFunction = Callable[[str, Error], object]

_DEVICE_BATCH = 8  # a GPU is not busy with one image


def _map_threshold(
    calibration: Optional[Calibration], adapters: Optional[Adapters]
) -> Optional[float]:
    if calibration is None and adapters is not None:
        try:
            calibration = adapters.calibration
        except NotFoundError:
            pass
    return None if calibration is None else calibration.map_threshold


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
        config: Optional[ConfigLike] = None,
        keep_features: Optional[bool] = None,
        tile: Optional[int] = None,
        tile_overlap: Optional[float] = None,
        calibration: Union[Calibration, Path, None] = None,
        min_area: Optional[int] = None,
        find_regions: Optional[bool] = None,
        roi: Optional[npt.ArrayLike] = None,
        window: Optional[Window] = None,
    ) -> None:
        """
        Options that are None take the library's defaults.

        - `domain`: "industrial" or "medical" smoothing; `aaclip.dataset_domain("Brain")` knows it.
        - `image_size`: side of the network's input in pixels, a multiple of the patch size.
        - `config`: used without adapters, also a profile; None: the text cache's.
        - `keep_features`: results include patch and detection features.
        - `tile`, `tile_overlap`: side of square tiles in pixels of the photograph, and the least
          share of a tile that neighbours overlap.
        - `calibration`: thresholds, or the path of their file; None: the adapters' own. Those of
          several classes: `set_calibration`.
        - `find_regions`, `min_area`: results include regions of at least `min_area` pixels.
        - `roi`: as for `set_roi`.
        - `window`: (low, high), the values of 16-bit images that become 0 to 255, of files, arrays
          and Pillow images alike; None: what `detect` says. Calibrations record it.
        """
        seen = None if window is None else check_window(window)
        options = s.DetectorOptions()
        lib.detector_options_init_sized(byref(options), ctypes.sizeof(options))
        chosen = None if calibration is None else calibration_of(calibration)
        set_options(
            options,
            {
                "domain": None if domain is None else member(Domain, domain, "domain"),
                "image_size": image_size,
                "config": config_pointer(config),
                "keep_features": keep_features,
                "tile": tile,
                "tile_overlap": tile_overlap,
                "calibration": chosen and ctypes.pointer(chosen._write()),
                "min_area": min_area,
                "find_regions": find_regions,
                "window_low": None if seen is None else seen[0],
                "window_high": None if seen is None else seen[1],
            },
        )
        handle = c_void_p()
        with use(model, Model) as clip, use(texts, TextCache) as cache:
            with use_optional(adapters, Adapters) as adapted:
                lib.detector_new(byref(handle), clip, adapted, cache, byref(options))
        needs = [need for need in (model, texts, adapters) if need is not None]
        self._adopt(handle, *needs)
        self._domain = Domain(options.domain)
        self._map_thresholds: dict[Optional[str], Optional[float]] = {}  # of classes; None: of all
        self._map_thresholds[None] = _map_threshold(chosen, adapters)
        self._usual_batch = _DEVICE_BATCH if model.info.backend.startswith("cuda") else 1
        self._texts = texts
        self._classes = list(texts)  # which the detector keeps when `texts` is closed
        self._window = seen
        self._roi: Optional[Mask] = None
        self._leases: weakref.WeakSet[Lease] = weakref.WeakSet()
        if roi is not None:
            self.set_roi(roi)

    @property
    def image_size(self) -> int:
        """Side of the network's input in pixels."""
        with self._use() as pointer:
            return int(lib.detector_image_size(pointer))

    @property
    def domain(self) -> Domain:
        """Industrial or medical."""
        return self._domain

    @property
    def window(self) -> Optional[Window]:
        """Values of 16-bit images that become 0 to 255."""
        return self._window

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

    def set_calibration(
        self, calibration: Union[Calibration, Path, None], class_name: Optional[str] = None
    ) -> None:
        """
        Sets the thresholds of a class, for several kinds of parts by turns; without `class_name`,
        those of all classes without their own. None: removes them. Raises MismatchError if they
        belong to another detector or class.
        """
        chosen = None if calibration is None else calibration_of(calibration)
        own = None if chosen is None else byref(chosen._write())
        with self._use_alone() as pointer:
            name = encode_optional(class_name, "class name")
            lib.detector_set_calibration(pointer, name, own)
            if chosen is not None or class_name is None:
                threshold = None if chosen is None else chosen.map_threshold
                self._map_thresholds[class_name] = threshold
            else:
                self._map_thresholds.pop(class_name, None)

    def _map_threshold_of(self, class_name: str) -> Optional[float]:
        return self._map_thresholds.get(class_name, self._map_thresholds[None])

    def detect(
        self,
        image: ImageLike,
        class_name: Optional[str] = None,
        *,
        order: str = "RGB",
        copy: bool = True,
        window: Optional[Window] = None,
    ) -> Result:
        """
        Detects anomalies in one image: a path, an array, an `aaclip.Image` or a Pillow image.

        - Arrays are (height, width) or (height, width, 1, 3 or 4) of uint8 or uint16, in the
          `order` "RGB" or "BGR", and read in place, also with gaps between rows; only arrays with
          gaps inside a row or with rows in reverse are copied first.
        - Of uint16 the upper 8 bits are used. A 16-bit grey file is clipped at 255 instead, as in
          Pillow. For scans of 10 or 12 bits give a `window` (low, high), the values that become 0
          to 255, here or, better, to the detector.
        - `class_name` may be omitted when the text cache has one class.
        - `copy=False` gives arrays that are read-only views of the detector's memory. While one of
          them lives the detector cannot detect again (BufferError), and closing it is deferred.
        """
        return self._detect([image], [self._class_of(class_name)], order, copy, window)[0]

    def detect_batch(
        self,
        images: Union[Sequence[ImageLike], npt.NDArray[Any]],
        class_names: Union[str, Sequence[str], None] = None,
        *,
        order: str = "RGB",
        copy: bool = True,
        window: Optional[Window] = None,
    ) -> list[Result]:
        """
        The same for several images, or an array (images, height, width, channels), of one class or
        one each; all are decoded up front.
        """
        refuse_single(images, "images")
        if isinstance(images, np.ndarray) and images.ndim == 4:
            images = list(images)
        if not isinstance(images, Sequence):
            raise TypeError(f"images: expected a list of images, found {type(images).__name__}")
        if class_names is None or isinstance(class_names, str):
            names = [self._class_of(class_names)] * len(images) if images else []
        else:
            names = list(class_names)
        if len(names) != len(images):
            raise ValueError(f"class_names: expected {len(images)}, found {len(names)}")
        return self._detect(images, names, order, copy, window)

    def detect_many(
        self,
        images: Iterable[ImageLike],
        class_name: Optional[str] = None,
        *,
        order: str = "RGB",
        batch_size: int = 1,
        window: Optional[Window] = None,
    ) -> Iterator[Result]:
        """Results one by one, in order, on demand; `batch_size` images at once."""
        refuse_single(images, "images")
        named = ((image, class_name) for image in images)
        return self._detect_each(named, self._size_of_batch(batch_size), order, window)

    def _size_of_batch(self, given: Optional[int]) -> int:
        size = self._usual_batch if given is None else unsigned(given, 32, "batch_size")
        if size < 1:
            raise ValueError(f"batch_size: expected 1 or more, found {size}")
        return size

    def _detect_each(
        self,
        named: Iterator[Tuple[ImageLike, Optional[str]]],
        batch_size: int,
        order: str = "RGB",
        window: Optional[Window] = None,
        on_error: Optional[ErrorFunction] = None,
    ) -> Iterator[Any]:
        """
        Results of images with their classes. With `on_error` also None for each that failed: those
        of a batch are then detected one by one to find it.
        """
        while batch := list(islice(named, batch_size)):
            images = [image for image, _ in batch]
            names = [self._class_of(name) for _, name in batch]
            try:
                results: Sequence[Optional[Result]]
                results = self._detect(images, names, order, True, window)
            except Error as error:
                if on_error is None or isinstance(error, CancelledError):
                    raise
                if len(batch) == 1:
                    on_error(str(images[0]), error)
                    results = [None]
                else:
                    results = list(self._detect_each(iter(batch), 1, order, window, on_error))
            yield from results

    def detect_folder(
        self,
        folder: Path,
        class_name: Optional[str] = None,
        *,
        on_error: Optional[ErrorFunction] = None,
        batch_size: Optional[int] = None,
        window: Optional[Window] = None,
    ) -> Iterator[Result]:
        """
        The images of a folder by name, as `aaclip-detect` takes them. An image that cannot be read
        raises; with `on_error` it is reported as `on_error(path, error)` and skipped. `batch_size`
        images at once; None: 8 on a GPU, otherwise 1.
        """
        with Dataset.open(folder, layout=Layout.FOLDER) as listed:
            named = [(sample.image_path, class_name) for sample in listed]
        size = self._size_of_batch(batch_size)
        for result in self._detect_each(iter(named), size, window=window, on_error=on_error):
            if result is not None:
                yield result

    def detect_dataset(
        self,
        dataset: Dataset,
        *,
        on_error: Optional[ErrorFunction] = None,
        batch_size: Optional[int] = None,
    ) -> Iterator[Tuple[Sample, Result]]:
        """
        Every sample of a data set with its result, detected as the sample's class, through the data
        set's window or else the detector's. `on_error` and `batch_size` as for `detect_folder`.
        """
        named = ((sample.image_path, sample.class_name) for sample in dataset)
        results = self._detect_each(
            named, self._size_of_batch(batch_size), window=dataset.window, on_error=on_error
        )
        for sample, result in zip(dataset, results):
            if result is not None:
                yield sample, result

    def calibrate(
        self,
        good: Iterable[ImageLike],
        false_alarm_rate: float,
        class_name: Optional[str] = None,
        *,
        order: str = "RGB",
        decide_by: Union[DecideBy, str, None] = None,
        window: Optional[Window] = None,
    ) -> Calibration:
        """
        Thresholds by which at most the share `false_alarm_rate` of these good parts is called
        defective, for the `calibration` of a detector or of `Adapters.save`. Peaks are taken at the
        size of the photograph, inside the region of interest, which must have that size here.
        `decide_by` None: the map with a region of interest, otherwise either. They belong to the
        window, this or the detector's: the detector that takes them must have it.
        """
        refuse_single(good, "good")
        check_rate(false_alarm_rate)
        class_name = self._class_of(class_name)
        if decide_by is not None:
            decide_by = member(DecideBy, decide_by, "decide_by")
        scores, peaks = [], []
        for result in self.detect_many(good, class_name, order=order, window=window):
            scores.append(result.score)
            peaks.append(map_peak(result.heat_map(), self._roi))
        if decide_by is None:
            decide_by = DecideBy.EITHER if self._roi is None else DecideBy.MAP
        own = Calibration.from_good(scores, peaks, false_alarm_rate, decide_by)._write()
        with self._use() as pointer:
            lib.detector_describe_calibration(
                pointer, encode(class_name, "class name"), byref(own)
            )
        if window is not None:
            own.window_low, own.window_high = check_window(window)
        return Calibration._read(own)

    def check_calibration(
        self, calibration: Union[Calibration, Path], class_name: Optional[str] = None
    ) -> None:
        """Raises MismatchError if the thresholds belong to another detector or class."""
        own = calibration_of(calibration)._write()
        name = encode(self._class_of(class_name), "class name")
        with self._use() as pointer:
            lib.detector_check_calibration(pointer, name, byref(own))

    def _class_of(self, class_name: Optional[str]) -> str:
        if class_name is not None:
            return class_name
        if not self._texts.closed:
            self._classes = list(self._texts)
        if not self._classes:
            raise ValueError(
                "class_name: expected a class, but none was built: call `build` of the text cache, "
                "or open a bundle's with `aaclip.TextCache.open(path, model, adapters)`"
            )
        if len(self._classes) != 1:
            raise ValueError(f"class_name: expected one of {self._classes}, found none")
        return self._classes[0]

    def _detect(
        self,
        images: Sequence[ImageLike],
        names: Sequence[str],
        order: str,
        copy: bool,
        window: Optional[Window],
    ) -> list[Result]:
        if not images:
            return []
        window = self._window_of(window)
        classes = text_array(encode(name, "class name") for name in names)
        found = (s.Result * len(images))()
        found[0].size = ctypes.sizeof(s.Result)
        with ExitStack() as stack:
            views = (s.ImageView * len(images))(*(
                self._hold(image, order, window, stack) for image in images
            ))
            pointer = stack.enter_context(self._use_alone())
            if len(self._leases):
                raise BufferError(
                    "this detector's memory is in use by a result detected with copy=False; "
                    "drop that result first"
                )
            lib.detector_detect_batch(pointer, views, classes, len(images), found)
            return [
                self._read(own, copy, class_name=name, size=(view.width, view.height),
                           source=image, order=order, window=window)
                for own, view, name, image in zip(found, views, names, images)
            ]  # fmt: skip

    def _window_of(self, given: Optional[Window]) -> Optional[Window]:
        if given is None:
            return self._window
        if self._window is not None and check_window(given) != self._window:
            raise ValueError(f"window: expected the detector's {self._window}, found {given}")
        return given

    def _hold(
        self, image: ImageLike, order: str, window: Optional[Window], stack: ExitStack
    ) -> s.ImageView:
        if self._window is None or isinstance(image, (str, os.PathLike)):
            image, order = through_window(image, window, order)
        else:  # arrays are left to the library
            deep = sixteen_bits(image)
            image = image if deep is None else deep
        return hold(image, order, stack)

    def _read(self, own: s.Result, copy: bool, class_name: str, **known: Any) -> Result:
        features = own.level_count, own.patch_rows, own.patch_columns, own.embedding
        return Result(
            score=own.score,
            map=self._array(own.map, (own.map_height, own.map_width), copy),
            regions=read_regions(own.regions, own.region_count),
            defective=own.defective if own.decided else None,
            level_count=own.level_count,
            patch_features=self._array(own.patch_features, features, copy),
            detection_feature=self._array(own.detection_feature, (own.embedding,), copy),
            map_threshold=self._map_threshold_of(class_name),
            class_name=class_name,
            roi=self._roi,
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
