"""Detection: the numbers of the C program and of PyTorch, every kind of image, batches, folders."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path
from typing import Any, Iterator

import numpy as np
import numpy.typing as npt
import pytest
from conftest import ADAPTERS, GOLDEN, NANO, PHOTO, SIZE, run_program
from PIL import Image as Pillow

import aaclip

CASES = json.loads((GOLDEN / "model" / "manifest.json").read_text())
CASES = CASES["cases"] if isinstance(CASES, dict) else CASES


def read_safetensors(path: Path) -> dict[str, npt.NDArray[np.float32]]:
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = (8 + length + offset for offset in entry["data_offsets"])
            assert entry["dtype"] == "F32", name
            tensors[name] = np.frombuffer(data[begin:end], "<f4").reshape(entry["shape"])
    return tensors


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_pytorch_computed_the_same(case: dict[str, Any]) -> None:
    folder = GOLDEN / "model" / case["name"]
    checkpoint = folder / "clip.pt"
    model = aaclip.Model.open(checkpoint if checkpoint.exists() else folder / "clip", threads=2)
    expected = read_safetensors(folder / "expected.safetensors")
    files = sorted(folder.glob("*_adapter*.pth"))
    adapters = model.adapters(*files) if files else None
    config = aaclip.Config.of_profile(case["profile"]).replace(
        levels=tuple(case["levels"]), activation=case["activation"]
    )
    texts = aaclip.TextCache(model, adapters, config=config)
    normal, abnormal = expected["text.pair"]
    texts["it"] = normal, abnormal
    detector = aaclip.Detector(
        model, texts, adapters, config=config, domain=case["domain"],
        image_size=case["image_size"], keep_features=True,
    )  # fmt: skip
    result = detector.detect(folder / "image.png")
    largest = np.abs(expected["map"]).max()
    assert np.abs(result.map - expected["map"]).max() <= 2e-4 * largest
    assert result.score == pytest.approx(float(expected["score"]), abs=2e-5)
    assert result.detection_feature is not None and result.patch_features is not None
    assert np.abs(result.detection_feature - expected["det_token"]).max() <= 2e-4
    tokens = np.stack([expected[f"seg_tokens.{level}"] for level in case["levels"]])
    found = result.patch_features.reshape(tokens.shape)
    assert np.abs(found - tokens).max() <= 2e-4


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """What aaclip-detect reports for the photograph, and the folder of its files."""
    out = tmp_path_factory.mktemp("program")
    options = [word for path in ADAPTERS for word in ("--adapters", path)]
    run_program(
        "aaclip-detect", "--model", NANO / "clip.pt", *options, "--class", "metal_nut",
        "--dataset", "MVTec", "--image-size", SIZE, "--threads", 2, "--raw", "--out", out,
        "--json", out / "report.json", PHOTO,
    )  # fmt: skip
    return json.loads((out / "report.json").read_text())["images"][0], out


def test_program_computed_the_same(
    detector: aaclip.Detector, program: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    report, out = program
    result = detector.detect(PHOTO)
    assert np.array_equal(result.map, np.load(out / "chelsea_map.npy"))
    assert np.float32(report["score"]) == np.float32(result.score)
    assert result.size == (report["width"], report["height"])
    assert np.float32(report["map_maximum"]) == result.map.max()
    result.save_map(tmp_path / "map.png")
    result.save_map(tmp_path / "map.npy")
    result.save_overlay(tmp_path / "overlay.png")
    for name, theirs in (("map.png", "chelsea_map.png"), ("overlay.png", "chelsea_overlay.png")):
        assert (tmp_path / name).read_bytes() == (out / theirs).read_bytes()
    assert np.array_equal(np.load(tmp_path / "map.npy"), result.map)
    with pytest.raises(ValueError, match="npy or .png"):
        result.save_map(tmp_path / "map.tiff")


@pytest.fixture(scope="module")
def photo() -> npt.NDArray[np.uint8]:
    return np.asarray(Pillow.open(PHOTO).convert("RGB"))


def gaps(rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The same pixels inside a larger array."""
    height, width, channels = rows.shape
    larger = np.full((height + 2, width + 7, channels), 77, rows.dtype)
    larger[1 : height + 1, 3 : width + 3] = rows
    return larger[1 : height + 1, 3 : width + 3]


