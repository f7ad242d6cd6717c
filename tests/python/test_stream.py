"""ModelStreamInfer and decoupled models, as tritonclient uses them."""

import asyncio
import collections
import functools
import queue
import threading

import numpy as np
import tritonclient.grpc.aio as aioclient
from support import *


def repeat_inputs(values, delay=0, wait=0):
    delays = np.full(len(values), delay, np.uint32)
    return [
        grpc_input("IN", np.array(values, np.int32)),
        grpc_input("DELAY", delays),
        grpc_input("WAIT", np.array([wait], np.uint32)),
    ]


def repeat_message(values, id="", delay=0, empty_final=False):
    """The same as a message, for use without tritonclient's stream."""
    request = service_pb2.ModelInferRequest(model_name="repeat_int32", id=id)
    for name, datatype, array in [
        ("IN", "INT32", np.array(values, np.int32)),
        ("DELAY", "UINT32", np.full(len(values), delay, np.uint32)),
        ("WAIT", "UINT32", np.array([0], np.uint32)),
    ]:
        request.inputs.add(name=name, datatype=datatype, shape=list(array.shape))
        request.raw_input_contents.append(array.tobytes())
    if empty_final:
        request.parameters["triton_enable_empty_final_response"].bool_param = True
    return request


def is_final(result):
    return result.get_response().parameters["triton_final_response"].bool_param


class Stream:
    """A tritonclient stream whose results are collected as they come."""

    def __init__(self, test, **kwargs):
        self.client = grpcclient.InferenceServerClient(GRPC)
        test.addCleanup(self.client.close)
        self.results = queue.Queue()
        self.client.start_stream(lambda result, error: self.results.put((result, error)), **kwargs)

    def repeat(self, values, id="", delay=0, empty_final=True):
        self.client.async_stream_infer(
            "repeat_int32",
            repeat_inputs(values, delay),
            request_id=id,
            enable_empty_final_response=empty_final,
        )

    def next(self):
        result, error = self.results.get(timeout=30)
        if error is not None:
            raise error
        return result

    def stop(self, **kwargs):
        self.client.stop_stream(**kwargs)


class DecoupledTest(ConformanceTest):
    def test_every_element_is_a_response_and_the_end_is_told_to_who_asks(self):
        stream = Stream(self)
        stream.repeat([4, 2, 0, 1], "7")
        for index, value in enumerate([4, 2, 0, 1]):
            result = stream.next()
            self.assertEqual(result.as_numpy("OUT").tolist(), [value])
            self.assertEqual(result.as_numpy("IDX").tolist(), [index])
            self.assertEqual(result.get_response().id, "7")
            self.assertEqual(result.get_response().model_version, "1")
            self.assertFalse(is_final(result))
        final = stream.next()
        self.assertTrue(is_final(final))
        self.assertEqual(len(final.get_response().outputs), 0)
        stream.repeat([], "none")
        self.assertTrue(is_final(stream.next()))
        # Requests are answered beside each other: one is sent when the one before has been answered.
        stream.repeat([5], empty_final=False)
        self.assertEqual(stream.next().as_numpy("OUT").tolist(), [5])
        stream.repeat([], empty_final=False)
        stream.repeat([6], empty_final=False)
        self.assertEqual(stream.next().as_numpy("OUT").tolist(), [6])
        stream.stop()
        self.assertTrue(stream.results.empty())

    def test_compressed_requests(self):
        for algorithm in ["gzip", "deflate"]:
            stream = Stream(self, compression_algorithm=algorithm)
            stream.repeat(range(500))
            values = [stream.next().as_numpy("OUT")[0] for _ in range(500)]
            self.assertEqual(values, list(range(500)))
            stream.stop()

    def test_requested_outputs_only(self):
        stream = Stream(self)
        stream.client.async_stream_infer(
            "repeat_int32",
            repeat_inputs([3]),
            outputs=[grpcclient.InferRequestedOutput("IDX")],
        )
        outputs = stream.next().get_response().outputs
        self.assertEqual([output.name for output in outputs], ["IDX"])

    def test_responses_of_several_requests_interleave(self):
        stream = Stream(self)
        stream.repeat([1, 2], "slow", delay=400)
        stream.repeat([3], "fast")
        ids = [stream.next().get_response().id for _ in range(5)]
        self.assertEqual(ids, ["fast", "fast", "slow", "slow", "slow"])

    def test_one_response_is_all_that_the_other_calls_take(self):
        http_inputs = [
            http_input(name, array)
            for name, array in [
                ("IN", np.array([1], np.int32)),
                ("DELAY", np.array([0], np.uint32)),
                ("WAIT", np.array([0], np.uint32)),
            ]
        ]
        self.assert_both_fail(
            lambda: self.http.infer("repeat_int32", http_inputs),
            lambda: self.grpc.infer("repeat_int32", repeat_inputs([1])),
            "doesn't support models with decoupled transaction policy",
            http=501,
            code="UNIMPLEMENTED",
        )

    def test_statistics_tell_responses_by_their_place(self):
        before = self.http.get_inference_statistics("repeat_int32")["model_stats"][0]
        stream = Stream(self)
        stream.repeat([8, 9])
        while not is_final(stream.next()):
            pass
        after = self.http.get_inference_statistics("repeat_int32")["model_stats"][0]

        def grown(*path):
            old, new = before, after
            for key in path:
                old, new = old.get(key, {}), new[key]
            return new - (old or 0)

        for place, kind in [("0", "success"), ("1", "success"), ("2", "empty_response")]:
            self.assertGreaterEqual(grown("response_stats", place, kind, "count"), 1)
        self.assertEqual(grown("inference_stats", "success", "count"), 1)
        by_grpc = self.grpc.get_inference_statistics("repeat_int32").model_stats[0]
        self.assertGreaterEqual(by_grpc.response_stats["0"].success.count, 1)
        first = metric("nv_inference_first_response_histogram_ms_count", "repeat_int32")
        self.assertGreaterEqual(first, 1)


