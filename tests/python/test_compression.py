"""Compressed requests and answers, as tritonclient sends and reads them."""

import asyncio
import gzip
import itertools
import json
import zlib

import numpy as np
import tritonclient.grpc.aio as grpc_aio
import tritonclient.http.aio as http_aio
from support import *

ALGORITHMS = [None, "gzip", "deflate"]
PATH = "/v2/models/addsub_fp32/infer"


class CompressionTest(ConformanceTest):
    def pair(self, rows=8):
        """The two inputs of `addsub_fp32` and its outputs for them."""
        left, right = (
            self.random.integers(-9, 9, (rows, 16)).astype(np.float32) for _ in range(2)
        )
        return left, right, left + right, left - right

    def request(self, fields=None):
        """A request as JSON; its first output is `[[1.0, ...]]`."""
        shape, data = [1, 16], [0.5] * 16
        inputs = [
            {"name": f"INPUT{index}", "shape": shape, "datatype": "FP32", "data": data}
            for index in range(2)
        ]
        return json.dumps({"inputs": inputs, **(fields or {})}).encode()

    def assert_pair(self, result, pair):
        self.assert_same(result.as_numpy("OUTPUT0"), pair[2])
        self.assert_same(result.as_numpy("OUTPUT1"), pair[3])


class Http(CompressionTest):
    def test_every_algorithm_in_and_out_with_json_and_binary_tensors(self):
        pair = self.pair()
        for given, wanted, binary in itertools.product(ALGORITHMS, ALGORITHMS, [True, False]):
            inputs = [http_input("INPUT0", pair[0], binary), http_input("INPUT1", pair[1], binary)]
            names = ["OUTPUT0", "OUTPUT1"]
            outputs = [httpclient.InferRequestedOutput(name, binary) for name in names]
            result = self.http.infer(
                "addsub_fp32",
                inputs,
                outputs=outputs,
                request_compression_algorithm=given,
                response_compression_algorithm=wanted,
            )
            self.assert_pair(result, pair)

    def test_asyncio(self):
        pair = self.pair()

        async def infer(**algorithms):
            async with http_aio.InferenceServerClient(HTTP) as client:
                inputs = [http_input("INPUT0", pair[0]), http_input("INPUT1", pair[1])]
                return await client.infer("addsub_fp32", inputs, **algorithms)

        self.assert_pair(asyncio.run(infer(request_compression_algorithm="gzip")), pair)

    def test_an_answer_says_how_it_is_encoded(self):
        for accept, encoding, decode in [
            ("gzip", "gzip", gzip.decompress),
            ("deflate", "deflate", zlib.decompress),
            ("gzip;q=0.5, deflate", "deflate", zlib.decompress),
            ("gzip;q=0.5, identity", None, bytes),
            ("br, *;q=0.1", None, bytes),
            ("gzip;q=oops, ;;=,", None, bytes),
        ]:
            status, headers, body = http_call(
                "POST", PATH, self.request(), {"Accept-Encoding": accept}
            )
            self.assertEqual((status, headers["Content-Encoding"]), (200, encoding), accept)
            self.assertEqual(int(headers["Content-Length"]), len(body))
            self.assertEqual(json.loads(decode(body))["outputs"][0]["data"], [1.0] * 16)

    def test_the_header_length_is_that_of_the_decompressed_body(self):
        body = self.request({"parameters": {"binary_data_output": True}})
        headers = {
            "Content-Encoding": "gzip",
            "Accept-Encoding": "gzip",
            "Inference-Header-Content-Length": str(len(body)),
        }
        status, headers, answer = http_call("POST", PATH, gzip.compress(body), headers)
        self.assertEqual(status, 200)
        length = int(headers["Inference-Header-Content-Length"])
        answer = gzip.decompress(answer)
        self.assertEqual(len(answer), length + 2 * 64)
        self.assertEqual(json.loads(answer[:length])["model_name"], "addsub_fp32")

    def test_errors_are_not_compressed(self):
        headers = {"Accept-Encoding": "gzip"}
        status, headers, body = http_call("POST", PATH, b"{", headers)
        self.assertEqual((status, headers["Content-Encoding"]), (400, None))
        self.assertIn("error", json.loads(body))

    def test_other_encodings_and_several_are_refused_by_name(self):
        for encoding, named in [("br", "'br'"), ("gzip, deflate", "more than one")]:
            status, headers, body = http_call(
                "POST", PATH, self.request(), {"Content-Encoding": encoding}
            )
            self.assertEqual((status, headers["Accept-Encoding"]), (501, "gzip, deflate"))
            self.assertIn(named, json.loads(body)["error"])

    def test_broken_and_exploding_bodies_are_refused(self):
        whole = gzip.compress(self.request())
        bomb = gzip.compress(bytes(256 << 20), 9)
        self.assertLess(len(bomb), 1 << 20)
        for body, want, words in [
            (whole[:-1], 400, "failed to decompress the gzip data"),
            (whole + b"x", 400, "1 bytes follow its end"),
            (b"", 400, "failed to decompress the gzip data"),
            (self.request(), 400, "failed to decompress the gzip data"),
            (bomb, 413, "exceed the limit of 256 times"),
        ]:
            status, _, answer = http_call("POST", PATH, body, {"Content-Encoding": "gzip"})
            self.assertEqual(status, want, answer)
            self.assertIn(words, json.loads(answer)["error"])


class Grpc(CompressionTest):
    def inputs(self, pair):
        return [grpc_input("INPUT0", pair[0]), grpc_input("INPUT1", pair[1])]

    def test_every_algorithm(self):
        pair = self.pair()
        for algorithm in ALGORITHMS:
            result = self.grpc.infer(
                "addsub_fp32", self.inputs(pair), compression_algorithm=algorithm
            )
            self.assert_pair(result, pair)

    def test_asyncio(self):
        pair = self.pair()

        async def infer():
            async with grpc_aio.InferenceServerClient(GRPC) as client:
                return await client.infer(
                    "addsub_fp32", self.inputs(pair), compression_algorithm="gzip"
                )

        self.assert_pair(asyncio.run(infer()), pair)

    def test_exploding_messages_are_refused(self):
        zeros = np.zeros((1, 32 << 20), np.uint8)
        with self.assertRaises(InferenceServerException) as caught:
            self.grpc.infer(
                "nop", [grpc_input("INPUT1", zeros)], compression_algorithm="gzip"
            )
        self.assertEqual(caught.exception.status(), "StatusCode.RESOURCE_EXHAUSTED")
        self.assertIn("exceed the limit of", caught.exception.message())
