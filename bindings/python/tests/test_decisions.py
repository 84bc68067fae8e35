"""Calibration, regions of interest, regions, tiles, and the maps that they are made of."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ADAPTERS, NANO, PHOTO, SIZE, run_program
from PIL import Image as Pillow

import aaclip


def options(adapters: Path | None = None) -> list[Any]:
    files = [adapters] if adapters else ADAPTERS
    named = [word for path in files for word in ("--adapters", path)]
    return ["--model", NANO / "clip.pt", *named, "--class", "metal_nut", "--dataset", "MVTec",
            "--image-size", SIZE, "--threads", 2]  # fmt: skip


@pytest.fixture(scope="module")
def calibration(
    model: aaclip.Model, adapters: aaclip.Adapters, texts: aaclip.TextCache
) -> aaclip.Calibration:
    """With a map threshold that a tenth of the photograph reaches."""
    heat = aaclip.Detector(model, texts, adapters, image_size=SIZE).detect(PHOTO).heat_map()
    return aaclip.Calibration.new(
        image_threshold=0.9, map_threshold=float(np.quantile(heat, 0.9)), images=3
    )


def test_regions_and_decision_are_the_program_s(
    model: aaclip.Model, adapters: aaclip.Adapters, texts: aaclip.TextCache,
    calibration: aaclip.Calibration, tmp_path: Path,
) -> None:  # fmt: skip
    calibration.save(tmp_path / "c.json")
    look = np.zeros((150, 225), np.uint8)
    look[20:110, 30:200] = 1
    Pillow.fromarray(look).save(tmp_path / "roi.png")
    for roi in (None, look):
        given = [] if roi is None else ["--roi", tmp_path / "roi.png"]
        run_program(
            "aaclip-detect", *options(), "--calibration", tmp_path / "c.json", "--min-area", 3,
            *given, "--json", tmp_path / "r.json", PHOTO,
        )  # fmt: skip
        expected = json.loads((tmp_path / "r.json").read_text())["images"][0]
        detector = aaclip.Detector(
            model, texts, adapters, image_size=SIZE, calibration=calibration, find_regions=True,
            min_area=3, roi=roi,
        )  # fmt: skip
        result = detector.detect(PHOTO)
        assert result.defective is expected["decision"]
        assert len(result.regions) == len(expected["regions"]) > 0
        for region, other in zip(result.regions, expected["regions"]):
            for name in ("x", "y", "width", "height", "area", "peak_x", "peak_y"):
                assert getattr(region, name) == other[name]
            assert np.float32(other["peak"]) == region.peak
            assert np.float32(other["mean"]) == region.mean
            left, top, right, bottom = region.box
            assert result.heat_map()[top:bottom, left:right].max() == region.peak
    assert result.defective != detector_without_roi(detector)


def detector_without_roi(detector: aaclip.Detector) -> bool | None:
    detector.set_roi(None)
    return detector.detect(PHOTO).defective


def test_regions_from_the_map(detector: aaclip.Detector, calibration: aaclip.Calibration) -> None:
    heat = detector.detect(PHOTO).heat_map()
    threshold = calibration.map_threshold
    mask = aaclip.threshold_map(heat, threshold)
    assert np.array_equal(mask == 255, heat >= np.float32(threshold))
    regions = aaclip.find_regions(heat, threshold)
    assert sum(region.area for region in regions) == (mask == 255).sum() > 0
    assert aaclip.map_peak(heat) == regions[0].peak == heat.max()
    roi = np.zeros(heat.shape, bool)
    roi[:20] = True
    assert aaclip.map_peak(heat, roi) == heat[:20].max()
    assert all(r.y + r.height <= 20 for r in aaclip.find_regions(heat, 0.0, roi=roi))
    assert aaclip.find_regions(heat, 2.0) == ()
    with pytest.raises(ValueError, match="min_area: expected 0"):
        aaclip.find_regions(heat, 0.5, min_area=-1)
    largest = max(region.area for region in regions)
    few = aaclip.find_regions(heat, threshold, min_area=largest)
    assert few and all(region.area == largest for region in few)
    with pytest.raises(ValueError, match=r"roi: expected shape \(150, 225\), found \(2, 2\)"):
        aaclip.map_peak(heat, np.ones((2, 2)))
    with pytest.raises(aaclip.InvalidArgumentError):
        aaclip.map_peak(heat, np.zeros(heat.shape, bool))


def test_map_scales(detector: aaclip.Detector) -> None:
    result = detector.detect(PHOTO)
    expected = 1 / (1 + np.exp(1 - 2 * result.map.astype(float) / result.level_count))
    assert np.allclose(result.probability, expected, atol=1e-6)
    assert result.heat_map().shape == (150, 225)
    assert result.heat_map(30, 20).shape == (20, 30)
    same = aaclip.resize_map(result.map, SIZE, SIZE)
    assert np.allclose(same, result.map, atol=1e-6)
    grown = aaclip.resize_map([[0.0, 1.0]], 3, 1)
    assert np.allclose(grown, [[0, 0.5, 1]])
    assert result.heat_map(height=20).shape == (20, 225)
    for call in (result.heat_map, lambda *size: aaclip.resize_map(result.map, *size)):
        for size in ((0, 0), (0, 3), (3, 0)):
            with pytest.raises(ValueError, match="at least 1 x 1"):
                call(*size)
        for wrong in (-1, 1 << 32, (1 << 32) + 1):
            with pytest.raises(ValueError, match=f"width: expected 0 to .*, found {wrong}"):
                call(wrong, 1)
    with pytest.raises(ValueError, match="level_count: expected 1 or more, found 0"):
        aaclip.probability(result.map, 0)
    for wrong in (-1, (1 << 32) + 1):
        with pytest.raises(ValueError, match=f"level_count: expected 0 to .*, found {wrong}"):
            aaclip.probability(result.map, wrong)
    with pytest.raises(ValueError, match="height x width"):
        aaclip.resize_map([1.0], 3, 3)
    with pytest.raises(TypeError, match="map: expected an array without a mask"):
        aaclip.resize_map(np.ma.zeros((2, 2)), 3, 3)


def test_tiles_are_the_program_s(
    model: aaclip.Model, adapters: aaclip.Adapters, texts: aaclip.TextCache, tmp_path: Path
) -> None:
    run_program("aaclip-detect", *options(), "--tile", 100, "--raw", "--out", tmp_path, PHOTO)
    detector = aaclip.Detector(model, texts, adapters, image_size=SIZE, tile=100)
    result = detector.detect(PHOTO)
    assert np.array_equal(result.map, np.load(tmp_path / "chelsea_map.npy"))
    assert result.map.shape == (168, 252)
    with pytest.raises(aaclip.UnsupportedError):
        aaclip.Detector(model, texts, adapters, tile=100, keep_features=True)


def test_calibrate_and_keep_with_the_adapters(
    model: aaclip.Model, adapters: aaclip.Adapters, texts: aaclip.TextCache,
    detector: aaclip.Detector, tmp_path: Path,
) -> None:  # fmt: skip
    photo = np.asarray(Pillow.open(PHOTO).convert("RGB"))
    good = [photo[i : i + 100, i : i + 150] for i in range(0, 50, 10)]
    calibration = detector.calibrate(good, 0.4)  # one of the five by each threshold
    scores = sorted((r.score for r in detector.detect_many(good)), reverse=True)
    assert calibration.images == 5 and calibration.false_alarm_rate == 0.4
    assert scores[1] < calibration.image_threshold <= scores[0]
    with pytest.raises(aaclip.NotFoundError):
        adapters.calibration
    adapters.save(tmp_path / "a.safetensors", calibration=calibration)
    kept = model.adapters(tmp_path / "a.safetensors")
    assert kept.calibration == calibration
    deciding = aaclip.Detector(model, texts, kept, image_size=SIZE)
    verdicts = [deciding.detect(image).defective for image in good]
    assert 1 <= sum(verdict is True for verdict in verdicts) <= 2
    assert detector.detect(good[0]).defective is None
    with pytest.raises(ValueError, match="roi: expected shape"):
        detector.set_roi(np.ones((10, 10)))
        detector.calibrate(good, 0.3)


def test_thresholds() -> None:
    threshold = aaclip.quantile_threshold([0.1, 0.2, 0.3, 0.4], 0.25)
    assert 0.3 < threshold <= np.nextafter(np.float32(0.3), np.float32(1))
    best = aaclip.f1_threshold([0.1, 0.4, 0.2, 0.8], [0, 1, 0, 1])
    assert best == pytest.approx((0.3, 1.0))
    for labels in ([0], [0, 0.5]):
        with pytest.raises(ValueError, match="labels"):
            aaclip.f1_threshold([0.1, 0.4], labels)
    with pytest.raises(aaclip.InvalidArgumentError, match="normal and abnormal"):
        aaclip.f1_threshold([0.1, 0.4], [0, 0])
    with pytest.raises(aaclip.InvalidArgumentError):
        aaclip.quantile_threshold([], 0.1)


def test_calibration_files_and_decisions(tmp_path: Path) -> None:
    new = aaclip.Calibration.new(image_threshold=0.625, method=aaclip.CalibrationMethod.F1_MAX)
    new.save(tmp_path / "c.json")
    assert aaclip.Calibration.open(tmp_path / "c.json") == new
    assert new.decide(0.625) and not new.decide(0.6)
    heat = np.array([[0.2, 0.7]], np.float32)
    assert new.decide(0.0, heat, np.array([[0, 1]]))
    assert not new.decide(0.9, heat, np.array([[1, 0]]))
    (tmp_path / "c.json").write_text("{}")
    with pytest.raises(aaclip.FormatError, match="c.json"):
        aaclip.Calibration.open(tmp_path / "c.json")
    with pytest.raises(ValueError, match="needs the map"):
        new.decide(0.5, roi=np.ones((1, 1)))


def test_overlay_and_notebook(detector: aaclip.Detector, tmp_path: Path) -> None:
    from io import BytesIO

    result = detector.detect(PHOTO)
    photo = np.asarray(Pillow.open(PHOTO).convert("RGB"))
    assert np.array_equal(result.overlay(0.0), photo)
    assert np.array_equal(result.overlay(1.0), aaclip.colour_map(result.heat_map()))
    half = (photo.astype(int) + aaclip.colour_map(result.heat_map())) / 2
    assert np.abs(result.overlay() - half).max() <= 1
    shown = Pillow.open(BytesIO(result._repr_png_()))
    assert shown.size == (225, 150)
    assert np.array_equal(np.asarray(shown), result.overlay())
    assert result.overlay(longest_side=90).shape == (60, 90, 3)
    large = detector.detect(np.zeros((900, 1200, 3), np.uint8))
    assert Pillow.open(BytesIO(large._repr_png_())).size == (800, 600)
    blue = detector.detect(np.ascontiguousarray(photo[:, :, ::-1]), order="BGR")
    assert np.array_equal(blue.overlay(), result.overlay())
    assert np.array_equal(blue.overlay(longest_side=90), result.overlay(longest_side=90))
    assert "score 0." in repr(result) and str(PHOTO) in repr(result)
    for other in (blue, result):
        sent = pickle.loads(pickle.dumps(other))
        assert np.array_equal(sent.map, other.map)
        assert sent.path == other.path
    assert pickle.loads(pickle.dumps(blue)).overlay(0.0).max() == 128
    assert aaclip.colour_map(0.5).shape == (3,)
    assert aaclip.colour_map([0.5]).shape == (1, 3)
    turned = np.linspace(0, 1, 6).reshape(2, 3).T
    assert np.array_equal(aaclip.colour_map(turned), aaclip.colour_map(turned.copy("C")))
    with pytest.raises(ValueError, match="expected the image's 150 x 225"):
        aaclip.overlay(PHOTO, np.zeros((3, 3)))


def test_image_files(detector: aaclip.Detector, tmp_path: Path) -> None:
    image = aaclip.Image.open(PHOTO)
    photo = np.asarray(Pillow.open(PHOTO).convert("RGB"))
    assert np.array_equal(image.array, photo) and image.size == (225, 150)
    data = PHOTO.read_bytes()
    for source in (data, bytearray(data), memoryview(data)):
        assert np.array_equal(aaclip.Image.decode(source).array, photo)
    assert np.array_equal(np.asarray(image), photo)
    assert np.asarray(image, dtype=np.float64).dtype == np.float64
    with pytest.raises(aaclip.FormatError, match="upload 7"):
        aaclip.Image.decode(PHOTO.read_bytes()[:5000], "upload 7")
    resized = aaclip.resize(photo, 50, 40)
    expected = Pillow.fromarray(photo).resize((50, 40), Pillow.Resampling.BICUBIC)
    assert np.array_equal(resized, np.asarray(expected))
    for width, height in ((0, 1), ((1 << 32) + 1, 1), (1, -1)):
        with pytest.raises(ValueError, match="expected"):
            aaclip.resize(photo, width, height)
    aaclip.write_png16(tmp_path / "scan.png", np.arange(4096).reshape(64, 64) / 65535)
    scan = np.asarray(Pillow.open(tmp_path / "scan.png")).astype(np.uint16)
    shown = aaclip.window(scan, 0, 4095)
    assert np.array_equal(shown[:, :, 0], (scan * 255.0 / 4095 + 0.5).astype(np.uint8))
    assert np.array_equal(aaclip.window(photo, 0, 255), photo)
    opened = aaclip.Image.open(tmp_path / "scan.png", window=(0, 4095))
    assert np.array_equal(opened.array, shown)
    data = (tmp_path / "scan.png").read_bytes()
    assert np.array_equal(aaclip.Image.decode(data, window=(0, 4095)).array, shown)
    with pytest.raises(aaclip.InvalidArgumentError, match="the smaller first"):
        aaclip.Image.decode(data, window=(5, 5))
    scans = aaclip.Dataset.open(tmp_path, window=(0, 4095), class_name="metal_nut")
    ((sample, found),) = detector.detect_dataset(scans)
    assert found.score == detector.detect(shown, "metal_nut").score
    assert found.path == sample.image_path
    assert np.array_equal(found.overlay(0.0), shown)
    for same in (
        detector.detect(tmp_path / "scan.png", window=(0, 4095)),
        *detector.detect_batch([sample.image_path], window=(0, 4095)),
        *detector.detect_many([sample.image_path], window=(0, 4095)),
        *detector.detect_folder(tmp_path, window=(0, 4095)),
    ):
        assert same.score == found.score
    opened_by_pillow = Pillow.open(tmp_path / "scan.png")
    with pytest.warns(UserWarning, match="3840 pixels are above 255 and count as 255") as told:
        detector.detect(opened_by_pillow)
    assert told[0].filename == __file__
    assert found.score != detector.detect(aaclip.Image.open(sample.image_path), "metal_nut").score
    with pytest.raises(aaclip.InvalidArgumentError, match="window_low"):
        aaclip.Dataset.open(tmp_path, window=(5, 5))
    with pytest.raises(ValueError, match="the smaller first"):
        aaclip.window(scan, 4095, 0)
    aaclip.write_png(tmp_path / "a.png", photo[:, ::-1])
    assert np.array_equal(np.asarray(Pillow.open(tmp_path / "a.png")), photo[:, ::-1])
    aaclip.write_png16(tmp_path / "b.png", [[0.0, 0.5, 1.0]])
    assert np.asarray(Pillow.open(tmp_path / "b.png")).tolist() == [[0, 32768, 65535]]
    for name in ("a.jpg", "A.TIFF"):
        with pytest.raises(ValueError, match="expected a name that ends with .png"):
            aaclip.write_png(tmp_path / name, photo)
        with pytest.raises(ValueError, match="expected a name that ends with .png"):
            detector.detect(PHOTO).save_overlay(tmp_path / name)
        assert not (tmp_path / name).exists()
    with pytest.raises(aaclip.InputOutputError, match="nowhere"):
        aaclip.write_png("/nowhere/a.png", photo)
    assert repr(image) == "<aaclip.Image 225 x 150>"
    assert image._repr_png_().startswith(b"\x89PNG")


def test_windows(
    model: aaclip.Model, adapters: aaclip.Adapters, texts: aaclip.TextCache,
    detector: aaclip.Detector, tmp_path: Path,
) -> None:  # fmt: skip
    photo = np.asarray(Pillow.open(PHOTO).convert("RGB"))
    deep = photo.astype(np.uint16) * 16 + 5
    grey = tmp_path / "scan.png"
    aaclip.write_png16(grey, deep[:, :, 1] / 65535)
    values = (100, 4000)
    through = aaclip.Detector(model, texts, adapters, image_size=SIZE, window=values)
    assert through.window == values and detector.window is None
    shown = aaclip.window(deep, *values)
    expected = detector.detect(shown, "metal_nut")
    for found in (
        through.detect(deep, "metal_nut"),
        through.detect(deep[:, :, ::-1], "metal_nut", order="BGR"),
        through.detect(deep, "metal_nut", window=values),
        detector.detect(deep, "metal_nut", window=values),
        detector.detect(deep[:, :, ::-1], "metal_nut", order="BGR", window=values),
    ):
        assert np.array_equal(found.map, expected.map) and found.score == expected.score
        assert np.array_equal(found.overlay(0.0), shown)
    file = detector.detect(grey, "metal_nut", window=values)
    for found in (
        *through.detect_batch([grey, Pillow.open(grey)], "metal_nut"),
        detector.detect(Pillow.open(grey), "metal_nut", window=values),
        next(through.detect_folder(tmp_path, "metal_nut")),
    ):
        assert np.array_equal(found.map, file.map)
        assert np.array_equal(found.overlay(0.0), file.overlay(0.0))
    plain = detector.detect(photo, "metal_nut")
    assert np.array_equal(through.detect(photo, "metal_nut").map, plain.map)
    scans = aaclip.Dataset.open(tmp_path, class_name="metal_nut")
    ((_, found),) = through.detect_dataset(scans)
    assert found.score == file.score
    with pytest.raises(ValueError, match=r"window: expected the detector's \(100.0, 4000.0\)"):
        through.detect(deep, "metal_nut", window=(0, 4095))
    for wrong in ((0, 0), (5, 4), (0, np.inf)):
        with pytest.raises(ValueError, match="two (finite )?numbers, the smaller first"):
            aaclip.Detector(model, texts, adapters, image_size=SIZE, window=wrong)


def test_thresholds_belong_to_a_window(
    model: aaclip.Model, adapters: aaclip.Adapters, texts: aaclip.TextCache,
    detector: aaclip.Detector, tmp_path: Path,
) -> None:  # fmt: skip
    deep = np.asarray(Pillow.open(PHOTO).convert("RGB")).astype(np.uint16) * 16
    through = aaclip.Detector(model, texts, adapters, image_size=SIZE, window=(0, 4095))
    with pytest.warns(UserWarning, match="too few"):
        made = through.calibrate([deep], 0.4, "metal_nut")
        same = detector.calibrate([deep], 0.4, "metal_nut", window=(0, 4095))
        other = detector.calibrate([deep], 0.4, "metal_nut")
    assert made == same and (made.window_low, made.window_high) == (0, 4095)
    assert (other.window_low, other.window_high) == (0, 0)
    made.save(tmp_path / "c.json")
    assert aaclip.Calibration.open(tmp_path / "c.json") == made
    through.check_calibration(made, "metal_nut")
    with pytest.raises(aaclip.MismatchError, match="window, 0 to 4095, found none"):
        through.check_calibration(other, "metal_nut")
    with pytest.raises(aaclip.MismatchError, match="window, none, found 0 to 4095"):
        aaclip.Detector(model, texts, adapters, image_size=SIZE, calibration=made)
    checked = aaclip.Detector(
        model, texts, adapters, image_size=SIZE, calibration=made, window=(0, 4095)
    )
    assert checked.detect(deep, "metal_nut").defective is False


def test_thresholds_of_several_classes(
    model: aaclip.Model, adapters: aaclip.Adapters, calibration: aaclip.Calibration, tmp_path: Path
) -> None:
    other = "screw"
    texts = aaclip.TextCache(model, adapters)
    texts.build(["metal_nut", other], dataset="MVTec")
    by_class = {
        "metal_nut": replace(calibration, image_threshold=0.0, class_name="metal_nut"),
        other: replace(calibration, image_threshold=1.0, map_threshold=0.875, class_name=other),
    }
    own = aaclip.Detector(
        model, texts, adapters, image_size=SIZE, calibration=calibration, find_regions=True
    )
    by_class[other].save(tmp_path / "other.json")
    own.set_calibration(by_class["metal_nut"], "metal_nut")
    own.set_calibration(tmp_path / "other.json", other)
    for result in (
        *own.detect_batch([PHOTO] * 4, ["metal_nut", other, other, "metal_nut"]),
        own.detect(PHOTO, "metal_nut"),
        own.detect(PHOTO, other),
    ):
        expected = by_class[result.class_name]
        assert result.defective is expected.decide(result.score)
        assert result.map_threshold == expected.map_threshold
        assert result.mask is not None
        found = sum(region.area for region in result.regions)
        assert (result.mask == 255).sum() == found
    own.set_calibration(None, "metal_nut")
    assert own.detect(PHOTO, "metal_nut").map_threshold == calibration.map_threshold
    own.set_calibration(None)
    result = own.detect(PHOTO, "metal_nut")
    assert (result.defective, result.mask, result.regions) == (None, None, ())
    assert own.detect(PHOTO, other).defective is False
    with pytest.raises(aaclip.MismatchError, match="not 'metal_nut'"):
        own.set_calibration(by_class[other], "metal_nut")
    with pytest.raises(aaclip.NotFoundError, match="unknown"):
        own.set_calibration(calibration, "unknown")


def test_what_decides(calibration: aaclip.Calibration) -> None:
    by = {kind: replace(calibration, decide_by=kind) for kind in aaclip.DecideBy}
    high = np.full((2, 2), calibration.map_threshold + 0.1, np.float32)
    low = np.zeros((2, 2), np.float32)
    for score in (0.0, 1.0):
        for values in (low, high):
            found = score > 0.9, bool(values[0, 0])
            assert by[aaclip.DecideBy.SCORE].decide(score, values) is found[0]
            assert by[aaclip.DecideBy.MAP].decide(score, values) is found[1]
            assert by[aaclip.DecideBy.EITHER].decide(score, values) is any(found)
    names: list[Any] = ["map", "either", "both"]
    for name in names[:2]:
        with pytest.raises(ValueError, match="probability: this calibration decides by the map"):
            replace(calibration, decide_by=name).decide(0.5)
    with pytest.raises(ValueError, match="decide_by: expected one of score, map, either"):
        replace(calibration, decide_by=names[2])
    named = aaclip.Calibration.new(decide_by="score", domain="medical", method="f1_max")
    assert named.decide_by is aaclip.DecideBy.SCORE and named.domain is aaclip.Domain.MEDICAL
    assert named.method is aaclip.CalibrationMethod.F1_MAX


def test_either_has_half_of_the_false_alarms_each(detector: aaclip.Detector) -> None:
    scores = np.linspace(0, 1, 100, dtype=np.float32)
    for by, share in (("either", 0.1), ("score", 0.2), ("map", 0.2)):
        made = aaclip.Calibration.from_good(scores, scores, 0.2, by)
        assert made.decide_by is aaclip.DecideBy[by.upper()]
        assert made.image_threshold == aaclip.quantile_threshold(scores, share)
    for rate in (-0.1, 1.0, 1.5, 5, float("nan")):
        with pytest.raises(ValueError, match=f"false_alarm_rate: expected .*, found {rate:g}"):
            aaclip.Calibration.from_good(scores, scores, rate)
        with pytest.raises(ValueError, match="false_alarm_rate: expected"):
            detector.calibrate(["/nowhere"], rate)
    with pytest.raises(ValueError, match="at least one good part, found none"):
        detector.calibrate([], 0.1)
    with pytest.raises(ValueError, match="at least one good part, found none"):
        aaclip.Calibration.from_good([], [], 0.1)
    with pytest.raises(ValueError, match="decide_by: expected one of"):
        aaclip.Calibration.from_good(scores, scores, 0.1, "both")


def test_the_warning_blames_the_caller(detector: aaclip.Detector) -> None:
    with pytest.warns(UserWarning, match="too few to promise") as told:
        by_name = detector.calibrate([PHOTO], 0.2, decide_by="map")
        aaclip.Calibration.from_good([0.5], [0.5], 0.2, "map")
    assert [warning.filename for warning in told] == [__file__] * 2
    assert by_name.decide_by is aaclip.DecideBy.MAP


def test_calibrations_are_also_taken_as_files(
    model: aaclip.Model, adapters: aaclip.Adapters, texts: aaclip.TextCache,
    calibration: aaclip.Calibration, tmp_path: Path,
) -> None:  # fmt: skip
    calibration.save(tmp_path / "c.json")
    calibration = aaclip.Calibration.open(tmp_path / "c.json")  # in float32
    adapters.save(tmp_path / "a.safetensors", calibration=str(tmp_path / "c.json"))
    kept = model.adapters([tmp_path / "a.safetensors"])
    assert kept.calibration == calibration
    results = [
        aaclip.Detector(model, texts, own, image_size=SIZE, calibration=given).detect(PHOTO)
        for own, given in ((adapters, calibration), (adapters, tmp_path / "c.json"), (kept, None))
    ]
    for result in results:
        assert result.mask is not None and result.defective is not None
        assert np.array_equal(result.mask, aaclip.threshold_map(
            result.heat_map(), calibration.map_threshold))  # fmt: skip
    plain = aaclip.Detector(model, texts, adapters, image_size=SIZE)
    assert plain.detect(PHOTO).mask is None
    plain.check_calibration(tmp_path / "c.json")
    wrong: Any = 3
    with pytest.raises(TypeError, match="calibration: expected an aaclip.Calibration or a path"):
        aaclip.Detector(model, texts, adapters, calibration=wrong)


def test_the_mask_is_where_the_regions_are(
    model: aaclip.Model, adapters: aaclip.Adapters, texts: aaclip.TextCache,
    calibration: aaclip.Calibration,
) -> None:  # fmt: skip
    look = np.zeros((31, 47), np.uint8)  # of another size than the photograph
    look[5:25, 8:40] = 1
    detector = aaclip.Detector(
        model, texts, adapters, image_size=SIZE, calibration=calibration, find_regions=True,
        roi=look,
    )  # fmt: skip
    result = detector.detect(PHOTO)
    assert result.mask is not None and result.mask.shape == (150, 225)
    assert (result.mask == 255).sum() == sum(region.area for region in result.regions) > 0
    assert np.array_equal(pickle.loads(pickle.dumps(result)).mask, result.mask)


def test_thresholds_know_what_they_belong_to(
    model: aaclip.Model, adapters: aaclip.Adapters, texts: aaclip.TextCache, tmp_path: Path
) -> None:
    own = aaclip.Detector(model, texts, adapters, image_size=SIZE)
    with pytest.warns(UserWarning, match="3 images are too few to promise"):
        made = own.calibrate([PHOTO] * 3, 0.4, "metal_nut")
    assert made.decide_by == aaclip.DecideBy.EITHER and made.class_name == "metal_nut"
    assert made.image_size == SIZE and made.adapters_fingerprint > 0
    result = own.detect(PHOTO, "metal_nut")
    assert made.image_threshold == np.nextafter(np.float32(result.score), np.float32(2))
    made.save(tmp_path / "c.json")
    assert aaclip.Calibration.open(tmp_path / "c.json") == made
    good = aaclip.Detector(model, texts, adapters, image_size=SIZE, calibration=made)
    assert good.detect(PHOTO, "metal_nut").defective is False
    with pytest.raises(aaclip.MismatchError, match="image_size: expected"):
        aaclip.Detector(model, texts, adapters, image_size=2 * SIZE, calibration=made)
    with pytest.raises(aaclip.MismatchError, match="domain: expected the detector's medical"):
        aaclip.Detector(
            model, texts, adapters, image_size=SIZE, domain="medical", calibration=made
        )
    with pytest.raises(aaclip.MismatchError, match="adapters_fingerprint"):
        other = replace(made, adapters_fingerprint=1)
        aaclip.Detector(model, texts, adapters, image_size=SIZE, calibration=other)
    own.check_calibration(made, "metal_nut")
    with pytest.raises(aaclip.MismatchError, match="class_fingerprint: expected"):
        own.check_calibration(replace(made, class_fingerprint=1), "metal_nut")
    with pytest.raises(aaclip.MismatchError, match="class_name: thresholds are for class 'other', not 'metal_nut'"):
        own.check_calibration(replace(made, class_name="other"), "metal_nut")
    own.set_roi(np.ones((150, 225), bool))
    assert own.calibrate([PHOTO] * 3, 0.4, "metal_nut").decide_by == aaclip.DecideBy.MAP
    with pytest.raises(ValueError, match="class_name: expected at most 127 bytes, found 200"):
        replace(made, class_name="x" * 200).save(tmp_path / "c.json")
