"""The metrics page: names, types, labels and values are those that dashboards know."""

import re

import numpy as np
from support import *

COUNTERS = [
    "nv_inference_request_success",
    "nv_inference_request_failure",
    "nv_inference_count",
    "nv_inference_exec_count",
    "nv_inference_request_duration_us",
    "nv_inference_queue_duration_us",
    "nv_inference_compute_input_duration_us",
    "nv_inference_compute_infer_duration_us",
    "nv_inference_compute_output_duration_us",
]
GAUGES = ["nv_inference_pending_request_count", "nv_model_load_duration_secs"]


class Metrics(ConformanceTest):
    def page(self):
        status, headers, page = http_call("GET", "/metrics", address=METRICS)
        self.assertEqual(status, 200)
        self.assertTrue(headers["content-type"].startswith("text/plain"))
        return page.decode()

    def test_names_and_types(self):
        self.http.infer("complete", [http_input("INPUT0", np.zeros((1, 3), np.float32))])
        page = self.page()
        for names, kind in [(COUNTERS, "counter"), (GAUGES, "gauge")]:
            for name in names:
                self.assertEqual(page.count(f"# TYPE {name} {kind}\n"), 1, name)
                self.assertEqual(page.count(f"# HELP {name} "), 1, name)
                self.assertRegex(page, rf'(?m)^{name}\{{[^}}]*model="complete"', name)

    def test_the_page_is_well_formed(self):
        families = set()
        series = set()
        for line in self.page().splitlines():
            if line.startswith("# TYPE "):
                name = line.split()[2]
                self.assertNotIn(name, families)
                families.add(name)
            elif line and not line.startswith("#"):
                key, value = line.rsplit(" ", 1)
                float(value)
                self.assertNotIn(key, series)
                series.add(key)
                name = re.match(r"\w+", key).group()
                self.assertIn(re.sub("_(bucket|sum|count)$", "", name), {
                    re.sub("_(bucket|sum|count)$", "", family) for family in families
                })

    def test_a_trailing_slash_is_the_same_page(self):
        self.assertEqual(http_call("GET", "/metrics/", address=METRICS)[0], 200)

    def test_values_count_requests_rows_and_executions(self):
        zeros = np.zeros((2, 16), np.int32)
        before = {name: metric(name, "addsub_int32") or 0 for name in COUNTERS}
        for client, make in [(self.http, http_input), (self.grpc, grpc_input)]:
            for _ in range(3):
                client.infer("addsub_int32", [make("INPUT0", zeros), make("INPUT1", zeros)])
        grown = {name: metric(name, "addsub_int32") - before[name] for name in COUNTERS}
        self.assertEqual(grown["nv_inference_request_success"], 6)
        self.assertEqual(grown["nv_inference_count"], 12)
        self.assertEqual(grown["nv_inference_exec_count"], 6)
        self.assertEqual(grown["nv_inference_request_failure"], 0)
        self.assertGreater(grown["nv_inference_request_duration_us"], 0)
        self.assertGreaterEqual(
            grown["nv_inference_request_duration_us"],
            grown["nv_inference_compute_infer_duration_us"],
        )
        self.assertEqual(metric("nv_inference_pending_request_count", "addsub_int32"), 0)
        self.assertGreater(metric("nv_model_load_duration_secs", "addsub_int32"), 0)

    def test_versions_have_series_of_their_own(self):
        zeros = http_input("INPUT0", np.zeros((1, 4), np.float32))
        self.http.infer("versions", [zeros], model_version="1")
        self.assertEqual(metric("nv_inference_count", "versions", version="1"), 1)
        self.assertEqual(metric("nv_inference_count", "versions", version="2"), 0)

    def test_every_reason_of_failure_exists_from_the_start(self):
        for reason in ["REJECTED", "CANCELED", "BACKEND", "OTHER"]:
            value = metric("nv_inference_request_failure", "nop", reason=reason)
            self.assertEqual(value, 0, reason)

    def test_cpu_models_carry_no_gpu_label(self):
        for _, labels in metrics():
            if ("model", "complete") in labels:
                self.assertNotIn("gpu_uuid", dict(labels))


if __name__ == "__main__":
    unittest.main()
