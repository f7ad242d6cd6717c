//! One document from a URL, bounded in bytes and in time. Runs on the thread that calls it, which is
//! none of the doors'. Follows no redirection and keeps no connection: this is asked for every few
//! minutes.

use std::{fs, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header, uri::Scheme};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    runtime,
    time::timeout,
};
use tokio_rustls::TlsConnector;

/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Larger files hold no certificates.
const MOST_ROOTS_BYTE_SIZE: u64 = 4 << 20;
/// Where systems keep the certificates of the roots that they trust.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// What is asked for, and who may answer.
#[derive(Debug)]
pub(super) struct Source {
    uri: Uri,
    host: String,
    port: u16,
    /// `None` for a connection that is not encrypted.
    tls: Option<Arc<ClientConfig>>,
}

impl Source {
    /// The document at `url`; `roots` is a file of the certificates (PEM) that its server's leads to,
    /// the system's if it is not given.
    ///
    /// # Errors
    /// One sentence, for a URL that is none, or is not encrypted and leads to another machine; and for
    /// roots that cannot be read.
    pub(super) fn new(url: &str, roots: Option<&Path>) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|error| format!("{url:?}: {error}"))?;
        let host = uri.host().unwrap_or_default();
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let is_encrypted = uri.scheme() == Some(&Scheme::HTTPS);
        let is_here = matches!(&*host, "localhost" | "127.0.0.1" | "::1");
        if host.is_empty() || !(is_encrypted || uri.scheme() == Some(&Scheme::HTTP) && is_here) {
            return Err(format!(
                "{url:?} has to begin with https://, or with http:// and this machine's name: who \
                 can change what is sent could sign tokens"
            ));
        }
        Ok(Self {
            port: uri
                .port_u16()
                .unwrap_or(if is_encrypted { 443 } else { 80 }),
            tls: is_encrypted.then(|| client(roots)).transpose()?,
            host,
            uri,
        })
    }

    /// Fetches the document, of at most `limit` bytes.
    ///
    /// # Errors
    /// One sentence: no connection, no trust, another status than 200, too many bytes, too late.
    pub(super) fn fetch(&self, limit: usize) -> Result<Bytes, String> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        let fetched = runtime.block_on(async { timeout(PATIENCE, self.get(limit)).await });
        // A name that is still being looked up is not waited for.
        runtime.shutdown_background();
        fetched.unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs())))
    }

    async fn get(&self, limit: usize) -> Result<Bytes, String> {
        let stream = TcpStream::connect((&*self.host, self.port)).await;
        let stream = stream.map_err(|error| error.to_string())?;
        let Some(tls) = &self.tls else {
            return self.ask(stream, limit).await;
        };
        let name = ServerName::try_from(self.host.clone()).map_err(|error| error.to_string())?;
        let connector = TlsConnector::from(Arc::clone(tls));
        let stream = connector.connect(name, stream).await;
        self.ask(stream.map_err(|error| error.to_string())?, limit)
            .await
    }

    async fn ask<S>(&self, stream: S, limit: usize) -> Result<Bytes, String>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
        let connection = tokio::spawn(connection);
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let authority = self
            .uri
            .authority()
            .map_or("", |authority| authority.as_str());
        let request = Request::get(path)
            .header(header::HOST, authority)
            .header(header::ACCEPT, "application/json")
            .body(Empty::<Bytes>::new())
            .map_err(|error| error.to_string())?;
        let answer = sender.send_request(request).await;
        let answer = answer.map_err(|error| error.to_string())?;
        if answer.status() != StatusCode::OK {
            return Err(format!("the answer's status is {}", answer.status()));
        }
        let body = Limited::new(answer.into_body(), limit).collect().await;
        connection.abort();
        body.map(|body| body.to_bytes())
            .map_err(|error| format!("{error} (the limit is {limit} bytes)"))
    }
}

fn client(roots: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    let file = roots.or_else(|| {
        let system = SYSTEM_ROOTS.iter().map(Path::new);
        system.into_iter().find(|file| file.is_file())
    });
    let file = file
        .ok_or("this system has no file of root certificates: name one with auth.jwt.jwks_roots")?;
    let refuse = |why: &dyn std::fmt::Display| format!("{}: {why}", file.display());
    let metadata = fs::metadata(file).map_err(|error| refuse(&error))?;
    if metadata.len() > MOST_ROOTS_BYTE_SIZE {
        return Err(refuse(&"is too large for a file of certificates"));
    }
    let text = fs::read(file).map_err(|error| refuse(&error))?;
    let mut store = RootCertStore::empty();
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    // Some systems keep certificates that are not of use any more.
    store.add_parsable_certificates(certificates.map_err(|error| refuse(&error))?);
    if store.is_empty() {
        return Err(refuse(&"holds no certificate"));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(store)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
        thread,
    };

    use super::*;

    /// What becomes of a fetch that is answered like this.
    fn fetched(answer: &'static [u8], limit: usize) -> Result<Bytes, String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/keys?a=b", listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                asked.push(byte[0]);
            }
            // Who knows enough does not read on.
            let _ = stream.write_all(answer);
            String::from_utf8(asked).unwrap()
        });
        let fetched = Source::new(&url, None).unwrap().fetch(limit);
        assert!(
            server
                .join()
                .unwrap()
                .starts_with("GET /keys?a=b HTTP/1.1\r\n")
        );
        fetched
    }

    #[test]
    fn a_document_comes_whole_or_not_at_all() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(fetched(whole, 5).unwrap(), "hello");
        let chunked =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        assert_eq!(fetched(chunked, 5).unwrap(), "hello");
        for (answer, why) in [
            (&whole[..], "the limit is 4 bytes"),
            (b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n", "302"),
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel",
                "error reading a body",
            ),
            (b"nonsense\r\n\r\n", "invalid"),
            (b"", "closed"),
        ] {
            let error = fetched(answer, 4).unwrap_err();
            assert!(error.contains(why), "{why}: {error}");
        }
    }

    #[test]
    fn keys_are_not_taken_from_elsewhere_without_encryption() {
        for url in [
            "http://id.example.com/keys",
            "http://10.0.0.1/keys",
            "ftp://localhost/keys",
            "/keys",
            "",
            "https://",
        ] {
            assert!(Source::new(url, None).is_err(), "{url}");
        }
        for url in [
            "http://localhost/k",
            "http://127.0.0.1:1/k",
            "http://[::1]:1/k",
        ] {
            assert!(Source::new(url, None).is_ok(), "{url}");
        }
        let nothing = Source::new("https://id.example.com/keys", Some(Path::new("/dev/null")));
        assert!(nothing.unwrap_err().contains("holds no certificate"));
    }
}
