"""Data sets on disk: their images, classes, labels and masks."""

from __future__ import annotations

import ctypes
import os
from ctypes import byref, c_char_p, c_void_p
from dataclasses import dataclass
from typing import Iterable, Iterator, Optional, Sequence, Tuple, Union, overload

from . import _structs as s
from ._convert import (
    Path,
    decode,
    decode_optional,
    encode,
    encode_optional,
    encode_optional_path,
    encode_path,
    set_options,
    text_array,
    unsigned,
)
from ._enums import Layout, Masks, Split, member
from ._functions import lib
from ._handle import Handle


@dataclass(frozen=True)
class Sample:
    """One image of a data set."""

    image_path: str
    mask_path: Optional[str]  # None where there is none, and for normal images
    class_name: str
    class_index: int
    defect: Optional[str]  # the folder that names the kind of defect
    label: Optional[int]  # 0 normal, 1 abnormal, None unknown

    @staticmethod
    def _read(own: s.Sample) -> Sample:
        return Sample(
            image_path=os.fsdecode(own.image_path),
            mask_path=None if own.mask_path is None else os.fsdecode(own.mask_path),
            class_name=decode(own.class_name),
            class_index=own.class_index,
            defect=decode_optional(own.defect),
            label=own.label if own.label >= 0 else None,
        )


class Dataset(Handle, Sequence[Sample]):
    """A list of samples: paths, no pixels. Immutable; may be read from several threads."""

    _noun = "data set"
    _closer = "dataset_close"
    window: Optional[Tuple[float, float]]
    """As given to `open`."""

    def __init__(
        self,
        root: Path,
        *,
        layout: Union[Layout, str, None] = None,
        split: Union[Split, str, None] = None,
        manifest: Optional[Path] = None,
        classes: Union[str, Iterable[str], None] = None,
        masks: Union[Masks, str, None] = None,
        class_name: Optional[str] = None,
        outside_paths: bool = False,
        window: Optional[Tuple[float, float]] = None,
    ) -> None:
        options = s.DatasetOptions()
        lib.dataset_options_init_sized(byref(options), ctypes.sizeof(options))
        if isinstance(classes, str):
            classes = [classes]
        wanted = None
        if classes is not None:
            wanted = text_array(encode(name, "classes") for name in classes)
        if wanted is not None and not len(wanted):
            raise ValueError("classes: expected at least one, found none")
        set_options(
            options,
            {
                "layout": None if layout is None else member(Layout, layout, "layout"),
                "split": None if split is None else member(Split, split, "split"),
                "manifest": encode_optional_path(manifest, "manifest"),
                "classes": wanted and ctypes.cast(wanted, ctypes.POINTER(c_char_p)),
                "class_count": wanted and len(wanted),
                "masks": None if masks is None else member(Masks, masks, "masks"),
                "class_name": encode_optional(class_name, "class name"),
                "outside_paths": outside_paths,
                "window_low": None if window is None else window[0],
                "window_high": None if window is None else window[1],
            },
        )
        self.window = window
        handle = c_void_p()
        lib.dataset_open(byref(handle), encode_path(root), byref(options))
        self._adopt(handle)

    @classmethod
    def open(
        cls,
        root: Path,
        *,
        layout: Union[Layout, str, None] = None,
        split: Union[Split, str, None] = None,
        manifest: Optional[Path] = None,
        classes: Union[str, Iterable[str], None] = None,
        masks: Union[Masks, str, None] = None,
        class_name: Optional[str] = None,
        outside_paths: bool = False,
        window: Optional[Tuple[float, float]] = None,
    ) -> Dataset:
        """
        Lists the samples below a folder, or of a manifest, in a layout that is detected: MVTec AD,
        BTAD, VisA, BMAD, masked folders, JSON lines, a plain folder.

        - `split`: "all", "train", "validation" or "test" of a layout that has them. None is "all":
          for metrics choose "test", as `aaclip-evaluate` does, or images for training are counted.
        - `classes`: only this one, or these.
        - `masks`: "where_given", "required" or "ignored".
        - `class_name`: for a root that is the folder of one class.
        - `outside_paths`: files of a manifest may lie outside the root.
        - `window` (low, high): values of 16-bit images that become 0 to 255 in training and in
          `Detector.detect_dataset`, as in `Image.open`.
        """
        return cls(root, layout=layout, split=split, manifest=manifest, classes=classes,
                   masks=masks, class_name=class_name,
                   outside_paths=outside_paths, window=window)  # fmt: skip

    def __len__(self) -> int:
        with self._use() as pointer:
            return int(lib.dataset_count(pointer))

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...

    def __getitem__(self, index: Union[int, slice]) -> Union[Sample, list[Sample]]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        count = len(self)
        if not -count <= index < count:
            raise IndexError(f"sample {index} of {count}")
        with self._use() as pointer:
            return Sample._read(lib.dataset_get(pointer, index % count).contents)

    def __iter__(self) -> Iterator[Sample]:
        return (self[i] for i in range(len(self)))

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in order of first samples."""
        with self._use() as pointer:
            count = lib.dataset_class_count(pointer)
            return tuple(decode(lib.dataset_class_name(pointer, i)) for i in range(count))

    def class_size(self, class_name: str, label: Optional[int]) -> int:
        """Number of a class's samples with a label: 0, 1 or None."""
        if label not in (0, 1, None):
            raise ValueError(f"label: expected 0, 1 or None, found {label!r}")
        try:
            index = self.classes.index(class_name)
        except ValueError:
            raise KeyError(class_name) from None
        with self._use() as pointer:
            return int(lib.dataset_class_size(pointer, index, -1 if label is None else label))

    def sample(self, shots: int, seed: int) -> Dataset:
        """
        Few-shot: draws `shots` normal and as many abnormal samples of each class, so that the
        paper's 2-shot is `sample(1, seed)`.
        """
        drawn, handle = Dataset.__new__(Dataset), c_void_p()
        with self._use() as pointer:
            lib.dataset_sample(
                byref(handle), pointer, unsigned(shots, 63, "shots"), unsigned(seed, 64, "seed")
            )
        drawn.window = self.window
        drawn._adopt(handle, self)
        return drawn

    def save_manifest(self, path: Path) -> None:
        """Writes JSON lines; paths below the root become relative to it."""
        with self._use() as pointer:
            lib.dataset_save_manifest(pointer, encode_path(path))

    def __repr__(self) -> str:
        if self.closed:
            return "<aaclip.Dataset, closed>"
        return f"<aaclip.Dataset of {len(self)} images, classes {list(self.classes)!r}>"
