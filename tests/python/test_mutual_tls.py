"""Clients that show certificates of their own, over gRPC."""

import os
import unittest

import tritonclient.grpc as grpcclient
from tritonclient.utils import InferenceServerException


def client(name):
    files = {}
    if name:
        files["certificate_chain"] = os.environ[f"DESPINA_{name}_CERTIFICATE"]
        files["private_key"] = os.environ[f"DESPINA_{name}_KEY"]
    return grpcclient.InferenceServerClient(
        os.environ["DESPINA_GRPC"].replace("127.0.0.1", "localhost"),
        ssl=True,
        root_certificates=os.environ["DESPINA_ROOT"],
        **files,
    )


class MutualTlsTest(unittest.TestCase):
    def status(self, name):
        own = client(name)
        self.addCleanup(own.close)
        try:
            own.get_server_metadata(client_timeout=10)
        except InferenceServerException as error:
            return error.status()
        return "OK"

    def test_each_may_do_what_the_policy_says_of_its_certificate(self):
        self.assertEqual(self.status("ALICE"), "OK")
        self.assertEqual(self.status("BOB"), "StatusCode.PERMISSION_DENIED")

    def test_without_a_certificate_there_is_no_connection(self):
        self.assertEqual(self.status(""), "StatusCode.UNAVAILABLE")
