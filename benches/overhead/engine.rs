//! The bare engine: a process that does nothing but hold the sample repository's sessions in ONNX
//! Runtime, with the settings that the server uses. What the server takes beyond it is its own.

use std::{
    env,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Result, anyhow};
use despina::backend::onnxruntime;
use ort::{environment::GlobalThreadPoolOptions, session::Session};

use super::process::Process;

/// Model, version, and instances that the server makes of it on the CPU.
const SESSIONS: [(&str, u64, usize); 6] = [
    ("digits", 1, 2),
    ("fraud", 1, 1),
    ("fraud", 2, 1),
    ("iot_anomaly", 1, 2),
    ("text_embedding", 1, 1),
    ("topic", 1, 1),
];

/// Starts the process and waits until its sessions are there.
pub fn start(repository: &Path) -> Result<Process> {
    let mut command = Command::new(env::current_exe()?);
    command
        .arg("--bare-engine")
        .arg(repository)
        .stderr(Stdio::null());
    let mut process = Process::start(&mut command)?;
    process.line()?;
    Ok(process)
}

/// Holds the sessions until it is killed.
pub fn hold(repository: &Path) -> Result<()> {
    let library = onnxruntime::locate(&onnxruntime::Config::default()).map_err(|e| anyhow!(e))?;
    let builder = ort::init_from(&library.path)?;
    let pool = GlobalThreadPoolOptions::default()
        .with_inter_threads(1)?
        .with_spin_control(false)?;
    let environment = builder.with_global_thread_pool(pool).build()?;
    let mut sessions = Vec::new();
    for (model, version, count) in SESSIONS {
        let file = repository
            .join(model)
            .join(version.to_string())
            .join("model.onnx");
        for _ in 0..count {
            let builder = Session::builder(&environment)?.with_memory_pattern(false);
            let mut builder = builder.map_err(|error| anyhow!("{error}"))?;
            sessions.push(builder.commit_from_file(&file)?);
        }
    }
    println!("{} sessions", sessions.len());
    loop {
        std::thread::park();
    }
}
