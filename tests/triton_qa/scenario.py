"""What a suite is made of, and how one is run: a repository, a server with flags, and steps against it."""

import dataclasses
import json
import os
import pathlib
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator

from environment import HERE, Environment
from repository import Repository
from server import NotStarted, Server

# One test may take this long, if its step does not say.
TEST_SECONDS = 120


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one test."""

    # `suite/variant/file.Class.test`, without what there is none of.
    test: str
    # pass, fail or skip.
    result: str
    # Why it did not pass.
    detail: str = ""


@dataclasses.dataclass(frozen=True)
class Tests:
    """The unittest classes of a file of the suite, or those tests that are named."""

    file: str
    names: tuple[str, ...] = ()
    # One server for each named test instead of one for all.
    alone: bool = False
    seconds: int = TEST_SECONDS


@dataclasses.dataclass(frozen=True)
class Script:
    """A program of the suite or of the client's examples that says by its exit code whether it passed,
    and perhaps by what it prints."""

    name: str
    # Relative to the suite's folder; or to the client's examples, if `example`.
    file: str
    arguments: tuple[str, ...] = ()
    example: bool = False
    # A regular expression that its output must match.
    prints: str = ""
    # It must fail instead.
    fails: bool = False
    seconds: int = TEST_SECONDS


@dataclasses.dataclass(frozen=True)
class Refusal:
    """The server must not start with the scenario's flags, and must say this (a regular expression)."""

    name: str
    says: str


Step = Tests | Script | Refusal


@dataclasses.dataclass(frozen=True)
class Scenario:
    """One server of a suite and what is done to it."""

    suite: str
    models: Callable[[Repository], None]
    steps: tuple[Step, ...]
    variant: str = ""
    flags: tuple[str, ...] = ()
    # A configuration file for what Triton has no flag for.
    settings: str = ""
    environment: dict[str, str] = dataclasses.field(default_factory=dict)

    def name(self) -> str:
        return f"{self.suite}/{self.variant}" if self.variant else self.suite


