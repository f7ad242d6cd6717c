"""Health, metadata, configuration, index and statistics, over HTTP, gRPC and asyncio."""

import asyncio
import json

import grpc
import numpy as np
import tritonclient.grpc.aio as grpcaio
import tritonclient.http.aio as httpaio
from support import *

EXTENSIONS = {
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "parameters",
    "statistics",
}


class Health(ConformanceTest):
    def test_the_server_and_its_models_are_live_and_ready(self):
        for client in [self.http, self.grpc]:
            self.assertTrue(client.is_server_live())
            self.assertTrue(client.is_server_ready())
            self.assertTrue(client.is_model_ready("addsub_fp32"))
            self.assertTrue(client.is_model_ready("addsub_fp32", "1"))

    def test_unknown_models_and_versions_are_not_ready_without_an_error(self):
        for client in [self.http, self.grpc]:
            self.assertFalse(client.is_model_ready("nowhere"))
            self.assertFalse(client.is_model_ready("addsub_fp32", "9"))

    def test_health_answers_have_the_bodies_of_the_open_inference_protocol(self):
        # Triton sends none; KServe's client reads them.
        for path, expected in [
            ("health/live", {"live": True}),
            ("health/ready", {"ready": True}),
            ("models/addsub_fp32/ready", {"name": "addsub_fp32", "ready": True}),
            ("models/addsub_fp32/versions/1/ready", {"name": "addsub_fp32", "ready": True}),
        ]:
            status, _, body = http_call("GET", f"/v2/{path}")
            self.assertEqual((status, json.loads(body)), (200, expected))

    def test_the_standard_grpc_health_service_says_serving(self):
        with grpc.insecure_channel(GRPC) as channel:
            check = channel.unary_unary("/grpc.health.v1.Health/Check")
            self.assertEqual(check(b""), b"\x08\x01")

    def test_asyncio_clients_see_the_same(self):
        async def ask():
            async with httpaio.InferenceServerClient(HTTP) as client:
                self.assertTrue(await client.is_server_live())
                self.assertTrue(await client.is_server_ready())
                self.assertFalse(await client.is_model_ready("nowhere"))
                names = {entry["name"] for entry in await client.get_model_repository_index()}
                self.assertIn("addsub_fp32", names)
            async with grpcaio.InferenceServerClient(GRPC) as client:
                self.assertTrue(await client.is_server_ready())
                self.assertTrue(await client.is_model_ready("addsub_fp32"))
                metadata = await client.get_model_metadata("addsub_fp32", as_json=True)
                self.assertEqual(metadata["name"], "addsub_fp32")

        asyncio.run(ask())


class Metadata(ConformanceTest):
    def test_the_server_names_itself_and_its_extensions(self):
        from_http = self.http.get_server_metadata()
        from_grpc = self.grpc.get_server_metadata()
        for name, version, extensions in [
            (from_http["name"], from_http["version"], from_http["extensions"]),
            (from_grpc.name, from_grpc.version, from_grpc.extensions),
        ]:
            self.assertEqual(name, "triton")
            self.assertTrue(version)
            self.assertLessEqual(EXTENSIONS, set(extensions))

    def test_a_batching_model_shows_a_variable_first_dimension(self):
        want = {
            "name": "addsub_fp32",
            "versions": ["1"],
            "platform": "onnxruntime_onnx",
            "inputs": [
                {"name": "INPUT0", "datatype": "FP32", "shape": [-1, 16]},
                {"name": "INPUT1", "datatype": "FP32", "shape": [-1, 16]},
            ],
            "outputs": [
                {"name": "OUTPUT0", "datatype": "FP32", "shape": [-1, 16]},
                {"name": "OUTPUT1", "datatype": "FP32", "shape": [-1, 16]},
            ],
        }
        self.assertEqual(self.http.get_model_metadata("addsub_fp32"), want)
        proto = self.grpc.get_model_metadata("addsub_fp32")
        self.assertEqual((proto.name, list(proto.versions)), ("addsub_fp32", ["1"]))
        self.assertEqual(proto.platform, "onnxruntime_onnx")
        for tensors, rows in [(proto.inputs, "inputs"), (proto.outputs, "outputs")]:
            got = [
                {"name": t.name, "datatype": t.datatype, "shape": list(t.shape)} for t in tensors
            ]
            self.assertEqual(got, want[rows])

    def test_a_model_without_batching_shows_its_own_dimensions(self):
        metadata = self.http.get_model_metadata("variable")
        self.assertEqual(metadata["inputs"][0]["shape"], [-1, -1])
        self.assertEqual(metadata["outputs"][1]["shape"], [2])

    def test_a_backend_without_a_platform_stands_in_for_it(self):
        self.assertEqual(self.http.get_model_metadata("nop")["platform"], "identity")

    def test_versions_are_all_ready_ones_or_the_one_asked_for(self):
        self.assertEqual(
            sorted(self.http.get_model_metadata("versions")["versions"]), ["1", "2"]
        )
        self.assertEqual(self.http.get_model_metadata("versions", "2")["versions"], ["2"])
        self.assertEqual(list(self.grpc.get_model_metadata("versions", "1").versions), ["1"])

    def test_unknown_models_have_no_metadata(self):
        self.assert_both_fail(
            lambda: self.http.get_model_metadata("nowhere"),
            lambda: self.grpc.get_model_metadata("nowhere"),
            "Request for unknown model: 'nowhere' is not found",
            404,
            "NOT_FOUND",
        )


