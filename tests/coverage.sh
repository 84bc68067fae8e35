#!/bin/sh
# Lines and branches of lib/ that the tests run, by folder; less than 90 % of either is a failure:
#   coverage.sh [--every] [arguments of coverage.py]
# --every: with each single allocation and operation failing, as in suite soak.
# Two builds: what the wider kernels do leaves oneDNN little to do, so the second one has none.
set -eu
cd "$(dirname "$0")/.."
build=${COVERAGE_BUILD:-build-coverage}
every=
if [ "${1:-}" = --every ]; then
    every=yes
    shift
fi

setup() { # folder, meson options
    folder=$1
    shift
    # Threads count without a lock, which would make them wait for each other all the time.
    [ -f "$folder/build.ninja" ] || meson setup "$folder" -Db_coverage=true -Dbuildtype=debug \
        -Doptimization=1 -Dhardening=false -Dc_args=-fprofile-update=single "$@" >"$folder.log" ||
        { cat "$folder.log"; exit 1; }
    find "$folder" -name '*.gcda' -delete
}

setup "$build"
setup "$build-least" -Dsimd=baseline -Dexamples=disabled
ninja -C "$build"
meson test -C "$build" --no-rebuild --print-errorlogs -t 8 --no-suite slow --no-suite soak
[ -z "$every" ] || meson test -C "$build" --no-rebuild --print-errorlogs -t 8 --suite soak \
    test_memory_every test_training_memory_every test_operations_every
ninja -C "$build-least" tests/ops/test_backends tests/ops/test_quantized tests/ops/test_adopted \
    tests/ops/test_gradients tests/unit/model/test_golden tests/unit/train/test_training_towers \
    tests/api/test_packed tests/api/test_precision
meson test -C "$build-least" --no-rebuild --print-errorlogs -t 8 backends quantized adopted gradients \
    test_golden test_training_towers test_packed test_precision
python3 tests/coverage.py "$build" "$build-least" --least 90 90 "$@"
