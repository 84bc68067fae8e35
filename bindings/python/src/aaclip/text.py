"""Text vectors: a pair for each class, computed once and kept."""

from __future__ import annotations

import ctypes
import json
import os
import tempfile
import threading
from contextlib import contextmanager
from ctypes import byref, c_size_t, c_void_p
from typing import Any, Callable, Iterable, Iterator, Mapping, NamedTuple, Optional, Tuple, Union

import numpy as np
import numpy.typing as npt

from . import _structs as s
from ._convert import (
    FloatMap,
    Path,
    address,
    decode,
    encode,
    encode_optional_path,
    encode_path,
    encode_safetensors_path,
    set_options,
    text_array,
)
from ._functions import lib
from ._handle import Handle, use, use_optional
from ._interrupt import Relay
from .config import ConfigLike, class_phrase, config_pointer
from .errors import NotFoundError
from .model import Adapters, Model

Progress = Callable[[int, int], object]
Vector = npt.NDArray[np.float32]


class TextPair(NamedTuple):
    """
    The vectors of a class: of unit length in profile `published`; in `document` a mean of unit
    vectors, which is shorter.
    """

    normal: Vector
    abnormal: Vector


Prompts = Union[Path, Mapping[str, Iterable[str]]]
"""A JSON prompt set: its path, or what is in it."""


