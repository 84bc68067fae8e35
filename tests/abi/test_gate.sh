#!/bin/sh
# shellcheck disable=SC2016 # `$` for sed
# test_gate.sh [BUILD_FOLDER]: shows that abi/check.sh passes the library as it is, and fails when
# its interface changes. Works on a copy, built small. BUILD_FOLDER, a build by gcc with debug
# information, must give the same interface, whatever it was built with.
#
# JOBS in the environment: how many compilers at once
set -eu
source=$(cd "$(dirname "$0")/../.." && pwd)
[ $# -le 1 ] || { echo "usage: test_gate.sh [BUILD_FOLDER]" >&2; exit 2; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM
copy=$scratch/copy build=$scratch/copy/build

fail() {
    echo "test_gate: $*" >&2
    exit 1
}

fresh_copy() { # only what changed gets a new time
    for part in meson.build meson_options.txt abi include lib pkgconfig; do
        mkdir -p "$copy"
        (cd "$source" && find "$part" -type f) | while read -r file; do
            cmp -s "$source/$file" "$copy/$file" && continue
            mkdir -p "$copy/$(dirname "$file")"
            cp "$source/$file" "$copy/$file"
        done
    done
}

edit() { # file, sed command: must change it
    sed "$2" "$copy/$1" >"$scratch/edited"
    ! cmp -s "$scratch/edited" "$copy/$1" || fail "$1: nothing to change with '$2'"
    cat "$scratch/edited" >"$copy/$1"
}

check() { # expected status
    ninja -C "$build" ${JOBS:+-j "$JOBS"} >"$scratch/log" 2>&1 || {
        cat "$scratch/log"
        fail "$case: no build"
    }
    found=0
    sh "$copy/abi/check.sh" "$build" >"$scratch/report" 2>&1 || found=$?
    [ "$found" = "$1" ] || {
        cat "$scratch/report"
        fail "$case: status $1 expected, found $found"
    }
    echo "test_gate: $case: status $found"
}

says() { # each text
    for text in "$@"; do
        grep -qF -e "$text" "$scratch/report" || {
            cat "$scratch/report"
            fail "$case: not told: $text"
        }
    done
}

fresh_copy
CC=gcc meson setup --buildtype=plain -Ddebug=true -Doptimization=0 -Ddefault_library=shared \
    -Donednn=disabled -Dopenblas=disabled -Djpeg=disabled -Dtests=disabled -Dexamples=disabled \
    "$build" "$copy" >"$scratch/log" 2>&1 || { cat "$scratch/log"; fail "no setup"; }

case="unchanged"
check 0
says "has the interface of abi/aaclip-"
if [ $# = 1 ]; then
    case="$1"
    sh "$source/abi/dump.sh" "$build" >"$scratch/small.xml"
    sh "$source/abi/dump.sh" "$1" >"$scratch/given.xml"
    diff "$scratch/small.xml" "$scratch/given.xml" || fail "$case: another interface than the copy"
    echo "test_gate: $case: the same interface"
fi

case="a private struct"
edit lib/model/model.c 's/^struct aaclip_model {$/&\n    double more;/'
check 0
fresh_copy

case="a member of another type"
edit include/aaclip/detector.h 's/    float tile_overlap;/    double tile_overlap;/'
check 1
says "'struct aaclip_detector_options' changed" tile_overlap "Programs built before may break" \
    "sh abi/dump.sh"
fresh_copy

case="two members of one type swapped"
edit include/aaclip/calibration.h 's/float image_threshold;/float swapped;/
    s/float map_threshold;/float image_threshold;/
    s/float swapped;/float map_threshold;/'
check 1
says "'struct aaclip_calibration' changed" image_threshold "Programs built before may break"
fresh_copy

case="a member appended in the padding"
edit include/aaclip/detector.h 's/    bool find_regions;/    bool find_regions, appended;/'
check 1
says "'struct aaclip_detector_options' changed" appended "Compatible are only members appended"
fresh_copy

case="another value of an enum"
edit include/aaclip/metrics.h 's/    AACLIP_METRICS_HISTOGRAM = 1/    AACLIP_METRICS_HISTOGRAM = 2/'
check 1
says "'enum aaclip_metrics_mode' changed" AACLIP_METRICS_HISTOGRAM "Programs built before may break"
fresh_copy

case="a function that takes another handle"
edit include/aaclip/calibration.h \
    '/aaclip_adapters_save_calibrated(/s/const aaclip_adapters/const aaclip_image/'
edit include/aaclip/calibration.h 's/#include <aaclip\/export.h>/&\n#include <aaclip\/image.h>/'
edit lib/detect/calibration_file.c '/^aaclip_status aaclip_adapters_save_calibrated(/,/^{/{
    s/const aaclip_adapters \*adapters/const aaclip_image *image/
    s/^{/{\n    const aaclip_adapters *adapters = (const void *)image;/
}'
check 1
says aaclip_adapters_save_calibrated "aaclip_image" "Programs built before may break"
fresh_copy

case="a function less"
edit lib/aaclip.map '/^ *aaclip_map_peak;$/d'
check 1
says "1 Removed function" aaclip_map_peak "Programs built before may break"
fresh_copy

case="a function more"
edit lib/aaclip.map 's/^    aaclip_version;$/&\n    aaclip_version_more;/'
edit lib/core/version.c '$s/$/\
AACLIP_API int aaclip_version_more(void);\
int aaclip_version_more(void)\
{\
    return 1;\
}/'
check 1
says "1 Added function" aaclip_version_more "Functions were added" "sh abi/dump.sh"
fresh_copy

case="another soversion"
edit meson.build "s/^  version: '[0-9]*/&1/"
check 1
says "no such baseline" "sh abi/dump.sh"
fresh_copy

case="unchanged again"
check 0
