#!/bin/sh
# shellcheck disable=SC2046,SC2086 # compilers and pkg-config give lists of words
# shellcheck disable=SC2317 # consumers are called by name
# run.sh [--allow-missing] BUILD_FOLDER: installs a build twice, then builds and runs programs of
# other projects with what was installed alone. One line a consumer; all must give the same score.
#
#   --allow-missing  leave out, by name, consumers whose tools are not installed
#   JOBS             environment: how many compilers at once, for the meson subproject
#
# BUILD_FOLDER needs default_library=both and the programs; its prefix is changed for the time of
# the second installation.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
source=$(cd "$here/../.." && pwd)
golden=$source/tests/golden
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}"
: "${CC:=cc}" "${CXX:=c++}"
export CC CXX
warnings="-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror"

allow_missing=no
[ "${1-}" = --allow-missing ] && allow_missing=yes && shift
if [ $# != 1 ] || [ ! -f "$1/build.ninja" ]; then
    echo "usage: run.sh [--allow-missing] BUILD_FOLDER" >&2
    exit 2
fi
build=$(cd "$1" && pwd)

option() { # of the build
    meson introspect --buildoptions "$build" | python3 -c '
import json, sys
print(next(str(o["value"]).lower() if o["type"] == "boolean" else o["value"]
           for o in json.load(sys.stdin) if o["name"] == sys.argv[1]))' "$1"
}
for expected in default_library=both examples=enabled; do
    found=$(option "${expected%=*}")
    [ "$found" = "${expected#*=}" ] || {
        echo "$build: -D$expected expected, found ${expected%=*}=$found" >&2
        exit 1
    }
done

scratch=$(mktemp -d)
prefix=$(option prefix)
restore() {
    if [ "$(option prefix)" != "$prefix" ]; then
        meson configure "$build" -Dprefix="$prefix"
        ninja -C "$build" build.ninja >/dev/null
    fi
}
trap 'restore; rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM

# ---- two copies: under a DESTDIR, and with another prefix

staged=$scratch/staged elsewhere=$scratch/elsewhere
install_to() { # log, meson install's arguments
    log=$scratch/$1.log
    shift
    meson install -C "$build" --no-rebuild "$@" >"$log" 2>&1 || {
        cat "$log"
        exit 1
    }
}
ninja -C "$build" ${JOBS:+-j "$JOBS"} >"$scratch/build.log" || {
    cat "$scratch/build.log"
    exit 1
}
install_to staged --destdir "$staged"
meson configure "$build" -Dprefix="$elsewhere"
ninja -C "$build" ${JOBS:+-j "$JOBS"} >"$scratch/build.log" 2>&1 || {
    cat "$scratch/build.log"
    exit 1
}
install_to elsewhere
restore

use_copy() { # its root, of which pkg-config knows when it is a DESTDIR
    copy=$1
    pc=$(find "$copy" -name aaclip.pc)
    PKG_CONFIG_PATH=$(dirname "$pc")
    LD_LIBRARY_PATH=$(dirname "$PKG_CONFIG_PATH")
    export PKG_CONFIG_PATH LD_LIBRARY_PATH
    unset PKG_CONFIG_SYSROOT_DIR
    [ "$copy" != "$staged" ] || export PKG_CONFIG_SYSROOT_DIR="$staged"
}

# ---- what every program is given

photo=$golden/images/chelsea.png
model=$golden/nano/clip.pt
text_adapter=$golden/nano/adapters-published/text_adapter.pth
image_adapter=$golden/nano/adapters-published/image_adapter_20.pth
phrase="metal nut"
detect() { # program, further arguments
    program=$1
    shift
    "$program" "$model" "$text_adapter" "$image_adapter" "$photo" "$@"
}

links_to_copy() { # program
    ldd "$1" | grep -F "libaaclip.so" | grep -qF "$copy/" || {
        echo "$1 is not linked to $copy:"
        ldd "$1"
        return 1
    }
}

# ---- the consumers: each works in its folder and leaves the program's output in out

# With no other package's development files. What the flags name is the library's own.
alone() {
    export PKG_CONFIG_LIBDIR="$PKG_CONFIG_PATH"
    for flag in $(pkg-config --cflags --libs aaclip); do
        case $flag in
        "-I$copy"* | "-L$copy"* | -laaclip) ;;
        *)
            echo "aaclip.pc: foreign flag $flag"
            return 1
            ;;
        esac
    done
    if pkg-config --static --libs aaclip | grep openblas; then
        return 1
    fi
}

