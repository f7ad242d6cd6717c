//! A server's process: its output, processor time and memory. It ends when it is dropped.

#![expect(unsafe_code, reason = "the system's clocks are read through C")]

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
        cpu_time(Some(self.child.id()))
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

/// Processor time that a process has taken, threads that ended included; `None` for this process.
pub fn cpu_time(process: Option<u32>) -> Result<Duration> {
    let process = process.map_or(Ok(0), libc::pid_t::try_from)?;
    let mut clock = 0;
    // SAFETY: `clock` is where the call may write.
    let error = unsafe { libc::clock_getcpuclockid(process, &raw mut clock) };
    ensure!(error == 0, "process {process} has no clock: error {error}");
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is where the call may write.
    let failed = unsafe { libc::clock_gettime(clock, &raw mut time) } != 0;
    ensure!(!failed, "the clock of process {process} cannot be read");
    Ok(Duration::new(
        time.tv_sec.try_into()?,
        time.tv_nsec.try_into()?,
    ))
}
