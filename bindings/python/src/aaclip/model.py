"""The frozen CLIP and its trained adapters."""

from __future__ import annotations

import ctypes
from ctypes import byref, c_void_p
from dataclasses import dataclass
from typing import Iterable, Iterator, Optional, Union

from . import _structs as s
from ._convert import (
    Path,
    decode,
    decode_optional,
    encode,
    encode_optional,
    encode_optional_path,
    encode_path,
    encode_safetensors_path,
    set_options,
    text_array,
)
from ._enums import Activation, Precision, member
from ._functions import lib
from ._handle import Handle, use
from .calibration import Calibration, calibration_of
from .config import Config, ConfigLike, config_pointer


@dataclass(frozen=True)
class ModelInfo:
    """Shapes of a model, and how it computes."""

    path: str
    layout: str
    backend: str
    precision: Precision
    threads: int
    activation: Activation
    image_layers: int
    image_width: int
    image_heads: int
    image_mlp: int
    patch_size: int
    trained_image_size: int  # pixels per side
    embedding: int  # of the joint space
    has_text: bool  # False for a deployment bundle
    text_layers: int
    text_width: int
    text_heads: int
    text_mlp: int
    context: int
    vocabulary: int
    fingerprint: str  # equal for the same weights in any layout

    @staticmethod
    def _read(own: s.ModelInfo) -> ModelInfo:
        values = {name: getattr(own, name) for name in s.names(s.ModelInfo)}
        for name in ("path", "layout", "backend", "fingerprint"):
            values[name] = decode(values[name] or b"")
        values["precision"] = Precision(own.precision)
        values["activation"] = Activation(own.activation)
        return ModelInfo(**values)


class Model(Handle):
    """A CLIP checkpoint. Immutable; any number of threads, detectors and trainers share one."""

    _noun = "model"
    _closer = "model_close"

    def __init__(
        self,
        path: Path,
        *,
        backend: Optional[str] = None,
        precision: Union[Precision, str, None] = None,
        threads: Optional[int] = None,
        packed_folder: Optional[Path] = None,
    ) -> None:
        options = s.ModelOptions()
        lib.model_options_init_sized(byref(options), ctypes.sizeof(options))
        chosen = None if precision is None else member(Precision, precision, "precision")
        fields = {"backend": encode_optional(backend, "backend"), "precision": chosen}
        folder = encode_optional_path(packed_folder, "packed_folder")
        set_options(options, {**fields, "threads": threads, "packed_folder": folder})
        handle = c_void_p()
        lib.model_open(byref(handle), encode_path(path), byref(options))
        self._adopt(handle)

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        backend: Optional[str] = None,
        precision: Union[Precision, str, None] = None,
        threads: Optional[int] = None,
        packed_folder: Optional[Path] = None,
    ) -> Model:
        """
        Opens a CLIP checkpoint (OpenAI, Hugging Face, open_clip, the library's own) or a bundle.
        `path` is a file or folder; the name "aaclip-mini" is known only to the programs: give the
        path of its `clip.safetensors`. The file stays mapped: replace it by a rename, never by
        writing over it. `backend` is one of `aaclip.backends()`, `precision` "f32", "bf16", "auto",
        "int8", "tf32" or "f16" (also "float32", "bfloat16", "float16"), `threads` the number per
        call; None: the library's default. `packed_folder`, which must exist, caches weights in the
        backend's packed layout for faster starts.
        """
        return cls(
            path,
            backend=backend,
            precision=precision,
            threads=threads,
            packed_folder=packed_folder,
        )

    @property
    def info(self) -> ModelInfo:
        """Shapes, and how it computes."""
        own = s.sized(s.ModelInfo)
        with self._use() as pointer:
            lib.model_get_info(pointer, byref(own))
            return ModelInfo._read(own)  # the texts belong to the model

    def adapters(
        self, *paths: Union[Path, Iterable[Path]], config: Optional[ConfigLike] = None
    ) -> Adapters:
        """`Adapters.open(self, *paths)`."""
        return Adapters.open(self, *paths, config=config)

    def operation_backend(self, operation: str) -> Optional[str]:
        """The backend that runs an image tower operation, like "attention"; None if unknown."""
        with self._use() as pointer:
            return decode_optional(lib.model_operation_backend(pointer, encode(operation)))

    def save(self, path: Path, *, float16: bool = False) -> None:
        """Writes safetensors with OpenAI's names, whole or not at all."""
        with self._use() as pointer:
            lib.model_save(pointer, encode_safetensors_path(path), float16)

    def __repr__(self) -> str:
        if self.closed:
            return "<aaclip.Model, closed>"
        info = self.info
        return (
            f"<aaclip.Model {info.path!r}: {info.image_layers} blocks of {info.image_width}, "
            f"patch {info.patch_size}, {info.backend} {info.precision.name.lower()}>"
        )


