//! What goes wrong on a device, and when.

use std::path::PathBuf;

/// The faults of one device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    pub(crate) no_context: bool,
    /// Allocations that still succeed.
    pub(crate) out_of_memory_after: Option<u64>,
    /// Operations on streams that still succeed.
    pub(crate) dies_after: Option<u64>,
    /// A file that kills it.
    pub(crate) dies_when: Option<PathBuf>,
    /// Errors that NVML tells of while everything goes on, each once a file exists.
    pub(crate) xids: Vec<(u64, PathBuf)>,
    /// A file from which on NVML cannot reach it.
    pub(crate) unreachable_when: Option<PathBuf>,
}

impl Faults {
    /// Those in `text` that concern device `ordinal`.
    ///
    /// # Errors
    /// The part that cannot be read.
    pub(crate) fn parse(text: &str, ordinal: usize) -> Result<Self, String> {
        let mut faults = Self::default();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (device, fault) = part.split_once(':').ok_or(part)?;
            let concerned = match device {
                "*" => true,
                number => number.parse::<usize>().map_err(|_| part)? == ordinal,
            };
            let mut one = Self::default();
            one.add(fault).ok_or(part)?;
            if concerned {
                faults.add(fault);
            }
        }
        Ok(faults)
    }

    fn add(&mut self, fault: &str) -> Option<()> {
        match fault.split_once('=') {
            None if fault == "no-context" => self.no_context = true,
            Some(("out-of-memory-after", count)) => {
                self.out_of_memory_after = Some(count.parse().ok()?);
            }
            Some(("dies-after", count)) => self.dies_after = Some(count.parse().ok()?),
            Some(("dies-when", path)) => self.dies_when = Some(path.into()),
            Some(("unreachable-when", path)) => self.unreachable_when = Some(path.into()),
            Some((xid, path)) => {
                let number = xid.strip_prefix("xid-")?.strip_suffix("-when")?;
                self.xids.push((number.parse().ok()?, path.into()));
            }
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_device_gets_its_own_faults() {
        let text = "2:dies-after=10,*:out-of-memory-after=5,1:no-context,2:dies-when=/a=b";
        let of = |ordinal| Faults::parse(text, ordinal).unwrap();
        assert!(of(1).no_context && !of(2).no_context);
        let told =
            Faults::parse("1:xid-79-when=/a,1:xid-63-when=/b,1:unreachable-when=/c", 1).unwrap();
        assert_eq!(told.xids, [(79, "/a".into()), (63, "/b".into())]);
        assert_eq!(told.unreachable_when, Some("/c".into()));
        assert_eq!(of(2).dies_after, Some(10));
        assert_eq!(of(2).dies_when, Some("/a=b".into()));
        assert_eq!(
            (of(0).dies_after, of(0).out_of_memory_after),
            (None, Some(5))
        );
    }

    #[test]
    fn a_misspelt_fault_is_refused_for_every_device() {
        for bad in [
            "1:dies",
            "x:no-context",
            "no-context",
            "1:dies-after=x",
            "1:xid-x-when=/a",
            "1:xid-79=/a",
        ] {
            assert_eq!(Faults::parse(bad, 0), Err(bad.to_owned()));
        }
    }
}
