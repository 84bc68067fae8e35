#!/bin/sh
# Makes the tables of this folder's README: trains and evaluates as examples/quickstart.sh does, with
# parts of the method left out, for three seeds of pictures and training.
#
#   sh models/aaclip-mini/ablation.sh [OUT]    after examples/setup.sh; OUT is "ablation" by default
set -eu
cd "$(dirname "$0")/../.."
out=${1:-ablation} seeds="1 2 3"
hard="pill screw capsule cap button gear bottle label"
. examples/demo.sh

# variant NAME OPTION...: trains on the pictures of $seed and tests
variant() {
    name=$1
    shift
    folder=$out/$seed/$name
    demo_train "$out/$seed" "$folder/adapters" "$seed" "$@"
    set -- --adapters "$folder/adapters/image_adapter_$demo_epochs.pth"
    [ "$name" = stage-2 ] || set -- "$@" --adapters "$folder/adapters/text_adapter.pth"
    demo_evaluate "$out/$seed/unseen" "$folder/unseen" "$@"
    demo_evaluate "$out/$seed/hard" "$folder/hard" "$@"
}

for seed in $seeds; do
    demo_clear "$out/$seed"
    rm -rf "$out/$seed/hard" "$out/$seed/none" "$out/$seed/stage-2" "$out/$seed/both" "$out/$seed/both-1.0"
    demo_data "$out/$seed" "$seed"
    demo_generate "$out/$seed/hard" $((seed + 2000)) "$hard" --train 0 --good 20 --defective 20
    demo_evaluate "$out/$seed/unseen" "$out/$seed/none/unseen"
    demo_evaluate "$out/$seed/hard" "$out/$seed/none/hard"
    variant stage-2 --plain-text
    variant both
    variant both-1.0 --text-adapt-weight 1 --image-adapt-weight 1
done

python3 - "$out" $seeds <<'PYTHON'
import json, statistics, sys

out, *seeds = sys.argv[1:]
columns = "pixel_auroc", "pixel_ap", "image_auroc", "image_ap"
print("\nmean of the seeds, least to largest, in percent")
for pictures in "unseen", "hard":
    print(f"{pictures:9}", *(f"{column:>23}" for column in columns))
    for name in "none", "stage-2", "both", "both-1.0":
        cells = []
        for column in columns:
            values = []
            for seed in seeds:
                with open(f"{out}/{seed}/{name}/{pictures}/metrics.json") as file:
                    values.append(100 * json.load(file)["checkpoints"][0]["mean"][column])
            cells.append(f"{statistics.mean(values):5.1f} ({min(values):5.1f} to {max(values):5.1f})")
        print(f"{name:9}", *(f"{cell:>23}" for cell in cells))
PYTHON
