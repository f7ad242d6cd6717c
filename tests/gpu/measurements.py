"""How fast it is: the device by itself here, through the server in `serving`."""

import serving
from report import NotRun, Table


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


TABLES = [
    ("Copies", copies),
    ("Rows of a batch: copies against one kernel", gathers),
    ("Launches: plain against a graph", graphs),
    ("Added latency", serving.added_latency),
    ("Server ÷ engine", serving.server_by_engine),
    ("Engines by batch", serving.by_batch),
    ("What is left of an engine's throughput", serving.what_is_left),
    ("At saturation", serving.saturation),
    ("Two models on one GPU", serving.slowdown),
]


def measured(rig):
    if rig.measured is None:
        raise NotRun("the device check failed")
    return rig.measured
