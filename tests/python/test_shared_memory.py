"""Tensors in system shared memory, with tritonclient's own module for it, and clients that take the
memory away."""

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tritonclient.grpc.aio as grpc_aio
import tritonclient.http.aio as http_aio
import tritonclient.utils.shared_memory as shm
from support import *
from tritonclient.utils import serialize_byte_tensor

FP32 = np.dtype(np.float32)


class SharedMemoryTest(ConformanceTest):
    """Memory that is removed after each test, as are the regions."""

    def setUp(self):
        super().setUp()
        self.addCleanup(self.http.unregister_system_shared_memory)

    def memory(self, byte_size):
        """New memory; its handle has `key`."""
        key = f"/despina-{os.urandom(6).hex()}"
        handle = shm.create_shared_memory_region(key[1:], key, byte_size)
        handle.key = key
        self.addCleanup(self.destroy, handle)
        return handle

    def destroy(self, handle):
        try:
            shm.destroy_shared_memory_region(handle)
        except FileNotFoundError:
            pass  # the test removed it

    def region(self, name, byte_size):
        handle = self.memory(byte_size)
        self.http.register_system_shared_memory(name, handle.key, byte_size)
        return handle

    def both(self):
        """(client, module) of both protocols."""
        return [(self.http, httpclient), (self.grpc, grpcclient)]

    def shared_input(self, module, name, shape, datatype, region, byte_size, offset=0):
        tensor = module.InferInput(name, list(shape), datatype)
        tensor.set_shared_memory(region, byte_size, offset)
        return tensor

    def shared_output(self, module, name, region, byte_size, offset=0):
        tensor = module.InferRequestedOutput(name)
        tensor.set_shared_memory(region, byte_size, offset)
        return tensor

    def addsub(self, module, input_offset=0, input_size=64, output_offset=0, output_size=64):
        """Inputs and outputs of `addsub_fp32`, in regions `in` and `out`."""
        inputs = [
            self.shared_input(module, "INPUT0", (1, 16), "FP32", "in", input_size, input_offset),
            self.shared_input(module, "INPUT1", (1, 16), "FP32", "in", 64, 64),
        ]
        outputs = [
            self.shared_output(module, "OUTPUT0", "out", output_size, output_offset),
            self.shared_output(module, "OUTPUT1", "out", 64, 64),
        ]
        return {"inputs": inputs, "outputs": outputs}

    def addsub_regions(self):
        """Regions `in`, filled, and `out`, empty; their handles and the two arrays."""
        source, target = self.region("in", 128), self.region("out", 128)
        left, right = (self.random.standard_normal((1, 16)).astype(FP32) for _ in range(2))
        shm.set_shared_memory_region(source, [left, right])
        shm.set_shared_memory_region(target, [np.zeros(32, FP32)])
        return source, target, left, right

    def contents(self, handle, offset=0):
        return shm.get_contents_as_numpy(handle, FP32, [1, 16], offset)

    def assert_sums(self, target, left, right):
        np.testing.assert_array_equal(self.contents(target), left + right)
        np.testing.assert_array_equal(self.contents(target, 64), left - right)
        shm.set_shared_memory_region(target, [np.zeros(32, FP32)])


