//! Batches on engines: profiles, shapes, sizes that depend on data, and load.

use std::thread;

use fake_cuda::counters::Counter;
use serde_json::json;

use crate::{
    common::Connection,
    rig::{ECHO, ON_ONE, Rig, config, infer, infer_all, rows},
};

/// What ran in which profile: every byte of the output is its number.
const TWO_PROFILES: &str = "input IN INT32 -1x4
    output OUT INT8 -1x1
    profile IN=1x4/1x4/8x4
    profile IN=1x4/32x4/64x4
    workspace 1000
    run profile OUT";

#[test]
fn a_batch_runs_in_the_profile_that_fits_it_best() {
    let Some(rig) = Rig::new() else { return };
    let plan = fake_tensorrt::plan(TWO_PROFILES);
    rig.add("both", &plan, ON_ONE);
    let second = "instance_group { kind: KIND_GPU gpus: [ 0 ] profile: [ '1' ] }";
    rig.add("second", &plan, second);
    let first = "max_batch_size: 64 instance_group { kind: KIND_GPU gpus: [ 0 ] profile: [ '0' ] }";
    rig.add("first", &plan, first);
    let server = rig.start(&[]);
    let mut connection = Connection::open(server.http).unwrap();
    let mut profile = |model: &str, count: usize| {
        let (status, answer) = infer(&mut connection, model, &rows(count, 1));
        assert_eq!(status, 200, "{answer}");
        let data = answer["outputs"][0]["data"].as_array().unwrap().clone();
        assert_eq!(data.len(), count);
        data[count - 1].as_i64().unwrap()
    };
    let used: Vec<_> = [1, 8, 9, 64].map(|count| profile("both", count)).to_vec();
    assert_eq!(used, [0, 0, 1, 1]);
    assert_eq!(profile("second", 1), 1);
    assert_eq!(profile("first", 8), 0);
    // The engine takes 64 rows, but not in the profile that the group lists.
    let (status, answer) = infer(&mut connection, "first", &rows(9, 1));
    assert_eq!(status, 400, "{answer}");
    let message = answer["error"].as_str().unwrap();
    assert!(
        message.contains("input 'IN' has shape [9,4], this takes [1,4] to [8,4]"),
        "{message}"
    );
    let (status, _) = infer(&mut connection, "both", &rows(65, 1));
    assert_eq!(status, 400);
    server.stop();
    rig.assert_nothing_is_left();
}

#[test]
fn batches_of_many_clients_do_not_mix() {
    let Some(rig) = Rig::new() else { return };
    rig.add("echo", &fake_tensorrt::plan(ECHO), "");
    let server = rig.start(&[]);
    thread::scope(|scope| {
        for client in 0..8 {
            let http = server.http;
            scope.spawn(move || {
                let mut connection = Connection::open(http).unwrap();
                for number in 0..100 {
                    let sent = client * 1000 + number;
                    let (status, answer) = infer(&mut connection, "echo", &rows(2, sent));
                    assert_eq!(status, 200, "{answer}");
                    assert_eq!(answer["outputs"][0]["data"], json!(vec![sent; 8]));
                }
            });
        }
    });
    let uploaded = rig.count(0, Counter::UploadedBytes) + rig.count(1, Counter::UploadedBytes);
    assert_eq!(uploaded, 800 * 32);
    server.stop();
    rig.assert_nothing_is_left();
}

#[test]
fn an_output_may_be_as_large_as_the_data_has_it() {
    let Some(rig) = Rig::new() else { return };
    let plan = fake_tensorrt::plan(
        "input IN UINT8 -1
         output OUT UINT8 -1
         profile IN=1/100/100000
         run nonzero OUT IN",
    );
    let config = format!(
        "max_batch_size: 0 input {{ name: 'IN' data_type: TYPE_UINT8 dims: -1 }}
         output {{ name: 'OUT' data_type: TYPE_UINT8 dims: -1 }} {ON_ONE}"
    );
    rig.add("nonzero", &plan, &config);
    let server = rig.start(&[]);
    let mut connection = Connection::open(server.http).unwrap();
    let mut found = |data: &[u8]| {
        let input =
            json!({ "name": "IN", "datatype": "UINT8", "shape": [data.len()], "data": data });
        let (status, answer) = infer(&mut connection, "nonzero", &input);
        assert_eq!(status, 200, "{answer}");
        answer["outputs"][0].clone()
    };
    assert_eq!(found(&[0, 5, 0, 6])["data"], json!([5, 6]));
    assert_eq!(found(&[0, 0])["shape"], json!([0]));
    // More than was foreseen, and less again.
    let many = found(&[3; 100_000]);
    assert_eq!(many["shape"], json!([100_000]));
    assert_eq!(found(&[9])["data"], json!([9]));
    server.stop();
    rig.assert_nothing_is_left();
}

