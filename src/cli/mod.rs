//! The command line. Turns flags and environment into a configuration, calls a room, prints for
//! people; decides nothing itself.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this room talks to a terminal"
)]

mod backend_flags;
mod banner;
mod check;
mod data_flags;
mod device_check;
mod door_flags;
mod engine;
mod flags;
mod health;
mod key;
mod log_flags;
mod perf;
mod perf_flags;
mod perf_sequence_flags;
mod perf_tls_flags;
mod perf_values;
mod placement_flags;
mod plan;
mod serve;
#[cfg(test)]
mod tests;
mod tls_flags;
mod trace;
mod triton_flags;
mod tune;

use std::{ffi::OsString, path::Path, process::ExitCode};

use clap::{Parser, Subcommand};

use self::{
    check::CheckFlags, device_check::DeviceCheckFlags, engine::EngineCommand, flags::ServeFlags,
    health::HealthFlags, key::KeyCommand, perf_flags::PerfFlags, tune::TuneFlags,
};

/// A GPU-first inference server for many models at once.
///
/// Serves the models of a Triton model repository over KServe v2 (HTTP and gRPC), as a drop-in for
/// NVIDIA Triton Inference Server.
#[derive(Debug, Parser)]
#[command(
    name = "despina",
    version,
    max_term_width = 100,
    disable_help_subcommand = true
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a model repository.
    ///
    /// Settings come from, in ascending precedence: built-in defaults, the file given with
    /// --config, DESPINA_* environment variables, flags. Triton's flags are accepted: for what they mean
    /// here, or with a line in the log that says why they have no effect. Of a flag that is given twice the
    /// last one counts.
    #[command(alias = "tritonserver", args_override_self = true)]
    Serve(Box<ServeFlags>),
    /// Check every configuration and model of a repository without serving it.
    ///
    /// Each model version is loaded as it would be for serving, and dropped again. Exits with 0 if
    /// all can be served and with 1 otherwise.
    Check(Box<CheckFlags>),
    /// Say what there is on this machine for models to run on, and try it.
    ///
    /// Names each GPU and backend, and the reason for each that cannot be used. Exits with 0 if there is
    /// a GPU that models may use and, with --measure, everything that was tried on the GPUs came out right;
    /// with 1 otherwise.
    DeviceCheck(DeviceCheckFlags),
    /// Build TensorRT plans from ONNX models.
    #[command(subcommand)]
    Engine(EngineCommand),
    /// Ask a running server whether it is ready.
    ///
    /// Exits with 0 if it is, with 1 if it says that it is not, and with 2 if it does not say. For
    /// the HEALTHCHECK of a container; Kubernetes asks for /readyz itself.
    Health(HealthFlags),
    /// Make API keys for a server with authentication.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Measure a server under load.
    ///
    /// Asks any server that speaks KServe v2, at levels of concurrency or at request rates, or looks
    /// for the highest rate that meets a latency target. Options that mean what perf_analyzer's mean
    /// are called the same. Exits with 1 if any request failed.
    Perf(Box<PerfFlags>),
    /// Find settings of ONNX Runtime that suit models and this machine.
    ///
    /// Loads each model with a few candidates, measures them in turn, and prints what it found, and what
    /// to write into the model's config.pbtxt. Nothing is changed without --write.
    Tune(Box<TuneFlags>),
}

/// Runs the program; the exit code is the process's.
pub fn run() -> ExitCode {
    let arguments = arguments(std::env::args_os());
    let result = match Arguments::parse_from(arguments).command {
        Command::Serve(flags) => serve::run(&flags),
        Command::Key(command) => key::run(&command),
        Command::Check(flags) => check::run(&flags),
        Command::DeviceCheck(flags) => device_check::run(&flags),
        Command::Engine(command) => engine::run(&command),
        Command::Health(flags) => Ok(health::run(&flags)),
        Command::Perf(flags) => perf::run(&flags),
        Command::Tune(flags) => tune::run(&flags),
    };
    result.unwrap_or_else(|error| {
        eprintln!("despina: {error:#}");
        ExitCode::FAILURE
    })
}

/// Under the name `tritonserver`, as a link of that name, the program is its own `serve`.
fn arguments(given: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<_> = given.collect();
    let name = arguments.first().map(Path::new).and_then(Path::file_name);
    if name.is_some_and(|name| name == "tritonserver") {
        arguments.insert(1, "serve".into());
    }
    arguments
}
