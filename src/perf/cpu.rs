//! Processor time: of this process, and of the server's processes if they are on this machine.

use std::{
    collections::{HashMap, HashSet},
    fs,
    net::{IpAddr, SocketAddr, UdpSocket},
    num::NonZero,
    path::Path,
    thread,
    time::Duration,
};

use rustix::{
    param::clock_ticks_per_second,
    time::{ClockId, clock_gettime},
};

/// The state of a socket that listens, in the kernel's tables.
const LISTENS: &str = "0A";

/// Processor time that this process has taken.
pub(super) fn own_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// A server's processes: those that listen, and all that they started.
#[derive(Clone, Debug)]
pub(super) struct ServerProcesses {
    roots: Vec<u32>,
}

impl ServerProcesses {
    /// Those that listen at an address; `None` if it is another machine's, or they are other users'.
    pub(super) fn listening_at(address: SocketAddr) -> Option<Self> {
        if !is_local(address.ip()) {
            return None;
        }
        let mut sockets = HashSet::new();
        for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
            let table = fs::read_to_string(table).unwrap_or_default();
            sockets.extend(listening_sockets(&table, address.port()));
        }
        let roots: Vec<u32> = processes()
            .filter(|process| has_socket(*process, &sockets))
            .collect();
        (!roots.is_empty()).then_some(Self { roots })
    }

    /// Processor time that they have taken.
    pub(super) fn time(&self) -> Duration {
        let stats: HashMap<u32, Stat> = processes()
            .filter_map(|process| {
                let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
                Some((process, Stat::parse(&text)?))
            })
            .collect();
        let ticks: u64 = stats
            .iter()
            .filter(|(process, _)| self.includes(**process, &stats))
            .map(|(_, stat)| stat.ticks)
            .sum();
        Duration::from_secs_f64(ticks as f64 / clock_ticks_per_second() as f64)
    }

    fn includes(&self, mut process: u32, stats: &HashMap<u32, Stat>) -> bool {
        while !self.roots.contains(&process) {
            match stats.get(&process) {
                Some(stat) if stat.parent != process => process = stat.parent,
                _ => return false,
            }
        }
        true
    }
}

/// Whether an address is this machine's: only then can a socket be bound to it.
fn is_local(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The inodes of the sockets that listen at a port, from one of the kernel's tables.
fn listening_sockets(table: &str, port: u16) -> Vec<u64> {
    let suffix = format!(":{port:04X}");
    let rows = table.lines().skip(1);
    rows.filter_map(|row| {
        let fields: Vec<&str> = row.split_whitespace().collect();
        let [_, local, _, LISTENS, _, _, _, _, _, inode, ..] = fields[..] else {
            return None;
        };
        local.ends_with(&suffix).then(|| inode.parse().ok())?
    })
    .collect()
}

fn has_socket(process: u32, sockets: &HashSet<u64>) -> bool {
    let folder = format!("/proc/{process}/fd");
    let files = fs::read_dir(Path::new(&folder))
        .into_iter()
        .flatten()
        .flatten();
    files
        .filter_map(|file| fs::read_link(file.path()).ok())
        .any(|target| {
            let target = target.to_string_lossy();
            let inode = target
                .strip_prefix("socket:[")
                .and_then(|rest| rest.strip_suffix(']'));
            inode
                .and_then(|inode| inode.parse().ok())
                .is_some_and(|inode| sockets.contains(&inode))
        })
}

/// What the kernel says of a process.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    /// In user and system mode.
    ticks: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The name, in brackets, may hold anything.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self {
            parent: u32::try_from(number(1)?).ok()?,
            ticks: number(11)? + number(12)?,
        })
    }
}

/// Processors that this process may use.
pub(super) fn processor_count() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// The processor's name.
pub(super) fn processor() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or("unknown", |(_, name)| name.trim()).to_owned()
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, process};

    use super::*;

    #[test]
    fn the_process_that_listens_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let found = ServerProcesses::listening_at(address).unwrap();
        assert_eq!(found.roots, [process::id()]);
        assert!(found.time() <= own_time() + Duration::from_secs(1));
        drop(listener);
        assert!(ServerProcesses::listening_at(address).is_none());
        // 192.0.2.0/24 is nobody's.
        assert!(ServerProcesses::listening_at("192.0.2.1:80".parse().unwrap()).is_none());
    }

    #[test]
    fn a_processs_line_is_read_whatever_its_name() {
        let line = "42 (a) b (c) S 7 42 42 0 -1 4194560 1 2 3 4 150 25 8 9 20 0 3 0";
        let stat = Stat {
            parent: 7,
            ticks: 175,
        };
        assert_eq!(Stat::parse(line), Some(stat));
        assert_eq!(Stat::parse("42 (x"), None);
    }

    #[test]
    fn only_sockets_that_listen_at_the_port_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1\n\
            1: 0100007F:1F40 0100007F:A000 01 00000000:00000000 00:00000000 00000000     0        0 222 1\n\
            2: 00000000:1F41 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 333 1\n";
        assert_eq!(listening_sockets(table, 8000), [111]);
    }
}
