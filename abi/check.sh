#!/bin/sh
# check.sh BUILD_FOLDER|LIBRARY: fails when the binary interface of the shared library is not the
# one written down in aaclip-SOVERSION.xml. Status 0: the same, 1: another, 2: it cannot be told.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
[ $# = 1 ] || { echo "usage: check.sh BUILD_FOLDER|LIBRARY" >&2; exit 2; }
command -v abidiff >/dev/null || {
    echo "abidiff is not installed (Debian: abigail-tools)" >&2
    exit 2
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
found=$scratch/found.xml
sh "$here/dump.sh" "$1" >"$found" || exit 2

soname=$(sed -n "1s/.* soname='\([^']*\)'.*/\1/p" "$found")
baseline=aaclip-${soname#libaaclip.so.}.xml
update="    sh abi/dump.sh $1 >abi/$baseline"
if [ ! -f "$here/$baseline" ]; then
    cat >&2 <<END
abi/$baseline: no such baseline, but the library is $soname. Where docs/abi.md asks for a new
soversion, write its baseline, and remove the old one:
$update
END
    exit 1
fi

compare() { # abidiff's options; its status, of which 1 and 2 are errors
    status=0
    abidiff --harmless "$@" "$here/$baseline" "$found" >"$scratch/report" 2>&1 || status=$?
    [ $((status & 3)) = 0 ] || { cat "$scratch/report" >&2; exit 2; }
    return "$status"
}

if compare; then
    echo "$soname has the interface of abi/$baseline"
    exit 0
fi
if compare --no-added-syms; then
    verdict="Functions were added, which programs do not mind. Update the baseline:"
else
    verdict="Programs built before may break. Compatible are only members appended behind the old end of
a struct that begins with its size, and values appended to an enum. For these, update the baseline:"
fi
# what changed, without everything that uses it; where that tells nothing, all
if compare --leaf-changes-only; then
    compare || true
fi
cat "$scratch/report" - >&2 <<END

$soname has not the interface of abi/$baseline.
$verdict
$update
with a line in CHANGELOG.md. docs/abi.md says when anything else may change; else take it back.
END
exit 1
