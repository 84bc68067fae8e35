"""The public structs of the library, field by field as its headers declare them."""

from __future__ import annotations

import ctypes
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    c_char,
    c_bool,
    c_char_p,
    c_double,
    c_float,
    c_int,
    c_size_t,
    c_uint,
    c_uint32,
    c_uint64,
    c_void_p,
)
from typing import TypeVar

MAX_LEVELS = 8
MAX_MILESTONES = 8

Kind = TypeVar("Kind", bound=Structure)

LogFunction = CFUNCTYPE(None, c_int, c_char_p, c_void_p)
ProgressFunction = CFUNCTYPE(c_bool, c_size_t, c_size_t, c_void_p)


class Config(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("profile", c_int),
        ("activation", c_int),
        ("image_mean", c_float * 3),
        ("image_deviation", c_float * 3),
        ("layer_adapter", c_int),
        ("layer_adapter_slope", c_float),
        ("image_projection_activation", c_bool),
        ("text_projection_activation", c_bool),
        ("projection_slope", c_float),
        ("image_adapter_weight", c_float),
        ("text_adapter_weight", c_float),
        ("image_adapter_layers", c_uint32),
        ("text_adapter_layers", c_uint32),
        ("level_count", c_uint32),
        ("levels", c_uint32 * MAX_LEVELS),
        ("normalize_class_vector", c_bool),
    ]


class Limits(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("image_pixels", c_uint64),
        ("checkpoint_bytes", c_uint64),
        ("tensors", c_uint64),
        ("prompt_bytes", c_uint64),
        ("prompts", c_uint64),
        ("memory_bytes", c_uint64),
    ]


class ModelOptions(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("backend", c_char_p),
        ("precision", c_int),
        ("threads", c_uint),
        ("packed_folder", c_char_p),
    ]


class ModelInfo(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("path", c_char_p),
        ("layout", c_char_p),
        ("backend", c_char_p),
        ("precision", c_int),
        ("threads", c_uint32),
        ("activation", c_int),
        ("image_layers", c_uint32),
        ("image_width", c_uint32),
        ("image_heads", c_uint32),
        ("image_mlp", c_uint32),
        ("patch_size", c_uint32),
        ("trained_image_size", c_uint32),
        ("embedding", c_uint32),
        ("has_text", c_bool),
        ("text_layers", c_uint32),
        ("text_width", c_uint32),
        ("text_heads", c_uint32),
        ("text_mlp", c_uint32),
        ("context", c_uint32),
        ("vocabulary", c_uint32),
        ("fingerprint", c_char_p),
    ]


class TextCacheOptions(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("vocabulary", c_char_p),
        ("prompts", c_char_p),
        ("config", POINTER(Config)),
        ("truncate", c_bool),
        ("progress", ProgressFunction),
        ("progress_user", c_void_p),
    ]


class ImageView(Structure):
    _fields_ = [
        ("pixels", c_void_p),
        ("width", c_uint32),
        ("height", c_uint32),
        ("stride", c_size_t),
        ("format", c_int),
    ]


class Region(Structure):
    _fields_ = [
        ("x", c_uint32),
        ("y", c_uint32),
        ("width", c_uint32),
        ("height", c_uint32),
        ("area", c_uint32),
        ("peak_x", c_uint32),
        ("peak_y", c_uint32),
        ("peak", c_float),
        ("mean", c_float),
    ]


class Calibration(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("image_threshold", c_float),
        ("map_threshold", c_float),
        ("false_alarm_rate", c_double),
        ("method", c_int),
        ("images", c_uint64),
        ("decide_by", c_int),
        ("image_size", c_uint32),
        ("tile", c_uint32),
        ("tile_overlap", c_float),
        ("domain", c_int),
        ("model_fingerprint", c_uint64),
        ("adapters_fingerprint", c_uint64),
        ("class_name", c_char * 128),
        ("class_fingerprint", c_uint64),
        ("window_low", c_double),
        ("window_high", c_double),
    ]


class DetectorOptions(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("domain", c_int),
        ("image_size", c_uint32),
        ("config", POINTER(Config)),
        ("keep_features", c_bool),
        ("tile", c_uint32),
        ("tile_overlap", c_float),
        ("calibration", POINTER(Calibration)),
        ("min_area", c_uint32),
        ("find_regions", c_bool),
        ("window_low", c_double),
        ("window_high", c_double),
    ]


