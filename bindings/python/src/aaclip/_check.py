"""
What is checked when the library is loaded: that it speaks the ABI that is written down here, as far
as it can be asked without a model. A library of this very version must know nothing more; a later
one may.
"""

from __future__ import annotations

import ctypes
from ctypes import byref, c_size_t, sizeof
from enum import IntEnum
from typing import Any, Callable

import numpy as np

from . import _enums as e
from . import _structs as s
from . import errors
from ._functions import lib
from ._version import __version__


def _refuse(what: str, expected: object, found: object) -> None:
    raise ImportError(
        f"aaclip: {lib.file} does not fit these bindings (version {__version__}): {what}: "
        f"expected {expected}, found {found}; install the bindings of the library's source tree"
    )


def _require(what: str, expected: object, found: object) -> None:
    if expected != found:
        _refuse(what, expected, found)


def check_version() -> None:
    """Requires the same major version, no older than the one these bindings were written for."""
    number = lib.version()
    found = (number >> 16, number >> 8 & 255, number & 255)
    wanted = tuple(int(part) for part in __version__.split("."))
    if found[0] != wanted[0] or found < wanted:
        _refuse("version", f"{__version__} or a later one of {wanted[0]}", "%d.%d.%d" % found)


def _is_same_version() -> bool:
    return bool(lib.version_string().decode() == __version__)


# Statuses whose text is not their name.
_STATUS_TEXTS = {
    e.Status.IO: "input/output error",
    e.Status.FORMAT: "malformed file",
    e.Status.BACKEND: "backend failure",
}


def check_names() -> None:
    """Checks enumerations that the library has names for."""
    for kind, name in (
        (e.Precision, lib.precision_name),
        (e.Profile, lib.profile_name),
        (e.Domain, lib.domain_name),
    ):
        members: list[IntEnum] = list(kind)
        for each in members:
            _require(f"{kind.__name__} {each.value}", each.name.lower(), name(each).decode())
    for status in e.Status:
        expected = _STATUS_TEXTS.get(status, status.name.lower().replace("_", " "))
        _require(f"Status {status.value}", expected, lib.status_string(status).decode())
    if _is_same_version():
        following = lib.status_string(max(e.Status) + 1).decode()
        _require(f"Status {max(e.Status) + 1}", "unknown status", following)


def _accepts(call: Callable[..., object], *arguments: Any) -> bool:
    """Whether the library accepts options; the file that they are for need not exist."""
    try:
        call(*arguments)
    except errors.InvalidArgumentError:
        return False
    except (errors.NotFoundError, errors.InputOutputError):
        pass
    return True


def _check_members(kind: type[IntEnum], accepts: Callable[[int], bool]) -> None:
    for each in kind:
        if not accepts(each):
            _refuse(f"{kind.__name__} {each.name}", each.value, "that it is not known")
    if _is_same_version() and accepts(max(kind) + 1):
        _refuse(f"{kind.__name__}", f"values up to {int(max(kind))}", f"{max(kind) + 1}")


_NOWHERE = b"/dev/null/nowhere"


def _open_model(options: Any) -> None:
    lib.model_open(byref(ctypes.c_void_p()), _NOWHERE, options)


def _open_dataset(options: Any) -> None:
    lib.dataset_open(byref(ctypes.c_void_p()), _NOWHERE, options)


def _make_metrics(options: Any) -> None:
    handle = ctypes.c_void_p()
    lib.metrics_new(byref(handle), options)
    lib.metrics_close(byref(handle))


def _decide(calibration: Any) -> None:
    pixel = ctypes.c_float(0.5)
    lib.decide(calibration, 0.5, byref(pixel), None, 1, 1, byref(ctypes.c_bool()))


# Structs that the library reads without a model: how it fills and reads them, and their
# enumerations.
_READ: dict[str, tuple[Any, Any, dict[str, str]]] = {
    "ModelOptions": (
        lib.model_options_init_sized,
        _open_model,
        {"precision": "Precision"},
    ),
    "DatasetOptions": (
        lib.dataset_options_init_sized,
        _open_dataset,
        {"layout": "Layout", "split": "Split", "masks": "Masks"},
    ),
    "MetricsOptions": (
        lib.metrics_options_init_sized,
        _make_metrics,
        {"mode": "MetricsMode", "domain": "Domain", "wanted": "MetricsWanted"},
    ),
    "Calibration": (lib.calibration_init_sized, _decide, {"method": "CalibrationMethod", "decide_by": "DecideBy"}),
}


def check_sizes() -> None:
    """The library rejects a larger struct whose tail is not zero."""
    for name, (fill, read, _) in _READ.items():
        struct: Any = getattr(s, name)
        longer: Any = type("Longer", (struct,), {"_fields_": [("more", ctypes.c_uint64)]})
        last, kind = struct._fields_[-1]
        for more in (0, 1):
            options = longer()
            fill(byref(options), sizeof(longer))
            text = kind is ctypes.c_char_p or issubclass(kind, ctypes.Array)
            setattr(options, last, b"nut" if text else 2)
            options.more = more
            accepted = _accepts(read, byref(options))
            if not more and not accepted:
                _refuse(f"size of {name}", sizeof(struct), f"that there is no {last}")
            if more and accepted and _is_same_version():
                _refuse(f"size of {name}", sizeof(struct), "a larger one")


def check_members() -> None:
    """Every value of an enumeration is accepted, and no other."""
    for name, (fill, read, members) in _READ.items():
        for member, kind in members.items():

            def accepts(number: int) -> bool:
                options = getattr(s, name)()
                fill(byref(options), sizeof(options))
                setattr(options, member, number)
                return _accepts(read, byref(options))

            _check_members(getattr(e, kind), accepts)