def test_every_source_gives_the_same_bits(
    detector: aaclip.Detector, photo: npt.NDArray[np.uint8]
) -> None:
    expected = detector.detect(PHOTO)
    wide = photo.astype(np.uint16) * 256 + 99
    alpha = np.full((*photo.shape[:2], 1), 128, np.uint8)
    fortran = np.asfortranarray(photo)
    with aaclip.Image.open(PHOTO) as opened:
        sources: list[tuple[aaclip.ImageLike, str]] = [
            (str(PHOTO), "RGB"),
            (opened, "RGB"),
            (Pillow.open(PHOTO), "RGB"),
            (Pillow.open(PHOTO).convert("RGBA"), "RGB"),
            (photo, "RGB"),
            (gaps(photo), "RGB"),
            (photo[::-1][::-1], "RGB"),
            (fortran, "RGB"),
            (np.ascontiguousarray(photo[:, :, ::-1]), "BGR"),
            (photo[:, :, ::-1], "BGR"),
            (np.concatenate([photo, alpha], 2), "RGB"),
            (gaps(np.concatenate([photo[:, :, ::-1], alpha], 2)), "BGR"),
            (wide, "RGB"),
            (wide.astype(">u2"), "RGB"),
            (np.concatenate([wide, wide[:, :, :1]], 2), "RGB"),
            (np.ascontiguousarray(wide[:, :, ::-1]), "bgr"),
        ]
        for source, order in sources:
            result = detector.detect(source, "metal_nut", order=order)
            assert np.array_equal(result.map, expected.map), (type(source), order)
            assert result.score == expected.score


def test_grey_and_upside_down(detector: aaclip.Detector, photo: npt.NDArray[np.uint8]) -> None:
    grey = photo[:, :, 1]
    expected = detector.detect(np.repeat(grey[:, :, np.newaxis], 3, 2))
    assert not grey.flags["C_CONTIGUOUS"]
    wide = grey.astype(np.uint16) * 256
    for source in (grey, np.ascontiguousarray(grey), grey[:, :, np.newaxis], wide,
                   Pillow.fromarray(np.ascontiguousarray(grey))):  # fmt: skip
        assert np.array_equal(detector.detect(source).map, expected.map)
    flipped = detector.detect(photo[::-1])
    assert np.array_equal(flipped.map, detector.detect(photo[::-1].copy()).map)
    assert not np.array_equal(flipped.map, detector.detect(photo).map)


def test_arrays_are_read_in_place(photo: npt.NDArray[np.uint8]) -> None:
    from aaclip.images import view_of_array

    for array in (photo, gaps(photo), photo[10:20], photo[:, 5:9], photo[::2], photo[:1]):
        view, kept = view_of_array(array, "RGB")
        assert view.pixels == array.ctypes.data
        assert np.shares_memory(kept, array)
    for array in (photo[:, ::2], photo[::-1], photo[:, :, ::-1], np.asfortranarray(photo),
                  np.broadcast_to(photo[:1], photo.shape)):  # fmt: skip
        view, kept = view_of_array(array, "RGB")
        assert not np.shares_memory(kept, array)
        assert np.array_equal(kept, array)


class Tensor:
    """As PyTorch has them."""

    def permute(self, *order: int) -> Tensor:
        return self


