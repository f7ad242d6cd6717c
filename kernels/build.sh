#!/usr/bin/env bash
# Builds kernels/*.fatbin from kernels/*.cu: kernels/build.sh. Needs x86-64 Linux, python3 with pip,
# and g++; no CUDA and no GPU. The compiler is installed into target/ from wheels that are pinned by
# their hashes (105 MB). The same sources give the same bytes, so building again changes nothing.
set -euo pipefail
cd "$(dirname "$0")"

tools=../target/kernels/cuda-13.0.88
if [[ ! -e $tools/complete ]]; then
  rm -rf "$tools"
  python3 -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: \
    --require-hashes --target "$tools" --requirement requirements.txt
  touch "$tools/complete"
fi

# Machine code for each architecture, and PTX for those between and after them.
code=()
for architecture in 75 80 86 89 90 100 120; do
  code+=(-gencode "arch=compute_$architecture,code=sm_$architecture")
done
code+=(-gencode arch=compute_75,code=compute_75)

for source in *.cu; do
  # Products and sums are fused where the source says so, and nowhere else: the plain Rust
  # references compute the same bits.
  "$tools/nvidia/cu13/bin/nvcc" -std=c++17 -fmad=false -Werror all-warnings -fatbin --compress-mode=size "${code[@]}" \
    -o "${source%.cu}.fatbin" "$source"
done

# Binds what was built to what it was built from; tests/kernels.rs holds it against the files.
sha256sum build.sh requirements.txt -- *.cu *.fatbin > SHA256SUMS
