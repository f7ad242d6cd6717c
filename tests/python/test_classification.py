"""Outputs as their best classes: `value:index[:label]`, the same from both protocols as from numpy."""

import itertools

import numpy as np
from support import *

LABELS = (REPOSITORY / "digits" / "labels.txt").read_text().split()


def shown(value):
    """A number as C++'s std::to_string writes it."""
    return f"{value:.6f}" if isinstance(value, float) else str(value)


def best(row, count, labels=None):
    """The classes of a row, by sorting it; of equals the one with the lower index first."""
    values = row.astype(np.float64) if row.dtype.kind not in "iu" else row
    values = values.tolist()
    order = sorted(range(len(values)), key=lambda index: (-values[index], index))[:count]
    return [
        ":".join([shown(values[index]), str(index), *([labels[index]] if labels else [])])
        for index in order
    ]


class ClassificationTest(ConformanceTest):
    def classify(self, model, inputs, output, count):
        """(way, classes) over HTTP as JSON and as binary data, and over gRPC."""
        for binary in [False, True]:
            wanted = httpclient.InferRequestedOutput(output, binary_data=binary, class_count=count)
            tensors = [http_input(name, array) for name, array in inputs.items()]
            result = self.http.infer(model, tensors, outputs=[wanted])
            self.assertEqual(result.get_output(output)["datatype"], "BYTES")
            yield f"HTTP, binary {binary}", result.as_numpy(output)
        wanted = grpcclient.InferRequestedOutput(output, class_count=count)
        tensors = [grpc_input(name, array) for name, array in inputs.items()]
        result = self.grpc.infer(model, tensors, outputs=[wanted])
        self.assertEqual(result.get_output(output).datatype, "BYTES")
        yield "gRPC", result.as_numpy(output)

    def check(self, model, inputs, output, count, want):
        for way, got in self.classify(model, inputs, output, count):
            with self.subTest(model=model, count=count, way=way):
                got = np.vectorize(lambda text: text if isinstance(text, str) else text.decode())(got)
                self.assertEqual(got.tolist(), want)

    def refusals(self, model, array, output, count):
        """The errors over HTTP and over gRPC."""
        wanted = httpclient.InferRequestedOutput(output, class_count=count)
        with self.assertRaises(InferenceServerException) as over_http:
            self.http.infer(model, [http_input("INPUT0", array)], outputs=[wanted])
        wanted = grpcclient.InferRequestedOutput(output, class_count=count)
        with self.assertRaises(InferenceServerException) as over_grpc:
            self.grpc.infer(model, [grpc_input("INPUT0", array)], outputs=[wanted])
        return over_http.exception, over_grpc.exception


class Digits(ClassificationTest):
    def test_classes_are_the_largest_probabilities_with_their_labels(self):
        images = self.random.uniform(0, 16, (5, 1, 8, 8)).astype(np.float32)
        # Alone and in a batch the engine may sum in another order: ask it for each size.
        for rows, count in [(1, 1), (5, 3), (2, 10), (2, 1000)]:
            inputs = {"IMAGE": images[:rows]}
            result = self.http.infer("digits", [http_input("IMAGE", images[:rows])])
            want = [best(row, count, LABELS) for row in result.as_numpy("PROBS")]
            self.check("digits", inputs, "PROBS", count, want)

    def test_the_classes_are_those_of_onnx_runtime(self):
        images = self.random.uniform(0, 16, (4, 1, 8, 8)).astype(np.float32)
        probabilities = onnx_run("digits", {"IMAGE": images})["PROBS"]
        for way, got in self.classify("digits", {"IMAGE": images}, "PROBS", 2):
            for row, classes in zip(probabilities, got):
                for text, want in zip(classes, np.argsort(-row, kind="stable")):
                    text = text if isinstance(text, str) else text.decode()
                    value, index, label = text.split(":")
                    self.assertEqual((int(index), label), (want, LABELS[want]), way)
                    self.assertAlmostEqual(float(value), row[want], places=4)


