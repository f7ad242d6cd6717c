"""The report: what was run, what came of it, and on what machine."""

import dataclasses


class NotRun(Exception):
    """Something that cannot be run here, and why."""


class Wrong(Exception):
    """Something that is not as it should be."""


@dataclasses.dataclass
class Table:
    """Numbers. A column's name says the unit."""

    columns: list
    rows: list
    note: str = ""

    def markdown(self):
        lines = ["| " + " | ".join(self.columns) + " |", "| " + " | ".join(["---"] * len(self.columns)) + " |"]
        lines += ["| " + " | ".join(map(show, row)) + " |" for row in self.rows]
        return "\n".join(lines + (["", self.note] if self.note else []))


@dataclasses.dataclass
class Entry:
    title: str
    outcome: str
    is_wrong: bool
    tables: list

    @classmethod
    def of(cls, title, step, rig):
        """Runs a step: it returns what it has to say, or tables, or raises why not."""
        try:
            result = step(rig)
        except NotRun as reason:
            return cls(title, f"not run: {reason}", False, [])
        except Exception as error:  # one step's fault is no reason to lose the others' results
            return cls(title, f"FAILED: {type(error).__name__}: {error}", True, [])
        if isinstance(result, str):
            return cls(title, f"passed: {result}", False, [])
        return cls(title, "measured", False, result)


def text(rig, today, checks, tables):
    fake = "FAKE " if rig.is_fake else ""
    parts = [f"# {fake}GPU report, {today}"]
    if rig.is_fake:
        parts.append("Made on the pretend CUDA driver: it shows that the programs run. **No number in it means anything.**")
    if rig.is_short:
        parts.append("A short run, to see whether it is right: the times are of too few repetitions.")
    parts += ["## Machine", machine(rig.found, rig.device), "## What is right", outcomes(checks), "## How fast"]
    for entry in tables:
        parts += [f"### {entry.title}"]
        parts += [table.markdown() for table in entry.tables] or [entry.outcome]
    return "\n\n".join(parts) + "\n"


def machine(found, device):
    gpu = found["gpus"][device]
    lines = [
        f"- GPU: {gpu['name']}, compute capability {gpu['compute_capability']}, {gpu['memory_byte_size'] >> 20} MiB"
        f" (number {device} of {len(found['gpus'])})",
        f"- driver: {found['driver'] or 'does not say its version'}",
        f"- host: {found['cpu_count']} processors; {found['kernel'] or 'unknown kernel'}",
        f"- despina {found['version']}; ONNX Runtime: {found['onnxruntime'].get('Ok') or found['onnxruntime']['Err']}",
    ]
    for backend in found["backends"]:
        state = backend["not_on_gpus"]
        lines.append(f"- backend {backend['name']}: " + (f"not on GPUs: {state}" if state else "on GPUs"))
    return "\n".join(lines)


def outcomes(checks):
    return Table(["check", "outcome"], [[entry.title, entry.outcome] for entry in checks]).markdown()


def show(cell):
    if isinstance(cell, float):
        return f"{cell:.1f}" if abs(cell) >= 10 else f"{cell:.3f}"
    return str(cell).replace("|", "\\|").replace("\n", " ")
