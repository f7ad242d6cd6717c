"""Makes the model repository that the tests serve: python make_models.py FOLDER."""

import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper

# Protocol name -> (name in model configurations, ONNX element type).
DATATYPES = {
    "BOOL": ("TYPE_BOOL", TensorProto.BOOL),
    "UINT8": ("TYPE_UINT8", TensorProto.UINT8),
    "UINT16": ("TYPE_UINT16", TensorProto.UINT16),
    "UINT32": ("TYPE_UINT32", TensorProto.UINT32),
    "UINT64": ("TYPE_UINT64", TensorProto.UINT64),
    "INT8": ("TYPE_INT8", TensorProto.INT8),
    "INT16": ("TYPE_INT16", TensorProto.INT16),
    "INT32": ("TYPE_INT32", TensorProto.INT32),
    "INT64": ("TYPE_INT64", TensorProto.INT64),
    "FP16": ("TYPE_FP16", TensorProto.FLOAT16),
    "FP32": ("TYPE_FP32", TensorProto.FLOAT),
    "FP64": ("TYPE_FP64", TensorProto.DOUBLE),
    "BYTES": ("TYPE_STRING", TensorProto.STRING),
    "BF16": ("TYPE_BF16", TensorProto.BFLOAT16),
}
ADDABLE = ["FP32", "FP64", "INT32", "INT64"]

# The constant of the `generation` models; tests/reload.rs looks for its four bytes.
GENERATION_MARK = 987654.25


def tensors(keyword, *rows):
    """Input or output blocks of a config.pbtxt; a row is (name, datatype, dims)."""
    blocks = []
    for name, datatype, dims in rows:
        dims = ", ".join(map(str, dims))
        data_type = DATATYPES[datatype][0]
        blocks.append(f'{keyword} {{ name: "{name}" data_type: {data_type} dims: [ {dims} ] }}')
    return "\n".join(blocks) + "\n"


def info(name, datatype, dims):
    return helper.make_tensor_value_info(name, DATATYPES[datatype][1], dims)


