//! Binds threads of the host to cores and to a memory node. Decides nothing: who is bound to what is
//! a setting.

#![expect(
    unsafe_code,
    reason = "affinity and memory policy are set through libc"
)]

use std::{collections::BTreeSet, fs, io, mem};

/// The kernel's interface counts no further, with the set that libc has for it.
const CORE_LIMIT: usize = 1024;

/// Nodes that one mask can name.
const NODE_LIMIT: u32 = u64::BITS;

const NODES: &str = "/sys/devices/system/node";

/// Which cores a thread may run on, and which node its memory comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Affinity {
    /// The cores; empty for those of `numa_node`, or for all.
    pub cores: BTreeSet<usize>,
    /// The memory node; any if not set.
    pub numa_node: Option<u32>,
}

impl Affinity {
    /// Checks that the cores and the node are there, and that this process may use the cores.
    ///
    /// # Errors
    /// One line that names what is missing, and what there is.
    pub fn check(&self) -> Result<(), String> {
        let allowed = allowed_cores().map_err(|error| format!("cannot read the cores: {error}"))?;
        if let Some(core) = self.cores.difference(&allowed).next() {
            return Err(format!(
                "core {core} is not one of those that this process may use: {}",
                show_cores(&allowed)
            ));
        }
        let Some(node) = self.numa_node else {
            return Ok(());
        };
        let nodes = nodes();
        if node >= NODE_LIMIT || !nodes.contains(&node) {
            let nodes: Vec<_> = nodes.iter().map(u32::to_string).collect();
            return Err(format!(
                "memory node {node} is not there, this machine has: {}",
                nodes.join(", ")
            ));
        }
        if self.cores.is_empty() && node_cores(node).is_disjoint(&allowed) {
            return Err(format!(
                "memory node {node} has no core that this process may use, which are: {}",
                show_cores(&allowed)
            ));
        }
        Ok(())
    }

    /// Binds the calling thread, and the threads that it will start.
    ///
    /// # Errors
    /// If the cores are refused. A memory policy that is refused, as in many containers, is only
    /// logged: the memory that a thread touches first comes from its cores' node in any case.
    pub fn apply(&self) -> Result<(), String> {
        let cores = match self.numa_node {
            Some(node) if self.cores.is_empty() => {
                let allowed = allowed_cores().map_err(|error| error.to_string())?;
                node_cores(node).intersection(&allowed).copied().collect()
            }
            _ => self.cores.clone(),
        };
        if !cores.is_empty() {
            run_on(&cores).map_err(|error| {
                format!(
                    "cannot bind a thread to the cores {}: {error}",
                    show_cores(&cores)
                )
            })?;
        }
        if let Some(node) = self.numa_node
            && let Err(error) = take_memory_from(node)
        {
            tracing::warn!(numa_node = node, %error, "cannot bind a thread's memory");
        }
        Ok(())
    }
}

/// Reads a list of cores as Linux and Triton write them, such as `0-7,10`.
///
/// # Errors
/// One line that names the part that is wrong.
pub fn parse_cores(text: &str) -> Result<BTreeSet<usize>, String> {
    let mut cores = BTreeSet::new();
    for part in text.split(',').map(str::trim) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (Ok(first), Ok(last)) = (first.trim().parse(), last.trim().parse::<usize>()) else {
            return Err(format!("'{part}' is neither a core nor <first>-<last>"));
        };
        if first > last {
            return Err(format!("'{part}' ends before it begins"));
        }
        if last >= CORE_LIMIT {
            return Err(format!(
                "core {last} is beyond the last one, {}",
                CORE_LIMIT - 1
            ));
        }
        cores.extend(first..=last);
    }
    Ok(cores)
}

/// Writes a list of cores as [`parse_cores`] reads it.
pub fn show_cores(cores: &BTreeSet<usize>) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for &core in cores {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == core => *last = core,
            _ => ranges.push((core, core)),
        }
    }
    let shown: Vec<_> = ranges
        .iter()
        .map(|&(first, last)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        })
        .collect();
    shown.join(",")
}

/// The cores that the calling thread may run on.
///
/// # Errors
/// If the kernel does not say.
pub fn allowed_cores() -> io::Result<BTreeSet<usize>> {
    // SAFETY: an all-zero `cpu_set_t` is a valid, empty set.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: the pointer is to a set of the size that is said; 0 is the calling thread.
    let status = unsafe { libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) };
    if status != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `core` is less than `CORE_LIMIT`, the number of cores in a set.
    let is_set = |core: &usize| unsafe { libc::CPU_ISSET(*core, &set) };
    Ok((0..CORE_LIMIT).filter(is_set).collect())
}