class Regions(SharedMemoryTest):
    """Registering them, and what is told of them."""

    def test_a_region_of_one_client_is_every_clients(self):
        handle = self.memory(64)
        self.http.register_system_shared_memory("a", handle.key, 48, offset=16)
        row = {"name": "a", "key": handle.key, "offset": 16, "byte_size": 48}
        self.assertEqual(self.http.get_system_shared_memory_status(), [row])
        self.assertEqual(self.http.get_system_shared_memory_status("a"), [row])
        self.grpc.register_system_shared_memory("b ö?", handle.key, 64)
        status = self.grpc.get_system_shared_memory_status(as_json=True)["regions"]
        self.assertEqual(set(status), {"a", "b ö?"})
        self.assertEqual(status["a"]["offset"], "16")
        self.assertEqual(self.http.get_system_shared_memory_status("b ö?")[0]["byte_size"], 64)
        self.http.unregister_system_shared_memory("b ö?")
        self.grpc.unregister_system_shared_memory("a")
        self.assertEqual(self.http.get_system_shared_memory_status(), [])
        self.grpc.unregister_system_shared_memory("a")

    def test_a_name_is_taken_once(self):
        handle = self.region("r", 64)
        self.assert_both_fail(
            lambda: self.http.register_system_shared_memory("r", handle.key, 64),
            lambda: self.grpc.register_system_shared_memory("r", handle.key, 64),
            "shared memory region 'r' already in manager",
            400,
            "ALREADY_EXISTS",
        )

    def test_unknown_regions_have_no_status(self):
        self.assert_both_fail(
            lambda: self.http.get_system_shared_memory_status("x"),
            lambda: self.grpc.get_system_shared_memory_status("x"),
            "Unable to find system shared memory region: 'x'",
            404,
            "NOT_FOUND",
        )

    def assert_not_registered(self, fragment, key, byte_size, offset=0):
        self.assert_both_fail(
            lambda: self.http.register_system_shared_memory("r", key, byte_size, offset),
            lambda: self.grpc.register_system_shared_memory("r", key, byte_size, offset),
            fragment,
            400,
            "INVALID_ARGUMENT",
        )

    def test_memory_must_be_there_and_large_enough(self):
        key = self.memory(64).key
        size = os.stat(f"/dev/shm{key}").st_size
        invalid = "failed to register shared memory region 'r': invalid args"
        for key, byte_size, offset in [
            ("/despina-nowhere", 64, 0),
            (key, size + 1, 0),
            (key, size, 1),
            (key, 1, size),
            (key, 0, 0),
            (key, 1, 2**63 - 1),
            (key, 2**63, 2**63),
            (key, 2**64 - 1, 1),
        ]:
            self.assert_not_registered(invalid, key, byte_size, offset)

    def test_keys_do_not_lead_out_of_shared_memory(self):
        for key in ["/../../etc/hostname", "../x", "/a/b", "", "/", ".."]:
            self.assert_not_registered("a key is one name", key, 1)
        key = f"/despina-{os.urandom(6).hex()}"
        os.symlink("/etc/hostname", f"/dev/shm{key}")
        self.addCleanup(os.unlink, f"/dev/shm{key}")
        self.assert_not_registered("invalid args", key, 1)
        reserved = "/triton_python_backend_shm_region_1"
        self.assert_not_registered(
            f"cannot register shared memory region 'r' with key '{reserved}' as the key contains "
            "the reserved prefix 'triton_python_backend_shm_region_'",
            reserved,
            1,
        )

    def test_there_is_no_cuda_memory_to_register(self):
        words = "failed to register CUDA shared memory region: 'c', GPUs not supported"
        handle = b"A" * 86 + b"=="  # 64 bytes in base64
        self.assert_fails(
            lambda: self.http.register_cuda_shared_memory("c", handle, 0, 64), words, http=400
        )
        self.assert_fails(
            lambda: self.grpc.register_cuda_shared_memory("c", handle, 0, 64),
            words,
            code="INVALID_ARGUMENT",
        )
        self.assertEqual(self.http.get_cuda_shared_memory_status(), [])
        self.grpc.unregister_cuda_shared_memory("c")
        self.http.unregister_cuda_shared_memory()

    def test_only_what_is_there_is_an_extension(self):
        extensions = self.http.get_server_metadata()["extensions"]
        self.assertIn("system_shared_memory", extensions)
        self.assertNotIn("cuda_shared_memory", extensions)


