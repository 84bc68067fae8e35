# The steps that quickstart.sh and models/aaclip-mini/ablation.sh share; to be read with `.` from the
# top of the clone.
# shellcheck shell=sh

# Threads that spin while they wait take minutes more where other programs keep the processors busy.
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}"

demo_bin=${demo_bin:-build/examples}
demo_model="--model models/aaclip-mini/clip.safetensors --vocab models/aaclip-mini/merges.txt"
demo_epochs=4
demo_seen="cardboard concrete carpet tile grid fabric circuit_board cable coin connector washer zipper"
demo_unseen="wood leather metal_sheet metal_nut"

# A small model takes larger steps than ViT-L/14 does, and adapters in all of its 8 blocks. Anchors
# that start nearly alike need a larger weight of the orthogonal loss. 96 pixels are quick to train
# with; 128 give finer maps.
demo_recipe="--img-size 96 --text-epoch 2 --text-lr 3e-3 --text-norm-weight 3 --surgery-blocks 6
--image-epoch $demo_epochs --image-lr 2e-3 --image-adapt-until 8"
demo_size=128

demo_mark=.aaclip-demo

# demo_clear OUT: removes what an earlier run left there, and nothing else: a folder that no run has
# marked must be new or empty.
demo_clear() {
    if [ ! -f "${1:?}/$demo_mark" ] && [ -n "$(ls -A "$1" 2>/dev/null)" ]; then
        echo "$1: expected a new or empty folder, or one of an earlier run" >&2
        return 1
    fi
    mkdir -p "$1"
    : >"$1/$demo_mark"
    rm -rf "$1/seen" "$1/unseen" "$1/before" "$1/after" "$1/adapters"
}

# demo_generate FOLDER SEED "CLASS..." [OPTION...]
demo_generate() {
    demo_folder=$1 demo_seed=$2 demo_classes=""
    for demo_class in $3; do demo_classes="$demo_classes --class $demo_class"; done
    shift 3
    # shellcheck disable=SC2086 # a list of words
    "$demo_bin/aaclip-generate" --out "$demo_folder" --size 160 --seed "$demo_seed" $demo_classes "$@"
}

# demo_data OUT SEED: OUT/seen to train on, OUT/unseen to test on.
demo_data() {
    demo_generate "$1/seen" "$2" "$demo_seen" --train 30 --train-defective 30 --good 0 --defective 0
    demo_generate "$1/unseen" $(($2 + 1000)) "$demo_unseen" --train 0 --good 20 --defective 20
}

# demo_train OUT ADAPTERS SEED [OPTION...]
demo_train() {
    demo_folder=$1 demo_adapters=$2 demo_seed=$3
    shift 3
    # shellcheck disable=SC2086
    "$demo_bin/aaclip-train" $demo_model --manifest "$demo_folder/seen/train.jsonl" \
        --data-root "$demo_folder/seen" --save-path "$demo_adapters" --seed "$demo_seed" \
        $demo_recipe "$@"
}

# demo_evaluate PICTURES REPORT [OPTION...]
demo_evaluate() {
    demo_folder=$1 demo_report=$2
    shift 2
    mkdir -p "$demo_report"
    # shellcheck disable=SC2086
    "$demo_bin/aaclip-evaluate" $demo_model --data-root "$demo_folder" --layout mvtec \
        --image-size $demo_size --out "$demo_report" --json "$demo_report/metrics.json" "$@"
}
