"""The tiny model of tests/golden, and the C programs that results are compared with."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any, Iterator

import leaks
import pytest

import aaclip

ROOT = Path(__file__).resolve().parents[3]
GOLDEN = ROOT / "tests" / "golden"
NANO = GOLDEN / "nano"
PHOTO = GOLDEN / "images" / "chelsea.png"
SIZE = 112
ADAPTERS = [NANO / "adapters-document" / n for n in ("text_adapter.pth", "image_adapter_20.pth")]

# Where the C programs are: in the library's build folder, or where this variable says.
PROGRAMS = Path(os.environ.get("AACLIP_PROGRAMS", ROOT / "build" / "examples"))


collect_ignore = [] if leaks.RUNS else ["test_leaks.py"]

# A shell's background job starts with SIGINT ignored, which would then not end training.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Skipped tests count as failures."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter and reporter.stats.get("skipped"):
        print("\na test was skipped; none may be")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session", autouse=True)
def nothing_is_lost() -> Iterator[None]:
    """Under LeakSanitizer: after all tests, when the session's handles are closed."""
    yield
    if leaks.RUNS:
        lost = leaks.of_the_library()
        assert not lost, "\n\n".join(lost)


def run_program(name: str, *arguments: Any) -> str:
    """Standard output of a C program, which must succeed."""
    program = PROGRAMS / name
    if not program.exists():
        pytest.fail(f"{program}: no such program; set AACLIP_PROGRAMS to the folder of {name}")
    done = subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def model() -> aaclip.Model:
    return aaclip.Model.open(NANO / "clip.pt", threads=2)


@pytest.fixture(scope="session")
def adapters(model: aaclip.Model) -> aaclip.Adapters:
    return model.adapters(*ADAPTERS)


@pytest.fixture(scope="session")
def texts(model: aaclip.Model, adapters: aaclip.Adapters) -> aaclip.TextCache:
    texts = aaclip.TextCache(model, adapters)
    texts.build(["metal_nut"], dataset="MVTec")
    return texts


@pytest.fixture
def detector(
    model: aaclip.Model, adapters: aaclip.Adapters, texts: aaclip.TextCache
) -> aaclip.Detector:
    return aaclip.Detector(model, texts, adapters, image_size=SIZE)
