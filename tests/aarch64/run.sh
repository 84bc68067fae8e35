#!/bin/sh
# Builds for 64-bit ARM, backends blas and reference, in build-aarch64 and runs the tests under qemu.
# Starts from a bare Debian 12. Arguments go to meson test.
set -eu
source=$(cd "$(dirname "$0")/../.." && pwd)
build=$source/build-aarch64
sysroot=$build-sysroot

# shellcheck source=tests/support/debian.sh
. "$source/tests/support/debian.sh"
install_packages gcc-aarch64-linux-gnu g++-aarch64-linux-gnu libc6-dev-arm64-cross \
    qemu-user-static meson ninja-build pkg-config python3

# Debian's packages for the processor, unpacked where they disturb nothing.
if [ ! -f "$sysroot/complete" ]; then
    rm -rf "$sysroot"
    mkdir "$sysroot"
    work=$(mktemp -d)
    own_apt_begin "$work" 's/^deb \[[^]]*\]/deb/'
    : >"$work/status"
    arm_apt() {
        own_apt -o APT::Architecture=arm64 -o APT::Architectures=arm64 \
            -o Dir::State::Status="$work/status" -o Dir::Cache="$work/cache" "$@"
    }
    arm_apt update
    arm_apt install -y --download-only --no-install-recommends libc6-dev libgomp1 zlib1g-dev \
        libjansson-dev libutf8proc-dev libcmocka-dev libpng-dev libjpeg62-turbo-dev \
        libopenblas-pthread-dev libstdc++6
    for package in "$work"/cache/archives/*.deb; do dpkg -x "$package" "$sysroot"; done
    rm -rf "$work"
    # as its installation would have chosen
    ln -s openblas-pthread/libopenblas.so.0 "$sysroot/usr/lib/aarch64-linux-gnu/"
    printf "[constants]\nsysroot = '%s'\n" "$sysroot" >"$sysroot/place.cross"
    touch "$sysroot/complete"
fi

if [ ! -f "$build/build.ninja" ]; then
    meson setup "$build" "$source" --cross-file "$sysroot/place.cross" \
        --cross-file "$source/tests/aarch64/gcc.cross" --werror -Dbuildtype=release \
        -Ddefault_library=shared -Donednn=disabled -Dopenblas=enabled -Dtests=enabled
fi
[ $# != 0 ] || ninja -C "$build" # a choice of tests builds what it needs

# qemu takes ten to twenty times as long as a processor would
export OMP_WAIT_POLICY=passive OPENBLAS_NUM_THREADS=1
status=0
meson test -C "$build" --print-errorlogs -t 10 --no-suite slow --no-suite soak "$@" ||
    status=$?
printf '\nLeft out on this system:\n'
grep -ho 'left out.*' "$build/meson-logs/meson-log.txt" | sort -u
exit $status
