"""What header fields decide: locked calls, and fields that become parameters."""

import numpy as np
from support import *


class Headers(ConformanceTest):
    def calls(self, model, headers, parameters=None):
        """The same inference over both protocols, with these header fields."""
        zero = np.zeros((1, 4), np.float32)
        # The HTTP client adds fields of its own to what it is given.
        own = dict(headers) if headers else None
        return [
            lambda: self.http.infer(
                model, [http_input("INPUT0", zero)], headers=own, parameters=parameters),
            lambda: self.grpc.infer(
                model, [grpc_input("INPUT0", zero)], headers=headers, parameters=parameters),
        ]

    def test_locked_calls_need_their_secret(self):
        right = {"admin-key": "secret"}
        for headers in [None, {"admin-key": "wrong"}, {"other-key": "secret"}]:
            self.assert_fails(
                lambda: self.http.get_model_repository_index(headers=headers),
                "This API is restricted, expecting header 'admin-key'",
                http=403,
            )
        self.assertTrue(self.http.get_model_repository_index(headers=right))
        self.assertTrue(self.http.get_trace_settings(headers=right))
        self.assert_fails(
            lambda: self.http.get_inference_statistics(headers=right),
            "expecting header 'other-key'",
            http=403,
        )
        self.http.get_inference_statistics(headers={"other-key": "other"})

    def test_over_grpc_the_key_has_a_prefix(self):
        prefixed = {"triton-grpc-protocol-admin-key": "secret"}
        for headers in [None, {"admin-key": "secret"}, {name: "x" for name in prefixed}]:
            for call in [self.grpc.get_model_repository_index, self.grpc.get_trace_settings]:
                self.assert_fails(
                    lambda: call(headers=headers),
                    "This protocol is restricted, expecting header "
                    "'triton-grpc-protocol-admin-key'",
                    code="PERMISSION_DENIED",
                )
        self.assertTrue(self.grpc.get_model_repository_index(headers=prefixed))
        # Of no lock over this protocol.
        self.grpc.get_inference_statistics()

    def test_a_load_is_locked_before_its_files_are_read(self):
        for client, code in [(self.http, {"http": 403}), (self.grpc, {"code": "PERMISSION_DENIED"})]:
            self.assert_fails(
                lambda: client.load_model("versions", config="{}", files={"file:1/x": b"x" * 99999}),
                "is restricted, expecting header",
                **code,
            )

    def test_what_is_not_locked_is_open(self):
        self.assertTrue(self.http.is_server_live())
        self.assertTrue(self.grpc.is_server_ready())
        for call in self.calls("versions", None):
            call()

    def test_fields_become_parameters(self):
        for call in self.calls("versions", {"my_header_1": "a", "unlike": "b"}):
            call()
        # Two parameters of one name show that the field has become one.
        for call in self.calls("versions", {"my_header_1": "a"}, {"my_header_1": "b"}):
            with self.assertRaises(InferenceServerException) as caught:
                call()
            self.assertIn("parameter 'my_header_1' is given twice", caught.exception.message())
        for call in self.calls("versions", {"unlike": "a"}, {"unlike": "b"}):
            call()

    def test_fields_cannot_take_the_servers_own_parameters(self):
        for call in self.calls("versions", {"priority": "1"}):
            with self.assertRaises(InferenceServerException) as caught:
                call()
            self.assertIn(
                "Header 'priority' is reserved for Triton usage and cannot be forwarded.",
                caught.exception.message(),
            )


if __name__ == "__main__":
    unittest.main()
