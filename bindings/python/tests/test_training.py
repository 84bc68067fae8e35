"""Training: PyTorch's losses, callbacks, Ctrl-C, and resuming."""

from __future__ import annotations

import functools
import gc
import io
import json
import os
import signal
import threading
import time
import weakref
from pathlib import Path
from typing import Any, Callable, Iterator

import numpy as np
import pytest
from conftest import GOLDEN, NANO

import aaclip

TRAIN = GOLDEN / "train"


@pytest.fixture(scope="module")
def dataset() -> aaclip.Dataset:
    return aaclip.Dataset.open(TRAIN / "manifest.jsonl", masks="required")


@pytest.fixture
def make(
    model: aaclip.Model, dataset: aaclip.Dataset
) -> Iterator[Callable[..., aaclip.Trainer]]:
    """Trainers of the text stage, small."""

    def new(**options: Any) -> aaclip.Trainer:
        defaults = {"image_size": 56, "batch_size": 2, "seed": 3, "loader_threads": 1}
        return aaclip.Trainer(model, dataset, "text", **{**defaults, **options})

    yield new


def files(profile: str) -> tuple[Path, Path]:
    folder = NANO / f"adapters-{profile}"
    return folder / "text_adapter.pth", folder / "image_adapter_20.pth"


@pytest.mark.parametrize("profile", ["document", "published"])
@pytest.mark.parametrize("stage", ["text", "image"])
def test_pytorch_trains_the_same(
    model: aaclip.Model, dataset: aaclip.Dataset, profile: str, stage: str
) -> None:
    golden = json.loads((TRAIN / f"{profile}-{stage}" / "losses.json").read_text())
    settings = golden["settings"]
    text_file, image_file = files(profile)
    texts = None
    if stage == "image":
        adapters = model.adapters(text_file)
        texts = aaclip.TextCache(model, adapters)
        texts.build(dataset.classes, dataset=settings["dataset"])
    trainer = aaclip.Trainer(
        model, dataset, stage, texts, profile=profile,
        initial=model.adapters(text_file if stage == "text" else image_file),
        image_size=settings["image_size"], batch_size=settings["batch_size"],
        accumulate=settings["accumulate"], learning_rate=settings["lr"],
        milestones=settings["milestones"], scales=settings["scales"],
        orthogonal_weight=settings["orthogonal_weight"], balanced_focal=settings["balanced"],
        phrases=settings["dataset"], augmentation=False, shuffle=False,
    )  # fmt: skip
    for step in golden["steps"]:
        losses = trainer.step()
        assert losses.total == pytest.approx(step["loss"], rel=1e-4)
        for name in ("focal", "dice_normal", "dice_abnormal"):
            expected = sum(level[name] for level in step["segmentation"])
            assert getattr(losses, name) == pytest.approx(expected, rel=1e-4)
        extra = "orthogonal" if stage == "text" else "classification"
        assert getattr(losses, extra) == pytest.approx(step[extra], rel=1e-4)
    assert trainer.progress.step == len(golden["steps"]) == 20


