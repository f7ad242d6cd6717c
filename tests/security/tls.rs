//! Encrypted doors: tritonclient over TLS, certificates that are not right, certificates of clients,
//! and new ones while the server runs.

use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    process::Command,
    sync::Arc,
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};

use crate::{
    common::{PATIENCE, Server, run_module, wait_until},
    rig::{Files, new_key, repository},
};

/// Who issues certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate, as PEM.
    root: String,
}

/// A certificate and its key, as PEM.
struct Issued {
    certificate: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().expect("key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // With the name of what it issues, it would be taken for that.
        params.distinguished_name.push(DnType::CommonName, "root");
        let root = params.self_signed(&key).expect("root").pem();
        Self {
            issuer: Issuer::new(params, key),
            root,
        }
    }

    fn issue(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let key = KeyPair::generate().expect("key");
        let names = vec![name.to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).expect("names");
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).expect("certificate");
        Issued {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

/// One request over TLS: the status and the body, or why there was no answer.
fn ask(
    address: SocketAddr,
    path: &str,
    trusted: &Authority,
    own: Option<&Issued>,
) -> Result<(u16, String), String> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(trusted.root.as_bytes()).expect("root"))
        .expect("root");
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    let config = match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let chain = CertificateDer::from_pem_slice(own.certificate.as_bytes());
            let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes());
            builder
                .with_client_auth_cert(vec![chain.expect("certificate")], key.expect("key"))
                .expect("client certificate")
        }
    };
    let name = ServerName::try_from("localhost").expect("name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("connection");
    let socket = TcpStream::connect(address).map_err(|error| error.to_string())?;
    socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let mut stream = StreamOwned::new(connection, socket);
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let mut answer = String::new();
    stream
        .write_all(request.as_bytes())
        .and_then(|()| stream.read_to_string(&mut answer).map(drop))
        .map_err(|error| error.to_string())?;
    let status = answer.get(9..12).and_then(|code| code.parse().ok());
    Ok((status.ok_or("no status")?, answer))
}

/// A server whose doors are all encrypted.
fn serve(files: &Files, issued: &Issued, rest: &[&str]) -> Server {
    let certificate = files.write("server.crt", &issued.certificate);
    let key = files.write("server.key", &issued.key);
    let mut flags = Vec::new();
    for door in ["http", "grpc", "metrics"] {
        if !rest.contains(&format!("--{door}-use-ssl-mutual=1").as_str()) {
            flags.push(format!("--{door}-use-ssl=1"));
        }
        flags.push(format!("--{door}-server-cert={certificate}"));
        flags.push(format!("--{door}-server-key={key}"));
    }
    let flags: Vec<_> = flags
        .iter()
        .map(String::as_str)
        .chain(rest.iter().copied())
        .collect();
    Server::start_plain(repository().path(), &flags)
}

#[test]
fn tritonclient_speaks_tls_over_both_protocols() {
    let (files, authority) = (Files::new(), Authority::new());
    let server = serve(&files, &authority.issue("localhost", |_| {}), &[]);
    let stranger = Authority::new();
    let expired = authority.issue("localhost", |params| {
        params.not_after = date_time_ymd(2020, 1, 1);
    });
    let late = serve(&Files::new(), &expired, &[]);
    run_module(
        "test_tls",
        &[
            ("DESPINA_HTTP", &server.http.to_string()),
            ("DESPINA_GRPC", &server.grpc.to_string()),
            ("DESPINA_EXPIRED_HTTP", &late.http.to_string()),
            ("DESPINA_EXPIRED_GRPC", &late.grpc.to_string()),
            ("DESPINA_ROOT", &files.write("root.crt", &authority.root)),
            (
                "DESPINA_WRONG_ROOT",
                &files.write("wrong.crt", &stranger.root),
            ),
        ],
    );
    let metrics = ask(server.metrics, "/metrics", &authority, None).unwrap();
    assert!(metrics.1.contains("nv_inference_count"), "{}", metrics.1);
    server.stop();
    late.stop();
}