@contextmanager
def prompt_file(prompts: Optional[Prompts]) -> Iterator[Optional[bytes]]:
    """The path of a prompt set: of a mapping, that of a file that exists during the block."""
    if not isinstance(prompts, Mapping):
        yield encode_optional_path(prompts, "prompts")
        return
    with tempfile.TemporaryDirectory(prefix="aaclip-") as folder:
        path = os.path.join(folder, "prompts.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump({name: list(texts) for name, texts in prompts.items()}, file)
        yield encode_path(path)


class _Building(Relay):
    """The progress function of each thread's running build."""

    def __init__(self) -> None:
        super().__init__()
        self.function = threading.local()

    def trampoline(self) -> Any:
        def progress(done: int, total: int, _user: object) -> bool:
            function: Optional[Progress] = getattr(self.function, "value", None)
            return self.call(lambda: function(done, total) if function else None)

        return s.ProgressFunction(progress)


class TextCache(Handle, Mapping[str, TextPair]):
    """
    A mapping from class names to their pairs of text vectors, in insertion order. Classes are
    computed by `build` or set as vectors: `cache["nut"] = normal, abnormal`. Safe to use from
    several threads.
    """

    _noun = "text cache"
    _closer = "text_cache_close"

    def __init__(
        self,
        model: Model,
        adapters: Optional[Adapters] = None,
        *,
        vocabulary: Optional[Path] = None,
        prompts: Optional[Prompts] = None,
        config: Optional[ConfigLike] = None,
        truncate: Optional[bool] = None,
        file: Optional[Path] = None,
    ) -> None:
        """
        `vocabulary`: CLIP's, looked for next to the model when None. `prompts`: a JSON prompt set,
        its path or a dict of lists: {"normal": [...], "abnormal": [...], "templates": [...]}.
        `config`, also a profile, is used without adapters. `truncate` cuts long prompts instead of
        failing. `file`: a saved cache or a bundle to start from.
        """
        options, building = s.TextCacheOptions(), _Building()
        lib.text_cache_options_init_sized(byref(options), ctypes.sizeof(options))
        trampoline = building.trampoline()
        set_options(
            options,
            {
                "vocabulary": encode_optional_path(vocabulary, "vocabulary"),
                "config": config_pointer(config),
                "truncate": truncate,
                "progress": trampoline,
            },
        )
        handle = c_void_p()
        with use(model, Model) as clip, use_optional(adapters, Adapters) as adapted, prompt_file(
            prompts
        ) as set_of_prompts:
            options.prompts = set_of_prompts
            if file is None:
                lib.text_cache_new(byref(handle), clip, adapted, byref(options))
            else:
                lib.text_cache_open(
                    byref(handle), clip, adapted, encode_path(file), byref(options)
                )
        needs = (model,) if adapters is None else (model, adapters)
        self._adopt(handle, *needs, keep=(trampoline,))
        self._building = building
        self._embedding = model.info.embedding
        self._context = model.info.context

    @classmethod
    def open(
        cls, path: Path, model: Model, adapters: Optional[Adapters] = None, **options: Any
    ) -> TextCache:
        """Reads a saved cache, or a bundle with its adapters; options as for the constructor."""
        return cls(model, adapters, file=path, **options)

    @contextmanager
    def _use(self) -> Iterator[int]:
        if self._building.active:  # the library holds the cache's lock
            raise RuntimeError("a progress function must not use the text cache that calls it")
        with super()._use() as pointer:
            yield pointer

    def build(
        self,
        classes: Union[str, Iterable[str], Mapping[str, str]],
        *,
        dataset: Optional[str] = None,
        progress: Optional[Progress] = None,
    ) -> None:
        """
        Computes the pairs of classes; all of them are added or none. A mapping gives the phrase for
        each class in prompts; otherwise the phrase is that of a known `dataset`, or the name with
        spaces for underscores. `progress(done, total)` counts prompts; returning False cancels with
        CancelledError. It must not use the cache.
        """
        if isinstance(classes, str):
            classes = [classes]
        if isinstance(classes, Mapping):
            phrases = dict(classes)
        else:
            phrases = {name: class_phrase(name, dataset) for name in classes}
        if not phrases:
            return
        names = text_array(encode(name, "class name") for name in phrases)
        texts = text_array(encode(phrase, "phrase") for phrase in phrases.values())
        with self._use() as pointer:
            self._building.function.value = progress
            try:
                self._building.run(lib.text_cache_build, pointer, names, texts, len(names))
            finally:
                self._building.function.value = None

    def __setitem__(self, name: str, pair: Tuple[npt.ArrayLike, npt.ArrayLike]) -> None:
        """Adds or replaces a pair of vectors of shape (embedding,) or (1, embedding): copies."""
        normal, abnormal = (self._vector(part) for part in pair)
        with self._use() as pointer:
            lib.text_cache_add(
                pointer, encode(name, "class name"), address(normal), address(abnormal)
            )

    def _vector(self, values: npt.ArrayLike) -> Vector:
        vector = np.ascontiguousarray(values, dtype=np.float32)
        if vector.shape == (1, self._embedding):  # as `encode` gives it
            vector = vector[0]
        if vector.shape != (self._embedding,):
            raise ValueError(f"vector: expected shape ({self._embedding},), found {vector.shape}")
        return vector

    def __getitem__(self, name: str) -> TextPair:
        pair = TextPair(*(np.empty(self._embedding, np.float32) for _ in range(2)))
        with self._use() as pointer:
            try:
                lib.text_cache_get(
                    pointer, encode(name, "class name"), address(pair.normal), address(pair.abnormal)
                )
            except NotFoundError as error:
                raise KeyError(name) from error
        return pair

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._names()

    def _names(self) -> list[str]:
        with self._use() as pointer:
            count = lib.text_cache_count(pointer)
            return [decode(lib.text_cache_name(pointer, i)) for i in range(count)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        with self._use() as pointer:
            return int(lib.text_cache_count(pointer))

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other

    def encode(self, prompts: Union[str, Iterable[str]]) -> FloatMap:
        """Encodes prompts as given: (prompts, embedding), also of one; rows of unit length."""
        listed = [prompts] if isinstance(prompts, str) else list(prompts)
        texts = text_array(encode(prompt, "prompt") for prompt in listed)
        vectors = np.empty((len(texts), self._embedding), np.float32)
        with self._use() as pointer:
            self._building.run(
                lib.text_cache_encode, pointer, texts, len(texts), address(vectors)
            )
        return vectors

    def tokenize(self, prompt: str) -> list[int]:
        """The ids of a prompt, from <|startoftext|> to <|endoftext|>."""
        ids, count = (ctypes.c_int32 * self._context)(), c_size_t()
        with self._use() as pointer:
            lib.text_cache_tokenize(pointer, encode(prompt, "prompt"), ids, len(ids), byref(count))
        return list(ids[: count.value])

    def save(self, path: Path) -> None:
        """Writes all pairs as safetensors, whole or not at all."""
        with self._use() as pointer:
            lib.text_cache_save(pointer, encode_safetensors_path(path))

    def __repr__(self) -> str:
        if self.closed:
            return "<aaclip.TextCache, closed>"
        return f"<aaclip.TextCache {self._names()!r}>"