@pytest.mark.parametrize(
    ("source", "kind", "text"),
    [
        (np.zeros((4, 4, 3)), TypeError, "uint8 or uint16, found float64"),
        (np.zeros((4, 4), bool), TypeError, "found bool"),
        (np.zeros((4, 4, 2), np.uint8), ValueError, r"found \(4, 4, 2\)"),
        (np.zeros(4, np.uint8), ValueError, r"found \(4,\)"),
        (np.zeros((0, 4, 3), np.uint8), ValueError, "expected pixels"),
        (np.ma.zeros((4, 4, 3), np.uint8), TypeError, "image: expected an array without a mask"),
        (3, TypeError, "found int"),
        (np.zeros((3, 9, 9), np.uint8), ValueError, r"x.transpose\(1, 2, 0\)"),
        (np.zeros((4, 4, 3), np.float32), TypeError, r"\(x \* 255\).round\(\)"),
        (np.zeros((2, 4, 4, 3), np.uint8), ValueError, "detect_batch"),
        (Tensor(), TypeError, r"found Tensor.*permute\(1, 2, 0\).numpy"),
        ("/nowhere/x.png", aaclip.NotFoundError, "/nowhere/x.png"),
        ("a\0b.png", ValueError, "null character"),
        (GOLDEN / "images" / "other.gif", aaclip.UnsupportedError, "other.gif"),
    ],
)
def test_bad_images(
    detector: aaclip.Detector, source: object, kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind, match=text):
        detector.detect(source)  # type: ignore[arg-type]
    assert detector.detect(PHOTO).map.shape == (SIZE, SIZE)  # and works again


def test_bad_calls(
    model: aaclip.Model, adapters: aaclip.Adapters, texts: aaclip.TextCache,
    detector: aaclip.Detector,
) -> None:  # fmt: skip
    with pytest.raises(aaclip.NotFoundError, match="screw"):
        detector.detect(PHOTO, "screw")
    with pytest.raises(ValueError, match="'RGB' or 'BGR'"):
        detector.detect(np.zeros((4, 4, 3), np.uint8), order="HSV")
    with pytest.raises(aaclip.InvalidArgumentError, match="multiple of the patch"):
        aaclip.Detector(model, texts, adapters, image_size=100)
    with pytest.raises(ValueError, match="image_size: 4294967408 is outside"):
        aaclip.Detector(model, texts, adapters, image_size=(1 << 32) + SIZE)
    with pytest.raises(ValueError, match="image_size: 4294967408 is outside"):
        wide: Any = np.int64((1 << 32) + SIZE)
        aaclip.Detector(model, texts, adapters, image_size=wide)
    wrong: Any
    for wrong, text in (
        ({"image_size": (128, 128)}, r"image_size: expected a whole number, found \(128, 128\)"),
        ({"tile_overlap": "0.5"}, "tile_overlap: expected a number, found '0.5'"),
        ({"config": 3}, "config: expected an aaclip.Config or a profile, found int"),
    ):
        with pytest.raises(TypeError, match=text):
            aaclip.Detector(model, texts, adapters, **wrong)
    with pytest.raises(TypeError, match=r"width: expected a whole number, found \(225, 150\)"):
        result = detector.detect(PHOTO)
        result.heat_map(result.size)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="domain: expected one of industrial, medical"):
        aaclip.Detector(model, texts, adapters, domain="space")
    told = "^find_regions: needs a calibration.*Calibration.open"
    with pytest.raises(aaclip.InvalidArgumentError, match=told):
        aaclip.Detector(model, texts, adapters, find_regions=True)
    with pytest.raises(TypeError, match="list of images"):
        detector.detect_batch(str(PHOTO))
    with pytest.raises(ValueError, match="class_names: expected 1, found 2"):
        detector.detect_batch([PHOTO], ["metal_nut", "metal_nut"])
    with pytest.raises(ValueError, match="batch_size"):
        list(detector.detect_many([PHOTO], batch_size=0))


@pytest.mark.parametrize("single", [str(PHOTO), PHOTO, np.zeros((4, 4, 3), np.uint8),
                                    np.zeros((4, 4), np.uint8), Pillow.new("L", (4, 4))])  # fmt: skip
def test_one_image_is_not_several(detector: aaclip.Detector, single: Any) -> None:
    with pytest.raises(TypeError, match="images: expected a list of images, found"):
        detector.detect_many(single)
    with pytest.raises(TypeError, match="images: expected a list of images, found"):
        detector.detect_batch(single)
    with pytest.raises(TypeError, match="good: expected a list of images, found"):
        detector.calibrate(single, 0.3)


