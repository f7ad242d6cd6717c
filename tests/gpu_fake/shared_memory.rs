//! Tensors in device memory of a client, in a process of its own.

use std::{
    fs,
    process::{Child, Command, Stdio},
    thread,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use despina::{
    device::cuda::{Context, DeviceMemory, probe},
    proto::inference::{
        InferParameter, ModelInferRequest,
        grpc_inference_service_client::GrpcInferenceServiceClient,
        infer_parameter::ParameterChoice, model_infer_request::InferInputTensor,
    },
};
use fake_cuda::counters::Counter;
use tonic::{codegen::tokio_stream, transport::Endpoint};

use crate::{
    Fake, ask, body,
    common::{Answer, Connection, Repository, Server, call, wait_until},
    echo,
};

/// A client with memory of its own on device 0, in a process of its own: four numbers at the
/// beginning, and room for four more.
struct Client {
    process: Child,
    /// By which the server opens its memory, in base64.
    handle: String,
}

const CLIENT: &str = "GPU_FAKE_CLIENT";
const NUMBERS: [i32; 4] = [11, -12, 13, -14];
const CLIENT_BYTES: usize = 4096;
const OUTPUT_AT: usize = 256;

impl Client {
    fn start(fake: &Fake) -> Self {
        let file = fake.folder.path().join("handle");
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["shared_memory::the_client_of_the_tests_below", "--exact"])
            .env(CLIENT, &file)
            .env("LD_LIBRARY_PATH", fake.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut handle = Vec::new();
        wait_until("the client's handle", || {
            assert!(
                process.try_wait().unwrap().is_none(),
                "the client has ended"
            );
            handle = fs::read(&file).unwrap_or_default();
            handle.len() == 64
        });
        let handle = BASE64_STANDARD.encode(handle);
        Self { process, handle }
    }

    /// Registers so many bytes of its memory as region `r`.
    fn register(&self, server: &Server, byte_size: usize) -> Answer {
        let path = "/v2/cudasharedmemory/region/r/register";
        let handle = &self.handle;
        let body = format!(
            r#"{{"raw_handle":{{"b64":"{handle}"}},"device_id":0,"byte_size":{byte_size}}}"#
        );
        server.call("POST", path, &body)
    }

    /// Ends it, whatever it got.
    fn end(mut self) {
        drop(self.process.stdin.take());
        self.process.wait().unwrap();
    }

    /// Has it look at what it got; it ends well if that is right.
    fn finish(mut self) {
        drop(self.process.stdin.take());
        assert!(
            self.process.wait().unwrap().success(),
            "what the client got"
        );
    }
}

#[test]
fn the_client_of_the_tests_below() {
    let Some(file) = std::env::var_os(CLIENT) else {
        return;
    };
    probe().unwrap();
    let memory = DeviceMemory::new(&Context::open(0).unwrap(), CLIENT_BYTES).unwrap();
    let bytes: Vec<u8> = NUMBERS.into_iter().flat_map(i32::to_le_bytes).collect();
    let input = memory.span(0, bytes.len()).unwrap();
    input.store(bytes.clone().into()).unwrap();
    fs::write(file, memory.share().unwrap()).unwrap();
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let output = memory.span(OUTPUT_AT, bytes.len()).unwrap();
    assert_eq!(output.fetch().unwrap(), bytes);
}

/// A request whose tensors are in region `r`, the input at `offset`.
fn shared_body(offset: usize) -> String {
    let place = |offset: usize| {
        format!(
            r#"{{"shared_memory_region":"r","shared_memory_byte_size":16,"shared_memory_offset":{offset}}}"#
        )
    };
    format!(
        r#"{{"inputs":[{{"name":"IN","datatype":"INT32","shape":[1,4],"parameters":{}}}],
            "outputs":[{{"name":"OUT","parameters":{}}}]}}"#,
        place(offset),
        place(OUTPUT_AT)
    )
}

