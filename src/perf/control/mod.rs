//! What is asked of a server besides inference: what models are like, what they have done, and that it
//! use shared memory. One connection for each question: there are few.

mod grpc;
mod http;

use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};

pub(super) use self::grpc::grpc_path;
use super::{
    encryption::{Connector, Encryption, Socket},
    model::{Model, TensorSpec},
    wire::{Kept, Message, Out, Outcome, Wire},
};
use crate::tensor::Datatype;

/// What a model's name needs no escape for in a path.
pub(super) const NAME: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'_')
    .remove(b'-')
    .remove(b'.')
    .remove(b'~');

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server, as one of its doors is asked.
#[derive(Clone, Debug)]
pub(super) struct Control {
    pub(super) address: SocketAddr,
    /// As the user gave it.
    pub(super) authority: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) door: Door,
    /// For connections that are encrypted.
    pub(super) connector: Option<Connector>,
}

/// A front door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    Http,
    Grpc,
}

/// What models have done, by name: all their versions together.
pub(super) type Statistics = BTreeMap<String, ModelStatistics>;

/// What a model has done, in sums since it was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct ModelStatistics {
    pub(super) inference_count: u64,
    pub(super) execution_count: u64,
    /// Requests and nanoseconds.
    pub(super) success: (u64, u64),
    pub(super) fail: (u64, u64),
    pub(super) queue: (u64, u64),
    pub(super) compute_input: (u64, u64),
    pub(super) compute_infer: (u64, u64),
    pub(super) compute_output: (u64, u64),
}

/// A tensor as metadata describe it.
#[derive(Debug)]
struct Described {
    name: String,
    datatype: String,
    shape: Vec<i64>,
}

/// What a model's configuration says that its metadata do not.
#[derive(Clone, Copy, Debug, Default)]
struct Batching {
    batched: bool,
    decoupled: bool,
    sequential: bool,
}

impl Control {
    /// The server at `url`, such as `localhost:8000`.
    ///
    /// # Errors
    /// If there is no such address, or a file for its encryption cannot be used.
    pub(super) fn new(
        url: &str,
        door: Door,
        headers: Vec<(String, String)>,
        encryption: Option<&Encryption>,
    ) -> Result<Self> {
        let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
        let authority = authority.trim_end_matches('/');
        let connector = encryption.map(|encryption| {
            let protocol: &[u8] = match door {
                Door::Http => b"http/1.1",
                Door::Grpc => b"h2",
            };
            encryption.connector(host(authority), protocol)
        });
        let mut addresses = authority
            .to_socket_addrs()
            .with_context(|| format!("-u {url}: not HOST:PORT, or no such host"))?;
        Ok(Self {
            address: addresses
                .next()
                .with_context(|| format!("{url} has no address"))?,
            authority: authority.to_owned(),
            headers,
            door,
            connector: connector.transpose()?,
        })
    }

    /// The server's name and version.
    pub(super) fn server(&self) -> Result<(String, String)> {
        match self.door {
            Door::Http => self.http_server(),
            Door::Grpc => self.grpc_server(),
        }
    }

    /// What a model is like.
    pub(super) fn model(&self, name: &str, version: Option<u64>) -> Result<Model> {
        let (inputs, outputs) = match self.door {
            Door::Http => self.http_metadata(name, version),
            Door::Grpc => self.grpc_metadata(name, version),
        }
        .with_context(|| format!("model {name}"))?;
        let batching = match self.door {
            Door::Http => self.http_batching(name, version),
            Door::Grpc => self.grpc_batching(name, version),
        };
        // Servers other than Triton have no such question; their shapes say all.
        let batching = batching.unwrap_or_else(|_| Batching {
            batched: !inputs.is_empty()
                && inputs.iter().all(|input| input.shape.first() == Some(&-1)),
            decoupled: false,
            sequential: false,
        });
        let specs = |tensors: Vec<Described>| -> Result<Vec<TensorSpec>> {
            tensors
                .into_iter()
                .map(|tensor| tensor.spec(batching.batched))
                .collect()
        };
        Ok(Model {
            name: name.to_owned(),
            version,
            inputs: specs(inputs)?,
            outputs: specs(outputs)?,
            batched: batching.batched,
            decoupled: batching.decoupled,
            is_sequential: batching.sequential,
        })
    }

    /// What these models have done; `None` if the server does not tell.
    pub(super) fn statistics(&self, models: &[Model]) -> Option<Statistics> {
        let mut all = Statistics::new();
        for model in models {
            let statistics = match self.door {
                Door::Http => self.http_statistics(&model.name, model.version),
                Door::Grpc => self.grpc_statistics(&model.name, model.version),
            };
            all.insert(model.name.clone(), statistics.ok()?);
        }
        Some(all)
    }

