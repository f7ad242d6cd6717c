//! The HTTP client: requests made beforehand, connections kept alive, and of an answer's head only
//! what its end depends on. Small, so that what is measured is the server.

use std::{net::SocketAddr, time::Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    client::{Caller, Client},
    model::Model,
};

/// Room for an answer's head and JSON part.
const HEAD_BYTE_SIZE: usize = 4096;

/// Asks one model over HTTP/1.1.
#[derive(Clone)]
pub struct HttpClient {
    address: SocketAddr,
    request: Bytes,
    output: Bytes,
}

impl HttpClient {
    pub fn new(address: SocketAddr, model: &Model) -> Self {
        Self {
            address,
            request: model.http_request(),
            output: model.output(),
        }
    }

    /// For the floor's server, which answers with the end of what it is sent.
    pub fn of_floor(address: SocketAddr, model: &Model) -> Self {
        let mut output = model.input();
        let output = output.split_off(model.byte_size() - model.output_byte_size());
        Self {
            output,
            ..Self::new(address, model)
        }
    }
}

impl Client for HttpClient {
    type Caller = HttpCaller;

    const CALLERS_PER_CONNECTION: usize = 1;

    async fn connect(&self, callers: usize) -> Result<Vec<HttpCaller>> {
        let mut connections = Vec::with_capacity(callers);
        for _ in 0..callers {
            let stream = TcpStream::connect(self.address).await?;
            stream.set_nodelay(true)?;
            connections.push(HttpCaller {
                stream,
                request: self.request.clone(),
                output: self.output.clone(),
                received: Vec::with_capacity(HEAD_BYTE_SIZE + self.output.len()),
            });
        }
        Ok(connections)
    }
}

/// One connection.
pub struct HttpCaller {
    stream: TcpStream,
    request: Bytes,
    output: Bytes,
    /// The answer; its memory is kept from one to the next.
    received: Vec<u8>,
}

impl Caller for HttpCaller {
    async fn exchange(&mut self) -> Result<Instant> {
        self.stream.write_all(&self.request).await?;
        let head = self.receive().await?;
        let finished = Instant::now();
        self.check(&head)?;
        Ok(finished)
    }
}

impl HttpCaller {
    /// Reads one answer to its end.
    async fn receive(&mut self) -> Result<Head> {
        self.received.clear();
        let mut head = None;
        loop {
            let read = self.stream.read_buf(&mut self.received).await?;
            ensure!(read > 0, "the server closed the connection");
            if head.is_none() {
                head = Head::parse(&self.received)?;
            }
            if let Some(head) = head.take_if(|head| self.received.len() >= head.end()) {
                return Ok(head);
            }
        }
    }

    fn check(&self, head: &Head) -> Result<()> {
        let answer = &self.received;
        if !answer.starts_with(b"HTTP/1.1 200 ") {
            bail!("refused: {}", String::from_utf8_lossy(answer));
        }
        ensure!(answer.len() == head.end(), "bytes behind the answer's end");
        let json_byte_size = head
            .json_byte_size
            .context("no Inference-Header-Content-Length")?;
        ensure!(
            head.body_byte_size == json_byte_size + self.output.len(),
            "the output has the wrong size"
        );
        ensure!(
            answer.ends_with(&self.output),
            "the output has the wrong bytes"
        );
        Ok(())
    }
}

/// What an answer's head says about its size.
struct Head {
    byte_size: usize,
    body_byte_size: usize,
    json_byte_size: Option<usize>,
}

impl Head {
    /// `None` if it is not all there yet.
    fn parse(received: &[u8]) -> Result<Option<Self>> {
        let Some(end) = received.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
            return Ok(None);
        };
        let (mut body_byte_size, mut json_byte_size) = (None, None);
        for line in std::str::from_utf8(&received[..end])?.lines() {
            let Some((name, value)) = line.split_once(':') else {
                continue;
            };
            if name.eq_ignore_ascii_case("content-length") {
                body_byte_size = Some(value.trim().parse()?);
            } else if name.eq_ignore_ascii_case("inference-header-content-length") {
                json_byte_size = Some(value.trim().parse()?);
            }
        }
        Ok(Some(Self {
            byte_size: end + 4,
            body_byte_size: body_byte_size.context("no Content-Length")?,
            json_byte_size,
        }))
    }

    /// Where the answer ends.
    fn end(&self) -> usize {
        self.byte_size + self.body_byte_size
    }
}
