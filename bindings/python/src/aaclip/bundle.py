"""A model with adapters and text vectors as one file; damage in the library's files."""

from __future__ import annotations

from typing import Optional

from ._convert import Path, encode_path, encode_safetensors_path
from ._functions import lib
from ._handle import use, use_optional
from .model import Adapters, Model
from .text import TextCache


def verify_file(path: Path) -> None:
    """
    Compares a safetensors file that the library wrote with the checksum in it, reading all of it:
    FormatError if it is damaged, UnsupportedError if it has no checksum.
    """
    lib.verify_file(encode_path(path))


def save_bundle(
    path: Path,
    model: Model,
    texts: TextCache,
    adapters: Optional[Adapters] = None,
    *,
    float16: bool = False,
) -> None:
    """
    Writes image tower, adapters and all text vectors as one file for deployment, which opens as a
    model, as adapters and as a text cache, without a vocabulary.
    """
    with use(model, Model) as clip, use(texts, TextCache) as cache:
        with use_optional(adapters, Adapters) as adapted:
            lib.bundle_save(clip, adapted, cache, encode_safetensors_path(path), float16)