fn run_on(cores: &BTreeSet<usize>) -> io::Result<()> {
    // SAFETY: an all-zero `cpu_set_t` is a valid, empty set.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    for &core in cores.range(..CORE_LIMIT) {
        // SAFETY: `core` is less than `CORE_LIMIT`, the number of cores in a set.
        unsafe { libc::CPU_SET(core, &mut set) };
    }
    // SAFETY: the pointer is to a set of the size that is said; 0 is the calling thread.
    match unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn take_memory_from(node: u32) -> io::Result<()> {
    let mask: u64 = 1_u64
        .checked_shl(node)
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    // The kernel takes one bit less than it is told.
    let bits = u64::from(NODE_LIMIT) + 1;
    // SAFETY: the mask is as long as the kernel is told to read, and outlives the call.
    let status = unsafe {
        libc::syscall(
            libc::SYS_set_mempolicy,
            libc::MPOL_BIND,
            &raw const mask,
            bits,
        )
    };
    match status {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The memory nodes of this machine; one where the kernel knows of none.
fn nodes() -> BTreeSet<u32> {
    let online = fs::read_to_string(format!("{NODES}/online")).unwrap_or_default();
    let listed = parse_cores(&online).unwrap_or_else(|_| BTreeSet::from([0]));
    listed
        .into_iter()
        .filter_map(|node| u32::try_from(node).ok())
        .collect()
}

/// A node's cores; all where the kernel does not say.
fn node_cores(node: u32) -> BTreeSet<usize> {
    let listed = fs::read_to_string(format!("{NODES}/node{node}/cpulist")).unwrap_or_default();
    parse_cores(&listed).unwrap_or_else(|_| (0..CORE_LIMIT).collect())
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn lists_of_cores_are_read_as_they_are_written() {
        for (text, want) in [
            ("3", "3"),
            ("0-2,10", "0-2,10"),
            ("5,4, 3 ", "3-5"),
            ("1-1,1023", "1,1023"),
        ] {
            assert_eq!(show_cores(&parse_cores(text).unwrap()), want);
        }
        for (text, want) in [
            ("", "'' is neither a core nor <first>-<last>"),
            ("0-3,x", "'x' is neither a core nor <first>-<last>"),
            ("-1", "'-1' is neither a core nor <first>-<last>"),
            ("7-3", "'7-3' ends before it begins"),
            ("0-1024", "core 1024 is beyond the last one, 1023"),
        ] {
            assert_eq!(parse_cores(text).unwrap_err(), want);
        }
    }

    #[test]
    fn a_thread_runs_where_it_is_bound_and_so_do_the_threads_it_starts() {
        let first = *allowed_cores().unwrap().first().unwrap();
        let affinity = Affinity {
            cores: BTreeSet::from([first]),
            numa_node: None,
        };
        affinity.check().unwrap();
        let bound = thread::spawn(move || {
            affinity.apply().unwrap();
            let inner = thread::spawn(|| allowed_cores().unwrap()).join().unwrap();
            (allowed_cores().unwrap(), inner)
        });
        let want = BTreeSet::from([first]);
        assert_eq!(bound.join().unwrap(), (want.clone(), want));
    }

    #[test]
    fn cores_and_nodes_that_are_not_there_are_named() {
        let core = Affinity {
            cores: BTreeSet::from([CORE_LIMIT - 1]),
            numa_node: None,
        };
        let error = core.check().unwrap_err();
        assert!(error.starts_with("core 1023 is not one of"), "{error}");
        let node = Affinity {
            cores: BTreeSet::new(),
            numa_node: Some(63),
        };
        let error = node.check().unwrap_err();
        assert!(error.starts_with("memory node 63 is not there"), "{error}");
    }

    #[test]
    fn a_node_alone_means_its_cores() {
        let node = *nodes().first().unwrap();
        let affinity = Affinity {
            cores: BTreeSet::new(),
            numa_node: Some(node),
        };
        affinity.check().unwrap();
        let bound = thread::spawn(move || {
            affinity.apply().unwrap();
            allowed_cores().unwrap()
        });
        assert!(bound.join().unwrap().is_subset(&node_cores(node)));
    }
}
