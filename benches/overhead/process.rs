//! A server's process: its output, processor time and memory. It ends when it is dropped.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};

/// A child process whose standard output is read line by line.
pub struct Process {
    child: Child,
    /// Kept open for as long as the process lives: it may not be able to print otherwise.
    output: BufReader<ChildStdout>,
}

impl Process {
    pub fn start(command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let output = BufReader::new(child.stdout.take().context("no standard output")?);
        Ok(Self { child, output })
    }

    /// The next line that it prints.
    ///
    /// # Errors
    /// If it ended.
    pub fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let read = self.output.read_line(&mut line)?;
        ensure!(read > 0, "a server ended before it was ready");
        Ok(line)
    }

    /// Processor time that it has taken.
    pub fn cpu_time(&self) -> Result<Duration> {
        cpu_time(&self.child.id().to_string())
    }

    /// Resident memory.
    pub fn resident_byte_size(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let kibibytes: u64 = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB"))
            .context("no VmRSS")?
            .trim()
            .parse()?;
        Ok(kibibytes * 1024)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Processor time that a process's threads have taken; exact to the scheduler's last tick, where
/// the times of `stat` are whole hundredths of a second. Threads that ended are not counted.
pub fn cpu_time(process: &str) -> Result<Duration> {
    let mut nanoseconds = 0;
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let path = thread?.path().join("schedstat");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let running = text
            .split_whitespace()
            .next()
            .context("an empty schedstat")?;
        nanoseconds += running.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}