class Inference(SharedMemoryTest):
    """Requests whose tensors are in regions."""

    def test_inputs_and_outputs_over_every_client(self):
        _, target, left, right = self.addsub_regions()
        for client, module in self.both():
            result = client.infer("addsub_fp32", **self.addsub(module))
            self.assert_sums(target, left, right)
            output = result.get_output("OUTPUT1")
            # The C++ client takes parameters of an output to be a binary tensor's.
            if module is httpclient:
                self.assertEqual(set(output), {"name", "datatype", "shape"})
            else:
                self.assertEqual(dict(output.parameters), {})
                self.assertEqual(list(result.get_response().raw_output_contents), [b"", b""])

        async def infer():
            async with http_aio.InferenceServerClient(HTTP) as client:
                await client.infer("addsub_fp32", **self.addsub(httpclient))
                self.assert_sums(target, left, right)
            async with grpc_aio.InferenceServerClient(GRPC) as client:
                await client.infer("addsub_fp32", **self.addsub(grpcclient))
                self.assert_sums(target, left, right)

        asyncio.run(infer())

    def test_shared_and_ordinary_tensors_mix(self):
        _, target, left, right = self.addsub_regions()
        for client, module in self.both():
            for binary in [True, False]:
                tensors = self.addsub(module)
                ordinary = module.InferInput("INPUT0", [1, 16], "FP32")
                wanted = module.InferRequestedOutput("OUTPUT1")
                if module is httpclient:
                    ordinary.set_data_from_numpy(left, binary_data=binary)
                    wanted = module.InferRequestedOutput("OUTPUT1", binary_data=binary)
                else:
                    ordinary.set_data_from_numpy(left)
                tensors["inputs"][0] = ordinary
                tensors["outputs"][1] = wanted
                result = client.infer("addsub_fp32", **tensors)
                np.testing.assert_array_equal(self.contents(target), left + right)
                self.assert_same(result.as_numpy("OUTPUT1"), left - right)

    def test_large_tensors(self):
        count = 1 << 20
        source, target = self.region("in", 8 * count), self.region("out", 8 * count)
        array = self.random.integers(0, 2**63, count, np.int64)
        shm.set_shared_memory_region(source, [array])
        for client, module in self.both():
            given = self.shared_input(module, "INPUT8", (1, count), "INT64", "in", 8 * count)
            inputs = [given] + self.other_inputs(module)
            wanted = self.shared_output(module, "OUTPUT8", "out", 8 * count)
            client.infer("nop", inputs, outputs=[wanted])
            got = shm.get_contents_as_numpy(target, np.int64, [count])
            np.testing.assert_array_equal(got, array)
            got[:] = 0

    def other_inputs(self, module):
        """The other thirteen inputs of `nop`, each of one element."""
        make = http_input if module is httpclient else grpc_input
        return [
            make(f"INPUT{index}", random_tensor(self.random, datatype, (1, 1)))
            for index, datatype in enumerate(DATATYPES)
            if datatype != "INT64"
        ]

    def test_strings(self):
        words = np.array([b"", "größer".encode(), b"x" * 1000], dtype=object)
        serialized = serialize_byte_tensor(words)
        byte_size = len(serialized.item())
        source, target = self.region("in", byte_size), self.region("out", 2 * byte_size)
        shm.set_shared_memory_region(source, [serialized])
        for client, module in self.both():
            inputs = [self.shared_input(module, "INPUT0", (3,), "BYTES", "in", byte_size)]
            outputs = [self.shared_output(module, "OUTPUT0", "out", 2 * byte_size)]
            client.infer("bytes_nobatch", inputs, outputs=outputs)
            got = shm.get_contents_as_numpy(target, np.object_, [3])
            self.assertEqual(list(got), list(words))

    def test_strings_are_checked_like_all_others(self):
        source = self.region("in", 64)
        shm.set_shared_memory_region(source, [np.full(64, 255, np.uint8)])
        for client, module in self.both():
            inputs = [self.shared_input(module, "INPUT0", (1,), "BYTES", "in", 64)]
            with self.assertRaisesRegex(InferenceServerException, "incomplete string data"):
                client.infer("bytes_nobatch", inputs)


class WrongReferences(SharedMemoryTest):
    """Requests that mean more than there is."""

    def assert_refused(self, fragment, http=400, code="INVALID_ARGUMENT", model="addsub_fp32", **places):
        self.assert_both_fail(
            lambda: self.http.infer(model, **self.addsub(httpclient, **places)),
            lambda: self.grpc.infer(model, **self.addsub(grpcclient, **places)),
            fragment,
            http,
            code,
        )

    def test_nothing_beyond_the_region_can_be_meant(self):
        _, target, left, right = self.addsub_regions()
        offset = "Invalid offset for shared memory region"
        both = "Invalid offset + byte size for shared memory region"
        self.assert_refused(offset, input_offset=128)
        self.assert_refused(offset, output_offset=2**63 - 1)
        self.assert_refused(both, input_size=129)
        self.assert_refused(both, output_size=2**63 - 1)
        self.assert_refused(both, output_offset=127, output_size=2)
        tensors = self.addsub(httpclient, output_offset=2**64 - 32)
        self.assert_fails(lambda: self.http.infer("addsub_fp32", **tensors), offset, http=400)
        np.testing.assert_array_equal(self.contents(target), np.zeros((1, 16)))

    def test_an_output_must_fit_what_was_set_aside(self):
        self.addsub_regions()
        words = (
            "shared memory size specified with the request for output 'OUTPUT0' (20 bytes) should "
            "be at least 64 bytes to hold the results"
        )
        self.assert_refused(words, 500, "INTERNAL", output_size=20)

    def test_an_input_must_be_as_large_as_its_shape(self):
        self.addsub_regions()
        self.assert_refused(
            "input byte size mismatch for input 'INPUT0' for model 'addsub_fp32'. "
            "Expected 64, got 128",
            input_size=128,
        )

    def test_unknown_regions_are_not_found(self):
        words = "Unable to find shared memory region: 'in'"
        self.assert_refused(words, 404, "NOT_FOUND")
        self.region("in", 128)
        self.assert_refused("Unable to find shared memory region: 'out'", 404, "NOT_FOUND")


