//! Images that are made ready on a GPU as on the CPU.

use fake_cuda::counters::Counter;

use crate::{Fake, common::Repository};

fn images(group: &str, extra: &str) -> String {
    format!(
        "backend: 'image_preprocess' max_batch_size: 4 instance_group [ {group} ] {extra}
         input {{ name: 'IN' data_type: TYPE_UINT8 dims: [ 5, 4, 3 ] }}
         output {{ name: 'OUT' data_type: TYPE_FP32 dims: [ 3, 7, 3 ] }}
         parameters {{ key: 'scale' value: {{ string_value: '0.01,0.02,0.03' }} }}
         parameters {{ key: 'offset' value: {{ string_value: '-0.5' }} }}"
    )
}

#[test]
fn a_gpu_makes_the_same_of_images_as_the_cpu() {
    let fake = Fake::new();
    let models = Repository::empty();
    models.add("cpu", &images("{ kind: KIND_CPU }", ""), &[1]);
    let on_gpu = "{ kind: KIND_GPU gpus: [ 0 ] }";
    models.add("gpu", &images(on_gpu, ""), &[1]);
    let graphs = "optimization { cuda { graphs: true } }";
    models.add("graph", &images(on_gpu, graphs), &[1]);
    let server = fake.start(models.path(), &[], &[]);
    for rows in 1..=4 {
        let pixels: Vec<_> = (0..60 * rows).map(|number| number * 37 % 251).collect();
        let body = format!(
            r#"{{"inputs":[{{"name":"IN","datatype":"UINT8","shape":[{rows},5,4,3],"data":{pixels:?}}}]}}"#
        );
        let output = |model: &str| {
            let answer = server.call("POST", &format!("/v2/models/{model}/infer"), &body);
            assert_eq!(answer.status, 200, "{}", answer.text());
            answer.json()["outputs"][0].clone()
        };
        let launches = fake.count(0, Counter::Launches);
        let expected = output("cpu");
        assert_eq!(expected["shape"], serde_json::json!([rows, 3, 7, 3]));
        assert_eq!(output("gpu"), expected);
        assert_eq!(fake.count(0, Counter::Launches) - launches, 1);
        assert_eq!(output("graph"), expected);
        // The graph, and the kernel in it.
        assert_eq!(fake.count(0, Counter::Launches) - launches, 3);
    }
    server.stop();
}

#[test]
fn the_time_of_a_kernel_is_what_executing_takes() {
    let fake = Fake::new();
    let models = Repository::empty();
    let group = "{ kind: KIND_GPU gpus: [ 0 ] }";
    models.add("gpu", &images(group, ""), &[1]);
    let kernels = [("FAKE_CUDA_KERNEL_US", "100000")];
    let server = fake.start(models.path(), &[], &kernels);
    let body = format!(
        r#"{{"inputs":[{{"name":"IN","datatype":"UINT8","shape":[1,5,4,3],"data":{:?}}}]}}"#,
        [7; 60]
    );
    assert_eq!(
        server.call("POST", "/v2/models/gpu/infer", &body).status,
        200
    );
    let statistics = server.call("GET", "/v2/models/gpu/stats", "").json();
    let infer = &statistics["model_stats"][0]["inference_stats"]["compute_infer"]["ns"];
    assert!(infer.as_u64().unwrap() >= 100_000_000, "{statistics}");
    server.stop();
}
