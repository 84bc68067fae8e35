"""The library's enumerations. Values are part of its ABI and checked on import."""

from __future__ import annotations

from enum import IntEnum
from typing import TypeVar, Union


class Named(IntEnum):
    """Prints as its name in lower case: "bf16". `int(member)` is the library's number."""

    def __str__(self) -> str:
        return self.name.lower()

    def __format__(self, form: str) -> str:
        return format(int(self) if form[-1:] in tuple("bcdoxXn") else str(self), form)


class Status(Named):
    """What a call of the library returns."""

    OK = 0
    INVALID_ARGUMENT = 1
    OUT_OF_MEMORY = 2
    IO = 3
    FORMAT = 4
    UNSUPPORTED = 5
    MISMATCH = 6
    NOT_FOUND = 7
    CANCELLED = 8
    BACKEND = 9


class LogLevel(Named):
    """Severity of a message."""

    ERROR = 0
    WARNING = 1
    INFO = 2
    DEBUG = 3


class Precision(Named):
    """Arithmetic of the transformer towers; maps and scores are float32 in either case."""

    F32 = 0
    BF16 = 1
    AUTO = 2
    INT8 = 3
    TF32 = 4
    F16 = 5


class Profile(Named):
    """Source of the method's choices: the architecture reference or the CVPR 2025 release."""

    DOCUMENT = 0
    PUBLISHED = 1


class LayerAdapter(Named):
    """What is added to a transformer block."""

    BOTTLENECK = 0
    LINEAR = 1


class Activation(Named):
    """Activation inside CLIP's MLPs."""

    CHECKPOINT = 0
    QUICK_GELU = 1
    GELU = 2


class Domain(Named):
    """Chooses the smoothing of the map."""

    INDUSTRIAL = 0
    MEDICAL = 1


class PixelFormat(Named):
    RGB8 = 0
    BGR8 = 1
    RGBA8 = 2
    BGRA8 = 3
    GRAY8 = 4
    GRAY16 = 5
    RGB16 = 6
    BGR16 = 7


class CalibrationMethod(Named):
    """How thresholds were chosen."""

    QUANTILE = 0
    F1_MAX = 1


class DecideBy(Named):
    """What makes an image defective; with a region of interest, always the map."""

    SCORE = 0
    MAP = 1
    EITHER = 2


class Layout(Named):
    """How the files of a data set are laid out."""

    AUTO = 0
    MANIFEST = 1
    MVTEC = 2
    BTAD = 3
    VISA = 4
    BMAD = 5
    MASKED_FOLDER = 6
    FOLDER = 7


class Split(Named):
    """Which split of a data set."""

    ALL = 0
    TRAIN = 1
    VALIDATION = 2
    TEST = 3


class Masks(Named):
    """How masks of abnormal images are handled."""

    WHERE_GIVEN = 0
    REQUIRED = 1
    IGNORED = 2


class MetricsMode(Named):
    """How pixels are kept: all of them, or counted in bins."""

    EXACT = 0
    HISTOGRAM = 1


class MetricsWanted(Named):
    """Which metrics are computed."""

    PIXELS = 1
    IMAGES = 2
    ALL = 3


class Curve(Named):
    """The axes of a curve."""

    PIXEL_ROC = 0
    PIXEL_PR = 1
    PIXEL_PRO = 2
    IMAGE_ROC = 3
    IMAGE_PR = 4
    DATASET_ROC = 5
    DATASET_PR = 6


class Stage(Named):
    """What is trained: text adapters, then image adapters."""

    TEXT = 1
    IMAGE = 2


class Scales(Named):
    """Levels whose maps count in the loss of stage 1."""

    SUM = 0
    LAST = 1


Kind = TypeVar("Kind", bound=IntEnum)


# Other names in use.
_ALIASES = {
    "fp32": "f32",
    "float32": "f32",
    "fp16": "f16",
    "float16": "f16",
    "half": "f16",
    "bfloat16": "bf16",
}


def member(kind: type[Kind], value: Union[Kind, str, int], what: str) -> Kind:
    """The member for `value`, a number or a name in any case: "bf16" is Precision.BF16."""
    if isinstance(value, str):
        name = value.lower().replace("-", "_")
        name = _ALIASES.get(name, name) if kind is Precision else name
        found = kind.__members__.get(name.upper())
        if found is not None:
            return found
    elif not isinstance(value, IntEnum) or isinstance(value, kind):
        try:
            return kind(value)
        except ValueError:
            pass
    names = ", ".join(name.lower() for name in kind.__members__)
    raise ValueError(f"{what}: expected one of {names}, found {value!r}")
