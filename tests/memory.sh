#!/bin/sh
# Reads of memory that nobody has written, under MemorySanitizer: memory.sh [TEST...], all short ones
# without names. The library and what it links are built with it, from Debian's sources, in build-msan;
# without OpenMP, whose runtime is not and would be taken for an offender, without oneDNN and OpenBLAS, and
# without AVX-512, of whose stores some are unknown to clang 14's sanitizer.
set -eu
source=$(cd "$(dirname "$0")/.." && pwd)
build=$source/build-msan
prefix=$build-prefix

# shellcheck source=tests/support/debian.sh
. "$source/tests/support/debian.sh"
install_packages clang llvm libclang-rt-14-dev meson ninja-build pkg-config python3 python3-numpy \
    python3-pil cmake make

export CC=clang CFLAGS="-fsanitize=memory -fsanitize-memory-track-origins -fno-omit-frame-pointer -O1 -g"
build_dependency() { # folder
    case $1 in
    */zlib_*) # Debian's archive lacks what its CMake file wants
        (cd "$1" && ./configure --prefix="$prefix" && make install)
        ;;
    *)
        cmake -S "$1" -B "$1/build" -DCMAKE_INSTALL_PREFIX="$prefix" \
            -DBUILD_SHARED_LIBS=ON -DJANSSON_BUILD_SHARED_LIBS=ON -DJANSSON_BUILD_DOCS=OFF \
            -DJANSSON_WITHOUT_TESTS=ON -DJANSSON_EXAMPLES=OFF -DWITH_EXAMPLES=OFF -DUNIT_TESTING=OFF \
            -DCMAKE_PREFIX_PATH="$prefix" -DPNG_TESTS=OFF -DWITH_SIMD=OFF
        cmake --build "$1/build" && cmake --install "$1/build"
        ;;
    esac
}

if [ ! -f "$prefix/complete" ]; then
    rm -rf "$prefix"
    work=$(mktemp -d)
    fetch_sources "$work" zlib jansson utf8proc cmocka libpng1.6 libjpeg-turbo
    for archive in "$work"/zlib*.orig.tar.* "$work"/*.orig.tar.?z "$work"/*.orig.tar.bz2; do
        folder=${archive%.orig.tar.*}
        if [ ! -f "$archive" ] || [ -d "$folder" ]; then continue; fi
        mkdir "$folder"
        tar xf "$archive" -C "$folder" --strip-components=1
        build_dependency "$folder" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
    done
    rm -rf "$work"
    touch "$prefix/complete"
fi

# The compiler without OpenMP, whatever else it is told.
cat >"$prefix/clang-serial" <<END
#!/bin/sh
exec clang "\$@" -fno-openmp -D_OPENMP=201811 -isystem "$source/tests/support/serial"
END
chmod +x "$prefix/clang-serial"

export CC="$prefix/clang-serial"
export PKG_CONFIG_PATH="$prefix/lib/pkgconfig:$prefix/share/pkgconfig"
export LDFLAGS="-fsanitize=memory -Wl,-rpath,$prefix/lib" MSAN_OPTIONS=halt_on_error=1
[ -f "$build/build.ninja" ] || meson setup "$build" "$source" -Db_lundef=false -Dbuildtype=debug \
    -Doptimization=1 -Dhardening=false -Donednn=disabled -Dopenblas=disabled -Dtests=enabled \
    -Dsimd=avx2 -Dexamples=disabled -Dc_args="$CFLAGS -D_GNU_SOURCE -Wno-macro-redefined -Wno-source-uses-openmp \
-include $source/tests/support/msan.h" >"$build.log" || { cat "$build.log"; exit 1; }
ninja -C "$build"
meson test -C "$build" --no-rebuild --print-errorlogs -t 8 --suite unit --suite api --suite ops "$@"
