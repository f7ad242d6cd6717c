//! Clients that go away while their requests wait for a model that is busy: each is noticed at once,
//! however it goes, and its request leaves the queue, though no instance comes for the next one.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod common;

use std::{io::Write, net::SocketAddr};

use bytes::Bytes;
use common::{Certified, Connection, Repository, Server, identity_config, wait_until};
use despina::proto::inference::{
    ModelInferRequest, ModelStatisticsRequest,
    grpc_inference_service_client::GrpcInferenceServiceClient,
    model_infer_request::InferInputTensor,
};
use tokio::{runtime::Runtime, sync::mpsc, task::JoinHandle};
use tonic::{
    codegen::tokio_stream::wrappers::ReceiverStream,
    transport::{Channel, Endpoint},
};

/// How many clients of each kind there are.
const CROWD: usize = 12;
/// Longer than the tests wait for anything: what they see happens while one request runs.
const EXECUTION_MS: u64 = 600_000;

/// A server whose only instance of `slow` is busy for as long as the test runs, with one more request of
/// a client that stays in its queue.
struct Busy {
    server: Server,
    runtime: Runtime,
    _stay: [Task; 2],
    _repository: Repository,
}

impl Busy {
    fn new(flags: &[&str]) -> Self {
        let repository = Repository::empty();
        let delay = format!(
            "parameters {{ key: \"execute_delay_ms\" value {{ string_value: \"{EXECUTION_MS}\" }} }}"
        );
        repository.add("slow", &identity_config("TYPE_UINT8", 0, &delay), &[1]);
        let server = Server::start_plain(repository.path(), flags);
        let runtime = Runtime::new().expect("runtime");
        let stay = [(); 2].map(|()| Task(runtime.spawn(call(server.grpc))));
        let busy = Self {
            server,
            runtime,
            _stay: stay,
            _repository: repository,
        };
        busy.wait_until_queued(1);
        busy
    }

    /// The value of a metric of the model.
    fn metric(&self, name: &str, label: &str) -> usize {
        let page = common::call(self.server.metrics, "GET", "/metrics", "").expect("metrics");
        let text = page.text();
        let wanted = |line: &&str| {
            line.starts_with(&format!("{name}{{")) && line.contains(label) && line.contains("slow")
        };
        let line = text.lines().find(wanted);
        let value = line.and_then(|line| line.rsplit(' ').next());
        value.map_or(0, |value| value.parse().expect("a number"))
    }

    fn wait_until_queued(&self, count: usize) {
        wait_until(&format!("{count} requests wait"), || {
            self.metric("nv_inference_pending_request_count", "") == count
        });
    }

    /// `come` makes a crowd of clients whose requests wait; once they do, the crowd goes away.
    fn comes_and_goes<T>(&self, kind: &str, come: impl FnMut() -> T) {
        let cancelled = || self.metric("nv_inference_request_failure", "CANCELED");
        let before = cancelled();
        let crowd: Vec<_> = std::iter::repeat_with(come).take(CROWD).collect();
        self.wait_until_queued(1 + CROWD);
        drop(crowd);
        wait_until(&format!("{kind}: all are cancelled"), || {
            cancelled() == before + CROWD
        });
        self.wait_until_queued(1);
        let statistics = self.runtime.block_on(async {
            let asked = ModelStatisticsRequest::default();
            let answer = client(self.server.grpc).await.model_statistics(asked).await;
            answer
                .expect("statistics")
                .into_inner()
                .model_stats
                .remove(0)
        });
        assert_eq!(statistics.inference_count, 0, "{kind}: one still runs");
        let failures = statistics.inference_stats.and_then(|stats| stats.fail);
        let failures = failures.and_then(|fail| usize::try_from(fail.count).ok());
        assert_eq!(failures, Some(before + CROWD), "{kind}");
    }
}

async fn client(address: SocketAddr) -> GrpcInferenceServiceClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("address");
    GrpcInferenceServiceClient::new(endpoint.connect().await.expect("connect"))
}

/// One call on a connection of its own.
async fn call(address: SocketAddr) {
    drop(client(address).await.model_infer(message()).await);
}

/// A request over HTTP/1.1.
fn post(verb: &str) -> Vec<u8> {
    let body = r#"{"inputs":[{"name":"INPUT0","shape":[1],"datatype":"UINT8","data":[7]}]}"#;
    let body = if verb == "infer" {
        body
    } else {
        r#"{"INPUT0":[7]}"#
    };
    let length = body.len();
    format!(
        "POST /v2/models/slow/{verb} HTTP/1.1\r\nHost: d\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// The same, and more requests than are read before it is answered.
fn post_and_more() -> Vec<u8> {
    let more = "GET /v2/health/live HTTP/1.1\r\nHost: d\r\n\r\n".repeat(200);
    [post("infer"), more.into_bytes()].concat()
}

fn message() -> ModelInferRequest {
    ModelInferRequest {
        model_name: "slow".to_owned(),
        inputs: vec![InferInputTensor {
            name: "INPUT0".to_owned(),
            datatype: "UINT8".to_owned(),
            shape: vec![1],
            ..Default::default()
        }],
        raw_input_contents: vec![Bytes::from_static(&[7])],
        ..Default::default()
    }
}

/// A task that is given up with the value.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[test]
fn clients_of_http_that_go_away() {
    let busy = Busy::new(&[]);
    let sends = |bytes: Vec<u8>| {
        let address = busy.server.http;
        move || {
            let mut connection = Connection::open(address).expect("connect");
            connection.send(&bytes).expect("send");
            connection
        }
    };
    busy.comes_and_goes("a closed connection", sends(post("infer")));
    busy.comes_and_goes("requests sent ahead", sends(post_and_more()));
    busy.comes_and_goes("generate", sends(post("generate")));
    busy.comes_and_goes("generate_stream", sends(post("generate_stream")));
}

#[test]
fn clients_of_grpc_that_go_away() {
    let busy = Busy::new(&[]);
    let address = busy.server.grpc;
    let shared = busy.runtime.block_on(client(address));
    busy.comes_and_goes("a cancelled call", || {
        let mut client = shared.clone();
        Task(busy.runtime.spawn(async move {
            let _ = client.model_infer(message()).await;
        }))
    });
    busy.comes_and_goes("a closed connection", || {
        Task(busy.runtime.spawn(call(address)))
    });
    busy.comes_and_goes("a cancelled stream", || {
        let mut client = shared.clone();
        Task(busy.runtime.spawn(async move {
            // It stays open after its only request, for as long as there is a sender.
            let (sender, requests) = mpsc::channel(1);
            sender.send(message()).await.expect("a reader");
            let requests = ReceiverStream::new(requests);
            let answers = client.model_stream_infer(requests).await;
            let _ = answers.expect("a stream").into_inner().message().await;
        }))
    });
}

#[test]
fn clients_of_https_that_send_requests_ahead_and_go_away() {
    let folder = tempfile::tempdir().expect("folder");
    let certified = Certified::new(folder.path());
    let flags = [
        "--http-use-ssl=true",
        "--http-server-cert",
        &certified.certificate,
        "--http-server-key",
        &certified.key,
    ];
    let busy = Busy::new(&flags);
    busy.comes_and_goes("requests sent ahead", || {
        let mut stream = certified.connect(busy.server.http);
        stream.write_all(&post_and_more()).expect("send");
        stream
    });
}
