//! The keys of tokens from a URL: fetched at start and again, kept when it fails, and taken only from
//! whom the certificate says.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex},
    thread,
};

use rcgen::{CertificateParams, KeyPair};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer},
};

use crate::{
    common::{Server, call, wait_until},
    rig::{Files, INFER, ask_as, repository},
    tokens::Issuer,
};

const POLICY: &str = "
roles:
  user: { allow: [{ verbs: [infer] }] }
  monitor: { allow: [{ verbs: [metrics] }] }
anonymous: [monitor]
";

/// What is answered to whoever asks for the keys.
type Answer = Arc<Mutex<String>>;

fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Answers everybody with what `answer` is by then, encrypted or not, until the test ends.
fn serve(answer: Answer, tls: Option<Arc<ServerConfig>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Who does not trust the certificate goes away.
            let _ = match &tls {
                None => exchange(stream, &answer),
                Some(tls) => {
                    let connection = ServerConnection::new(Arc::clone(tls)).expect("TLS");
                    exchange(StreamOwned::new(connection, stream), &answer)
                }
            };
        }
    });
    address
}

fn exchange(mut stream: impl Read + Write, answer: &Answer) -> std::io::Result<()> {
    let mut asked = Vec::new();
    while !asked.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        asked.push(byte[0]);
    }
    let answer = answer.lock().expect("answer").clone();
    stream.write_all(answer.as_bytes())?;
    stream.flush()
}

/// A server that fetches its keys from `url`, every second.
fn despina(files: &Files, url: &str, more: &str) -> (crate::common::Repository, Server) {
    let repository = repository();
    let policy = files.write("policy.yaml", POLICY);
    let config = format!(
        "auth:\n  policy: {policy}\n  jwt:\n    jwks_url: {url}\n    jwks_refresh_seconds: 1\n    \
         issuer: https://issuer\n    audience: despina\n    roles_claim: roles\n{more}"
    );
    let config = files.write("server.yaml", &config);
    let server = Server::start_plain(repository.path(), &["--config", &config]);
    (repository, server)
}

fn status(server: &Server, issuer: &Issuer) -> u16 {
    let token = issuer.token(|_, _| {});
    ask_as(&token, server.http, "/v2/models/open/infer", INFER).status
}

/// How often the keys were fetched with this outcome.
fn fetches(server: &Server, outcome: &str) -> u64 {
    let page = call(server.metrics, "GET", "/metrics", "").expect("the page");
    let text = page.text();
    let name = format!("despina_jwks_fetches_total{{outcome=\"{outcome}\"}} ");
    let value = text.lines().find_map(|line| line.strip_prefix(&name));
    value.expect("the counter").parse().expect("a number")
}

#[test]
fn keys_are_fetched_again_and_stay_when_that_fails() {
    let (files, first, second) = (Files::new(), Issuer::new(1), Issuer::new(2));
    let answer = Answer::new(Mutex::new(ok(&first.jwks())));
    let address = serve(Arc::clone(&answer), None);
    let (_repository, server) = despina(&files, &format!("http://{address}/keys"), "");
    assert_eq!(status(&server, &first), 200);
    assert_eq!(status(&server, &second), 401);
    for broken in [
        "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n".to_owned(),
        ok("{}"),
        ok(&" ".repeat((1 << 20) + 1)),
        String::new(),
    ] {
        *answer.lock().expect("answer") = broken;
        let before = fetches(&server, "failure");
        wait_until("fetching has failed", || {
            fetches(&server, "failure") > before
        });
        assert_eq!(status(&server, &first), 200);
    }
    *answer.lock().expect("answer") = ok(&second.jwks());
    wait_until("the new keys are known", || status(&server, &second) == 200);
    assert_eq!(status(&server, &first), 401);
    assert!(server.log().contains("key set not fetched"));
    server.stop();
}

#[test]
fn a_server_starts_before_the_issuer_does() {
    let (files, issuer) = (Files::new(), Issuer::new(1));
    let answer = Answer::new(Mutex::new(String::new()));
    let address = serve(Arc::clone(&answer), None);
    let (_repository, server) = despina(&files, &format!("http://{address}/keys"), "");
    assert_eq!(status(&server, &issuer), 401);
    *answer.lock().expect("answer") = ok(&issuer.jwks());
    wait_until("the keys are known", || status(&server, &issuer) == 200);
}

#[test]
fn keys_are_taken_only_from_whom_the_certificate_says() {
    let (files, issuer) = (Files::new(), Issuer::new(1));
    let key = KeyPair::generate().expect("key");
    let names = vec!["localhost".to_owned()];
    let certificate = CertificateParams::new(names).expect("names");
    let certificate = certificate.self_signed(&key).expect("certificate");
    let tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from(certificate.der().to_vec())],
            PrivateKeyDer::try_from(key.serialize_der()).expect("key"),
        )
        .expect("TLS");
    let answer = Answer::new(Mutex::new(ok(&issuer.jwks())));
    let port = serve(answer, Some(Arc::new(tls))).port();
    let right = files.write("right.pem", &certificate.pem());
    let other = CertificateParams::new(vec!["localhost".to_owned()]).expect("names");
    let other = other.self_signed(&KeyPair::generate().expect("key"));
    let wrong = files.write("wrong.pem", &other.expect("certificate").pem());
    for (host, roots, expected) in [
        ("localhost", &right, 200),
        ("localhost", &wrong, 401),
        ("127.0.0.1", &right, 401),
    ] {
        let url = format!("https://{host}:{port}/keys");
        let more = format!("    jwks_roots: {roots}\n");
        let (_repository, server) = despina(&files, &url, &more);
        assert_eq!(status(&server, &issuer), expected, "{host} {roots}");
    }
}