class Runner:
    """Runs scenarios of one checkout against one binary."""

    def __init__(self, binary: pathlib.Path, environment: Environment, excluded: Callable[[str], bool]):
        self.binary = binary
        self.environment = environment
        # Which tests not to run.
        self.excluded = excluded
        self.count = 0
        shutil.rmtree(self.sandboxes(), ignore_errors=True)

    def sandboxes(self) -> pathlib.Path:
        return self.environment.work / "qa"

    def run(self, scenario: Scenario) -> Iterator[Outcome]:
        """Runs all steps; one outcome for each test that was run. A server is started for each step that
        has a test to run, and for each test of a step that says so."""
        folder = self.sandbox(scenario)
        scenario.models(Repository(folder / "models", self.environment))
        for step in scenario.steps:
            names = self.wanted(scenario, step, folder)
            batches = [[name] for name in names] if isinstance(step, Tests) and step.alone else [names]
            for batch in batches:
                if batch:
                    yield from self.step(scenario, step, batch, folder)

    def wanted(self, scenario: Scenario, step: Step, folder: pathlib.Path) -> list[str]:
        """The names of a step's tests that are not excluded."""
        if not isinstance(step, Tests):
            names, prefix = [step.name], f"{scenario.name()}/"
        else:
            names = step.names or self.names(scenario, step.file, folder)
            prefix = f"{scenario.name()}/{pathlib.Path(step.file).stem}."
        return [name for name in names if not self.excluded(f"{prefix}{name}")]

    def sandbox(self, scenario: Scenario) -> pathlib.Path:
        """The folder to run in: what the suite's files expect beside them, as links, so that nothing is
        written into the checkout."""
        self.count += 1
        folder = self.sandboxes() / f"{self.count:02}.{scenario.name().replace('/', '.')}"
        folder.mkdir(parents=True)
        common = self.sandboxes() / "common"
        if not common.exists():
            common.symlink_to(self.environment.triton / "qa" / "common")
        for source in (self.environment.triton / "qa" / scenario.suite).glob("*.py"):
            (folder / source.name).symlink_to(source)
        return folder

    def step(
        self, scenario: Scenario, step: Step, names: list[str], folder: pathlib.Path
    ) -> Iterator[Outcome]:
        server = Server(self.binary, self.environment.onnxruntime, folder / "server.log")
        flags = list(scenario.flags)
        if scenario.settings:
            (folder / "settings.yaml").write_text(scenario.settings)
            flags.append(f"--config={folder / 'settings.yaml'}")
        refused = None
        try:
            server.start(folder / "models", flags)
        except NotStarted as error:
            refused = str(error)
        if isinstance(step, Refusal):
            yield refusal(f"{scenario.name()}/{step.name}", step, refused)
            if refused is None:
                server.stop()
            return
        if refused is not None:
            yield Outcome(f"{scenario.name()}/start of the server", "fail", refused[-2000:])
            return
        variables = {**variables_of_suites(), **scenario.environment, "SERVER_PID": str(server.pid())}
        try:
            if isinstance(step, Tests):
                yield from self.tests(scenario, step, names, folder, variables)
            else:
                yield self.script(scenario, step, folder, variables)
        finally:
            code = server.stop()
        if code != 0:
            yield Outcome(f"{scenario.name()}/exit code of the server", "fail", f"it was {code}")

    def tests(
        self,
        scenario: Scenario,
        step: Tests,
        names: list[str],
        folder: pathlib.Path,
        variables: dict[str, str],
    ) -> Iterator[Outcome]:
        results = folder / f"{step.file}.jsonl"
        results.unlink(missing_ok=True)
        command = [self.environment.python, HERE / "drive.py", step.file, results, step.seconds, *names]
        bound = 60 + step.seconds * len(names)
        _, said = execute(command, folder, variables, bound, folder / f"{step.file}.log")
        records = {}
        for line in results.read_text().splitlines() if results.exists() else []:
            record = json.loads(line)
            records[record["test"]] = record
        for name in names:
            record = records.get(name, {"detail": f"not run: {said[-2000:]}"})
            yield Outcome(
                f"{scenario.name()}/{pathlib.Path(step.file).stem}.{name}",
                record.get("outcome", "fail"),
                record.get("detail", f"did not end: {said[-2000:]}"),
            )

    def names(self, scenario: Scenario, file: str, folder: pathlib.Path) -> list[str]:
        """The tests of a file, by asking unittest; those of ensembles, too."""
        variables = {**variables_of_suites(), **scenario.environment, "ENSEMBLES": "1"}
        command = [self.environment.python, HERE / "drive.py", file, "-", "0"]
        code, said = execute(command, folder, variables, 60, folder / f"{file}.names.log")
        if code != 0:
            raise SystemExit(f"{file} cannot be loaded:\n{said}")
        return said.splitlines()[-1].split() if said.strip() else []

    def script(
        self, scenario: Scenario, step: Script, folder: pathlib.Path, variables: dict[str, str]
    ) -> Outcome:
        file = pathlib.Path(step.file)
        if step.example:
            file = self.environment.client / "src" / "python" / "examples" / file
        # Files of the checkout are named by their place in it.
        arguments = [part.replace("{triton}", str(self.environment.triton)) for part in step.arguments]
        command = [self.environment.python, file, *arguments]
        log = folder / f"{step.name.replace('/', ' ')}.log"
        code, said = execute(command, folder, variables, step.seconds, log)
        name = f"{scenario.name()}/{step.name}"
        if (code != 0) != step.fails:
            return Outcome(name, "fail", f"exit code {code}: {said[-2000:]}")
        if not re.search(step.prints, said):
            return Outcome(name, "fail", f"does not print {step.prints!r}: {said[-2000:]}")
        return Outcome(name, "pass")


def variables_of_suites() -> dict[str, str]:
    """The environment of the suites: ours, without what compiles files beside the checkout's sources."""
    return {
        **os.environ,
        "PYTHONDONTWRITEBYTECODE": "1",
        "BACKENDS": "onnx",
        "ENSEMBLES": "0",
        "TRITON_SERVER_CPU_ONLY": "1",
    }


def refusal(name: str, step: Refusal, refused: str | None) -> Outcome:
    if refused is None:
        return Outcome(name, "fail", "the server started")
    if not re.search(step.says, refused):
        return Outcome(name, "fail", f"does not say {step.says!r}: {refused[-2000:]}")
    return Outcome(name, "pass")


def execute(
    command: list, folder: pathlib.Path, variables: dict[str, str], seconds: int, log: pathlib.Path
) -> tuple[int | None, str]:
    """Runs a program with a bound in time; its exit code (none if it was killed) and all that it wrote."""
    with open(log, "wb") as out:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            code = None
    return code, log.read_text(errors="replace")
