"""Makes models with random weights: a small perceptron, the shape of ResNet-50, and that of a small BERT (6 layers
of 384, 128 tokens that are embedded already).

    python benches/engine/models.py FOLDER [MODEL ...]

Without names, those of `cargo bench --bench engine`: perceptron and resnet.

Needs numpy and onnx (tests/python/requirements.txt).
"""

import pathlib
import sys

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

RANDOM = numpy.random.default_rng(0)
CONFIG = """max_batch_size: {batch}
instance_group [ {{ count: 1 kind: KIND_CPU }} ]
dynamic_batching {{ preferred_batch_size: [ {batch} ] max_queue_delay_microseconds: 1000 }}
"""


class Graph:
    """Nodes one after the other; each method returns the name of what it computes."""

    def __init__(self):
        self.nodes, self.weights = [], []

    def add(self, kind, inputs, **attributes):
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def weight(self, *shape):
        scale = (2 / numpy.prod(shape[1:])) ** 0.5 if len(shape) > 1 else 0.01
        values = RANDOM.standard_normal(shape, dtype=numpy.float32) * numpy.float32(scale)
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def dense(self, value, inputs, outputs):
        return self.add("Gemm", [value, self.weight(outputs, inputs), self.weight(outputs)], transB=1)

    def conv(self, value, inputs, outputs, size, stride=1):
        weights = [self.weight(outputs, inputs, size, size), self.weight(outputs)]
        pads = [size // 2] * 4
        return self.add("Conv", [value, *weights], strides=[stride] * 2, pads=pads, kernel_shape=[size] * 2)

    def relu(self, value):
        return self.add("Relu", [value])

    def constant(self, values, kind=numpy.float32):
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(numpy.array(values, dtype=kind), name))
        return name

    def each(self, value, inputs, outputs):
        """A dense layer on each of a row's vectors."""
        product = self.add("MatMul", [value, self.weight(inputs, outputs)])
        return self.add("Add", [product, self.weight(outputs)])

    def gelu(self, value):
        inner = self.add("Erf", [self.add("Mul", [value, self.constant(0.5**0.5)])])
        half = self.add("Mul", [value, self.constant(0.5)])
        return self.add("Mul", [half, self.add("Add", [inner, self.constant(1.0)])])

    def norm(self, value, width):
        scale, bias = self.constant(numpy.ones(width)), self.constant(numpy.zeros(width))
        return self.add("LayerNormalization", [value, scale, bias], axis=-1)

    def save(self, folder, shape, output, classes, batch):
        self.nodes[-1].output[0] = "y"
        ends = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *dims])
            for name, dims in (("x", shape), ("y", [classes]))
        ]
        graph = helper.make_graph(self.nodes, "g", ends[:1], ends[1:], self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        (folder / "1").mkdir(parents=True, exist_ok=True)
        onnx.save(model, folder / "1" / "model.onnx")
        (folder / "config.pbtxt").write_text(CONFIG.format(batch=batch))


def perceptron(folder, batch):
    graph = Graph()
    value = graph.relu(graph.dense("x", 784, 512))
    value = graph.relu(graph.dense(value, 512, 512))
    graph.save(folder, [784], graph.dense(value, 512, 10), 10, batch)


def resnet(folder, batch):
    graph = Graph()
    value = graph.relu(graph.conv("x", 3, 64, 7, 2))
    value = graph.add("MaxPool", [value], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    inputs = 64
    for stage, blocks in enumerate([3, 4, 6, 3]):
        width = 64 << stage
        for block in range(blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            inner = graph.relu(graph.conv(value, inputs, width, 1))
            inner = graph.relu(graph.conv(inner, width, width, 3, stride))
            inner = graph.conv(inner, width, 4 * width, 1)
            if block == 0:
                value = graph.conv(value, inputs, 4 * width, 1, stride)
            value = graph.relu(graph.add("Add", [inner, value]))
            inputs = 4 * width
    value = graph.add("GlobalAveragePool", [value])
    value = graph.add("Flatten", [value])
    graph.save(folder, [3, 224, 224], graph.dense(value, inputs, 1000), 1000, batch)


def transformer(folder, batch, layers=6, width=384, heads=12, length=128):
    graph = Graph()
    split = graph.constant([0, 0, heads, width // heads], numpy.int64)
    join = graph.constant([0, 0, width], numpy.int64)
    scale = graph.constant((heads / width) ** 0.5)

    def head(value, order):
        parts = graph.add("Reshape", [graph.each(value, width, width), split])
        return graph.add("Transpose", [parts], perm=order)

    value = "x"
    for _ in range(layers):
        queries, keys, values = (head(value, order) for order in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]))
        scores = graph.add("Mul", [graph.add("MatMul", [queries, keys]), scale])
        seen = graph.add("MatMul", [graph.add("Softmax", [scores], axis=-1), values])
        seen = graph.add("Reshape", [graph.add("Transpose", [seen], perm=[0, 2, 1, 3]), join])
        value = graph.norm(graph.add("Add", [value, graph.each(seen, width, width)]), width)
        inner = graph.gelu(graph.each(value, width, 4 * width))
        value = graph.norm(graph.add("Add", [value, graph.each(inner, 4 * width, width)]), width)
    first = graph.add("ReduceMean", [value], axes=[1], keepdims=0)
    graph.save(folder, [length, width], graph.dense(first, width, width), width, batch)


# Each with the rows of its largest batch.
MODELS = {"perceptron": (perceptron, 64), "resnet": (resnet, 4), "transformer": (transformer, 16)}

if __name__ == "__main__":
    repository = pathlib.Path(sys.argv[1])
    for name in sys.argv[2:] or ["perceptron", "resnet"]:
        make, largest = MODELS[name]
        make(repository / name, largest)