class Configuration(ConformanceTest):
    def test_the_configuration_is_complete_and_in_proto_names(self):
        config = self.http.get_model_config("addsub_fp32")
        self.assertEqual(config["name"], "addsub_fp32")
        self.assertEqual(config["backend"], "onnxruntime")
        self.assertEqual(config["max_batch_size"], 8)
        self.assertEqual([i["name"] for i in config["input"]], ["INPUT0", "INPUT1"])
        self.assertEqual(config["input"][0]["data_type"], "TYPE_FP32")
        self.assertEqual(config["input"][0]["dims"], [16])
        self.assertEqual(config["dynamic_batching"]["preferred_batch_size"], [8])
        self.assertEqual(config["dynamic_batching"]["max_queue_delay_microseconds"], 0)
        self.assertEqual(config["instance_group"][0]["kind"], "KIND_CPU")
        self.assertEqual(config["version_policy"], {"latest": {"num_versions": 1}})

    def test_primitive_defaults_are_written_out_and_numbers_are_numbers(self):
        config = self.http.get_model_config("matmul")
        self.assertIs(config["input"][0]["allow_ragged_batch"], False)
        self.assertIs(config["input"][0]["optional"], False)
        self.assertEqual(config["dynamic_batching"]["max_queue_delay_microseconds"], 500)

    def test_http_and_grpc_agree(self):
        for model in ["addsub_fp32", "casts", "nop", "complete", "small_queue"]:
            from_http = self.http.get_model_config(model)
            proto = self.grpc.get_model_config(model).config
            self.assertEqual(proto.max_batch_size, from_http["max_batch_size"])
            self.assertEqual(proto.backend, from_http["backend"])
            self.assertEqual([i.name for i in proto.input], [i["name"] for i in from_http["input"]])
            self.assertEqual(
                [list(o.dims) for o in proto.output], [o["dims"] for o in from_http["output"]]
            )

    def test_a_missing_configuration_is_completed_from_the_model(self):
        config = self.http.get_model_config("complete")
        self.assertEqual(config["name"], "complete")
        self.assertEqual(config["backend"], "onnxruntime")
        self.assertEqual(config["max_batch_size"], 4)
        self.assertIn("dynamic_batching", config)
        self.assertEqual(
            [(i["name"], i["data_type"], i["dims"]) for i in config["input"]],
            [("INPUT0", "TYPE_FP32", [3])],
        )
        self.assertEqual(
            [(o["name"], o["data_type"], o["dims"]) for o in config["output"]],
            [("OUTPUT0", "TYPE_FP32", [3])],
        )


