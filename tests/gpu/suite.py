"""The GPU suite: what can only be known on a machine with an NVIDIA GPU.

    python3 suite.py [--short] [--out docs/gpu] [--device 0]

Runs in a folder that stage.py made, on a machine that needs neither a network nor Rust nor any Python package: what
is right (copies, pools, graphs, kernels, memory shared between processes, answers from the GPU against
answers from the CPU, memory that comes back) and how fast it is. Writes report-<date>.md to --out. What could not
be run is in the report with its reason. Exits with 1 if something is wrong.

On the pretend driver the same programs run; the report then says FAKE, and its times mean nothing.
"""

import argparse
import datetime
import pathlib
import sys
import tempfile

import correctness
import measurements
import report
from rig import Rig
from stage import assemble

HERE = pathlib.Path(__file__).resolve().parent


def main():
    arguments = parse_arguments()
    assemble(arguments.stage)
    with tempfile.TemporaryDirectory(prefix="gpu-suite-") as work:
        rig = Rig(arguments.stage, pathlib.Path(work), arguments.device, arguments.short)
        rig.look()
        checks = run(rig, correctness.CHECKS)
        tables = run(rig, measurements.TABLES)
    today = datetime.datetime.now(datetime.timezone.utc).date()
    fake = "FAKE-" if rig.is_fake else ""
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / f"report-{fake}{today}.md"
    path.write_text(report.text(rig, today, checks, tables), encoding="utf-8")
    print(f"written: {path}")
    return 1 if any(entry.is_wrong for entry in [*checks, *tables]) else 0


def parse_arguments():
    parser = argparse.ArgumentParser(description="The GPU suite.")
    parser.add_argument("--stage", type=pathlib.Path, default=HERE.parent, help="what stage.py made")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("docs/gpu"))
    parser.add_argument("--device", type=int, default=0, help="the GPU's ordinal")
    parser.add_argument("--short", action="store_true", help="only to see whether it is right")
    return parser.parse_args()


def run(rig, steps):
    entries = []
    for title, step in steps:
        print(f"{title} ...", flush=True)
        entry = report.Entry.of(title, step, rig)
        print(f"  {entry.outcome}", flush=True)
        entries.append(entry)
    return entries


if __name__ == "__main__":
    sys.exit(main())
