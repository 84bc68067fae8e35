"""
Everything is in pyproject.toml except a wheel that carries the library: AACLIP_BUNDLE_LIBRARY names
the shared library to copy into it, and the wheel is then for this platform only.
"""

import os
import shutil
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py

try:
    from setuptools.command.bdist_wheel import bdist_wheel
except ImportError:  # before 70.1, without build isolation
    from wheel.bdist_wheel import bdist_wheel

LIBRARY = os.environ.get("AACLIP_BUNDLE_LIBRARY")


class BuildWithLibrary(build_py):
    def run(self):
        if not self.editable_mode:  # pip keeps the folder, with modules that have been removed
            shutil.rmtree(Path(self.build_lib) / "aaclip", ignore_errors=True)
        super().run()
        folder = Path(self.build_lib) / "aaclip" / "_lib"
        shutil.rmtree(folder, ignore_errors=True)  # from an earlier build
        if LIBRARY and not self.editable_mode:
            library = Path(LIBRARY)
            if not library.is_file():
                raise SystemExit(f"AACLIP_BUNDLE_LIBRARY: {library}: no such file")
            folder.mkdir(parents=True)
            shutil.copy(library, folder / library.name)  # follows links: one file


class PlatformDistribution(Distribution):
    def has_ext_modules(self):
        return bool(LIBRARY)


class AnyPythonWheel(bdist_wheel):
    def get_tag(self):
        python, abi, platform = super().get_tag()
        return ("py3", "none", platform) if LIBRARY else (python, abi, platform)


setup(
    cmdclass={"build_py": BuildWithLibrary, "bdist_wheel": AnyPythonWheel},
    distclass=PlatformDistribution,
)
