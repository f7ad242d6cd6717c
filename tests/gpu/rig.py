"""What the steps share: the programs that were staged, where libraries are, servers, and requests."""

import contextlib
import copy
import http.client
import json
import os
import pathlib
import re
import site
import subprocess
import time

from report import NotRun, Wrong

PATIENCE = 300
SAMPLE_SECONDS = 0.02


class Rig:
    def __init__(self, stage, work, device, is_short):
        self.stage, self.work, self.device, self.is_short = stage, work, device, is_short
        self.found = self.measured = None
        self.environment = os.environ | {
            "LD_LIBRARY_PATH": ":".join(map(str, library_folders(stage))),
            "DESPINA_ONNXRUNTIME_DOWNLOAD": "false",
        }

    @property
    def is_fake(self):
        return self.found["gpus"][self.device]["name"].startswith("Fake GPU")

    def look(self):
        """Finds out what there is. Without a GPU there is nothing to do."""
        self.found = json.loads(self.run("device-check", "--json").stdout)["found"]
        if len(self.found["gpus"]) <= self.device:
            raise SystemExit(f"no GPU {self.device}: {self.found['no_gpu_reason'] or 'there are fewer'}")

    def run(self, *arguments, program="despina"):
        return subprocess.run(
            [self.stage / program, *map(str, arguments)],
            env=self.environment,
            text=True,
            capture_output=True,
            timeout=PATIENCE * 4,
            check=False,
        )

    def on_gpus(self, backend):
        """Raises why the backend cannot use GPUs, if it cannot."""
        for found in self.found["backends"]:
            if found["name"] == backend:
                if found["not_on_gpus"]:
                    raise NotRun(found["not_on_gpus"])
                return
        raise NotRun(f"there is no backend {backend}")

    def group(self):
        return f"instance_group {{ kind: KIND_GPU gpus: {self.device} }}"

    def add(self, name, config, repository="models"):
        """A model of the test backends, which need no files."""
        folder = self.work / repository / name
        (folder / "1").mkdir(parents=True, exist_ok=True)
        (folder / "config.pbtxt").write_text(config, encoding="utf-8")
        return self.work / repository

    @contextlib.contextmanager
    def serve(self, repository, *flags):
        server = Server(self, repository, flags)
        try:
            yield server
        finally:
            server.stop()

    def perf(self, server, *arguments):
        """What `despina perf` tells of its one level of load, over gRPC."""
        return self.level("-i", "grpc", "-u", f"127.0.0.1:{server.grpc}", *arguments)

    def perf_inside(self, repository, *arguments):
        """The same of a model that is asked in the process that loads it, without a server."""
        return self.level("-i", "inprocess", "--model-repository", repository, *arguments)

    def level(self, *arguments):
        window = 200 if self.is_short else 3000
        done = self.run(
            "perf", "-q", "--json", "-p", window, *(["-r", 3, "-s", 100] if self.is_short else []), *arguments
        )
        if done.returncode != 0:
            raise Wrong(done.stderr.strip()[-500:] or done.stdout[-500:])
        return json.loads(done.stdout)["levels"][0]


class Server:
    def __init__(self, rig, repository, flags):
        ports = [item for door in ("http", "grpc", "metrics") for item in (f"--{door}-port", "0")]
        ports += ["--metrics-interval-ms", str(int(SAMPLE_SECONDS * 1000))]
        self.log = rig.work / "server.log"
        with self.log.open("w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [rig.stage / "despina", "serve", "--model-repository", repository, *ports, *flags],
                env=rig.environment,
                text=True,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        found = {}
        for line in self.process.stdout:
            if match := re.match(r"  (http|grpc|metrics) .*:(\d+)", line):
                found[match[1]] = int(match[2])
            if len(found) == 3:
                break
        else:
            raise Wrong(f"the server did not start: {self.tail()}")
        self.http, self.grpc, self.metrics = found["http"], found["grpc"], found["metrics"]
        self.connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=PATIENCE)

    def ask(self, method, path, body=None):
        self.connection.request(method, path, json.dumps(body) if body is not None else None)
        response = self.connection.getresponse()
        return response.status, response.read().decode()

    def of_its_own(self):
        """The same server, with another connection, for another thread."""
        other = copy.copy(self)
        other.connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=PATIENCE)
        return other

    def infer(self, model, inputs, outputs=None):
        """The outputs by name. Raises what else came."""
        body = {"inputs": inputs} | ({"outputs": outputs} if outputs else {})
        status, answer = self.ask("POST", f"/v2/models/{model}/infer", body)
        if status != 200:
            raise Wrong(f"{model} answered {status}: {answer[:300]}")
        return {output["name"]: output for output in json.loads(answer)["outputs"]}

    def next_sample(self):
        """Waits until the GPUs have been looked at again; they are every SAMPLE_SECONDS."""
        time.sleep(2 * SAMPLE_SECONDS)

    def metric(self, family, label=""):
        """The number of the first series of a family with that label."""
        connection = http.client.HTTPConnection("127.0.0.1", self.metrics, timeout=PATIENCE)
        connection.request("GET", "/metrics")
        page = connection.getresponse().read().decode()
        pattern = rf"^{family}(?:\{{[^}}]*{re.escape(label)}[^}}]*\}})? (\S+)$"
        match = re.search(pattern, page, re.MULTILINE)
        return float(match[1]) if match else None

    def tail(self):
        return self.log.read_text(encoding="utf-8")[-1500:]

    def stop(self):
        self.process.terminate()
        try:
            code = self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self.process.stdout.close()
        if code != 0:
            raise Wrong(f"the server ended with {code}: {self.tail()}")


def library_folders(stage):
    """Of what was staged, of this machine's Python packages (where CUDA's libraries may be), and those that are
    set."""
    packages = [pathlib.Path(folder) for folder in [*site.getsitepackages(), site.getusersitepackages()]]
    nvidia = [folder for package in packages for folder in sorted(package.glob("nvidia/*/lib"))]
    inherited = [folder for folder in os.environ.get("LD_LIBRARY_PATH", "").split(":") if folder]
    return [*inherited, stage / "lib", *nvidia]
