"""Puts what the GPU suite needs into a folder that can be carried to a machine with a GPU.

    cargo build --release
    python3 tests/gpu/stage.py FOLDER [--despina target/release/despina] [--tests EXECUTABLE] [--libraries FOLDER] [--engines FOLDER]

FOLDER then has the programs, the sample models, the suite, and libonnxruntime with its providers if --libraries
names where they are (such as onnxruntime/capi of the Python package onnxruntime-gpu). Files of more than 60 MB
are cut into pieces; the suite puts them together again and checks them. --engines names models for measurements, such
as benches/engine/models.py makes; without them a small one is measured. There:

    python3 FOLDER/suite/suite.py
"""

import argparse
import hashlib
import json
import pathlib
import shutil
import subprocess

PROJECT = pathlib.Path(__file__).resolve().parents[2]
PIECE = 60_000_000
MANIFEST = "pieces.json"


def main():
    arguments = parse_arguments()
    stage = arguments.folder
    stage.mkdir(parents=True)
    shutil.copy2(arguments.despina, stage / "despina")
    if arguments.unit_tests:
        shutil.copy2(arguments.tests or built_tests(), stage / "despina-tests")
    shutil.copytree(PROJECT / "model_repository", stage / "models")
    shutil.copytree(PROJECT / "tests" / "gpu", stage / "suite", ignore=shutil.ignore_patterns("__pycache__"))
    if arguments.engines:
        shutil.copytree(arguments.engines, stage / "engines")
    (stage / "lib").mkdir()
    for library in sorted(arguments.libraries.glob("libonnxruntime*.so*")) if arguments.libraries else []:
        shutil.copy2(library, stage / "lib" / library.name)
    if arguments.cut:
        cut(stage)


def parse_arguments():
    parser = argparse.ArgumentParser(description="Stages the GPU suite.")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--despina", type=pathlib.Path, default=PROJECT / "target/release/despina")
    parser.add_argument("--tests", type=pathlib.Path, help="the unit tests' executable; built if not given")
    parser.add_argument("--no-tests", dest="unit_tests", action="store_false", help="leave them out")
    parser.add_argument("--libraries", type=pathlib.Path)
    parser.add_argument("--engines", type=pathlib.Path)
    parser.add_argument("--no-cut", dest="cut", action="store_false", help="leave large files as they are")
    return parser.parse_args()


def built_tests():
    command = ["cargo", "test", "--lib", "--no-run", "--message-format", "json"]
    said = subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True).stdout
    built = [message for line in said.splitlines() if (message := json.loads(line)).get("executable")]
    return pathlib.Path(built[-1]["executable"])


def cut(stage):
    """Cuts large files into pieces, and writes down what they are pieces of."""
    whole = {}
    for path in sorted(path for path in stage.rglob("*") if path.is_file()):
        if path.stat().st_size <= PIECE:
            continue
        name = str(path.relative_to(stage))
        content = path.read_bytes()
        mode = path.stat().st_mode & 0o777
        pieces = [content[at : at + PIECE] for at in range(0, len(content), PIECE)]
        names = [f"{name}.{number:03}" for number in range(len(pieces))]
        for piece, piece_name in zip(pieces, names):
            (stage / piece_name).write_bytes(piece)
        whole[name] = {"pieces": names, "sha256": hashlib.sha256(content).hexdigest(), "mode": mode}
        path.unlink()
    (stage / MANIFEST).write_text(json.dumps(whole, indent=1), encoding="utf-8")


def assemble(stage):
    """Puts pieces together, each file once."""
    manifest = stage / MANIFEST
    if not manifest.exists():
        return
    for name, file in json.loads(manifest.read_text(encoding="utf-8")).items():
        path = stage / name
        if path.exists():
            continue
        content = b"".join((stage / piece).read_bytes() for piece in file["pieces"])
        if hashlib.sha256(content).hexdigest() != file["sha256"]:
            raise SystemExit(f"the pieces of {name} are not what was cut")
        path.write_bytes(content)
        path.chmod(file["mode"])


if __name__ == "__main__":
    main()
