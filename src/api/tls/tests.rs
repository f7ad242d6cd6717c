//! Certificates from files, and handshakes on real sockets.

use std::{fs, path::Path};

use rcgen::{CertificateParams, DnType, Issuer, KeyPair, SanType};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use super::*;

/// A certificate and its key, as PEM.
struct Identified {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

fn issue(
    issuer: Option<&Issuer<'_, KeyPair>>,
    change: impl FnOnce(&mut CertificateParams),
) -> Identified {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    change(&mut params);
    let certificate = match issuer {
        Some(issuer) => params.signed_by(&key, issuer).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    Identified { certificate, key }
}

fn write(folder: &Path, server: &Identified) -> Config {
    let (certificate, key) = (folder.join("server.crt"), folder.join("server.key"));
    fs::write(&certificate, server.certificate.pem()).unwrap();
    fs::write(&key, server.key.serialize_pem()).unwrap();
    Config {
        certificate: Some(certificate),
        key: Some(key),
        ..Config::default()
    }
}

fn tls(config: &Config, limits: &Limits) -> Result<Tls, TlsError> {
    Tls::new("http", config, Protocol::Http1, limits).map(Option::unwrap)
}

#[test]
fn plain_doors_need_no_files() {
    let none = Tls::new(
        "http",
        &Config::default(),
        Protocol::Http1,
        &Limits::default(),
    );
    assert!(none.unwrap().is_none());
}

#[test]
fn files_that_cannot_be_used_are_named_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (issue(None, |_| {}), issue(None, |_| {}));
    let good = write(folder.path(), &one);
    assert!(tls(&good, &Limits::default()).is_ok());
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        Some(path)
    };
    let (other_key, empty) = (
        file("other.key", &other.key.serialize_pem()),
        file("empty", ""),
    );
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let broken = file("broken", broken);
    let nowhere = Some(folder.path().join("nowhere"));
    for (config, name, part) in [
        (
            Config {
                key: other_key,
                ..good.clone()
            },
            "other.key",
            "KeyMismatch",
        ),
        (
            Config {
                key: empty.clone(),
                ..good.clone()
            },
            "empty",
            "no private key",
        ),
        (
            Config {
                certificate: empty.clone(),
                ..good.clone()
            },
            "empty",
            "no certificate",
        ),
        (
            Config {
                certificate: nowhere,
                ..good.clone()
            },
            "nowhere",
            "No such file",
        ),
        (
            Config {
                client_roots: empty,
                ..good.clone()
            },
            "empty",
            "no certificate",
        ),
        (
            Config {
                client_roots: broken,
                ..good.clone()
            },
            "broken",
            "BadEncoding",
        ),
    ] {
        let error = tls(&config, &Limits::default()).unwrap_err();
        assert!(
            error.file.ends_with(name) && error.reason.contains(part),
            "{error}"
        );
    }
}

#[test]
fn settings_without_effect_are_refused() {
    let set = |name: &str| Some(name.into());
    for (config, part) in [
        (
            Config {
                certificate: set("c"),
                ..Config::default()
            },
            "http.tls has a certificate but no key",
        ),
        (
            Config {
                key: set("k"),
                ..Config::default()
            },
            "http.tls has a key but no certificate",
        ),
        (
            Config {
                client_roots: set("r"),
                ..Config::default()
            },
            "http.tls.client_roots has no effect",
        ),
    ] {
        assert!(config.check("http").unwrap_err().starts_with(part));
    }
    assert_eq!(Config::default().check("http"), Ok(()));
}

