"""What was expected, and the table of what came out."""

import fnmatch
import tomllib
from collections import defaultdict

from environment import HERE
from scenario import Outcome


class Expected:
    """`expected.toml`: which tests do not apply, which fail, and which do sometimes, each with the reason."""

    def __init__(self):
        with open(HERE / "expected.toml", "rb") as file:
            sections = tomllib.load(file)
        self.not_applicable = sections["not_applicable"]
        self.fails = sections["fails"]
        self.varies = sections["varies"]

    def excludes(self, test: str) -> bool:
        return reason(self.not_applicable, test) is not None

    def failure(self, test: str) -> str | None:
        """Why this test fails, if it is known to."""
        return reason(self.fails | self.varies, test)

    def varies_in(self, test: str) -> bool:
        """Whether this test may pass or fail."""
        return reason(self.varies, test) is not None


def reason(section: dict[str, str], test: str) -> str | None:
    """The first pattern that matches counts."""
    for pattern, text in section.items():
        if fnmatch.fnmatchcase(test, pattern):
            return text
    return None


def surprises(outcomes: list[Outcome], expected: Expected) -> list[str]:
    """What is not as expected.toml says, one line each."""
    lines = []
    for outcome in outcomes:
        known = expected.failure(outcome.test)
        if outcome.result == "fail" and known is None:
            lines.append(f"{outcome.test} failed: {outcome.detail}")
        elif outcome.result == "pass" and known is not None and not expected.varies_in(outcome.test):
            lines.append(f"{outcome.test} passed, and expected.toml says that it fails")
        elif outcome.result == "skip":
            lines.append(f"{outcome.test} was skipped: {outcome.detail}")
    return lines


def table(outcomes: list[Outcome], excluded: list[str]) -> list[str]:
    """A Markdown table: a line for each suite, and one for all."""
    counts = defaultdict(lambda: [0, 0, 0])
    for outcome in outcomes:
        counts[suite(outcome.test)][0 if outcome.result == "pass" else 1] += 1
    for test in excluded:
        counts[suite(test)][2] += 1
    lines = ["| suite | passed | failed | not applicable |", "| --- | ---: | ---: | ---: |"]
    lines += [f"| `{name}` | {' | '.join(map(str, row))} |" for name, row in sorted(counts.items())]
    total = [sum(column) for column in zip(*counts.values())] or [0, 0, 0]
    lines.append(f"| **all** | {' | '.join(f'**{count}**' for count in total)} |")
    return lines


def reasons(outcomes: list[Outcome], excluded: list[str], expected: Expected) -> list[str]:
    """Two Markdown tables: what failed, what does not apply, by reason."""
    failed = defaultdict(list)
    for outcome in outcomes:
        if outcome.result != "pass":
            failed[expected.failure(outcome.test) or "**not explained**"].append(outcome.test)
    left_out = defaultdict(list)
    for test in excluded:
        left_out[reason(expected.not_applicable, test)].append(test)
    lines = []
    for title, groups in (("failed", failed), ("not applicable", left_out)):
        lines += ["", f"| {title} | why |", "| --- | --- |"]
        for why, tests in groups.items():
            lines.append(f"| {', '.join(f'`{test}`' for test in sorted(tests))} | {why} |")
    return lines


def suite(test: str) -> str:
    return test.split("/", 1)[0]
