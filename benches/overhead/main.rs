//! What Despina itself costs: a closed loop against models that compute nothing, over HTTP and
//! gRPC, from 1 to 64 requests in flight, small tensors and large ones; then the time from start to
//! ready, and resident memory. Every answer is checked byte by byte.
//!
//! ```text
//! cargo bench --bench overhead [-- [--quick] [--seconds N] [--only http|grpc] [--model NAME] [--in-flight N]]
//! ```
//!
//! Prints Markdown. The rows named `floor` are a bare TCP server that is sent the bytes of the same
//! HTTP requests and sends back as much as the model answers: what the machine and this client leave to win. The client
//! runs on the same machine, and takes its share of it.
//!
//! Measures no engine, and compares with no other server.

#![allow(clippy::print_stdout, reason = "its output is what a benchmark is for")]

mod client;
mod engine;
mod floor;
mod grpc;
mod http;
mod load;
mod model;
mod process;
mod report;
mod server;

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};

use self::{
    client::Client,
    floor::Floor,
    load::{Measurement, Plan},
    model::Model,
    process::Process,
    report::Row,
    server::Server,
};

/// Requests in flight.
const CONCURRENCY: [usize; 3] = [1, 8, 64];
/// How often the server is started to see how long that takes.
const STARTS: usize = 11;
/// After it is ready, a server is left alone for so long before its memory is read.
const SETTLE: Duration = Duration::from_millis(200);

/// Measures Despina's overhead.
#[derive(Debug, Parser)]
struct Arguments {
    /// Measure each case for half a second. For a look, not for a record.
    #[arg(long)]
    quick: bool,
    /// Measure each case for so many seconds; 5 if not given.
    #[arg(long, conflicts_with = "quick")]
    seconds: Option<f64>,
    /// Measure one protocol only.
    #[arg(long)]
    only: Option<Protocol>,
    /// Measure one model only.
    #[arg(long)]
    model: Option<String>,
    /// Measure with so many requests in flight only.
    #[arg(long)]
    in_flight: Option<usize>,
    /// What cargo adds when it runs a benchmark, and leaves out when it runs tests.
    #[arg(long, hide = true)]
    bench: bool,
    /// Be the floor's server, for requests and output tensors of these many bytes.
    #[arg(long, hide = true, num_args = 2)]
    floor_server: Option<Vec<usize>>,
    /// Be the bare engine, with the models of this repository.
    #[arg(long, hide = true)]
    bare_engine: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Protocol {
    Http,
    Grpc,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(&[request_byte_size, tensor_byte_size]) = arguments.floor_server.as_deref() {
        return floor::serve(request_byte_size, tensor_byte_size);
    }
    if let Some(repository) = &arguments.bare_engine {
        return engine::hold(repository);
    }
    if !arguments.bench {
        println!("not measured: start it with cargo bench");
        return Ok(());
    }
    let seconds = match (arguments.seconds, arguments.quick) {
        (Some(seconds), _) => seconds,
        (None, true) => 0.5,
        (None, false) => 5.0,
    };
    let plan = Plan::new(Duration::try_from_secs_f64(seconds).context("--seconds")?);
    let folder = tempfile::tempdir()?;
    report::print_setting(&plan);
    report::print_header();
    let is_whole = arguments.model.is_none() && arguments.in_flight.is_none();
    let mut bench = Bench {
        plan,
        concurrency: arguments
            .in_flight
            .map_or_else(|| CONCURRENCY.to_vec(), |count| vec![count]),
        model: arguments.model,
        floor: BTreeMap::new(),
    };
    bench.measure_floor()?;
    let loaded = bench.measure_server(&write_models(folder.path())?, arguments.only)?;
    if is_whole {
        measure_start_and_memory(&folder.path().join("empty"), loaded)?;
    }
    Ok(())
}

/// The load's cases, in the order in which they are printed.
struct Bench {
    plan: Plan,
    concurrency: Vec<usize>,
    /// The only model that is measured; `None` for all.
    model: Option<String>,
    /// The floor's server CPU time per request, by byte sizes and requests in flight.
    floor: BTreeMap<(Sizes, usize), Duration>,
}

/// Bytes of a request's tensor, and of its answer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Sizes {
    input: usize,
    output: usize,
}

