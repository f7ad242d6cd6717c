//! Limits on what comes with control calls, on classes, and on how long a body may stop arriving.

use std::{collections::HashMap, fs, path::PathBuf};

use base64::{Engine, prelude::BASE64_STANDARD};
use despina::proto::inference::{
    InferParameter, ModelRepositoryParameter, RepositoryModelLoadRequest,
    SystemSharedMemoryRegisterRequest, infer_parameter,
    model_infer_request::InferRequestedOutputTensor, model_repository_parameter::ParameterChoice,
};
use prost::Message;
use serde_json::json;
use tonic::Code;

use super::{Connection, Limited, beyond, changed, framed, message, refused, within};

const EXPLICIT: &str = "repository: { control_mode: explicit, load_models: [echo] }\nshared_memory: { enabled: true }\n";

#[test]
pub(super) fn classes_of_an_output() {
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
    let words = "4 exceeds the limit of 3";
    beyond(&limited.post("echo", &[], &request(4)), 400, words);
    let call = |count: i64| {
        let classes = InferParameter {
            parameter_choice: Some(infer_parameter::ParameterChoice::Int64Param(count)),
        };
        let mut message = message("echo", &["INPUT0"], 8);
        message.outputs = vec![InferRequestedOutputTensor {
            name: "OUTPUT0".to_owned(),
            parameters: [("classification".to_owned(), classes)].into(),
        }];
        limited.call(message)
    };
    call(3).expect("within the limit");
    refused(call(4), Code::InvalidArgument, words);
}

/// A file of shared memory, removed with the value.
struct Memory(PathBuf);

impl Drop for Memory {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
pub(super) fn regions_of_shared_memory() {
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
    let register_over_grpc = |name: &str| {
        let request = SystemSharedMemoryRegisterRequest {
            name: name.to_owned(),
            key: key.clone(),
            offset: 0,
            byte_size: 64,
        };
        limited.ask(async |mut client| {
            client
                .system_shared_memory_register(request)
                .await
                .map(drop)
        })
    };
    refused(register_over_grpc("c"), Code::ResourceExhausted, words);
    let path = "/v2/systemsharedmemory/region/a/unregister";
    within(&limited.server.call("POST", path, ""));
    register_over_grpc("c").expect("there is room again");
}

#[test]
pub(super) fn bytes_of_a_configuration_and_of_files() {
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
    let load = |config_byte_size: usize, file_byte_sizes: &[usize]| {
        let padding = " ".repeat(config_byte_size - config.len());
        let given = |choice| ModelRepositoryParameter {
            parameter_choice: Some(choice),
        };
        let whole = given(ParameterChoice::StringParam(config.clone() + &padding));
        let mut parameters = HashMap::from([("config".to_owned(), whole)]);
        for (index, &size) in file_byte_sizes.iter().enumerate() {
            let contents = given(ParameterChoice::BytesParam(vec![0; size].into()));
            parameters.insert(format!("file:1/{index}"), contents);
        }
        let request = RepositoryModelLoadRequest {
            model_name: "echo".to_owned(),
            parameters,
            ..Default::default()
        };
        limited.ask(async |mut client| client.repository_model_load(request).await.map(drop))
    };
    load(1000, &[]).expect("within the limit");
    let words = "1001 exceeds the limit of 1000";
    refused(load(1001, &[]), Code::InvalidArgument, words);
    load(500, &[60, 40]).expect("within the limit");
    let words = "101 exceeds the limit of 100";
    refused(load(500, &[60, 41]), Code::InvalidArgument, words);
}

#[test]
pub(super) fn how_long_a_body_may_stop_arriving() {
    let limited = Limited::new(&["body_timeout_seconds: 1"]);
    let mut slow = Connection::open(limited.server.http).expect("connect");
    let head = "POST /v2/models/echo/infer HTTP/1.1\r\nHost: d\r\nContent-Length: 100\r\n\r\n{";
    slow.send(head.as_bytes()).expect("send");
    let answer = slow.answer().expect("an answer");
    let words = "the request body stopped arriving";
    beyond(&answer, 400, words);
    let whole = framed(0, &message("echo", &["INPUT0"], 100).encode_to_vec());
    let outcome = limited.call_in_pieces(&[], [whole.slice(..50)], true);
    refused(outcome, Code::Cancelled, words);
    limited
        .call_in_pieces(&[], [whole.slice(..50), whole.slice(50..)], false)
        .expect("nothing is missing");
}
