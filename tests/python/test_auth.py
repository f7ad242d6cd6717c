"""Keys in the headers that tritonclient sends, over HTTP and gRPC."""

import os
import unittest

import numpy as np
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient
from tritonclient.utils import InferenceServerException

KEY = {"Authorization": f"Bearer {os.environ['DESPINA_KEY']}"}
WRONG = {"Authorization": "Bearer despina_wrong"}


class AuthTest(unittest.TestCase):
    def setUp(self):
        self.clients = {
            httpclient: httpclient.InferenceServerClient(os.environ["DESPINA_HTTP"]),
            grpcclient: grpcclient.InferenceServerClient(os.environ["DESPINA_GRPC"]),
        }
        for client in self.clients.values():
            self.addCleanup(client.close)

    def lowered(self, module, headers):
        """A copy, for the HTTP client adds to what it is given; gRPC metadata is in lower case."""
        if module is grpcclient and headers:
            return {name.lower(): value for name, value in headers.items()}
        return headers and dict(headers)

    def infer(self, module, headers):
        tensor = module.InferInput("INPUT0", [3], "FP32")
        tensor.set_data_from_numpy(np.arange(3, dtype=np.float32))
        headers = self.lowered(module, headers)
        return self.clients[module].infer("open", [tensor], headers=headers)

    def test_a_key_opens_everything(self):
        for module, client in self.clients.items():
            result = self.infer(module, KEY)
            np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), [0, 1, 2])
            headers = self.lowered(module, KEY)
            client.get_server_metadata(headers=headers)
            client.get_model_repository_index(headers=headers)
            client.get_inference_statistics(headers=headers)

    def test_probes_need_none(self):
        for client in self.clients.values():
            self.assertTrue(client.is_server_live())
            self.assertTrue(client.is_server_ready())
            self.assertTrue(client.is_model_ready("open"))

    def test_without_the_right_key_nothing_else_is_answered(self):
        for module, status in [(httpclient, "401"), (grpcclient, "StatusCode.UNAUTHENTICATED")]:
            for headers, message in [(None, "without credentials"), (WRONG, "not known")]:
                with self.assertRaises(InferenceServerException) as caught:
                    self.infer(module, headers)
                self.assertEqual(caught.exception.status(), status)
                self.assertIn(message, caught.exception.message())
            with self.assertRaises(InferenceServerException):
                self.clients[module].get_server_metadata()