/// What `despina perf` says of twenty requests, and its exit code.
fn perf(url: &str, flags: &[&str]) -> (String, Option<i32>) {
    let output = Command::new(env!("CARGO_BIN_EXE_despina"))
        .args(["perf", "-m", "open", "--shape", "INPUT0:4096", "-u", url])
        .args(["--request-count", "20", "--concurrency-range", "3"])
        .args(flags)
        .output()
        .expect("despina perf");
    let text = [output.stdout, output.stderr].concat();
    (
        String::from_utf8_lossy(&text).into_owned(),
        output.status.code(),
    )
}

#[test]
fn perf_measures_encrypted_doors_and_believes_only_whom_it_is_told_to() {
    let (files, authority) = (Files::new(), Authority::new());
    let root = files.write("root.crt", &authority.root);
    let wrong = files.write("wrong.crt", &Authority::new().root);
    let alice = authority.issue("alice", |_| {});
    let chain = files.write("alice.crt", &alice.certificate);
    let key = files.write("alice.key", &alice.key);
    let rest = [
        "--http-use-ssl-mutual=1",
        "--grpc-use-ssl-mutual=1",
        &format!("--http-root-cert={root}"),
        &format!("--grpc-root-cert={root}"),
    ];
    let server = serve(&files, &authority.issue("localhost", |_| {}), &rest);
    let (http, grpc) = (format!("https://{}", server.http), server.grpc.to_string());
    let own = ["--ssl-https-client-certificate-file", &chain];
    let own = [&own[..], &["--ssl-https-private-key-file", &key]].concat();
    let own_grpc = ["-i", "grpc", "--ssl-grpc-use-ssl"];
    let own_grpc = [
        &own_grpc[..],
        &["--ssl-grpc-certificate-chain-file", &chain],
    ]
    .concat();
    let own_grpc = [&own_grpc[..], &["--ssl-grpc-private-key-file", &key]].concat();
    let roots = |file| ["--ssl-https-ca-certificates-file", file];
    let grpc_roots = |file| ["--ssl-grpc-root-certifications-file", file];
    let cases: [(&str, Vec<&str>, &str); 8] = [
        (&http, [&own[..], &roots(&root)].concat(), ""),
        (&grpc, [&own_grpc[..], &grpc_roots(&root)].concat(), ""),
        (
            &grpc,
            [&own_grpc[..], &grpc_roots(&root), &["--streaming"]].concat(),
            "",
        ),
        (
            &http,
            [&own[..], &roots(&wrong)].concat(),
            "invalid peer certificate",
        ),
        (
            &http,
            [&own[..], &roots(&wrong), &["--ssl-https-verify-peer", "0"]].concat(),
            "",
        ),
        (
            &grpc,
            [&own_grpc[..], &grpc_roots(&wrong)].concat(),
            "invalid peer certificate",
        ),
        // Nobody is asked without a certificate.
        (&http, roots(&root).to_vec(), "despina: "),
        (
            &http,
            [&own[..], &roots(&key)].concat(),
            "no certificate in",
        ),
    ];
    for (url, flags, due) in cases {
        let (text, code) = perf(url, &flags);
        assert_eq!(code == Some(0), due.is_empty(), "{flags:?}: {text}");
        assert!(text.contains(due), "{flags:?}: {text}");
    }
    server.stop();
}

#[test]
fn perf_holds_certificates_against_the_host_unless_told_not_to() {
    let (files, authority) = (Files::new(), Authority::new());
    let other = authority.issue("other", |params| {
        params.subject_alt_names.truncate(1);
    });
    let server = serve(&files, &other, &[]);
    let root = files.write("root.crt", &authority.root);
    let url = format!("https://{}", server.http);
    let flags = ["--ssl-https-ca-certificates-file", &root];
    let (text, code) = perf(&url, &flags);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("not valid for name"), "{text}");
    let lenient = [&flags[..], &["--ssl-https-verify-host", "0"]].concat();
    let (text, code) = perf(&url, &lenient);
    assert_eq!(code, Some(0), "{text}");
    server.stop();
}

