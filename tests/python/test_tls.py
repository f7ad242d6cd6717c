"""tritonclient over TLS, as its users turn it on."""

import os
import unittest

import gevent.ssl
import numpy as np
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient

ROOT = os.environ["DESPINA_ROOT"]
WRONG_ROOT = os.environ["DESPINA_WRONG_ROOT"]


def http_client(address, root):
    return httpclient.InferenceServerClient(
        address.replace("127.0.0.1", "localhost"),
        ssl=True,
        ssl_options={"ca_certs": root},
        ssl_context_factory=gevent.ssl.create_default_context,
    )


def grpc_client(address, root):
    return grpcclient.InferenceServerClient(
        address.replace("127.0.0.1", "localhost"), ssl=True, root_certificates=root
    )


class TlsTest(unittest.TestCase):
    def assert_infers(self, module, client):
        self.addCleanup(client.close)
        self.assertTrue(client.is_server_ready())
        values = np.arange(300_000, dtype=np.float32)
        tensor = module.InferInput("INPUT0", [300_000], "FP32")
        tensor.set_data_from_numpy(values)
        for _ in range(3):
            result = client.infer("open", [tensor])
            np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), values)

    def test_http(self):
        self.assert_infers(httpclient, http_client(os.environ["DESPINA_HTTP"], ROOT))

    def test_grpc(self):
        self.assert_infers(grpcclient, grpc_client(os.environ["DESPINA_GRPC"], ROOT))

    def test_a_server_that_cannot_be_trusted_is_not_talked_to(self):
        for variable, root in [("", WRONG_ROOT), ("EXPIRED_", ROOT)]:
            clients = [
                http_client(os.environ[f"DESPINA_{variable}HTTP"], root),
                grpc_client(os.environ[f"DESPINA_{variable}GRPC"], root),
            ]
            for client in clients:
                self.addCleanup(client.close)
                with self.assertRaises(Exception):
                    client.get_server_metadata()
