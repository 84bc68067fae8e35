#!/bin/sh
# Sets everything up, then runs the tests. Arguments go to meson test.
set -eu
cd "$(dirname "$0")/.."
sh examples/setup.sh
meson test -C build --print-errorlogs --no-suite slow --no-suite soak "$@"
