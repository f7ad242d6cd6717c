"""Carries out Dockerfile.cuda without a container engine, and tries what comes out.

    sudo python3 tests/container/rehearse.py --target onnxruntime-cpu [--binary target/release/despina]

Reads the steps from Dockerfile.cuda itself, so it cannot drift from it: FROM, COPY and RUN make layers under
an overlay file system, and the entry point is started as the image's user, in a root that is read-only,
without capabilities, and in a network of its own. Then it is asked: by the image's HEALTHCHECK, for
an inference, and to stop. Sizes, labels and libraries that cannot be found are checked too.

What is not as in a container: the base images are Debian's packages, put together by debootstrap
(in place of the CUDA base there is no CUDA at all, and Python is Debian's); Rust is this machine's; and with --binary
no compiler runs. There is no GPU unless this machine's is passed on, which it is not.

Needs root, debootstrap and Linux with overlayfs.
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import trial
from dockerfile import parse
from image import Builder

PROJECT = pathlib.Path(__file__).resolve().parents[2]
# What the images that the file names hold, as Debian's packages.
PACKAGES = {
    "build": ["ca-certificates", "gcc", "g++", "libc6-dev", "make", "python3", "python3-pip"],
    "base": ["ca-certificates"],
}
# In place of the compiler: hands out a binary that is there, and says so.
STAND_IN = """#!/bin/sh
if [ "$1" = build ]; then
    echo "rehearsal: not compiled, a binary is put in its place"
    mkdir -p target/release && cp /usr/local/prebuilt target/release/despina
else
    exec /usr/local/toolchain/bin/cargo "$@"
fi
"""


def main():
    arguments = parse_arguments()
    if os.environ.get("REHEARSAL_NAMESPACE") != "own":
        os.environ["REHEARSAL_NAMESPACE"] = "own"
        command = ["unshare", "--mount", "--propagation", "private", sys.executable]
        os.execvp(command[0], [*command, *sys.argv])
    stages = parse((PROJECT / "Dockerfile.cuda").read_text(encoding="utf-8"))
    arguments.cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="rehearsal-", dir=arguments.cache) as folder:
        work = pathlib.Path(folder)
        print(f"building {arguments.target}")
        make_base = lambda name: base(name, arguments.cache, work, arguments.binary)
        image = Builder(stages, make_base, PROJECT, work).build(arguments.target)
        print(f"trying {arguments.target}")
        failures = trial.failures(image, arguments.target, work, arguments.sizes)
    for failure in failures:
        print(f"FAIL {failure}")
    print(f"{arguments.target}: {'failed' if failures else 'passed'}")
    return 1 if failures else 0


def parse_arguments():
    parser = argparse.ArgumentParser(description="Carries out Dockerfile.cuda.")
    parser.add_argument("--target", default="onnxruntime-cpu")
    parser.add_argument("--binary", type=pathlib.Path, help="in place of a compilation")
    parser.add_argument(
        "--cache",
        type=pathlib.Path,
        default=pathlib.Path(tempfile.gettempdir(), "despina-rehearsal"),
        help="where base images stay for the next time; not in the project, which is what is copied",
    )
    parser.add_argument(
        "--no-sizes",
        dest="sizes",
        action="store_false",
        help="do not hold sizes against their bounds, as for a binary that is no release",
    )
    return parser.parse_args()


def base(name, cache, work, binary):
    """The folders that stand for the image `name`, one over the other."""
    kind = "build" if name.startswith(("rust:", "python:")) else "base"
    packages = cache / f"debian-{kind}"
    if not packages.exists():
        print(f"making what stands for {name}", flush=True)
        staged = work / f"debian-{kind}"
        included = ",".join(PACKAGES[kind])
        command = ["debootstrap", "--variant=minbase", f"--include={included}", "bookworm", staged]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        shutil.rmtree(staged / "var/cache/apt/archives")
        staged.rename(packages)
    return [packages, rust(work, binary)] if name.startswith("rust:") else [packages]


def rust(work, binary):
    """A folder with this machine's Rust, and in it the binary, if one stands in for compiling."""
    root = work / "rust"
    programs = root / "usr/local/cargo/bin"
    programs.mkdir(parents=True)
    sysroot = subprocess.check_output(["rustc", "--print", "sysroot"], text=True).strip()
    shutil.copytree(
        sysroot,
        root / "usr/local/toolchain",
        symlinks=True,
        ignore=shutil.ignore_patterns("doc", "man"),
    )
    (programs / "rustc").symlink_to("/usr/local/toolchain/bin/rustc")
    if binary:
        shutil.copy2(binary, root / "usr/local/prebuilt")
        (programs / "cargo").write_text(STAND_IN, encoding="utf-8")
        (programs / "cargo").chmod(0o755)
    else:
        (programs / "cargo").symlink_to("/usr/local/toolchain/bin/cargo")
    return root


if __name__ == "__main__":
    sys.exit(main())
