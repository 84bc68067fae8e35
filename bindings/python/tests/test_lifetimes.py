"""Lifetimes: closing in any order, views of memory, and no leak."""

from __future__ import annotations

import copy
import ctypes
import dataclasses
import gc
import itertools
import pickle
import random
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import Any, Callable

import leaks
import numpy as np
import pytest
from conftest import ADAPTERS, GOLDEN, NANO, PHOTO, SIZE

import aaclip
from aaclip._handle import Handle


class _Mallinfo(ctypes.Structure):
    """glibc's mallinfo2."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks",
                     "uordblks", "fordblks", "keepcost")
    ]  # fmt: skip


def allocated() -> int:
    """Bytes allocated from malloc: exact, unlike the size of the process."""
    gc.collect()
    if leaks.RUNS:
        return leaks.allocated()
    mallinfo2 = ctypes.CDLL(None).mallinfo2
    mallinfo2.restype = _Mallinfo
    info = mallinfo2()
    return int(info.uordblks + info.hblkhd)


def assert_no_leak(work: Callable[[], object], rounds: int = 10, slack: int = 100_000) -> None:
    """After some rounds to fill caches, further rounds must not hold more memory."""
    for _ in range(4):
        work()
    before = allocated()
    for _ in range(rounds):
        work()
    growth = allocated() - before
    assert growth < slack, f"{growth} bytes in {rounds} rounds"


def everything() -> dict[str, Any]:
    model = aaclip.Model.open(NANO / "clip.pt", threads=1)
    adapters = model.adapters(*ADAPTERS)
    texts = aaclip.TextCache(model, adapters)
    texts["nut"] = np.full(32, 0.1), np.full(32, 0.2)
    detector = aaclip.Detector(model, texts, adapters, image_size=56)
    return {"model": model, "adapters": adapters, "texts": texts, "detector": detector}


def test_handles_of_another_kind_are_refused(tmp_path: Path) -> None:
    """C would read one handle as the other."""
    made = everything()
    model, adapters, texts = made["model"], made["adapters"], made["texts"]
    metrics = aaclip.Metrics()
    missing: Any = None
    bundle = tmp_path / "bundle.safetensors"
    wrong: list[tuple[Callable[[], object], str]] = [
        (lambda: aaclip.Detector(model, adapters, texts), "expected TextCache, found Adapters"),
        (lambda: aaclip.Detector(model, texts, texts), "expected Adapters, found TextCache"),
        (lambda: aaclip.Detector(texts, texts), "expected Model, found TextCache"),
        (lambda: aaclip.TextCache(adapters), "expected Model, found Adapters"),
        (lambda: aaclip.Adapters(texts, *ADAPTERS), "expected Model, found TextCache"),
        (lambda: aaclip.save_bundle(bundle, model, adapters), "expected TextCache, found Adapters"),
        (lambda: aaclip.Trainer(model, model, "image"), "expected Dataset, found Model"),
        (lambda: metrics.merge(model), "expected Metrics, found Model"),
        (lambda: aaclip.Detector(model, missing), "expected TextCache, found NoneType"),
    ]
    for call, message in wrong:
        with pytest.raises(TypeError, match=message):
            call()
    assert not bundle.exists()


def test_the_leak_detector_detects() -> None:
    kept: list[Any] = []
    with pytest.raises(AssertionError, match="bytes in"):
        assert_no_leak(lambda: kept.append(everything()))


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_handles_close_in_every_order(order: tuple[int, ...]) -> None:
    all_of_them = everything()
    detector = all_of_them["detector"]
    expected = detector.detect(PHOTO, "nut").map
    for index in order:
        list(all_of_them.values())[index].close()
        if not detector.closed:
            assert np.array_equal(detector.detect(PHOTO, "nut").map, expected)
    for handle in all_of_them.values():
        assert handle.closed and "closed" in repr(handle)
        handle.close()
        with pytest.raises(ValueError, match="is closed"):
            with handle._use():
                pass


def test_the_collector_closes_in_any_order_without_a_leak() -> None:
    shuffle = random.Random(7)

    def work() -> None:
        sets = [everything() for _ in range(3)]
        results = [each["detector"].detect(PHOTO, "nut", copy=False) for each in sets]
        handles = [handle for each in sets for handle in each.values()]
        handles += [aaclip.Image.open(PHOTO), aaclip.Metrics()]
        cycle: list[Any] = [handles, results]
        cycle.append(cycle)  # only the collector frees it
        shuffle.shuffle(handles)
        shuffle.shuffle(results)
        del sets, handles, results, cycle
        gc.collect()

    assert_no_leak(work)


def test_closing_one_by_one_in_random_order_does_not_leak() -> None:
    shuffle = random.Random(8)

    def work() -> None:
        handles = list(everything().values())
        handles[-1].detect(PHOTO, "nut")
        shuffle.shuffle(handles)
        while handles:
            handles.pop()

    assert_no_leak(work)


def test_failures_do_not_leak(detector: aaclip.Detector, model: aaclip.Model) -> None:
    def work() -> None:
        for call in (
            lambda: aaclip.Model.open(PHOTO),
            lambda: model.adapters(NANO / "clip.pt"),
            lambda: detector.detect("/nowhere"),
            lambda: detector.detect(PHOTO, "unknown"),
            lambda: aaclip.Dataset.open("/nowhere"),
        ):
            with pytest.raises(aaclip.Error):
                call()

    assert_no_leak(work, rounds=30)


def test_training_does_not_leak(model: aaclip.Model) -> None:
    def work() -> None:
        dataset = aaclip.Dataset.open(GOLDEN / "train" / "manifest.jsonl")
        trainer = aaclip.Trainer(
            model, dataset, "text", image_size=56, batch_size=2, callback=lambda p: p.step < 2
        )
        dataset.close()
        with pytest.raises(aaclip.CancelledError):
            trainer.epoch()
        trainer.adapters()

    assert_no_leak(work)


def test_results_outlive_everything() -> None:
    all_of_them = everything()
    result = all_of_them["detector"].detect(PHOTO, "nut")
    saved = result.map.copy()
    all_of_them["detector"].detect(np.zeros((9, 9, 3), np.uint8), "nut")
    assert np.array_equal(result.map, saved) and result.map.flags.writeable
    del all_of_them
    gc.collect()
    assert np.array_equal(result.map, saved)
    assert result.overlay().shape == (150, 225, 3)


def test_views_of_a_result_guard_the_detector() -> None:
    all_of_them = everything()
    detector = aaclip.Detector(
        all_of_them["model"], all_of_them["texts"], all_of_them["adapters"], image_size=56,
        keep_features=True,
    )  # fmt: skip
    expected = detector.detect(PHOTO)
    shown = detector.detect(PHOTO, copy=False)
    for name in ("map", "patch_features", "detection_feature"):
        view = getattr(shown, name)
        assert np.array_equal(view, getattr(expected, name))
        assert not view.flags.writeable and not view.flags.owndata
    row = shown.map[3]
    del shown, view
    with pytest.raises(BufferError, match="copy=False"):
        detector.detect(PHOTO)
    detector.close()
    assert detector.closed
    freed = weakref.ref(row.base)
    del all_of_them, detector
    gc.collect()
    assert np.array_equal(row, expected.map[3])
    del row
    assert freed() is None


def test_a_dropped_view_lets_the_detector_go_on() -> None:
    detector = everything()["detector"]
    shown = detector.detect(PHOTO, copy=False)
    batch: list[Any] = []
    with pytest.raises(BufferError):
        detector.detect_batch([PHOTO, PHOTO])
    del shown
    batch = detector.detect_batch([PHOTO, PHOTO], copy=False)
    assert np.array_equal(batch[0].map, batch[1].map)
    del batch
    detector.detect(PHOTO)


def test_pixels_of_an_image_live_as_long_as_an_array() -> None:
    def work() -> None:
        image = aaclip.Image.open(GOLDEN / "images" / "chelsea.jpg")
        array = image.array
        copy = array.copy()
        part = array[5:9, 3:8]
        image.close()
        del image, array
        gc.collect()
        ballast = [np.zeros(300 * 451 * 3, np.uint8) for _ in range(3)]
        assert np.array_equal(part, copy[5:9, 3:8]) and ballast
        with pytest.raises(ValueError, match="read-only"):
            part[0] = 0

    assert_no_leak(work)


def test_closing_while_a_call_runs_waits_for_it() -> None:
    all_of_them = everything()
    detector = all_of_them["detector"]
    large = np.zeros((2000, 2000, 3), np.uint8)
    outcomes: list[str] = []

    def work() -> None:
        try:
            while True:
                detector.detect(large, "nut")
                outcomes.append("done")
        except ValueError as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    while len(outcomes) < 5:
        time.sleep(0.001)
    for handle in all_of_them.values():
        handle.close()
    for thread in threads:
        thread.join()
    assert outcomes.count("this detector is closed") == 3


def test_with_blocks_close_also_when_something_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        with aaclip.Image.open(PHOTO) as image, everything()["model"] as model:
            raise ZeroDivisionError
    assert image.closed and model.closed


@pytest.mark.parametrize("make", [
    lambda: everything()["model"], lambda: everything()["texts"],
    lambda: everything()["detector"], lambda: aaclip.Metrics(),
])  # fmt: skip
def test_handles_are_neither_pickled_nor_copied(make: Callable[[], Handle]) -> None:
    handle = make()
    with pytest.raises(TypeError, match="cannot be pickled; send the paths"):
        pickle.dumps(handle)
    for one_more in (copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot be copied; share this one"):
            one_more(handle)


def test_an_image_never_changes_and_is_its_own_copy() -> None:
    image = aaclip.Image.open(PHOTO)
    assert copy.copy(image) is copy.deepcopy(image) is image
    with pytest.raises(TypeError, match="^an image cannot be pickled"):
        pickle.dumps(image)


def test_results_are_copied_with_their_photograph() -> None:
    detector = everything()["detector"]
    pixels = aaclip.Image.open(PHOTO).array
    for source in (PHOTO, aaclip.Image.open(PHOTO), pixels):
        result = detector.detect(source, "nut")
        for other in (copy.copy(result), copy.deepcopy(result)):
            assert np.array_equal(other.map, result.map) and other.path == result.path
            assert np.array_equal(other.overlay(), result.overlay())
        assert copy.copy(result).map is result.map
        assert not np.shares_memory(copy.deepcopy(result).map, result.map)
        assert dataclasses.asdict(result)["score"] == result.score
        assert pickle.loads(pickle.dumps(result)).path == result.path


def test_a_dataset_sample_outlives_its_data_set() -> None:
    sample = aaclip.Dataset.open(GOLDEN / "train" / "manifest.jsonl")[0]
    gc.collect()
    assert Path(sample.image_path).name == "0-wood-good.png"


def test_the_interpreter_ends_with_everything_open() -> None:
    code = f"""