#[test]
fn a_door_with_tls_takes_nothing_else() {
    let (files, authority) = (Files::new(), Authority::new());
    let server = serve(&files, &authority.issue("localhost", |_| {}), &[]);
    for bytes in [
        &b"GET /v2 HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        &[0x16, 3, 1, 0, 1, 0],
        &[0; 64],
    ] {
        let mut stream = TcpStream::connect(server.http).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(bytes).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP"), "{}", answer.escape_ascii());
    }
    // Half a handshake keeps nobody else out.
    let waiting = TcpStream::connect(server.http).unwrap();
    let answer = ask(server.http, "/v2/health/live", &authority, None);
    assert_eq!(answer.unwrap().0, 200);
    drop(waiting);
    server.stop();
}

#[test]
fn clients_are_known_by_their_certificates() {
    let (files, authority) = (Files::new(), Authority::new());
    let (alice, bob) = (
        authority.issue("alice", |_| {}),
        authority.issue("bob", |_| {}),
    );
    let expired = authority.issue("alice", |params| {
        params.not_after = date_time_ymd(2020, 1, 1);
    });
    let stranger = Authority::new().issue("alice", |_| {});
    let root = files.write("root.crt", &authority.root);
    let policy = files.write(
        "policy.yaml",
        "roles: { reader: { allow: [{ verbs: [metadata] }] } }\n\
         principals: { 'certificate:alice': [reader] }\n",
    );
    let rest = [
        "--http-use-ssl-mutual=1",
        "--grpc-use-ssl-mutual=1",
        &format!("--http-root-cert={root}"),
        &format!("--grpc-root-cert={root}"),
        &format!("--auth-policy={policy}"),
    ];
    let server = serve(&files, &authority.issue("localhost", |_| {}), &rest);
    let status = |own| ask(server.http, "/v2", &authority, own).map(|(status, _)| status);
    assert_eq!(status(Some(&alice)), Ok(200));
    assert_eq!(status(Some(&bob)), Ok(403));
    for refused in [None, Some(&expired), Some(&stranger)] {
        assert!(status(refused).is_err());
    }
    run_module(
        "test_mutual_tls",
        &[
            ("DESPINA_GRPC", &server.grpc.to_string()),
            ("DESPINA_ROOT", &root),
            (
                "DESPINA_ALICE_CERTIFICATE",
                &files.write("alice.crt", &alice.certificate),
            ),
            ("DESPINA_ALICE_KEY", &files.write("alice.key", &alice.key)),
            (
                "DESPINA_BOB_CERTIFICATE",
                &files.write("bob.crt", &bob.certificate),
            ),
            ("DESPINA_BOB_KEY", &files.write("bob.key", &bob.key)),
        ],
    );
    server.stop();
}

#[test]
fn a_new_certificate_is_used_without_a_restart() {
    let (files, first, second) = (Files::new(), Authority::new(), Authority::new());
    let server = serve(&files, &first.issue("localhost", |_| {}), &[]);
    let live = |authority: &Authority| {
        ask(server.http, "/v2/health/live", authority, None).is_ok_and(|(status, _)| status == 200)
    };
    assert!(live(&first) && !live(&second));
    let next = second.issue("localhost", |_| {});
    // For a moment the two do not belong together; the old ones stay in force.
    files.write("server.crt", &next.certificate);
    wait_until("the mismatch is reported", || {
        server.log().contains("stays in force")
    });
    assert!(live(&first));
    files.write("server.key", &next.key);
    wait_until("the new certificate is used", || live(&second));
    assert!(!live(&first));
    server.stop();
}

#[test]
fn neither_keys_nor_private_keys_are_in_the_log() {
    let (files, authority) = (Files::new(), Authority::new());
    let (key, entry) = new_key("alice", &[]);
    let keys = files.write("keys.yaml", &format!("keys:\n{entry}"));
    let issued = authority.issue("localhost", |_| {});
    let flags = [format!("--auth-keys={keys}"), "--log=trace".to_owned()];
    let server = serve(&files, &issued, &flags.each_ref().map(String::as_str));
    let _ = ask(server.http, &format!("/v2?{key}"), &authority, None);
    server.terminate();
    let log = server.wait(PATIENCE).stderr;
    let secret = issued.key.lines().nth(1).expect("PEM");
    assert!(!log.is_empty() && !log.contains(secret));
    assert!(
        !fs::read_to_string(files.path("keys.yaml"))
            .expect("keys")
            .contains(&key)
    );
}
