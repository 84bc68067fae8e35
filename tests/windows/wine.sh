#!/bin/sh
# wine PROGRAM [ARGUMENT...]. Now and then wine itself dies in the system's loader, when the program has
# ended or before it begins; then once more.
out=$(mktemp) errors=$(mktemp)
status=0
wine "$@" >"$out" 2>"$errors" || status=$?
if [ $status != 0 ] && { grep -q '^Inconsistency detected by ld.so' "$errors" || [ ! -s "$out" ]; }; then
    echo "wine.sh: once more, as wine ended with $status" >&2
    status=0
    wine "$@" >"$out" 2>"$errors" || status=$?
fi
cat "$out"
cat "$errors" >&2
rm -f "$out" "$errors"
exit $status