#[test]
fn a_certificate_stands_for_its_first_uri_or_dns_name_or_its_common_name() {
    let name = |names: &[SanType], common: Option<&str>| {
        let issued = issue(None, |params| {
            params.subject_alt_names = names.to_vec();
            params.distinguished_name = rcgen::DistinguishedName::new();
            if let Some(common) = common {
                params.distinguished_name.push(DnType::CommonName, common);
            }
        });
        subject::principal(issued.certificate.der()).map(|principal| principal.name.clone())
    };
    let uri = SanType::URI("spiffe://x/alice".try_into().unwrap());
    let dns = SanType::DnsName("alice.example".try_into().unwrap());
    let is = |text: &str| Some(format!("certificate:{text}"));
    assert_eq!(
        name(&[dns.clone(), uri], Some("alice")),
        is("spiffe://x/alice")
    );
    assert_eq!(name(&[dns], Some("alice")), is("alice.example"));
    assert_eq!(name(&[], Some("älice")), is("älice"));
    assert_eq!(name(&[], Some("al\nice")), None);
    assert_eq!(name(&[], None), None);
    assert_eq!(subject::principal(b"no certificate"), None);
}

/// A client that trusts `server`.
fn client(server: &Identified, own: Option<&Identified>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(server.certificate.der().clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let key = PrivateKeyDer::try_from(own.key.serialize_der()).unwrap();
            let chain: Vec<CertificateDer<'static>> = vec![own.certificate.der().clone()];
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    TlsConnector::from(Arc::new(config))
}

/// A socket that nobody accepts from but the test, and a client on it.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap());
    let (accepted, client) = tokio::join!(listener.accept(), client);
    (accepted.unwrap().0, client.unwrap())
}

#[tokio::test]
async fn who_comes_with_a_certificate_is_known_by_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = issue(None, |_| {});
    let root_key = KeyPair::generate().unwrap();
    let mut root = CertificateParams::default();
    root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let roots = folder.path().join("roots.crt");
    fs::write(&roots, root.self_signed(&root_key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(root, root_key);
    let alice = issue(Some(&issuer), |params| {
        params.subject_alt_names = vec![SanType::DnsName("alice".try_into().unwrap())];
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    });
    let config = Config {
        client_roots: Some(roots),
        client_certificates: ClientCertificates::Optional,
        ..write(folder.path(), &server)
    };
    let tls = tls(&config, &Limits::default()).unwrap();
    for (own, want) in [
        (Some(&alice), Identity::named("certificate:alice")),
        (None, Identity::Anonymous),
    ] {
        let mut handshakes = Handshakes::new(Some(&tls));
        let (accepted, stream) = pair().await;
        assert!(handshakes.begin(Socket::new(accepted)).is_none());
        let name = ServerName::try_from("localhost").unwrap();
        let connector = client(&server, own);
        let (connected, shaken) = tokio::join!(connector.connect(name, stream), handshakes.next());
        connected.unwrap();
        assert_eq!(shaken.unwrap().1, want);
    }
}

#[tokio::test]
async fn handshakes_have_room_again_once_one_was_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let server = issue(None, |_| {});
    let limits = Limits {
        handshakes: 1,
        ..Limits::default()
    };
    let tls = tls(&write(folder.path(), &server), &limits).unwrap();
    let mut handshakes = Handshakes::new(Some(&tls));
    assert!(handshakes.has_room());
    let (accepted, stream) = pair().await;
    assert!(handshakes.begin(Socket::new(accepted)).is_none());
    assert!(!handshakes.has_room());
    // A client that goes away ends its handshake without a connection.
    drop(stream);
    assert!(handshakes.next().await.is_none());
    assert!(handshakes.has_room());
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_takes_too_long_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let server = issue(None, |_| {});
    let tls = tls(&write(folder.path(), &server), &Limits::default()).unwrap();
    let mut handshakes = Handshakes::new(Some(&tls));
    let (accepted, _stream) = pair().await;
    handshakes.begin(Socket::new(accepted));
    let limit = Duration::from_secs(Limits::default().handshake_timeout_seconds);
    let next = timeout(limit + Duration::from_secs(1), handshakes.next());
    assert!(matches!(next.await, Ok(None)));
    assert!(handshakes.has_room());
}

#[tokio::test]
async fn a_plain_door_shakes_no_hands() {
    let mut handshakes = Handshakes::new(None);
    let (accepted, _stream) = pair().await;
    assert!(handshakes.begin(Socket::new(accepted)).is_some());
    assert!(handshakes.has_room());
}
