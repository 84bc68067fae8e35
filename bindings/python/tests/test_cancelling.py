"""Ctrl-C and flags cancel running calls; what they leave behind stays usable."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Callable

import numpy as np
import pytest
from conftest import NANO, PHOTO

import aaclip
from aaclip._functions import lib


@pytest.fixture
def detector() -> aaclip.Detector:
    model = aaclip.Model.open(NANO / "clip.pt", threads=1, backend="reference")
    texts = aaclip.TextCache(model)
    texts["nut"] = np.full(32, 0.1), np.full(32, 0.2)
    return aaclip.Detector(model, texts, image_size=112)


def many(detector: aaclip.Detector) -> Callable[[], object]:
    """A call that takes far longer than a test should."""
    picture = np.zeros((112, 112, 3), np.uint8)
    return lambda: detector.detect_batch([picture] * 5000)


def after(seconds: float, action: Callable[[], None]) -> threading.Timer:
    timer = threading.Timer(seconds, action)
    timer.start()
    return timer


def ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_ends_a_call(detector: aaclip.Detector) -> None:
    expected = detector.detect(PHOTO).map
    for _ in range(3):
        with pytest.raises(aaclip.NotFoundError):
            aaclip.Image.open("none")  # another error text
        timer = after(0.6, ctrl_c)  # once the images are listed
        with pytest.raises(KeyboardInterrupt):
            many(detector)()
        timer.join()
        assert b"cancelled" in lib.last_error()  # otherwise it ran to its end
        assert signal.set_wakeup_fd(-1) == -1
        assert np.array_equal(detector.detect(PHOTO).map, expected)


def test_ctrl_c_comes_at_any_moment(detector: aaclip.Detector) -> None:
    """Also between calls: it does not cancel the next one."""
    for i in range(40):
        timer = threading.Timer(0.001 * (i + 10), ctrl_c)
        with pytest.raises(KeyboardInterrupt):
            timer.start()
            while True:
                detector.detect(PHOTO)
        timer.join()
        assert detector.detect(PHOTO).score


def test_a_handler_and_a_listener_of_the_program_stay(detector: aaclip.Detector) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    try:
        timer = after(0.05, ctrl_c)
        while not heard:
            detector.detect(PHOTO)
        timer.join()
    finally:
        signal.signal(signal.SIGINT, before)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    try:
        detector.detect(PHOTO)
        assert signal.set_wakeup_fd(writer) == writer
    finally:
        signal.set_wakeup_fd(-1)
        os.close(reader)
        os.close(writer)


def test_a_flag_ends_the_calls_that_watch_it(detector: aaclip.Detector, tmp_path: Path) -> None:
    expected = detector.detect(PHOTO).map
    stop, raised = aaclip.CancelFlag(), []

    def work() -> None:
        with stop.watching():
            try:
                many(detector)()
            except aaclip.CancelledError as error:
                raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.2)
    stop.set()
    thread.join()
    assert len(raised) == 1 and "cancelled" in str(raised[0]) and stop.is_set()

    with stop.watching():
        with pytest.raises(aaclip.CancelledError):
            detector.detect(PHOTO)
        stop.clear()
        assert np.array_equal(detector.detect(PHOTO).map, expected)
    stop.set()
    assert np.array_equal(detector.detect(PHOTO).map, expected)  # nobody watches


def test_a_deadline_ends_calls(detector: aaclip.Detector) -> None:
    expected = detector.detect(PHOTO).map
    begun = time.monotonic()
    with aaclip.deadline(0.2):
        with pytest.raises(aaclip.CancelledError, match="cancelled: the deadline passed"):
            many(detector)()
    assert time.monotonic() >= begun + 0.2
    assert np.array_equal(detector.detect(PHOTO).map, expected)
    with pytest.raises(ValueError, match="found nan"):
        with aaclip.deadline(float("nan")):
            pass


def test_deadlines_nest(detector: aaclip.Detector) -> None:
    stop = aaclip.CancelFlag()
    with stop.watching(), aaclip.deadline(3600):
        with aaclip.deadline(0), aaclip.deadline(3600):
            with pytest.raises(aaclip.CancelledError, match="deadline"):
                detector.detect(PHOTO)
        detector.detect(PHOTO)
        stop.set()
        with pytest.raises(aaclip.CancelledError, match="flag"):
            detector.detect(PHOTO)
    with aaclip.deadline(0.02):
        with aaclip.deadline(3600):
            time.sleep(0.03)
        with pytest.raises(aaclip.CancelledError, match="deadline"):
            detector.detect(PHOTO)
    detector.detect(PHOTO)
    assert lib.set_deadline(float("inf")) == float("inf")
