"""A polled repository. The server starts with `versions` (latest only) and polls each second."""

import shutil
import time

import numpy as np
from support import *


class Poll(ConformanceTest):
    def adds(self, model):
        """What the model adds; None while it does not answer."""
        zero = np.zeros((1, 4), np.float32)
        try:
            result = self.http.infer(model, [http_input("INPUT0", zero)])
            return result.as_numpy("OUTPUT0")[0, 0]
        except InferenceServerException:
            return None

    def states(self, model):
        return [
            entry.get("state")
            for entry in self.http.get_model_repository_index()
            if entry["name"] == model
        ]

    def seed(self, model, versions):
        """A model of the fixture's versions that serves the latest, renamed into place."""
        staged = REPOSITORY.parent / f"staged-{model}"
        staged.mkdir()
        for version in versions:
            shutil.copytree(REPOSITORY / "versions" / version, staged / version)
        config = (REPOSITORY / "versions/config.pbtxt").read_text()
        config = config.replace("all { }", "latest { num_versions: 1 }")
        (staged / "config.pbtxt").write_text(config)
        staged.rename(REPOSITORY / model)
        wait_until(f"{model} is served", lambda: self.adds(model) == int(versions[-1]))

    def test_a_model_renamed_into_place_is_served_and_one_removed_is_not(self):
        self.seed("fresh", ["1"])
        self.assertEqual(self.states("fresh"), ["READY"])
        (REPOSITORY / "fresh").rename(REPOSITORY.parent / "gone")
        wait_until("it is unloaded", lambda: "READY" not in self.states("fresh"))
        self.assertIsNone(self.adds("fresh"))

    def test_a_newer_version_takes_over_without_a_gap(self):
        self.seed("rolling", ["1"])
        place(REPOSITORY / "versions/2", REPOSITORY / "rolling/2")
        answers = []
        wait_until("2 answers", lambda: answers.append(self.adds("rolling")) or answers[-1] == 2)
        self.assertEqual(set(answers[:-1]) - {1}, set(), "no answer was missing or wrong")
        wait_until("1 is gone", lambda: not self.http.is_model_ready("rolling", "1"))
        shutil.rmtree(REPOSITORY / "rolling/2")
        wait_until("1 is back", lambda: self.adds("rolling") == 1)

    def test_a_version_that_is_still_being_copied_is_not_loaded(self):
        self.seed("copied", ["1"])
        source = (REPOSITORY / "versions/2/model.onnx").read_bytes()
        folder = REPOSITORY / "copied/2"
        folder.mkdir()
        seen = set()
        with (folder / "model.onnx").open("wb") as target:
            # Slower than two polls: a copy of which every poll sees another half.
            pieces = 15
            for i in range(pieces):
                target.write(source[i * len(source) // pieces : (i + 1) * len(source) // pieces])
                target.flush()
                pause = time.monotonic() + 0.2
                while time.monotonic() < pause:
                    seen.add(self.adds("copied"))
                    self.assertNotIn("UNAVAILABLE", self.states("copied"))
        self.assertEqual(seen, {1})
        wait_until("2 answers", lambda: self.adds("copied") == 2)

    def test_a_broken_version_keeps_the_old_one_and_says_so(self):
        self.seed("mended", ["1"])
        broken = REPOSITORY.parent / "broken"
        broken.mkdir()
        (broken / "model.onnx").write_bytes(b"no model")
        broken.rename(REPOSITORY / "mended/2")
        wait_until(
            "the failure shows in the index", lambda: "UNAVAILABLE" in self.states("mended")
        )
        self.assertEqual(self.adds("mended"), 1)
        place(REPOSITORY / "versions/2", REPOSITORY / "mended/3")
        wait_until("a good version takes over", lambda: self.adds("mended") == 2)

    def test_loading_by_api_is_refused(self):
        self.assert_both_fail(
            lambda: self.http.load_model("versions"),
            lambda: self.grpc.load_model("versions"),
            "explicit model load / unload is not allowed if polling is enabled",
            503,
            "UNAVAILABLE",
        )


if __name__ == "__main__":
    unittest.main()