def test_callback_sees_every_step(make: Callable[..., aaclip.Trainer], tmp_path: Path) -> None:
    seen: list[aaclip.TrainingProgress] = []
    trainer = make(callback=seen.append, log=tmp_path / "log.jsonl")
    epochs = list(trainer.train(2))
    assert [(p.epoch, p.epoch_step, p.step) for p in seen] == [
        (1, 1, 1), (1, 2, 2), (1, 3, 3), (1, 4, 4), (2, 1, 5), (2, 2, 6), (2, 3, 7), (2, 4, 8)
    ]  # fmt: skip
    assert all(p.losses is not None and p.images_per_second > 0 for p in seen)
    assert [losses.images for losses in epochs] == [7, 7]
    first = [p.losses for p in seen[:4] if p.losses]
    mean = sum(losses.total * losses.images for losses in first) / 7
    assert epochs[0].total == pytest.approx(mean)
    rows = [json.loads(row) for row in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert len(rows) == 8
    assert trainer.progress.finished_epochs == 2 and trainer.progress.losses is None
    assert list(trainer.train(2)) == []
    trainer.callback = None
    trainer.epoch()
    assert len(seen) == 8 and "12 steps" in repr(trainer)


def test_callback_stops_saves_and_raises(
    make: Callable[..., aaclip.Trainer], tmp_path: Path
) -> None:
    trainer = make(callback=lambda progress: progress.step < 2)
    with pytest.raises(aaclip.CancelledError, match="after step 2"):
        trainer.epoch()
    assert trainer.progress.step == 2
    trainer.callback = lambda progress: np.bool_(False)
    with pytest.raises(aaclip.CancelledError, match="after step 3"):
        trainer.epoch()

    def save(progress: aaclip.TrainingProgress) -> None:
        trainer.save(tmp_path / f"{progress.step}.pth")

    trainer.callback = save
    trainer.step()
    assert (tmp_path / "4.pth").exists()

    def fail(progress: aaclip.TrainingProgress) -> None:
        raise ZeroDivisionError(str(progress.step))

    trainer.callback = fail
    with pytest.raises(ZeroDivisionError, match="5") as caught:
        trainer.epoch()
    assert caught.value.__context__ is None
    calls: dict[str, tuple[Path, ...]] = {"step": (), "epoch": (), "load": (tmp_path / "4.pth",)}
    for name, arguments in calls.items():
        trainer.callback = lambda progress: getattr(trainer, name)(*arguments)
        with pytest.raises(RuntimeError, match="cannot train"):
            trainer.step()
    trainer.callback = lambda progress: trainer.close()
    trainer.step()
    assert trainer.closed


def ctrl_c_after(seconds: float) -> threading.Timer:
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    return timer


def test_ctrl_c_stops_training_which_goes_on(
    make: Callable[..., aaclip.Trainer], tmp_path: Path
) -> None:
    steps: list[int] = []

    def slow(progress: aaclip.TrainingProgress) -> None:
        steps.append(progress.step)
        time.sleep(0.02)

    trainer = make(callback=slow)
    timer = ctrl_c_after(0.5)
    with pytest.raises(KeyboardInterrupt):
        for _ in trainer.train(100000):
            pass
    timer.join()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    stopped = trainer.progress.step
    assert 0 < stopped < 100000 and stopped - steps[-1] in (0, 1)  # 1: before the first line
    trainer.save(tmp_path / "stopped.pth")
    resumed = make()
    resumed.load(tmp_path / "stopped.pth")
    assert resumed.progress.step == stopped
    assert [resumed.step() for _ in range(5)] == [trainer.step() for _ in range(5)]


def test_ctrl_c_ends_a_callback_where_it_is(make: Callable[..., aaclip.Trainer]) -> None:
    timers: list[threading.Timer] = []

    def endless(progress: aaclip.TrainingProgress) -> None:
        timers.append(ctrl_c_after(0.1))
        while True:
            pass

    trainer = make(callback=endless)
    for done in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            trainer.epoch()
        timers[-1].join()
        assert trainer.progress.step == done
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert signal.set_wakeup_fd(-1) == -1
    trainer.callback = None
    assert trainer.step().total and trainer.progress.step == 3


def test_ctrl_c_ends_a_call_within_a_callback(
    make: Callable[..., aaclip.Trainer], model: aaclip.Model
) -> None:
    texts = aaclip.TextCache(model)
    texts["nut"] = np.full(32, 0.1), np.full(32, 0.2)
    detector = aaclip.Detector(model, texts, image_size=112)
    heard: list[str] = []

    def detects(progress: aaclip.TrainingProgress) -> None:
        timer = ctrl_c_after(0.2)
        try:
            for result in detector.detect_many(np.zeros((8, 8), np.uint8) for _ in range(10**6)):
                heard[:] = [result.class_name]
        finally:
            timer.join()

    trainer = make(callback=detects)
    with pytest.raises(KeyboardInterrupt):
        trainer.epoch()
    assert trainer.progress.step == 1 and heard == ["nut"]

    def goes_on(progress: aaclip.TrainingProgress) -> None:
        try:
            detects(progress)
        except KeyboardInterrupt:
            heard.append(detector.detect(np.zeros((8, 8), np.uint8)).class_name)

    trainer.callback = goes_on
    trainer.step()
    trainer.step()
    assert trainer.progress.step == 3 and heard == ["nut", "nut"]


def test_a_handler_set_by_a_callback_stays(make: Callable[..., aaclip.Trainer]) -> None:
    heard: list[int] = []

    def sets(progress: aaclip.TrainingProgress) -> None:
        signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
        os.kill(os.getpid(), signal.SIGINT)

    try:
        make(callback=sets).epoch()
        os.kill(os.getpid(), signal.SIGINT)
        assert heard == [signal.SIGINT] * 5
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def test_a_trainer_whose_callback_refers_to_it_is_freed(
    make: Callable[..., aaclip.Trainer]
) -> None:
    trainer = make()
    trainer.callback = functools.partial(print, trainer, file=io.StringIO())
    trainer.step()
    freed, state = weakref.ref(trainer), trainer._state
    del trainer
    gc.collect()
    assert freed() is None and state.closed


def test_ctrl_c_without_a_callback(make: Callable[..., aaclip.Trainer]) -> None:
    trainer = make()
    timer = ctrl_c_after(0.3)
    with pytest.raises(KeyboardInterrupt):
        while True:
            trainer.epoch()
    timer.join()
    done = trainer.progress.step
    trainer.step()
    assert trainer.progress.step == done + 1


def test_a_handler_of_the_user_s_stays_in_force(make: Callable[..., aaclip.Trainer]) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    try:
        trainer = make(callback=lambda p: os.kill(os.getpid(), signal.SIGINT) if p.step == 2 else None)
        trainer.epoch()
        assert heard == [signal.SIGINT] and trainer.progress.step == 4
    finally:
        signal.signal(signal.SIGINT, before)


def test_training_in_a_thread(make: Callable[..., aaclip.Trainer]) -> None:
    results: list[object] = []
    trainer = make(callback=lambda p: p.step < 3)

    def work() -> None:
        try:
            trainer.epoch()
        except aaclip.CancelledError as error:
            results.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(results) == 1 and trainer.progress.step == 3


def test_resume_gives_the_same_bits(make: Callable[..., aaclip.Trainer], tmp_path: Path) -> None:
    whole = make()
    losses = [whole.step() for _ in range(7)]
    for name in ("state.pth", "state.safetensors"):
        first = make()
        assert [first.step() for _ in range(3)] == losses[:3]
        first.save(tmp_path / name)
        second = make()
        second.load(tmp_path / name)
        assert [second.step() for _ in range(4)] == losses[3:]
    with pytest.raises(aaclip.MismatchError, match="seed"):
        make(seed=4).load(tmp_path / "state.pth")


def test_both_stages_to_a_detector(
    model: aaclip.Model, dataset: aaclip.Dataset, make: Callable[..., aaclip.Trainer], tmp_path: Path
) -> None:
    trainer = make()
    list(trainer.train(1))
    texts = aaclip.TextCache(model, trainer.adapters())
    texts.build(dataset.classes)
    second = aaclip.Trainer(model, dataset, aaclip.Stage.IMAGE, texts, image_size=56, seed=3)
    before = second.evaluate(dataset)
    assert len(second.fit(3)) == 3 and second.fit(3) == []
    assert second.evaluate(dataset).total < before.total
    trainer.save(tmp_path / "text_adapter.pth")
    second.save(tmp_path / "image_adapter_3.pth")
    both = model.adapters(tmp_path / "text_adapter.pth", tmp_path / "image_adapter_3.pth")
    assert both.has_text and both.has_image
    detector = aaclip.Detector(model, texts, both, image_size=56)
    kept = aaclip.Detector(model, texts, second.adapters(), image_size=56)
    for (sample, one), (_, other) in zip(
        detector.detect_dataset(dataset), kept.detect_dataset(dataset)
    ):
        assert one.path == sample.image_path and np.array_equal(one.map, other.map)


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"batch_size": 0}, aaclip.InvalidArgumentError, "batch_size"),
        ({"milestones": range(9)}, ValueError, "at most 8"),
        ({"milestones": [-1]}, ValueError, "milestones: expected 0 to"),
        ({"milestones": [5, 4]}, aaclip.InvalidArgumentError, "ascending steps"),
        ({"profile": "mine"}, ValueError, "profile: expected one of document, published"),
        ({"phrases": "nothing"}, aaclip.NotFoundError, "nothing"),
        ({"log": "/nowhere/log"}, aaclip.InputOutputError, "/nowhere/log"),
    ],
)
def test_bad_options(
    make: Callable[..., aaclip.Trainer], options: dict[str, Any], kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind, match=text):
        make(**options).step()


def test_stage_two_needs_texts(model: aaclip.Model, dataset: aaclip.Dataset) -> None:
    with pytest.raises(aaclip.InvalidArgumentError, match="needs a text cache"):
        aaclip.Trainer(model, dataset, "image")
