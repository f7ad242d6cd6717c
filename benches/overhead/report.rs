//! The Markdown that comes out.

use std::{env, fs, thread, time::Duration};

use super::load::{Measurement, Plan};

/// One case of the load.
pub struct Row<'a> {
    pub protocol: &'a str,
    pub model: &'a str,
    /// In, and out if that is another.
    pub tensor_byte_size: String,
    pub concurrency: usize,
    pub measured: &'a Measurement,
    /// What the floor's server took per request in the same case.
    pub floor_cpu: Duration,
}

/// What was run, where and how.
pub fn print_setting(plan: &Plan) {
    let arguments: Vec<_> = env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let separator = if arguments.is_empty() { "" } else { " -- " };
    println!(
        "Command: `cargo bench --bench overhead{separator}{}`",
        arguments.join(" ")
    );
    println!();
    println!(
        "Machine: {}, {} processors, Linux {}. Client on the same machine, on at most {} \
         thread(s). Each case {} s after a warm-up of {} s.",
        processor(),
        thread::available_parallelism().map_or(1, usize::from),
        read("/proc/sys/kernel/osrelease").trim(),
        plan.threads,
        plan.duration.as_secs_f64(),
        plan.warmup.as_secs_f64(),
    );
    println!();
}

/// The head of the load's table.
pub fn print_header() {
    println!(
        "| protocol | model            | tensor, bytes | in flight | requests/s |   p50, µs |   \
         p99, µs | server CPU, µs/request | ÷ floor | client CPU, µs/request |"
    );
    println!("| --- | --- | --: | --: | --: | --: | --: | --: | --: | --: |");
}

/// One line of it.
pub fn print_row(row: &Row<'_>) {
    let measured = row.measured;
    println!(
        "| {:<8} | {:<16} | {:>13} | {:>9} | {:>10.0} | {:>9.1} | {:>9.1} | {:>22.2} | {:>7.2} | \
         {:>22.2} |",
        row.protocol,
        row.model,
        row.tensor_byte_size,
        row.concurrency,
        measured.requests_per_second,
        microseconds(measured.p50),
        microseconds(measured.p99),
        microseconds(measured.server_cpu),
        measured.server_cpu.as_secs_f64() / row.floor_cpu.as_secs_f64(),
        microseconds(measured.client_cpu),
    );
}

/// The head of the second table: start and memory.
pub fn print_start_header() {
    println!();
    println!("| start and resident memory | |");
    println!("| --- | --: |");
}

/// A time from the start to ready.
pub fn print_start(what: &str, time: Duration) {
    println!("| {what} | {:.1} ms |", time.as_secs_f64() * 1e3);
}

/// Resident memory.
pub fn print_memory(what: &str, byte_size: u64) {
    println!("| resident, {what} | {} KiB |", byte_size / 1024);
}

/// The sample repository needs ONNX Runtime.
pub fn print_no_sample() {
    println!("| resident, sample repository | not measured: a model is not ready |");
}

fn microseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn processor() -> String {
    let cpuinfo = read("/proc/cpuinfo");
    let name = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or("unknown processor", |(_, name)| name.trim())
        .to_owned()
}

/// The file's text; empty if it cannot be read.
fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