class OrderTest(ConformanceTest):
    def test_one_response_models_are_answered_in_the_order_of_the_requests(self):
        stream = Stream(self)
        names = []
        for index in range(40):
            model = "slow" if index % 20 == 0 else "plain"
            array = np.array([index], np.float32)
            inputs = [grpc_input("INPUT0", array)]
            stream.client.async_stream_infer(model, inputs, request_id=str(index))
            names.append(model)
        for index in range(40):
            result = stream.next()
            self.assertEqual(result.as_numpy("OUTPUT0").tolist(), [index])
            self.assertEqual(result.get_response().model_name, names[index])
            self.assertTrue(is_final(result))
        stream.stop()

    def test_errors_come_in_their_place_and_the_stream_goes_on(self):
        stream = Stream(self)
        good = [grpc_input("INPUT0", np.array([1], np.float32))]
        bad = [grpc_input("INPUT0", np.array([[1]], np.float32))]
        stream.client.async_stream_infer("slow", good, request_id="a")
        stream.client.async_stream_infer("plain", bad, request_id="b")
        stream.client.async_stream_infer("nowhere", good, request_id="c")
        stream.client.async_stream_infer("plain", good, request_id="d")
        self.assertEqual(stream.next().get_response().id, "a")
        for fragment in ["[request id: b] unexpected shape for input 'INPUT0'", "unknown model"]:
            with self.assertRaises(InferenceServerException) as caught:
                stream.next()
            self.assertIn(fragment, str(caught.exception))
        self.assertEqual(stream.next().get_response().id, "d")

    def test_errors_carry_the_id_and_only_begun_requests_an_end(self):
        uneven = repeat_message([1, 2], "begun")
        uneven.inputs[1].shape[0] = 1
        uneven.raw_input_contents[1] = uneven.raw_input_contents[1][:4]
        unknown = service_pb2.ModelInferRequest(model_name="nowhere", id="refused")
        answers = list(self.stub.ModelStreamInfer(iter([uneven])))
        answers += self.stub.ModelStreamInfer(iter([unknown]))
        begun, refused = answers
        self.assertIn("expected IN and DELAY shape to match", begun.error_message)
        self.assertEqual(begun.infer_response.id, "begun")
        self.assertEqual(begun.infer_response.model_name, "repeat_int32")
        self.assertTrue(begun.infer_response.parameters["triton_final_response"].bool_param)
        self.assertIn("unknown model", refused.error_message)
        self.assertEqual(refused.infer_response.id, "refused")
        self.assertEqual(len(refused.infer_response.parameters), 0)

    def test_with_triton_grpc_error_the_first_failure_ends_the_stream(self):
        uneven = repeat_message([1, 2], "uneven")
        uneven.inputs[1].shape[0] = 1
        uneven.raw_input_contents[1] = uneven.raw_input_contents[1][:4]
        requests = iter([repeat_message([1] * 10, "slow", delay=60_000), uneven])
        answers = self.stub.ModelStreamInfer(requests, metadata=[("triton_grpc_error", "true")])
        with self.assertRaises(grpc.RpcError) as caught:
            list(answers)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
        self.assertIn("expected IN and DELAY", caught.exception.details())

    def test_a_deadline_ends_the_stream(self):
        answers = self.stub.ModelStreamInfer(iter([repeat_message([1], delay=60_000)]), timeout=0.3)
        with self.assertRaises(grpc.RpcError) as caught:
            list(answers)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED)


