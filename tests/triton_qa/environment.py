"""The Python that the suites run in, and the models that Triton's own generators make: both are made
once and kept in the work folder."""

import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
REQUIREMENTS = [HERE / "requirements.txt", HERE.parent / "python" / "requirements.txt"]

# Folder of models: the generator in qa/common that fills it, and its flags. Opset 0 is the newest that
# the installed onnx knows, as in Triton's own CI.
GENERATORS = {
    "qa_model_repository": ("gen_qa_models.py", []),
    "qa_variable_model_repository": ("gen_qa_models.py", ["--variable"]),
    "qa_identity_model_repository": ("gen_qa_identity_models.py", []),
    "qa_reshape_model_repository": ("gen_qa_reshape_models.py", ["--variable"]),
    "qa_scalar_models": ("gen_qa_ort_scalar_models.py", None),
}
# The file of our own image classifier, beside them.
CLASSIFIER = "classifier.onnx"


@dataclasses.dataclass(frozen=True)
class Environment:
    """What every run needs."""

    # The checkout of triton-inference-server/server.
    triton: pathlib.Path
    # The checkout of triton-inference-server/client, if there is one.
    client: pathlib.Path | None
    # Generated models, one folder for each line of GENERATORS.
    models: pathlib.Path
    # The interpreter of the virtual environment.
    python: pathlib.Path
    # ONNX Runtime's shared library.
    onnxruntime: pathlib.Path
    # Where runs have their folders.
    work: pathlib.Path


def prepare(work: pathlib.Path, triton: pathlib.Path, client: pathlib.Path | None) -> Environment:
    """Makes what is not there yet; needs the package index the first time only."""
    python = virtual_environment(work)
    return Environment(
        triton=triton,
        client=client,
        models=generated_models(work, triton, python),
        python=python,
        onnxruntime=onnxruntime_library(python),
        work=work,
    )


def virtual_environment(work: pathlib.Path) -> pathlib.Path:
    """The interpreter of a virtual environment that is keyed by the requirements' text."""
    folder = work / f"venv-{digest(*(path.read_text() for path in REQUIREMENTS))}"
    python = folder / "bin" / "python"
    done = folder / "complete"
    if not done.exists():
        print("making a virtual environment ...", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        run([sys.executable, "-m", "venv", folder])
        run([python, "-m", "pip", "install", "--quiet", "--requirement", REQUIREMENTS[0]])
        done.touch()
    return python


def generated_models(work: pathlib.Path, triton: pathlib.Path, python: pathlib.Path) -> pathlib.Path:
    """The models, made by the generators of the checkout; keyed by their text."""
    common = triton / "qa" / "common"
    sources = sorted(common.glob("gen_*.py"))
    sources += [common / "test_util.py", HERE / "make_classifier.py"]
    key = digest(json.dumps(GENERATORS), *(path.read_text() for path in sources))
    folder = work / f"models-{key}"
    done = folder / "complete"
    if not done.exists():
        print("generating models ...", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        for name, (script, flags) in GENERATORS.items():
            (folder / name).mkdir(parents=True)
            backend = [] if flags is None else ["--onnx", *flags]
            destination = ["--onnx_opset=0", f"--models_dir={folder / name}"]
            run([python, common / script, *backend, *destination], cwd=folder)
        run([python, HERE / "make_classifier.py", folder / CLASSIFIER])
        done.touch()
    return folder


def onnxruntime_library(python: pathlib.Path) -> pathlib.Path:
    """ONNX Runtime's shared library, out of its Python package."""
    find = "import importlib.util as u; print(u.find_spec('onnxruntime').submodule_search_locations[0])"
    package = pathlib.Path(output([python, "-c", find]))
    return next((package / "capi").glob("libonnxruntime.*"))


def version(checkout: pathlib.Path) -> str:
    """The commit that is checked out, abbreviated, with its date; for the report."""
    try:
        return output(["git", "-C", checkout, "log", "-1", "--format=%h of %cs"])
    except (OSError, subprocess.CalledProcessError):
        return "of unknown version"


def digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def output(command: list) -> str:
    done = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def run(command: list, cwd: pathlib.Path | None = None) -> None:
    """Runs a command; shows what it wrote only if it fails."""
    # The checkout must stay as it is: no compiled files beside its sources.
    environment = dict(os.environ, PYTHONDONTWRITEBYTECODE="1")
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != 0:
        sys.exit(f"{command} failed with {done.returncode}:\n{done.stdout}")
