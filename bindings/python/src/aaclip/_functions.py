"""The library: every function used, with its types; statuses become exceptions."""

from __future__ import annotations

from ctypes import (
    CDLL,
    POINTER,
    c_bool,
    c_char_p,
    c_double,
    c_float,
    c_int,
    c_int32,
    c_size_t,
    c_uint,
    c_uint32,
    c_uint64,
    c_void_p,
)
from typing import Any

from . import _structs as s
from . import errors
from ._ctrl_c import CtrlC, Interruptible
from ._library import load

_HANDLE = POINTER(c_void_p)  # where a call writes, or takes away, a handle
_TEXTS = POINTER(c_char_p)
_ARRAY = c_void_p  # the address of an array's first value

# Functions that return a status: raised as an exception unless it is OK.
_STATUS: dict[str, list[Any]] = {
    "config_init_sized": [POINTER(s.Config), c_size_t, c_int],
    "known_dataset_domain": [c_char_p, POINTER(c_int)],
    "class_phrase": [c_char_p, c_char_p, c_char_p, c_size_t],
    "backend_limit_memory": [c_char_p, c_uint64],
    "limits_init_sized": [POINTER(s.Limits), c_size_t],
    "limits_set": [POINTER(s.Limits)],
    "limits_get": [POINTER(s.Limits)],
    "model_options_init_sized": [POINTER(s.ModelOptions), c_size_t],
    "model_open": [_HANDLE, c_char_p, POINTER(s.ModelOptions)],
    "model_get_info": [c_void_p, POINTER(s.ModelInfo)],
    "model_save": [c_void_p, c_char_p, c_bool],
    "verify_file": [c_char_p],
    "adapters_open": [_HANDLE, c_void_p, _TEXTS, c_size_t, POINTER(s.Config)],
    "adapters_get_config": [c_void_p, POINTER(s.Config)],
    "adapters_save": [c_void_p, c_char_p],
    "adapters_save_calibrated": [c_void_p, POINTER(s.Calibration), c_char_p],
    "adapters_get_calibration": [c_void_p, POINTER(s.Calibration)],
    "text_cache_options_init_sized": [POINTER(s.TextCacheOptions), c_size_t],
    "text_cache_new": [_HANDLE, c_void_p, c_void_p, POINTER(s.TextCacheOptions)],
    "text_cache_open": [_HANDLE, c_void_p, c_void_p, c_char_p, POINTER(s.TextCacheOptions)],
    "text_cache_build": [c_void_p, _TEXTS, _TEXTS, c_size_t],
    "text_cache_add": [c_void_p, c_char_p, _ARRAY, _ARRAY],
    "text_cache_get": [c_void_p, c_char_p, _ARRAY, _ARRAY],
    "text_cache_save": [c_void_p, c_char_p],
    "text_cache_encode": [c_void_p, _TEXTS, c_size_t, _ARRAY],
    "text_cache_tokenize": [c_void_p, c_char_p, POINTER(c_int32), c_size_t, POINTER(c_size_t)],
    "image_open": [_HANDLE, c_char_p],
    "image_open_window": [POINTER(c_void_p), c_char_p, c_double, c_double],
    "image_decode": [_HANDLE, c_char_p, c_size_t, c_char_p],
    "image_decode_window": [_HANDLE, c_char_p, c_size_t, c_char_p, c_double, c_double],
    "image_resize": [POINTER(s.ImageView), c_uint32, c_uint32, _ARRAY],
    "image_window": [POINTER(s.ImageView), c_double, c_double, _ARRAY],
    "write_png": [c_char_p, POINTER(s.ImageView)],
    "write_png16": [c_char_p, _ARRAY, c_uint32, c_uint32],
    "overlay": [POINTER(s.ImageView), _ARRAY, c_float, _ARRAY],
    "mask_resize": [_ARRAY, c_uint32, c_uint32, c_uint32, c_uint32, _ARRAY],
    "map_resize": [_ARRAY, c_uint32, c_uint32, c_uint32, c_uint32, _ARRAY],
    "map_threshold": [_ARRAY, _ARRAY, c_uint32, c_uint32, c_float, _ARRAY],
    "map_peak": [_ARRAY, _ARRAY, c_uint32, c_uint32, POINTER(c_float)],
    "regions_find": [
        POINTER(POINTER(s.Region)),
        POINTER(c_size_t),
        _ARRAY,
        _ARRAY,
        c_uint32,
        c_uint32,
        c_float,
        c_uint32,
    ],
    "calibration_init_sized": [POINTER(s.Calibration), c_size_t],
    "calibrate_quantile": [_ARRAY, c_size_t, c_double, POINTER(c_float)],
    "calibrate_f1": [_ARRAY, _ARRAY, c_size_t, POINTER(c_float), POINTER(c_double)],
    "decide": [
        POINTER(s.Calibration),
        c_float,
        _ARRAY,
        _ARRAY,
        c_uint32,
        c_uint32,
        POINTER(c_bool),
    ],
    "calibration_save": [POINTER(s.Calibration), c_char_p],
    "calibration_load": [POINTER(s.Calibration), c_char_p],
    "detector_options_init_sized": [POINTER(s.DetectorOptions), c_size_t],
    "detector_new": [_HANDLE, c_void_p, c_void_p, c_void_p, POINTER(s.DetectorOptions)],
    "detector_set_roi": [c_void_p, _ARRAY, c_uint32, c_uint32],
    "detector_set_calibration": [c_void_p, c_char_p, POINTER(s.Calibration)],
    "detector_check_calibration": [c_void_p, c_char_p, POINTER(s.Calibration)],
    "detector_describe_calibration": [c_void_p, c_char_p, POINTER(s.Calibration)],
    "detector_detect_batch": [
        c_void_p,
        POINTER(s.ImageView),
        _TEXTS,
        c_size_t,
        POINTER(s.Result),
    ],
    "bundle_save": [c_void_p, c_void_p, c_void_p, c_char_p, c_bool],
    "dataset_options_init_sized": [POINTER(s.DatasetOptions), c_size_t],
    "dataset_open": [_HANDLE, c_char_p, POINTER(s.DatasetOptions)],
    "dataset_sample": [_HANDLE, c_void_p, c_size_t, c_uint64],
    "dataset_save_manifest": [c_void_p, c_char_p],
    "metrics_options_init_sized": [POINTER(s.MetricsOptions), c_size_t],
    "metrics_new": [_HANDLE, POINTER(s.MetricsOptions)],
    "metrics_add": [c_void_p, c_char_p, _ARRAY, _ARRAY, c_uint32, c_uint32, c_float, c_int],
    "metrics_merge": [c_void_p, _HANDLE],
    "metrics_compute": [c_void_p, c_size_t, POINTER(s.MetricValues)],
    "metrics_curve": [
        c_void_p,
        c_size_t,
        c_int,
        POINTER(s.CurvePoint),
        c_size_t,
        POINTER(c_size_t),
    ],
    "trainer_options_init_sized": [POINTER(s.TrainerOptions), c_size_t, c_int, c_int],
    "trainer_new": [_HANDLE, c_void_p, c_void_p, c_void_p, POINTER(s.TrainerOptions)],
    "trainer_step": [c_void_p, POINTER(s.Losses)],
    "trainer_epoch": [c_void_p, POINTER(s.Losses)],
    "trainer_evaluate": [c_void_p, c_void_p, POINTER(s.Losses)],
    "trainer_get_progress": [c_void_p, POINTER(s.TrainingProgress)],
    "trainer_adapters": [_HANDLE, c_void_p],
    "trainer_save": [c_void_p, c_char_p],
    "trainer_load": [c_void_p, c_char_p],
}

