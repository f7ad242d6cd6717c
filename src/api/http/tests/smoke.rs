//! The doors on real sockets, with no model behind them.

use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};

use crate::{
    api::{Api, Port, Stage, http, metrics, tests::empty_api},
    telemetry::nvml::GpuSamples,
};

pub(super) struct Door {
    stream: TcpStream,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

impl Door {
    pub(super) async fn http(api: &Arc<Api>) -> Self {
        Self::at(api, |port| port).await
    }

    /// One at the port that `change` makes.
    pub(super) async fn at(api: &Arc<Api>, change: fn(Port) -> Port) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let port = change(Port::new(listener, None));
        let served = http::serve(port, Arc::clone(api), async { drop(stopped.await) });
        Self {
            stop,
            served: tokio::spawn(served),
            stream: TcpStream::connect(address).await.unwrap(),
        }
    }

    /// Sends a request and reads the status line, the header fields and the body.
    pub(super) async fn ask(&mut self, request: &str) -> (String, String) {
        self.stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let head = loop {
            let read = self.stream.read_buf(&mut answer).await.unwrap();
            assert!(
                read > 0,
                "closed after {:?}",
                String::from_utf8_lossy(&answer)
            );
            if let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
        };
        let text = String::from_utf8(answer[..head].to_vec())
            .unwrap()
            .to_lowercase();
        let length: usize = text
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().unwrap());
        let mut body = answer.split_off(head + 4);
        let have = body.len();
        body.resize(length, 0);
        self.stream.read_exact(&mut body[have..]).await.unwrap();
        (text, String::from_utf8(body).unwrap())
    }

    async fn get(&mut self, path: &str) -> (String, String) {
        self.ask(&format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n"))
            .await
    }

    async fn post(&mut self, path: &str, headers: &str, body: &str) -> (String, String) {
        let length = body.len();
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\n{headers}content-length: {length}\r\n\r\n{body}"
        );
        self.ask(&request).await
    }
}

#[tokio::test]
async fn http_answers_without_any_model() {
    let api = empty_api();
    let mut door = Door::http(&api).await;
    for (path, status, part) in [
        ("/v2/health/live", "200 ok", ""),
        ("/v2/health/ready", "200 ok", ""),
        ("/v2", "200 ok", "\"name\":\"triton\""),
        ("/v2/models/stats", "200 ok", "{\"model_stats\":[]}"),
        ("/nowhere", "404 not found", "{\"error\":\"Not Found\"}"),
        (
            "/v2/models/m/infer",
            "405 method not allowed",
            "{\"error\":\"Method Not Allowed\"}",
        ),
        (
            "/v2/models/m%20n/ready",
            "404 not found",
            "{\"error\":\"Request for unknown model: 'm n' is not found\"}",
        ),
        (
            "/v2/models/m/versions/x",
            "404 not found",
            "{\"error\":\"Not Found\"}",
        ),
        ("/v2/logging", "200 ok", "\"log_verbose_level\":0"),
        (
            "/v2/models/m/stats",
            "400 bad request",
            "requested model 'm' is not available",
        ),
    ] {
        let (head, body) = door.get(path).await;
        assert!(
            head.starts_with(&format!("http/1.1 {status}")),
            "{path}: {head}"
        );
        assert!(body.contains(part), "{path}: {body}");
    }
    let (_, index) = door.post("/v2/repository/index", "", "").await;
    assert_eq!(index, "[]");
    let (head, body) = door.post("/v2/repository/index", "", "{").await;
    assert!(
        head.starts_with("http/1.1 400") && body.contains("failed to parse"),
        "{body}"
    );
    let (head, _) = door.post("/v2/repository/models/%2e%2e/load", "", "").await;
    assert!(head.starts_with("http/1.1 400"), "{head}");
    let encoded = "content-encoding: br\r\n";
    let (head, _) = door.post("/v2/models/m/infer", encoded, "x").await;
    assert!(head.starts_with("http/1.1 501") && head.contains("accept-encoding: gzip, deflate"));
    let (head, _) = door.post("/v2/models/m/infer", "", "{}").await;
    assert!(head.starts_with("http/1.1 404"), "{head}");
}

#[tokio::test]
async fn bodies_beyond_the_limit_are_refused_before_they_are_read() {
    let mut api = empty_api();
    Arc::get_mut(&mut api).unwrap().limits.request_byte_size = 8;
    let mut door = Door::http(&api).await;
    let head =
        "POST /v2/repository/index HTTP/1.1\r\nhost: x\r\ncontent-length: 2147483648\r\n\r\n";
    let (head, body) = door.ask(head).await;
    assert!(head.starts_with("http/1.1 413"), "{head}");
    assert!(
        body.contains("2147483648") && body.contains("size of 8 bytes"),
        "{body}"
    );
}

#[tokio::test]
async fn header_fields_beyond_the_limit_are_refused() {
    let mut api = empty_api();
    Arc::get_mut(&mut api).unwrap().limits.header_byte_size = 1024;
    let mut door = Door::http(&api).await;
    let long = "x".repeat(2000);
    let (head, _) = door
        .ask(&format!("GET /v2 HTTP/1.1\r\na: {long}\r\n\r\n"))
        .await;
    assert!(head.starts_with("http/1.1 431"), "{head}");
}

#[tokio::test]
async fn chunked_bodies_are_joined() {
    let mut door = Door::http(&empty_api()).await;
    let head =
        "POST /v2/repository/index HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunks = "7\r\n{\"ready\r\n6\r\n\":true\r\n1\r\n}\r\n0\r\n\r\n";
    let (head, body) = door.ask(&format!("{head}{chunks}")).await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert_eq!(body, "[]");
}

#[tokio::test]
async fn an_exiting_server_refuses_requests_and_then_closes_idle_connections() {
    let api = empty_api();
    let mut door = Door::http(&api).await;
    api.readiness.set(Stage::Exiting);
    let (head, body) = door.get("/v2/health/ready").await;
    assert!(head.starts_with("http/1.1 503"), "{head}");
    assert_eq!(body, "{\"error\":\"Server exiting\"}");
    door.stop.send(()).unwrap();
    door.served.await.unwrap();
    assert_eq!(door.stream.read(&mut [0; 1]).await.unwrap(), 0);
}

#[tokio::test]
async fn the_metrics_port_has_one_page() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let port = Port::new(listener, None);
    let served = metrics::serve(port, empty_api(), GpuSamples::default(), async {
        drop(stopped.await)
    });
    let mut door = Door {
        stop,
        served: tokio::spawn(served),
        stream: TcpStream::connect(address).await.unwrap(),
    };
    let (head, body) = door.get("/metrics").await;
    assert!(head.contains("content-type: text/plain"), "{head}");
    assert!(body.contains("# TYPE nv_inference_count counter"));
    let (head, _) = door.get("/v2").await;
    assert!(head.starts_with("http/1.1 404"), "{head}");
    door.stop.send(()).unwrap();
    door.served.await.unwrap();
}
