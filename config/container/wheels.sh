#!/bin/sh
# Takes shared libraries and licences out of Python wheels.
#
#   wheels.sh REQUIREMENTS FOLDER PATTERN...
#
# Downloads the wheels that REQUIREMENTS names, checks each against its hash, and copies the files whose
# names match a PATTERN to FOLDER/lib and the wheels' licences to FOLDER/licenses. Fails if a pattern
# matches nothing. The wheels' Python code is not run.
set -eu

requirements=$1
folder=$2
shift 2

case "${TARGETARCH:-amd64}" in
    amd64) machine=x86_64 ;;
    arm64) machine=aarch64 ;;
    *)
        echo "wheels.sh: no wheels for $TARGETARCH" >&2
        exit 1
        ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Fixed, so that the wheels are the same whatever Python runs this.
platforms=
for tag in manylinux_2_35 manylinux_2_28 manylinux_2_27 manylinux2014 manylinux2010; do
    platforms="$platforms --platform ${tag}_$machine"
done
# shellcheck disable=SC2086
pip install --quiet --root-user-action ignore --disable-pip-version-check --no-cache-dir --no-deps --no-compile \
    --only-binary :all: --require-hashes --implementation cp --python-version 312 $platforms \
    --target "$work" -r "$requirements"

mkdir -p "$folder/lib" "$folder/licenses"
for pattern; do
    find "$work" -name "$pattern" -type f -exec cp {} "$folder/lib/" \; -print > "$work/copied"
    if [ ! -s "$work/copied" ]; then
        echo "wheels.sh: no file of $requirements is called $pattern" >&2
        exit 1
    fi
done
chmod 0755 "$folder"/lib/*
for licence in $(find "$work" -ipath '*.dist-info/*licen*' -type f | sort); do
    package=${licence#"$work"/}
    package=${package%%-*}
    mkdir -p "$folder/licenses/$package"
    cp "$licence" "$folder/licenses/$package/"
done
