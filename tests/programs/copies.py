"""Copies that may be changed and removed, also where the source tree is read-only."""

import os
import shutil
from pathlib import Path


def copy_file(source, target):
    """To a file, or into a folder; contents alone. A target may be bytes if it is a file."""
    shutil.copyfile(source, Path(target) / Path(source).name if os.path.isdir(target) else target)


def copy_tree(source, target):
    source, target = Path(source), Path(target)
    target.mkdir(parents=True)
    for path in sorted(source.rglob("*")):
        place = target / path.relative_to(source)
        if path.is_dir():
            place.mkdir()
        else:
            shutil.copyfile(path, place)