class CancellationTest(ConformanceTest):
    def cancelled(self):
        return metric("nv_inference_request_failure", "repeat_int32", reason="CANCELED")

    def executed(self):
        return metric("nv_inference_exec_count", "repeat_int32")

    def test_a_cancelled_stream_cancels_what_is_on_it(self):
        before, executed = self.cancelled(), self.executed()
        stream = Stream(self)
        for index in range(5):
            stream.repeat([1] * 100, str(index), delay=60_000 if index else 0)
        self.assertEqual(stream.next().get_response().id, "0")
        wait_until("executed", lambda: self.executed() - executed >= 5)
        stream.stop(cancel_requests=True)
        wait_until("cancelled", lambda: self.cancelled() - before >= 4)

    def test_an_asyncio_stream_that_is_cancelled(self):
        before = self.cancelled()

        async def run():
            async with aioclient.InferenceServerClient(GRPC) as client:

                async def requests():
                    yield {
                        "model_name": "repeat_int32",
                        "inputs": repeat_inputs([5, 6, 7], delay=50),
                    }
                    yield {
                        "model_name": "repeat_int32",
                        "inputs": repeat_inputs([1], delay=60_000),
                    }

                responses = client.stream_infer(requests())
                values = []
                async for result, error in responses:
                    self.assertIsNone(error)
                    values.append(result.as_numpy("OUT")[0])
                    if len(values) == 3:
                        self.assertTrue(responses.cancel())
                        break
                self.assertEqual(values, [5, 6, 7])

        asyncio.run(run())
        wait_until("cancelled", lambda: self.cancelled() > before)

    def test_a_connection_that_is_dropped_under_load_leaves_nothing_behind(self):
        for _ in range(3):
            channels = [grpc.insecure_channel(GRPC, [("grpc.use_local_subchannel_pool", 1)])
                        for _ in range(8)]
            streams = []
            for channel in channels:
                stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
                requests = [repeat_message(range(2000), str(i)) for i in range(20)]
                streams.append(stub.ModelStreamInfer(iter(requests)))
            for stream in streams:
                next(stream)
            for channel in channels:
                channel.close()
        wait_until("empty queue",
                   lambda: metric("nv_inference_pending_request_count", "repeat_int32") == 0)
        self.assertTrue(self.http.is_server_ready())
        stream = Stream(self)
        stream.repeat([11])
        self.assertEqual(stream.next().as_numpy("OUT").tolist(), [11])

    def test_a_client_that_does_not_read_does_not_hold_up_others(self):
        lazy = self.stub.ModelStreamInfer(iter([repeat_message(range(200_000))]))
        next(lazy)
        stream = Stream(self)
        stream.repeat(range(1000), "busy")
        for value in range(1000):
            self.assertEqual(stream.next().as_numpy("OUT")[0], value)
        lazy.cancel()


class LoadTest(ConformanceTest):
    STREAMS = 8
    REQUESTS = 125

    def drive(self, number, seen):
        """One stream of mixed requests; what it got by id."""
        done = threading.Semaphore(0)
        client = grpcclient.InferenceServerClient(GRPC)

        def take(result, error):
            self.assertIsNone(error)
            response = result.get_response()
            name = "OUT" if response.model_name == "repeat_int32" else "OUTPUT0"
            if len(response.outputs):
                seen[response.id].append(int(result.as_numpy(name)[0]))
            if is_final(result):
                done.release()

        client.start_stream(take)
        for index in range(self.REQUESTS):
            id = f"{number}-{index}"
            if index % 3:
                values = list(range(index % 7))
                client.async_stream_infer(
                    "repeat_int32",
                    repeat_inputs(values, delay=index % 2),
                    request_id=id,
                    enable_empty_final_response=True,
                )
            else:
                array = np.array([index], np.float32)
                client.async_stream_infer("plain", [grpc_input("INPUT0", array)], request_id=id)
        for _ in range(self.REQUESTS):
            self.assertTrue(done.acquire(timeout=60))
        client.stop_stream()
        client.close()

    def test_a_thousand_interleaved_requests_and_every_response_is_accounted_for(self):
        seen = collections.defaultdict(list)
        threads = [
            threading.Thread(target=functools.partial(self.drive, number, seen))
            for number in range(self.STREAMS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for number in range(self.STREAMS):
            for index in range(self.REQUESTS):
                want = list(range(index % 7)) if index % 3 else [index]
                self.assertEqual(seen[f"{number}-{index}"], want)


if __name__ == "__main__":
    unittest.main()
