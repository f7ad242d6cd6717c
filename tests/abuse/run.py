"""Runs hostile clients against a server of its own, beside a well-behaved one, for a bounded time, on
127.0.0.1 only. Needs Python 3.11 and nothing else. Prints a report; the exit code is 1 if the server
crashed, took more memory than it may, or let the well-behaved client down.

    cargo build --release
    python3 tests/abuse/run.py target/release/despina --seconds 60
"""

import argparse
import asyncio
import json
import logging
import os
import pathlib
import platform
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import attacks
import http2

MEBIBYTE = 1 << 20
# All that requests in flight may hold together.
IN_FLIGHT = 256 * MEBIBYTE
# What may be resident (docs/configuration.md, "Limits"): that; the server at rest; 2 KiB for each of ten
# thousand connections that say nothing, and 150 KiB for each of six hundred that do; half of what a bomb may
# become, for each of the four that are defused at a time; and as much again as requests hold, for
# what was freed a moment ago and has not been given back yet.
MOST_RESIDENT = 2 * IN_FLIGHT + (48 + 20 + 88 + 4 * 32) * MEBIBYTE

CONFIG = f"""
http: {{ port: 0 }}
grpc: {{ port: 0 }}
metrics: {{ port: 0 }}
limits:
  in_flight_byte_size: {IN_FLIGHT}
  request_byte_size: {IN_FLIGHT}
"""
MODEL = """
backend: "identity"
max_batch_size: 0
input { name: "INPUT0" data_type: TYPE_UINT8 dims: [ -1 ] }
output { name: "OUTPUT0" data_type: TYPE_UINT8 dims: [ -1 ] }
"""
REQUEST = json.dumps(
    {"inputs": [{"name": "INPUT0", "shape": [4], "datatype": "UINT8", "data": [1, 2, 3, 4]}]}
).encode()


def share_processors():
    """The processors of the clients, and those of the server. Clients are on other machines in life: what
    attackers burn must not be taken from the server, only what they make it burn, and the well-behaved client
    comes before them where they are. All of them for both if there is only one."""
    every = sorted(os.sched_getaffinity(0))
    half = len(every) // 2
    return (every[:half], every[half:]) if half else (every, every)


CLIENTS, SERVED = share_processors()


class Server:
    """A server in a process of its own, whose memory is watched."""

    def __init__(self, binary, folder):
        for model in ("echo",):
            (folder / f"models/{model}/1").mkdir(parents=True)
            (folder / f"models/{model}/config.pbtxt").write_text(MODEL)
        (folder / "server.yaml").write_text(CONFIG)
        self.process = subprocess.Popen(
            [binary, "serve", "--config", folder / "server.yaml"]
            + ["--model-repository", folder / "models"],
            stdout=subprocess.PIPE,
            stderr=open(folder / "log", "wb"),
            text=True,
        )
        os.sched_setaffinity(self.process.pid, SERVED)
        self.ports = {}
        for line in self.process.stdout:
            words = line.split()
            if words and words[0] in ("http", "grpc", "metrics"):
                self.ports[words[0]] = int(words[1].removesuffix("/metrics").rsplit(":", 1)[1])
            if len(self.ports) == 3:
                break
        self.most_resident = 0
        self.watching = True
        threading.Thread(target=self.watch, daemon=True).start()

    def resident(self):
        try:
            status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        except OSError:
            return 0
        lines = [line for line in status.splitlines() if line.startswith("VmRSS")]
        return int(lines[0].split()[1]) << 10 if lines else 0

    def watch(self):
        while self.watching:
            self.most_resident = max(self.most_resident, self.resident())
            time.sleep(0.05)

    def stop(self):
        """Ends it as an operator would; its exit code."""
        self.watching = False
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def well_behaved(port, seconds):
    """Latencies in milliseconds of one small request after the other, and how many failed. Reconnects
    as every client does when its connection is closed while it is idle."""
    latencies, failures, connection = [], 0, None
    head = f"POST {attacks.INFER} HTTP/1.1\r\nHost: d\r\nContent-Length: {len(REQUEST)}\r\n\r\n"
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        begin = time.perf_counter()
        try:
            if connection is None:
                connection = socket.create_connection(("127.0.0.1", port), timeout=10)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(head.encode() + REQUEST)
            answer = connection.recv(65536)
            if not answer.startswith(b"HTTP/1.1 200"):
                raise OSError(answer[:80])
            latencies.append((time.perf_counter() - begin) * 1e3)
        except OSError:
            failures, connection = failures + 1, None
        time.sleep(0.002)
    return sorted(latencies), failures


