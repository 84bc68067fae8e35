"""That LeakSanitizer detects leaks; only run under it. Actual leaks: see conftest.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from conftest import NANO

LOSES = f"""
import ctypes, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import leaks
from aaclip._functions import lib
handles = [ctypes.c_void_p() for _ in range(5)]
for handle in handles:
    lib.model_open(ctypes.byref(handle), {str(NANO / "clip.pt")!r}.encode(), None)
kept = leaks.of_the_library()
for handle in handles:
    if CLOSES: lib.model_close(ctypes.byref(handle))
    handle.value = None
lost = leaks.of_the_library()
print(len(kept), len(lost) > 0, "aaclip_model_open" in "".join(lost))
"""


def test_a_lost_model_is_told() -> None:
    for closes, expected in ((False, "0 True True"), (True, "0 False False")):
        code = f"CLOSES = {closes}\n{LOSES}"
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
        )
        assert done.stdout.strip() == expected, done.stderr
