//! The Markdown that comes out.

use std::{env, fs, thread};

use super::contender::Measured;

/// What was run, and where.
pub fn print_setting() {
    let arguments: Vec<_> = env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    println!(
        "Command: `cargo bench --bench engine -- {}`",
        arguments.join(" ")
    );
    println!();
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    println!(
        "Machine: {}, {} processors.",
        name.map_or("unknown processor", |(_, name)| name.trim()),
        thread::available_parallelism().map_or(1, usize::from)
    );
}

/// One model's table; the first of `measured` is the bare loop.
pub fn print_engine<'a>(
    model: &str,
    rows: usize,
    names: impl Iterator<Item = &'a str>,
    measured: &[Vec<Measured>],
) {
    println!();
    println!("| {model}, batches of {rows} | rows/s | ÷ bare | rows/s of CPU | ÷ bare |");
    println!("| --- | --: | --: | --: | --: |");
    let bare = &measured[0];
    let names = ["bare engine"].into_iter().chain(names);
    for (name, own) in names.zip(measured) {
        let column = |of: fn(&Measured) -> f64| {
            let absolute = spread(own.iter().map(of).collect(), 0);
            let ratios = own.iter().zip(bare).map(|(own, bare)| of(own) / of(bare));
            (absolute, spread(ratios.collect(), 2))
        };
        let (rate, ratio) = column(|measured| measured.rows_per_second);
        let (cpu_rate, cpu_ratio) = column(|measured| measured.rows_per_cpu_second);
        println!("| {name} | {rate} | {ratio} | {cpu_rate} | {cpu_ratio} |");
    }
}

/// The head of the table on JSON.
pub fn print_json_header() {
    println!();
    println!(
        "| numbers in JSON | as | bytes each | M/s of CPU | a library, one by one, M/s of CPU | ÷ |"
    );
    println!("| --- | --- | --: | --: | --: | --: |");
}

/// One line of it.
pub fn print_json(name: &str, datatype: &str, byte_size: usize, rates: &[f64], library: &[f64]) {
    let ratios: Vec<_> = rates
        .iter()
        .zip(library.iter())
        .map(|(own, other)| own / other)
        .collect();
    let millions = |rates: &[f64]| spread(rates.iter().map(|rate| rate / 1e6).collect(), 0);
    println!(
        "| {name} | {datatype} | {:.1} | {} | {} | {} |",
        byte_size as f64 / f64::from(1 << 20),
        millions(rates),
        millions(library),
        spread(ratios, 2)
    );
}

/// Median, and least and most.
fn spread(mut values: Vec<f64>, places: usize) -> String {
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    format!(
        "{:.places$} ({:.places$}–{:.places$})",
        at(values.len() / 2),
        at(0),
        at(values.len().saturating_sub(1))
    )
}
