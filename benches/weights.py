"""Memory of one and of two instances of a model, by how its weights are stored and packed, and the
time that packing saves.

    python benches/weights.py target/release/despina

Needs the packages of tests/python/requirements.txt, and ORT_DYLIB_PATH or any other way by which
the server finds ONNX Runtime. Makes a model of 256 MiB in a temporary folder.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import numpy
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

WIDTH, LAYERS, ROWS = 4096, 4, 8


def model(folder, external):
    random = numpy.random.default_rng(0)
    nodes, weights, name = [], [], "x"
    for layer in range(LAYERS):
        matrix = random.standard_normal((WIDTH, WIDTH), dtype=numpy.float32) * 0.01
        weights.append(numpy_helper.from_array(matrix, f"w{layer}"))
        nodes.append(helper.make_node("MatMul", [name, f"w{layer}"], [f"y{layer}"]))
        name = f"y{layer}"
    ends = [
        [helper.make_tensor_value_info(end, TensorProto.FLOAT, ["n", WIDTH])]
        for end in ("x", name)
    ]
    graph = helper.make_graph(nodes, "g", *ends, weights)
    proto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    folder.mkdir(parents=True)
    options = {"save_as_external_data": True, "location": "weights"} if external else {}
    onnx.save(proto, folder / "model.onnx", **options)


def infer(url):
    rows = [0.5] * ROWS * WIDTH
    tensor = {"name": "x", "shape": [ROWS, WIDTH], "datatype": "FP32", "data": rows}
    body = json.dumps({"inputs": [tensor]}).encode()
    for _ in range(4):
        urllib.request.urlopen(urllib.request.Request(url, body)).read()


def proportional_mib(despina, repository):
    """Of a server that has answered on all its instances."""
    ports = ["--http-port=0", "--grpc-port=0", "--metrics-port=0"]
    command = [despina, "serve", "--model-repository", str(repository), *ports]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        for line in server.stdout:
            if found := re.search(r"http +(http://\S+)", line):
                url = f"{found[1]}/v2/models/big/infer"
            if "models" in line:
                break
        threads = [threading.Thread(target=infer, args=(url,)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        rollup = pathlib.Path(f"/proc/{server.pid}/smaps_rollup").read_text()
        return int(re.search(r"^Pss: +(\d+)", rollup, re.MULTILINE)[1]) // 1024
    finally:
        server.terminate()
        server.wait()


def cpu_milliseconds(file, packed):
    """Of one run on one thread without a server, for 1, 8 and 32 rows; medians of 7."""
    options = onnxruntime.SessionOptions()
    entry = "session.disable_prepacking"
    options.add_session_config_entry(entry, "0" if packed else "1")
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options)
    medians = []
    for rows in (1, 8, 32):
        inputs = {"x": numpy.ones((rows, WIDTH), numpy.float32)}
        session.run(None, inputs)
        times = []
        for _ in range(7):
            begin = time.process_time()
            session.run(None, inputs)
            times.append(time.process_time() - begin)
        medians.append(round(sorted(times)[3] * 1e3, 1))
    return medians


def main(despina):
    with tempfile.TemporaryDirectory() as temporary:
        for external in (False, True):
            repository = pathlib.Path(temporary, f"external-{external}")
            model(repository / "big" / "1", external)
            for packed in (True, False):
                config = (
                    'platform: "onnxruntime_onnx"\nmax_batch_size: 32\n'
                    'parameters {{ key: "session.disable_prepacking" '
                    'value {{ string_value: "{}" }} }}\n'
                    "instance_group {{ kind: KIND_CPU count: {} }}\n"
                )
                memory = []
                for count in (1, 2):
                    text = config.format(0 if packed else 1, count)
                    (repository / "big" / "config.pbtxt").write_text(text)
                    memory.append(proportional_mib(despina, repository))
                times = cpu_milliseconds(repository / "big/1/model.onnx", packed)
                print(f"{external=} {packed=} {memory=} MiB {times=} ms")


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1]))
