"""How fast it is through a server, and without one."""

import concurrent.futures
import itertools
import shutil

from report import Table

MODEL = """backend: "{backend}" max_batch_size: {batch} {batching}
input {{ name: "IN" data_type: TYPE_FP32 dims: {elements} }}
output {{ name: "OUT" data_type: TYPE_FP32 dims: {elements} }}
{group} {extra}
"""
# What a pretended engine takes for a batch of 8, in microseconds.
ENGINE_US = 2000
PRIORITIES = [("default", ""), ("MAX", "optimization { priority: PRIORITY_MAX }")]


def added_latency(rig):
    """What the way to a model adds to nothing: one that computes nothing, one request at a time."""
    rows = []
    for where, group in (("CPU", "instance_group { kind: KIND_CPU }"), ("GPU", rig.group())):
        for elements in (16, 150_528):
            name = f"echo_{where}_{elements}"
            repository = rig.add(name, model("identity", 0, elements, group), "latency")
            rows.append((where, elements, name))
    one = lambda ask, place, name: ask(place, "-m", name, "--concurrency-range", 1)["latency"]
    inside = {name: one(rig.perf_inside, repository, name) for _, _, name in rows}
    with rig.serve(repository) as server:
        outside = {name: one(rig.perf, server, name) for _, _, name in rows}
    table = [
        [where, elements * 4, *(ways[name][key] for ways in (inside, outside) for key in ("p50", "p99"))]
        for where, elements, name in rows
    ]
    columns = ["device", "bytes in and out", "in process: median, µs", "99 %, µs", "over gRPC: median, µs", "99 %, µs"]
    note = "Over gRPC on the same machine: the client and the loopback interface are part of it."
    return [Table(columns, table, note)]


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
    uuid = rig.found["gpus"][rig.device]["uuid"]
    rows = []
    for engine in engines(rig):
        repository, name = on_gpu(rig, engine, f"{engine}_busy", "dynamic_batching { }")
        with rig.serve(repository, "--model-control-mode", "explicit", *loading([name])) as server:
            rows += [[engine, *busy(rig, server, name, uuid, concurrency)] for concurrency in (1, 8, 64)]
    columns = ["engine", "under way", "requests/s", "99 %, µs", "mean batch", "instance executes, share",
               "GPU busy (NVML, most)"]
    return [Table(columns, rows)]


def busy(rig, server, name, uuid, concurrency):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        load = pool.submit(rig.perf, server, "-m", name, "--concurrency-range", concurrency)
        looks = []
        while not load.done():
            looks.append(server.metric("nv_gpu_utilization", uuid) or 0.0)
            server.next_sample()
    level = load.result()
    side = level["server"]
    share = level["requests_per_second"] * side["compute_infer_us"] / max(side["mean_batch_size"], 1) / 1e6
    return [concurrency, level["requests_per_second"], level["latency"]["p99"], side["mean_batch_size"], share,
            max(looks, default=0.0)]


def by_batch(rig):
    """What an engine takes for a batch of each size."""
    tables = []
    for engine in engines(rig):
        repository, name = on_gpu(rig, engine, f"{engine}_batches")
        rows = []
        for batch in batches(rig):
            level = rig.perf_inside(repository, "-m", name, "-b", batch, "--concurrency-range", 1)
            rows_a_second = level["requests_per_second"] * batch
            rows.append([batch, level["server"]["compute_infer_us"], level["latency"]["p50"], rows_a_second])
        columns = ["rows", "engine, µs", "request, median, µs", "rows/s"]
        tables.append(Table(columns, rows, f"`{engine}` in process, one request at a time."))
    return tables


def what_is_left(rig):
    """An engine's best throughput, with whole batches handed to it, against requests of one row."""
    rows = []
    for engine in engines(rig):
        repository, name = on_gpu(rig, engine, f"{engine}_left", "dynamic_batching { }")
        best = max(
            rig.perf_inside(repository, "-m", name, "-b", batch, "--concurrency-range", 2)["requests_per_second"] * batch
            for batch in batches(rig)
        )
        single = ("-m", name, "--concurrency-range", 2 * max(batches(rig)))
        inside = rig.perf_inside(repository, *single)["requests_per_second"]
        with rig.serve(repository) as server:
            outside = rig.perf(server, *single)["requests_per_second"]
        shares = [inside / max(best, 1e-9), outside / max(best, 1e-9)]
        rows.append([engine, best, inside, shares[0], outside, shares[1]])
    columns = ["engine", "whole batches, rows/s", "in process, rows/s", "share", "over gRPC, rows/s", "share"]
    note = "Whole batches: two callers in process, at the size of a batch that gives the most."
    return [Table(columns, rows, note)]


def slowdown(rig):
    """What two models do to each other, with and without the priority of streams."""
    tables = []
    for first, second in itertools.combinations_with_replacement(engines(rig), 2):
        for priority, extra in PRIORITIES:
            names = [f"{first}_1_{second}_{priority.lower()}", f"{second}_2_{first}_{priority.lower()}"]
            for engine, name, own in zip((first, second), names, (extra, "")):
                repository, _ = on_gpu(rig, engine, name, own)
            with rig.serve(repository, "--model-control-mode", "explicit", *loading(names)) as server:
                load = lambda name: rig.perf(server, "-m", name, "--concurrency-range", 16)["requests_per_second"]
                alone = [load(name) for name in names]
                with concurrent.futures.ThreadPoolExecutor(2) as pool:
                    together = list(pool.map(load, names))
            rows = [[name, one, both, one / max(both, 1e-9)] for name, one, both in zip(names, alone, together)]
            columns = ["model", "alone, requests/s", "together, requests/s", "slowdown"]
            tables.append(Table(columns, rows, f"`{first}` beside `{second}`; priority of the first: {priority}."))
    return tables


def engines(rig):
    """The models that were staged for measurements, or a small one where none were."""
    rig.on_gpus("onnxruntime")
    folder = rig.stage / "engines"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else ["digits"]


def batches(rig):
    return [1, 8] if rig.is_short else [1, 2, 4, 8, 16, 32, 64]


def on_gpu(rig, engine, name, extra=""):
    """The engine under another name, on the GPU; and the repository that it is in."""
    repository = rig.work / "measured"
    folder = repository / name
    staged = next(path for path in (rig.stage / "engines" / engine, rig.stage / "models" / engine) if path.exists())
    shutil.copytree(staged / "1", folder / "1", dirs_exist_ok=True)
    config = f"max_batch_size: {max(batches(rig))} {extra} {rig.group()}\n"
    (folder / "config.pbtxt").write_text(config, encoding="utf-8")
    return repository, name


def loading(names):
    return [item for name in names for item in ("--load-model", name)]


def model(backend, batch, elements, group, batching="", extra=""):
    return MODEL.format(
        backend=backend, batch=batch, elements=elements, group=group, batching=batching, extra=extra
    )