def _each(paths: Iterable[Union[Path, Iterable[Path]]]) -> Iterator[Path]:
    """Paths, and those of lists."""
    for path in paths:
        if isinstance(path, (list, tuple)):
            yield from path
        else:
            yield path  # type: ignore[misc]  # encode_path refuses what is none


class Adapters(Handle):
    """Trained adapters of the text tower, the image tower, or both. Immutable."""

    _noun = "set of adapters"
    _closer = "adapters_close"

    def __init__(
        self,
        model: Model,
        *paths: Union[Path, Iterable[Path]],
        config: Optional[ConfigLike] = None,
    ) -> None:
        files = text_array(encode_path(path, "paths") for path in _each(paths))
        if not len(files):
            raise TypeError("paths: expected at least one file of adapters")
        handle = c_void_p()
        with use(model, Model) as pointer:
            lib.adapters_open(byref(handle), pointer, files, len(files), config_pointer(config))
        self._adopt(handle, model)

    @classmethod
    def open(
        cls,
        model: Model,
        *paths: Union[Path, Iterable[Path]],
        config: Optional[ConfigLike] = None,
    ) -> Adapters:
        """
        Reads adapters for `model`, usually a text and an image file, or a bundle: paths, or a list
        of them. `config`, also a profile, overrides what the files do not fix.
        """
        return cls(model, *paths, config=config)

    @classmethod
    def _of_pointer(cls, handle: c_void_p, *needs: Handle) -> Adapters:
        adapters = cls.__new__(cls)
        adapters._adopt(handle, *needs)
        return adapters

    @property
    def config(self) -> Config:
        """The configuration that they were made for."""
        own = s.sized(s.Config)
        with self._use() as pointer:
            lib.adapters_get_config(pointer, byref(own))
        return Config._read(own)

    @property
    def has_text(self) -> bool:
        """Whether there are text adapters; a bundle has none."""
        with self._use() as pointer:
            return bool(lib.adapters_has_text(pointer))

    @property
    def has_image(self) -> bool:
        """Whether there are image adapters."""
        with self._use() as pointer:
            return bool(lib.adapters_has_image(pointer))

    @property
    def calibration(self) -> Calibration:
        """The calibration in their files; raises NotFoundError when there is none."""
        own = Calibration._default()
        with self._use() as pointer:
            lib.adapters_get_calibration(pointer, byref(own))
        return Calibration._read(own)

    def save(self, path: Path, *, calibration: Union[Calibration, Path, None] = None) -> None:
        """
        Writes both towers' adapters as one safetensors file, with a calibration, or that of a path,
        if given.
        """
        own = None if calibration is None else calibration_of(calibration)._write()
        with self._use() as pointer:
            if own is None:
                lib.adapters_save(pointer, encode_safetensors_path(path))
            else:
                lib.adapters_save_calibrated(pointer, byref(own), encode_safetensors_path(path))

    def __repr__(self) -> str:
        if self.closed:
            return "<aaclip.Adapters, closed>"
        towers = [name for name, has in (("text", self.has_text), ("image", self.has_image)) if has]
        return f"<aaclip.Adapters of {' and '.join(towers)}, {self.config.profile.name.lower()}>"
