"""What clients are told when they are wrong: status and the words that clients match."""

import json

import numpy as np
from support import *

# Triton calls JSON that it cannot read an internal error; it is the client's fault.
WRONG_JSON = [400, 500]


class BothProtocols(ConformanceTest):
    """The same mistake over HTTP and gRPC; the messages are Triton's."""

    def infer_fails(self, model, inputs, fragment, http=400, code="INVALID_ARGUMENT", **options):
        self.assert_both_fail(
            lambda: self.http.infer(
                model, [http_input(name, array) for name, array in inputs], **options
            ),
            lambda: self.grpc.infer(
                model, [grpc_input(name, array) for name, array in inputs], **options
            ),
            fragment,
            http,
            code,
        )

    def test_shared_memory_is_off_unless_it_is_turned_on(self):
        enable = "Client shared memory is disabled. Start the server with '--allow-client-shm=true'"
        for call in [
            lambda client: client.register_system_shared_memory("r", "/r", 64),
            lambda client: client.register_cuda_shared_memory("r", b"A" * 88, 0, 64),
            lambda client: client.unregister_system_shared_memory(),
            lambda client: client.unregister_cuda_shared_memory("r"),
        ]:
            self.assert_both_fail(
                lambda: call(self.http), lambda: call(self.grpc), enable, 501, "UNIMPLEMENTED"
            )
        self.assertEqual(self.http.get_system_shared_memory_status(), [])
        self.assertEqual(len(self.grpc.get_cuda_shared_memory_status().regions), 0)
        extensions = self.http.get_server_metadata()["extensions"]
        self.assertNotIn("system_shared_memory", extensions)

    def pair(self, shape, dtype=np.float32):
        return [("INPUT0", np.zeros(shape, dtype)), ("INPUT1", np.zeros(shape, dtype))]

    def test_unknown_model(self):
        self.infer_fails(
            "nowhere",
            self.pair((1, 16)),
            "Request for unknown model: 'nowhere' is not found",
            404,
            "NOT_FOUND",
        )

    def test_unknown_version(self):
        self.infer_fails(
            "addsub_fp32",
            self.pair((1, 16)),
            "Request for unknown model: 'addsub_fp32' version 9 is not found",
            404,
            "NOT_FOUND",
            model_version="9",
        )

    def test_unexpected_shape(self):
        self.infer_fails(
            "addsub_fp32",
            [("INPUT0", np.zeros((1, 17), np.float32)), ("INPUT1", np.zeros((1, 16), np.float32))],
            "unexpected shape for input 'INPUT0' for model 'addsub_fp32'. "
            "Expected [-1,16], got [1,17]",
        )

    def test_unexpected_rank(self):
        self.infer_fails("addsub_fp32", self.pair((1, 4, 4)), "unexpected shape for input 'INPUT")
        self.infer_fails("variable", [("INPUT0", np.zeros(3, np.float32))], "Expected [-1,-1]")

    def test_too_many_rows(self):
        self.infer_fails(
            "addsub_fp32",
            self.pair((9, 16)),
            "inference request batch-size must be <= 8 for 'addsub_fp32'",
        )

    def test_different_row_counts(self):
        self.infer_fails(
            "addsub_fp32",
            [("INPUT0", np.zeros((2, 16), np.float32)), ("INPUT1", np.zeros((1, 16), np.float32))],
            "",
        )

    def test_missing_input(self):
        self.infer_fails(
            "addsub_fp32",
            self.pair((1, 16))[:1],
            "expected 2 inputs but got 1 inputs for model 'addsub_fp32'. Got input(s) ['INPUT0'], "
            "but missing required input(s) ['INPUT1']",
        )

    def test_unknown_input(self):
        self.infer_fails(
            "addsub_fp32",
            [("INPUT0", np.zeros((1, 16), np.float32)), ("WRONG", np.zeros((1, 16), np.float32))],
            "",
        )

    def test_too_many_inputs(self):
        self.infer_fails(
            "addsub_fp32",
            [*self.pair((1, 16)), ("WRONG", np.zeros((1, 16), np.float32))],
            "for model 'addsub_fp32'",
        )

    def test_wrong_datatype(self):
        self.infer_fails(
            "addsub_fp32",
            [("INPUT0", np.zeros((1, 16), np.int32)), ("INPUT1", np.zeros((1, 16), np.float32))],
            "inference input 'INPUT0' data-type is 'INT32', but model 'addsub_fp32' "
            "expects 'FP32'",
        )

    def test_unknown_output(self):
        self.assert_both_fail(
            lambda: self.http.infer(
                "addsub_fp32",
                [http_input(name, array) for name, array in self.pair((1, 16))],
                outputs=[httpclient.InferRequestedOutput("WRONG")],
            ),
            lambda: self.grpc.infer(
                "addsub_fp32",
                [grpc_input(name, array) for name, array in self.pair((1, 16))],
                outputs=[grpcclient.InferRequestedOutput("WRONG")],
            ),
            "unexpected inference output 'WRONG' for model 'addsub_fp32'",
            400,
            "INVALID_ARGUMENT",
        )

    def test_no_request_id_leads_the_message_about_an_unknown_output(self):
        # Clients look at how it begins.
        with self.assertRaises(InferenceServerException) as caught:
            self.grpc.infer(
                "addsub_fp32",
                [grpc_input(name, array) for name, array in self.pair((1, 16))],
                outputs=[grpcclient.InferRequestedOutput("WRONG")],
                request_id="seven",
            )
        message = caught.exception.message()
        self.assertTrue(message.startswith("unexpected inference output 'WRONG'"), message)

    def test_the_request_id_leads_messages_about_the_request(self):
        self.infer_fails(
            "addsub_fp32",
            [("INPUT0", np.zeros((1, 17), np.float32)), ("INPUT1", np.zeros((1, 16), np.float32))],
            "[request id: seven] unexpected shape",
            request_id="seven",
        )

    def test_statistics_of_unknown_models(self):
        for client in [self.http, self.grpc]:
            with self.assertRaises(InferenceServerException) as caught:
                client.get_inference_statistics("nowhere")
            self.assertIn("nowhere", caught.exception.message())

    def test_a_repository_cannot_be_named(self):
        status, _, answer = http_call("POST", "/v2/repository/elsewhere/models/nop/load", b"")
        self.assertEqual(status, 501, answer)
        self.assertIn("'repository_name' specification is not supported", answer.decode())


