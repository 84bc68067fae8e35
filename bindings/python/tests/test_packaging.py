"""The session of the README, from install to heat map, and a wheel that carries the library."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import PHOTO, PROGRAMS, ROOT
from PIL import Image as Pillow
from test_library import loaded_file

import aaclip

PACKAGE = ROOT / "bindings" / "python"
README = PACKAGE / "README.md"


def blocks(language: str) -> str:
    found = re.findall(rf"^```{language}\n(.*?)^```$", README.read_text(), re.S | re.M)
    assert found, f"README.md has no {language}"
    return "\n".join(found)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The repository as a user has it: copied sources, since installing leaves files there."""
    root = tmp_path / "clone"
    shutil.copytree(
        PACKAGE, root / "bindings" / "python",
        ignore=shutil.ignore_patterns("build", "dist", "*.egg-info", "__pycache__", "_lib", ".*"),
    )  # fmt: skip
    for name in ("tests", "models"):
        (root / name).symlink_to(ROOT / name)
    (root / "build" / "lib").mkdir(parents=True)
    (root / "build" / "examples").symlink_to(PROGRAMS)
    (root / "build" / "lib" / "libaaclip.so.0").symlink_to(loaded_file())
    return root


def shell(script: str, folder: Path) -> str:
    """Runs it with this Python as `python3` and without the tests' settings."""
    hidden = ("AACLIP_LIBRARY", "AACLIP_BUNDLE_LIBRARY", "PYTHONPATH")
    environment = {k: v for k, v in os.environ.items() if k not in hidden}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    environment["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    done = subprocess.run(
        ["sh", "-e", "-c", script], cwd=folder, env=environment, capture_output=True, text=True,
        timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def picture(path: Path) -> "np.ndarray[Any, np.dtype[np.int64]]":
    with Pillow.open(path) as opened:
        return np.asarray(opened.convert("RGB")).astype(int)


def test_session_of_the_readme(clone: Path) -> None:
    (clone / "session.py").write_text(blocks("python") + "\nprint('installed at', aaclip.__file__)\n")
    printed = shell(blocks("sh") + "\npython -W error session.py", clone)
    assert f"installed at {clone / 'venv'}" in printed
    first = r"<aaclip.Result of 'pictures/.*png' as 'wood': score 0\.\d+, map 96 x 96>"
    assert re.search(first, printed), printed
    before, after = (float(re.findall(rf"{when}: (.+)", printed)[0]) for when in ("before", "after"))
    assert after > 0.9 and after > before + 0.2
    assert re.search(r"defective: True \[\(\d+", printed), printed
    wood = clone / "pictures" / "wood"
    plain, shown = picture(wood / "test/stain/000.png"), picture(clone / "heat_map.png")
    assert shown.shape == plain.shape == (160, 160, 3)
    assert np.abs(2 * shown - plain - 128).max() <= 129  # half of it is the photograph
    stain = picture(wood / "ground_truth/stain/000_mask.png")[:, :, 0] > 0
    red, blue = shown[:, :, 0] - plain[:, :, 0] / 2, shown[:, :, 2] - plain[:, :, 2] / 2
    warm = red - blue
    assert warm[stain].mean() > warm[~stain].mean() + 20
    for name in ("thresholds.json", "texts.safetensors", "bundle.safetensors", "text_adapter.pth",
                 "image_adapter.pth", "untrained.png"):  # fmt: skip
        assert (clone / name).stat().st_size > 100
    assert "missing.pt" in printed and "NOT_FOUND" in printed


def test_a_wheel_that_carries_the_library(clone: Path) -> None:
    (build,) = re.findall(r"^```\n(AACLIP_BUNDLE_LIBRARY=.*?)^```$", README.read_text(), re.S | re.M)
    shell(
        "python3 -m venv --system-site-packages venv && . venv/bin/activate\n"
        f"{build}\npip install dist/*.whl",
        clone,
    )
    (wheel,) = (clone / "dist").glob("*.whl")
    tag = rf"aaclip-{re.escape(aaclip.__version__)}-py3-none-linux_\w+\.whl"
    assert re.fullmatch(tag, wheel.name), wheel.name
    names = zipfile.ZipFile(wheel).namelist()
    assert "aaclip/_lib/libaaclip.so.0" in names and "aaclip/py.typed" in names
    code = (
        "import aaclip; print(aaclip.library_path(), aaclip.version()); "
        "model = aaclip.Model.open('tests/golden/nano/clip.pt'); texts = aaclip.TextCache(model); "
        "texts.build('cat'); "
        f"print(aaclip.Detector(model, texts).detect({str(PHOTO)!r}))"
    )
    path, version = shell(f'venv/bin/python -c "{code}"', clone).split()[:2]
    assert Path(path).is_relative_to(clone / "venv") and version == aaclip.version()


def test_a_plain_wheel_is_for_every_platform(clone: Path) -> None:
    shell(
        "python3 -m venv venv && venv/bin/pip wheel --no-deps -w dist ./bindings/python", clone
    )
    (wheel,) = (clone / "dist").glob("*.whl")
    assert wheel.name == f"aaclip-{aaclip.__version__}-py3-none-any.whl"
    assert not [n for n in zipfile.ZipFile(wheel).namelist() if ".so" in n or "test" in n]


def test_a_source_archive_has_the_tests(clone: Path) -> None:
    build = "from setuptools.build_meta import build_sdist; build_sdist('.')"
    shell(
        "python3 -m venv venv && venv/bin/pip install -q 'setuptools>=70.1'\n"
        f'cd bindings/python && ../../venv/bin/python -c "{build}"',
        clone,
    )
    (archive,) = (clone / "bindings" / "python").glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {Path(name).name for name in opened.getnames()}
    assert names >= {path.name for path in (PACKAGE / "tests").glob("*.py")}


def test_modules_that_are_no_more_are_not_shipped(clone: Path) -> None:
    package = clone / "bindings" / "python"
    build = "venv/bin/pip wheel --no-deps -w dist ./bindings/python"
    (package / "src" / "aaclip" / "old.py").write_text("")
    shell(f"python3 -m venv venv && {build}", clone)
    (package / "src" / "aaclip" / "old.py").unlink()
    assert (package / "build" / "lib" / "aaclip" / "old.py").exists()
    shell(f"rm -r dist bindings/python/src/*.egg-info && {build}", clone)
    (wheel,) = (clone / "dist").glob("*.whl")
    assert not [name for name in zipfile.ZipFile(wheel).namelist() if "old" in name]


def test_a_wheel_with_a_missing_library_is_refused(clone: Path) -> None:
    told = shell(
        "python3 -m venv venv\n"
        "if AACLIP_BUNDLE_LIBRARY=/nowhere.so venv/bin/pip wheel --no-deps ./bindings/python 2>&1\n"
        "then exit 3; fi",
        clone,
    )
    assert "/nowhere.so: no such file" in told