class MemoryThatGoes(SharedMemoryTest):
    """Clients that take away what they registered spoil their own requests only."""

    def infer(self):
        for client, module in self.both():
            client.infer("addsub_fp32", **self.addsub(module))

    def assert_gone(self, region):
        words = f"shared memory region '{region}': its memory is smaller than it was"
        for client, module in self.both():
            with self.assertRaisesRegex(InferenceServerException, words):
                client.infer("addsub_fp32", **self.addsub(module))
        self.assertTrue(self.http.is_server_live())

    def test_truncated_inputs_and_outputs(self):
        source, target, left, right = self.addsub_regions()
        os.truncate(f"/dev/shm{source.key}", 100)
        self.assert_gone("in")
        os.truncate(f"/dev/shm{source.key}", 128)
        shm.set_shared_memory_region(source, [left, right])
        self.infer()
        self.assert_sums(target, left, right)
        path = f"/dev/shm{target.key}"
        os.truncate(path, 0)
        self.assert_gone("out")
        self.assertEqual(os.stat(path).st_size, 0, "the server made it longer")

    def test_memory_that_is_truncated_again_and_again(self):
        source, _, left, right = self.addsub_regions()
        path, end = f"/dev/shm{source.key}", threading.Event()

        def truncate():
            while not end.is_set():
                os.truncate(path, 0)
                os.truncate(path, 128)

        thread = threading.Thread(target=truncate)
        thread.start()
        try:
            outcomes = set()
            for _ in range(300):
                try:
                    self.infer()
                    outcomes.add("answered")
                except InferenceServerException as error:
                    self.assertIn("its memory is smaller", error.message())
                    outcomes.add("refused")
        finally:
            end.set()
            thread.join()
        self.assertTrue(outcomes)
        self.assertTrue(self.grpc.is_server_live())

    def test_removed_and_replaced_memory_is_still_the_one_that_was_registered(self):
        source, target, left, right = self.addsub_regions()
        for handle in [source, target]:
            os.unlink(f"/dev/shm{handle.key}")
            os.symlink("/etc/hostname", f"/dev/shm{handle.key}")
        self.infer()
        self.assert_sums(target, left, right)

    def test_requests_in_flight_keep_what_is_unregistered(self):
        source, target = self.region("in", 64), self.region("out", 64)
        array = self.random.standard_normal(16).astype(FP32)
        shm.set_shared_memory_region(source, [array])

        def infer(module, address):
            # HTTP clients cannot be used on another thread than their own.
            with module.InferenceServerClient(address) as client:
                inputs = [self.shared_input(module, "INPUT0", (16,), "FP32", "in", 64)]
                outputs = [self.shared_output(module, "OUTPUT0", "out", 64)]
                client.infer("slow", inputs, outputs=outputs)

        for module, address in [(httpclient, HTTP), (grpcclient, GRPC)]:
            shm.set_shared_memory_region(target, [np.zeros(16, FP32)])
            with ThreadPoolExecutor() as pool:
                # The first keeps the only instance busy, so that the second is seen to wait.
                answers = [pool.submit(infer, module, address) for _ in range(2)]
                # Twice in a row, as the first one waits too until the instance takes it.
                waits = lambda: self.pending() == 1 and self.pending() == 1
                wait_until("a request waits", waits)
                self.http.unregister_system_shared_memory()
                # As in Triton, they are there until the last request is done.
                self.assertEqual(self.names(), ["in", "out"])
                for answer in answers:
                    answer.result()
            wait_until("they are gone", lambda: self.names() == [])
            got = shm.get_contents_as_numpy(target, FP32, [16])
            np.testing.assert_array_equal(got, array)
            self.http.register_system_shared_memory("in", source.key, 64)
            self.http.register_system_shared_memory("out", target.key, 64)

    def names(self):
        return [region["name"] for region in self.http.get_system_shared_memory_status()]

    def pending(self):
        return metric("nv_inference_pending_request_count", "slow")
