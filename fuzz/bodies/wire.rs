//! What is run on bytes that arrive at a whole server's ports: one that runs in this process, with a
//! model. Shared by the fuzz target and the smoke test; a finding is a panic, an answer that blames
//! the server, or a connection that stays open after its client has ended.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
    time::Duration,
};

use despina::{
    config::{Config, Door},
    repository::{self, ControlMode},
    server::Server,
    telemetry::logging::{self, Logging},
};
use tokio::runtime::{self, Runtime};

/// A client's preface and its first frame, without which nothing else is read.
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const MODEL: &str = "backend: 'identity' max_batch_size: 4
    input { name: 'INPUT0' data_type: TYPE_INT32 dims: -1 }
    output { name: 'OUTPUT0' data_type: TYPE_INT32 dims: -1 }";
/// How long a connection may take to end.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of an answer that are looked at.
const MOST_BYTES: usize = 1 << 20;

/// What a client sends on one connection after a byte that says to which port.
pub fn wire(data: &[u8]) {
    let Some((port, sent)) = data.split_first() else {
        return;
    };
    if port & 1 == 0 {
        let answer = exchange(RIG.http, sent);
        let answer = String::from_utf8_lossy(&answer);
        assert!(!answer.contains("HTTP/1.1 500 "), "{answer}");
    } else {
        exchange(RIG.grpc, &[HTTP2, sent].concat());
    }
}

/// What comes back until the connection ends.
fn exchange(address: SocketAddr, sent: &[u8]) -> Vec<u8> {
    let mut connection = TcpStream::connect(address).expect("the server takes connections");
    connection
        .set_read_timeout(Some(PATIENCE))
        .expect("a timeout");
    // The server may have said no and closed before it was given all.
    if connection.write_all(sent).is_ok() {
        let _ = connection.shutdown(Shutdown::Write);
    }
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match connection.read(&mut piece) {
            Ok(0) => return answer,
            Ok(count) if answer.len() < MOST_BYTES => answer.extend(&piece[..count]),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                panic!("the connection is still open after {PATIENCE:?}")
            }
            Err(_) => return answer,
        }
    }
}

static RIG: LazyLock<Rig> = LazyLock::new(Rig::start);

struct Rig {
    http: SocketAddr,
    grpc: SocketAddr,
    _server: Server,
    _runtime: Runtime,
}

impl Rig {
    fn start() -> Self {
        let folder = folder();
        add_model(&folder.join("echo"));
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let server = runtime.block_on(async {
            let logging = logging::Config {
                filter: "off".to_owned(),
                ..logging::Config::default()
            };
            let logging = Logging::start(&logging).expect("logging");
            let server = Server::open(&config(folder), Arc::new(logging)).await;
            let server = server.expect("a server");
            let failures = server.ready().await.expect("a repository");
            assert!(failures.is_empty(), "{failures:?}");
            server
        });
        let addresses = server.addresses();
        Self {
            http: addresses.http.expect("HTTP").socket,
            grpc: addresses.grpc.expect("gRPC").socket,
            _server: server,
            _runtime: runtime,
        }
    }
}

fn config(models: PathBuf) -> Config {
    let door = |enabled| Door {
        enabled,
        port: 0,
        ..Door::default()
    };
    Config {
        http: door(true),
        grpc: door(true),
        metrics: door(false),
        repository: repository::Config {
            repositories: vec![models],
            control_mode: ControlMode::Explicit,
            load_models: vec!["echo".to_owned()],
            ..repository::Config::default()
        },
        ..Config::default()
    }
}

fn add_model(folder: &Path) {
    fs::create_dir_all(folder.join("1")).expect("a version folder");
    fs::write(folder.join("config.pbtxt"), MODEL).expect("a configuration");
}

/// An empty folder; the last run's is gone with it.
fn folder() -> PathBuf {
    let parent = option_env!("CARGO_TARGET_TMPDIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = parent.join("despina-fuzz-wire");
    let _ = fs::remove_dir_all(&folder);
    folder
}
