"""What must be right."""

import concurrent.futures
import json
import math
import shutil

from device_memory import OtherProcess
from report import NotRun, Wrong

MIB = 1 << 20
ECHO = """backend: "identity" max_batch_size: 8 dynamic_batching {{}}
input {{ name: "IN" data_type: TYPE_INT32 dims: -1 }}
output {{ name: "OUT" data_type: TYPE_INT32 dims: -1 }}
{group}
"""
# Answers from a GPU may differ from the CPU's by this share of the larger one, and at least by so much.
RELATIVE, ABSOLUTE = 2e-3, 1e-4
LEFT_AT_MOST = 16 * MIB


def device(rig):
    """Copies, pools, graphs and the gather kernel, each held against what should come out."""
    done = rig.run("device-check", "--measure", "--json", *(["--short"] if rig.is_short else []))
    found = json.loads(done.stdout)
    mine = found["measured"][rig.device]
    if "error" in mine:
        raise Wrong(mine["error"])
    rig.measured = mine
    return "copies, pinned pool, device pool, graphs and the gather kernel"


def kernels(rig):
    """Every kernel against its plain form, by the unit tests that need a GPU."""
    if not (rig.stage / "despina-tests").exists():
        raise NotRun("the unit tests were not staged")
    done = rig.run("on_a_gpu", "--ignored", "--test-threads=1", program="despina-tests")
    if done.returncode != 0 or " 0 passed" in done.stdout:
        raise Wrong((done.stdout + done.stderr)[-1500:])
    passed = done.stdout.rpartition("test result: ")[2].split(";")[0]
    return f"every kernel as its plain form: {passed}"


def batches(rig):
    """Requests of many sizes at once, through pinned and device memory."""
    repository = rig.add("echo", ECHO.format(group=rig.group()))
    sizes = [1, 7, 1024, 100_003] * (2 if rig.is_short else 25)
    with rig.serve(repository) as server:
        def echo(number):
            size = sizes[number]
            data = [(number * 7919 + index) % 1_000_003 for index in range(size)]
            own = server.of_its_own()
            answer = own.infer("echo", [tensor("IN", "INT32", [1, size], data)])
            return answer["OUT"]["data"] == data

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            right = list(pool.map(echo, range(len(sizes))))
        if not all(right):
            raise Wrong(f"{right.count(False)} of {len(right)} answers are not what was sent")
    return f"{len(right)} answers of up to {max(sizes) * 4} bytes are what was sent"


def shared_memory(rig):
    """A tensor in device memory of another process, in and out, by CUDA's IPC."""
    repository = rig.add("echo", ECHO.format(group=rig.group()))
    numbers = list(range(-8, 8))
    with rig.serve(repository, "--allow-client-shm=true") as server:
        with OtherProcess(rig, numbers) as other:
            body = {"raw_handle": {"b64": other.handle}, "device_id": rig.device, "byte_size": other.byte_size}
            status, answer = server.ask("POST", "/v2/cudasharedmemory/region/r/register", body)
            if status != 200:
                raise Wrong(f"registering answered {status}: {answer}")
            region = {"shared_memory_region": "r", "shared_memory_byte_size": 64}
            server.infer(
                "echo",
                [{"name": "IN", "datatype": "INT32", "shape": [1, 16], "parameters": region}],
                [{"name": "OUT", "parameters": region | {"shared_memory_offset": 4096}}],
            )
            server.ask("POST", "/v2/cudasharedmemory/region/r/unregister", {})
            if other.read(4096, 16) != numbers:
                raise Wrong("the output in the other process's memory is not what was sent")
    return "a tensor went in and out through another process's device memory"


def engines(rig):
    """The sample models that any device can run, on the GPU against the CPU."""
    rig.on_gpus("onnxruntime")
    versions = json.loads((rig.stage / "models" / "expected.json").read_text(encoding="utf-8"))["versions"]
    versions = [version for version in versions if runs_anywhere(rig, version["model"])]
    places = {"cpu": "instance_group { kind: KIND_CPU }", "gpu": rig.group()}
    for version in versions:
        for where, group in places.items():
            copy_model(rig, version["model"], f"{version['model']}_{where}", group)
    worst = 0.0
    with rig.serve(rig.work / "engines") as server:
        for version in versions:
            for case in version["cases"]:
                inputs = [tensor(it["name"], it["datatype"], it["shape"], it["data"]) for it in case["inputs"]]
                cpu, gpu = (server.infer(f"{version['model']}_{where}", inputs) for where in places)
                worst = max([worst, *(difference(name, cpu[name]["data"], gpu[name]["data"]) for name in cpu)])
    names = ", ".join(version["model"] for version in versions)
    return f"ONNX Runtime on the GPU as on the CPU, for {names}; largest difference {worst:.2g}"


