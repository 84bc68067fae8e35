"""Threads and processes: eight detectors on one model, fork, and pools of every kind."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import Callable

import numpy as np
import numpy.typing as npt
import pytest
from conftest import ADAPTERS, GOLDEN, NANO, PHOTO
from test_lifetimes import assert_no_leak, everything

import aaclip

PICTURES = [np.random.default_rng(i).integers(0, 255, (60 + i, 80, 3), np.uint8) for i in range(16)]


def test_a_pool_of_eight_detectors_on_one_model() -> None:
    shared = everything()
    expected = [shared["detector"].detect(image, "nut").map for image in PICTURES]
    local = threading.local()

    def work(index: int) -> bool:
        if not hasattr(local, "detector"):
            local.detector = aaclip.Detector(
                shared["model"], shared["texts"], shared["adapters"], image_size=56
            )
        result = local.detector.detect(PICTURES[index], "nut")
        return np.array_equal(result.map, expected[index])

    def round_of_work() -> None:
        barrier = threading.Barrier(8)  # so that all eight threads take part
        with ThreadPoolExecutor(8, initializer=barrier.wait) as pool:
            assert all(pool.map(work, list(range(len(PICTURES))) * 4))

    assert_no_leak(round_of_work, rounds=5, slack=400_000)


def test_threads_that_share_one_detector_wait_for_each_other() -> None:
    detector = everything()["detector"]
    expected = [detector.detect(image, "nut").map for image in PICTURES]
    with ThreadPoolExecutor(8) as pool:
        maps = list(pool.map(lambda image: detector.detect(image, "nut").map, PICTURES * 4))
    assert all(np.array_equal(a, b) for a, b in zip(maps, expected * 4))


def test_threads_open_build_and_close_at_once() -> None:
    def work(index: int) -> list[str]:
        with aaclip.Model.open(NANO / "clip.pt", threads=1) as model:
            texts = aaclip.TextCache(model, model.adapters(*ADAPTERS))
            heard: list[int] = []
            texts.build([f"thing {index}"], progress=lambda done, total: heard.append(done))
            assert len(heard) > 1
            return list(texts)

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(work, range(12))) == [[f"thing {i}"] for i in range(12)]


def in_child(work: Callable[[], None], timeout: int = 60) -> None:
    """Runs `work` after a plain fork; it must end without an exception."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    timer = threading.Timer(timeout, os.kill, (child, 9))
    timer.start()
    _, status = os.waitpid(child, 0)
    timer.cancel()
    assert status == 0, "killed: it hung" if os.WIFSIGNALED(status) else "see its traceback"


def fresh(threads: int) -> tuple[aaclip.Model, aaclip.Detector]:
    model = aaclip.Model.open(NANO / "clip.pt", threads=threads)
    texts = aaclip.TextCache(model)
    texts["nut"] = np.full(32, 0.1), np.full(32, 0.2)
    return model, aaclip.Detector(model, texts, image_size=112)


@pytest.mark.parametrize("backend", list(aaclip.backends()))
@pytest.mark.parametrize("threads", [1, 2])
def test_a_fork_detects_as_its_parent(threads: int, backend: str) -> None:
    model = aaclip.Model.open(NANO / "clip.pt", threads=threads, backend=backend)
    texts = aaclip.TextCache(model)
    texts.build("nut")
    detector = aaclip.Detector(model, texts, image_size=112)
    expected = detector.detect(PHOTO)

    def work() -> None:
        assert np.array_equal(detector.detect(PHOTO).map, expected.map)
        texts.build("cat")
        again = aaclip.Detector(model, texts, image_size=112)
        assert np.array_equal(again.detect(PHOTO, "nut").map, expected.map)
        for handle in (model, texts, detector, again):
            handle.close()

    in_child(work)
    in_child(lambda: in_child(work))
    assert np.array_equal(detector.detect(PHOTO).map, expected.map)


def test_what_another_thread_uses_at_the_fork_is_refused() -> None:
    model, busy = fresh(1)
    _, idle = fresh(1)
    expected = idle.detect(PHOTO).map
    inside, go_on = threading.Event(), threading.Event()

    def work() -> None:
        with busy._use_alone():  # as in the middle of a call, for as long as the test needs
            inside.set()
            go_on.wait()

    thread = threading.Thread(target=work)
    thread.start()
    inside.wait()

    def child() -> None:
        assert np.array_equal(idle.detect(PHOTO).map, expected)
        for call in (lambda: busy.detect(PHOTO), lambda: model.info):
            with pytest.raises(RuntimeError, match="forked while it was in use"):
                call()
        busy.close()
        model.close()

    try:
        in_child(child)
    finally:
        go_on.set()
        thread.join()
    assert busy.detect(PHOTO).score


def test_a_trainer_goes_on_in_a_child() -> None:
    model, _ = fresh(2)
    dataset = aaclip.Dataset.open(GOLDEN / "train" / "manifest.jsonl")

    def new() -> aaclip.Trainer:
        return aaclip.Trainer(
            model, dataset, "text", image_size=56, batch_size=2, augmentation=False, shuffle=False
        )

    trainer, other = new(), new()
    expected = [other.step() for _ in range(3)]
    assert trainer.step() == expected[0]

    def child() -> None:
        assert [trainer.step(), trainer.step()] == expected[1:]
        trainer.close()
        assert new().step() == expected[0]

    in_child(child)
    in_child(trainer.close)
    assert trainer.step() == expected[1]


def test_forks_from_a_progress_function_and_a_callback() -> None:
    model, detector = fresh(2)
    texts = aaclip.TextCache(model)
    expected = detector.detect(PHOTO).map

    def fork(done: int, total: int) -> None:
        if done == 0:
            in_child(lambda: None)

    texts.build("nut", progress=fork)
    assert np.array_equal(detector.detect(PHOTO).map, expected)


_pool_detector: aaclip.Detector


def start_worker() -> None:
    global _pool_detector
    _, _pool_detector = fresh(2)


def work_in_pool(index: int) -> aaclip.Result:
    return _pool_detector.detect(PICTURES[index])


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_process_pools(method: str) -> None:
    _, detector = fresh(2)
    expected = [detector.detect(image).map for image in PICTURES]
    with multiprocessing.get_context(method).Pool(2, start_worker) as pool:
        results = pool.map_async(work_in_pool, range(len(PICTURES))).get(timeout=120)
    for result, other in zip(results, expected):
        assert np.array_equal(result.map, other)
        assert result.source is None


def inherited(queue: "multiprocessing.Queue[npt.NDArray[np.float32]]") -> None:
    queue.put(_inherited_detector.detect(PICTURES[0]).map)


_inherited_detector: aaclip.Detector


def test_a_forked_worker_uses_what_it_inherited() -> None:
    global _inherited_detector
    _, _inherited_detector = fresh(2)
    expected = _inherited_detector.detect(PICTURES[0]).map
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    workers = [
        context.Process(target=inherited, args=(queue,), daemon=True) for _ in range(3)
    ]
    for worker in workers:
        worker.start()
    for _ in workers:
        assert np.array_equal(queue.get(timeout=60), expected)
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
