#!/bin/sh
# Handles shared by threads, under ThreadSanitizer; docs/reliability.md. GCC's OpenMP is not
# instrumented, so each call has one thread.
set -eu
cd "$(dirname "$0")/.."
tests='test_threads test_limits test_loader test_log'
[ -f build-tsan/build.ninja ] || meson setup build-tsan -Db_sanitize=thread \
    -Dbuildtype=debugoptimized -Dexamples=disabled >build-tsan.log || { cat build-tsan.log; exit 1; }
# shellcheck disable=SC2086 # a list of words
OMP_THREAD_LIMIT=1 OPENBLAS_NUM_THREADS=1 TSAN_OPTIONS=halt_on_error=1 \
    meson test -C build-tsan --print-errorlogs -t 8 $tests
