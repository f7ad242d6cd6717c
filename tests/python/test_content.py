"""What requests and responses carry besides plain tensors: outputs asked for, ids, parameters,
odd strings, empty and large tensors, numbers that are not finite."""

import http.client
import json
import struct

import numpy as np
from support import *


def infer_json(model, body, headers=None):
    return http_call("POST", f"/v2/models/{model}/infer", body, headers)


class Outputs(ConformanceTest):
    def setUp(self):
        super().setUp()
        self.inputs = {
            name: random_tensor(self.random, "INT32", (1, 16)) for name in ["INPUT0", "INPUT1"]
        }
        self.want = onnx_run("addsub_int32", self.inputs)

    def names(self, outputs):
        """Names in the order of each protocol's response."""
        result = self.http.infer(
            "addsub_int32",
            [http_input(n, a) for n, a in self.inputs.items()],
            outputs=[httpclient.InferRequestedOutput(name) for name in outputs] or None,
        )
        for output in result.get_response()["outputs"]:
            self.assert_same(result.as_numpy(output["name"]), self.want[output["name"]])
        from_http = [output["name"] for output in result.get_response()["outputs"]]
        result = self.grpc.infer(
            "addsub_int32",
            [grpc_input(n, a) for n, a in self.inputs.items()],
            outputs=[grpcclient.InferRequestedOutput(name) for name in outputs] or None,
        )
        for output in result.get_response().outputs:
            self.assert_same(result.as_numpy(output.name), self.want[output.name])
        from_grpc = [output.name for output in result.get_response().outputs]
        self.assertEqual(from_http, from_grpc)
        return from_http

    def test_all_are_sent_unless_some_are_asked_for(self):
        self.assertEqual(self.names([]), ["OUTPUT0", "OUTPUT1"])

    def test_only_those_asked_for_are_sent(self):
        self.assertEqual(self.names(["OUTPUT0"]), ["OUTPUT0"])
        self.assertEqual(self.names(["OUTPUT1"]), ["OUTPUT1"])

    def test_any_order_of_asking_finds_the_right_data(self):
        self.assertEqual(set(self.names(["OUTPUT1", "OUTPUT0"])), {"OUTPUT0", "OUTPUT1"})

    def test_the_order_of_inputs_is_the_clients(self):
        backwards = list(reversed(self.inputs.items()))
        result = self.http.infer("addsub_int32", [http_input(n, a) for n, a in backwards])
        self.assert_same(result.as_numpy("OUTPUT1"), self.want["OUTPUT1"])
        result = self.grpc.infer("addsub_int32", [grpc_input(n, a) for n, a in backwards])
        self.assert_same(result.as_numpy("OUTPUT1"), self.want["OUTPUT1"])

    def test_binary_and_json_may_be_mixed_in_one_response(self):
        result = self.http.infer(
            "addsub_int32",
            [http_input("INPUT0", self.inputs["INPUT0"], True),
             http_input("INPUT1", self.inputs["INPUT1"], False)],
            outputs=[
                httpclient.InferRequestedOutput("OUTPUT0", binary_data=False),
                httpclient.InferRequestedOutput("OUTPUT1", binary_data=True),
            ],
        )
        self.assertIn("data", result.get_output("OUTPUT0"))
        self.assertEqual(result.get_output("OUTPUT1")["parameters"]["binary_data_size"], 64)
        for name, want in self.want.items():
            self.assert_same(result.as_numpy(name), want)

    def test_binary_data_output_makes_unlisted_outputs_binary(self):
        body = {
            "parameters": {"binary_data_output": True},
            "inputs": [
                {"name": n, "shape": [1, 16], "datatype": "INT32", "data": a.ravel().tolist()}
                for n, a in self.inputs.items()
            ],
        }
        status, headers, answer = infer_json("addsub_int32", body)
        self.assertEqual(status, 200, answer)
        self.assertEqual(headers["content-type"], "application/octet-stream")
        length = int(headers["inference-header-content-length"])
        self.assertEqual(len(answer) - length, 128)
        header = json.loads(answer[:length])
        sizes = [o["parameters"]["binary_data_size"] for o in header["outputs"]]
        self.assertEqual(sizes, [64, 64])

    def test_a_response_without_binary_data_is_plain_json(self):
        body = {
            "inputs": [
                {"name": n, "shape": [1, 16], "datatype": "INT32", "data": a.ravel().tolist()}
                for n, a in self.inputs.items()
            ],
        }
        status, headers, answer = infer_json("addsub_int32", body)
        self.assertEqual((status, headers["content-type"]), (200, "application/json"))
        self.assertIsNone(headers["inference-header-content-length"])
        answer = json.loads(answer)
        self.assertEqual(list(answer), ["model_name", "model_version", "outputs"])
        self.assertEqual(answer["model_version"], "1")
        self.assertEqual(list(answer["outputs"][0])[:3], ["name", "datatype", "shape"])
        self.assertEqual(answer["outputs"][0]["data"], self.want["OUTPUT0"].ravel().tolist())


