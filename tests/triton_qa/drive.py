"""Runs the unittest classes of one file, in the interpreter and the folder that the file wants, and
writes one line of JSON before and after each test. It is started by suite.py; a time limit for each test
keeps one that hangs from taking the others with it.

Usage: drive.py FILE RESULTS SECONDS [CLASS.TEST ...]

With - for RESULTS it only prints the names of the tests.
"""

import importlib
import json
import pathlib
import signal
import sys
import unittest


class TooSlow(BaseException):
    """A test ran into its time limit; no test expects this, so that none can swallow it."""


class Recorder(unittest.TestResult):
    """Writes what becomes of each test as it happens."""

    def __init__(self, results, seconds):
        super().__init__()
        self.results = results
        self.seconds = seconds
        self.outcome = None

    def startTest(self, test):
        super().startTest(test)
        self.outcome = ("pass", "")
        self.write({"test": name_of(test), "started": True})
        signal.alarm(self.seconds)

    def stopTest(self, test):
        signal.alarm(0)
        outcome, detail = self.outcome
        self.write({"test": name_of(test), "outcome": outcome, "detail": detail})
        super().stopTest(test)

    def addError(self, test, err):
        super().addError(test, err)
        self.fail(err)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.fail(err)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.fail(err)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.outcome = ("skip", reason)

    def fail(self, err):
        if self.outcome is None:
            # Outside a test: while a class is set up or torn down.
            print(err, flush=True)
        elif self.outcome[0] != "fail":
            self.outcome = ("fail", f"{err[0].__name__}: {err[1]}"[:2000])

    def write(self, line):
        self.results.write(json.dumps(line) + "\n")
        self.results.flush()


def name_of(test):
    return f"{type(test).__name__}.{test._testMethodName}"


def flat(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from flat(test)
        else:
            yield test


def only_onnx():
    """Suites that have no switch for it are told by the functions that they ask which models there are
    that there are none of ensembles, LibTorch and TensorRT."""
    import test_util

    for kind in ("ensemble", "libtorch", "trt"):
        setattr(test_util, f"validate_for_{kind}_model", lambda *_args, **_named: False)


def too_slow(_signal, _frame):
    raise TooSlow("the test ran into its time limit")


def main():
    file, results, seconds, *wanted = sys.argv[1:]
    sys.path[:0] = [".", "../common"]
    only_onnx()
    module = importlib.import_module(pathlib.Path(file).stem)
    loader = unittest.defaultTestLoader
    if wanted:
        suite = loader.loadTestsFromNames(wanted, module)
    else:
        suite = loader.loadTestsFromModule(module)
    if results == "-":
        print(*(name_of(test) for test in flat(suite)))
        return
    signal.signal(signal.SIGALRM, too_slow)
    with open(results, "w", encoding="utf-8") as out:
        suite.run(Recorder(out, int(seconds)))


if __name__ == "__main__":
    main()