c_program() {
    alone
    $CC -std=c11 $warnings detect.c $(pkg-config --cflags --libs aaclip) -o detect
    links_to_copy detect
    detect ./detect "$golden/images/chelsea.jpg" >out
    for name in has_onednn has_openblas has_jpeg has_cuda; do
        grep -qx "$name $(pkg-config --variable=$name aaclip)" out || {
            echo "aaclip.pc: $name=$(pkg-config --variable=$name aaclip), the library:" && cat out
            return 1
        }
    done
    grep -qx "version $(pkg-config --modversion aaclip)" out
    grep -qx "header $(pkg-config --modversion aaclip)" out
}

c_static() {
    alone
    find "$copy" -name 'libaaclip.so*' -exec rm {} +
    $CC -std=c11 $warnings detect.c $(pkg-config --static --cflags --libs aaclip) -o detect
    if ldd detect | grep -F libaaclip; then
        return 1
    fi
    detect ./detect "$golden/images/chelsea.jpg" >out
}

cpp_cmake() {
    cmake -S . -B build -DCMAKE_BUILD_TYPE=Release
    cmake --build build
    links_to_copy build/detect
    detect build/detect >out
}

# By find_package alone, where the files are and not where their prefix says.
cmake_package() {
    unset PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR LD_LIBRARY_PATH
    cp "$here/c/detect.c" .
    root=$(find "$copy" -type d -name include)
    cmake -S . -B build -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH="$(dirname "$root")"
    cmake --build build
    detect build/detect "$golden/images/chelsea.jpg" >out
    for name in has_onednn has_openblas has_jpeg has_cuda; do
        grep -qx "$name $(sed -n "s/^aaclip_$name:INTERNAL=//p" build/CMakeCache.txt)" out
    done
}

cmake_shared() {
    cmake_package
    links_to_copy build/detect
}

cmake_static() {
    cmake_package
    if ldd build/detect | grep -F libaaclip; then
        return 1
    fi
}

meson_installed() {
    cp "$here/c/detect.c" .
    meson setup build
    ninja -C build
    links_to_copy build/detect
    detect build/detect "$golden/images/chelsea.jpg" >out
}

meson_subproject() {
    cp "$here/c/detect.c" .
    mkdir subprojects
    ln -s "$source" subprojects/aaclip
    unset PKG_CONFIG_PATH LD_LIBRARY_PATH
    meson setup build --force-fallback-for=aaclip -Doptimization="$(option optimization)" \
        -Ddebug="$(option debug)" -Daaclip:onednn=disabled --unity=on | tee setup.log
    grep -q "has_onednn *: 0" setup.log
    ninja -C build ${JOBS:+-j "$JOBS"}
    if ldd build/detect | grep -F libaaclip; then
        return 1
    fi
    detect build/detect "$golden/images/chelsea.jpg" >out
}

# The build of meson-subproject, which does without oneDNN, as Debian has no static one.
all_static() {
    subproject=$scratch/consumers/meson-subproject
    export PKG_CONFIG_PATH="$subproject/build/meson-uninstalled"
    for flag in $(pkg-config --static --libs aaclip) -lgomp; do
        archive=lib${flag#-l}.a
        case $flag in
        -laaclip) ;;
        -l*) [ "$($CC -print-file-name="$archive")" != "$archive" ] || missing="${missing-} $archive" ;;
        esac
    done
    if [ -n "${missing-}" ]; then
        echo "left out, as there is no$missing"
        return
    fi
    $CC -std=c11 $warnings -static detect.c $(pkg-config --static --cflags --libs aaclip) -o detect
    if readelf --dynamic detect | grep NEEDED; then
        return 1
    fi
    detect ./detect "$golden/images/chelsea.jpg" >out
    cmp out "$subproject/out"
    echo "the score of meson-subproject"
}

# The build folder itself, by aaclip-uninstalled.pc.
uninstalled() {
    unset PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR
    copy=$build
    LD_LIBRARY_PATH=$build/lib
    devenv() { meson devenv -C "$build" "$@"; }
    $CC -std=c11 $warnings detect.c $(devenv pkg-config --cflags --libs aaclip) -o detect
    links_to_copy detect
    detect ./detect "$golden/images/chelsea.jpg" >out
    has=$(devenv pkg-config --variable=has_onednn aaclip)
    grep -qx "has_onednn $has" out
}

