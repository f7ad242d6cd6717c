"""The logging extension. The server writes its log to a file beside the repository."""

import json

from support import *

LOG = REPOSITORY.parent / "server.log"
DEFAULTS = {
    "log_file": str(LOG),
    "log_info": True,
    "log_warning": True,
    "log_error": True,
    "log_verbose_level": 0,
    "log_format": "default",
}


def post(settings):
    status, _, body = http_call("POST", "/v2/logging", settings)
    return status, json.loads(body)


class Logging(ConformanceTest):
    def setUp(self):
        super().setUp()
        self.addCleanup(post, {k: v for k, v in DEFAULTS.items() if k != "log_file"})

    def as_dict(self, response):
        settings = response.settings.items()
        return {name: getattr(value, value.WhichOneof("parameter_choice"))
                for name, value in settings}

    def logged_by(self, act):
        """What the server logs meanwhile; it writes a line before it answers."""
        before = LOG.stat().st_size
        act()
        with LOG.open() as log:
            log.seek(before)
            return log.read()

    def ask(self):
        self.http.get_model_metadata("nop")

    def test_every_setting_is_shown(self):
        self.assertEqual(self.http.get_log_settings(), DEFAULTS)
        self.assertEqual(self.as_dict(self.grpc.get_log_settings()), DEFAULTS)
        self.assertEqual(self.grpc.get_log_settings(as_json=True)["settings"]["log_info"],
                         {"bool_param": True})

    def test_settings_are_changed_and_the_rest_stays(self):
        changes = [
            {"log_info": False},
            {"log_warning": False, "log_error": False},
            {"log_verbose_level": 2},
            {"log_format": "ISO8601"},
            {"log_format": "json"},
            {"log_info": True, "log_format": "default", "log_verbose_level": 0},
        ]
        expected = dict(DEFAULTS)
        for index, change in enumerate(changes):
            expected.update(change)
            if index % 2:
                self.assertEqual(self.http.update_log_settings(change), expected)
            else:
                self.assertEqual(self.as_dict(self.grpc.update_log_settings(change)), expected)
            self.assertEqual(self.http.get_log_settings(), expected)

    def test_null_leaves_a_setting_as_it_is(self):
        settings = {"log_file": None, "log_info": None, "log_format": None}
        self.assertEqual(self.http.update_log_settings(settings), DEFAULTS)

    def test_a_change_holds_from_the_next_line_on(self):
        self.assertEqual(self.logged_by(self.ask), "")
        self.http.update_log_settings({"log_verbose_level": 1})
        self.assertIn("DEBUG", self.logged_by(self.ask))
        self.grpc.update_log_settings({"log_format": "ISO8601"})
        line = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z V \d+ src/api/http/mod.rs:\d+\] http "
        self.assertRegex(self.logged_by(self.ask), line)
        self.http.update_log_settings({"log_format": "json"})
        entry = json.loads(self.logged_by(self.ask).splitlines()[0])
        self.assertEqual((entry["level"], entry["status"]), ("DEBUG", 200))
        self.grpc.update_log_settings({"log_verbose_level": 0})
        self.assertEqual(self.logged_by(self.ask), "")

    def test_levels_can_be_silenced(self):
        change = lambda: self.http.update_log_settings({"log_warning": True})
        self.assertIn("logging was changed", self.logged_by(change))
        self.http.update_log_settings({"log_info": False})
        self.assertEqual(self.logged_by(change), "")

    def test_the_file_is_fixed(self):
        for settings in [{"log_file": "other.log"}, {"log_info": False, "log_file": "other.log"}]:
            self.assert_both_fail(
                lambda: self.http.update_log_settings(settings),
                lambda: self.grpc.update_log_settings(settings),
                "log file location can not be updated through network protocol",
                501,
                "UNIMPLEMENTED",
            )
            self.assertEqual(self.http.get_log_settings(), DEFAULTS)

    def test_what_is_no_setting_or_no_value_is_refused(self):
        for settings in [
            {"log_info": 1},
            {"log_warning": "true"},
            {"log_verbose_level": -1},
            {"log_verbose_level": "1"},
            {"log_format": "xml"},
            {"log_level": 1},
            {"log_info": False, "log_format": "xml"},
            [],
        ]:
            status, answer = post(settings)
            self.assertEqual(status, 400, answer)
            self.assertEqual(self.http.get_log_settings(), DEFAULTS)
        self.assert_fails(
            lambda: self.grpc.update_log_settings({"log_format": "xml"}),
            "invalid argument for log_format, got: xml",
            code="INVALID_ARGUMENT",
        )
        self.assertEqual(http_call("DELETE", "/v2/logging")[0], 405)

    def test_the_extension_is_listed(self):
        self.assertIn("logging", self.http.get_server_metadata()["extensions"])


if __name__ == "__main__":
    unittest.main()
