"""The trace extension. The server traces every request into files beside the repository."""

import json

import numpy as np
from support import *

FILE = REPOSITORY.parent / "trace.json"
DEFAULTS = {
    "trace_file": str(FILE),
    "trace_level": ["TIMESTAMPS"],
    "trace_rate": "1",
    "trace_count": "-1",
    "log_frequency": "0",
    "trace_mode": "triton",
}
CLEAR = {name: None for name in ["trace_level", "trace_rate", "trace_count", "log_frequency"]}
COMPUTED = [
    "REQUEST_START",
    "QUEUE_START",
    "COMPUTE_START",
    "COMPUTE_INPUT_END",
    "COMPUTE_OUTPUT_START",
    "COMPUTE_END",
    "INFER_RESPONSE_COMPLETE",
    "REQUEST_END",
]


def files():
    return {path for path in FILE.parent.glob("trace.json.*") if path.suffix != ".part"}


class Trace(ConformanceTest):
    def setUp(self):
        super().setUp()
        self.clear()
        self.addCleanup(self.clear)

    def clear(self):
        self.http.update_trace_settings(model_name="versions", settings=CLEAR)
        self.http.update_trace_settings(settings=CLEAR)

    def as_dict(self, response):
        settings = {name: list(value.value) for name, value in response.settings.items()}
        levels = settings.pop("trace_level")
        return {"trace_level": levels} | {name: value for name, [value] in settings.items()}

    def infer(self, client, request_id="", model="versions", values=(1, 2, 3, 4)):
        make = http_input if client is self.http else grpc_input
        tensor = make("INPUT0", np.array([values], np.float32))
        client.infer(model, [tensor], request_id=request_id)

    def traced(self, act, count=1):
        """The objects of the files that appear because of `act`."""
        before = files()
        act()
        wait_until("traces are written", lambda: len(files() - before) >= count)
        appeared = sorted(files() - before)
        self.assertEqual(len(appeared), count)
        return [entry for path in appeared for entry in json.loads(path.read_text())]

    def times(self, objects):
        stamps = [stamp for entry in objects for stamp in entry.get("timestamps", [])]
        return {stamp["name"]: stamp["ns"] for stamp in stamps}

    def test_settings_are_shown_for_all_models_and_for_one(self):
        for model in [None, "versions"]:
            self.assertEqual(self.http.get_trace_settings(model_name=model), DEFAULTS)
            self.assertEqual(self.as_dict(self.grpc.get_trace_settings(model_name=model)), DEFAULTS)

    def test_a_model_follows_all_models_in_what_it_does_not_set(self):
        for client, read in [(self.http, dict), (self.grpc, self.as_dict)]:
            self.clear()
            client.update_trace_settings("versions", {"trace_rate": "12", "log_frequency": "34"})
            client.update_trace_settings(
                settings={"trace_rate": "56", "trace_count": "78", "trace_level": ["OFF"]}
            )
            cleared = DEFAULTS | {"trace_level": ["OFF"]}
            self.assertEqual(
                read(client.update_trace_settings(
                    settings={"trace_rate": None, "trace_count": None})),
                cleared,
            )
            first = cleared | {"trace_rate": "12", "log_frequency": "34"}
            self.assertEqual(read(client.get_trace_settings("versions")), first)
            self.assertEqual(
                read(client.update_trace_settings(
                    "versions", {"trace_rate": None, "trace_level": None})),
                first | {"trace_rate": "1"},
            )
            self.assertEqual(read(client.get_trace_settings()), cleared)

    def test_levels_can_be_combined(self):
        both = {"trace_level": ["TIMESTAMPS", "TENSORS"]}
        self.assertEqual(self.http.update_trace_settings(settings=both), DEFAULTS | both)
        self.assertEqual(self.http.get_trace_settings("versions"), DEFAULTS | both)
        tensors = {"trace_level": "TENSORS"}
        got = self.as_dict(self.grpc.update_trace_settings(settings=tensors))
        self.assertEqual(got, DEFAULTS | {"trace_level": ["TENSORS"]})

    def test_an_http_request_is_followed_from_its_first_byte_to_the_last_of_its_answer(self):
        self.http.update_trace_settings("versions", {"log_frequency": "1"})
        objects = self.traced(lambda: self.infer(self.http, "r-1"))
        identity = objects[0]
        self.assertEqual((identity["model_name"], identity["model_version"]), ("versions", 2))
        self.assertEqual(identity["request_id"], "r-1")
        self.assertEqual({entry["id"] for entry in objects}, {identity["id"]})
        times = self.times(objects)
        order = ["HTTP_RECV_START", "HTTP_RECV_END", *COMPUTED, "HTTP_SEND_START", "HTTP_SEND_END"]
        self.assertEqual(set(times), set(order))
        self.assertEqual([times[name] for name in order], sorted(times.values()))
        self.assertLess(abs(times["REQUEST_START"] - time.time_ns()), 60e9)

    def test_a_grpc_request_is_followed_too(self):
        self.grpc.update_trace_settings("versions", {"log_frequency": "1"})
        objects = self.traced(lambda: self.infer(self.grpc))
        self.assertNotIn("request_id", objects[0])
        order = [
            "GRPC_WAITREAD_START", "GRPC_WAITREAD_END", *COMPUTED, "GRPC_SEND_START", "GRPC_SEND_END"
        ]
        times = self.times(objects)
        self.assertEqual(set(times), set(order))
        self.assertEqual([times[name] for name in order], sorted(times.values()))

    def test_tensors_are_written(self):
        settings = {"log_frequency": "1", "trace_level": ["TENSORS"]}
        self.http.update_trace_settings("versions", settings)
        objects = self.traced(lambda: self.infer(self.http))
        self.assertEqual(self.times(objects), {})
        [given, computed] = [entry for entry in objects if "activity" in entry]
        self.assertEqual(given["activity"], "TENSOR_QUEUE_INPUT")
        self.assertEqual(
            given["tensor"],
            {"name": "INPUT0", "data": "1,2,3,4", "shape": "1,4", "dtype": "FP32"},
        )
        self.assertEqual(computed["activity"], "TENSOR_BACKEND_OUTPUT")
        self.assertEqual(computed["tensor"]["data"], "3,4,5,6")

    def test_rate_and_count_say_which_requests_are_traced(self):
        settings = {"trace_rate": "2", "trace_count": "2", "log_frequency": "1"}
        self.http.update_trace_settings("versions", settings)
        ask = lambda: [self.infer(self.http, str(number)) for number in range(6)]
        objects = self.traced(ask, count=2)
        asked = [entry["request_id"] for entry in objects if "model_name" in entry]
        self.assertEqual(sorted(asked), ["1", "3"])
        self.assertEqual(self.http.get_trace_settings("versions")["trace_count"], "0")

    def test_so_many_traces_go_into_one_file(self):
        self.http.update_trace_settings("versions", {"log_frequency": "3"})
        objects = self.traced(lambda: [self.infer(self.http) for _ in range(3)])
        self.assertEqual(len({entry["id"] for entry in objects}), 3)
        objects = self.traced(lambda: (self.infer(self.http), self.clear()))
        self.assertEqual(len({entry["id"] for entry in objects}), 1)

    def test_a_model_can_be_left_out(self):
        self.http.update_trace_settings("versions", {"trace_level": ["OFF"]})
        self.http.update_trace_settings(settings={"log_frequency": "1"})
        self.infer(self.http)
        objects = self.traced(lambda: self.infer(self.http, model="complete", values=(1, 2, 3)))
        self.assertEqual(objects[0]["model_name"], "complete")

    def test_what_cannot_be_is_refused(self):
        for settings, fragment in [
            ({"trace_level": ["OFF", "TENSORS"]}, "Expect only one trace level 'OFF'"),
            ({"trace_level": ["MAX"]}, "unknown trace level 'MAX'"),
            ({"trace_rate": "x"}, "Unable to parse 'trace_rate', got: x"),
            ({"trace_rate": "5000000000"}, "value is out of range [ 0, 4294967295 ]"),
            ({"trace_rate": "0"}, "Attempting to set invalid trace setting"),
            ({"trace_count": "-2"}, "Unable to parse 'trace_count'. Expecting value >= -1"),
            ({"log_frequency": ""}, "Unable to parse 'log_frequency'"),
            ({"trace_speed": "1"}, "unknown trace setting"),
        ]:
            for model in [None, "versions"]:
                self.assert_both_fail(
                    lambda: self.http.update_trace_settings(model, settings),
                    lambda: self.grpc.update_trace_settings(model, settings),
                    fragment,
                    400,
                    "INVALID_ARGUMENT",
                )
        self.assert_both_fail(
            lambda: self.http.update_trace_settings(settings={"trace_file": "x"}),
            lambda: self.grpc.update_trace_settings(settings={"trace_file": "x"}),
            "trace file location can not be updated through network protocol",
            501,
            "UNIMPLEMENTED",
        )
        for call in [self.http.get_trace_settings, self.grpc.get_trace_settings]:
            with self.assertRaises(InferenceServerException) as caught:
                call("nowhere")
            self.assertIn("Request for unknown model : nowhere", caught.exception.message())
        self.assertEqual(self.http.get_trace_settings("versions"), DEFAULTS)

    def test_the_paths_are_those_of_the_extension(self):
        for path, status in [
            ("/v2/trace/setting", 200),
            ("/v2/models/versions/trace/setting", 200),
            ("/v2/models/versions/versions/1/trace/setting", 404),
            ("/v2/trace", 404),
            ("/v2/trace/setting/x", 404),
        ]:
            self.assertEqual(http_call("GET", path)[0], status, path)
        self.assertEqual(http_call("DELETE", "/v2/trace/setting")[0], 405)
        self.assertIn("trace", self.http.get_server_metadata()["extensions"])


if __name__ == "__main__":
    unittest.main()