import threading, aaclip
model = aaclip.Model.open({str(NANO / "clip.pt")!r}, threads=2)
texts = aaclip.TextCache(model)
texts.build("nut", progress=lambda a, b: None)
detector = aaclip.Detector(model, texts, image_size=56)
shown = detector.detect({str(PHOTO)!r}, copy=False)
dataset = aaclip.Dataset.open({str(GOLDEN / "train" / "manifest.jsonl")!r})
trainer = aaclip.Trainer(model, dataset, "text", image_size=56, batch_size=2)
trainer.step()
aaclip.set_log(print, "debug")
endless = aaclip.Detector(model, texts, image_size=56)
def work():
    while True: endless.detect({str(PHOTO)!r})
threading.Thread(target=work, daemon=True).start()
training = aaclip.Trainer(model, dataset, "text", image_size=56, batch_size=2)
def train():
    while True: training.epoch()
threading.Thread(target=train, daemon=True).start()
for _ in range(3): trainer.step()
print("end")
"""
    for _ in range(3 if leaks.RUNS else 8):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["end"]), done.stderr
        assert done.stderr == ""


def test_a_bad_size_of_results_is_not_possible(detector: aaclip.Detector) -> None:
    """A large batch after a small one: the library moves its memory."""
    first = detector.detect(PHOTO)
    many = detector.detect_batch([PHOTO] * 9)
    assert all(np.array_equal(first.map, other.map) for other in many)
    assert first.map.shape == (SIZE, SIZE)
