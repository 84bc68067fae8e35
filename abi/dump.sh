#!/bin/sh
# dump.sh BUILD_FOLDER|LIBRARY: writes the binary interface of the shared library to stdout, the
# same from any folder, optimisation and choice of backends. Needs gcc's debug information.
set -eu
[ $# = 1 ] || { echo "usage: dump.sh BUILD_FOLDER|LIBRARY" >&2; exit 2; }

fail() {
    echo "$*" >&2
    exit 2
}

command -v abidw >/dev/null || fail "abidw is not installed (Debian: abigail-tools)"
library=$1
[ ! -d "$library" ] || library=$library/lib/libaaclip.so
[ -f "$library" ] || fail "$library: no such library; a build folder or a shared library expected"
library=$(readlink -f "$library")
readelf --sections --wide "$library" | grep -q '\.debug_info' ||
    fail "$library: no debug information; build it with -Ddebug=true"
# libabigail 2.2 does not find the source of a struct that clang 14 defines in a .c file, and takes
# its members for public.
! readelf --string-dump=.comment "$library" | grep -q clang ||
    fail "$library: built with clang; build it with gcc"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Handles are opaque; all other private types are behind them. libabigail keeps the name alone of a
# type that a rule with this label of its own drops. (Its --headers-dir goes by base names and takes
# lib/detect/detector.h for the public header.)
cat >"$scratch/private.suppr" <<'END'
[suppress_type]
  label = Artificial private types suppression specification
  type_kind = struct
  source_location_not_regexp = include/aaclip/[a-z_]*\.h$
  drop = yes
END

abidw --drop-private-types --suppressions "$scratch/private.suppr" --exported-interfaces-only \
    --no-architecture --no-comp-dir-path --no-corpus-path --no-elf-needed --no-show-locs \
    --no-write-default-sizes --type-id-style hash --out-file "$scratch/dump" "$library"
grep -q "function-decl name='aaclip_" "$scratch/dump" || fail "$library: no function found"
if grep -m 1 "name='aac_" "$scratch/dump" >&2; then
    fail "$library: a private type in the interface"
fi
sed "s|path='[^']*/lib/|path='lib/|" "$scratch/dump"
