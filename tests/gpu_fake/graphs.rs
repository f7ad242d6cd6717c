//! Batches that are run as CUDA graphs.

use std::thread;

use fake_cuda::counters::Counter;

use crate::{
    Fake, ask, body,
    common::{Connection, Repository, call, wait_until},
    echo,
};

const GROUP: &str = "{ kind: KIND_GPU gpus: [ 0 ] }";
const GRAPHS: &str = "optimization { cuda { graphs: true } }";

#[test]
fn batches_of_every_size_are_graphs_and_their_memory_is_the_models() {
    let fake = Fake::new();
    let models = Repository::empty();
    models.add("echo", &echo("echo", GROUP, GRAPHS), &[1]);
    let flags = ["--model-control-mode", "explicit", "--load-model", "*"];
    let server = fake.start(models.path(), &flags, &[]);
    // For 1, 2, 4 and 8 rows, for each of the two batches that can be under way.
    assert_eq!(fake.count(0, Counter::Graphs), 8);
    for rows in 1..=8 {
        let before = fake.count(0, Counter::Launches);
        let numbers: Vec<_> = (0..4 * rows).map(|number| number * 3 - rows).collect();
        let body = format!(
            r#"{{"inputs":[{{"name":"IN","datatype":"INT32","shape":[{rows},4],"data":{numbers:?}}}]}}"#
        );
        let answer = server.call("POST", "/v2/models/echo/infer", &body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let output = &answer.json()["outputs"][0];
        assert_eq!(output["shape"], serde_json::json!([rows, 4]));
        assert_eq!(output["data"], serde_json::json!(numbers));
        assert_eq!(fake.count(0, Counter::Launches) - before, 1, "{rows} rows");
    }
    thread::scope(|scope| {
        for client in 0..8 {
            let http = server.http;
            scope.spawn(move || {
                let mut connection = Connection::open(http).unwrap();
                for number in 0..100 {
                    assert_eq!(ask(&mut connection, "echo", [client, number, 0, 7]).0, 200);
                }
            });
        }
    });
    let page = call(server.metrics, "GET", "/metrics", "").unwrap().text();
    let held = page
        .lines()
        .find(|line| line.contains("purpose=\"graphs\""));
    assert!(
        held.unwrap().ends_with(&format!("}} {}", 8 * (64 << 10))),
        "{held:?}"
    );
    let path = "/v2/repository/models/echo/unload";
    assert_eq!(server.call("POST", path, "{}").status, 200);
    wait_until("the unload", || {
        [Counter::Graphs, Counter::UsedBytes].map(|counter| fake.count(0, counter)) == [0, 0]
    });
    server.stop();
}

#[test]
fn sizes_without_a_graph_run_without_one() {
    let fake = Fake::new();
    let models = Repository::empty();
    let graphs = "optimization { cuda { graphs: true
        graph_spec { batch_size: 4 graph_lower_bound { batch_size: 3 } } } }";
    models.add("echo", &echo("echo", GROUP, graphs), &[1]);
    let wrong = graphs.replace("batch_size: 4", "batch_size: 9");
    models.add("wrong", &echo("wrong", GROUP, &wrong), &[1]);
    let flags = ["--model-control-mode", "explicit", "--load-model", "echo"];
    let server = fake.start(models.path(), &flags, &[]);
    assert_eq!(fake.count(0, Counter::Graphs), 2);
    let mut connection = Connection::open(server.http).unwrap();
    assert_eq!(ask(&mut connection, "echo", [1, 2, 3, 4]).0, 200);
    assert_eq!(fake.count(0, Counter::Launches), 0);
    let three = body([5; 4])
        .replace("[1,4]", "[3,4]")
        .replace("[5, 5, 5, 5]", "[1,2,3,4,5,6,7,8,9,10,11,12]");
    let answer = server.call("POST", "/v2/models/echo/infer", &three);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(fake.count(0, Counter::Launches), 1);
    let refused = server.call("POST", "/v2/repository/models/wrong/load", "{}");
    assert!(
        refused.text().contains("it must be from 1 to 8"),
        "{}",
        refused.text()
    );
    server.stop();
}
