"""Every datatype on both protocols and in every encoding equals what ONNX Runtime computes."""

import asyncio
import itertools

import ml_dtypes
import numpy as np
import tritonclient.grpc.aio as grpcaio
import tritonclient.http.aio as httpaio
from support import *

SHAPES = {"": [(1, 5), (3, 2), (8, 1)], "_nobatch": [(1, 1), (2, 7)]}


class Encodings(ConformanceTest):
    """One request in each of the ways in which clients may write it."""

    def ways(self, model, inputs, outputs):
        """(way, {output: array}) for each encoding that can carry these datatypes."""
        raw_in = any(datatype_of(array) in RAW_ONLY for array in inputs.values())
        raw_out = any(datatype_of(array) in RAW_ONLY for array in outputs.values())
        for binary_in, binary_out in itertools.product([True, False], repeat=2):
            if (raw_in and not binary_in) or (raw_out and not binary_out):
                continue
            result = self.http.infer(
                model,
                [http_input(name, array, binary_in) for name, array in inputs.items()],
                outputs=[
                    httpclient.InferRequestedOutput(name, binary_data=binary_out)
                    for name in outputs
                ],
            )
            way = f"HTTP, binary in {binary_in}, binary out {binary_out}"
            yield way, {name: result.as_numpy(name) for name in outputs}
        result = self.http.infer(model, [http_input(n, a) for n, a in inputs.items()])
        yield "HTTP, no outputs listed", {name: result.as_numpy(name) for name in outputs}
        result = self.grpc.infer(model, [grpc_input(n, a) for n, a in inputs.items()])
        yield "gRPC, raw", {name: result.as_numpy(name) for name in outputs}
        if not raw_in:
            response = self.stub.ModelInfer(typed_request(model, inputs))
            result = grpcclient.InferResult(response)
            yield "gRPC, typed", {name: result.as_numpy(name) for name in outputs}

    def check(self, model, inputs, outputs, exact=True):
        for way, got in self.ways(model, inputs, outputs):
            with self.subTest(model=model, way=way):
                for name, want in outputs.items():
                    self.assert_same(got[name], want, exact)

    def test_identity_of_every_datatype_batched_and_not(self):
        for datatype, (suffix, shapes) in itertools.product(DATATYPES, SHAPES.items()):
            model = f"onnx_{datatype.lower()}{suffix}"
            for shape in shapes:
                array = random_tensor(self.random, datatype, shape)
                want = array
                if datatype != "BF16":
                    want = onnx_run(model, {"INPUT0": array})["OUTPUT0"]
                self.check(model, {"INPUT0": array}, {"OUTPUT0": want})

    def test_sums_and_differences_wrap_as_in_onnx_runtime(self):
        for datatype in ["FP32", "FP64", "INT32", "INT64"]:
            model = f"addsub_{datatype.lower()}"
            for rows in [1, 2, 8]:
                inputs = {
                    name: random_tensor(self.random, datatype, (rows, 16))
                    for name in ["INPUT0", "INPUT1"]
                }
                self.check(model, inputs, onnx_run(model, inputs))

    def test_a_small_network_is_close_for_every_batch_size(self):
        for rows in [1, 3, 16]:
            inputs = {"INPUT0": random_tensor(self.random, "FP32", (rows, 32))}
            # The order of summation may depend on the batch.
            self.check("matmul", inputs, onnx_run("matmul", inputs), exact=False)

    def test_outputs_of_every_datatype_from_one_execution(self):
        for rows in [1, 4]:
            array = self.random.uniform(0, 100, (rows, 6)).astype(np.float32)
            outputs = onnx_run("casts", {"INPUT0": array})
            outputs["OUTPUT_BF16"] = array.astype(ml_dtypes.bfloat16)
            self.assertEqual(len(outputs), len(DATATYPES))
            self.check("casts", {"INPUT0": array}, outputs)

    def test_output_shapes_follow_the_input(self):
        for shape in [(1, 1), (2, 5), (7, 3)]:
            inputs = {"INPUT0": random_tensor(self.random, "FP32", shape)}
            self.check("variable", inputs, onnx_run("variable", inputs))

    def test_scalars_travel_as_one_element(self):
        array, others = np.array([1.25], np.float32), np.array([1, 2, 4], np.float32)
        self.check(
            "scalar",
            {"INPUT0": array, "INPUT1": others},
            {"OUTPUT0": array * 2, "OUTPUT1": array, "OUTPUT2": np.array([7], np.float32)},
        )

    def test_an_output_keeps_its_shape_where_the_model_file_is_wrong_about_it(self):
        array = random_tensor(self.random, "FP32", (4, 3))
        self.check("traced", {"INPUT0": array}, {"OUTPUT0": -array})

    def test_a_model_without_configuration_computes(self):
        inputs = {"INPUT0": random_tensor(self.random, "FP32", (4, 3))}
        self.check("complete", inputs, onnx_run("complete", inputs))

    def test_the_identity_backend_carries_every_datatype_at_once(self):
        for model, shape in [("nop", (2, 3)), ("nop_nobatch", (5,))]:
            arrays = [random_tensor(self.random, datatype, shape) for datatype in DATATYPES]
            self.check(
                model,
                {f"INPUT{i}": array for i, array in enumerate(arrays)},
                {f"OUTPUT{i}": array for i, array in enumerate(arrays)},
            )

    def test_integers_keep_every_bit_in_json(self):
        extremes = {
            "INT64": [-(2**63), 2**63 - 1, 2**53 + 1],
            "UINT64": [0, 2**64 - 1, 2**53 + 1],
            "FP64": [5e-324, 1.7976931348623157e308, 0.1],
            "FP32": [1.1754944e-38, 3.4028235e38, 0.1],
        }
        for datatype, values in extremes.items():
            array = np.array([values], triton_to_np_dtype(datatype))
            self.check(f"onnx_{datatype.lower()}", {"INPUT0": array}, {"OUTPUT0": array})


class Versions(ConformanceTest):
    def test_each_version_answers_for_itself_and_the_latest_by_default(self):
        array = random_tensor(self.random, "FP32", (1, 4))
        for client, make in [(self.http, http_input), (self.grpc, grpc_input)]:
            for version, addend in [("1", 1), ("2", 2), ("", 2)]:
                result = client.infer(
                    "versions", [make("INPUT0", array)], model_version=version
                )
                self.assert_same(result.as_numpy("OUTPUT0"), array + np.float32(addend))
                response = result.get_response()
                if client is self.http:
                    self.assertEqual(response["model_version"], str(addend))
                else:
                    self.assertEqual(response.model_version, str(addend))


class Asyncio(ConformanceTest):
    def test_asyncio_clients_get_equal_answers(self):
        async def ask():
            inputs = {n: random_tensor(self.random, "FP32", (2, 16)) for n in ["INPUT0", "INPUT1"]}
            want = onnx_run("addsub_fp32", inputs)
            async with (
                httpaio.InferenceServerClient(HTTP) as over_http,
                grpcaio.InferenceServerClient(GRPC) as over_grpc,
            ):
                results = await asyncio.gather(
                    *(
                        over_http.infer(
                            "addsub_fp32", [http_input(n, a) for n, a in inputs.items()]
                        )
                        for _ in range(20)
                    ),
                    *(
                        over_grpc.infer(
                            "addsub_fp32", [grpc_input(n, a) for n, a in inputs.items()]
                        )
                        for _ in range(20)
                    ),
                )
            for result in results:
                for name, array in want.items():
                    self.assert_same(result.as_numpy(name), array)

        asyncio.run(ask())


if __name__ == "__main__":
    unittest.main()
