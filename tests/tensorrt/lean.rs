//! The real library, as far as a machine without a GPU can use it: NVIDIA's lean runtime, which a package
//! registry has, pinned by the hashes that the container uses. 44 MB: in CI, and where it is asked for.

use std::{env, path::PathBuf, process::Command};

use crate::{
    common::{PATIENCE, made_once, python},
    rig::{ECHO, Rig, reason},
};

const ASK: &str = "DESPINA_TEST_TENSORRT_LEAN";
const PINS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/container/tensorrt.txt");

/// The library, downloaded once.
fn lean() -> Option<PathBuf> {
    if env::var_os("CI").is_none() && env::var_os(ASK).is_none() {
        eprintln!("passed over: set {ASK} to download TensorRT's lean runtime and open it");
        return None;
    }
    let pins = std::fs::read_to_string(PINS).unwrap();
    let folder = made_once("tensorrt-lean", &[&pins], |folder| {
        let status = Command::new(python().interpreter)
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--no-deps",
                "--require-hashes",
            ])
            .args(["--only-binary", ":all:", "--requirement", PINS, "--target"])
            .arg(folder.join("packages"))
            .status()
            .expect("pip");
        assert!(status.success(), "pip: {status}");
    });
    Some(folder.join("packages/tensorrt_lean_libs/libnvinfer_lean.so.11"))
}

#[test]
fn the_real_lean_runtime_is_opened_and_fails_in_words_on_a_pretend_gpu() {
    let Some(library) = lean() else { return };
    let rig = Rig::without_tensorrt();
    rig.add("plan", &fake_tensorrt::plan(ECHO), "");
    let server = rig.start(&["--tensorrt-library", library.to_str().unwrap()]);
    let reason = reason(&server, "plan");
    let known = [
        "TensorRT cannot be started: createInferRuntime",
        "this build is without TensorRT",
    ];
    assert!(known.iter().any(|start| reason.contains(start)), "{reason}");
    assert!(!reason.contains('\n'), "{reason}");
    server.terminate();
    let log = server.wait(PATIENCE).stderr;
    let opened = log.contains("TensorRT opened") && log.contains("version=11.4.0");
    assert_eq!(opened, tensorrt_sys::header_version().is_ok(), "{log}");
}