class Result(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("score", c_float),
        ("map", c_void_p),
        ("map_width", c_uint32),
        ("map_height", c_uint32),
        ("level_count", c_uint32),
        ("patch_features", c_void_p),
        ("patch_rows", c_uint32),
        ("patch_columns", c_uint32),
        ("detection_feature", c_void_p),
        ("embedding", c_uint32),
        ("decided", c_bool),
        ("defective", c_bool),
        ("regions", POINTER(Region)),
        ("region_count", c_size_t),
    ]


class DatasetOptions(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("layout", c_int),
        ("split", c_int),
        ("manifest", c_char_p),
        ("classes", POINTER(c_char_p)),
        ("class_count", c_size_t),
        ("masks", c_int),
        ("class_name", c_char_p),
        ("outside_paths", c_bool),
        ("window_low", c_double),
        ("window_high", c_double),
    ]


class Sample(Structure):
    _fields_ = [
        ("image_path", c_char_p),
        ("mask_path", c_char_p),
        ("class_name", c_char_p),
        ("class_index", c_size_t),
        ("defect", c_char_p),
        ("label", c_int),
    ]


class MetricsOptions(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("mode", c_int),
        ("domain", c_int),
        ("wanted", c_uint32),
        ("bins", c_uint32),
        ("memory_limit", c_uint64),
    ]


class MetricValues(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("pixel_auroc", c_double),
        ("pixel_ap", c_double),
        ("pixel_f1_max", c_double),
        ("pixel_f1_threshold", c_double),
        ("aupro_30", c_double),
        ("aupro_05", c_double),
        ("image_auroc", c_double),
        ("image_ap", c_double),
        ("image_f1_max", c_double),
        ("image_f1_threshold", c_double),
        ("dataset_auroc", c_double),
        ("dataset_ap", c_double),
        ("dataset_f1_max", c_double),
        ("dataset_f1_threshold", c_double),
        ("pixel_auroc_error", c_double),
        ("pixel_ap_error", c_double),
        ("pixel_f1_max_error", c_double),
        ("aupro_30_error", c_double),
        ("aupro_05_error", c_double),
        ("images", c_uint64),
        ("normal_images", c_uint64),
        ("abnormal_images", c_uint64),
        ("normal_pixels", c_uint64),
        ("abnormal_pixels", c_uint64),
        ("regions", c_uint64),
    ]


class CurvePoint(Structure):
    _fields_ = [("x", c_double), ("y", c_double), ("threshold", c_double)]


class Losses(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("total", c_double),
        ("focal", c_double),
        ("dice_normal", c_double),
        ("dice_abnormal", c_double),
        ("orthogonal", c_double),
        ("classification", c_double),
        ("images", c_uint64),
    ]


class TrainingProgress(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("stage", c_int),
        ("epoch", c_uint64),
        ("step", c_uint64),
        ("epoch_step", c_uint64),
        ("epoch_steps", c_uint64),
        ("learning_rate", c_double),
        ("images_per_second", c_double),
        ("losses", POINTER(Losses)),
    ]


TrainingCallback = CFUNCTYPE(c_bool, POINTER(TrainingProgress), c_void_p)


class TrainerOptions(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("stage", c_int),
        ("config", POINTER(Config)),
        ("profile", c_int),
        ("initial", c_void_p),
        ("image_size", c_uint32),
        ("batch_size", c_uint32),
        ("accumulate", c_uint32),
        ("learning_rate", c_double),
        ("beta1", c_double),
        ("beta2", c_double),
        ("epsilon", c_double),
        ("milestones", c_uint64 * MAX_MILESTONES),
        ("milestone_count", c_uint32),
        ("gamma", c_double),
        ("scales", c_int),
        ("orthogonal_weight", c_double),
        ("surgery_blocks", c_uint32),
        ("balanced_focal", c_bool),
        ("seed", c_uint64),
        ("no_augmentation", c_bool),
        ("no_shuffle", c_bool),
        ("recompute", c_bool),
        ("loader_threads", c_uint32),
        ("log", c_char_p),
        ("callback", TrainingCallback),
        ("callback_user", c_void_p),
        ("vocabulary", c_char_p),
        ("prompts", c_char_p),
        ("truncate", c_bool),
        ("phrases", c_char_p),
    ]


def names(struct: type[Structure]) -> list[str]:
    """The fields of a struct after its size."""
    return [field[0] for field in struct._fields_ if field[0] != "size"]


def sized(struct: type[Kind]) -> Kind:
    """An empty struct with its size set, for a call that fills it in."""
    return struct(size=ctypes.sizeof(struct))
