"""What the conformance modules share: addresses, clients, random data, ONNX Runtime."""

import json
import os
import pathlib
import re
import shutil
import time
import unittest
import urllib.error
import urllib.request

import grpc
import ml_dtypes
import numpy as np
import onnxruntime
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

HTTP = os.environ["DESPINA_HTTP"]
GRPC = os.environ["DESPINA_GRPC"]
METRICS = os.environ["DESPINA_METRICS"]
REPOSITORY = pathlib.Path(os.environ["DESPINA_REPOSITORY"])

DATATYPES = [
    "BOOL",
    "UINT8",
    "UINT16",
    "UINT32",
    "UINT64",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "FP16",
    "FP32",
    "FP64",
    "BYTES",
    "BF16",
]
# Neither JSON nor typed gRPC contents can carry these.
RAW_ONLY = ["FP16", "BF16"]


def random_tensor(random, datatype, shape):
    """Any bit pattern for integers, finite numbers otherwise, text for BYTES."""
    dtype = np.dtype(triton_to_np_dtype(datatype))
    if datatype == "BOOL":
        return random.integers(0, 2, shape).astype(bool)
    if datatype == "BYTES":
        words = ["", "a", "Neptun", "größer", "海王星", "x" * 300]
        return np.array(
            [words[i].encode() for i in random.integers(0, len(words), int(np.prod(shape)))],
            dtype=object,
        ).reshape(shape)
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        return random.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)
    return (random.standard_normal(shape) * 100).astype(dtype)


def onnx_run(model, inputs, version=1):
    """ONNX Runtime's own outputs by name (not for BF16, which its Python cannot carry)."""
    path = REPOSITORY / model / str(version) / "model.onnx"
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    feeds = {
        name: np.vectorize(bytes.decode, otypes=[object])(value)
        if value.dtype == object and value.size
        else value
        for name, value in inputs.items()
    }
    names = [output.name for output in session.get_outputs() if "bfloat16" not in output.type]
    outputs = dict(zip(names, session.run(names, feeds)))
    return {
        name: np.vectorize(str.encode, otypes=[object])(value)
        if value.dtype == object and value.size
        else value
        for name, value in outputs.items()
    }


def datatype_of(array):
    if array.dtype == ml_dtypes.bfloat16:
        return "BF16"
    if array.dtype == object:
        return "BYTES"
    if array.dtype == bool:
        return "BOOL"
    kind = {"i": "INT", "u": "UINT", "f": "FP"}[array.dtype.kind]
    return f"{kind}{array.dtype.itemsize * 8}"


def http_input(name, array, binary=True):
    tensor = httpclient.InferInput(name, list(array.shape), datatype_of(array))
    return tensor.set_data_from_numpy(array, binary_data=binary)


def grpc_input(name, array):
    tensor = grpcclient.InferInput(name, list(array.shape), datatype_of(array))
    return tensor.set_data_from_numpy(array)


CONTENTS = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def typed_request(model, inputs):
    """A ModelInferRequest whose tensors are in typed contents, which tritonclient never sends."""
    request = service_pb2.ModelInferRequest(model_name=model)
    for name, array in inputs.items():
        tensor = request.inputs.add(
            name=name, datatype=datatype_of(array), shape=list(array.shape)
        )
        field = getattr(tensor.contents, CONTENTS[tensor.datatype])
        field.extend(array.ravel().tolist())
    return request


def http_call(method, path, body=b"", headers=None, address=HTTP):
    """(status, headers, body) of a plain HTTP request."""
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    request = urllib.request.Request(
        f"http://{address}{path}",
        data=body if method != "GET" else None,
        headers=headers or {},
        method=method,
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def metrics():
    """{(name, frozenset of labels): value} of the metrics page."""
    status, _, page = http_call("GET", "/metrics", address=METRICS)
    assert status == 200, status
    series = {}
    for line in page.decode().splitlines():
        if line and not line.startswith("#"):
            name, labels, value = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line).groups()
            labels = re.findall(r'(\w+)="([^"]*)"', labels or "")
            series[name, frozenset(labels)] = float(value)
    return series


def metric(name, model, **labels):
    """The sum of the series of `model` with these labels; None if there is none."""
    want = {("model", model), *labels.items()}
    values = [
        value for (have, have_labels), value in metrics().items()
        if have == name and want <= have_labels
    ]
    return sum(values) if values else None


def wait_until(what, condition, seconds=20):
    """Asks again and again: the server is another process and cannot wake us."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited in vain: {what}")
        time.sleep(0.02)


def place(source, target):
    """Copies a folder beside the repository and renames it into place, whole at once."""
    staged = REPOSITORY.parent / f"staged-{os.urandom(4).hex()}"
    shutil.copytree(source, staged)
    staged.rename(target)


class ConformanceTest(unittest.TestCase):
    """A client of each kind, and comparisons."""

    @classmethod
    def setUpClass(cls):
        cls.random = np.random.default_rng(20260819)

    def setUp(self):
        self.http = httpclient.InferenceServerClient(HTTP, concurrency=16)
        self.addCleanup(self.http.close)
        self.grpc = grpcclient.InferenceServerClient(GRPC)
        self.addCleanup(self.grpc.close)
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        channel = grpc.insecure_channel(GRPC, options)
        self.addCleanup(channel.close)
        self.stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)

    def assert_same(self, got, want, exact=True):
        self.assertIsNotNone(got, "output is missing")
        self.assertEqual(got.shape, want.shape)
        self.assertEqual(got.dtype, want.dtype)
        if want.dtype == object:
            as_bytes = [x.encode() if isinstance(x, str) else x for x in got.ravel()]
            self.assertEqual(as_bytes, list(want.ravel()))
        elif exact:
            np.testing.assert_array_equal(got, want)
        else:
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)

    def assert_fails(self, call, fragment, http=None, code=None):
        """`call` raises with `fragment` in its message and that HTTP status or gRPC code."""
        with self.assertRaises(InferenceServerException) as caught:
            call()
        self.assertIn(fragment, caught.exception.message())
        want = str(http) if http else f"StatusCode.{code}"
        self.assertEqual(caught.exception.status(), want, caught.exception.message())

    def assert_both_fail(self, http_call, grpc_call, fragment, http, code):
        self.assert_fails(http_call, fragment, http=http)
        self.assert_fails(grpc_call, fragment, code=code)
