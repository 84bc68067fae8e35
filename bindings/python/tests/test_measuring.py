"""Data sets and metrics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ADAPTERS, GOLDEN, NANO, PHOTO, run_program
from PIL import Image as Pillow

import aaclip

TRAIN = GOLDEN / "train"


@pytest.fixture
def mvtec(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    for name in ("nut", "wood"):
        for folder in ("train/good", "test/good", "test/hole", "ground_truth/hole"):
            (root / name / folder).mkdir(parents=True)
        for i in range(3):
            for folder in ("train/good", "test/good", "test/hole"):
                Pillow.new("RGB", (8, 8)).save(root / name / folder / f"{i:03}.png")
            Pillow.new("L", (8, 8), 255).save(root / name / "ground_truth/hole" / f"{i:03}_mask.png")
    return root


def test_layouts_and_splits(mvtec: Path) -> None:
    with aaclip.Dataset.open(mvtec) as whole:
        assert len(whole) == 18 and whole.classes == ("nut", "wood")
        assert len(aaclip.Dataset.open(mvtec, layout="mvtec")) == 18
        assert whole.class_size("nut", 1) == 3 and whole.class_size("wood", 0) == 6
        assert whole.class_size("nut", None) == 0
        with pytest.raises(KeyError, match="'nope'"):
            whole.class_size("nope", 0)
        for label in (-1, 7):
            with pytest.raises(ValueError, match=f"label: expected 0, 1 or None, found {label}"):
                whole.class_size("nut", label)
    assert whole.closed
    with pytest.raises(ValueError, match="this data set is closed"):
        len(whole)
    tested = aaclip.Dataset.open(str(mvtec), split="test", classes=["wood"])
    assert len(tested) == 6 and {s.class_name for s in tested} == {"wood"}
    bad = [s for s in tested if s.label == 1]
    assert [Path(s.mask_path or "").name for s in bad] == [f"{i:03}_mask.png" for i in range(3)]
    assert {s.defect for s in bad} == {"hole"}
    assert all(s.mask_path is None for s in tested if s.label == 0)
    assert tested[-1] == list(tested)[5] == tested[5] and tested[1:3] == list(tested)[1:3]
    for index in (6, -7):
        with pytest.raises(IndexError, match=f"sample {index} of 6"):
            tested[index]
    ignored = aaclip.Dataset.open(mvtec, masks=aaclip.Masks.IGNORED)
    assert not any(s.mask_path for s in ignored)
    folder = aaclip.Dataset.open(mvtec / "nut/test/hole", layout="folder", class_name="bolt")
    assert {(s.label, s.class_name) for s in folder} == {(None, "bolt")}
    with pytest.raises(aaclip.NotFoundError, match="screw"):
        aaclip.Dataset.open(mvtec, classes=["screw"])
    assert len(aaclip.Dataset.open(mvtec, classes="wood", split="test")) == 6
    with pytest.raises(TypeError, match="classes: expected a str, found int"):
        aaclip.Dataset.open(mvtec, classes=[3])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="classes: expected at least one"):
        aaclip.Dataset.open(mvtec, classes=[])
    with pytest.raises(ValueError, match="split: expected one of all, train, validation, test"):
        aaclip.Dataset.open(mvtec, split="half")


def test_manifest_and_shots(mvtec: Path, tmp_path: Path) -> None:
    whole = aaclip.Dataset.open(mvtec)
    drawn = whole.sample(1, seed=3)
    assert len(drawn) == 4 and set(drawn) <= set(whole)
    assert list(whole.sample(1, seed=3)) == list(drawn)
    drawn.save_manifest(tmp_path / "few.jsonl")
    again = aaclip.Dataset.open(mvtec, manifest=tmp_path / "few.jsonl")
    assert [s.image_path for s in again] == [s.image_path for s in drawn]
    with pytest.raises(aaclip.InvalidArgumentError):
        whole.sample(0, 1)
    for shots, seed in ((-1, 1), (1, -1), (1, 1 << 64)):
        with pytest.raises(ValueError, match="expected 0 to"):
            whole.sample(shots, seed)
    (tmp_path / "broken.jsonl").write_text("{\n")
    with pytest.raises(aaclip.FormatError, match="broken.jsonl:1"):
        aaclip.Dataset.open(tmp_path / "broken.jsonl")


def test_manifests_stay_below_their_root(mvtec: Path, tmp_path: Path) -> None:
    sample = aaclip.Dataset.open(mvtec)[0]
    line = {"image_path": sample.image_path, "label": 0, "class_name": "c"}
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "list.jsonl").write_text(json.dumps(line))
    with pytest.raises(aaclip.FormatError, match="expected a file under"):
        aaclip.Dataset.open(tmp_path / "lists" / "list.jsonl")
    assert len(aaclip.Dataset.open(tmp_path / "lists" / "list.jsonl", outside_paths=True)) == 1


def test_names_that_are_no_utf_8(tmp_path: Path) -> None:
    folder = tmp_path / b"caf\xe9 \xff".decode("utf-8", "surrogateescape")
    folder.mkdir()
    (folder / "a.png").write_bytes(PHOTO.read_bytes())
    found = aaclip.Dataset.open(folder, layout="folder")
    assert Path(found[0].image_path) == folder / "a.png"
    assert found[0].class_name == folder.name
    assert aaclip.Image.open(found[0].image_path).size == (225, 150)


def brute_auroc(scores: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> float:
    """The fraction of pairs in the right order."""
    bad, good = scores[labels == 1], scores[labels == 0]
    above = (bad[:, None] > good).mean()
    return float(above + 0.5 * (bad[:, None] == good).mean())


def filled(count: int = 12, **options: Any) -> tuple[aaclip.Metrics, list[Any]]:
    random = np.random.default_rng(5)
    metrics = aaclip.Metrics(**options)
    rows = []
    for i in range(count):
        mask = np.zeros((20, 24), bool)
        mask[4:9, 5:15] = i % 2
        values = random.normal(size=mask.shape).astype(np.float32) + mask
        score, label = float(np.float32(random.normal() + i % 2)), i % 2
        metrics.add("nut", score, label, values, mask)
        rows.append((score, label, values, mask))
    return metrics, rows


def test_metrics_by_brute_force() -> None:
    metrics, rows = filled()
    found = metrics.compute("nut")
    scores, labels = (np.array([row[i] for row in rows]) for i in (0, 1))
    assert found.image_auroc == pytest.approx(brute_auroc(scores, labels))
    pixels = np.concatenate([row[2].ravel() for row in rows])
    marks = np.concatenate([row[3].ravel() for row in rows]).astype(int)
    assert found.pixel_auroc == pytest.approx(brute_auroc(pixels, marks))
    assert (found.images, found.normal_images, found.abnormal_images) == (12, 6, 6)
    assert (found.regions, found.abnormal_pixels) == (6, 300)
    assert metrics.classes == ("nut",) and "nut" in repr(metrics)
    mean = metrics.compute()
    assert mean.image_auroc == found.image_auroc and np.isnan(mean.image_f1_threshold)
    f1 = aaclip.f1_threshold(scores, labels)
    below = max(score for score in scores if score < found.image_f1_threshold)
    middle = (found.image_f1_threshold + below) / 2
    assert (middle, found.image_f1_max) == pytest.approx(f1)
    with pytest.raises(KeyError, match="screw"):
        metrics.compute("screw")


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """Two classes, one of 12-bit scans; masks of half the size, with dark blue at their edge."""
    root, random = tmp_path / "parts", np.random.default_rng(3)
    for name, high in (("nut", 256), ("scan", 4096)):
        for kind in ("good", "hole"):
            (root / name / "test" / kind).mkdir(parents=True)
            (root / name / "ground_truth" / kind).mkdir(parents=True)
            for i in range(3):
                pixels = random.integers(high // 4, high // 2, (90, 120 + i))
                pixels[20:50, 30:70] += (kind == "hole") * high // 3
                file = root / name / "test" / kind / f"{i:03}.png"
                if high == 256:
                    Pillow.fromarray(pixels.astype(np.uint8)).save(file)
                else:
                    aaclip.write_png16(file, pixels / 65535)
                marks = np.zeros((45, 60, 3), np.uint8)
                marks[10:25, 15:35] = 255
                marks[25, 15:35] = 0, 0, 5 * i  # of which (0, 0, 5) becomes grey 1, less black
                if kind == "hole":
                    file = root / name / "ground_truth" / "hole" / f"{i:03}_mask.png"
                    Pillow.fromarray(marks).save(file)
    return root


@pytest.mark.parametrize("options", [{}, {"domain": "medical", "tile": 64}, {"mode": "histogram"}])
def test_evaluate_is_the_program(
    parts: Path, tmp_path: Path, model: aaclip.Model, adapters: aaclip.Adapters, options: Any
) -> None:
    mode, detecting = options.get("mode"), {k: v for k, v in options.items() if k != "mode"}
    named = [word for k, v in detecting.items() for word in (f"--{k}", v)]
    files = [word for path in ADAPTERS for word in ("--adapters", path)]
    run_program(
        "aaclip-evaluate", "--model", NANO / "clip.pt", *files, "--data-root", parts,
        "--threads", 2, "--image-size", 70, "--window", "0,4095",
        "--json", tmp_path / "r.json", *named,
        *(["--histogram"] if mode else []),
    )  # fmt: skip
    told = json.loads((tmp_path / "r.json").read_text())["checkpoints"][0]
    dataset = aaclip.Dataset.open(parts, split="test", window=(0, 4095))
    texts = aaclip.TextCache(model, adapters)
    texts.build(dataset.classes)
    detector = aaclip.Detector(model, texts, adapters, image_size=70, **detecting)
    assert str(detector.domain) == options.get("domain", "industrial")
    metrics = aaclip.evaluate(detector, dataset, mode=mode)
    theirs = {row["class"]: row for row in told["classes"]}

    def near(value: float) -> Any:  # the program may be of a build that rounds otherwise
        return pytest.approx(value, abs=1e-5)

    for name in dataset.classes:
        ours, row = metrics.compute(name), theirs[name]
        for field in ("pixel_auroc", "pixel_ap", "pixel_f1_max", "aupro_30", "aupro_05"):
            assert getattr(ours, field) == near(row[field]), field
        for field in ("auroc", "ap", "f1_max", "f1_threshold"):
            assert getattr(ours, f"dataset_{field}") == near(row[f"image_{field}"])
            assert getattr(ours, f"image_{field}") == near(row[f"raw_image_{field}"])
    mean = metrics.compute()
    assert mean.pixel_auroc == near(told["mean"]["pixel_auroc"])
    assert mean.dataset_auroc == near(told["mean"]["image_auroc"])


def test_evaluate_reports_what_it_cannot_read(
    parts: Path, model: aaclip.Model, adapters: aaclip.Adapters
) -> None:
    (parts / "nut/test/good/001.png").write_bytes(b"no picture")
    Pillow.new("L", (10, 60), 255).save(parts / "nut/ground_truth/hole/002_mask.png")
    dataset = aaclip.Dataset.open(parts, split="test", classes="nut")
    texts = aaclip.TextCache(model, adapters)
    texts.build("nut")
    detector = aaclip.Detector(model, texts, adapters, image_size=56)
    with pytest.raises(aaclip.Error, match="001.png"):
        aaclip.evaluate(detector, dataset)
    for size in (1, 4):
        told: list[str] = []
        metrics = aaclip.evaluate(
            detector, dataset, on_error=lambda path, error: told.append(path), batch_size=size
        )
        assert [Path(path).name for path in told] == ["001.png", "002.png"]
        assert metrics.compute("nut").images == 4
        only = aaclip.evaluate(
            detector, dataset, wanted="images", on_error=lambda path, error: None, batch_size=size
        )
        assert only.compute("nut").images == 5  # masks are not read
    pairs = list(detector.detect_dataset(dataset, on_error=lambda path, error: None, batch_size=3))
    assert len(pairs) == 5 and all(r.path == sample.image_path for sample, r in pairs)


def area(curve: np.ndarray[Any, Any]) -> float:
    """By the trapezoidal rule."""
    return float((np.diff(curve[:, 0]) * (curve[1:, 1] + curve[:-1, 1]) / 2).sum())


def test_curves() -> None:
    metrics, _ = filled()
    values = metrics.compute("nut")
    roc = metrics.curve("nut", "image_roc")
    assert area(roc) == pytest.approx(values.image_auroc)
    assert roc[0, :2].tolist() == [0, 0] and roc[-1, :2].tolist() == [1, 1]
    fine = metrics.curve("nut", aaclip.Curve.PIXEL_ROC, points=300)
    assert len(fine) <= 300
    assert area(fine) == pytest.approx(values.pixel_auroc, abs=1 / 297)
    pr = metrics.curve("nut", "image_pr")
    assert (np.diff(pr[:, 0], prepend=0) * pr[:, 1]).sum() == pytest.approx(values.image_ap)
    only = aaclip.Metrics()
    only.add("a", 0.5, 1)
    assert only.curve("a", "pixel_roc").shape == (0, 3)
    with pytest.raises(aaclip.InvalidArgumentError):
        metrics.curve("nut", "image_pr", points=2)


def test_merge_and_histogram() -> None:
    whole, _ = filled()
    left, right = aaclip.Metrics(), aaclip.Metrics()
    for i, (score, label, values, mask) in enumerate(filled()[1]):
        (left if i < 7 else right).add("nut", score, label, values, mask.astype(np.uint8) * 255)
    left.merge(right)
    assert left.compute("nut") == whole.compute("nut")
    assert right.closed
    with pytest.raises(ValueError, match="closed"):
        right.compute()
    with pytest.raises(ValueError, match="the same"):
        left.merge(left)
    counted, _ = filled(mode="histogram", bins=4096)
    exact, close = whole.compute("nut"), counted.compute("nut")
    assert 0 < close.pixel_auroc_error < 0.01
    assert abs(close.pixel_auroc - exact.pixel_auroc) <= close.pixel_auroc_error
    with pytest.raises(aaclip.MismatchError):
        left.merge(counted)
    assert not counted.closed and counted.compute("nut").images == 12


def test_bad_images_are_not_counted() -> None:
    metrics = aaclip.Metrics(wanted="pixels", domain="medical")
    with pytest.raises(aaclip.InvalidArgumentError, match="nut"):
        metrics.add("nut", 0.5, 0, np.array([[np.nan]], np.float32))
    with pytest.raises(ValueError, match="a mask needs a map"):
        metrics.add("nut", 0.5, 0, None, np.zeros((2, 2)))
    with pytest.raises(ValueError, match="mask: expected shape"):
        metrics.add("nut", 0.5, 0, np.zeros((3, 2)), np.zeros((2, 2)))
    with pytest.raises(ValueError, match="label: expected 0, 1 or None, found 0.5"):
        metrics.add("nut", 0.5, 0.5)  # type: ignore[arg-type]
    assert metrics.classes == ()
    metrics.add("nut", 0.5, None, np.zeros((3, 2)), np.eye(3, 2))
    assert np.isnan(metrics.compute("nut").image_auroc)
