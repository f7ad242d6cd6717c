"""How fast it is."""

import concurrent.futures

from correctness import copy_model
from report import NotRun, Table

MODEL = """backend: "{backend}" max_batch_size: {batch} {batching}
input {{ name: "IN" data_type: TYPE_FP32 dims: {elements} }}
output {{ name: "OUT" data_type: TYPE_FP32 dims: {elements} }}
{group} {extra}
"""
# What a pretended engine takes for a batch of 8, in microseconds.
ENGINE_US = 2000
PRIORITIES = [("default", ""), ("MAX", "optimization { priority: PRIORITY_MAX }")]


def copies(rig):
    columns = ["bytes", "pinned → GPU, µs", "pageable → GPU, µs", "GPU → pinned, µs", "GPU → pageable, µs", "pinned → GPU, GB/s"]
    rows = [
        [
            copy["byte_size"],
            copy["pinned_to_device_us"],
            copy["pageable_to_device_us"],
            copy["pinned_to_host_us"],
            copy["pageable_to_host_us"],
            copy["byte_size"] / max(copy["pinned_to_device_us"], 1e-3) / 1e3,
        ]
        for copy in measured(rig)["copies"]
    ]
    return [Table(columns, rows, "To the GPU many copies go on one after the other; to the host each is waited for.")]


def gathers(rig):
    columns = ["rows", "bytes of each", "copies, µs", "kernel, µs", "copies ÷ kernel"]
    rows = [
        [
            gather["rows"],
            gather["row_byte_size"],
            gather["copies_us"],
            gather["kernel_us"],
            gather["copies_us"] / max(gather["kernel_us"], 1e-3),
        ]
        for gather in measured(rig)["gathers"]
    ]
    return [Table(columns, rows)]


def graphs(rig):
    columns = ["launches", "plain, µs", "graph, µs", "plain ÷ graph"]
    rows = [
        [it["count"], it["plain_us"], it["graph_us"], it["plain_us"] / max(it["graph_us"], 1e-3)]
        for it in measured(rig)["graphs"]
    ]
    return [Table(columns, rows)]


def added_latency(rig):
    """What the way through the server adds to nothing: a model that computes nothing, one request at a time."""
    rows = []
    for where, group in (("CPU", "instance_group { kind: KIND_CPU }"), ("GPU", rig.group())):
        for elements in (16, 150_528):
            name = f"echo_{where}_{elements}"
            repository = rig.add(name, model("identity", 0, elements, group), "latency")
            rows.append((where, elements, name))
    with rig.serve(repository) as server:
        table = []
        for where, elements, name in rows:
            level = rig.perf(server, "-m", name, "--concurrency-range", 1)
            latency = level["latency"]
            table.append([where, elements * 4, latency["p50"], latency["p99"], level["requests_per_second"]])
    note = "Over gRPC on the same machine: the client and the loopback interface are part of it."
    return [Table(["device", "bytes in and out", "median, µs", "99 %, µs", "requests/s"], table, note)]


def server_by_engine(rig):
    """How much of an engine's throughput is left through the server."""
    batching = "dynamic_batching { max_queue_delay_microseconds: 1000 }"
    extra = 'parameters { key: "latency_us" value { string_value: "%d" } }' % ENGINE_US
    repository = rig.add("engine", model("simulated", 8, 1024, rig.group(), batching, extra), "engine")
    ideal = 8 * 1e6 / ENGINE_US
    with rig.serve(repository) as server:
        level = rig.perf(server, "-m", "engine", "--concurrency-range", 32)
    reached, batch = level["requests_per_second"], level["server"]["mean_batch_size"]
    note = f"An engine that is pretended to take {ENGINE_US} µs for a batch of 8. Over gRPC, 32 requests under way."
    columns = ["engine alone, rows/s", "through the server, rows/s", "server ÷ engine", "mean batch"]
    return [Table(columns, [[ideal, reached, reached / ideal, batch]], note)]


def saturation(rig):
    """ONNX Runtime on the GPU, with more requests than it can do."""
    rig.on_gpus("onnxruntime")
    copy_model(rig, "digits", "digits_busy", rig.group())
    uuid = rig.found["gpus"][rig.device]["uuid"]
    rows = []
    with rig.serve(rig.work / "engines") as server:
        for concurrency in (1, 8, 64):
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                load = pool.submit(rig.perf, server, "-m", "digits_busy", "--concurrency-range", concurrency)
                busy = []
                while not load.done():
                    busy.append(server.metric("nv_gpu_utilization", uuid) or 0.0)
                    server.next_sample()
                level = load.result()
            side = level["server"]
            share = level["requests_per_second"] * side["compute_infer_us"] / max(side["mean_batch_size"], 1) / 1e6
            rows.append([concurrency, level["requests_per_second"], level["latency"]["p99"], side["mean_batch_size"],
                         share, max(busy, default=0.0)])
    columns = ["under way", "requests/s", "99 %, µs", "mean batch", "instance executes, share", "GPU busy (NVML, most)"]
    return [Table(columns, rows, "The sample model `digits`, which is small: a large one keeps a GPU busier.")]


def slowdown(rig):
    """What two models do to each other, with and without the priority of streams."""
    rig.on_gpus("onnxruntime")
    tables = []
    for priority, extra in PRIORITIES:
        names = [f"{kind}_{priority.lower()}" for kind in ("first", "second")]
        for name, own in zip(names, (extra, "")):
            copy_model(rig, "digits", name, rig.group() + " " + own)
        with rig.serve(rig.work / "engines") as server:
            load = lambda name: rig.perf(server, "-m", name, "--concurrency-range", 16)["requests_per_second"]
            alone = [load(name) for name in names]
            with concurrent.futures.ThreadPoolExecutor(2) as pool:
                together = list(pool.map(load, names))
        rows = [[name, one, both, one / max(both, 1e-9)] for name, one, both in zip(names, alone, together)]
        note = f"Priority of the first: {priority}."
        tables.append(Table(["model", "alone, requests/s", "together, requests/s", "slowdown"], rows, note))
    return tables


TABLES = [
    ("Copies", copies),
    ("Rows of a batch: copies against one kernel", gathers),
    ("Launches: plain against a graph", graphs),
    ("Added latency", added_latency),
    ("Server ÷ engine", server_by_engine),
    ("At saturation", saturation),
    ("Two models on one GPU", slowdown),
]


def measured(rig):
    if rig.measured is None:
        raise NotRun("the device check failed")
    return rig.measured


def model(backend, batch, elements, group, batching="", extra=""):
    return MODEL.format(
        backend=backend, batch=batch, elements=elements, group=group, batching=batching, extra=extra
    )