refuses() { # what the message names, meson's options
    words=$1
    shift
    rm -rf refused
    if meson setup refused "$source" "$@" >refused.log 2>&1; then
        echo "accepted: $*"
        return 1
    fi
    grep "ERROR: .*$words" refused.log || {
        cat refused.log
        return 1
    }
}

setup_refuses() {
    mkdir -p empty/include
    touch empty/include/dnnl.h
    refuses "/nonexistent/include/dnnl.h" -Donednn_prefix=/nonexistent
    refuses "$PWD/empty" -Donednn_prefix="$PWD/empty"
    CC=gcc refuses clang -Dfuzzers=true
    printf '%s\n' "[binaries]" "c = '$CC'" "[host_machine]" "system = 'linux'" "cpu_family = 'ppc64'" \
        "cpu = 'ppc64'" "endian = 'big'" >big.cross
    refuses big-endian --cross-file big.cross
}

opencv() {
    $CXX -std=c++17 $warnings $(pkg-config --cflags-only-I opencv4 | sed 's/-I/-isystem /g') \
        detect.cpp $(pkg-config --cflags --libs aaclip) \
        -lopencv_imgcodecs -lopencv_imgproc -lopencv_core -o detect
    links_to_copy detect
    detect ./detect >out
}

headers() {
    for header in "$source"/include/aaclip/*.h "$source"/include/aaclip/*.hpp; do
        find "$copy" -path "*/include/aaclip/$(basename "$header")" | grep -q . || {
            echo "$(basename "$header") is not installed"
            return 1
        }
    done
    sh headers.sh "$(pkg-config --variable=includedir aaclip)"
}

overlay() { # the installed program's, in this folder
    bin=$(find "$copy" -type d -name bin)
    "$bin/aaclip-detect" --model "$model" --adapters "$text_adapter" --adapters "$image_adapter" \
        --class object --phrase "$phrase" --out . "$@"
}

# The page's programs, then the commands below each, with files of the names that stand there.
documentation() {
    block() { # program, language: the first block of that language after the program's name
        awk -v name="\`$1.cpp\`:" -v kind="\`\`\`$2" '$0 == "```" && on { exit } on { print }
            $0 == name { here = 1 } here && $0 == kind { on = 1 }' "$source/docs/cpp.md"
    }
    bin=$(find "$copy" -type d -name bin)
    PATH=$bin:$PATH
    ln -s "$model" ViT-L-14-336px.pt
    ln -s "$golden/nano/bpe_simple_vocab_16e6.txt.gz" .
    ln -s "$text_adapter" "$image_adapter" .
    ln -s "$photo" part.png
    ln -s "$golden/train/images" .
    ln -s "$golden/train/manifest.jsonl" parts.jsonl
    for program in heat bundle exchange; do
        page_program $program
        grep '^score ' $program.out >>scores
    done
    [ "$(wc -l <scores)" = 4 ]
    [ "$(sort -u scores | wc -l)" = 1 ]
    cp heat.out out
    overlay "$photo"
    cmp heat.png chelsea_overlay.png
    rm text_adapter.pth # a link to that of the golden data
    page_program train
    ./heat ViT-L-14-336px.pt text_adapter.pth image_adapter.pth "metal nut" part.png trained.png
    ends_by_interrupt ./train ViT-L-14-336px.pt parts.jsonl 100000 112
}

page_program() { # name; its output goes to NAME.out
    block "$1" cpp >"$1.cpp"
    block "$1" sh >"$1.sh"
    [ -s "$1.cpp" ]
    [ -s "$1.sh" ]
    sh -eu "$1.sh" >"$1.out"
    links_to_copy "$1"
    $CXX -std=c++17 $warnings -Wold-style-cast $(pkg-config --cflags aaclip) -fsyntax-only "$1.cpp"
}

ends_by_interrupt() { # command
    "$@" >/dev/null 2>message &
    sleep 2
    kill -INT $!
    code=0
    wait $! || code=$?
    [ $code = 3 ]
    grep -qx "cancelled: the flag was raised" message
}

