#!/bin/sh
# Lines and branches of the files that each fuzz target is meant for, over its seeds and over what
# run.sh --keep FOLDER has kept: coverage.sh [FOLDER]. Needs clang and llvm.
set -eu
source=$(cd "$(dirname "$0")/../.." && pwd)
keep=${1:-}
build=${COVERAGE_BUILD:-$source/build-coverage}
[ -f "$build/build.ninja" ] || CC=clang meson setup "$build" -Dexamples=disabled \
    --buildtype=debugoptimized -Dc_args="-fprofile-instr-generate -fcoverage-mapping" \
    -Dc_link_args=-fprofile-instr-generate >"$build.log" || { cat "$build.log"; exit 1; }

cover() { # target, folder of seeds..., --, files of lib/
    name=$1
    shift
    folders=
    while [ "$1" != -- ]; do
        folders="$folders $source/tests/fuzz/$1"
        shift
    done
    shift
    [ -z "$keep" ] || [ ! -d "$keep/$name" ] || folders="$folders $keep/$name"
    program=tests/fuzz/${name}_replay
    ninja -C "$build" "$program" >"$build.log" || { cat "$build.log"; exit 1; }
    # shellcheck disable=SC2086 # a list of folders
    LLVM_PROFILE_FILE="$build/$name.profraw" "$build/$program" $folders >/dev/null
    llvm-profdata merge -o "$build/$name.profdata" "$build/$name.profraw"
    llvm-cov report "-instr-profile=$build/$name.profdata" "$build/$program" >"$build/$name.txt"
    for file; do
        awk -v name="$name" -v file="$file" '
            substr($1, length($1) - length(file) + 1) == file {
                printf "%-20s %-32s %6s %8s %8s\n", name, file, $8, $10, $13
            }' "$build/$name.txt"
    done
}

printf '%-20s %-32s %6s %8s %8s\n' target file lines covered branches
cover fuzz_pickle corpus/pickle -- files/pickle.c files/pickle_objects.c files/torch_archive.c
cover fuzz_torch_archive corpus/torch_archive ../golden/files/torch -- files/zip.c \
    files/torch_archive.c
cover fuzz_safetensors corpus/safetensors -- files/safetensors.c core/tensor.c
cover fuzz_checkpoint corpus/checkpoint -- files/checkpoint.c files/checkpoint_config.c \
    files/checkpoint_parts.c files/checkpoint_openai.c files/checkpoint_huggingface.c \
    files/tensor_file.c
cover fuzz_adapters corpus/adapters -- model/adapters_read.c detect/calibration.c
cover fuzz_text_cache corpus/text_cache -- text/text_cache_files.c text/text_cache.c
cover fuzz_bundle corpus/bundle -- model/model_save.c model/model.c detect/bundle.c
cover fuzz_training corpus/training -- train/adapter_files_read.c train/adapter_files.c
cover fuzz_settings corpus/settings -- core/config.c detect/calibration.c
cover fuzz_prompts corpus/prompts -- text/prompts.c
cover fuzz_dataset corpus/dataset -- evaluate/manifest.c evaluate/table.c evaluate/dataset.c
cover fuzz_vocabulary text/vocabularies -- text/vocabulary.c
cover fuzz_tokenizer text/texts -- text/tokenizer.c text/clean.c text/entities.c text/symbols.c
cover fuzz_image images/corpus ../golden/images -- images/read_png.c images/read_jpeg.c \
    images/read_bmp.c
cover fuzz_packed corpus/packed -- model/packed.c
