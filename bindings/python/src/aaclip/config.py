"""The method's configuration, backends, limits, and the published release's data sets."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, replace
from typing import Any, Optional, Union

from . import _structs as s
from ._convert import decode, encode, encode_optional, set_options, unsigned
from ._enums import Activation, Domain, LayerAdapter, Profile, member
from ._functions import lib

_PHRASE_BYTES = 4096


def version() -> str:
    """Version of the library at run time."""
    return decode(lib.version_string())


def library_path() -> str:
    """The file (or the name given to the system's loader) that the library came from."""
    return lib.file


def backends() -> dict[str, bool]:
    """The backends of this build, best first, and whether they can run on this machine."""
    found: dict[str, bool] = {}
    while (name := lib.backend_name(len(found))) is not None:
        found[decode(name)] = bool(lib.backend_available(name))
    return found


def limit_device_memory(backend: str, size: int) -> None:
    """Limits the bytes that this process may take on a device ("cuda", "cuda:1"); 0: no limit."""
    lib.backend_limit_memory(encode(backend, "backend"), unsigned(size, 64, "size"))


def device_memory(backend: str) -> int:
    """Bytes in use on a device; 0 for a backend without memory of its own."""
    return int(lib.backend_memory(encode(backend, "backend")))


def set_limits(
    *,
    image_pixels: Optional[int] = None,
    checkpoint_bytes: Optional[int] = None,
    tensors: Optional[int] = None,
    prompt_bytes: Optional[int] = None,
    prompts: Optional[int] = None,
    memory_bytes: Optional[int] = None,
) -> None:
    """
    Upper bounds for the whole process, from now on: pixels of an image, bytes and tensors of a
    model's file, bytes of a prompt, prompts of a class, bytes of memory (without NumPy's). None is
    the library's default; `set_limits()` restores all.
    """
    given = {
        "image_pixels": image_pixels,
        "checkpoint_bytes": checkpoint_bytes,
        "tensors": tensors,
        "prompt_bytes": prompt_bytes,
        "prompts": prompts,
        "memory_bytes": memory_bytes,
    }
    own = s.Limits()
    lib.limits_init_sized(ctypes.byref(own), ctypes.sizeof(own))
    for name, value in given.items():
        if value is not None and unsigned(value, 64, name) == 0:
            raise ValueError(f"{name}: expected 1 or more, found 0")
    set_options(own, given)
    lib.limits_set(ctypes.byref(own))


def limits() -> dict[str, int]:
    """The current limits, by the names that `set_limits` takes; 2^64 - 1 is no limit."""
    own = s.sized(s.Limits)
    lib.limits_get(ctypes.byref(own))
    return {name: int(getattr(own, name)) for name in s.names(s.Limits)}


@dataclass(frozen=True)
class Config:
    """
    Every choice of the method. Made by `Config.of_profile` or taken from adapters; changed by
    `replace`. 0 adapter layers and empty levels stand for the library's defaults.
    """

    profile: Profile
    activation: Activation
    image_mean: tuple[float, ...]  # of RGB in [0, 1]
    image_deviation: tuple[float, ...]
    layer_adapter: LayerAdapter
    layer_adapter_slope: float
    image_projection_activation: bool
    text_projection_activation: bool
    projection_slope: float
    image_adapter_weight: float
    text_adapter_weight: float
    image_adapter_layers: int
    text_adapter_layers: int
    levels: tuple[int, ...]  # blocks, counted from 1
    normalize_class_vector: bool

    @staticmethod
    def of_profile(profile: Union[Profile, str]) -> Config:
        """The library's values of a profile."""
        own = s.Config()
        lib.config_init_sized(
            ctypes.byref(own), ctypes.sizeof(own), member(Profile, profile, "profile")
        )
        return Config._read(own)

    def replace(self, **changes: Any) -> Config:
        """A copy with other values: `config.replace(levels=(6, 12))`."""
        return replace(self, **changes)

    @staticmethod
    def _read(own: s.Config) -> Config:
        return Config(
            profile=Profile(own.profile),
            activation=Activation(own.activation),
            image_mean=tuple(own.image_mean),
            image_deviation=tuple(own.image_deviation),
            layer_adapter=LayerAdapter(own.layer_adapter),
            layer_adapter_slope=own.layer_adapter_slope,
            image_projection_activation=own.image_projection_activation,
            text_projection_activation=own.text_projection_activation,
            projection_slope=own.projection_slope,
            image_adapter_weight=own.image_adapter_weight,
            text_adapter_weight=own.text_adapter_weight,
            image_adapter_layers=own.image_adapter_layers,
            text_adapter_layers=own.text_adapter_layers,
            levels=tuple(own.levels[: own.level_count]),
            normalize_class_vector=own.normalize_class_vector,
        )

    def _write(self) -> s.Config:
        own = s.Config()
        profile = member(Profile, self.profile, "profile")
        lib.config_init_sized(ctypes.byref(own), ctypes.sizeof(own), profile)
        if len(self.levels) > s.MAX_LEVELS:
            raise ValueError(f"levels: expected at most {s.MAX_LEVELS}, found {len(self.levels)}")
        for name in ("image_mean", "image_deviation"):
            if len(getattr(self, name)) != 3:
                raise ValueError(f"{name}: expected 3 numbers, found {getattr(self, name)!r}")
        own.activation = member(Activation, self.activation, "activation")
        own.layer_adapter = member(LayerAdapter, self.layer_adapter, "layer_adapter")
        own.image_mean[:] = self.image_mean
        own.image_deviation[:] = self.image_deviation
        own.level_count = len(self.levels)
        own.levels[: len(self.levels)] = [unsigned(level, 32, "levels") for level in self.levels]
        set_options(own, {name: getattr(self, name) for name in _PLAIN})
        return own


_PLAIN = (
    "layer_adapter_slope",
    "image_projection_activation",
    "text_projection_activation",
    "projection_slope",
    "image_adapter_weight",
    "text_adapter_weight",
    "image_adapter_layers",
    "text_adapter_layers",
    "normalize_class_vector",
)


ConfigLike = Union[Config, Profile, str]
"""A configuration, or the profile whose values are meant."""


def config_pointer(config: Optional[ConfigLike]) -> Any:
    """For an options struct; None stays None."""
    if config is None:
        return None
    if isinstance(config, (str, Profile)):
        config = Config.of_profile(member(Profile, config, "config"))
    if not isinstance(config, Config):
        raise TypeError(
            f"config: expected an aaclip.Config or a profile, found {type(config).__name__}"
        )
    return ctypes.pointer(config._write())


def known_datasets() -> dict[str, tuple[str, ...]]:
    """The data sets that the published release has phrases for, and their classes."""
    found = {}
    for index in range(lib.known_dataset_count()):
        name = lib.known_dataset_name(index)
        count = lib.known_dataset_class_count(name)
        found[decode(name)] = tuple(
            decode(lib.known_dataset_class_name(name, i)) for i in range(count)
        )
    return found


def dataset_domain(dataset: str) -> Domain:
    """Industrial or medical; raises NotFoundError, which lists the known data sets."""
    domain = ctypes.c_int()
    lib.known_dataset_domain(encode(dataset, "dataset"), ctypes.byref(domain))
    return Domain(domain.value)


def class_phrase(class_name: str, dataset: Optional[str] = None) -> str:
    """What prompts call a class: "metal_nut" is "metal nut", or longer with dataset "MVTec"."""
    room = ctypes.create_string_buffer(_PHRASE_BYTES)
    lib.class_phrase(
        encode_optional(dataset, "dataset"), encode(class_name, "class name"), room, len(room)
    )
    return decode(room.value)
