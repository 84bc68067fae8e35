#!/bin/sh
# Sets everything up, then detects in a photograph with a tiny CLIP of random weights: it shows the
# whole path from files to heat map, not what a trained model sees.
set -eu
cd "$(dirname "$0")/.."
sh examples/setup.sh

nano=tests/golden/nano
build/examples/aaclip-detect \
    --model "$nano/clip.pt" \
    --adapters "$nano/adapters-document/text_adapter.pth" --adapters "$nano/adapters-document/image_adapter_20.pth" \
    --class part --phrase "metal part" --image-size 224 \
    --out quickstart --raw --json quickstart/result.json tests/golden/images/chelsea.jpg
echo "heat map: quickstart/chelsea_overlay.png"