class OverHttp(ConformanceTest):
    def infer(self, change, tail=b"", model="addsub_fp32"):
        """(status, message) of a correct request after `change` and with more bytes behind."""
        body = {
            "inputs": [
                {
                    "name": name,
                    "shape": [1, 16],
                    "datatype": "FP32",
                    "parameters": {"binary_data_size": 64},
                }
                for name in ["INPUT0", "INPUT1"]
            ]
        }
        change(body)
        header = json.dumps(body).encode()
        status, headers, answer = http_call(
            "POST",
            f"/v2/models/{model}/infer",
            header + bytes(128) + tail,
            {"Inference-Header-Content-Length": str(len(header))},
        )
        if status == 200:
            return status, ""
        self.assertEqual(headers["content-type"], "application/json")
        return status, json.loads(answer)["error"]

    def expect(self, statuses, fragment, change, **options):
        got, message = self.infer(change, **options)
        self.assertIn(got, statuses, message)
        self.assertIn(fragment, message)

    def test_the_unchanged_request_is_right(self):
        self.assertEqual(self.infer(lambda body: None), (200, ""))

    def test_sizes(self):
        def one_short(body):
            body["inputs"][0]["parameters"]["binary_data_size"] = 60

        self.expect([400], "", one_short)
        self.expect(
            [400],
            "unexpected additional input data for model 'addsub_fp32'",
            lambda body: None,
            tail=b"\0",
        )

        def too_long(body):
            body["inputs"][1]["parameters"]["binary_data_size"] = 68

        self.expect([400], "", too_long)

    def test_exactly_one_source_of_data(self):
        self.expect([400], "", lambda body: body["inputs"][0].update(data=[0.0] * 16))
        self.expect([400], "", lambda body: body["inputs"][0].pop("parameters"))

    def test_duplicate_outputs(self):
        def change(body):
            body["outputs"] = [{"name": "OUTPUT0"}, {"name": "OUTPUT0"}]

        self.expect([400], "output 'OUTPUT0' already exists in request", change)

    def test_wrong_json_types(self):
        self.expect(WRONG_JSON, "", lambda body: body.update(inputs={}))
        self.expect(WRONG_JSON, "", lambda body: body["inputs"][0].update(shape="1,16"))
        self.expect(WRONG_JSON, "", lambda body: body["inputs"][0].update(shape=[-1, 16]))
        self.expect(WRONG_JSON, "", lambda body: body["inputs"][0].update(name=7))

    def test_element_counts_must_equal_the_shape(self):
        for data in [[0.0] * 15, [0.0] * 17, [[0.0] * 16] * 2]:
            body = {
                "inputs": [
                    {"name": name, "shape": [1, 16], "datatype": "FP32", "data": data}
                    for name in ["INPUT0", "INPUT1"]
                ]
            }
            status, _, answer = http_call("POST", "/v2/models/addsub_fp32/infer", body)
            self.assertIn(status, WRONG_JSON, answer)
            self.assertIn(
                "Shape does not match true shape of 'data' field", json.loads(answer)["error"]
            )

    def test_unknown_datatypes(self):
        self.expect([400], "", lambda body: body["inputs"][0].update(datatype="FP31"))

    def test_methods_and_routes(self):
        for method, path, want in [
            ("GET", "/v2/models/addsub_fp32/infer", 405),
            ("POST", "/v2/models/addsub_fp32/config", 405),
            ("DELETE", "/v2/health/live", 405),
            ("GET", "/v2/nothing", 404),
            ("GET", "/", 404),
            ("GET", "/v2/models/addsub_fp32/versions/1/nothing", 404),
        ]:
            with self.subTest(method=method, path=path):
                status, headers, _ = http_call(method, path)
                self.assertEqual(status, want)
                self.assertEqual("Allow" in headers, want == 405)
        self.assertEqual(http_call("PUT", "/v2/logging")[1]["Allow"], "GET, POST")
        # Triton finds no route, for a version is a number.
        self.assertIn(http_call("GET", "/v2/models/addsub_fp32/versions/x")[0], [400, 404])