def measured(port, seconds):
    """`well_behaved` in a process of its own, away from the attackers."""
    command = [sys.executable, __file__, "--client", str(port), "--seconds", str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    os.sched_setaffinity(process.pid, CLIENTS)
    return process


def quantile(latencies, fraction):
    return latencies[min(int(len(latencies) * fraction), len(latencies) - 1)]


async def attack(everything, seconds):
    tasks = [asyncio.create_task(each.run()) for each in everything]
    _, pending = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
    ended = [task for task in tasks if task not in pending]
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    for task in ended:
        task.result()  # an attack never ends by itself: this raises what it broke on


def attacked(ports, everything, seconds):
    """Attacks in this process, and what the well-behaved client saw meanwhile."""
    for each in everything:
        each.prepare()
    client = measured(ports["http"], seconds)
    os.nice(19)
    asyncio.run(attack(everything, seconds))
    return json.loads(client.communicate()[0])


def chosen(ports, only):
    everything = attacks.all_attacks(ports, min(10_000, raise_file_limit() - 2_000))
    return [each for each in everything if not only or type(each).__name__ in only]


def grpc_answers(port):
    """Whether HTTP/2 is still spoken on the port: its first frame is SETTINGS."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(http2.PREFACE)
        return connection.recv(9)[3:4] == bytes([http2.SETTINGS])


def raise_file_limit():
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def report(server, alone, rounds, code, factor):
    """Prints what happened; whether all was well. Each round is a name, what the well-behaved client saw
    meanwhile, and the attacks."""
    most = server.most_resident / MEBIBYTE
    allowed = MOST_RESIDENT / MEBIBYTE
    p99 = quantile(alone[0], 0.99)
    failures = sum(failed for _, (_, failed), _ in rounds)
    worst = max(quantile(latencies, 0.99) for _, (latencies, _), _ in rounds)
    verdicts = [
        ("ends with exit code 0", code == 0, f"{code}"),
        (f"resident memory at most {allowed:.0f} MiB", most <= allowed, f"{most:.0f} MiB"),
        ("the well-behaved client never failed", failures == 0, f"{failures} failures"),
        (
            f"its p99 at most {factor} times that of alone",
            worst <= factor * p99,
            f"{worst:.2f} ms beside, {p99:.2f} ms alone",
        ),
    ]
    print(
        f"{platform.platform()}, {time.strftime('%Y-%m-%d')}; clients on processors {CLIENTS}, "
        f"the server on {SERVED}\n"
    )
    print("| | | |\n| --- | --- | --- |")
    for what, well, value in verdicts:
        print(f"| {what} | {'yes' if well else 'NO'} | {value} |")
    print("\n| client | requests | p50 ms | p99 ms | p99.9 ms |\n| --- | --- | --- | --- | --- |")
    for name, (latencies, _) in (("alone", alone), *((name, seen) for name, seen, _ in rounds)):
        values = " | ".join(f"{quantile(latencies, f):.2f}" for f in (0.5, 0.99, 0.999))
        print(f"| {name} | {len(latencies)} | {values} |")
    print("\n| attack | what came of it |\n| --- | --- |")
    for each in (each for _, _, everything in rounds for each in everything):
        came = ", ".join(f"{what}: {count}" for what, count in sorted(each.counts.items()))
        print(f"| {type(each).__name__} | {came} |")
    return all(well for _, well, _ in verdicts)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("binary", nargs="?", help="the despina to attack")
    parser.add_argument("--seconds", type=float, default=30, help="how long, at most 600")
    parser.add_argument("--only", nargs="*", metavar="ATTACK", help="these instead of all")
    parser.add_argument("--each", action="store_true", help="one after the other, not all together")
    parser.add_argument("--p99-factor", type=float, default=2.0)
    parser.add_argument("--client", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    seconds = min(arguments.seconds, 600)
    if arguments.client:
        print(json.dumps(well_behaved(arguments.client, seconds)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        server = Server(arguments.binary, pathlib.Path(folder))
        os.sched_setaffinity(0, CLIENTS)
        # That a connection was closed while something was written to it is what this is about.
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        alone = json.loads(measured(server.ports["http"], seconds / 2).communicate()[0])
        everything = chosen(server.ports, arguments.only)
        together = [("all attacks", everything)]
        one_by_one = [(type(each).__name__, [each]) for each in everything]
        rounds = []
        for name, these in one_by_one if arguments.each else together:
            rounds.append((f"beside {name}", attacked(server.ports, these, seconds), these))
        # Back at rest, both doors still answer.
        after, failures = well_behaved(server.ports["http"], 1)
        lives = after and not failures and grpc_answers(server.ports["grpc"])
        code = server.stop() if lives else "no answer after the attacks"
        well = report(server, alone, rounds, code, arguments.p99_factor)
        if not well:
            print((pathlib.Path(folder) / "log").read_text()[-4096:], file=sys.stderr)
        return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
