#!/bin/sh
# Tests the Python bindings with the library of a build folder: a wheel that carries it, in a fresh
# virtual environment, with mypy --strict and pytest. A build folder of -Db_sanitize=address,undefined:
# the tests of lifetimes, threads and processes under AddressSanitizer and LeakSanitizer instead.
#
#   run-tests.sh BUILD_FOLDER [PYTEST_OPTION...]
#
# PYTHON names an interpreter other than python3; it must have venv, pip, NumPy and Pillow.
set -eu
if [ $# -lt 1 ] || [ ! -d "$1" ]; then
    echo "usage: run-tests.sh BUILD_FOLDER [PYTEST_OPTION...]" >&2
    exit 2
fi
build=$(cd "$1" && pwd)
shift
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}

fail() {
    echo "run-tests.sh: $*" >&2
    exit 1
}

library=$(ls "$build"/lib/libaaclip.so.[0-9] 2>/dev/null) || fail "$build: no lib/libaaclip.so.N"
"$python" -c 'import ensurepip, numpy, PIL' ||
    fail "$python: needs venv, NumPy and Pillow (python3-venv python3-numpy python3-pil); see PYTHON"

temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT
trap 'exit 1' INT TERM
unset AACLIP_LIBRARY AACLIP_BUNDLE_LIBRARY PYTHONPATH MYPYPATH
export PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1

echo "--- wheel"
"$python" -m venv --system-site-packages "$temporary/venv"
bin=$temporary/venv/bin
mkdir "$temporary/source" # building leaves files behind
cp -R "$here/src" "$here/pyproject.toml" "$here/setup.py" "$here/README.md" "$temporary/source"
AACLIP_BUNDLE_LIBRARY=$library "$bin/pip" wheel -q --no-deps -w "$temporary/dist" "$temporary/source"
rm -r "$temporary/source"
wheel=$(ls "$temporary"/dist/*.whl)
"$bin/pip" install -q "${wheel}[test]"
echo "${wheel##*/}, which carries $library"

cd "$here"
if grep -q __asan_init "$library"; then
    runtime=$(ldd "$library" | awk '/libasan|clang_rt\.asan/ { print $3 }')
    [ -f "$runtime" ] || fail "$library: its sanitizer is not a shared library that can be preloaded"
    echo "--- pytest, with $runtime"
    # leaks.py checks for leaks once handles are closed; the interpreter's own are ignored.
    # Looking up thread-local storage through the sanitizer crashes the leak check of GCC 12.
    LD_PRELOAD=$runtime PYTHONMALLOC=malloc \
        ASAN_OPTIONS=leak_check_at_exit=0:intercept_tls_get_addr=0:log_path="$temporary/log" \
        LSAN_OPTIONS=suppressions="$here/../../tests/leaks.txt" \
        UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
        "$bin/python" -m pytest -q -p no:cacheprovider "$@" tests/test_leaks.py tests/test_library.py \
        tests/test_lifetimes.py tests/test_processes.py tests/test_text.py tests/test_measuring.py || {
        grep -lsE 'AddressSanitizer: [A-Za-z-]+ on|runtime error|fatal error' "$temporary"/log.* |
            while read -r log; do head -n 60 "$log"; done
        exit 1
    }
    exit
fi

echo "--- mypy --strict, of the installed package and of the tests"
cd "$temporary" # away from the sources
"$bin/mypy" --config-file "$here/pyproject.toml" --cache-dir "$temporary/mypy" -p aaclip
"$bin/mypy" --config-file "$here/pyproject.toml" --cache-dir "$temporary/mypy" "$here/tests"
cd "$here"

echo "--- pytest"
AACLIP_PROGRAMS=$build/examples "$bin/python" -m pytest -q -p no:cacheprovider "$@"
