"""A model repository for one run, put together from generated models, from the examples of the checkout,
and from stand-ins for models of backends that are not there."""

import pathlib
import shutil

from environment import CLASSIFIER, Environment

CPU = "instance_group [ { kind: KIND_CPU } ]\n"


class Repository:
    """Models in `root`, which is emptied first."""

    def __init__(self, root: pathlib.Path, environment: Environment):
        self.root = root
        self.environment = environment
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)

    def generated(self, group: str, pattern: str, config: str = "") -> None:
        """The generated models of `group` whose names match, with `config` appended to theirs. BF16 models
        are left out, as Triton's suites do on a CPU: ONNX Runtime cannot add BF16 numbers there."""
        models = [path for path in (self.environment.models / group).glob(pattern) if path.is_dir()]
        for model in models:
            if "bf16" not in model.name:
                shutil.copytree(model, self.root / model.name)
                self.append(model.name, config)
        if not models:
            raise SystemExit(f"the generators made no model {pattern} in {group}")

    def example(self, *names: str) -> None:
        """Models of `docs/examples/model_repository`."""
        for name in names:
            shutil.copytree(self.examples() / name, self.root / name)

    def stand_in(self, source: pathlib.Path, name: str, backend: str = "identity") -> None:
        """A model of the backend `python` that does what one of ours does as well: its configuration,
        another backend."""
        self.native(name, (source / "config.pbtxt").read_text(), backend)

    def classifier(self) -> None:
        """The image classifier of the examples, with a file of our own."""
        self.example("densenet_onnx")
        (self.root / "densenet_onnx" / "1").mkdir()
        shutil.copy(self.environment.models / CLASSIFIER, self.root / "densenet_onnx" / "1" / "model.onnx")

    def only_version(self, name: str, version: int) -> None:
        """Removes a model's other versions."""
        for folder in (self.root / name).iterdir():
            if folder.is_dir() and folder.name != str(version):
                shutil.rmtree(folder)

    def native(self, name: str, config: str, backend: str | None = None) -> None:
        """A model that is a configuration and nothing else."""
        (self.root / name / "1").mkdir(parents=True)
        if backend is not None:
            config = config.replace('backend: "python"', f'backend: "{backend}"')
        (self.root / name / "config.pbtxt").write_text(config)

    def copy(self, name: str, as_name: str) -> None:
        """One more model like `name`."""
        shutil.copytree(self.root / name, self.root / as_name)
        self.replace(as_name, f'name: "{name}"', f'name: "{as_name}"')

    def replace(self, name: str, old: str, new: str, count: int = -1) -> None:
        """Changes a model's configuration."""
        path = self.root / name / "config.pbtxt"
        text = path.read_text()
        if old not in text:
            raise SystemExit(f"{path} does not have {old!r}")
        path.write_text(text.replace(old, new, count))

    def append(self, name: str, text: str) -> None:
        with open(self.root / name / "config.pbtxt", "a", encoding="utf-8") as config:
            config.write(f"\n{text}")

    def examples(self) -> pathlib.Path:
        return self.environment.triton / "docs" / "examples" / "model_repository"

    def python_models(self) -> pathlib.Path:
        return self.environment.triton / "qa" / "python_models"
