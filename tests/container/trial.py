"""Starts an image as a container engine would and says what is not as it should be."""

import contextlib
import ctypes
import fcntl
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import time

from image import Layer, inside, mount, mounted

PROJECT = pathlib.Path(__file__).resolve().parents[2]
SAMPLES = PROJECT / "model_repository"
MEGABYTE = 1_000_000
# Bytes beyond the base image, and of one layer.
MOST_IN_ALL = {
    "core": 60 * MEGABYTE,
    "onnxruntime-cpu": 120 * MEGABYTE,
    "onnxruntime": 2500 * MEGABYTE,
    "tensorrt": 2700 * MEGABYTE,
}
MOST_IN_A_LAYER = 2000 * MEGABYTE
# Libraries that a GPU's driver brings, and those of ONNX Runtime's provider for a full TensorRT.
FROM_ELSEWHERE = {"libcuda.so.1", "libnvinfer.so.10", "libnvonnxparser.so.10"}
LABELS = ["title", "description", "version", "revision", "licenses", "base.name"]
PATIENCE = 120
ECHO = """backend: "identity" max_batch_size: 0
input { name: "IN" data_type: TYPE_INT32 dims: 2 }
output { name: "OUT" data_type: TYPE_INT32 dims: 2 }
"""
CLONE_NEWNET = 0x40000000
PR_SET_NO_NEW_PRIVS = 38
LIBC = ctypes.CDLL(None, use_errno=True)


def failures(image, target, work, with_sizes):
    found = check_labels(image)
    if with_sizes:
        found += check_sizes(image, target)
    own_network()
    with mounted(with_mount_points(image, work), work) as root:
        found += check_bill(root)
        found += check_libraries(image, root)
        mount_all(root, make_models(work, has_onnxruntime=target != "core"))
        with container(image, root) as server:
            found += check_process(server)
            found += check_answers(image, root, server, has_onnxruntime=target != "core")
            found += check_end(image, server)
    return found


def check_labels(image):
    wanted = [f"org.opencontainers.image.{name}" for name in LABELS]
    return [f"no label {name}" for name in wanted if not image.labels.get(name)]


def check_sizes(image, target):
    found = []
    sizes = [(layer.made_by, layer.byte_size()) for layer in image.layers if layer.made_by != "FROM"]
    for made_by, size in sizes:
        print(f"  {size / MEGABYTE:8.1f} MB  {made_by}")
        if size > MOST_IN_A_LAYER:
            found.append(f"a layer of {size} bytes: {made_by}")
    whole = sum(size for _, size in sizes)
    print(f"  {whole / MEGABYTE:8.1f} MB  in all, beyond the base")
    if whole > MOST_IN_ALL[target]:
        found.append(f"{whole} bytes beyond the base, of at most {MOST_IN_ALL[target]}")
    return found


def check_bill(root):
    bill = json.loads(inside(root, "/opt/despina/sbom.cdx.json").read_text(encoding="utf-8"))
    print(f"  {len(bill['components'])} components in the bill of materials")
    names = {component["name"] for component in bill["components"]}
    missing = {"hyper", "rustls", "tokio"} - names
    return [f"not in the bill of materials: {sorted(missing)}"] if missing else []


def check_libraries(image, root):
    """Every library that something in the image needs must be in it."""
    found = []
    files = [path for path in inside(root, "/opt/despina").rglob("*") if is_elf(path)]
    for path in files:
        name = "/" + str(path.relative_to(root))
        said = run_inside(image, root, ["/usr/bin/ldd", name]).stdout
        missing = set(re.findall(r"(\S+) => not found", said)) - FROM_ELSEWHERE
        found += [f"{name} needs {library}, which is not there" for library in sorted(missing)]
    print(f"  {len(files)} programs and libraries find what they need")
    return found


def is_elf(path):
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def make_models(work, has_onnxruntime):
    models = work / "models"
    if has_onnxruntime:
        shutil.copytree(SAMPLES, models)
    (models / "echo" / "1").mkdir(parents=True)
    (models / "echo" / "config.pbtxt").write_text(ECHO, encoding="utf-8")
    return models