class Datatypes(ClassificationTest):
    def test_every_numeric_datatype_batched_and_not(self):
        numeric = [datatype for datatype in DATATYPES if datatype not in ["BOOL", "BYTES"]]
        for datatype, count in itertools.product(numeric, [1, 4, 9]):
            name = f"onnx_{datatype.lower()}"
            array = random_tensor(self.random, datatype, (3, 6))
            # Some elements are equal.
            array[:, 1] = array[:, 4]
            want = [best(row, count) for row in array]
            self.check(name, {"INPUT0": array}, "OUTPUT0", count, want)
            # Without a batch dimension all elements are one row.
            want = best(array.reshape(-1), count)
            self.check(f"{name}_nobatch", {"INPUT0": array}, "OUTPUT0", count, want)

    def test_extremes_keep_every_digit(self):
        for datatype in ["INT64", "UINT64"]:
            limits = np.iinfo(triton_to_np_dtype(datatype))
            array = np.array([[limits.min, limits.max, limits.max - 1]], triton_to_np_dtype(datatype))
            want = [[f"{limits.max}:1", f"{limits.max - 1}:2"]]
            self.check(f"onnx_{datatype.lower()}", {"INPUT0": array}, "OUTPUT0", 2, want)
        array = np.array([[np.nan, -np.inf, 1e20, np.inf]], np.float32)
        want = [["inf:3", "100000002004087734272.000000:2", "-inf:1", "nan:0"]]
        self.check("onnx_fp32", {"INPUT0": array}, "OUTPUT0", 4, want)

    def test_what_has_no_order_is_refused(self):
        for datatype in ["BOOL", "BYTES"]:
            array = random_tensor(self.random, datatype, (1, 3))
            for error in self.refusals(f"onnx_{datatype.lower()}", array, "OUTPUT0", 1):
                self.assertEqual(
                    error.message(),
                    f"class result not available for output due to unsupported type '{datatype}'",
                )

    def test_only_the_outputs_that_ask_for_it_are_classes(self):
        inputs = {
            name: random_tensor(self.random, "INT32", (2, 16)) for name in ["INPUT0", "INPUT1"]
        }
        want = onnx_run("addsub_int32", inputs)
        result = self.grpc.infer(
            "addsub_int32",
            [grpc_input(name, array) for name, array in inputs.items()],
            outputs=[
                grpcclient.InferRequestedOutput("OUTPUT1"),
                grpcclient.InferRequestedOutput("OUTPUT0", class_count=2),
            ],
        )
        self.assert_same(result.as_numpy("OUTPUT1"), want["OUTPUT1"])
        got = [[text.decode() for text in row] for row in result.as_numpy("OUTPUT0")]
        self.assertEqual(got, [best(row, 2) for row in want["OUTPUT0"]])


class Refusals(ClassificationTest):
    def test_a_count_is_positive(self):
        array = np.zeros((1, 3), np.float32)
        over_http, over_grpc = self.refusals("onnx_fp32", array, "OUTPUT0", -1)
        self.assertIn("'classification'", over_http.message())
        self.assertEqual(
            over_grpc.message(), "invalid value for 'classification' parameter, expected >= 0"
        )

    def test_an_unknown_output_is_named(self):
        for error in self.refusals("onnx_fp32", np.zeros((1, 3), np.float32), "ABSENT", 1):
            self.assertIn("unexpected inference output 'ABSENT'", error.message())

    def test_there_is_a_limit_and_the_message_has_it(self):
        row = np.zeros((1, 1_000_001), np.uint8)
        for error in self.refusals("onnx_uint8", row, "OUTPUT0", 2_000_000):
            self.assertIn("1000001 exceeds the limit of 1000000", error.message())
        want = [["0:0"]]
        self.check("onnx_uint8", {"INPUT0": row}, "OUTPUT0", 1, want)

    def test_the_extension_is_listed(self):
        self.assertIn("classification", self.http.get_server_metadata()["extensions"])
        self.assertIn("classification", self.grpc.get_server_metadata().extensions)
