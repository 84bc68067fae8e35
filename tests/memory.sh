#!/bin/sh
# The readers of files and texts under MemorySanitizer: reads of memory that nobody has written. The
# library and what it links are built with it, from Debian's sources, in build-msan. What computes is
# left to Valgrind: OpenMP's runtime is not built so, and is taken for an offender.
set -eu
source=$(cd "$(dirname "$0")/.." && pwd)
build=$source/build-msan
prefix=$build-prefix

# shellcheck source=tests/support/debian.sh
. "$source/tests/support/debian.sh"
install_packages clang llvm libclang-rt-14-dev libomp-dev meson ninja-build pkg-config \
    python3 cmake make

export CC=clang CFLAGS="-fsanitize=memory -fsanitize-memory-track-origins -fno-omit-frame-pointer -O1 -g"
build_dependency() { # folder
    case $1 in
    */zlib_*) # Debian's archive lacks what its CMake file wants
        (cd "$1" && ./configure --prefix="$prefix" && make install)
        ;;
    *)
        cmake -S "$1" -B "$1/build" -DCMAKE_INSTALL_PREFIX="$prefix" -DCMAKE_INSTALL_LIBDIR=lib \
            -DBUILD_SHARED_LIBS=ON -DJANSSON_BUILD_SHARED_LIBS=ON -DJANSSON_BUILD_DOCS=OFF \
            -DJANSSON_WITHOUT_TESTS=ON -DJANSSON_EXAMPLES=OFF -DWITH_EXAMPLES=OFF -DUNIT_TESTING=OFF
        cmake --build "$1/build" && cmake --install "$1/build"
        ;;
    esac
}

if [ ! -f "$prefix/complete" ]; then
    rm -rf "$prefix"
    work=$(mktemp -d)
    fetch_sources "$work" zlib jansson utf8proc cmocka
    for archive in "$work"/*.orig.tar.?z "$work"/*.orig.tar.bz2; do
        [ -f "$archive" ] || continue
        folder=${archive%.orig.tar.*}
        mkdir "$folder"
        tar xf "$archive" -C "$folder" --strip-components=1
        build_dependency "$folder" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
    done
    rm -rf "$work"
    touch "$prefix/complete"
fi

export PKG_CONFIG_PATH="$prefix/lib/pkgconfig:$prefix/share/pkgconfig"
export LDFLAGS="-fsanitize=memory -Wl,-rpath,$prefix/lib" OMP_THREAD_LIMIT=1 MSAN_OPTIONS=halt_on_error=1
[ -f "$build/build.ninja" ] || meson setup "$build" "$source" -Db_lundef=false -Dbuildtype=debug \
    -Doptimization=1 -Dhardening=false -Donednn=disabled -Dopenblas=disabled -Dpng=disabled \
    -Djpeg=disabled -Dtests=enabled -Dexamples=disabled \
    -Dc_args="$CFLAGS -D_GNU_SOURCE -Wno-macro-redefined -include $source/tests/support/msan.h" >"$build.log" || { cat "$build.log"; exit 1; }
names="test_random test_core test_zip test_safetensors test_checkpoint test_torch_archive test_torch_writer
    test_decode test_write test_prompts test_tokenizer test_vocabulary test_prefix_tree test_prompt_list
    test_dataset test_layouts test_metrics test_regions test_tiles"
targets=$(for name in $names; do (cd "$source" && ls tests/unit/*/"$name.c") | sed 's/[.]c$//'; done)
# shellcheck disable=SC2086 # lists of words
ninja -C "$build" $targets
# shellcheck disable=SC2086
meson test -C "$build" --no-rebuild --print-errorlogs -t 8 $names
