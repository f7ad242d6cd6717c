#!/usr/bin/env python3
"""Despina, Triton and MLServer with the same models under the same load, side by side.

Installs the peers from PyPI into virtual environments, starts every server, and measures them in
turn with `despina perf`: round after round, one server after the other in each case, so that what
the machine does meanwhile falls on all of them alike. Prints a table of medians, and of how many
times better Despina's are, as Markdown; with --write, into docs/benchmarks.md.

    cargo build --release
    python3 benches/peers/run.py --write
"""

import argparse
import datetime
import json
import pathlib
import platform
import shlex
import statistics
import subprocess
import sys

import servers

ROOT = servers.ROOT
BEGIN, END = "<!-- peers: begin -->", "<!-- peers: end -->"
# Model, protocol, requests under way.
CASES = [
    ("echo", "http", 1),
    ("echo", "http", 32),
    ("echo", "grpc", 1),
    ("echo", "grpc", 32),
    ("digits", "http", 32),
    ("digits", "grpc", 32),
]


def measure(options, server, case):
    model, protocol, concurrency = case
    port = server.http if protocol == "http" else server.grpc
    command = [
        *(*shlex.split(options.prefix), str(options.binary), "perf", "--json", "-m", model),
        *("-i", protocol, "-u", f"127.0.0.1:{port}", "--concurrency-range", str(concurrency)),
        *("-p", str(options.milliseconds), "-r", "3", "-s", "1000", "--warmup-interval", "200"),
        *(server.formats if protocol == "http" else []),
    ]
    result = subprocess.run(command, capture_output=True, text=True)
    if not result.stdout.startswith("{"):
        raise RuntimeError(f"{server.name}, {case}: {result.stderr.strip()}")
    level = json.loads(result.stdout)["levels"][0]
    if level["totals"]["failed"]:
        raise RuntimeError(f"{server.name}, {case}: {level['totals']['failures']}")
    return {
        "rate": level["requests_per_second"],
        "p50": level["latency"]["p50"],
        "p99": level["latency"]["p99"],
        "cpu": level["server_cpu_us"],
        "client": level["client_cpu_us"],
    }


def run(options, all_servers):
    """For each case and server the measurements of all rounds."""
    measured = {(case, server.name): [] for case in CASES for server in all_servers}
    for number in range(options.rounds):
        for case in CASES:
            # Nobody is always first.
            shift = number % len(all_servers)
            for server in all_servers[shift:] + all_servers[:shift]:
                print(f"round {number + 1}, {case}, {server.name}", file=sys.stderr)
                measured[case, server.name].append(measure(options, server, case))
    return measured


def summary(values):
    """The median, and the least and the largest."""
    return statistics.median(values), min(values), max(values)


def cell(values):
    middle, least, most = summary(values)
    digits = 0 if middle >= 100 else 1
    return f"{middle:.{digits}f} ({least:.{digits}f}–{most:.{digits}f})"


def ratio(own, peer, key, more_is_better):
    """How many times better ours is, round by round."""
    rounds = [
        (ours[key] / theirs[key]) if more_is_better else (theirs[key] / ours[key])
        for ours, theirs in zip(own, peer)
    ]
    middle, least, most = summary(rounds)
    return f"{middle:.1f}× ({least:.1f}–{most:.1f})"


def table(measured, all_servers):
    lines = [
        "| model | protocol | in flight | server | requests/s | p50, µs | p99, µs | server CPU, "
        "µs/request | client CPU, µs/request | ÷ rate | ÷ p99 | ÷ server CPU |",
        "| --- | --- | --: | --- | --: | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for case in CASES:
        own = measured[case, all_servers[0].name]
        for server in all_servers:
            rounds = measured[case, server.name]
            values = [[one[key] for one in rounds] for key in ("rate", "p50", "p99", "cpu", "client")]
            ratios = ["", "", ""]
            if rounds is not own:
                ratios = [
                    ratio(own, rounds, "rate", True),
                    ratio(own, rounds, "p99", False),
                    ratio(own, rounds, "cpu", False),
                ]
            cells = [case[0], case[1], str(case[2]), server.name, *map(cell, values), *ratios]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def report(options, all_servers, measured):
    versions = "; ".join(f"{server.name} {server.version}" for server in all_servers)
    cores = len(__import__("os").sched_getaffinity(0))
    engine = "ONNX Runtime 1.31.1 in all of them"
    lines = [
        f"{datetime.date.today()}; {versions}; {engine}; {processor()}, {cores} processors, Linux "
        f"{platform.release()}; generator and servers on the same machine. Command: "
        f"`python3 benches/peers/run.py --rounds {options.rounds} "
        f"--milliseconds {options.milliseconds}`.",
        "",
        f"Medians of {options.rounds} rounds, the least and the largest in brackets; the last three "
        "columns are how many times better Despina is than that server, round by round.",
        "",
        *table(measured, all_servers),
    ]
    return "\n".join(lines) + "\n"


def write(text):
    path = ROOT / "docs" / "benchmarks.md"
    before, rest = path.read_text().split(BEGIN)
    _, after = rest.split(END)
    path.write_text(f"{before}{BEGIN}\n{text}{END}{after}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "target/release/despina")
    parser.add_argument("--folder", type=pathlib.Path, default=ROOT / "target/peers")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--milliseconds", type=int, default=1000, help="of each of three windows")
    parser.add_argument("--prefix", default="", help="a command to run each measurement under")
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md")
    options = parser.parse_args()
    all_servers = servers.install(options.folder.resolve(), options.binary.resolve())
    try:
        for server in all_servers:
            server.start()
        text = report(options, all_servers, run(options, all_servers))
    finally:
        for server in all_servers:
            server.stop()
    if options.write:
        write(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
