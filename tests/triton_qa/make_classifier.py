"""Writes an image classifier with the inputs and outputs of the one in Triton's examples, whose own file
would have to be fetched from elsewhere. What it says of a picture is right by chance only; it is the way
from the picture to a label that the examples show. Usage: make_classifier.py FILE"""

import sys

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

CLASSES = 1000


def main():
    weights = numpy.random.default_rng(7).normal(size=(CLASSES, 3, 1, 1)).astype(numpy.float32)
    nodes = [
        helper.make_node("GlobalAveragePool", ["data_0"], ["colours"]),
        helper.make_node("Conv", ["colours", "weights"], ["fc6_1"]),
    ]
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info("data_0", TensorProto.FLOAT, [1, 3, 224, 224])],
        [helper.make_tensor_value_info("fc6_1", TensorProto.FLOAT, [1, CLASSES, 1, 1])],
        [numpy_helper.from_array(weights, "weights")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), sys.argv[1])


if __name__ == "__main__":
    main()
