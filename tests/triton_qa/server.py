"""One Despina process on Triton's default ports, which the suites have written into them."""

import os
import pathlib
import socket
import subprocess
import time

PORTS = (8000, 8001, 8002)
READY_SECONDS = 120
STOP_SECONDS = 60


class NotStarted(Exception):
    """The server ended, or was not ready in time. The text is what it wrote."""


class Server:
    """Runs until `stop`; its output goes to `log`."""

    def __init__(self, binary: pathlib.Path, onnxruntime: pathlib.Path, log: pathlib.Path):
        self.binary = binary
        self.onnxruntime = onnxruntime
        self.log = log
        self.process = None

    def start(self, repository: pathlib.Path, flags: list[str]) -> None:
        """Starts it and waits until `/v2/health/ready` says so."""
        check_ports()
        command = [self.binary, "serve", f"--model-repository={repository}", *flags]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(os.environ, ORT_DYLIB_PATH=str(self.onnxruntime)),
            )
        deadline = time.monotonic() + READY_SECONDS
        while not is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise NotStarted(self.log.read_text(errors="replace"))
            time.sleep(0.05)

    def pid(self) -> int:
        return self.process.pid

    def stop(self) -> int:
        """Asks it to end as an orchestrator does; its exit code."""
        self.process.terminate()
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def check_ports() -> None:
    for port in PORTS:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise SystemExit(
                    f"port {port} is taken ({error.strerror}). The suites have it written into them: "
                    "free it, or use --isolate"
                ) from error


def is_ready() -> bool:
    try:
        with socket.create_connection(("127.0.0.1", PORTS[0]), 1) as connection:
            connection.sendall(b"GET /v2/health/ready HTTP/1.1\r\nHost: localhost\r\n\r\n")
            return connection.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False
