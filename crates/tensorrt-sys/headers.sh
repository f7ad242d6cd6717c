#!/usr/bin/env bash
# Brings TensorRT's headers to where build.rs looks for them, if the machine has none of its own: they lie
# in the sources of a registry crate, of which nothing else is used and nothing is built. Cargo fetches
# that one crate in order to show what it is, and unpacks it.
set -euo pipefail

crate='trtx-sys'
version='0.9.1+rtx1.7'
sha256='5480ee056292951daa1bc74532162d6cb75190f091e45d7d97c0c356916ae171'

cargo info --quiet "$crate@$version" >/dev/null
for fetched in "${CARGO_HOME:-$HOME/.cargo}"/registry/cache/*/"$crate-$version".crate; do
  sha256sum --check --quiet <<<"$sha256  $fetched"
done
