"""Model, adapters, text cache, configuration and messages."""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import threading
from pathlib import Path
from typing import Any, Callable, Iterator

import numpy as np
import pytest
from conftest import ADAPTERS, GOLDEN, NANO, PHOTO, SIZE

import aaclip


def test_model(model: aaclip.Model, tmp_path: Path) -> None:
    info = model.info
    assert (info.image_layers, info.image_width, info.embedding, info.context) == (4, 64, 32, 77)
    assert info.has_text and info.threads == 2 and info.path == str(NANO / "clip.pt")
    assert info.backend in aaclip.backends() and aaclip.backends()["reference"]
    assert model.operation_backend("attention") in aaclip.backends() | {"simd": True}
    assert model.operation_backend("no such thing") is None
    model.save(tmp_path / "clip.safetensors", float16=True)
    with aaclip.Model.open(str(tmp_path / "clip.safetensors"), backend="reference") as again:
        assert again.info.fingerprint == info.fingerprint
        assert again.info.backend == "reference"
        assert "reference f32" in repr(again)
    assert again.closed and repr(again) == "<aaclip.Model, closed>"
    with pytest.raises(ValueError, match="this model is closed"):
        again.info


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"backend": "abacus"}, aaclip.Error, "abacus"),
        (
            {"precision": "f8"},
            ValueError,
            "precision: expected one of f32, bf16, auto, int8, tf32, f16, found 'f8'",
        ),
        ({"precision": 7}, ValueError, "precision"),
        ({"precision": aaclip.Domain.MEDICAL}, ValueError, "precision"),
        ({"threads": "2"}, TypeError, "threads: expected a whole number, found '2'"),
        ({"packed_folder": 3}, TypeError, "packed_folder: expected a path, found int"),
        ({"threads": 100000}, aaclip.InvalidArgumentError, "threads"),
        ({"backend": "a\0b"}, ValueError, "null character"),
    ],
)
def test_bad_options(options: dict[str, Any], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        aaclip.Model.open(NANO / "clip.pt", **options)


def test_errors_carry_status_and_text(model: aaclip.Model, tmp_path: Path) -> None:
    with pytest.raises(aaclip.NotFoundError, match="/nowhere/clip.pt") as caught:
        aaclip.Model.open("/nowhere/clip.pt")
    assert caught.value.status is aaclip.Status.NOT_FOUND
    assert isinstance(caught.value, LookupError) and isinstance(caught.value, FileNotFoundError)
    assert caught.value.filename == "/nowhere/clip.pt" and caught.value.errno == errno.ENOENT
    assert str(caught.value).startswith("/nowhere/clip.pt: No such file")
    missing: list[Callable[[], object]] = [
        lambda: aaclip.Image.open("/nowhere/x"),
        lambda: aaclip.Dataset.open("/nowhere/x"),
        lambda: aaclip.Dataset.open(tmp_path, manifest="/nowhere/x"),
        lambda: aaclip.Calibration.open("/nowhere/x"),
        lambda: model.adapters("/nowhere/x"),
        lambda: aaclip.TextCache.open("/nowhere/x", model),
        lambda: aaclip.TextCache(model, prompts="/nowhere/x"),
    ]
    for call in missing:
        with pytest.raises(FileNotFoundError) as told:
            call()
        assert isinstance(told.value, aaclip.MissingFileError)
        assert told.value.filename == "/nowhere/x"
    with pytest.raises(aaclip.NotFoundError) as of_a_name:
        aaclip.dataset_domain("nothing")
    assert not isinstance(of_a_name.value, OSError)
    for save in (model.save, model.adapters(*ADAPTERS).save, aaclip.TextCache(model).save):
        for name in ("x.pth", "x.PT"):
            with pytest.raises(ValueError, match="expected a name that ends with .safetensors"):
                save(tmp_path / name)
            assert not (tmp_path / name).exists()
    (tmp_path / "cut.pt").write_bytes((NANO / "clip.pt").read_bytes()[:1000])
    with pytest.raises(aaclip.FormatError, match="cut.pt"):
        aaclip.Model.open(tmp_path / "cut.pt")
    other = GOLDEN / "model" / "openai-published" / "image_adapter_20.pth"
    with pytest.raises(aaclip.MismatchError, match="expected 32x64, found 48x64"):
        model.adapters(other)
    with pytest.raises(aaclip.InputOutputError, match="nowhere") as refused:
        model.save("/nowhere/clip.safetensors")
    assert isinstance(refused.value, OSError)
    with pytest.raises(TypeError, match="at least one file"):
        model.adapters()
    with pytest.raises(TypeError, match="paths: expected a path, found int"):
        model.adapters(ADAPTERS[0], 3)  # type: ignore[arg-type]


def test_every_status_has_its_exception() -> None:
    from aaclip import errors

    kinds = {status: type(errors.make(status, "text")) for status in aaclip.Status if status}
    assert len(set(kinds.values())) == len(kinds) == len(aaclip.Status) - 1
    for status, kind in kinds.items():
        assert kind.status is status and issubclass(kind, aaclip.Error)
    newer = errors.make(77, "")
    assert type(newer) is aaclip.Error and int(newer.status) == 77


def test_adapters(model: aaclip.Model, adapters: aaclip.Adapters, tmp_path: Path) -> None:
    assert adapters.has_text and adapters.has_image
    assert adapters.config.profile is aaclip.Profile.DOCUMENT
    only = model.adapters(ADAPTERS[1])
    assert only.has_image and not only.has_text
    assert model.adapters(ADAPTERS).has_text
    assert repr(only) == "<aaclip.Adapters of image, document>"
    config = adapters.config.replace(image_adapter_weight=0.25)
    changed = model.adapters(*ADAPTERS, config=config)
    assert changed.config.image_adapter_weight == 0.25
    published = aaclip.Config.of_profile("published")
    with pytest.raises(aaclip.MismatchError, match="expected linear adapters"):
        model.adapters(*ADAPTERS, config=published)
    for profile in ("published", aaclip.Profile.PUBLISHED):
        with pytest.raises(aaclip.MismatchError, match="expected linear adapters"):
            model.adapters(*ADAPTERS, config=profile)


def test_enumerations_print_as_names() -> None:
    assert str(aaclip.Precision.F32) == f"{aaclip.Precision.F32}" == "f32"
    assert f"{aaclip.DecideBy.EITHER:>8}" == "  either" and "%s" % aaclip.Split.TEST == "test"
    assert f"{aaclip.Precision.BF16:d}" == "1" and int(aaclip.Precision.BF16) == 1
    assert json.dumps(aaclip.Precision.BF16) == "1"


def test_usual_names_of_precisions() -> None:
    from aaclip._enums import Precision, Profile, member

    for name, kind in (("fp32", "F32"), ("float32", "F32"), ("FP16", "F16"), ("half", "F16"),
                       ("float16", "F16"), ("bfloat16", "BF16")):  # fmt: skip
        assert member(Precision, name, "precision") is Precision[kind]
    with pytest.raises(ValueError, match="profile"):
        member(Profile, "fp32", "profile")


def test_config() -> None:
    document = aaclip.Config.of_profile("document")
    published = aaclip.Config.of_profile(aaclip.Profile.PUBLISHED)
    assert document != published and document.levels == ()
    again = aaclip.Config._read(published.replace(levels=(1, 3))._write())
    assert again == published.replace(levels=(1, 3))
    assert hash(again) == hash(published.replace(levels=(1, 3)))
    with pytest.raises(ValueError, match="at most 8"):
        document.replace(levels=range(9))._write()
    for wrong in ({"levels": (-1,)}, {"image_adapter_layers": -1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            document.replace(**wrong)._write()
    with pytest.raises(ValueError, match="image_mean: expected 3"):
        document.replace(image_mean=(0.5,))._write()


def test_memory_of_a_device() -> None:
    assert aaclip.device_memory("reference") == 0 == aaclip.device_memory("nothing")
    with pytest.raises(aaclip.UnsupportedError, match="no memory of its own"):
        aaclip.limit_device_memory("reference", 1 << 30)
    with pytest.raises(aaclip.NotFoundError):
        aaclip.limit_device_memory("nothing", 0)
    with pytest.raises(ValueError, match="size"):
        aaclip.limit_device_memory("reference", -1)


@pytest.fixture
def usual_limits() -> Iterator[dict[str, int]]:
    yield aaclip.limits()
    aaclip.set_limits()


def test_limits(usual_limits: dict[str, int]) -> None:
    assert usual_limits == {
        "image_pixels": 178_956_970,
        "checkpoint_bytes": 2**64 - 1,
        "tensors": 2**18,
        "prompt_bytes": 16384,
        "prompts": 16384,
        "memory_bytes": 2**64 - 1,
    }
    pixels = aaclip.Image.open(PHOTO).array[:, :, 0].size
    aaclip.set_limits(image_pixels=pixels)
    assert aaclip.limits() == {**usual_limits, "image_pixels": pixels}
    aaclip.Image.open(PHOTO)
    aaclip.set_limits(image_pixels=pixels - 1)
    told = "chelsea.png: expected at most .*aaclip.set_limits"
    with pytest.raises(aaclip.UnsupportedError, match=told):
        aaclip.Image.open(PHOTO)
    size = (NANO / "clip.pt").stat().st_size
    aaclip.set_limits(checkpoint_bytes=size - 1)
    with pytest.raises(aaclip.UnsupportedError, match=f"expected at most {size - 1} bytes"):
        aaclip.Model.open(NANO / "clip.pt")
    aaclip.set_limits(checkpoint_bytes=size)
    aaclip.Model.open(NANO / "clip.pt").close()
    aaclip.set_limits(tensors=2)
    with pytest.raises(aaclip.UnsupportedError, match="at most 2 tensors"):
        aaclip.Model.open(NANO / "clip.pt")
    aaclip.set_limits(memory_bytes=1)
    with pytest.raises(aaclip.OutOfMemoryError, match="at most 1 bytes"):
        aaclip.Image.open(PHOTO)
    for wrong in (-1, 0, 2**64):
        with pytest.raises(ValueError, match="prompts"):
            aaclip.set_limits(prompts=wrong)
    assert aaclip.limits()["memory_bytes"] == 1  # as it was
    aaclip.set_limits()
    assert aaclip.limits() == usual_limits


def test_limits_of_prompts(
    usual_limits: dict[str, int], model: aaclip.Model, tmp_path: Path
) -> None:
    file = tmp_path / "prompts.json"
    file.write_text(
        '{"normal": ["{}", "a {}"], "abnormal": ["bad {}"], "templates": ["{}", "my {}"]}'
    )
    aaclip.set_limits(prompts=4, prompt_bytes=10)
    with aaclip.TextCache(model, prompts=file) as texts:
        texts.build(["nut"])  # "my bad nut"
        aaclip.set_limits(prompt_bytes=9)
        with pytest.raises(aaclip.InvalidArgumentError, match="at most 9 bytes, found 10"):
            texts.build(["nut"])
    aaclip.set_limits(prompts=3)
    with pytest.raises(aaclip.FormatError, match="prompts.json: expected at most 3 prompts"):
        aaclip.TextCache(model, prompts=file)


def test_known_datasets() -> None:
    known = aaclip.known_datasets()
    assert "metal_nut" in known["MVTec"] and len(known["MVTec"]) == 15
    assert aaclip.class_phrase("metal_nut") == "metal nut"
    assert aaclip.class_phrase("metal_nut", "MVTec").startswith("metal nut ")
    assert aaclip.dataset_domain("mvtec") is aaclip.Domain.INDUSTRIAL
    assert {aaclip.dataset_domain(name) for name in known} == set(aaclip.Domain)
    with pytest.raises(aaclip.NotFoundError, match="MVTec"):
        aaclip.dataset_domain("nothing")


def test_cache_is_a_mapping(model: aaclip.Model, adapters: aaclip.Adapters) -> None:
    texts = aaclip.TextCache(model, adapters)
    assert len(texts) == 0 and list(texts) == []
    texts.build({"nut": "metal nut"})
    texts.build("cat")
    texts.build(name for name in ("a_b", "cat"))
    assert list(texts) == ["nut", "cat", "a_b"] and "nut" in texts and "dog" not in texts
    assert 3 not in texts  # type: ignore[comparison-overlap]
    with pytest.raises(KeyError, match="dog") as missing:
        texts["dog"]
    assert isinstance(missing.value.__cause__, aaclip.NotFoundError)
    assert texts.get("dog") is None
    pair = texts["nut"]
    assert pair.normal.shape == pair.abnormal.shape == (32,)
    assert not np.array_equal(pair.normal, pair.abnormal)
    texts["copy"] = pair
    assert np.array_equal(texts["copy"].abnormal, pair.abnormal)
    texts["copy"] = [0.5] * 32, np.ones(32)
    assert texts["copy"].normal.tolist() == [0.5] * 32 and len(texts) == 4
    assert set(dict(texts)) == {"nut", "cat", "a_b", "copy"}
    with pytest.raises(ValueError, match="'copy': expected an abnormal vector with"):
        texts["copy"] = np.ones(32), np.zeros(32)
    with pytest.raises(ValueError, match=r"expected shape \(32,\), found \(3,\)"):
        texts["copy"] = np.zeros(3), np.zeros(3)
    with pytest.raises(TypeError, match="class name: expected a str"):
        texts.build([3])  # type: ignore[list-item]
    assert hash(texts) != hash(aaclip.TextCache(model)) and texts == texts
    texts["encoded"] = texts.encode("a good nut"), texts.encode("a bad nut")
    assert np.array_equal(texts["encoded"].normal, texts.encode("a good nut")[0])
    texts.build([])
    texts.build("schön \u00e9 \U0001f600")
    assert "schön \u00e9 \U0001f600" in texts


def test_prompts_are_combined_as_documented(
    model: aaclip.Model, adapters: aaclip.Adapters, tmp_path: Path
) -> None:
    """A prompt set of one prompt a side: the pair is what `encode` gives."""
    prompts = '{"normal": ["good {}"], "abnormal": ["broken {}"], "templates": ["a {}."]}'
    (tmp_path / "prompts.json").write_text(prompts)
    texts = aaclip.TextCache(model, adapters, prompts=tmp_path / "prompts.json")
    texts.build({"x": "nut"})
    given = aaclip.TextCache(model, adapters, prompts=json.loads(prompts))
    given.build({"x": "nut"})
    assert np.array_equal(given["x"], texts["x"])
    with pytest.raises(TypeError, match="prompts: expected a path, found list"):
        aaclip.TextCache(model, prompts=["good {}"])  # type: ignore[arg-type]
    rows = texts.encode(["a good nut.", "a broken nut."])
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    for row, vector in zip(rows, texts["x"]):
        assert np.allclose(row, vector / np.linalg.norm(vector), atol=1e-5)
    assert np.allclose(texts.encode("a good nut."), rows[:1], atol=1e-5)
    ids = texts.tokenize("a good nut.")
    assert (ids[0], ids[-1]) == (model.info.vocabulary - 2, model.info.vocabulary - 1)
    long = "nut " * 100
    with pytest.raises(aaclip.InvalidArgumentError):
        texts.tokenize(long)
    cut = aaclip.TextCache(model, adapters, truncate=True)
    assert len(cut.tokenize(long)) == 77


def test_cache_files(
    model: aaclip.Model, adapters: aaclip.Adapters, texts: aaclip.TextCache, tmp_path: Path
) -> None:
    texts.save(tmp_path / "t.safetensors")
    again = aaclip.TextCache.open(tmp_path / "t.safetensors", model, adapters)
    assert np.array_equal(again["metal_nut"], texts["metal_nut"])
    with pytest.raises(aaclip.MismatchError, match="different text adapters"):
        aaclip.TextCache.open(tmp_path / "t.safetensors", model)
    with pytest.raises(aaclip.NotFoundError, match="nowhere"):
        aaclip.TextCache(model, adapters, vocabulary="/nowhere").build(["a"])


def test_bundle(
    model: aaclip.Model, adapters: aaclip.Adapters, texts: aaclip.TextCache,
    detector: aaclip.Detector, tmp_path: Path,
) -> None:  # fmt: skip
    path = tmp_path / "bundle.safetensors"
    aaclip.save_bundle(path, model, texts, adapters)
    with aaclip.Model.open(path, threads=2) as bundle:
        assert not bundle.info.has_text
        adapted = bundle.adapters(path)
        known = aaclip.TextCache.open(path, bundle, adapted)
        again = aaclip.Detector(bundle, known, adapted, image_size=SIZE)
        assert np.array_equal(again.detect(PHOTO).map, detector.detect(PHOTO).map)
        with pytest.raises(aaclip.UnsupportedError, match="no text tower"):
            known.build(["screw"])
    aaclip.verify_file(path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    (tmp_path / "copy.safetensors").write_bytes(data)
    with pytest.raises(aaclip.FormatError, match="copy.safetensors: damaged"):
        aaclip.verify_file(tmp_path / "copy.safetensors")


def test_progress_counts_cancels_and_raises(
    model: aaclip.Model, adapters: aaclip.Adapters
) -> None:
    texts = aaclip.TextCache(model, adapters)
    heard: list[tuple[int, int]] = []
    names = [f"thing {i}" for i in range(20)]  # more prompts than are encoded at once
    texts.build(names, progress=lambda done, total: heard.append((done, total)))
    assert heard[0][0] == 0 and heard[-1][0] == heard[-1][1] and len(heard) > 2
    with pytest.raises(aaclip.CancelledError, match="cancelled"):
        texts.build(["c"], progress=lambda done, total: False)

    def fail(done: int, total: int) -> None:
        raise ZeroDivisionError("of the user")

    with pytest.raises(ZeroDivisionError, match="of the user"):
        texts.build(["c"], progress=fail)

    def endless(done: int, total: int) -> None:
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        while True:
            pass

    with pytest.raises(KeyboardInterrupt):
        texts.build(["c"], progress=endless)

    def uses_the_cache(done: int, total: int) -> None:
        len(texts)

    with pytest.raises(RuntimeError, match="must not use"):
        texts.build(["c"], progress=uses_the_cache)
    assert list(texts) == names
    texts.build(["c"])
    assert len(heard) == len(set(heard)) and "c" in texts


def test_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[tuple[aaclip.LogLevel, str]] = []
    try:
        aaclip.set_log(lambda level, text: heard.append((level, text)), "debug")
        aaclip.Model.open(NANO / "clip.pt").close()
        assert heard and all(isinstance(level, aaclip.LogLevel) and text for level, text in heard)
        aaclip.log_to(level="debug")
        with caplog.at_level(logging.DEBUG, "aaclip"):
            aaclip.Model.open(NANO / "clip.pt").close()
        assert {record.getMessage() for record in caplog.records} == {text for _, text in heard}
        caplog.clear()
        for name, level, number in (("mine", logging.DEBUG, 1), ("mine", logging.CRITICAL, 0)):
            aaclip.log_to(name, level)
            with caplog.at_level(logging.DEBUG, "mine"):
                aaclip.Model.open(NANO / "clip.pt").close()
            assert bool([r for r in caplog.records if r.name == "mine"]) == bool(number)
            caplog.clear()
        with pytest.raises(TypeError, match="logger: expected a logger or its name, found int"):
            aaclip.log_to(3)  # type: ignore[arg-type]
        count = len(heard)
        aaclip.set_log(None)
        aaclip.Model.open(NANO / "clip.pt").close()
        assert len(heard) == count
    finally:
        aaclip.set_log(None)


def test_log_function_that_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr("sys.unraisablehook", lambda what: told.append(str(what.exc_value)))

    def fail(level: aaclip.LogLevel, text: str) -> None:
        raise ZeroDivisionError("in the log")

    try:
        aaclip.set_log(fail, "debug")
        aaclip.Model.open(NANO / "clip.pt").close()
    finally:
        aaclip.set_log(None)
    assert told and set(told) == {"in the log"}
