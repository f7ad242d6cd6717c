//! From a plan in a folder to a model: what is completed, shared, given back, and said where there is no
//! TensorRT.

use fake_cuda::counters::Counter;

use crate::{
    common::{Connection, Server, wait_until},
    rig::{ECHO, ON_ONE, Rig, config, infer, reason, rows},
};

#[test]
fn a_plan_alone_is_a_model() {
    let Some(rig) = Rig::new() else { return };
    rig.add("bare", &fake_tensorrt::plan(ECHO), "");
    let server = rig.start(&[]);
    let completed = config(&server, "bare");
    assert_eq!(completed["platform"], "tensorrt_plan");
    assert_eq!(completed["backend"], "tensorrt");
    assert_eq!(completed["max_batch_size"], 8);
    assert_eq!(completed["input"][0]["dims"], serde_json::json!([4]));
    assert_eq!(completed["output"][0]["data_type"], "TYPE_INT32");
    assert!(completed["dynamic_batching"].is_object());
    // One instance on each GPU.
    assert_eq!(
        completed["instance_group"][0]["gpus"],
        serde_json::json!([0, 1])
    );
    let mut connection = Connection::open(server.http).unwrap();
    let (status, answer) = infer(&mut connection, "bare", &rows(3, 7));
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["outputs"][0]["data"], serde_json::json!(vec![7; 12]));
    server.stop();
    rig.assert_nothing_is_left();
}

#[test]
fn instances_share_the_weights_of_an_engine() {
    let Some(rig) = Rig::new() else { return };
    let four = "instance_group { kind: KIND_GPU count: 4 gpus: [ 0 ] }";
    rig.add("one", &fake_tensorrt::plan(ECHO), ON_ONE);
    rig.add("four", &fake_tensorrt::plan(ECHO), four);
    let flags = ["--model-control-mode", "explicit"];
    let server = rig.start(&flags);
    let control = |model: &str, act: &str| {
        let path = format!("/v2/repository/models/{model}/{act}");
        assert_eq!(server.call("POST", &path, "{}").status, 200);
    };
    let used = || rig.count(0, Counter::UsedBytes);
    let taken = |model: &str| {
        control(model, "load");
        let taken = used();
        control(model, "unload");
        wait_until("the unload", || used() == 0);
        taken
    };
    let (one, four) = (taken("one"), taken("four"));
    assert!(one > 1_048_576, "{one}");
    assert_eq!(four - 1_048_576, 4 * (one - 1_048_576));
    server.stop();
    rig.assert_nothing_is_left();
}

#[test]
fn the_profiles_of_an_instance_share_a_workspace() {
    let Some(rig) = Rig::new() else { return };
    let plan = fake_tensorrt::plan(&format!("{ECHO}\nprofile IN=1x4/8x4/8x4"));
    rig.add("both", &plan, ON_ONE);
    let larger = "instance_group { kind: KIND_GPU gpus: [ 0 ] profile: [ '1' ] }";
    rig.add("larger", &plan, larger);
    let server = rig.start(&["--model-control-mode", "explicit"]);
    let taken = ["both", "larger"].map(|model| {
        let path = format!("/v2/repository/models/{model}");
        assert_eq!(
            server.call("POST", &format!("{path}/load"), "{}").status,
            200
        );
        let taken = rig.count(0, Counter::UsedBytes);
        assert_eq!(
            server.call("POST", &format!("{path}/unload"), "{}").status,
            200
        );
        wait_until("the unload", || rig.count(0, Counter::UsedBytes) == 0);
        taken
    });
    assert_eq!(taken[0], taken[1]);
    server.stop();
    rig.assert_nothing_is_left();
}

#[test]
fn weights_that_can_be_streamed_take_what_the_budget_says() {
    let Some(rig) = Rig::new() else { return };
    let plan = fake_tensorrt::plan(&format!("{ECHO}\nstreamable 524288"));
    let budget = |value: &str| {
        format!(
            "{ON_ONE} parameters {{ key: 'weight_streaming_budget' value {{ string_value: '{value}' }} }}"
        )
    };
    rig.add("all", &plan, ON_ONE);
    rig.add("half", &plan, &budget("auto"));
    rig.add("some", &plan, &budget("131072"));
    rig.add("fixed", &fake_tensorrt::plan(ECHO), &budget("131072"));
    let server = rig.start(&["--model-control-mode", "explicit"]);
    let mut taken = vec![];
    for model in ["all", "half", "some"] {
        let before = rig.count(0, Counter::UsedBytes);
        let path = format!("/v2/repository/models/{model}/load");
        assert_eq!(server.call("POST", &path, "{}").status, 200);
        taken.push(rig.count(0, Counter::UsedBytes) - before);
    }
    assert_eq!(taken[0] - taken[1], 262_144);
    assert_eq!(taken[0] - taken[2], 393_216);
    let refused = server.call("POST", "/v2/repository/models/fixed/load", "{}");
    assert!(
        refused
            .text()
            .contains("was not built for weight streaming"),
        "{}",
        refused.text()
    );
    server.stop();
    rig.assert_nothing_is_left();
}

#[test]
fn without_tensorrt_the_model_says_so_in_one_line_and_others_serve() {
    let rig = Rig::without_tensorrt();
    rig.add("plan", &fake_tensorrt::plan(ECHO), "");
    let echo = "backend: 'identity' input { name: 'IN' data_type: TYPE_INT32 dims: [ -1, 4 ] }
        output { name: 'OUT' data_type: TYPE_INT32 dims: [ -1, 4 ] }";
    rig.models.add("other", echo, &[1]);
    let server = rig.start(&[]);
    let reason = reason(&server, "plan");
    let known = [
        "TensorRT was not found: install libnvinfer.so",
        "this build is without TensorRT",
    ];
    assert!(known.iter().any(|start| reason.contains(start)), "{reason}");
    assert!(!reason.contains('\n'));
    let mut connection = Connection::open(server.http).unwrap();
    assert_eq!(infer(&mut connection, "other", &rows(1, 1)).0, 200);
    server.stop();
}

#[test]
fn without_a_gpu_the_model_says_why_there_is_none() {
    let Some(library) = fake_tensorrt::library_or_skip() else {
        return;
    };
    let models = crate::common::Repository::empty();
    models.add("plan", "", &[1]);
    std::fs::write(
        models.path().join("plan/1/model.plan"),
        fake_tensorrt::plan(ECHO),
    )
    .unwrap();
    let flags = [
        "--strict-readiness=false",
        "--tensorrt-library",
        library.to_str().unwrap(),
    ];
    let empty = models.path().to_str().unwrap();
    // A folder without a driver comes first; should the machine have one, this says nothing.
    let server = Server::start_in(
        models.path(),
        &flags,
        &[("LD_LIBRARY_PATH", empty), ("CUDA_VISIBLE_DEVICES", "")],
    );
    let reason = reason(&server, "plan");
    assert!(
        reason.contains("the tensorrt backend runs on GPUs only"),
        "{reason}"
    );
    server.stop();
}
