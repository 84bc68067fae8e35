#!/bin/sh
# headers.sh INCLUDE_FOLDER: every public header alone, in every standard, without a warning.
set -eu
warnings="-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# What C has no need for, and what gcc alone knows.
: >"$scratch/empty.cpp"
cpp_warnings="-Wold-style-cast"
if ${CXX:-c++} -Werror -Wuseless-cast -fsyntax-only "$scratch/empty.cpp" 2>"$scratch/unknown"; then
    cpp_warnings="$cpp_warnings -Wuseless-cast"
fi

checked=0
for header in "$1"/aaclip/*.h "$1"/aaclip/*.hpp; do
    name=aaclip/$(basename "$header")
    standards="c11 c17 c++11 c++20"
    case $header in *.hpp) standards="c++11 c++17 c++20" ;; esac
    for standard in $standards; do
        case $standard in
        c++*) compiler="${CXX:-c++} $cpp_warnings" suffix=cpp ;;
        *) compiler=${CC:-cc} suffix=c ;;
        esac
        printf '#include <%s>\nint not_empty;\n' "$name" >"$scratch/alone.$suffix"
        # shellcheck disable=SC2086 # a list of words
        $compiler -std=$standard $warnings -I"$1" -fsyntax-only "$scratch/alone.$suffix" || {
            echo "$name alone in $standard" >&2
            exit 1
        }
        checked=$((checked + 1))
    done
done
[ "$checked" -gt 0 ] || {
    echo "$1: no headers" >&2
    exit 1
}
echo "$checked compiled"
