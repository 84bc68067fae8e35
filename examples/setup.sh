#!/bin/sh
# Installs what libaaclip is built with (Debian, Ubuntu) and builds it in build/.
set -eu
cd "$(dirname "$0")/.."

packages="gcc meson ninja-build pkg-config python3 libdnnl-dev libopenblas-dev libpng-dev
libjpeg62-turbo-dev zlib1g-dev libjansson-dev libutf8proc-dev libcmocka-dev"
grep -q '^ID=ubuntu' /etc/os-release 2>/dev/null &&
    packages=$(echo "$packages" | sed 's/libjpeg62-turbo-dev/libjpeg-dev/')

missing=""
for package in $packages; do
    dpkg -s "$package" >/dev/null 2>&1 || missing="$missing $package"
done
if [ -n "$missing" ]; then
    echo "installing:$missing"
    as_root=""
    [ "$(id -u)" = 0 ] || as_root=sudo
    $as_root apt-get update -qq
    # shellcheck disable=SC2086 # a list of words
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
fi

[ -f build/build.ninja ] || meson setup build
ninja -C build