# All others: return type, then arguments.
_OTHER: dict[str, tuple[Any, list[Any]]] = {
    "version": (c_uint, []),
    "version_string": (c_char_p, []),
    "status_string": (c_char_p, [c_int]),
    "last_error": (c_char_p, []),
    "set_log": (None, [s.LogFunction, c_int, c_void_p]),
    "watch_cancel": (c_void_p, [c_void_p]),
    "set_deadline": (c_double, [c_double]),
    "backend_name": (c_char_p, [c_size_t]),
    "backend_available": (c_bool, [c_char_p]),
    "backend_memory": (c_uint64, [c_char_p]),
    "precision_name": (c_char_p, [c_int]),
    "profile_name": (c_char_p, [c_int]),
    "domain_name": (c_char_p, [c_int]),
    "known_dataset_count": (c_size_t, []),
    "known_dataset_name": (c_char_p, [c_size_t]),
    "known_dataset_class_count": (c_size_t, [c_char_p]),
    "known_dataset_class_name": (c_char_p, [c_char_p, c_size_t]),
    "model_operation_backend": (c_char_p, [c_void_p, c_char_p]),
    "adapters_has_text": (c_bool, [c_void_p]),
    "adapters_has_image": (c_bool, [c_void_p]),
    "text_cache_count": (c_size_t, [c_void_p]),
    "text_cache_name": (c_char_p, [c_void_p, c_size_t]),
    "image_get_view": (s.ImageView, [c_void_p]),
    "colour_map": (None, [_ARRAY, c_size_t, _ARRAY]),
    "map_probability": (None, [_ARRAY, c_size_t, c_uint32, _ARRAY]),
    "regions_free": (None, [POINTER(POINTER(s.Region))]),
    "detector_image_size": (c_uint32, [c_void_p]),
    "dataset_count": (c_size_t, [c_void_p]),
    "dataset_get": (POINTER(s.Sample), [c_void_p, c_size_t]),
    "dataset_class_count": (c_size_t, [c_void_p]),
    "dataset_class_name": (c_char_p, [c_void_p, c_size_t]),
    "dataset_class_size": (c_size_t, [c_void_p, c_size_t, c_int]),
    "metrics_class_count": (c_size_t, [c_void_p]),
    "metrics_class_name": (c_char_p, [c_void_p, c_size_t]),
    "model_close": (None, [_HANDLE]),
    "adapters_close": (None, [_HANDLE]),
    "text_cache_close": (None, [_HANDLE]),
    "image_close": (None, [_HANDLE]),
    "detector_close": (None, [_HANDLE]),
    "dataset_close": (None, [_HANDLE]),
    "metrics_close": (None, [_HANDLE]),
    "trainer_close": (None, [_HANDLE]),
}


