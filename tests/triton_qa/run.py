"""Runs Triton's own client-driven test suites against Despina, and says what passed. See README.md."""

import argparse
import fnmatch
import os
import pathlib
import subprocess
import sys
import time

import doors
import examples
import suites
from environment import HERE, prepare, version
from report import Expected, reasons, surprises, table
from scenario import Runner

ROOT = HERE.parent.parent
LOOPBACK_UP = ["ip", "link", "set", "lo", "up"]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    path = pathlib.Path
    parser.add_argument("--triton", type=path, required=True, help="checkout of triton-inference-server/server")
    parser.add_argument("--client", type=path, help="checkout of triton-inference-server/client")
    parser.add_argument("--despina", type=path, required=True, help="the binary")
    parser.add_argument("--work", type=path, default=ROOT / "target" / "triton_qa", help="folder to work in")
    parser.add_argument("--only", nargs="+", default=["*"], help="patterns of names of tests, as L0_http/*")
    parser.add_argument("--markdown", type=path, help="write the tables to this file, too")
    parser.add_argument("--isolate", action="store_true", help="run in a network of its own (Linux)")
    parser.add_argument("--isolated", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def scenarios(client: bool) -> list:
    listed = [
        *suites.inference(),
        *doors.http(),
        *doors.grpc(),
        *suites.shared_memory(),
        *suites.strings(),
        *suites.small(),
        *suites.parameters(),
        *suites.responses(),
    ]
    return [*listed, *suites.compression(), *examples.examples()] if client else listed


def main() -> None:
    options = arguments()
    for name in ("triton", "client", "despina", "work"):
        if getattr(options, name) is not None:
            setattr(options, name, getattr(options, name).resolve())
    options.work.mkdir(parents=True, exist_ok=True)
    environment = prepare(options.work, options.triton, options.client)
    if options.isolate and not options.isolated:
        isolate()
    if options.isolated:
        subprocess.run(LOOPBACK_UP, check=True)
    expected = Expected()
    excluded = []

    def excludes(test: str) -> bool:
        if not any(fnmatch.fnmatchcase(test, f"{pattern}*") for pattern in options.only):
            return True
        if expected.excludes(test):
            excluded.append(test)
            return True
        return False

    runner = Runner(options.despina, environment, excludes)
    outcomes = []
    begun = time.monotonic()
    for scenario in scenarios(options.client is not None):
        if not any(could_match(scenario.suite, pattern) for pattern in options.only):
            continue
        for outcome in runner.run(scenario):
            outcomes.append(outcome)
            print(f"{outcome.result:4} {outcome.test}", flush=True)
    lines = [
        f"triton-inference-server/server {version(options.triton)}; {time.monotonic() - begun:.0f} s",
        "",
        *table(outcomes, excluded),
        *reasons(outcomes, excluded, expected),
    ]
    print("\n" + "\n".join(lines))
    if options.markdown:
        options.markdown.write_text("\n".join(lines) + "\n")
    wrong = surprises(outcomes, expected)
    if wrong:
        sys.exit("\nnot as expected:\n" + "\n".join(wrong))


def could_match(suite: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(suite, pattern.split("/", 1)[0] + "*")


def isolate() -> None:
    """Starts itself again in a network that has nothing but a loopback interface, so that the ports that
    the suites have written into them are free."""
    command = ["unshare", "--user", "--map-root-user", "--net", sys.executable, *sys.argv, "--isolated"]
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