#[test]
fn tensors_in_a_clients_device_memory_do_not_pass_through_the_host() {
    let fake = Fake::new();
    let models = Repository::empty();
    models.add(
        "gpu",
        &echo("gpu", "{ kind: KIND_GPU gpus: [ 0 ] }", ""),
        &[1],
    );
    models.add(
        "far",
        &echo("far", "{ kind: KIND_GPU gpus: [ 1 ] }", ""),
        &[1],
    );
    models.add("host", &echo("host", "{ kind: KIND_CPU }", ""), &[1]);
    let server = fake.start(models.path(), &["--allow-client-shm", "true"], &[]);
    let client = Client::start(&fake);
    let register = |byte_size| client.register(&server, byte_size);
    let refused = register(CLIENT_BYTES + 1);
    assert!(
        refused.text().contains("allocation of 4096 bytes"),
        "{}",
        refused.text()
    );
    assert_eq!(register(CLIENT_BYTES).status, 200);

    let infer = |model: &str, offset: usize| {
        let path = format!("/v2/models/{model}/infer");
        server.call("POST", &path, &shared_body(offset))
    };
    let downloaded = fake.count(0, Counter::DownloadedBytes);
    let uploaded = fake.count(0, Counter::UploadedBytes);
    assert_eq!(infer("gpu", 0).status, 200);
    assert_eq!(fake.count(0, Counter::DownloadedBytes) - downloaded, 0);
    assert_eq!(fake.count(0, Counter::UploadedBytes) - uploaded, 0);
    // An address that no kernel could read from is copied first.
    assert_eq!(infer("gpu", 4).status, 200);
    assert_ne!(infer("gpu", CLIENT_BYTES - 8).status, 200);
    assert_eq!(infer("host", 0).status, 200);
    // Together with what others send.
    thread::scope(|scope| {
        for sender in 0..4 {
            let http = server.http;
            scope.spawn(move || {
                let mut connection = Connection::open(http).unwrap();
                for number in 0..50 {
                    assert_eq!(ask(&mut connection, "gpu", [sender, number, 0, 1]).0, 200);
                }
            });
        }
        for _ in 0..50 {
            assert_eq!(infer("gpu", 0).status, 200);
        }
    });
    assert_eq!(infer("far", 0).status, 200);
    client.finish();
    server.stop();
}

#[test]
fn an_output_for_which_there_is_no_room_on_the_device_fails_alone() {
    let fake = Fake::new();
    let models = Repository::empty();
    let group = "{ kind: KIND_GPU gpus: [ 0 ] }";
    models.add("gpu", &echo("gpu", group, ""), &[1]);
    let server = fake.start(models.path(), &["--allow-client-shm", "true"], &[]);
    let client = Client::start(&fake);
    assert_eq!(client.register(&server, CLIENT_BYTES).status, 200);
    let small = shared_body(0).replace(
        r#""outputs":[{"name":"OUT","parameters":{"shared_memory_region":"r","shared_memory_byte_size":16"#,
        r#""outputs":[{"name":"OUT","parameters":{"shared_memory_region":"r","shared_memory_byte_size":15"#,
    );
    assert_ne!(small, shared_body(0));
    let answer = server.call("POST", "/v2/models/gpu/infer", &small);
    let words = "shared memory size specified with the request for output 'OUT' (15 bytes)";
    assert!(answer.text().contains(words), "{}", answer.text());
    let whole = server.call("POST", "/v2/models/gpu/infer", &shared_body(0));
    assert_eq!(whole.status, 200);
    client.finish();
    server.stop();
}

/// Answers once for each element of `IN`.
const REPEAT: &str = "backend: 'repeat' model_transaction_policy { decoupled: true }
    input [
        { name: 'IN' data_type: TYPE_INT32 dims: -1 },
        { name: 'DELAY' data_type: TYPE_UINT32 dims: -1 },
        { name: 'WAIT' data_type: TYPE_UINT32 dims: 1 }
    ]
    output [
        { name: 'OUT' data_type: TYPE_INT32 dims: 1 },
        { name: 'IDX' data_type: TYPE_UINT32 dims: 1 }
    ]
    instance_group { kind: KIND_CPU }";

fn repeat_input(name: &str, datatype: &str, count: i64) -> InferInputTensor {
    InferInputTensor {
        name: name.to_owned(),
        datatype: datatype.to_owned(),
        shape: vec![count],
        ..Default::default()
    }
}

