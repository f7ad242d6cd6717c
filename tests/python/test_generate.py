"""generate and generate_stream over plain HTTP, as curl and LLM clients use them."""

import socket
import threading

from support import *

REPEAT = "/v2/models/repeat_int32"


def ask(path, body, **headers):
    status, got, text = http_call("POST", path, body, headers)
    return status, got["Content-Type"], json.loads(text)


def events(text):
    """The events of a whole body."""
    assert text == b"" or text.endswith(b"\n\n"), text
    lines = text.decode().split("\n\n")[:-1]
    assert all(line.startswith("data: ") for line in lines), text
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def stream(path, body):
    status, headers, text = http_call("POST", path, body)
    return status, headers["Content-Type"], events(text)


class Connection:
    """A request on a socket whose answer is read as it comes."""

    def __init__(self, path, body):
        host, port = HTTP.split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=30)
        body = json.dumps(body).encode()
        self.socket.sendall(
            f"POST {path} HTTP/1.1\r\nHost: d\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        )
        self.received = b""

    def read_until(self, mark):
        while mark not in self.received:
            piece = self.socket.recv(65536)
            if not piece:
                raise AssertionError(f"closed before {mark}: {self.received}")
            self.received += piece

    def close(self):
        self.socket.close()


def repeat(values, delay=0):
    return {"IN": values, "DELAY": [delay] * len(values), "WAIT": 0}


class GenerateTest(ConformanceTest):
    def test_one_response_is_one_object(self):
        for path in [f"{REPEAT}/generate", f"{REPEAT}/versions/1/generate"]:
            answer = ask(path, repeat([7]) | {"id": "x", "temperature": 0.5})
            want = {"id": "x", "model_name": "repeat_int32", "model_version": "1"}
            self.assertEqual(answer, (200, "application/json", want | {"OUT": 7, "IDX": 0}))
        _, _, answer = ask("/v2/models/plain/generate", {"INPUT0": [1.5, 2]})
        self.assertEqual(answer["OUTPUT0"], [1.5, 2.0])
        self.assertNotIn("id", answer)

    def test_every_datatype_that_json_has(self):
        values = {
            "BOOL": True,
            "BYTES": ["a", "größer\n\"", ""],
            "FP16": 0.5,
            "BF16": [1.0, -2.0],
        }
        for datatype in DATATYPES:
            value = values.get(datatype, [1, 2, 3])
            body = {"INPUT0": value, "parameters": {"any": "thing"}}
            _, _, answer = ask(f"/v2/models/onnx_{datatype.lower()}/generate", body)
            self.assertEqual(answer["OUTPUT0"], value, datatype)

    def test_any_other_number_of_responses_is_refused(self):
        for values in [[], [1, 2]]:
            status, content_type, answer = ask(f"{REPEAT}/generate", repeat(values))
            self.assertEqual((status, content_type), (500, "application/json"))
            self.assertIn("expects model to produce exactly 1 response", answer["error"])

    def test_errors_before_inference_are_json_on_both(self):
        for call in ["generate", "generate_stream"]:
            for path, body, status, fragment in [
                (REPEAT, {}, 400, "missing required input(s) ['IN','DELAY','WAIT']"),
                (REPEAT, repeat([1]) | {"IN": "x"}, 400, "attempt to access JSON non-"),
                (REPEAT, repeat([1]) | {"x": {}}, 400, "parameter 'x' has invalid type"),
                (REPEAT, b"{", 400, "failed to parse the request JSON buffer"),
                ("/v2/models/nowhere", repeat([1]), 404, "Request for unknown model: 'nowhere'"),
                (f"{REPEAT}/versions/9", repeat([1]), 404, "version 9 is not found"),
            ]:
                got = ask(f"{path}/{call}", body)
                self.assertEqual(got[:2], (status, "application/json"), path)
                self.assertIn(fragment, got[2]["error"])
            status, _, _ = http_call("GET", f"{REPEAT}/{call}")
            self.assertEqual(status, 405)
            got = ask(f"{REPEAT}/{call}", repeat([1]), **{"Content-Encoding": "gzip"})
            self.assertEqual(got[0], 400)
            self.assertIn("only 'identity' is supported", got[2]["error"])

    def test_a_body_beyond_the_limit_is_refused_in_tritons_words(self):
        body = b'{"IN": "' + b"x" * (65 << 20) + b'"}'
        status, _, answer = ask(f"{REPEAT}/generate", body)
        self.assertEqual(status, 400)
        self.assertIn(" bytes exceeds the maximum allowed input size of ", answer["error"])


class GenerateStreamTest(ConformanceTest):
    def test_each_response_is_an_event(self):
        status, content_type, got = stream(f"{REPEAT}/generate_stream", repeat([5, 6, 7]))
        self.assertEqual((status, content_type), (200, "text/event-stream; charset=utf-8"))
        self.assertEqual([(event["OUT"], event["IDX"]) for event in got], [(5, 0), (6, 1), (7, 2)])
        self.assertEqual(stream(f"{REPEAT}/generate_stream", repeat([]))[::2], (200, []))
        got = stream("/v2/models/plain/generate_stream", {"INPUT0": 3})
        self.assertEqual(got[2][0]["OUTPUT0"], 3.0)

    def test_a_failure_is_an_event_and_the_first_decides_the_status(self):
        uneven = repeat([1]) | {"DELAY": [0, 0]}
        status, content_type, got = stream(f"{REPEAT}/generate_stream", uneven)
        self.assertEqual((status, content_type), (400, "text/event-stream; charset=utf-8"))
        self.assertIn("expected IN and DELAY shape to match", got[0]["error"])

    def test_events_arrive_as_they_are_made(self):
        values = {"IN": [1, 2], "DELAY": [0, 60_000], "WAIT": 0}
        connection = Connection(f"{REPEAT}/generate_stream", values)
        connection.read_until(b"\n\n\r\n")
        self.assertIn(b"transfer-encoding: chunked", connection.received.lower())
        self.assertIn(b'"OUT":1', connection.received)
        connection.close()

    def test_a_client_that_goes_away_cancels(self):
        def cancelled():
            return metric("nv_inference_request_failure", "repeat_int32", reason="CANCELED")

        before = cancelled()
        connection = Connection(f"{REPEAT}/generate_stream", repeat(list(range(1000)), 200))
        connection.read_until(b'"OUT":0')
        connection.close()
        wait_until("cancelled stream", lambda: cancelled() == before + 1)
        connection = Connection(f"{REPEAT}/generate", repeat([1], 60_000))
        executed = metric("nv_inference_exec_count", "repeat_int32")
        wait_until("executed", lambda: metric("nv_inference_exec_count", "repeat_int32") >= executed)
        connection.close()
        wait_until("cancelled", lambda: cancelled() == before + 2)

    def test_many_streams_at_once(self):
        results = []

        def run(number):
            values = [number * 100 + index for index in range(number % 7)]
            got = stream(f"{REPEAT}/generate_stream", repeat(values, number % 3))
            results.append([event["OUT"] for event in got[2]] == values)

        threads = [threading.Thread(target=run, args=(number,)) for number in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(results, [True] * 64)

    def test_a_connection_serves_again_after_a_stream(self):
        connection = Connection(f"{REPEAT}/generate_stream", repeat([1]))
        connection.read_until(b"0\r\n\r\n")
        connection.received = b""
        body = json.dumps(repeat([2])).encode()
        connection.socket.sendall(
            f"POST {REPEAT}/generate HTTP/1.1\r\nHost: d\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        connection.read_until(b'"OUT":2')
        connection.close()


if __name__ == "__main__":
    unittest.main()
