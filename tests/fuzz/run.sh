#!/bin/sh
# Fuzzes every target from its corpus, with AddressSanitizer and UndefinedBehaviorSanitizer:
#   run.sh [--seconds N | --runs N] [--jobs N] [--keep FOLDER] [TARGET...]
# N seconds (10) or executions a target, N targets (1) at a time; the table has executions in a second
# of the processor's time. What libFuzzer finds worth keeping goes to FOLDER/TARGET and is gone
# through first the next time; inputs that fail go to FOLDER/TARGET.found. Needs clang.
set -eu
source=$(cd "$(dirname "$0")/../.." && pwd)
build=${FUZZ_BUILD:-$source/build-fuzz}
limit=-max_total_time=10
jobs=1
keep=
while [ $# -gt 0 ]; do
    case $1 in
    --seconds) limit=-max_total_time=$2; shift 2 ;;
    --runs) limit=-runs=$2; shift 2 ;;
    --jobs) jobs=$2; shift 2 ;;
    --keep) keep=$2; shift 2 ;;
    -*) sed -n '2,6s/^# //p' "$0"; exit 2 ;;
    *) break ;;
    esac
done

[ -f "$build/build.ninja" ] || CC=clang meson setup "$build" -Dfuzzers=true -Dexamples=disabled \
    -Db_lundef=false -Db_sanitize=address,undefined --buildtype=debugoptimized >"$build.log" ||
    { cat "$build.log"; exit 1; }
ninja -C "$build" fuzzers >"$build.log" || { cat "$build.log"; exit 1; }

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
keep=${keep:-$scratch}
[ -d /dev/shm ] && TMPDIR=$(mktemp -d /dev/shm/aaclip-fuzz-XXXXXX) && export TMPDIR &&
    trap 'rm -rf "$scratch" "$TMPDIR"' EXIT
# oneDNN and OpenMP keep some memory until the process ends.
export LSAN_OPTIONS="suppressions=$source/tests/leaks.txt" ASAN_OPTIONS=quarantine_size_mb=16
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 OMP_NUM_THREADS=1

# An input was slow when it takes a second of the processor, and not when the machine was busy.
forget_quick() {
    for input in "$keep/$name.found"/slow-unit-*; do
        [ -f "$input" ] || continue
        # shellcheck disable=SC3045 # dash and bash have -t
        (ulimit -t 1 && exec "$build/tests/fuzz/$name" "$input") >"$scratch/$name.slow" 2>&1 &&
            rm "$input"
    done
    return 0
}

fuzz() { # target, folders of seeds
    name=$1
    shift
    mkdir -p "$keep/$name" "$keep/$name.found"
    dictionary=$source/tests/fuzz/dictionaries/$name.dict
    [ -f "$dictionary" ] && set -- "-dict=$dictionary" "$@"
    case $name in
    fuzz_image) set -- -max_len=4096 "$@" ;; # photographs take long
    fuzz_tokenizer) set -- -max_len=512 "$@" ;; # as do long texts
    # The account that it keeps of so many features would be a fifth of the time, or half.
    fuzz_bundle | fuzz_packed | fuzz_training) set -- -entropic=0 "$@" ;;
    esac
    nice "$build/tests/fuzz/$name" "$limit" -timeout=300 -report_slow_units=2 -rss_limit_mb=1000 \
        -malloc_limit_mb=500 -print_final_stats=1 "-artifact_prefix=$keep/$name.found/" \
        "$keep/$name" "$@" >"$scratch/$name.log" 2>&1 && result= || result=" FAILED"
    times >"$scratch/$name.times" # the second line is that of the programs run here
    forget_quick
    [ -z "$(ls "$keep/$name.found")" ] || result=" FAILED"
    awk -v name="$name" -v result="$result" '
        match($0, /cov: [0-9]+/) { cov = substr($0, RSTART + 5, RLENGTH - 5) }
        match($0, /corp: [0-9]+/) { corpus = substr($0, RSTART + 6, RLENGTH - 6) }
        /number_of_executed_units/ { executions = $2 }
        FILENAME ~ /times$/ && split($0, used, /[ms ]+/) {
            seconds = used[1] * 60 + used[2] + used[3] * 60 + used[4]
        }
        END {
            printf "%-20s %12s %10.0f %8s %8s%s\n", name, executions, executions / (seconds + 0.01),
                corpus, cov, result
        }
    ' "$scratch/$name.log" "$scratch/$name.times"
    if [ -n "$result" ]; then
        grep -v "^#" "$scratch/$name.log" | head -60
        ls -l "$keep/$name.found"
        touch "$scratch/failed"
    fi
}

report() { # of those that run, in their order
    wait
    for name in $running; do cat "$scratch/$name.table"; done
    running=
}

printf '%-20s %12s %10s %8s %8s\n' target executions per-second corpus cov
running=
while read -r name folders; do
    case " $* " in "  " | *" $name "*) ;; *) continue ;; esac
    # shellcheck disable=SC2086 # a list of folders
    fuzz "$name" $folders >"$scratch/$name.table" 2>&1 </dev/null &
    running="$running $name"
    # shellcheck disable=SC2086 # a list of words
    [ "$(echo $running | wc -w)" -lt "$jobs" ] || report
done <"$build/tests/fuzz/targets"
report
[ ! -e "$scratch/failed" ]
