//! The server that is measured: started on a repository, at free ports.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::process::Process;

/// A server that is ready.
pub struct Server {
    pub process: Process,
    pub http: SocketAddr,
    pub grpc: SocketAddr,
    /// From before it was started until the line was read that says that it is ready.
    pub ready_after: Duration,
}

impl Server {
    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// If it ends, or does not say where it listens.
    pub fn start(repository: &Path) -> Result<Self> {
        let started = Instant::now();
        let mut process = Process::start(
            Command::new(env!("CARGO_BIN_EXE_despina"))
                .args(["serve", "--log", "error", "--onnxruntime-download", "false"])
                .args([
                    "--http-port",
                    "0",
                    "--grpc-port",
                    "0",
                    "--metrics-port",
                    "0",
                ])
                .arg("--model-repository")
                .arg(repository),
        )?;
        let first = process.line()?;
        let ready_after = started.elapsed();
        if !first.contains(" ready in ") {
            bail!("instead of being ready, the server said: {first}");
        }
        Ok(Self {
            http: address(&process.line()?, "http")?,
            grpc: address(&process.line()?, "grpc")?,
            process,
            ready_after,
        })
    }

    /// Whether every model of the repository could be loaded.
    pub fn all_models_ready(&self) -> Result<bool> {
        let mut stream = TcpStream::connect(self.http)?;
        stream.write_all(b"GET /v2/health/ready HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        let mut status = [0; b"HTTP/1.1 200".len()];
        stream.read_exact(&mut status)?;
        Ok(status == *b"HTTP/1.1 200")
    }
}

/// The address in a line such as `  http     http://127.0.0.1:8000`.
fn address(line: &str, door: &str) -> Result<SocketAddr> {
    line.trim()
        .strip_prefix(door)
        .and_then(|rest| rest.trim().trim_start_matches("http://").parse().ok())
        .with_context(|| format!("no {door} address in: {line}"))
}