class Repository:
    """The folder that is filled."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)

    def config(self, model, text):
        folder = self.folder / model
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.pbtxt").write_text(text + "\n")

    def identity(self, model, max_batch_size, io, rest=""):
        """A model of the identity backend; `io` rows are (datatype, dims)."""
        inputs = [(f"INPUT{i}", *row) for i, row in enumerate(io)]
        outputs = [(f"OUTPUT{i}", *row) for i, row in enumerate(io)]
        self.config(
            model,
            f'backend: "identity"\nmax_batch_size: {max_batch_size}\n'
            + tensors("input", *inputs)
            + tensors("output", *outputs)
            + "instance_group { kind: KIND_CPU count: 1 }\n"
            + rest,
        )
        (self.folder / model / "1").mkdir()

    def onnx(self, model, nodes, inputs, outputs, version=1, initializers=(), doc=""):
        graph = helper.make_graph(nodes, model, inputs, outputs, list(initializers), doc)
        proto = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10
        )
        onnx.checker.check_model(proto)
        folder = self.folder / model / str(version)
        folder.mkdir(parents=True)
        onnx.save(proto, folder / "model.onnx")

    def onnx_config(self, model, max_batch_size, inputs, outputs, rest=""):
        self.config(
            model,
            f'platform: "onnxruntime_onnx"\nmax_batch_size: {max_batch_size}\n'
            + tensors("input", *inputs)
            + tensors("output", *outputs)
            + "instance_group { kind: KIND_CPU count: 1 }\n"
            + rest,
        )


def onnx_identities(repository):
    for datatype in DATATYPES:
        nodes = [helper.make_node("Identity", ["INPUT0"], ["OUTPUT0"])]
        for suffix, max_batch_size, dims in [("", 8, [-1]), ("_nobatch", 0, [-1, -1])]:
            model = f"onnx_{datatype.lower()}{suffix}"
            repository.onnx_config(
                model,
                max_batch_size,
                [("INPUT0", datatype, dims)],
                [("OUTPUT0", datatype, dims)],
                "dynamic_batching { }" if max_batch_size else "",
            )
            repository.onnx(
                model,
                nodes,
                [info("INPUT0", datatype, ["a", "b"])],
                [info("OUTPUT0", datatype, ["a", "b"])],
            )


def onnx_arithmetic(repository):
    for datatype in ADDABLE:
        model = f"addsub_{datatype.lower()}"
        names = ["INPUT0", "INPUT1", "OUTPUT0", "OUTPUT1"]
        rows = [(name, datatype, [16]) for name in names]
        repository.onnx_config(model, 8, rows[:2], rows[2:], "dynamic_batching { }")
        ios = [info(name, datatype, ["batch", 16]) for name in names]
        nodes = [
            helper.make_node("Add", ["INPUT0", "INPUT1"], ["OUTPUT0"]),
            helper.make_node("Sub", ["INPUT0", "INPUT1"], ["OUTPUT1"]),
        ]
        repository.onnx(model, nodes, ios[:2], ios[2:])

    random = np.random.default_rng(7)
    weights = [
        onnx.numpy_helper.from_array(random.standard_normal(shape).astype(np.float32), name)
        for name, shape in [("W0", (32, 64)), ("B0", (64,)), ("W1", (64, 10))]
    ]
    nodes = [
        helper.make_node("MatMul", ["INPUT0", "W0"], ["m"]),
        helper.make_node("Add", ["m", "B0"], ["s"]),
        helper.make_node("Relu", ["s"], ["r"]),
        helper.make_node("MatMul", ["r", "W1"], ["OUTPUT0"]),
    ]
    repository.onnx_config(
        "matmul",
        16,
        [("INPUT0", "FP32", [32])],
        [("OUTPUT0", "FP32", [10])],
        "dynamic_batching { max_queue_delay_microseconds: 500 }",
    )
    repository.onnx(
        "matmul",
        nodes,
        [info("INPUT0", "FP32", ["batch", 32])],
        [info("OUTPUT0", "FP32", ["batch", 10])],
        initializers=weights,
    )


def onnx_shapes(repository):
    # One output for every datatype.
    nodes = [
        helper.make_node("Cast", ["INPUT0"], [f"OUTPUT_{name}"], to=element)
        for name, (_, element) in DATATYPES.items()
    ]
    rows = [(f"OUTPUT_{name}", name, [-1]) for name in DATATYPES]
    repository.onnx_config("casts", 8, [("INPUT0", "FP32", [-1])], rows, "dynamic_batching { }")
    outputs = [info(f"OUTPUT_{name}", name, ["batch", "n"]) for name in DATATYPES]
    repository.onnx("casts", nodes, [info("INPUT0", "FP32", ["batch", "n"])], outputs)

    # Output shapes that are not the input's.
    repository.onnx_config(
        "variable",
        0,
        [("INPUT0", "FP32", [-1, -1])],
        [("TRANSPOSED", "FP32", [-1, -1]), ("SHAPE", "INT64", [2])],
    )
    repository.onnx(
        "variable",
        [
            helper.make_node("Transpose", ["INPUT0"], ["TRANSPOSED"]),
            helper.make_node("Shape", ["INPUT0"], ["SHAPE"]),
        ],
        [info("INPUT0", "FP32", ["a", "b"])],
        [info("TRANSPOSED", "FP32", ["b", "a"]), info("SHAPE", "INT64", [2])],
    )

    # No dimensions at all, which one output shows; the configuration is left to the server.
    repository.onnx(
        "scalar",
        [
            helper.make_node("Add", ["INPUT0", "INPUT0"], ["OUTPUT0"]),
            helper.make_node("Unsqueeze", ["INPUT0", "AXES"], ["OUTPUT1"]),
            helper.make_node("ReduceSum", ["INPUT1"], ["OUTPUT2"], keepdims=0),
        ],
        [info("INPUT0", "FP32", []), info("INPUT1", "FP32", ["n"])],
        [info("OUTPUT0", "FP32", []), info("OUTPUT1", "FP32", [1]), info("OUTPUT2", "FP32", [])],
        initializers=[helper.make_tensor("AXES", TensorProto.INT64, [1], [0])],
    )

    # What it says of its output holds for one row, as exporters write it that traced one example.
    repository.onnx(
        "traced",
        [helper.make_node("Neg", ["INPUT0"], ["OUTPUT0"])],
        [info("INPUT0", "FP32", ["batch", 3])],
        [info("OUTPUT0", "FP32", [1, 3])],
    )

    # A batchable model without a configuration.
    repository.onnx(
        "complete",
        [helper.make_node("Neg", ["INPUT0"], ["OUTPUT0"])],
        [info("INPUT0", "FP32", ["batch", 3])],
        [info("OUTPUT0", "FP32", ["batch", 3])],
    )


def adder(repository, model, version, addend, doc=""):
    """A version that answers its input plus `addend`."""
    constant = helper.make_tensor(
        "ADDEND", TensorProto.FLOAT, [1], np.float32(addend).tobytes(), raw=True
    )
    repository.onnx(
        model,
        [helper.make_node("Add", ["INPUT0", "ADDEND"], ["OUTPUT0"])],
        [info("INPUT0", "FP32", ["batch", 4])],
        [info("OUTPUT0", "FP32", ["batch", 4])],
        version,
        [constant],
        doc,
    )


def onnx_versions(repository):
    io = [("INPUT0", "FP32", [4])], [("OUTPUT0", "FP32", [4])]
    repository.onnx_config("versions", 4, *io, "version_policy { all { } }\n")
    for version in [1, 2]:
        adder(repository, "versions", version, version)
    # The same model in two sizes: a swap between them changes the file's length.
    repository.onnx_config("generation", 4, *io, "version_policy { all { } }\n")
    adder(repository, "generation", 1, GENERATION_MARK)
    adder(repository, "generation", 2, GENERATION_MARK, "an even generation")


def identities(repository):
    everything = [(datatype, [-1]) for datatype in DATATYPES]
    repository.identity("nop", 8, everything)
    repository.identity("nop_nobatch", 0, everything)
    repository.identity("bytes_nobatch", 0, [("BYTES", [-1])])
    fp32 = [("FP32", [-1])]

    def delay(milliseconds):
        value = f'{{ string_value: "{milliseconds}" }}'
        return f'parameters {{ key: "execute_delay_ms" value: {value} }}\n'

    repository.identity("slow", 0, fp32, delay(500))
    repository.identity("plain", 0, fp32)
    repository.identity("batched", 8, fp32, delay(30) + "dynamic_batching { }")
    policy = "dynamic_batching {{ default_queue_policy {{ {} }} }}".format
    repository.identity("small_queue", 1, fp32, delay(700) + policy("max_queue_size: 1"))
    repository.identity(
        "short_patience",
        1,
        fp32,
        delay(700) + policy("default_timeout_microseconds: 100000 timeout_action: REJECT"),
    )
    repository.identity(
        "simulated",
        8,
        fp32,
        'parameters { key: "latency_us" value: { string_value: "500" } }\n',
    )
    config = repository.folder / "simulated" / "config.pbtxt"
    config.write_text(config.read_text().replace('"identity"', '"simulated"'))


def repeats(repository):
    repository.config(
        "repeat_int32",
        'backend: "repeat"\nmax_batch_size: 0\n'
        + tensors(
            "input",
            ("IN", "INT32", [-1]),
            ("DELAY", "UINT32", [-1]),
            ("WAIT", "UINT32", [1]),
        )
        + tensors("output", ("OUT", "INT32", [1]), ("IDX", "UINT32", [1]))
        + "model_transaction_policy { decoupled: true }\n"
        + "instance_group { kind: KIND_CPU count: 1 }\n",
    )
    (repository.folder / "repeat_int32" / "1").mkdir()


if __name__ == "__main__":
    target = Repository(sys.argv[1])
    onnx_identities(target)
    onnx_arithmetic(target)
    onnx_shapes(target)
    onnx_versions(target)
    identities(target)
    repeats(target)
