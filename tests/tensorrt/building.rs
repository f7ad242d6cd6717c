//! `despina engine build`, with a pretend builder and a pretend ONNX parser: from a real ONNX model to a plan that is
//! served, and everything that can keep it from being built.

use std::{fs, path::PathBuf};

use serde_json::json;

use crate::{
    common::{Connection, fixtures},
    rig::{ON_ONE, Rig, infer},
};

/// An ONNX model of the fixtures.
fn onnx(model: &str) -> PathBuf {
    fixtures().join(model).join("1/model.onnx")
}

const PROFILE: &str = "INPUT0=1x4/4x4/8x4";

/// Builds the model and returns what was said: standard output, or standard error if it failed.
fn build(
    rig: &Rig,
    model: &str,
    flags: &[&str],
    environment: &[(&str, &str)],
) -> Result<String, String> {
    let (model, plan) = (onnx(model), rig.folder().join("model.plan"));
    let files = [model.to_str().unwrap(), "--output", plan.to_str().unwrap()];
    let output = rig.build(&[&files, flags].concat(), environment);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.code() {
        Some(0) => Ok(text(&output.stdout)),
        _ => Err(text(&output.stderr)),
    }
}

#[test]
fn a_plan_is_built_from_onnx_and_served() {
    let Some(rig) = Rig::new() else { return };
    let said = build(&rig, "onnx_int32", &["--profile", PROFILE], &[]).unwrap();
    for part in [
        "TensorRT       11.4.0",
        "compute capability 9.0",
        "driver         580.00.fake",
        "profiles       INPUT0=1x4/4x4/8x4",
        "took           ",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let plan = fs::read(rig.folder().join("model.plan")).unwrap();
    rig.add("built", &plan, ON_ONE);
    let server = rig.start(&[]);
    let input = json!({ "name": "INPUT0", "datatype": "INT32", "shape": [2, 4], "data": [1, 2, 3, 4, 5, 6, 7, 8] });
    let mut connection = Connection::open(server.http).unwrap();
    let (status, answer) = infer(&mut connection, "built", &input);
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["outputs"][0]["data"], input["data"]);
    server.stop();
    rig.assert_nothing_is_left();
}

#[test]
fn a_configuration_says_what_to_build() {
    let Some(rig) = Rig::new() else { return };
    let config = rig.folder().join("config.pbtxt");
    let text = "max_batch_size: 8
        input { name: 'INPUT0' data_type: TYPE_INT32 dims: [ 4 ] }
        output { name: 'OUTPUT0' data_type: TYPE_INT32 dims: [ 4 ] }
        dynamic_batching { preferred_batch_size: [ 2 ] }
        parameters { key: 'engine_workspace_byte_limit' value { string_value: '4096' } }";
    fs::write(&config, text).unwrap();
    let flags = ["--config", config.to_str().unwrap(), "--json"];
    let said = build(&rig, "onnx_int32", &flags, &[]).unwrap();
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        report["profiles"],
        json!(["INPUT0=1x4/2x4/2x4", "INPUT0=1x4/8x4/8x4"])
    );
    let plan = fs::read(rig.folder().join("model.plan")).unwrap();
    assert!(String::from_utf8_lossy(&plan).contains("workspace 4096"));
    // What is given besides comes first.
    let flags = [&flags[..], &["--profile", PROFILE]].concat();
    let said = build(&rig, "onnx_int32", &flags, &[]).unwrap();
    assert!(said.contains(PROFILE), "{said}");
}

#[test]
fn flags_are_what_tensorrt_is_told() {
    let Some(rig) = Rig::new() else { return };
    let built = |flags: &[&str]| {
        let flags = [&["--profile", PROFILE], flags].concat();
        build(&rig, "onnx_int32", &flags, &[]).unwrap();
        let plan = fs::read(rig.folder().join("model.plan")).unwrap();
        String::from_utf8_lossy(&plan).into_owned()
    };
    let plain = built(&[]);
    assert!(
        plain.contains("capability 9.0") && !plain.contains("hostcode"),
        "{plain}"
    );
    assert!(built(&["--version-compatible"]).contains("hostcode"));
    assert!(!built(&["--hardware-compatibility", "ampere-plus"]).contains("capability"));
    let two = built(&["--profile", "INPUT0=1x4/1x4/1x4"]);
    assert!(
        two.contains("profile INPUT0=1x4/4x4/8x4\nprofile INPUT0=1x4/1x4/1x4"),
        "{two}"
    );
}