def check_profiles() -> None:
    """The library's defaults for each profile and stage name that profile and stage."""

    def fill_config(number: int) -> bool:
        config = s.Config()
        if not _accepts(lib.config_init_sized, byref(config), sizeof(config), number):
            return False
        _require("Config.profile", number, config.profile)
        return True

    def fill_trainer(stage: int) -> bool:
        options = s.TrainerOptions()
        for profile in e.Profile:
            init = lib.trainer_options_init_sized
            if not _accepts(init, byref(options), sizeof(options), stage, profile):
                return False
            found = (options.stage, options.profile)
            _require("TrainerOptions.stage and profile", (stage, profile), found)
        return True

    _check_members(e.Profile, fill_config)
    _check_members(e.Stage, fill_trainer)


def check_calibration() -> None:
    """A decision with a calibration whose members all differ from 0."""
    decision = ctypes.c_bool()
    for method in e.CalibrationMethod:
        calibration = s.Calibration(sizeof(s.Calibration), 0.25, 0.75, 0.5, method, 3)
        for score, expected in ((0.25, True), (0.2, False)):
            lib.decide(byref(calibration), score, None, None, 0, 0, byref(decision))
            _require("Calibration.image_threshold", expected, decision.value)
        look, values = np.ones(1, np.uint8), np.full(1, 0.5, np.float32)
        lib.decide(
            byref(calibration), 1.0, values.ctypes.data, look.ctypes.data, 1, 1, byref(decision)
        )
        _require("Calibration.map_threshold", False, decision.value)
        calibration.decide_by = e.DecideBy.MAP
        lib.decide(
            byref(calibration), 1.0, values.ctypes.data, None, 1, 1, byref(decision)
        )
        _require("Calibration.decide_by", False, decision.value)


def check_pixels() -> None:
    """Passes one pixel of every format through the library."""
    rgb, room = np.empty(3, np.uint8), np.zeros(4, np.uint16)

    def accepts(number: int) -> bool:
        view = s.ImageView(room.ctypes.data, 1, 1, room.nbytes, number)
        return _accepts(lib.image_resize, byref(view), 1, 1, rgb.ctypes.data)

    _check_members(e.PixelFormat, accepts)
    colour = (10, 20, 30)
    for form in e.PixelFormat:
        order = form.name.rstrip("0123456789")
        samples = [colour["RGB".index(c)] if c in "RGB" else 99 for c in order]
        if order == "GRAY":
            samples = [10]
        wide = form.name.endswith("16")
        pixel = np.array(samples, np.uint16) * 256 + 77 if wide else np.array(samples, np.uint8)
        view = s.ImageView(pixel.ctypes.data, 1, 1, pixel.nbytes, form)
        lib.image_resize(byref(view), 1, 1, rgb.ctypes.data)
        expected = (10, 10, 10) if order == "GRAY" else colour
        _require(f"PixelFormat {form.name}", expected, tuple(rgb.tolist()))


def check_regions() -> None:
    """Two regions of a small map: the struct's size and members."""
    values = np.zeros((3, 7), np.float32)
    values[1, 1:3] = 0.5, 0.75
    values[2, 6] = 1.0
    found, count = ctypes.POINTER(s.Region)(), c_size_t()
    lib.regions_find(byref(found), byref(count), values.ctypes.data, None, 7, 3, 0.5, 1)
    regions = [
        (r.x, r.y, r.width, r.height, r.area, r.peak_x, r.peak_y, r.peak, r.mean)
        for r in found[: count.value]
    ]
    lib.regions_free(byref(found))
    expected = [(6, 2, 1, 1, 1, 6, 2, 1.0, 1.0), (1, 1, 2, 1, 2, 2, 1, 0.75, 0.625)]
    _require("Region", expected, regions)


def check_metrics() -> None:
    """Metrics of four images whose values are known."""
    options = s.MetricsOptions()
    lib.metrics_options_init_sized(byref(options), sizeof(options))
    options.wanted = e.MetricsWanted.IMAGES
    handle, count = ctypes.c_void_p(), c_size_t()
    lib.metrics_new(byref(handle), byref(options))
    try:
        for score, label in ((0.25, 0), (0.5, 1), (0.375, 0), (0.75, 1)):
            lib.metrics_add(handle, b"a", None, None, 0, 0, score, label)
        values, points = s.sized(s.MetricValues), (s.CurvePoint * 16)()
        lib.metrics_compute(handle, 0, byref(values))
        _check_members(
            e.Curve,
            lambda kind: _accepts(lib.metrics_curve, handle, 0, kind, points, 16, byref(count)),
        )
        lib.metrics_curve(handle, 0, e.Curve.IMAGE_PR, points, 16, byref(count))
    finally:
        lib.metrics_close(byref(handle))
    _require("MetricValues.image_auroc", 1.0, values.image_auroc)
    _require("MetricValues.image_f1_threshold", 0.5, values.image_f1_threshold)
    counts = (values.images, values.normal_images, values.abnormal_images, values.regions)
    _require("MetricValues.images", (4, 2, 2, 0), counts)
    if not np.isnan(values.pixel_auroc):
        _refuse("MetricValues.pixel_auroc", "NaN", values.pixel_auroc)
    if count.value < 2 or points[count.value - 1].x != 1.0 or points[count.value - 1].y != 1.0:
        _refuse("CurvePoint", "a curve that ends at (1, 1)", [(p.x, p.y) for p in points])


def check_library() -> None:
    check_version()
    try:
        check_names()
        check_sizes()
        check_members()
        check_profiles()
        check_calibration()
        check_pixels()
        check_regions()
        check_metrics()
    except errors.Error as error:
        raise ImportError(
            f"aaclip: {lib.file} does not fit these bindings (version {__version__}): {error}"
        ) from error


check_library()