class IdsAndParameters(ConformanceTest):
    def test_request_ids_are_echoed_and_absent_ids_stay_absent(self):
        array = np.zeros((1, 3), np.float32)
        for identifier in ["7", "a b/c", "海王星", "x" * 1000]:
            result = self.http.infer(
                "complete", [http_input("INPUT0", array)], request_id=identifier
            )
            self.assertEqual(result.get_response()["id"], identifier)
            result = self.grpc.infer(
                "complete", [grpc_input("INPUT0", array)], request_id=identifier
            )
            self.assertEqual(result.get_response().id, identifier)
        result = self.http.infer("complete", [http_input("INPUT0", array)])
        self.assertNotIn("id", result.get_response())
        result = self.grpc.infer("complete", [grpc_input("INPUT0", array)])
        self.assertEqual(result.get_response().id, "")

    def test_custom_parameters_of_every_kind_are_accepted(self):
        array = np.zeros((1, 3), np.float32)
        parameters = {"text": "x", "number": 7, "truth": True, "fraction": 0.5}
        for client, make in [(self.http, http_input), (self.grpc, grpc_input)]:
            result = client.infer(
                "complete", [make("INPUT0", array)], parameters=parameters, priority=1
            )
            self.assertEqual(result.as_numpy("OUTPUT0").shape, (1, 3))

    def test_a_timeout_that_the_model_has_no_policy_for_is_ignored(self):
        # Clients that mean seconds give one of a few microseconds.
        array = np.ones((1, 3), np.float32)
        for client, make in [(self.http, http_input), (self.grpc, grpc_input)]:
            for _ in range(20):
                result = client.infer("complete", [make("INPUT0", array)], timeout=1)
                self.assert_same(result.as_numpy("OUTPUT0"), -array)

    def test_reserved_parameters_are_refused(self):
        for name in ["triton_x", "triton_enable_empty_final_response"]:
            body = {
                "parameters": {name: True},
                "inputs": [
                    {"name": "INPUT0", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}
                ],
            }
            status, _, answer = infer_json("complete", body)
            self.assertEqual(status, 400, answer)
            self.assertIn("error", json.loads(answer))

    def test_parameters_that_are_no_scalars_are_refused(self):
        for value in [[1], {"a": 1}, None]:
            body = {
                "parameters": {"custom": value},
                "inputs": [
                    {"name": "INPUT0", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}
                ],
            }
            self.assertEqual(infer_json("complete", body)[0], 400)


