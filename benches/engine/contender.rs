//! The ways to ask the same model through Despina, all driven by `despina perf`.

use std::{path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::server::Server;

/// Where and for how long.
#[derive(Clone, Debug)]
pub struct Plan {
    pub repository: PathBuf,
    pub duration: Duration,
}

impl Plan {
    /// A model's file.
    pub fn file(&self, model: &str) -> PathBuf {
        self.repository.join(model).join("1").join("model.onnx")
    }
}

/// What came of one round.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    pub rows_per_second: f64,
    /// For each second of processor time: of the server, or in process of both sides.
    pub rows_per_cpu_second: f64,
}

/// One way to ask.
#[derive(Clone, Debug)]
pub struct Contender {
    pub name: String,
    over_grpc: bool,
    rows: usize,
    concurrency: usize,
}

impl Contender {
    /// Whole batches, and single rows that become batches of that many.
    pub fn all(rows: usize) -> Vec<Self> {
        let mut all = Vec::new();
        for over_grpc in [false, true] {
            let way = if over_grpc { "gRPC" } else { "in process" };
            all.push(Self {
                name: format!("{way}, requests of {rows} rows, 2 under way"),
                over_grpc,
                rows,
                concurrency: 2,
            });
            if rows > 4 {
                all.push(Self {
                    name: format!("{way}, requests of 1 row, {} under way", 2 * rows),
                    over_grpc,
                    rows: 1,
                    concurrency: 2 * rows,
                });
            }
        }
        all
    }

    /// Asks for a while.
    pub fn measure(&self, plan: &Plan, model: &str) -> Result<Measured> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_despina"));
        command.args(["perf", "--json", "-q", "-m", model, "--verify-every", "0"]);
        command.args(["-b", &self.rows.to_string(), "-r", "1"]);
        command.args(["-p", &plan.duration.as_millis().to_string()]);
        let warmup = plan.duration.as_millis() / 5;
        command.args(["--warmup-interval", &warmup.to_string()]);
        command.args(["--concurrency-range", &self.concurrency.to_string()]);
        let server = if self.over_grpc {
            let server = Server::start(&plan.repository)?;
            command.args(["-i", "grpc", "-u", &server.grpc.to_string()]);
            Some(server)
        } else {
            command.args(["-i", "inprocess", "--model-repository"]);
            command.arg(&plan.repository);
            None
        };
        let output = command.output()?;
        drop(server);
        ensure!(
            output.status.success(),
            "{command:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let report: Value = serde_json::from_slice(&output.stdout)?;
        let level = &report["levels"][0];
        let number = |name: &str| level[name].as_f64().with_context(|| format!("no {name}"));
        let cpu = if self.over_grpc {
            "server_cpu_us"
        } else {
            "client_cpu_us"
        };
        Ok(Measured {
            rows_per_second: number("inferences_per_second")?,
            rows_per_cpu_second: self.rows as f64 * 1e6 / number(cpu)?,
        })
    }
}