def runs_anywhere(rig, model):
    """Those that can run on CPUs only say so."""
    config = (rig.stage / "models" / model / "config.pbtxt").read_text(encoding="utf-8")
    return "instance_group" not in config


def comes_back(rig):
    """Device memory after many loads, inferences and unloads, and loads that fail."""
    cycles = 10 if rig.is_short else 500
    rig.add("echo", ECHO.format(group=rig.group()), "cycles")
    large = 'parameters { key: "weights_byte_size" value { string_value: "%d" } }' % (64 * MIB)
    simulated = ECHO.replace("identity", "simulated").replace("dims: -1", "dims: 4")
    rig.add("engine", simulated.format(group=rig.group()) + large, "cycles")
    too_large = large.replace(str(64 * MIB), str(1 << 50))
    repository = rig.add("fails", simulated.format(group=rig.group()) + too_large, "cycles")
    uuid = rig.found["gpus"][rig.device]["uuid"]
    with rig.serve(repository, "--model-control-mode", "explicit") as server:
        def cycle():
            for model, should in (("echo", 200), ("engine", 200), ("fails", 400)):
                status, answer = server.ask("POST", f"/v2/repository/models/{model}/load", {})
                if (status == 200) != (should == 200):
                    raise Wrong(f"loading {model} answered {status}: {answer[:300]}")
            for model in ("echo", "engine"):
                server.infer(model, [tensor("IN", "INT32", [1, 4], [1, 2, 3, 4])])
                server.ask("POST", f"/v2/repository/models/{model}/unload", {})

        cycle()
        before = settled(server, uuid)
        for _ in range(cycles):
            cycle()
        left = settled(server, uuid) - before
    if left >= LEFT_AT_MOST:
        raise Wrong(f"after {cycles} cycles {left / MIB:.1f} MiB more of the device's memory are in use")
    return f"after {cycles} cycles of two models and a load that fails: {left / MIB:+.1f} MiB of device memory"


CHECKS = [
    ("device", device),
    ("kernels", kernels),
    ("batches", batches),
    ("CUDA shared memory", shared_memory),
    ("ONNX Runtime, GPU against CPU", engines),
    ("memory comes back", comes_back),
]


def tensor(name, datatype, shape, data):
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


def settled(server, uuid):
    """Used bytes of the device, when ten looks in a row say the same: what is unloaded goes behind."""
    looks = []
    while len(looks) < 10 or len(set(looks[-10:])) > 1:
        used = server.metric("nv_gpu_memory_used_bytes", uuid)
        if used is None or len(looks) > 1000:
            raise Wrong(f"the used memory of the device does not come to rest: {looks[-10:]}")
        looks.append(used)
        server.next_sample()
    return looks[-1]


def copy_model(rig, model, name, group):
    """A sample model under another name, in another place."""
    target = rig.work / "engines" / name
    shutil.copytree(rig.stage / "models" / model, target, dirs_exist_ok=True)
    config = target / "config.pbtxt"
    text = config.read_text(encoding="utf-8").replace(f'name: "{model}"', f'name: "{name}"')
    config.write_text(text + group + "\n", encoding="utf-8")


def difference(name, cpu, gpu):
    """The largest between two elements."""
    if len(cpu) != len(gpu):
        raise Wrong(f"{name} has {len(gpu)} elements on the GPU and {len(cpu)} on the CPU")
    largest = 0.0
    for a, b in zip(cpu, gpu):
        if not math.isclose(a, b, rel_tol=RELATIVE, abs_tol=ABSOLUTE):
            raise Wrong(f"{name} is {b} on the GPU and {a} on the CPU")
        largest = max(largest, abs(a - b))
    return largest
