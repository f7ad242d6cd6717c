"""Loading and unloading by API. The server starts with `complete` alone."""

import json
import pathlib
import shutil

import numpy as np
from support import *


def states(client):
    return {
        (entry["name"], entry.get("version")): entry.get("state")
        for entry in client.get_model_repository_index()
    }


def adds(client, model="versions", version=""):
    zero = np.zeros((1, 4), np.float32)
    result = client.infer(model, [http_input("INPUT0", zero)], model_version=version)
    return result.as_numpy("OUTPUT0")[0, 0]


class Explicit(ConformanceTest):
    def setUp(self):
        super().setUp()
        self.addCleanup(self.unload_all)

    def unload_all(self):
        for name in ["versions", "nop", "broken", "moving", "sent"]:
            self.grpc.unload_model(name)
        wait_until("all are unloaded", lambda: "READY" not in {
            state for (name, _), state in states(self.http).items() if name != "complete"
        })

    def copy(self, name, versions, config=""):
        """A model whose versions are those of `versions`, renamed into place."""
        source = REPOSITORY / "versions"
        staged = REPOSITORY.parent / f"staged-{name}"
        staged.mkdir()
        for version, original in versions.items():
            shutil.copytree(source / original, staged / version)
        text = (source / "config.pbtxt").read_text() + config
        (staged / "config.pbtxt").write_text(text)
        self.addCleanup(shutil.rmtree, REPOSITORY / name)
        staged.rename(REPOSITORY / name)
        return REPOSITORY / name

    def test_only_the_named_models_are_loaded_at_start(self):
        self.assertEqual(states(self.http)["complete", "1"], "READY")
        self.assertNotIn("READY", [s for (n, _), s in states(self.http).items() if n == "nop"])
        self.assertTrue(self.http.is_server_ready())
        self.assertFalse(self.http.is_model_ready("nop"))

    def test_models_that_were_never_loaded_have_only_a_name(self):
        entries = [e for e in self.http.get_model_repository_index() if e["name"] == "simulated"]
        self.assertEqual(entries, [{"name": "simulated"}])

    def test_the_index_can_be_limited_to_ready_models(self):
        body = http_call("POST", "/v2/repository/index", {"ready": True})[2]
        self.assertEqual([entry["name"] for entry in json.loads(body)], ["complete"])

    def test_load_and_unload_over_each_protocol(self):
        for client in [self.http, self.grpc]:
            client.load_model("versions")
            # A load has finished when it is answered.
            self.assertEqual(adds(self.http), 2)
            self.assertEqual(states(self.http)["versions", "1"], "READY")
            client.unload_model("versions")
            wait_until("it is unloaded", lambda: not self.http.is_model_ready("versions"))
            with self.assertRaises(InferenceServerException) as caught:
                adds(self.http)
            self.assertIn("Request for unknown model: 'versions'", caught.exception.message())

    def test_series_of_unloaded_models_disappear(self):
        self.http.load_model("versions")
        adds(self.http)
        self.assertEqual(metric("nv_inference_count", "versions"), 1)
        self.http.unload_model("versions")
        wait_until("series are gone", lambda: metric("nv_inference_count", "versions") is None)

    def test_unloading_what_is_not_loaded_succeeds(self):
        self.http.unload_model("nowhere")
        self.grpc.unload_model("simulated")

    def test_loading_what_does_not_exist_fails(self):
        for client in [self.http, self.grpc]:
            with self.assertRaises(InferenceServerException) as caught:
                client.load_model("nowhere")
            self.assertIn("failed to load 'nowhere'", caught.exception.message())

    def test_names_cannot_leave_the_repository(self):
        outside = REPOSITORY.parent / "outside"
        shutil.copytree(REPOSITORY / "nop", outside)
        self.addCleanup(shutil.rmtree, outside)
        for name in ["../outside", "..", ".", "nop/../../outside", str(outside), "", "a\0b"]:
            with self.subTest(name=name):
                request = service_pb2.RepositoryModelLoadRequest(model_name=name)
                with self.assertRaises(grpc.RpcError):
                    self.stub.RepositoryModelLoad(request)
                with self.assertRaises(InferenceServerException):
                    self.http.load_model(name)
        self.assertNotIn("outside", {name for name, _ in states(self.http)})

    def test_a_reload_takes_the_new_files(self):
        folder = self.copy("moving", {"1": "1"})
        self.http.load_model("moving")
        self.assertEqual(adds(self.http, "moving"), 1)
        replacement = folder.parent.parent / "replacement.onnx"
        shutil.copy(REPOSITORY / "versions/2/model.onnx", replacement)
        replacement.rename(folder / "1/model.onnx")
        self.assertEqual(adds(self.http, "moving"), 1)
        self.http.load_model("moving")
        self.assertEqual(adds(self.http, "moving"), 2)

    def test_a_reload_follows_the_version_policy(self):
        folder = self.copy("moving", {"1": "1", "2": "2"})
        self.http.load_model("moving")
        self.assertEqual((adds(self.http, "moving", "1"), adds(self.http, "moving")), (1, 2))
        config = (folder / "config.pbtxt").read_text()
        config = config.replace("all { }", "specific { versions: [ 1 ] }")
        (folder / "config.pbtxt").write_text(config)
        self.grpc.load_model("moving")
        self.assertEqual(adds(self.http, "moving"), 1)
        self.assert_fails(lambda: adds(self.http, "moving", "2"), "is not at ready state", 503)

    def test_a_load_of_unchanged_files_keeps_the_statistics(self):
        self.http.load_model("versions")
        adds(self.http)
        self.http.load_model("versions")
        self.assertEqual(metric("nv_inference_count", "versions", version="2"), 1)

    def test_a_failed_load_says_why_and_keeps_what_was_serving(self):
        folder = self.copy("broken", {"1": "1"})
        self.http.load_model("broken")
        good = (folder / "1/model.onnx").read_bytes()
        (folder / "1/model.onnx").write_bytes(good[: len(good) // 2])
        self.assert_both_fail(
            lambda: self.http.load_model("broken"),
            lambda: self.grpc.load_model("broken"),
            "load failed for model 'broken': version 1 is at UNAVAILABLE state:",
            400,
            "INVALID_ARGUMENT",
        )
        self.assertEqual(adds(self.http, "broken"), 1)
        (folder / "1/model.onnx").write_bytes(good)
        self.http.load_model("broken")
        self.assertEqual(adds(self.http, "broken"), 1)

    def test_one_bad_version_keeps_all_new_versions_out(self):
        folder = self.copy("broken", {"1": "1"})
        self.http.load_model("broken")
        shutil.copytree(REPOSITORY / "versions/2", folder / "2")
        (folder / "3").mkdir()
        (folder / "3/model.onnx").write_bytes(b"no model")
        self.assert_fails(lambda: self.http.load_model("broken"), "load failed", http=400)
        self.assertEqual(adds(self.http, "broken"), 1)
        self.assert_fails(lambda: adds(self.http, "broken", "2"), "is not at ready state", 503)

    def test_a_bad_configuration_keeps_what_was_serving(self):
        folder = self.copy("broken", {"1": "1"})
        self.http.load_model("broken")
        with (folder / "config.pbtxt").open("a") as config:
            config.write("max_batch_sizes: 3\n")
        for call in [self.http.load_model, self.grpc.load_model]:
            with self.assertRaises(InferenceServerException) as caught:
                call("broken")
            self.assertIn("broken", caught.exception.message())
        self.assertEqual(adds(self.http, "broken"), 1)

    def test_a_configuration_override_holds_until_the_next_plain_load(self):
        self.http.load_model("versions")
        config = self.http.get_model_config("versions")
        self.assertEqual(config["max_batch_size"], 4)
        config["max_batch_size"] = 2
        for client in [self.http, self.grpc]:
            client.load_model("versions", config=json.dumps(config))
            self.assertEqual(self.http.get_model_config("versions")["max_batch_size"], 2)
            self.http.load_model("versions")
            self.assertEqual(self.http.get_model_config("versions")["max_batch_size"], 4)

    def test_a_bad_override_is_refused_and_changes_nothing(self):
        self.http.load_model("versions")
        for config in ["{", "[]", '{"max_batch_sizes": 3}', '{"max_batch_size": -1}']:
            with self.assertRaises(InferenceServerException):
                self.http.load_model("versions", config=config)
            self.assertEqual(self.http.get_model_config("versions")["max_batch_size"], 4)
            self.assertEqual(adds(self.http), 2)

    def sent_files(self, config, version="1"):
        """A configuration and the file of version 1, to be served as another version."""
        content = (REPOSITORY / "versions/1/model.onnx").read_bytes()
        return {"config": json.dumps(config), "files": {f"file:{version}/model.onnx": content}}

    def test_files_that_come_with_a_load_are_served_until_the_next_plain_load(self):
        for client in [self.http, self.grpc]:
            self.http.load_model("versions")
            self.assertEqual(adds(self.http), 2)
            client.load_model("versions", **self.sent_files({"backend": "onnxruntime"}, "7"))
            self.assertEqual(adds(self.http, version="7"), 1)
            with self.assertRaises(InferenceServerException):
                adds(self.http, version="2")
            self.assertEqual(self.http.get_model_metadata("versions")["versions"], ["7"])
            self.http.load_model("versions")
            self.assertEqual(adds(self.http), 2)
            with self.assertRaises(InferenceServerException):
                adds(self.http, version="7")

    def test_files_can_make_a_model_that_the_repository_does_not_have(self):
        for client in [self.http, self.grpc]:
            client.load_model("sent", **self.sent_files({"backend": "onnxruntime"}))
            self.assertEqual(adds(self.http, "sent"), 1)
            client.unload_model("sent", unload_dependents=True)
            wait_until("it is unloaded", lambda: not self.http.is_model_ready("sent"))
            self.assertFalse((REPOSITORY / "sent").exists())
            with self.assertRaises(InferenceServerException) as caught:
                client.load_model("sent")
            self.assertIn("failed to load 'sent'", caught.exception.message())

    def test_files_need_a_configuration_and_stay_inside_the_model(self):
        self.http.load_model("versions")
        failed = "failed to load 'versions', failed to poll from model repository"
        for client in [self.http, self.grpc]:
            for wrong in [
                {"files": {"file:1/model.onnx": b"x"}},
                {"config": "{}", "files": {"file:../versions/2/model.onnx": b"x"}},
                {"config": "{}", "files": {"file:/tmp/escaped": b"x"}},
                {"config": "{}", "files": {"file:1/a": b"x", "file:1/a/b": b"x"}},
            ]:
                with self.assertRaises(InferenceServerException) as caught:
                    client.load_model("versions", **wrong)
                self.assertIn(failed, caught.exception.message())
        self.assertFalse(pathlib.Path("/tmp/escaped").exists())
        self.assertEqual(adds(self.http), 2)

    def test_sent_files_that_cannot_be_loaded_change_nothing(self):
        self.http.load_model("versions")
        for client in [self.http, self.grpc]:
            with self.assertRaises(InferenceServerException) as caught:
                config = json.dumps({"backend": "onnxruntime"})
                client.load_model("versions", config=config, files={"file:1/model.onnx": b"no"})
            self.assertIn("load failed for model 'versions'", caught.exception.message())
            self.assertEqual(adds(self.http), 2)


if __name__ == "__main__":
    unittest.main()
