//! Runs a test's body in a process of its own that finds the pretend driver: what the driver has, and
//! what goes wrong with it, is read from the environment, and is for all of a process.

use std::{env, path::Path, process::Command};

const MARK: &str = "DESPINA_TEST_ON_FAKE_CUDA";

/// Runs `body` with the pretend driver. `test` is the whole name of the calling test; `settings` are
/// the fake's environment variables.
pub(super) fn on_fake(test: &str, settings: &[(&str, &str)], body: impl FnOnce()) {
    if env::var_os(MARK).is_some() {
        return body();
    }
    let folder = tempfile::tempdir().unwrap();
    fake_cuda::install(folder.path()).unwrap();
    run(test, folder.path(), settings);
}

/// Runs `body` where libraries are looked for in `folder` first.
pub(super) fn with_libraries(test: &str, folder: &Path, body: impl FnOnce()) {
    if env::var_os(MARK).is_some() {
        return body();
    }
    run(test, folder, &[]);
}

/// Whether this is the process in which a body runs.
pub(super) fn is_inside() -> bool {
    env::var_os(MARK).is_some()
}

fn run(test: &str, folder: &Path, settings: &[(&str, &str)]) {
    let output = Command::new(env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(MARK, "")
        .env("LD_LIBRARY_PATH", folder)
        .envs(settings.iter().copied())
        .output()
        .unwrap();
    let [stdout, stderr] =
        [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    let passed = output.status.success() && stdout.contains("1 passed");
    assert!(passed, "{stdout}\n{stderr}");
}
