#!/usr/bin/env python3
"""Writes a script that starts a program of another processor: make_launcher.py OUTPUT WORD..."""

import shlex
import sys
from pathlib import Path

output = Path(sys.argv[1])
words = [str(Path(word).resolve()) if Path(word).exists() else word for word in sys.argv[2:]]
output.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n', encoding="utf-8")
output.chmod(0o755)
