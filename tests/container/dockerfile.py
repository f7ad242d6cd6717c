"""Reads Dockerfiles: stages, and their instructions with flags. Knows what Dockerfile.cuda uses and
refuses the rest, so that nothing is passed over."""

import dataclasses
import json
import re
import shlex

KNOWN = {
    "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "RUN",
    "STOPSIGNAL", "USER", "WORKDIR",
}
VARIABLE = re.compile(r"\$(?:\{(\w+)(?::-([^}]*))?\}|(\w+))")
FLAG = re.compile(r"--([a-z-]+)=(\S+)\s+")


@dataclasses.dataclass
class Instruction:
    line: int
    name: str
    flags: list
    text: str

    def __str__(self):
        return f"{self.line}: {self.name} {self.text}"

    def words(self):
        return shlex.split(self.text)

    def command(self):
        """The arguments of the exec form."""
        if not self.text.startswith("["):
            raise ValueError(f"{self}: only the form with brackets is understood")
        return json.loads(self.text)

    def assignments(self):
        """Of ARG, ENV and LABEL."""
        return [word.partition("=")[::2] for word in self.words()]


@dataclasses.dataclass
class Stage:
    name: str
    base: str
    instructions: list


def parse(text):
    """The stages in order. What ARGs before the first one hold is put into their bases and, where a
    stage asks for it, into the stage."""
    arguments, stages = {}, []
    for instruction in instructions(text):
        if instruction.name == "FROM":
            base, _, name = expand(instruction.text, arguments).partition(" AS ")
            stages.append(Stage(name, base, []))
        elif not stages:
            arguments.update(instruction.assignments())
        elif instruction.name == "ARG" and "=" not in instruction.text:
            value = arguments[instruction.text]
            inherited = dataclasses.replace(instruction, text=f"{instruction.text}={value}")
            stages[-1].instructions.append(inherited)
        else:
            stages[-1].instructions.append(instruction)
    return stages


def instructions(text):
    for line, whole in logical_lines(text):
        name, _, rest = whole.partition(" ")
        if name not in KNOWN:
            raise ValueError(f"line {line}: {name} is not understood")
        rest, flags = rest.strip(), []
        while match := FLAG.match(rest):
            flags.append(match.groups())
            rest = rest[match.end() :]
        yield Instruction(line, name, flags, rest)


def logical_lines(text):
    """Lines without comments, joined where one ends in a backslash, with the first one's number."""
    first, parts = 0, []
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("#") or not (line.strip() or parts):
            continue
        first = first if parts else number
        parts.append(line.strip().removesuffix("\\").strip())
        if not line.rstrip().endswith("\\"):
            yield first, " ".join(parts)
            parts = []


def expand(text, variables):
    """Puts in `$NAME`, `${NAME}` and `${NAME:-otherwise}`."""
    return VARIABLE.sub(
        lambda match: variables.get(match[1] or match[3], match[2] or ""), text
    )