def test_class_may_be_left_out_when_there_is_one(
    model: aaclip.Model, adapters: aaclip.Adapters
) -> None:
    texts = aaclip.TextCache(model, adapters)
    detector = aaclip.Detector(model, texts, adapters, image_size=SIZE)
    with pytest.raises(ValueError, match=r"class_name: .* none was built.*TextCache.open"):
        detector.detect(PHOTO)
    texts.build({"a": "wood"})
    assert detector.detect(PHOTO).class_name == "a"
    texts.build({"b": "leather"})
    with pytest.raises(ValueError, match=r"\['a', 'b'\]"):
        detector.detect(PHOTO)


def test_a_detector_outlives_its_texts(model: aaclip.Model, adapters: aaclip.Adapters) -> None:
    with aaclip.TextCache(model, adapters) as texts:
        texts.build({"a": "wood"})
        detector = aaclip.Detector(model, texts, adapters, image_size=SIZE)
        expected = detector.detect(PHOTO).score
    assert detector.detect(PHOTO).score == expected


def test_batches(detector: aaclip.Detector, photo: npt.NDArray[np.uint8]) -> None:
    images: list[aaclip.ImageLike] = [
        PHOTO, photo[10:90], photo[:, 20:], Pillow.open(PHOTO), photo[::2]
    ]  # fmt: skip
    alone = [detector.detect(image) for image in images]
    for results in (
        detector.detect_batch(images, "metal_nut"),
        detector.detect_batch(images, ["metal_nut"] * 5),
        list(detector.detect_many(iter(images), batch_size=2)),
        list(detector.detect_many(iter(images))),
    ):
        assert len(results) == 5
        for one, other in zip(alone, results):
            assert np.array_equal(one.map, other.map)
            assert (one.score, one.size) == (other.score, other.size)
    assert detector.detect_batch([]) == []
    stacked = np.stack([photo[:20, :30], photo[30:50, :30]])
    for one, row in zip(detector.detect_batch(stacked), stacked):
        assert np.array_equal(one.map, detector.detect(row).map)
    with pytest.raises(TypeError, match="batch_size: expected a whole number, found '2'"):
        detector.detect_many(images, batch_size="2")  # type: ignore[arg-type]
    assert len({result.score for result in alone}) > 2


def test_many_are_detected_as_they_are_asked_for(detector: aaclip.Detector) -> None:
    asked = []

    def images() -> Iterator[Path]:
        for i in range(4):
            asked.append(i)
            yield PHOTO

    results = detector.detect_many(images())
    assert asked == []
    next(results)
    assert asked == [0]


def test_folder(detector: aaclip.Detector, tmp_path: Path) -> None:
    for name in ("b.JPG", "a.jpeg", "c.png"):
        shutil.copy(PHOTO, tmp_path / name)
    (tmp_path / "notes.txt").write_text("not an image")
    found = list(detector.detect_folder(tmp_path))
    assert [Path(r.path or "").name for r in found] == ["a.jpeg", "b.JPG", "c.png"]
    assert len({r.score for r in found}) == 1
    (tmp_path / "b.JPG").write_bytes(PHOTO.read_bytes()[:5000])
    with pytest.raises(aaclip.FormatError, match="b.JPG"):
        list(detector.detect_folder(tmp_path))
    told: list[tuple[str, aaclip.Error]] = []
    found = list(detector.detect_folder(tmp_path, on_error=lambda p, error: told.append((p, error))))
    assert [Path(r.path or "").name for r in found] == ["a.jpeg", "c.png"]
    assert [Path(p).name for p, _ in told] == ["b.JPG"]
    by_threes = detector.detect_folder(
        tmp_path, on_error=lambda p, error: told.append((p, error)), batch_size=3
    )
    assert [r.score for r in by_threes] == [r.score for r in found] and len(told) == 2
    assert isinstance(told[0][1], aaclip.FormatError)
    (tmp_path / "empty").mkdir()
    with pytest.raises(aaclip.FormatError, match="empty: expected images"):
        next(detector.detect_folder(tmp_path / "empty"))
