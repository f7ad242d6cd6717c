#!/bin/sh
# Writes what is in each target of Dockerfile.cuda as CycloneDX: sboms.sh FOLDER.
# Needs cargo and python3, and runs where Cargo.toml is.
set -eu

here=$(dirname "$0")
mkdir -p "$1"
host=$(rustc -vV | sed -n 's/^host: //p')
cargo metadata --format-version 1 --locked --filter-platform "$host" > "$1/metadata.json"

bom() {
    name=$1
    shift
    python3 "$here/sbom.py" "$@" < "$folder/metadata.json" > "$folder/$name.cdx.json"
}
folder=$1
cuda="$here/onnxruntime.txt $here/cuda.txt $here/cudnn.txt"
bom core
bom onnxruntime-cpu "$here/onnxruntime-cpu.txt"
# shellcheck disable=SC2086
bom onnxruntime $cuda
# shellcheck disable=SC2086
bom tensorrt $cuda "$here/tensorrt.txt"
rm "$1/metadata.json"