class Index(ConformanceTest):
    def test_every_model_is_listed_ready(self):
        want = {folder.name for folder in REPOSITORY.iterdir()}
        from_http = self.http.get_model_repository_index()
        self.assertEqual({entry["name"] for entry in from_http}, want)
        self.assertEqual({entry["state"] for entry in from_http}, {"READY"})
        from_grpc = self.grpc.get_model_repository_index().models
        self.assertEqual(
            {(m.name, m.version, m.state) for m in from_grpc},
            {(e["name"], e["version"], e["state"]) for e in from_http},
        )

    def test_each_version_has_an_entry(self):
        entries = self.http.get_model_repository_index()
        versions = {e["version"] for e in entries if e["name"] == "versions"}
        self.assertEqual(versions, {"1", "2"})

    def test_the_index_takes_a_body_or_none(self):
        for body in [b"", {}, {"ready": True}, {"ready": False}]:
            status, headers, answer = http_call("POST", "/v2/repository/index", body)
            self.assertEqual(status, 200, answer)
            self.assertEqual(headers["content-type"], "application/json")
            self.assertTrue(json.loads(answer))

    def test_loading_needs_explicit_mode(self):
        self.assert_both_fail(
            lambda: self.http.load_model("complete"),
            lambda: self.grpc.load_model("complete"),
            "explicit model load / unload is not allowed if polling is enabled",
            503,
            "UNAVAILABLE",
        )
        self.assert_both_fail(
            lambda: self.http.unload_model("complete"),
            lambda: self.grpc.unload_model("complete"),
            "explicit model load / unload is not allowed if polling is enabled",
            503,
            "UNAVAILABLE",
        )
        self.assertTrue(self.http.is_model_ready("complete"))


class Statistics(ConformanceTest):
    def test_counts_rows_requests_and_executions(self):
        array = np.ones((3, 16), np.int64)
        inputs = [grpc_input("INPUT0", array), grpc_input("INPUT1", array)]
        before = self.http.get_inference_statistics("addsub_int64")["model_stats"][0]
        for _ in range(5):
            self.grpc.infer("addsub_int64", inputs)
        after = self.http.get_inference_statistics("addsub_int64", "1")["model_stats"][0]
        self.assertEqual((after["name"], after["version"]), ("addsub_int64", "1"))
        self.assertEqual(after["inference_count"] - before["inference_count"], 15)
        self.assertEqual(after["execution_count"] - before["execution_count"], 5)
        self.assertGreater(after["last_inference"], before["last_inference"])
        for name in ["success", "queue", "compute_input", "compute_infer", "compute_output"]:
            grown = (
                after["inference_stats"][name]["count"] - before["inference_stats"][name]["count"]
            )
            self.assertEqual(grown, 5, name)
        self.assertGreater(after["inference_stats"]["success"]["ns"], 0)
        self.assertGreater(after["inference_stats"]["compute_infer"]["ns"], 0)
        batch = {row["batch_size"]: row for row in after["batch_stats"]}
        self.assertEqual(batch[3]["compute_infer"]["count"], after["execution_count"])

    def test_http_and_grpc_agree(self):
        array = np.ones((1, 16), np.int32)
        self.http.infer(
            "addsub_int32", [http_input("INPUT0", array), http_input("INPUT1", array)]
        )
        row = self.http.get_inference_statistics("addsub_int32")["model_stats"][0]
        proto = self.grpc.get_inference_statistics("addsub_int32").model_stats[0]
        self.assertEqual(proto.inference_count, row["inference_count"])
        self.assertEqual(proto.execution_count, row["execution_count"])
        self.assertEqual(proto.last_inference, row["last_inference"])
        for name in ["success", "fail", "queue", "cache_hit", "cache_miss"]:
            duration = getattr(proto.inference_stats, name)
            self.assertEqual(duration.count, row["inference_stats"][name]["count"], name)
            self.assertEqual(duration.ns, row["inference_stats"][name]["ns"], name)

    def test_failures_after_validation_and_before_are_told_apart(self):
        array = np.ones((1, 15), np.float64)
        before = self.http.get_inference_statistics("addsub_fp64")["model_stats"][0]
        with self.assertRaises(InferenceServerException):
            self.http.infer("addsub_fp64", [http_input("INPUT0", array)])
        after = self.http.get_inference_statistics("addsub_fp64")["model_stats"][0]
        self.assertEqual(before["inference_count"], after["inference_count"])
        self.assertEqual(before["execution_count"], after["execution_count"])

    def test_without_a_name_every_ready_version_is_listed(self):
        rows = self.http.get_inference_statistics()["model_stats"]
        listed = {(row["name"], row["version"]) for row in rows}
        self.assertLessEqual({("versions", "1"), ("versions", "2"), ("nop", "1")}, listed)
        self.assertEqual(len(listed), len(rows))
        from_grpc = self.grpc.get_inference_statistics().model_stats
        self.assertEqual({(row.name, row.version) for row in from_grpc}, listed)


if __name__ == "__main__":
    unittest.main()