class OverGrpc(ConformanceTest):
    def fails(self, request, fragment, code="INVALID_ARGUMENT"):
        with self.assertRaises(grpc.RpcError) as caught:
            self.stub.ModelInfer(request)
        self.assertEqual(caught.exception.code().name, code, caught.exception.details())
        self.assertIn(fragment, caught.exception.details())

    def request(self):
        inputs = {name: np.zeros((1, 16), np.float32) for name in ["INPUT0", "INPUT1"]}
        return typed_request("addsub_fp32", inputs)

    def raw_request(self):
        request = self.request()
        for tensor in request.inputs:
            tensor.ClearField("contents")
        request.raw_input_contents.extend([bytes(64)] * 2)
        return request

    def test_the_unchanged_requests_are_right(self):
        for request in [self.request(), self.raw_request()]:
            response = self.stub.ModelInfer(request)
            self.assertEqual([len(raw) for raw in response.raw_output_contents], [64, 64])
            self.assertFalse(response.outputs[0].HasField("contents"))

    def test_contents_beside_raw_contents(self):
        request = self.request()
        request.raw_input_contents.append(bytes(64))
        self.fails(request, "")

    def test_missing_contents(self):
        request = self.raw_request()
        del request.raw_input_contents[1]
        self.fails(request, "unable to find data for input tensor 'INPUT1' for model 'addsub_fp32'")

    def test_contents_of_another_datatype(self):
        request = self.request()
        request.inputs[0].contents.Clear()
        request.inputs[0].contents.int_contents.extend([0] * 16)
        self.fails(request, "")

    def test_two_kinds_of_contents(self):
        request = self.request()
        request.inputs[0].contents.int_contents.extend([0] * 16)
        self.fails(request, "")

    def test_wrong_lengths(self):
        for length in [0, 60, 68]:
            request = self.raw_request()
            request.raw_input_contents[0] = bytes(length)
            self.fails(request, "")
        request = self.request()
        request.inputs[0].contents.fp32_contents.append(0)
        self.fails(request, "")

    def test_negative_dimensions(self):
        request = self.raw_request()
        request.inputs[0].shape[:] = [1, -16]
        self.fails(request, "")

    def test_versions_that_are_no_numbers(self):
        request = self.request()
        request.model_version = "latest"
        self.fails(request, "")

    def test_nothing_but_a_name(self):
        self.fails(service_pb2.ModelInferRequest(model_name="addsub_fp32"), "expected 2 inputs")
        with self.assertRaises(grpc.RpcError) as caught:
            self.stub.ModelInfer(service_pb2.ModelInferRequest())
        self.assertIn(caught.exception.code().name, ["INVALID_ARGUMENT", "NOT_FOUND"])


if __name__ == "__main__":
    unittest.main()
