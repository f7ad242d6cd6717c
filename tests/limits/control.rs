//! Limits on what comes with control calls, on classes, and on how long a body may stop arriving.

use std::{fs, path::PathBuf};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::json;

use super::{Connection, Limited, beyond, changed, within};

const EXPLICIT: &str = "repository: { control_mode: explicit, load_models: [echo] }\nshared_memory: { enabled: true }\n";

#[test]
fn classes_of_an_output() {
    let request = |count: usize| {
        changed(|request| {
            request["inputs"][0]["shape"] = json!([8]);
            request["inputs"][0]["data"] = json!([1, 2, 3, 4, 5, 6, 7, 8]);
            request["outputs"] =
                json!([{"name": "OUTPUT0", "parameters": {"classification": count}}]);
        })
    };
    let limited = Limited::new(&["classes_per_output: 3"]);
    within(&limited.post("echo", &[], &request(3)));
    let answer = limited.post("echo", &[], &request(4));
    beyond(&answer, 400, "4 exceeds the limit of 3");
}

/// A file of shared memory, removed with the value.
struct Memory(PathBuf);

impl Drop for Memory {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn regions_of_shared_memory() {
    let limited = Limited::with(&["shared_memory_regions: 2"], EXPLICIT);
    let key = format!("despina-limits-{}", std::process::id());
    let memory = Memory(PathBuf::from("/dev/shm").join(&key));
    fs::write(&memory.0, [0; 64]).expect("shared memory");
    let register = |name: &str| {
        let path = format!("/v2/systemsharedmemory/region/{name}/register");
        let body = json!({"key": key, "byte_size": 64}).to_string();
        limited.server.call("POST", &path, &body)
    };
    within(&register("a"));
    within(&register("b"));
    let words = "2 shared memory regions are registered, which is the limit";
    beyond(&register("c"), 429, words);
    let path = "/v2/systemsharedmemory/region/a/unregister";
    within(&limited.server.call("POST", path, ""));
    within(&register("c"));
}

#[test]
fn bytes_of_a_configuration_and_of_files() {
    let limits = ["config_byte_size: 1000", "load_file_byte_size: 100"];
    let limited = Limited::with(&limits, EXPLICIT);
    let tensor = json!([{"name": "T", "data_type": "TYPE_UINT8", "dims": [-1]}]);
    let config = json!({"backend": "identity", "input": tensor, "output": tensor}).to_string();
    let load = |config_byte_size: usize, file_byte_sizes: &[usize]| {
        let padding = " ".repeat(config_byte_size - config.len());
        let mut parameters = json!({"config": config.clone() + &padding});
        for (index, &size) in file_byte_sizes.iter().enumerate() {
            let contents = BASE64_STANDARD.encode(vec![0; size]);
            parameters[format!("file:1/{index}")] = contents.into();
        }
        let body = json!({"parameters": parameters}).to_string();
        let path = "/v2/repository/models/echo/load";
        limited.server.call("POST", path, &body)
    };
    within(&load(1000, &[]));
    beyond(&load(1001, &[]), 400, "1001 exceeds the limit of 1000");
    within(&load(500, &[60, 40]));
    beyond(&load(500, &[60, 41]), 400, "101 exceeds the limit of 100");
}

#[test]
fn how_long_a_body_may_stop_arriving() {
    let limited = Limited::new(&["body_timeout_seconds: 1"]);
    let mut slow = Connection::open(limited.server.http).expect("connect");
    let head = "POST /v2/models/echo/infer HTTP/1.1\r\nHost: d\r\nContent-Length: 100\r\n\r\n{";
    slow.send(head.as_bytes()).expect("send");
    let answer = slow.answer().expect("an answer");
    beyond(&answer, 400, "the request body stopped arriving");
}