class Strings(ConformanceTest):
    ODD = [b"", b"\0", b"a\0b\0", b"\xff\xfe\x00\x80", "größer 海王星 🔱".encode(), b"x" * 70000]

    def test_binary_strings_keep_every_byte(self):
        for model, shape in [("bytes_nobatch", (6,)), ("nop_nobatch", (6,))]:
            index = 12 if model == "nop_nobatch" else 0
            array = np.array(self.ODD, object).reshape(shape)
            rest = {}
            if model == "nop_nobatch":
                rest = {
                    f"INPUT{i}": random_tensor(self.random, datatype, (1,))
                    for i, datatype in enumerate(DATATYPES)
                    if i != index
                }
            inputs = {f"INPUT{index}": array, **rest}
            for client, make in [(self.http, http_input), (self.grpc, grpc_input)]:
                result = client.infer(model, [make(n, a) for n, a in inputs.items()])
                self.assert_same(result.as_numpy(f"OUTPUT{index}"), array)
        array = np.array(self.ODD, object)
        response = self.stub.ModelInfer(typed_request("bytes_nobatch", {"INPUT0": array}))
        self.assert_same(grpcclient.InferResult(response).as_numpy("OUTPUT0"), array)

    def test_json_strings_keep_every_character(self):
        texts = ["", "\0", "a\0b", '"\\/\b\f\n\r\t', "größer 海王星 🔱", "\x7f\u2028"]
        for ascii_only in [True, False]:
            body = json.dumps(
                {
                    "inputs": [
                        {"name": "INPUT0", "shape": [6], "datatype": "BYTES", "data": texts}
                    ]
                },
                ensure_ascii=ascii_only,
            )
            status, _, answer = infer_json("bytes_nobatch", body.encode())
            self.assertEqual(status, 200, answer)
            self.assertEqual(json.loads(answer)["outputs"][0]["data"], texts)

    def test_batched_strings_return_to_their_own_request(self):
        calls = []
        for i in range(40):
            words = [f"{i}-{j}".encode() * (i + j) for j in range(3)]
            array = np.array([words], object)
            request = self.http.async_infer("onnx_bytes", [http_input("INPUT0", array)])
            calls.append((array, request))
        for array, request in calls:
            self.assert_same(request.get_result().as_numpy("OUTPUT0"), array)


class EmptyTensors(ConformanceTest):
    def test_zero_elements_of_every_datatype_come_back(self):
        for datatype in DATATYPES:
            for model, shape in [
                (f"onnx_{datatype.lower()}", (2, 0)),
                (f"onnx_{datatype.lower()}_nobatch", (0, 3)),
            ]:
                array = np.empty(shape, triton_to_np_dtype(datatype))
                with self.subTest(model=model):
                    result = self.http.infer(model, [http_input("INPUT0", array)])
                    self.assertEqual(result.as_numpy("OUTPUT0").shape, shape)
                    result = self.grpc.infer(model, [grpc_input("INPUT0", array)])
                    self.assertEqual(list(result.get_response().outputs[0].shape), list(shape))
                    self.assertEqual(list(result.get_response().raw_output_contents), [b""])

    def test_zero_elements_in_json(self):
        body = {"inputs": [{"name": "INPUT0", "shape": [0], "datatype": "BYTES", "data": []}]}
        status, _, answer = infer_json("bytes_nobatch", body)
        self.assertEqual(status, 200, answer)
        output = json.loads(answer)["outputs"][0]
        self.assertEqual((output["shape"], output["data"]), ([0], []))


