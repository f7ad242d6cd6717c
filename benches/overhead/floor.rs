//! The floor: a TCP server that knows beforehand how long a request is, and answers with a head
//! that was made beforehand and the end of the tensor that it was sent, from the same memory. It
//! parses nothing, and no byte is copied but by the kernel.

use std::{env, net::SocketAddr, process::Command, sync::Arc};

use anyhow::{Context, Result};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{model::Model, process::Process};

/// The server, in a process of its own so that its processor time can be told from the client's.
pub struct Floor {
    pub process: Process,
    pub address: SocketAddr,
}

impl Floor {
    /// Starts it for the requests of an [`HttpClient`](super::http::HttpClient) of that model.
    pub fn start(model: &Model) -> Result<Self> {
        let mut process = Process::start(Command::new(env::current_exe()?).args([
            "--floor-server".to_owned(),
            model.http_request().len().to_string(),
            model.output_byte_size().to_string(),
        ]))?;
        let address = process
            .line()?
            .trim()
            .parse()
            .context("the floor's address")?;
        Ok(Self { process, address })
    }
}

/// Serves until it is killed. Prints its address.
pub fn serve(request_byte_size: usize, tensor_byte_size: usize) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        let head: Arc<[u8]> = head(tensor_byte_size).into_bytes().into();
        loop {
            let (stream, _) = listener.accept().await?;
            let head = Arc::clone(&head);
            tokio::spawn(async move {
                // A client that goes away is how every case ends.
                drop(echo(stream, request_byte_size, tensor_byte_size, &head).await);
            });
        }
    })
}

async fn echo(
    mut stream: TcpStream,
    request_byte_size: usize,
    tensor_byte_size: usize,
    head: &[u8],
) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; request_byte_size];
    let tensor = request_byte_size - tensor_byte_size;
    // The answer's head is shorter than the request's: it is laid over its end.
    let answer = tensor
        .checked_sub(head.len())
        .context("the answer's head has no room")?;
    loop {
        stream.read_exact(&mut buffer).await?;
        buffer[answer..tensor].copy_from_slice(head);
        stream.write_all(&buffer[answer..]).await?;
    }
}

/// A head and JSON part such as Despina's.
fn head(tensor_byte_size: usize) -> String {
    let json = json!({
        "model_name": "floor",
        "outputs": [{ "name": "OUTPUT0", "parameters": { "binary_data_size": tensor_byte_size } }],
    })
    .to_string();
    format!(
        "HTTP/1.1 200 OK\r\n\
         inference-header-content-length: {}\r\n\
         content-length: {}\r\n\r\n{json}",
        json.len(),
        json.len() + tensor_byte_size,
    )
}
