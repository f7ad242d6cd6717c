"""Many requests at once: batching, queue limits, timeouts, and clients that go away."""

import json
import socket
import threading

import numpy as np
from support import *


def pending(model):
    return metric("nv_inference_pending_request_count", model) or 0


def counts(client, model):
    row = client.get_inference_statistics(model)["model_stats"][0]
    return row["inference_count"], row["execution_count"]


def post_on_socket(model):
    """A connection on which a whole inference request was sent and nothing read."""
    body = json.dumps(
        {"inputs": [{"name": "INPUT0", "shape": [1], "datatype": "FP32", "data": [1.0]}]}
    )
    host, port = HTTP.split(":")
    connection = socket.create_connection((host, int(port)), timeout=30)
    connection.sendall(
        f"POST /v2/models/{model}/infer HTTP/1.1\r\nHost: d\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
    )
    return connection


class Calls:
    """gRPC calls whose results are collected as they come."""

    def __init__(self, client):
        self.client = client
        self.results = []
        self.all_in = threading.Condition()

    def begin(self, model, array, **options):
        return self.client.async_infer(
            model, [grpc_input("INPUT0", array)], self.took, **options
        )

    def took(self, result, error):
        with self.all_in:
            self.results.append(error or result)
            self.all_in.notify()

    def wait(self, count):
        with self.all_in:
            assert self.all_in.wait_for(lambda: len(self.results) >= count, 30)
            return self.results


class Batching(ConformanceTest):
    def test_concurrent_requests_share_executions_and_keep_their_data(self):
        before = counts(self.http, "batched")
        arrays = [np.full((1, 3), i, np.float32) for i in range(32)]
        requests = [
            (array, self.http.async_infer("batched", [http_input("INPUT0", array)]))
            for array in arrays
        ]
        calls = Calls(self.grpc)
        for i in range(32):
            calls.begin("batched", np.full((1, 3), 100 + i, np.float32), request_id=str(100 + i))
        for array, request in requests:
            self.assert_same(request.get_result().as_numpy("OUTPUT0"), array)
        for result in calls.wait(32):
            self.assertNotIsInstance(result, Exception)
            want = np.full((1, 3), int(result.get_response().id), np.float32)
            self.assert_same(result.as_numpy("OUTPUT0"), want)
        after = counts(self.http, "batched")
        self.assertEqual(after[0] - before[0], 64)
        self.assertLess(after[1] - before[1], 48)

    def test_requests_of_several_rows_are_not_split_and_not_mixed_up(self):
        before = counts(self.http, "batched")
        calls = Calls(self.grpc)
        for i in range(24):
            rows = i % 5 + 1
            array = np.full((rows, 2), i, np.float32)
            calls.begin("batched", array, request_id=str(i))
        for result in calls.wait(24):
            self.assertNotIsInstance(result, Exception)
            i = int(result.get_response().id)
            self.assert_same(
                result.as_numpy("OUTPUT0"), np.full((i % 5 + 1, 2), i, np.float32)
            )
        after = counts(self.http, "batched")
        self.assertEqual(after[0] - before[0], sum(i % 5 + 1 for i in range(24)))
        self.assertLess(after[1] - before[1], 24)

    def test_different_shapes_are_never_in_one_batch(self):
        calls = Calls(self.grpc)
        for i in range(24):
            calls.begin("batched", np.full((1, 1 + i % 3), i, np.float32), request_id=str(i))
        for result in calls.wait(24):
            self.assertNotIsInstance(result, Exception)
            i = int(result.get_response().id)
            self.assert_same(
                result.as_numpy("OUTPUT0"), np.full((1, 1 + i % 3), i, np.float32)
            )


class Queues(ConformanceTest):
    def test_a_full_queue_refuses_at_once(self):
        one = np.ones((1, 1), np.float32)
        calls = Calls(self.grpc)
        # One runs, one waits, and whether the first had left the queue when the second came
        # cannot be seen from here.
        for _ in range(4):
            calls.begin("small_queue", one)
        results = calls.wait(4)
        refused = [result for result in results if isinstance(result, Exception)]
        self.assertGreaterEqual(len(refused), 1)
        self.assertLess(len(refused), 4)
        for error in refused:
            self.assertIn("Exceeds maximum queue size", error.message())
            self.assertEqual(error.status(), "StatusCode.RESOURCE_EXHAUSTED")

    def test_a_request_that_waited_too_long_is_refused(self):
        one = np.ones((1, 1), np.float32)
        calls = Calls(self.grpc)
        calls.begin("short_patience", one)
        calls.begin("short_patience", one)
        results = calls.wait(2)
        refused = [result for result in results if isinstance(result, Exception)]
        self.assertEqual(len(refused), 1)
        self.assertIn("Request timeout expired", refused[0].message())
        self.assertEqual(refused[0].status(), "StatusCode.UNAVAILABLE")
        rejected = metric("nv_inference_request_failure", "short_patience", reason="REJECTED")
        self.assertEqual(rejected, 1)


class ClientsThatGoAway(ConformanceTest):
    def setUp(self):
        super().setUp()
        self.before = counts(self.http, "slow")
        self.cancelled = self.failures()
        # One request occupies the model's only instance, another waits in front of all that come
        # after: those cannot have begun when they are withdrawn.
        self.first = Calls(self.grpc)
        for _ in range(2):
            self.first.begin("slow", np.ones(1, np.float32))
        wait_until("one runs and one waits", lambda: pending("slow") == 1)

    def failures(self):
        return metric("nv_inference_request_failure", "slow", reason="CANCELED")

    def expect_that_only_the_first_two_ran(self):
        wait_until("it is cancelled", lambda: self.failures() > self.cancelled)
        for result in self.first.wait(2):
            self.assertNotIsInstance(result, Exception)
        wait_until("both are counted", lambda: counts(self.http, "slow")[0] == self.before[0] + 2)
        self.assertEqual(counts(self.http, "slow")[1], self.before[1] + 2)
        self.assertTrue(self.http.is_server_ready())

    def test_a_closed_http_connection_withdraws_its_request(self):
        connection = post_on_socket("slow")
        wait_until("it is queued", lambda: pending("slow") == 2)
        connection.close()
        self.expect_that_only_the_first_two_ran()

    def test_an_http_client_that_times_out_withdraws_its_request(self):
        with httpclient.InferenceServerClient(HTTP, network_timeout=0.1) as client:
            with self.assertRaises(OSError):
                client.infer("slow", [http_input("INPUT0", np.ones(1, np.float32))])
        self.expect_that_only_the_first_two_ran()

    def test_a_cancelled_grpc_call_withdraws_its_request(self):
        calls = Calls(self.grpc)
        call = calls.begin("slow", np.ones(1, np.float32))
        wait_until("it is queued", lambda: pending("slow") == 2)
        call.cancel()
        self.assertIsInstance(calls.wait(1)[0], Exception)
        self.expect_that_only_the_first_two_ran()

    def test_a_grpc_deadline_withdraws_its_request(self):
        calls = Calls(self.grpc)
        calls.begin("slow", np.ones(1, np.float32), client_timeout=0.1)
        self.assertEqual(calls.wait(1)[0].status(), "StatusCode.DEADLINE_EXCEEDED")
        self.expect_that_only_the_first_two_ran()


if __name__ == "__main__":
    unittest.main()
