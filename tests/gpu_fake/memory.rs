//! Devices without memory for a model or a batch, and nothing left of models that went.

use fake_cuda::counters::Counter;

use crate::{
    Fake, ask,
    common::{Connection, Repository, wait_until},
    echo,
};

#[test]
fn a_model_that_does_not_fit_is_refused_and_leaves_nothing() {
    let fake = Fake::new();
    let models = Repository::empty();
    let large =
        echo("large", "{ kind: KIND_GPU gpus: [ 0 ] }", "").replace("dims: 4", "dims: 1000000");
    models.add("large", &large, &[1]);
    models.add(
        "small",
        &echo("small", "{ kind: KIND_GPU gpus: [ 0 ] }", ""),
        &[1],
    );
    let flags = ["--model-control-mode", "explicit", "--load-model", "small"];
    let server = fake.start(models.path(), &flags, &[("FAKE_CUDA_MEMORY_MB", "64")]);
    let before = fake.count(0, Counter::UsedBytes);
    let answer = server.call("POST", "/v2/repository/models/large/load", "{}");
    assert_ne!(answer.status, 200);
    assert!(
        answer.text().contains("cuda:0 is out of memory"),
        "{}",
        answer.text()
    );
    assert_eq!(fake.count(0, Counter::UsedBytes), before);
    assert_eq!(fake.count(0, Counter::Streams), 3);
    let mut connection = Connection::open(server.http).unwrap();
    assert_eq!(ask(&mut connection, "small", [1, 2, 3, 4]).0, 200);
    server.stop();
}

#[test]
fn a_batch_for_which_there_is_no_memory_fails_alone() {
    let fake = Fake::new();
    let models = Repository::empty();
    // Its size is not known beforehand, so it is taken when it is needed.
    let any = echo("any", "{ kind: KIND_GPU gpus: [ 0 ] }", "").replace("dims: 4", "dims: -1");
    models.add("any", &any, &[1]);
    let server = fake.start(models.path(), &[], &[("FAKE_CUDA_MEMORY_MB", "1")]);
    let infer = |count: usize| {
        let numbers = vec!["7"; count].join(",");
        let body = format!(
            r#"{{"inputs":[{{"name":"IN","datatype":"INT32","shape":[1,{count}],"data":[{numbers}]}}]}}"#
        );
        server.call("POST", "/v2/models/any/infer", &body)
    };
    assert_eq!(infer(4).status, 200);
    let refused = infer(400_000);
    assert!(
        refused.text().contains("cuda:0 is out of memory"),
        "{}",
        refused.text()
    );
    assert_eq!(infer(1000).status, 200);
    server.stop();
}

#[test]
fn five_hundred_loads_and_unloads_leave_nothing() {
    let fake = Fake::new();
    let models = Repository::empty();
    models.add(
        "stays",
        &echo("stays", "{ kind: KIND_GPU gpus: [ 0 ] }", ""),
        &[1],
    );
    models.add(
        "goes",
        &echo("goes", "{ kind: KIND_GPU gpus: [ 0, 1 ] }", ""),
        &[1],
    );
    let large =
        echo("large", "{ kind: KIND_GPU gpus: [ 1 ] }", "").replace("dims: 4", "dims: 1000000");
    models.add("large", &large, &[1]);
    let flags = ["--model-control-mode", "explicit", "--load-model", "stays"];
    let server = fake.start(models.path(), &flags, &[("FAKE_CUDA_MEMORY_MB", "64")]);
    let mut connection = Connection::open(server.http).unwrap();
    let alone = fake.count(0, Counter::UsedBytes);
    let mut before = None;
    for cycle in 0..500 {
        let mut control = |model: &str, act: &str| {
            let path = format!("/v2/repository/models/{model}/{act}");
            connection.post(&path, "{}").expect("an answer").status
        };
        assert_eq!(control("goes", "load"), 200);
        if cycle % 10 == 0 {
            assert_ne!(control("large", "load"), 200);
        }
        assert_eq!(ask(&mut connection, "goes", [cycle; 4]).0, 200);
        let path = "/v2/repository/models/goes/unload";
        assert_eq!(connection.post(path, "{}").unwrap().status, 200);
        // Instances end one after the other, and the answer does not wait for them.
        wait_until("the unload", || {
            [0, 1].map(|device| fake.count(device, Counter::UsedBytes)) == [alone, 0]
        });
        if cycle == 0 {
            before = Some(fake.held());
        }
    }
    assert_eq!(Some(fake.held()), before);
    assert_eq!(ask(&mut connection, "stays", [5; 4]).0, 200);
    server.stop();
}

#[test]
fn what_a_model_took_when_it_was_loaded_is_what_the_next_load_is_planned_with() {
    let fake = Fake::new();
    let models = Repository::empty();
    // Nothing of what it takes can be seen in its files.
    let hungry = "backend: 'simulated' max_batch_size: 0
        input { name: 'IN' data_type: TYPE_INT32 dims: 4 }
        output { name: 'OUT' data_type: TYPE_INT32 dims: 4 }
        instance_group { kind: KIND_GPU gpus: [ 0 ] }
        parameters { key: 'weights_byte_size' value: { string_value: '20000000' } }";
    models.add("one", hungry, &[1]);
    models.add("other", hungry, &[1]);
    let flags = [
        "--model-control-mode",
        "explicit",
        "--model-load-gpu-limit",
        "0:0.5",
    ];
    let server = fake.start(models.path(), &flags, &[("FAKE_CUDA_MEMORY_MB", "64")]);
    let control = |model: &str, act: &str| {
        let path = format!("/v2/repository/models/{model}/{act}");
        server.call("POST", &path, "{}")
    };
    // It is not known yet that both are more than the limit.
    assert_eq!(control("one", "load").status, 200);
    assert_eq!(control("other", "load").status, 200);
    let held = |bytes: u64| {
        let used = || fake.count(0, Counter::UsedBytes);
        wait_until("an unload", || used() < bytes);
    };
    assert_eq!(control("other", "unload").status, 200);
    held(40_000_000);
    let refused = control("other", "load");
    let words = "memory limit set for GPU 0 has exceeded";
    assert!(refused.text().contains(words), "{}", refused.text());
    assert_eq!(control("one", "unload").status, 200);
    held(20_000_000);
    // What is taken is given back a moment after the memory is.
    wait_until("room", || control("other", "load").status == 200);
    server.stop();
}
