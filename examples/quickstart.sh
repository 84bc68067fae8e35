#!/bin/sh
# The whole method in one command, from a clean clone: installs packages, builds, draws a data set,
# measures plain CLIP on classes that it will not train on, trains both stages on other classes, and
# measures again. Leaves pictures and a report in quickstart/. Takes two to four minutes on two
# free cores.
#
#   --seed N     of the data and of the training [1]
#   --out DIR    where everything goes [quickstart in the clone]; what an earlier run left there is
#                replaced
set -eu

usage() {
    echo "usage: quickstart.sh [--seed N] [--out DIR]" >&2
    exit 2
}

seed=1 out=
while [ $# -gt 0 ]; do
    [ -n "${2-}" ] || usage
    case $1 in
    --seed) seed=$2 ;;
    --out) out=$2 ;;
    *) usage ;;
    esac
    shift 2
done
case $out in
'' | /*) ;;
*) out=$PWD/$out ;; # of where it was called
esac
cd "$(dirname "$0")/.."
. examples/demo.sh
if [ -z "$out" ]; then
    out=quickstart
    mkdir -p "$out" && : >"$out/$demo_mark" # the name alone says whose it is
fi
demo_clear "$out"

began=$(date +%s)
step() { printf '\n[%3d s] %s\n' $(($(date +%s) - began)) "$*"; }

step "packages and build"
sh examples/setup.sh

step "data: 12 classes to train on, 4 others to test on"
demo_data "$out" "$seed"

step "before: plain CLIP on the classes to test on"
demo_evaluate "$out/unseen" "$out/before"

step "training on the other classes: stage 1 (text), then stage 2 (image)"
demo_train "$out" "$out/adapters" "$seed"

step "after: the same pictures with the trained adapters"
demo_evaluate "$out/unseen" "$out/after" --pictures \
    --adapters "$out/adapters/text_adapter.pth" --adapters "$out/adapters/image_adapter_$demo_epochs.pth"

step "done: look at $out/after/report.html and $out/after/pictures/"
