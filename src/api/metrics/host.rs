//! CPU and memory of the machine, from Linux's `/proc`.

use std::{
    fs,
    sync::{Mutex, PoisonError},
};

/// The machine's memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Memory {
    pub(super) total: u64,
    pub(super) used: u64,
}

/// Reads the machine's memory; `None` where `/proc` is missing or different.
pub(super) fn memory() -> Option<Memory> {
    parse_memory(&fs::read_to_string("/proc/meminfo").ok()?)
}

/// Measures the CPU between one reading and the next (the first: since the machine started).
#[derive(Debug, Default)]
pub(super) struct CpuMeter {
    last: Mutex<CpuTime>,
}

impl CpuMeter {
    /// The busy share of all CPUs, from 0 to 1; `None` where `/proc` is missing or different, or
    /// no time has passed.
    pub(super) fn utilization(&self) -> Option<f64> {
        let now = parse_cpu(&fs::read_to_string("/proc/stat").ok()?)?;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        busy_share(std::mem::replace(&mut last, now), now)
    }
}

/// Clock ticks since the machine started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct CpuTime {
    idle: u64,
    total: u64,
}

fn busy_share(before: CpuTime, now: CpuTime) -> Option<f64> {
    let total = now.total.checked_sub(before.total).filter(|&t| t > 0)?;
    let idle = now.idle.saturating_sub(before.idle).min(total);
    #[allow(clippy::cast_precision_loss)] // a share for dashboards
    Some((total - idle) as f64 / total as f64)
}

/// The first line: `cpu user nice system idle iowait irq softirq steal guest guest_nice`, where
/// the guests' time is part of the users'.
fn parse_cpu(stat: &str) -> Option<CpuTime> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Option<Vec<u64>> = line
        .split_whitespace()
        .take(8)
        .map(|field| field.parse().ok())
        .collect();
    let ticks = ticks?;
    Some(CpuTime {
        idle: ticks
            .get(3)?
            .saturating_add(ticks.get(4).copied().unwrap_or(0)),
        total: ticks.iter().fold(0, |sum, &t| sum.saturating_add(t)),
    })
}

fn parse_memory(meminfo: &str) -> Option<Memory> {
    let bytes = |key: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(key))?;
        let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        kibibytes.checked_mul(1024)
    };
    let (total, available) = (bytes("MemTotal:")?, bytes("MemAvailable:")?);
    Some(Memory {
        total,
        used: total.saturating_sub(available),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_cpu_ticks_and_their_busy_share() {
        let before = parse_cpu("cpu  10 0 10 70 10 0 0 0 5 5\ncpu0 1 1 1 1\n").unwrap();
        assert_eq!(
            before,
            CpuTime {
                idle: 80,
                total: 100
            }
        );
        let now = CpuTime {
            idle: 85,
            total: 120,
        };
        assert_eq!(busy_share(before, now), Some(0.75));
        assert_eq!(busy_share(now, now), None);
        assert_eq!(parse_cpu("intr 1 2\n"), None);
    }

    #[test]
    fn reads_memory_in_bytes() {
        let text = "MemTotal:       16 kB\nMemFree: 1 kB\nMemAvailable:    4 kB\n";
        let memory = Memory {
            total: 16 << 10,
            used: 12 << 10,
        };
        assert_eq!(parse_memory(text), Some(memory));
        assert_eq!(parse_memory("MemTotal: 16 kB\n"), None);
    }
}
