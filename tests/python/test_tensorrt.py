"""Plans on a pretend GPU, run by a pretend TensorRT, as tritonclient sees them: every model answers with
its input."""

from support import *

TYPES = ["BOOL", "UINT8", "INT8", "INT32", "INT64", "FP16", "FP32", "BF16"]


class Plans(ConformanceTest):
    def test_every_datatype_over_both_protocols(self):
        for datatype in TYPES:
            model = f"plan_{datatype.lower()}"
            for rows in [1, 3, 8]:
                array = random_tensor(self.random, datatype, (rows, 4))
                for client, make in [(self.http, http_input), (self.grpc, grpc_input)]:
                    result = client.infer(model, [make("INPUT0", array)])
                    self.assert_same(result.as_numpy("OUTPUT0"), array)

    def test_the_configuration_is_completed_from_the_plan(self):
        config = self.grpc.get_model_config("plan_fp32").config
        self.assertEqual(
            (config.platform, config.backend, config.default_model_filename, config.max_batch_size),
            ("tensorrt_plan", "tensorrt", "model.plan", 8),
        )
        self.assertTrue(config.HasField("dynamic_batching"))
        metadata = self.http.get_model_metadata("plan_fp32")
        self.assertEqual(metadata["platform"], "tensorrt_plan")
        self.assertEqual(metadata["inputs"], [{"name": "INPUT0", "datatype": "FP32", "shape": [-1, 4]}])

    def test_what_the_engine_does_not_take_is_refused(self):
        with self.assertRaisesRegex(InferenceServerException, "must be <= 8|batch-size"):
            array = random_tensor(self.random, "FP32", (9, 4))
            self.http.infer("plan_fp32", [http_input("INPUT0", array)])
        with self.assertRaises(InferenceServerException):
            array = random_tensor(self.random, "FP32", (1, 5))
            self.grpc.infer("plan_fp32", [grpc_input("INPUT0", array)])