def with_mount_points(image, work):
    """The image, and over it the folders that a container engine makes to mount on."""
    points = work / "mount-points"
    for name in ("proc", "dev", "tmp", "models"):
        (points / name).mkdir(parents=True)
    image = image.on_top()
    image.layers.append(Layer("mount points", points))
    return image


def mount_all(root, models):
    """What is mounted into a container: its root is read-only, and /tmp can be written to."""
    mount("-t", "proc", "proc", root / "proc")
    mount("--rbind", "/dev", root / "dev")
    mount("-t", "tmpfs", "-o", "size=64m,mode=1777", "tmpfs", root / "tmp")
    mount("--bind", "-o", "ro", models, root / "models")


def own_network():
    """Only the loopback interface: nothing leaves the machine, and no port is taken."""
    if LIBC.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "no network of its own")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        up = struct.pack("16sh22x", b"lo", 0x1 | 0x40)
        fcntl.ioctl(probe, 0x8914, up)


def enter(root, user):
    """Into the root, as the user, with no way to more rights."""
    user_id, _, group_id = user.partition(":")
    os.chroot(root)
    os.chdir("/")
    os.setgroups([])
    os.setresgid(int(group_id), int(group_id), int(group_id))
    os.setresuid(int(user_id), int(user_id), int(user_id))
    LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def run_inside(image, root, command, user=None):
    return subprocess.run(
        command,
        env=image.environment,
        preexec_fn=lambda: enter(root, user or image.user),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        timeout=PATIENCE,
    )


@contextlib.contextmanager
def container(image, root):
    server = subprocess.Popen(
        [*image.entrypoint, *image.command],
        env=image.environment,
        preexec_fn=lambda: enter(root, image.user),
    )
    try:
        yield server
    finally:
        server.kill()
        server.wait()


def check_process(server):
    status = pathlib.Path(f"/proc/{server.pid}/status").read_text(encoding="utf-8")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    found = []
    if "0" in fields["Uid"].split() or "0" in fields["Gid"].split():
        found.append(f"it runs as root: {fields['Uid']}, {fields['Gid']}")
    if int(fields["CapEff"], 16) != 0:
        found.append(f"it has capabilities: {fields['CapEff']}")
    return found


def check_answers(image, root, server, has_onnxruntime):
    checked = wait_until_healthy(image, root, server)
    if checked.returncode != 0:
        return [f"{image.check} says {checked.returncode}: {checked.stdout}"]
    print(f"  healthy: {checked.stdout.strip()}")
    found = []
    if run_inside(image, root, ["/usr/bin/touch", "/x"], user="0:0").returncode == 0:
        found.append("the root can be written to")
    http_port, _, metrics_port = image.ports
    questions = [(http_port, "echo", {"name": "IN", "datatype": "INT32", "shape": [2], "data": [7, 9]})]
    if has_onnxruntime:
        features = {"name": "FEATURES", "datatype": "FP32", "shape": [1, 7], "data": [0] * 7}
        questions.append((http_port, "fraud", features))
    for port, model, tensor in questions:
        status, answer = ask(port, "POST", f"/v2/models/{model}/infer", {"inputs": [tensor]})
        print(f"  {model}: {status} {answer[:100]}")
        if status != 200:
            found.append(f"{model} answered {status}: {answer}")
    status, page = ask(metrics_port, "GET", "/metrics")
    if status != 200 or 'nv_inference_request_success{model="echo"' not in page:
        found.append(f"the metrics page answered {status}: {page[:200]}")
    return found


def wait_until_healthy(image, root, server):
    """What the image's own check says last."""
    begin = time.monotonic()
    while True:
        checked = run_inside(image, root, image.check)
        is_over = server.poll() is not None or time.monotonic() - begin > PATIENCE
        if checked.returncode == 0 or is_over:
            return checked
        time.sleep(0.2)


def ask(port, method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request(method, path, body and json.dumps(body))
    response = connection.getresponse()
    return response.status, response.read().decode()


def check_end(image, server):
    server.send_signal(signal.Signals[image.stop_signal])
    code = server.wait(timeout=PATIENCE)
    return [] if code == 0 else [f"after {image.stop_signal} it ended with {code}"]