impl Sizes {
    fn of(model: &Model) -> Self {
        Self {
            input: model.byte_size(),
            output: model.output_byte_size(),
        }
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.input == self.output {
            return f.pad(&self.input.to_string());
        }
        f.pad(&format!("{} to {}", self.input, self.output))
    }
}

impl Bench {
    fn measure_floor(&mut self) -> Result<()> {
        let measured_sizes: Vec<_> = self.models().map(Sizes::of).collect();
        let floors = [
            model::IDENTITY_SMALL,
            model::IDENTITY_LARGE,
            model::CLASSIFIER,
        ];
        for model in &floors {
            if !measured_sizes.contains(&Sizes::of(model)) {
                continue;
            }
            let floor = Floor::start(model)?;
            let client = http::HttpClient::of_floor(floor.address, model);
            for concurrency in self.concurrency.clone() {
                let measured = load::measure(&client, concurrency, &self.plan, &floor.process)?;
                let case = (Sizes::of(model), concurrency);
                self.floor.insert(case, measured.server_cpu);
                self.print("floor", "-", model, concurrency, &measured);
            }
        }
        Ok(())
    }

    /// Returns the server's resident memory in bytes after all of it.
    fn measure_server(&self, repository: &Path, only: Option<Protocol>) -> Result<u64> {
        let server = Server::start(repository)?;
        for model in self.models() {
            if only != Some(Protocol::Grpc) {
                let client = http::HttpClient::new(server.http, model);
                self.measure("http", &client, model, &server.process)?;
            }
            if only != Some(Protocol::Http) {
                let client = grpc::GrpcClient::new(server.grpc, model)?;
                self.measure("grpc", &client, model, &server.process)?;
            }
        }
        server.process.resident_byte_size()
    }

    fn models(&self) -> impl Iterator<Item = &'static Model> {
        let only = self.model.as_deref();
        let all = model::ALL.iter();
        all.filter(move |model| only.is_none_or(|name| name == model.name))
    }

    fn measure<C: Client>(
        &self,
        protocol: &str,
        client: &C,
        model: &Model,
        server: &Process,
    ) -> Result<()> {
        for &concurrency in &self.concurrency {
            let measured = load::measure(client, concurrency, &self.plan, server)
                .with_context(|| format!("{protocol}, {}, {concurrency} in flight", model.name))?;
            self.print(protocol, model.name, model, concurrency, &measured);
        }
        Ok(())
    }

    fn print(
        &self,
        protocol: &str,
        name: &str,
        model: &Model,
        concurrency: usize,
        measured: &Measurement,
    ) {
        let sizes = Sizes::of(model);
        let floor_cpu = self.floor.get(&(sizes, concurrency)).copied();
        report::print_row(&Row {
            protocol,
            model: name,
            tensor_byte_size: sizes.to_string(),
            concurrency,
            measured,
            floor_cpu: floor_cpu.unwrap_or(measured.server_cpu),
        });
    }
}

fn write_models(folder: &Path) -> Result<PathBuf> {
    let repository = folder.join("models");
    for model in &model::ALL {
        model.write(&repository)?;
    }
    Ok(repository)
}

fn measure_start_and_memory(empty: &Path, loaded: u64) -> Result<()> {
    fs::create_dir_all(empty)?;
    let mut times = Vec::with_capacity(STARTS);
    let mut resident = 0;
    for _ in 0..STARTS {
        let server = Server::start(empty)?;
        times.push(server.ready_after);
        if times.len() == STARTS {
            thread::sleep(SETTLE);
            resident = server.process.resident_byte_size()?;
        }
    }
    times.sort_unstable();
    report::print_start_header();
    report::print_start(
        &format!("start to ready, median of {STARTS}"),
        times[STARTS / 2],
    );
    report::print_memory("empty repository", resident);
    report::print_memory("after the load above", loaded);
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("model_repository");
    let server = Server::start(&sample)?;
    if server.all_models_ready()? {
        thread::sleep(SETTLE);
        report::print_start(
            "start to ready, sample repository, one run",
            server.ready_after,
        );
        report::print_memory("sample repository", server.process.resident_byte_size()?);
        let engine = engine::start(&sample)?;
        thread::sleep(SETTLE);
        report::print_memory(
            "the bare engine with the same sessions",
            engine.resident_byte_size()?,
        );
    } else {
        report::print_no_sample();
    }
    Ok(())
}