#[test]
fn a_scalar_of_a_model_without_batches_is_shown_as_one_element() {
    let Some(rig) = Rig::new() else { return };
    let plan = "input IN INT32 scalar\noutput OUT INT32 scalar\nrun copy OUT IN";
    rig.add("scalar", &fake_tensorrt::plan(plan), ON_ONE);
    let server = rig.start(&[]);
    let mut connection = Connection::open(server.http).unwrap();
    let input = json!({ "name": "IN", "datatype": "INT32", "shape": [1], "data": [42] });
    let (status, answer) = infer(&mut connection, "scalar", &input);
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["outputs"][0]["shape"], json!([1]));
    assert_eq!(answer["outputs"][0]["data"], json!([42]));
    server.stop();
}

#[test]
fn a_batch_that_was_captured_is_launched_as_a_graph() {
    let Some(rig) = Rig::new() else { return };
    let graphs = format!(
        "{ON_ONE} optimization {{ cuda {{ graphs: true graph_spec {{ batch_size: 1 }}
         graph_spec {{ batch_size: 8 graph_lower_bound {{ batch_size: 5 }} }} }} }}"
    );
    rig.add("captured", &fake_tensorrt::plan(ECHO), &graphs);
    let data = "input IN UINT8 -1\noutput OUT UINT8 -1\nprofile IN=1/4/8\nrun nonzero OUT IN";
    let whole = format!(
        "max_batch_size: 0 input {{ name: 'IN' data_type: TYPE_UINT8 dims: 4 }}
         output {{ name: 'OUT' data_type: TYPE_UINT8 dims: 4 }} {ON_ONE} optimization {{ cuda {{ graphs: true }} }}"
    );
    rig.add("depends", &fake_tensorrt::plan(data), &whole);
    let server = rig.start(&[]);
    // Two sizes, and two batches under way at most.
    assert_eq!(rig.count(0, Counter::Graphs), 4);
    let mut connection = Connection::open(server.http).unwrap();
    for round in 0..4 {
        for (count, launches) in [(1, 1), (2, 0), (5, 1), (8, 1)] {
            let before = rig.count(0, Counter::Launches);
            let sent = round * 10 + i32::try_from(count).unwrap();
            let (status, answer) = infer(&mut connection, "captured", &rows(count, sent));
            assert_eq!(status, 200, "{answer}");
            assert_eq!(answer["outputs"][0]["data"], json!(vec![sent; count * 4]));
            assert_eq!(
                rig.count(0, Counter::Launches) - before,
                launches,
                "{count} rows"
            );
        }
    }
    // What cannot be captured runs as before.
    let input = json!({ "name": "IN", "datatype": "UINT8", "shape": [4], "data": [1, 2, 3, 4] });
    let (status, answer) = infer(&mut connection, "depends", &input);
    assert_eq!(status, 200, "{answer}");
    server.stop();
    rig.assert_nothing_is_left();
}

#[test]
fn a_shape_tensor_is_read_on_the_host() {
    let Some(rig) = Rig::new() else { return };
    let plan = "input IN INT32 -1x4
        input SIZE INT64 2 host
        output OUT INT8 -1x-1
        profile IN=1x4/1x4/8x4
        run resize OUT SIZE";
    rig.add("resize", &fake_tensorrt::plan(plan), ON_ONE);
    let said = "input [ { name: 'IN' data_type: TYPE_INT32 dims: [ -1, 4 ] },
        { name: 'SIZE' data_type: TYPE_INT64 dims: 2 } ]
        output { name: 'OUT' data_type: TYPE_INT8 dims: [ -1, -1 ] }";
    rig.add(
        "unsaid",
        &fake_tensorrt::plan(plan),
        &format!("{said} {ON_ONE}"),
    );
    let server = rig.start(&[]);
    let completed = config(&server, "resize");
    assert_eq!(completed["max_batch_size"], 0);
    assert_eq!(completed["input"][1]["is_shape_tensor"], true);
    let mut connection = Connection::open(server.http).unwrap();
    let mut resize = |size: [i64; 2]| {
        let size = json!({ "name": "SIZE", "datatype": "INT64", "shape": [2], "data": size });
        infer_all(&mut connection, "resize", &[rows(1, 1), size])
    };
    let uploaded = rig.count(0, Counter::UploadedBytes);
    let (status, answer) = resize([3, 5]);
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["outputs"][0]["shape"], json!([3, 5]));
    // Only the other input went to the device.
    assert_eq!(rig.count(0, Counter::UploadedBytes) - uploaded, 16);
    let (status, answer) = resize([-1, 5]);
    assert_eq!(status, 400);
    assert!(
        answer["error"]
            .as_str()
            .unwrap()
            .contains("has a negative dimension"),
        "{answer}"
    );
    let (status, answer) = resize([1 << 40, 5]);
    assert_ne!(status, 200);
    assert!(
        answer["error"].as_str().unwrap().contains("out of memory"),
        "{answer}"
    );
    assert_eq!(resize([1, 1]).0, 200);
    let reason = crate::rig::reason(&server, "unsaid");
    assert!(
        reason.contains("is_shape_tensor of input 'SIZE' is false in the configuration"),
        "{reason}"
    );
    server.stop();
    rig.assert_nothing_is_left();
}
