//! What can be wrong with a plan, and with an execution: a reason each, and the server goes on.

use crate::{
    common::Connection,
    rig::{ECHO, ON_ONE, Rig, infer, reason, rows},
};

#[test]
fn a_plan_that_cannot_be_used_says_what_it_is_and_what_is_here() {
    let Some(rig) = Rig::new() else { return };
    let with = |line: &str| fake_tensorrt::plan(&format!("{ECHO}\n{line}"));
    let broken = "input IN INT32 -1x4\nfold the engine";
    let cases: [(&str, Vec<u8>, &str); 13] = [
        ("empty", Vec::new(), "it is no TensorRT plan but empty"),
        (
            "onnx",
            b"\x08\x09\x12\x07pytorch".to_vec(),
            "a protobuf message, such as an ONNX model",
        ),
        (
            "pointer",
            b"version https://git-lfs".to_vec(),
            "a Git LFS pointer",
        ),
        (
            "short",
            b"ftrt\0\0\0\0".to_vec(),
            "it has 8 bytes, fewer than the header of a plan",
        ),
        (
            "corrupt",
            fake_tensorrt::plan(broken),
            "Deserialization failed at: fold the engine",
        ),
        (
            "older",
            fake_tensorrt::plan_of([10, 3, 0, 26], ECHO),
            "Version tag does not match (the plan was built by TensorRT 10.3.0.26; here are TensorRT 11.4.0 and cuda:0, Fake GPU 0 of compute capability 9.0)",
        ),
        (
            "foreign",
            with("capability 8.9"),
            "generated on an incompatible device, expecting compute 9.0 got compute 8.9",
        ),
        (
            "host_code",
            with("hostcode"),
            "The plan has host code, which is not allowed",
        ),
        (
            "plugin",
            with("plugins libmine.so"),
            "Cannot find plugin of libmine.so",
        ),
        ("large", with("weights 100000000"), "could not be allocated"),
        (
            "busy",
            with("nocontext"),
            "TensorRT cannot make an execution context: a context cannot be made",
        ),
        (
            "eight_bits",
            with("output EXTRA FP8 -1x4"),
            "'EXTRA' is of a type that KServe v2 cannot carry",
        ),
        (
            "shapes",
            with("output SIZE INT32 2 host"),
            "'SIZE' is a shape tensor and an output, which this version",
        ),
    ];
    for (model, plan, _) in &cases {
        rig.add(model, plan, ON_ONE);
    }
    rig.add(
        "vectorized",
        &with("output EXTRA FP16 -1x4 vectorized"),
        ON_ONE,
    );
    let many = format!("max_batch_size: 9 {ON_ONE}");
    rig.add("many", &fake_tensorrt::plan(ECHO), &many);
    let third = "instance_group { kind: KIND_GPU gpus: [ 0 ] profile: [ '2' ] }";
    rig.add("third", &fake_tensorrt::plan(ECHO), third);
    rig.add(
        "host",
        &fake_tensorrt::plan(ECHO),
        "instance_group { kind: KIND_CPU }",
    );
    rig.add("good", &fake_tensorrt::plan(ECHO), ON_ONE);
    let server = rig.start(&[]);
    let others = [
        ("vectorized", "'EXTRA' has a non-linear format"),
        (
            "many",
            "configuration specified max-batch 9 but the engine only supports max-batch 8",
        ),
        (
            "third",
            "asks for optimization profile '2', the engine has 1",
        ),
        (
            "host",
            "the tensorrt backend runs on GPUs only, and this instance has none",
        ),
    ];
    let expected = cases.iter().map(|(model, _, expected)| (*model, *expected));
    for (model, expected) in expected.chain(others) {
        let reason = reason(&server, model);
        assert!(reason.contains(expected), "{model}: {reason}");
        assert!(!reason.contains('\n'), "{model}: {reason}");
    }
    let mut connection = Connection::open(server.http).unwrap();
    assert_eq!(infer(&mut connection, "good", &rows(1, 1)).0, 200);
    server.stop();
    rig.assert_nothing_is_left();
}

#[test]
fn what_the_operator_allows_is_allowed() {
    let Some(rig) = Rig::new() else { return };
    let plugins = rig.models.path().with_file_name("libmine.so");
    std::fs::write(&plugins, "").unwrap();
    let plan = fake_tensorrt::plan(&format!("{ECHO}\nhostcode\nplugins libmine.so"));
    rig.add("trusted", &plan, ON_ONE);
    let plugins = format!("tensorrt,plugins={}", plugins.display());
    let flags = [
        "--backend-config",
        &plugins,
        "--backend-config",
        "tensorrt,version-compatible=true",
    ];
    let server = rig.start(&flags);
    let mut connection = Connection::open(server.http).unwrap();
    let (status, answer) = infer(&mut connection, "trusted", &rows(1, 5));
    assert_eq!(status, 200, "{answer}");
    server.stop();

    let missing = ["--backend-config", "tensorrt,plugins=/nowhere/libmine.so"];
    let server = rig.start(&missing);
    let reason = reason(&server, "trusted");
    assert!(
        reason.contains("plugins in /nowhere/libmine.so cannot be loaded"),
        "{reason}"
    );
    server.stop();
    rig.assert_nothing_is_left();
}

#[test]
fn an_execution_that_fails_fails_alone() {
    let Some(rig) = Rig::new() else { return };
    let one_row = ECHO.replace("8x4", "1x4").replace("4x4", "1x4");
    rig.add(
        "brittle",
        &fake_tensorrt::plan(&format!("{one_row}\nfails 3")),
        ON_ONE,
    );
    let server = rig.start(&[]);
    let mut connection = Connection::open(server.http).unwrap();
    let mut send = |number| infer(&mut connection, "brittle", &rows(1, number));
    let statuses: Vec<_> = (1..=5).map(|number| send(number).0).collect();
    assert_eq!(statuses, [200, 200, 500, 200, 200]);
    server.stop();
    rig.assert_nothing_is_left();
}