class Numbers(ConformanceTest):
    def test_numbers_that_are_not_finite_survive_json_and_binary(self):
        for datatype in ["FP32", "FP64"]:
            values = [np.nan, np.inf, -np.inf, -0.0, 1.5]
            array = np.array([values], triton_to_np_dtype(datatype))
            for binary in [True, False]:
                result = self.http.infer(
                    f"onnx_{datatype.lower()}",
                    [http_input("INPUT0", array, binary)],
                    outputs=[httpclient.InferRequestedOutput("OUTPUT0", binary_data=binary)],
                )
                got = result.as_numpy("OUTPUT0")
                self.assert_same(got, array)
                self.assertTrue(np.signbit(got[0, 3]))

    def test_json_takes_nested_and_flat_data(self):
        for data in [[1, 2, 3, 4, 5, 6], [[1, 2, 3], [4, 5, 6]], [[[1, 2, 3]], [[4, 5, 6]]]]:
            body = {
                "inputs": [
                    {"name": "INPUT0", "shape": [2, 3], "datatype": "FP32", "data": data}
                ]
            }
            status, _, answer = infer_json("complete", body)
            self.assertEqual(status, 200, answer)
            self.assertEqual(json.loads(answer)["outputs"][0]["data"], [-1, -2, -3, -4, -5, -6])

    def test_half_floats_in_json_are_exact_or_refused(self):
        # Triton refuses them.
        for datatype in RAW_ONLY:
            body = {
                "inputs": [
                    {"name": "INPUT0", "shape": [1, 2], "datatype": datatype, "data": [1.0, -0.5]}
                ]
            }
            status, _, answer = infer_json(f"onnx_{datatype.lower()}", body)
            self.assertIn(status, [200, 400], answer)
            if status == 200:
                self.assertEqual(json.loads(answer)["outputs"][0]["data"], [1.0, -0.5])

    def test_integers_out_of_their_datatypes_range_are_refused(self):
        for datatype, value in [("INT8", 128), ("UINT8", -1), ("UINT16", 65536), ("INT32", 2**31)]:
            body = {
                "inputs": [
                    {"name": "INPUT0", "shape": [1, 1], "datatype": datatype, "data": [value]}
                ]
            }
            status, _, answer = infer_json(f"onnx_{datatype.lower()}", body)
            self.assertIn(status, [400, 500], answer)
            self.assertIn("error", json.loads(answer))


class RawBinary(ConformanceTest):
    def test_a_header_length_of_zero_makes_the_body_the_only_input(self):
        body = struct.pack("<3f", 1, 2, 3)
        headers = {"Inference-Header-Content-Length": "0"}
        status, headers, answer = infer_json("complete", body, headers)
        self.assertEqual(status, 200, answer)
        length = int(headers["inference-header-content-length"])
        self.assertEqual(json.loads(answer[:length])["outputs"][0]["shape"], [1, 3])
        self.assertEqual(answer[length:], struct.pack("<3f", -1, -2, -3))


class Sizes(ConformanceTest):
    def test_twenty_megabytes_go_through_both_protocols(self):
        array = self.random.standard_normal((1, 5 * 1024 * 1024)).astype(np.float32)
        result = self.http.infer("onnx_fp32", [http_input("INPUT0", array)])
        self.assert_same(result.as_numpy("OUTPUT0"), array)
        result = self.grpc.infer("onnx_fp32", [grpc_input("INPUT0", array)])
        self.assert_same(result.as_numpy("OUTPUT0"), array)

    def test_a_megabyte_of_json_comes_back(self):
        array = np.arange(200_000, dtype=np.int64).reshape(1, -1)
        result = self.http.infer(
            "onnx_int64",
            [http_input("INPUT0", array, False)],
            outputs=[httpclient.InferRequestedOutput("OUTPUT0", binary_data=False)],
        )
        self.assert_same(result.as_numpy("OUTPUT0"), array)

    def test_chunked_uploads_are_read_whole(self):
        text = json.dumps(
            {"inputs": [{"name": "INPUT0", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}
        ).encode()
        connection = http.client.HTTPConnection(HTTP, timeout=30)
        self.addCleanup(connection.close)
        connection.request(
            "POST",
            "/v2/models/complete/infer",
            body=iter([text[:10], text[10:11], text[11:]]),
            encode_chunked=True,
            headers={"Transfer-Encoding": "chunked"},
        )
        response = connection.getresponse()
        self.assertEqual(response.status, 200)
        self.assertEqual(json.loads(response.read())["outputs"][0]["data"], [-1, -2, -3])


class SimulatedBackend(ConformanceTest):
    def test_answers_every_row(self):
        array = np.ones((2, 5), np.float32)
        for client, make in [(self.http, http_input), (self.grpc, grpc_input)]:
            got = client.infer("simulated", [make("INPUT0", array)]).as_numpy("OUTPUT0")
            self.assertEqual((got.shape[0], got.dtype), (2, array.dtype))


if __name__ == "__main__":
    unittest.main()