programs() {
    overlay --csv table.csv "$photo"
    for name in bench convert detect evaluate generate train; do
        "$bin/aaclip-$name" --help >/dev/null
    done
    links_to_copy "$bin/aaclip-detect"
    for name in bench convert detect evaluate generate train; do
        for file in man/man1/aaclip-$name.1 bash-completion/completions/aaclip-$name \
            fish/vendor_completions.d/aaclip-$name.fish zsh/site-functions/_aaclip; do
            [ -s "$(dirname "$bin")/share/$file" ] || {
                echo "$file is not installed"
                return 1
            }
        done
    done
    # path,score,...
    awk -F, 'NR == 2 { print "score", $2 }' table.csv >out
}

# By its name; a copy below a DESTDIR is told where it is.
small_model() {
    bin=$(find "$copy" -type d -name bin)
    [ "$copy" != "$staged" ] || export AACLIP_MODELS="$(dirname "$bin")/share/aaclip/models"
    "$bin/aaclip-generate" --out . --class wood --size 96 --train 0 --good 1 --defective 0
    "$bin/aaclip-detect" --model aaclip-mini --class wood --out maps wood/test/good/000.png
    [ -s maps/000_overlay.png ]
    if AACLIP_MODELS=/nowhere "$bin/aaclip-detect" --model aaclip-mini --class wood x.png; then
        return 1
    fi
}

# ---- running them

failed=0 first=""
score_of() { sed -n 's/^score //p' "$1"; }

# Exactly equal for what runs the same library; a build of its own may round differently.
same_score() { # found, exact or near
    [ -n "$1" ] && awk -v a="$1" -v b="$first" -v how="$2" 'BEGIN {
        d = a - b; if (d < 0) d = -d; exit !(a == b || (how == "near" && d < 1e-5)) }'
}

consumer() { # name, tools it needs, copy, folder or none, exact or near or silent, function
    name=$1 tools=$2 folder=$4 scored=$5
    for tool in $tools; do
        command -v "$tool" >/dev/null || pkg-config --exists "$tool" || {
            echo "$name: $tool is not installed"
            [ $allow_missing = yes ] || failed=1
            return 0
        }
    done
    work=$scratch/consumers/$name
    mkdir -p "$work"
    [ "$folder" = none ] || cp -R "$here/$folder"/. "$work"
    use_copy "$3"
    set +e
    (set -eu; cd "$work"; "$6") >"$work/log" 2>&1
    code=$?
    set -e
    if [ $code != 0 ]; then
        echo "$name: FAILED"
        sed 's/^/    /' "$work/log"
        failed=1
    elif [ "$scored" = silent ]; then
        echo "$name: ok, $(tail -n 1 "$work/log")"
    else
        score=$(score_of "$work/out")
        : "${first:=$score}"
        if same_score "$score" "$scored"; then
            echo "$name: ok, score $score"
        else
            echo "$name: FAILED, score $score, expected $first"
            failed=1
        fi
    fi
}

consumer c-destdir "$CC" "$staged" c exact c_program
consumer c-prefix "$CC" "$elsewhere" c exact c_program
consumer programs-destdir "" "$staged" none exact programs
consumer programs-prefix "" "$elsewhere" none exact programs
consumer model-destdir "" "$staged" none silent small_model
consumer model-prefix "" "$elsewhere" none silent small_model
consumer cpp-cmake "cmake $CXX" "$elsewhere" cpp-cmake exact cpp_cmake
consumer cmake-package "cmake $CC" "$staged" cmake-package exact cmake_shared
consumer opencv "opencv4 $CXX" "$elsewhere" opencv exact opencv
consumer meson-installed "meson $CC" "$elsewhere" meson-subproject exact meson_installed
consumer meson-subproject "meson $CC" "$elsewhere" meson-subproject near meson_subproject
consumer all-static "$CC readelf" "$elsewhere" c silent all_static # after meson-subproject
consumer uninstalled "meson $CC" "$elsewhere" c exact uninstalled
consumer setup "meson gcc" "$elsewhere" none silent setup_refuses
consumer headers "$CC $CXX" "$elsewhere" . silent headers
consumer documentation "$CXX" "$elsewhere" none exact documentation
consumer c-static "$CC" "$elsewhere" c exact c_static # takes the shared library away
consumer cmake-static "cmake $CC" "$elsewhere" cmake-package exact cmake_static
exit $failed