#[test]
fn a_decoupled_model_takes_inputs_from_a_clients_device_memory() {
    let fake = Fake::new();
    let models = Repository::empty();
    models.add("repeat", REPEAT, &[1]);
    let server = fake.start(models.path(), &["--allow-client-shm", "true"], &[]);
    let client = Client::start(&fake);
    assert_eq!(client.register(&server, CLIENT_BYTES).status, 200);
    let mut shared = repeat_input("IN", "INT32", 4);
    for (name, choice) in [
        (
            "shared_memory_region",
            ParameterChoice::StringParam("r".into()),
        ),
        ("shared_memory_byte_size", ParameterChoice::Int64Param(16)),
    ] {
        let parameter = InferParameter {
            parameter_choice: Some(choice),
        };
        shared.parameters.insert(name.to_owned(), parameter);
    }
    let request = ModelInferRequest {
        model_name: "repeat".to_owned(),
        inputs: vec![
            shared,
            repeat_input("DELAY", "UINT32", 4),
            repeat_input("WAIT", "UINT32", 1),
        ],
        raw_input_contents: vec![vec![0; 16].into(), vec![0; 4].into()],
        ..Default::default()
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let numbers = runtime.block_on(async {
        let endpoint = Endpoint::from_shared(format!("http://{}", server.grpc)).unwrap();
        let mut channel = GrpcInferenceServiceClient::new(endpoint.connect().await.unwrap());
        let stream = channel
            .model_stream_infer(tokio_stream::once(request))
            .await;
        let mut answers = stream.unwrap().into_inner();
        let mut numbers = Vec::new();
        while let Some(answer) = answers.message().await.unwrap() {
            assert_eq!(answer.error_message, "");
            let response = answer.infer_response.unwrap();
            let bytes = response.raw_output_contents[0].as_ref().try_into().unwrap();
            numbers.push(i32::from_le_bytes(bytes));
        }
        numbers
    });
    assert_eq!(numbers, NUMBERS);
    client.end();
    server.stop();
}

#[test]
fn many_requests_in_device_memory_are_gathered_and_scattered_by_one_kernel_each() {
    let fake = Fake::new();
    let models = Repository::empty();
    let group = "{ kind: KIND_GPU gpus: [ 0 ] }";
    // Batches of four come together, however slowly the requests arrive.
    let batching =
        "dynamic_batching { preferred_batch_size: 4 max_queue_delay_microseconds: 60000000 }";
    for (model, threshold) in [("kernel", 4), ("copies", 5)] {
        let optimization =
            format!("optimization {{ gather_kernel_buffer_threshold: {threshold} }}");
        let config = echo(model, group, &optimization).replace("dynamic_batching {}", batching);
        models.add(model, &config, &[1]);
    }
    let server = fake.start(models.path(), &["--allow-client-shm", "true"], &[]);
    let client = Client::start(&fake);
    assert_eq!(client.register(&server, CLIENT_BYTES).status, 200);
    let run = |model: &str, bodies: [String; 4]| {
        let before = fake.count(0, Counter::Launches);
        let path = format!("/v2/models/{model}/infer");
        thread::scope(|scope| {
            for body in &bodies {
                let (http, path) = (server.http, &path);
                scope.spawn(move || {
                    let answer = call(http, "POST", path, body).unwrap();
                    assert_eq!(answer.status, 200, "{}", answer.text());
                });
            }
        });
        fake.count(0, Counter::Launches) - before
    };
    let shared = [0; 4].map(shared_body);
    assert_eq!(run("kernel", shared.clone()), 2);
    assert_eq!(run("copies", shared.clone()), 0);
    // Those that came over the network are put into pinned memory, where the kernel reads them; they
    // want their outputs on the host, so that two deliveries are left, and those are copies.
    let [one, other, ..] = shared;
    assert_eq!(run("kernel", [one, other, body([5; 4]), body([6; 4])]), 1);
    client.finish();
    server.stop();
}

#[test]
fn the_load_generator_puts_tensors_into_device_memory() {
    let fake = Fake::new();
    let models = Repository::empty();
    models.add(
        "gpu",
        &echo("gpu", "{ kind: KIND_GPU gpus: [ 0 ] }", ""),
        &[1],
    );
    let server = fake.start(models.path(), &["--allow-client-shm", "true"], &[]);
    for (protocol, address) in [("http", server.http), ("grpc", server.grpc)] {
        let output = Command::new(env!("CARGO_BIN_EXE_despina"))
            .args([
                "perf",
                "-m",
                "gpu",
                "--shape",
                "IN:4",
                "--shared-memory",
                "cuda",
            ])
            .args([
                "--request-count",
                "20",
                "-i",
                protocol,
                "-u",
                &address.to_string(),
            ])
            .env("LD_LIBRARY_PATH", fake.folder.path())
            .env("FAKE_CUDA_COUNTERS", fake.counters())
            .output()
            .expect("despina perf");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{stderr}");
    }
    let left = server.call("GET", "/v2/cudasharedmemory/status", "");
    assert_eq!(left.text(), "[]", "a region is left");
}