#[test]
fn a_timing_cache_grows_and_one_that_is_broken_is_begun_anew() {
    let Some(rig) = Rig::new() else { return };
    let cache = rig.folder().join("timing.cache");
    let flags = [
        "--profile",
        PROFILE,
        "--timing-cache",
        cache.to_str().unwrap(),
    ];
    let lines = || fs::read_to_string(&cache).unwrap().lines().count();
    for builds in 1..3 {
        build(&rig, "onnx_int32", &flags, &[]).unwrap();
        assert_eq!(lines(), builds);
    }
    fs::write(&cache, "something else").unwrap();
    build(&rig, "onnx_int32", &flags, &[]).unwrap();
    assert_eq!(lines(), 1);
}

#[test]
fn what_cannot_be_built_says_why_and_writes_nothing() {
    let Some(rig) = Rig::new() else { return };
    type Row<'a> = (&'a str, &'a [&'a str], (&'a str, &'a str), &'a str);
    let profile: &[&str] = &["--profile", PROFILE];
    let fp16: &[&str] = &["--profile", PROFILE, "--precision", "fp16"];
    let none = ("FAKE_TENSORRT_BUILD", "");
    let table: [Row<'_>; 9] = [
        (
            "onnx_int32",
            &[],
            none,
            "such as --profile INPUT0=MIN/OPT/MAX",
        ),
        (
            "onnx_int32",
            &["--profile", "OTHER=1"],
            none,
            "has no input 'OTHER', but INPUT0",
        ),
        (
            "addsub_int32",
            profile,
            none,
            "No importer registered for op. (node 0 Add)",
        ),
        ("onnx_int32", fp16, none, "precision fp16 needs TensorRT 10"),
        (
            "onnx_int32",
            &["--precision", "int4"],
            none,
            "precision 'int4' is not supported",
        ),
        (
            "onnx_int32",
            profile,
            ("FAKE_TENSORRT_BUILD", "fails"),
            "Could not find any implementation",
        ),
        (
            "onnx_int32",
            profile,
            ("FAKE_CUDA_DEVICES", "0"),
            "runs on GPUs only",
        ),
        (
            "onnx_int32",
            profile,
            ("FAKE_TENSORRT_VERSION", "100300"),
            "made for TensorRT 11",
        ),
        (
            "onnx_int32",
            &["--profile", PROFILE, "--gpu", "70"],
            none,
            "there is no GPU 70",
        ),
    ];
    for (model, flags, environment, part) in table {
        let message = build(&rig, model, flags, &[environment]).unwrap_err();
        assert!(message.contains(part), "{part}: {message}");
        assert!(!rig.folder().join("model.plan").exists(), "{part}");
    }
    let broken = rig.folder().join("broken.onnx");
    fs::write(&broken, "no model").unwrap();
    let output = rig.build(&[broken.to_str().unwrap(), "--output", "plan"], &[]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("is no ONNX model"), "{message}");
    fs::remove_file(rig.folder().join("libnvonnxparser.so.11")).unwrap();
    let message = build(&rig, "onnx_int32", profile, &[]).unwrap_err();
    assert!(
        message.contains("ONNX parser was not found: install libnvonnxparser.so.11"),
        "{message}"
    );
}

#[test]
fn a_build_that_ends_the_process_leaves_no_plan() {
    let Some(rig) = Rig::new() else { return };
    let flags = ["--profile", PROFILE];
    let crash = [("FAKE_TENSORRT_BUILD", "crashes")];
    assert!(build(&rig, "onnx_int32", &flags, &crash).is_err());
    assert!(!rig.folder().join("model.plan").exists());
}
