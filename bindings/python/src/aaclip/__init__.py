"""
Zero-shot anomaly detection with Anomaly-Aware CLIP: the Python bindings of libaaclip.

    import aaclip

    model = aaclip.Model.open("ViT-L-14-336px.pt")
    adapters = model.adapters("text_adapter.pth", "image_adapter_20.pth")
    texts = aaclip.TextCache(model, adapters)
    texts.build(["metal_nut"], dataset="MVTec")
    detector = aaclip.Detector(model, texts, adapters)
    result = detector.detect("part.png")
    result.score, result.map
    result.save_overlay("overlay.png")

Everything that is opened can be closed, in any order, and closes automatically. Threads share a
model, adapters and texts; give each its own detector.
"""

from . import _check as _check  # raises ImportError
from ._enums import (
    Activation,
    CalibrationMethod,
    DecideBy,
    Curve,
    Domain,
    LayerAdapter,
    Layout,
    LogLevel,
    Masks,
    MetricsMode,
    MetricsWanted,
    Precision,
    Profile,
    Scales,
    Split,
    Stage,
    Status,
)
from ._version import __version__
from .bundle import save_bundle, verify_file
from .calibration import Calibration, f1_threshold, quantile_threshold
from .cancel import CancelFlag, deadline
from .config import (
    Config,
    backends,
    class_phrase,
    dataset_domain,
    device_memory,
    known_datasets,
    library_path,
    limit_device_memory,
    limits,
    set_limits,
    version,
)
from .datasets import Dataset, Sample
from .detector import Detector
from .errors import (
    BackendError,
    CancelledError,
    Error,
    FormatError,
    InputOutputError,
    InvalidArgumentError,
    MismatchError,
    MissingFileError,
    NotFoundError,
    OutOfMemoryError,
    UnsupportedError,
)
from .evaluation import evaluate
from .images import Image, ImageLike, colour_map, overlay, resize, window, write_png, write_png16
from .log import log_to, set_log
from .maps import Region, find_regions, map_peak, probability, resize_map, threshold_map
from .metrics import Metrics, MetricValues
from .model import Adapters, Model, ModelInfo
from .result import Result
from .text import TextCache, TextPair
from .training import Losses, Trainer, TrainingProgress

__all__ = [
    "Activation",
    "Adapters",
    "BackendError",
    "Calibration",
    "CalibrationMethod",
    "CancelFlag",
    "CancelledError",
    "Config",
    "Curve",
    "Dataset",
    "DecideBy",
    "Detector",
    "Domain",
    "Error",
    "FormatError",
    "Image",
    "ImageLike",
    "InputOutputError",
    "InvalidArgumentError",
    "LayerAdapter",
    "Layout",
    "LogLevel",
    "Losses",
    "Masks",
    "MetricValues",
    "Metrics",
    "MetricsMode",
    "MetricsWanted",
    "MismatchError",
    "MissingFileError",
    "Model",
    "ModelInfo",
    "NotFoundError",
    "OutOfMemoryError",
    "Precision",
    "Profile",
    "Region",
    "Result",
    "Sample",
    "Scales",
    "Split",
    "Stage",
    "Status",
    "TextCache",
    "TextPair",
    "Trainer",
    "TrainingProgress",
    "UnsupportedError",
    "__version__",
    "backends",
    "class_phrase",
    "colour_map",
    "dataset_domain",
    "deadline",
    "device_memory",
    "evaluate",
    "f1_threshold",
    "find_regions",
    "known_datasets",
    "library_path",
    "limit_device_memory",
    "limits",
    "log_to",
    "map_peak",
    "overlay",
    "probability",
    "quantile_threshold",
    "resize",
    "resize_map",
    "save_bundle",
    "set_limits",
    "set_log",
    "threshold_map",
    "verify_file",
    "version",
    "window",
    "write_png",
    "write_png16",
]
