"""The servers: how each is installed, started and stopped."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
DIGITS = ROOT / "model_repository" / "digits" / "1" / "model.onnx"
PATIENCE = 60


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def environment(folder, name, packages):
    """A virtual environment with these packages; made once."""
    venv = folder / name
    done = venv / "installed"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([venv / "bin" / "pip", "install", "--quiet", *packages], check=True)
        done.touch()
    return venv


def packages_of(venv):
    (found,) = venv.glob("lib/python3.*/site-packages")
    return found


def version_of(venv, package):
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    return subprocess.check_output([venv / "bin" / "python", "-c", code], text=True).strip()


class Server:
    """A running server. `formats` are the flags that its HTTP door needs."""

    formats = []

    def __init__(self, folder):
        self.folder = folder
        self.http, self.grpc, self.metrics = free_port(), free_port(), free_port()
        self.process = None

    def start(self):
        log = open(self.folder / f"{self.name}.log", "wb")
        command, extra = self.command()
        self.process = subprocess.Popen(
            [str(part) for part in command],
            env={**os.environ, **{key: str(value) for key, value in extra.items()}},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        end = time.monotonic() + PATIENCE
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise RuntimeError(f"{self.name} does not become ready; see {log.name}")
            time.sleep(0.1)

    def ready(self):
        try:
            for model in ("echo", "digits"):
                url = f"http://127.0.0.1:{self.http}/v2/models/{model}/ready"
                urllib.request.urlopen(url, timeout=1).close()
            return True
        except OSError:
            return False

    def stop(self):
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()


class Despina(Server):
    name = "despina"

    def __init__(self, folder, binary, onnxruntime):
        super().__init__(folder)
        self.binary, self.onnxruntime = binary, onnxruntime
        self.version = subprocess.check_output([binary, "--version"], text=True).split()[-1]

    def command(self):
        models = self.folder / "despina-models"
        shutil.copytree(HERE / "despina", models, dirs_exist_ok=True)
        (models / "echo" / "1").mkdir(exist_ok=True)
        shutil.copytree(ROOT / "model_repository" / "digits", models / "digits", dirs_exist_ok=True)
        ports = ["--http-port", self.http, "--grpc-port", self.grpc, "--metrics-port", self.metrics]
        command = [self.binary, "serve", "--model-repository", models, "--log", "error", *ports]
        return command, {"ORT_DYLIB_PATH": self.onnxruntime}


class Triton(Server):
    """NVIDIA's server as the wheel of nvidia-pytriton has it, with its Python backend."""

    name = "triton"

    def __init__(self, folder, venv):
        super().__init__(folder)
        self.packages = packages_of(venv)
        self.bundle = self.packages / "pytriton" / "tritonserver"
        self.pytriton = version_of(venv, "nvidia-pytriton")
        self.version = f"of nvidia-pytriton {self.pytriton}, Python backend"

    def command(self):
        backend = self.folder / "triton-backends" / "python"
        if not backend.exists():
            shutil.copytree(self.bundle / "backends" / "python", backend)
            python = f"{sys.version_info.major}.{sys.version_info.minor}"
            stub = self.bundle / "python_backend_stubs" / python / "triton_python_backend_stub"
            shutil.copy(stub, backend)
            # The stub looks for numpy beside itself only.
            for name in ("numpy", "numpy.libs"):
                (backend / name).symlink_to(self.packages / name)
        libraries = self.packages / "nvidia_pytriton.libs"
        python_library = pathlib.Path(sys.base_prefix) / "lib"
        command = [
            *(self.bundle / "bin" / "tritonserver", "--model-repository", HERE / "triton"),
            *("--backend-directory", backend.parent, "--allow-gpu-metrics", "false"),
            *("--http-port", self.http, "--grpc-port", self.grpc),
            *("--metrics-port", self.metrics),
        ]
        return command, {
            "LD_LIBRARY_PATH": f"{libraries}:{python_library}",
            "PEER_PACKAGES": self.packages,
            "PEER_DIGITS": DIGITS,
        }


class MlServer(Server):
    name = "mlserver"
    formats = ["--input-tensor-format", "json", "--output-tensor-format", "json"]

    def __init__(self, folder, venv):
        super().__init__(folder)
        self.venv = venv
        self.version = version_of(venv, "mlserver")

    def command(self):
        return [self.venv / "bin" / "mlserver", "start", HERE / "mlserver"], {
            "MLSERVER_HOST": "127.0.0.1",
            "MLSERVER_HTTP_PORT": self.http,
            "MLSERVER_GRPC_PORT": self.grpc,
            "MLSERVER_METRICS_PORT": self.metrics,
            "MLSERVER_PARALLEL_WORKERS": 0,
            "MLSERVER_DEBUG": "false",
            "PYTHONPATH": HERE / "mlserver",
            "PEER_DIGITS": DIGITS,
        }


def install(folder, binary):
    """All servers, ready to be started."""
    folder.mkdir(parents=True, exist_ok=True)
    engine = "onnxruntime==1.31.1"
    triton = environment(folder, "triton", ["nvidia-pytriton", engine])
    mlserver = environment(folder, "mlserver", ["mlserver", engine])
    (library,) = packages_of(mlserver).glob("onnxruntime/capi/libonnxruntime.so.1.*")
    return [
        Despina(folder, binary, library),
        Triton(folder, triton),
        MlServer(folder, mlserver),
    ]
