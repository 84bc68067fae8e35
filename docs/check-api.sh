#!/bin/sh
# check-api.sh [FOLDER]: makes the API reference in FOLDER/api; fails on any warning of Doxygen.
# Without FOLDER nothing is kept.
set -eu
[ $# -le 1 ] || { echo "usage: check-api.sh [FOLDER]" >&2; exit 2; }
command -v doxygen >/dev/null || { echo "doxygen is not installed" >&2; exit 2; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
[ $# = 0 ] || { mkdir -p "$1" && folder=$(cd "$1" && pwd); }
folder=${folder:-$scratch}
cd "$(dirname "$0")/.."
{
    cat docs/Doxyfile
    echo "OUTPUT_DIRECTORY = \"$folder\""
} | doxygen -
# What Doxygen passes over it does not warn of: every function must have its entry.
sed -n 's/^    \(aaclip_[a-z_0-9]*\);$/\1/p' lib/aaclip.map | while read -r function; do
    grep -rqF "</span>$function()</h2>" "$folder/api" || {
        echo "$function: not in the reference" >&2
        exit 1
    }
done
echo "API reference: no warning"