# Functions that may run so long that Ctrl-C must cancel them.
_LONG = frozenset(
    """
    model_open model_save verify_file adapters_open adapters_save adapters_save_calibrated
    text_cache_open text_cache_build text_cache_encode text_cache_save image_open
    image_open_window image_decode image_decode_window image_resize image_window write_png
    write_png16 overlay map_resize mask_resize detector_new detector_detect_batch bundle_save
    dataset_open dataset_save_manifest metrics_compute metrics_curve trainer_new trainer_step
    trainer_epoch trainer_evaluate trainer_save trainer_load
    """.split()
)


class Library:
    """`library.model_open` is `aaclip_model_open`."""

    def __init__(self, loaded: CDLL) -> None:
        self._loaded = loaded
        for name, arguments in _STATUS.items():
            self._declare(name, c_int, arguments).errcheck = self._check
        for name, (result, arguments) in _OTHER.items():
            self._declare(name, result, arguments)
        ctrl_c = CtrlC(self.watch_cancel)
        for name in _LONG:
            setattr(self, name, Interruptible(ctrl_c, getattr(self, name)))

    def _declare(self, name: str, result: Any, arguments: list[Any]) -> Any:
        try:
            function = getattr(self._loaded, "aaclip_" + name)
        except AttributeError:
            raise ImportError(
                f"aaclip: {self._loaded._name} has no function aaclip_{name}; these bindings need "
                "a newer libaaclip"
            ) from None
        function.restype, function.argtypes = result, arguments
        setattr(self, name, function)
        return function

    def _check(self, status: int, _function: Any, _arguments: Any) -> int:
        if status:
            raise errors.make(status, self._loaded.aaclip_last_error().decode("utf-8", "replace"))
        return status

    @property
    def file(self) -> str:
        return self._loaded._name

    @property
    def loaded(self) -> CDLL:
        return self._loaded

    def __getattr__(self, name: str) -> Any:  # what __init__ did not set
        raise AttributeError(f"no function aaclip_{name} is declared")


lib = Library(load())
