#!/bin/sh
# Builds for 64-bit Windows with mingw-w64, without image codecs, BLAS and programs, in build-windows
# and runs the tests under wine. Starts from a bare Debian 12. Arguments go to meson test.
set -eu
source=$(cd "$(dirname "$0")/../.." && pwd)
build=$source/build-windows
prefix=$build-prefix

# shellcheck source=tests/support/debian.sh
. "$source/tests/support/debian.sh"
install_packages gcc-mingw-w64-x86-64 libz-mingw-w64-dev wine wine64 meson ninja-build pkg-config \
    python3 cmake make gcc libc6-dev

# What Debian has no Windows package of is built from Debian's sources.
build_dependency() { # archive, CMake options
    folder=${1%.orig.tar.*}
    archive=$1
    shift
    mkdir "$folder"
    tar xf "$archive" -C "$folder" --strip-components=1
    cmake -S "$folder" -B "$folder/build" -DCMAKE_SYSTEM_NAME=Windows \
        -DCMAKE_C_COMPILER=x86_64-w64-mingw32-gcc -DCMAKE_RC_COMPILER=x86_64-w64-mingw32-windres \
        -DCMAKE_INSTALL_PREFIX="$prefix" -DCMAKE_BUILD_TYPE=Release \
        -DCMAKE_C_FLAGS=-D__USE_MINGW_ANSI_STDIO=1 "$@"
    cmake --build "$folder/build"
    cmake --install "$folder/build"
}

if [ ! -f "$prefix/complete" ]; then
    rm -rf "$prefix"
    work=$(mktemp -d)
    fetch_sources "$work" jansson utf8proc cmocka
    for archive in "$work"/*.orig.tar.?z; do
        case $archive in
        */jansson_*) options="-DJANSSON_BUILD_DOCS=OFF -DJANSSON_WITHOUT_TESTS=ON -DJANSSON_EXAMPLES=OFF" ;;
        */cmocka_*) options="-DWITH_EXAMPLES=OFF -DUNIT_TESTING=OFF" ;;
        *) options="-DBUILD_SHARED_LIBS=OFF" ;;
        esac
        # shellcheck disable=SC2086 # a list of words
        build_dependency "$archive" $options >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
    done
    rm -rf "$work"
    # the library and its tests format as C says, not as the system does
    sed -i 's/__format__ (__printf__/__format__ (__gnu_printf__/' "$prefix/include/cmocka.h"
    touch "$prefix/complete"
fi

export PKG_CONFIG_LIBDIR="$prefix/lib/pkgconfig"
if [ ! -f "$build/build.ninja" ]; then
    printf "[binaries]\nexe_wrapper = '%s'\n" "$source/tests/windows/wine.sh" >"$build.cross"
    meson setup "$build" "$source" --cross-file "$source/tests/windows/mingw.cross" \
        --cross-file "$build.cross" --werror \
        -Dbuildtype=release -Ddefault_library=shared -Donednn=disabled -Dopenblas=disabled \
        -Djpeg=disabled -Dpng=disabled -Dtests=enabled -Dexamples=disabled
fi
ninja -C "$build"

# A wine of its own that is up before the first test: what that started would keep the test's output
# open, and meson would wait for it.
export WINEPREFIX="$build-wine" WINEDEBUG=-all WINEDLLOVERRIDES="mscoree,mshtml=" WINEPATH="$prefix/bin"
mkdir -p "$WINEPREFIX"
wineserver -p
trap 'wineserver -k || true' EXIT
wineboot -i >/dev/null 2>&1 </dev/null

status=0
meson test -C "$build" --no-rebuild --print-errorlogs --no-suite slow --no-suite soak "$@" ||
    status=$?
log=$build/meson-logs
printf '\nLeft out or skipped on this system:\n'
grep -ho 'left out.*' "$log/meson-log.txt" | sort -u
sed -n 's|^\[  SKIPPED \] \([a-z_][a-z0-9_]*\).*|\1|p' "$log/testlog.txt" | sort -u
exit $status