    /// Has the server know a region of system shared memory.
    pub(super) fn register_system(&self, name: &str, key: &str, byte_size: u64) -> Result<()> {
        match self.door {
            Door::Http => self.http_register_system(name, key, byte_size),
            Door::Grpc => self.grpc_register_system(name, key, byte_size),
        }
        .with_context(|| format!("the server cannot use shared memory {key}"))
    }

    /// Has the server know a region of a GPU's memory.
    pub(super) fn register_cuda(
        &self,
        name: &str,
        handle: &[u8; 64],
        ordinal: u32,
        byte_size: u64,
    ) -> Result<()> {
        match self.door {
            Door::Http => self.http_register_cuda(name, handle, ordinal, byte_size),
            Door::Grpc => self.grpc_register_cuda(name, handle, ordinal, byte_size),
        }
        .context("the server cannot use memory of the GPU")
    }

    /// Has the server forget a region of a GPU's memory.
    pub(super) fn unregister_cuda(&self, name: &str) -> Result<()> {
        match self.door {
            Door::Http => self.http_unregister("cuda", name),
            Door::Grpc => self.grpc_unregister_cuda(name),
        }
    }

    /// Has the server forget a region of system shared memory.
    pub(super) fn unregister_system(&self, name: &str) -> Result<()> {
        match self.door {
            Door::Http => self.http_unregister("system", name),
            Door::Grpc => self.grpc_unregister_system(name),
        }
    }

    fn connect(&self) -> Result<Socket> {
        let stream = TcpStream::connect_timeout(&self.address, PATIENCE)
            .with_context(|| format!("no server at {}", self.authority))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let socket = Socket::open(stream, self.connector.as_ref());
        socket.with_context(|| format!("no encrypted connection to {}", self.authority))
    }
}

/// The host in `HOST:PORT`.
fn host(authority: &str) -> &str {
    let host = authority
        .rsplit_once(':')
        .map_or(authority, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Asks one thing on a connection, and waits.
fn ask(socket: &mut Socket, wire: &mut impl Wire, mut out: Out, message: &Message) -> Result<Kept> {
    wire.send(0, message, true, &mut out);
    let mut answers = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        while !socket.send(&mut out)? {}
        match answers
            .pop()
            .map(|answer: super::wire::Answer| answer.outcome)
        {
            Some(Outcome::Done(kept)) => return Ok(kept.unwrap_or_default()),
            Some(Outcome::Failed(reason)) => bail!(reason),
            None => {}
        }
        let count = socket
            .receive(&mut buffer)
            .context("the server does not answer")?;
        if count == 0 {
            bail!("the server closed the connection");
        }
        let received = buffer.get(..count).unwrap_or_default();
        wire.receive(received, &mut out, &mut answers)?;
    }
}

impl Described {
    fn spec(self, batched: bool) -> Result<TensorSpec> {
        let datatype = Datatype::from_name(&self.datatype).with_context(|| {
            format!(
                "tensor {} has the unknown datatype {}",
                self.name, self.datatype
            )
        })?;
        let skipped = usize::from(batched && !self.shape.is_empty());
        Ok(TensorSpec {
            name: self.name,
            datatype,
            dims: self.shape.into_iter().skip(skipped).collect(),
        })
    }
}

impl ModelStatistics {
    /// What was done since `before`.
    #[must_use]
    pub(super) fn since(&self, before: &Self) -> Self {
        let pair = |now: (u64, u64), then: (u64, u64)| {
            (now.0.saturating_sub(then.0), now.1.saturating_sub(then.1))
        };
        Self {
            inference_count: self.inference_count.saturating_sub(before.inference_count),
            execution_count: self.execution_count.saturating_sub(before.execution_count),
            success: pair(self.success, before.success),
            fail: pair(self.fail, before.fail),
            queue: pair(self.queue, before.queue),
            compute_input: pair(self.compute_input, before.compute_input),
            compute_infer: pair(self.compute_infer, before.compute_infer),
            compute_output: pair(self.compute_output, before.compute_output),
        }
    }

    /// Adds what another has done.
    pub(super) fn add(&mut self, other: &Self) {
        let pair = |a: (u64, u64), b: (u64, u64)| (a.0 + b.0, a.1 + b.1);
        *self = Self {
            inference_count: self.inference_count + other.inference_count,
            execution_count: self.execution_count + other.execution_count,
            success: pair(self.success, other.success),
            fail: pair(self.fail, other.fail),
            queue: pair(self.queue, other.queue),
            compute_input: pair(self.compute_input, other.compute_input),
            compute_infer: pair(self.compute_infer, other.compute_infer),
            compute_output: pair(self.compute_output, other.compute_output),
        };
    }
}
