#!/usr/bin/env bash
# Holds src/bindings.rs against the shim's header, with bindgen and a libclang that pip brings, pinned by
# its hash; with --write, writes it anew. Says so and does nothing on machines for which none is pinned.
set -euo pipefail
cd "$(dirname "$0")/../.."

case "$(uname -sm)" in
  'Linux x86_64') ;;
  *) echo "TensorRT bindings: not compared, no libclang is pinned for $(uname -sm)"; exit 0 ;;
esac

libclang=target/libclang
if [[ ! -d $libclang ]]; then
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes --dest "$libclang.part" \
    -r crates/tensorrt-sys/libclang.txt
  python3 -m zipfile -e "$libclang".part/*.whl "$libclang"
  rm -r "$libclang.part"
fi

LIBCLANG_PATH="$PWD/$(dirname "$(find "$libclang" -name libclang.so)")"
export LIBCLANG_PATH
# That libclang comes without the compiler's own headers.
export BINDGEN_EXTRA_CLANG_ARGS="-isystem $(cc -print-file-name=include)"
[[ "${1:-}" == --write ]] && export WRITE_BINDINGS=1
cargo test --locked --package tensorrt-sys --features regenerate --test bindings
