//! Limits beyond which one waits for others: handshakes and compressed bodies. Nobody is refused, and
//! nobody has more done at a time.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use tempfile::TempDir;

use super::{
    Connection, Limited, binary,
    common::{Certified, PATIENCE},
    sizes::gzip,
    within,
};

/// Both doors with one certificate.
struct Encrypted {
    limited: Limited,
    certified: Certified,
    _folder: TempDir,
}

impl Encrypted {
    fn new(limits: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let certified = Certified::new(folder.path());
        let tls = format!(
            "{{ tls: {{ certificate: {}, key: {} }} }}",
            certified.certificate, certified.key
        );
        let settings = format!("http: {tls}\ngrpc: {tls}\n");
        Self {
            limited: Limited::with(limits, &settings),
            certified,
            _folder: folder,
        }
    }

    fn doors(&self) -> [SocketAddr; 2] {
        [self.limited.server.http, self.limited.server.grpc]
    }
}

/// A connection that never says anything, so that its handshake goes on for ever.
fn silent(door: SocketAddr) -> TcpStream {
    TcpStream::connect(door).expect("connect")
}

#[test]
pub(super) fn handshakes_under_way() {
    let encrypted = Encrypted::new(&["handshakes: 2", "handshake_timeout_seconds: 3600"]);
    for door in encrypted.doors() {
        let one = silent(door);
        let mut within = encrypted.certified.connect(door);
        within.write_all(b"x").expect("a handshake beside one");
        drop(within);
        let another = silent(door);
        let mut beyond = encrypted.certified.connect(door);
        let patience = Some(Duration::from_millis(300));
        beyond.sock.set_read_timeout(patience).expect("timeout");
        assert!(beyond.write_all(b"x").is_err(), "three handshakes at once");
        beyond
            .sock
            .set_read_timeout(Some(PATIENCE))
            .expect("timeout");
        drop(one);
        beyond
            .write_all(b"x")
            .expect("a handshake once there is room");
        drop(another);
    }
}

#[test]
pub(super) fn how_long_a_handshake_may_take() {
    let encrypted = Encrypted::new(&["handshake_timeout_seconds: 1"]);
    for door in encrypted.doors() {
        let mut silent = silent(door);
        silent.set_read_timeout(Some(PATIENCE)).expect("timeout");
        assert_eq!(silent.read(&mut [0]).expect("its end"), 0);
        let mut quick = encrypted.certified.connect(door);
        quick.write_all(b"x").expect("a handshake in time");
    }
}

/// The most threads that the server has at once while eight clients send compressed bodies, each of
/// which is decompressed on a thread of its own; until there are `enough`, if there ever are.
fn most_threads(limited: &Limited, enough: usize) -> usize {
    let (length, body) = binary(8 << 20);
    let body = gzip(&body);
    let headers = [
        ("Inference-Header-Content-Length", length.as_str()),
        ("Content-Encoding", "gzip"),
    ];
    let door = limited.server.http;
    let threads = || limited.server.cores_of("front-door").len();
    let is_enough = AtomicBool::new(false);
    let mut most = 0;
    thread::scope(|scope| {
        let post = || {
            for _ in 0..8 {
                let mut connection = Connection::open(door).expect("connect");
                let path = "/v2/models/echo/infer";
                let answer = connection.request("POST", path, &headers, &body);
                within(&answer.expect("an answer"));
                if is_enough.load(Ordering::Relaxed) {
                    break;
                }
            }
        };
        let clients = [(); 8].map(|()| scope.spawn(post));
        while clients.iter().any(|client| !client.is_finished()) {
            most = most.max(threads());
            is_enough.store(most >= enough, Ordering::Relaxed);
            thread::yield_now();
        }
    });
    most
}

#[test]
pub(super) fn bodies_that_are_decompressed_at_a_time() {
    // One thread reads and writes. Decompression has its own, and they stay for a while.
    let (one_door, any_ratio) = ("front_door_threads: 1\n", "decompression_ratio: 1000000");
    let limited = Limited::with(&["compressions: 1", any_ratio], one_door);
    let idle = limited.server.cores_of("front-door").len();
    // One that has just done its work may still be there when the next begins.
    assert!(most_threads(&limited, usize::MAX) <= idle + 3);
    let limited = Limited::with(&["compressions: 8", any_ratio], one_door);
    let idle = limited.server.cores_of("front-door").len();
    assert!(most_threads(&limited, idle + 6) >= idle + 6);
}
