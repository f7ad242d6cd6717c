//! Where engines are kept that were built, and what is written down beside each. The store itself is a seam: a
//! folder is one, others may follow.

use std::{fmt, io, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use tempfile::TempPath;

use super::key::EngineKey;
use crate::backend::Verdict;

/// Keeps engines by key. What cannot be read, or is not what was kept, is not there: never an error.
pub(super) trait EngineStore: fmt::Debug + Send + Sync {
    /// The engine of that key, verified, in a file that can be read for now.
    fn find(&self, key: &EngineKey) -> Option<Kept>;

    /// An empty file to build into, which goes with the value unless it is kept.
    ///
    /// # Errors
    /// If none can be made.
    fn stage(&self) -> io::Result<TempPath>;

    /// Keeps what was built into a staged file; others may go for it.
    ///
    /// # Errors
    /// If it cannot be written, or is larger than all that may be kept.
    fn keep(&self, key: &EngineKey, staged: TempPath, note: &Note) -> io::Result<Kept>;

    /// Writes down what came of comparing the engine; a store that cannot has it compared again.
    fn judge(&self, key: &EngineKey, verdict: &Verdict);

    /// A file in which builds like that one keep what they learn about kernels.
    fn timing_cache(&self, of: &str) -> PathBuf;
}

/// An engine that is there.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Kept {
    /// The plan.
    pub(super) file: PathBuf,
    /// What is known of it.
    pub(super) record: Record,
}

/// What who keeps an engine says of it; for people.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(super) struct Note {
    /// The model's name.
    pub(super) model: String,
    /// TensorRT, device and driver.
    pub(super) built_for: String,
    /// How long it took.
    pub(super) build_seconds: f64,
}

/// What is written down beside an engine.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Record {
    /// How the record is to be read.
    pub(super) format: u32,
    /// Bytes of the plan.
    pub(super) byte_size: u64,
    /// Of the plan, in hexadecimal digits.
    pub(super) sha256: String,
    /// For people.
    pub(super) note: Note,
    /// What came of comparing it, if that was done.
    pub(super) verdict: Option<Verdict>,
}

impl Record {
    /// The one way of reading them.
    pub(super) const FORMAT: u32 = 1;

    /// Whether the plan is what was kept: its length and its digest.
    ///
    /// # Errors
    /// What differs.
    pub(super) fn verify(&self, byte_size: u64, sha256: &str) -> Result<(), String> {
        if self.format != Self::FORMAT {
            return Err(format!("its record has the unknown format {}", self.format));
        }
        if self.byte_size != byte_size {
            return Err(format!(
                "it is {byte_size} bytes long, and was {} when it was kept",
                self.byte_size
            ));
        }
        match self.sha256 == sha256 {
            true => Ok(()),
            false => Err("its bytes are others than when it was kept".to_owned()),
        }
    }
}

/// What an engine takes of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Holding<T> {
    pub(super) name: T,
    pub(super) byte_size: u64,
    /// When it was used last, since some moment.
    pub(super) used: Duration,
}

/// What has to go so that the rest is within `limit`: what was used longest ago first.
pub(super) fn evicted<T: Clone>(holdings: &[Holding<T>], limit: u64) -> Vec<T> {
    let mut by_use: Vec<_> = holdings.iter().collect();
    by_use.sort_by_key(|holding| std::cmp::Reverse(holding.used));
    let mut left = limit;
    let mut gone = Vec::new();
    for holding in by_use {
        match left.checked_sub(holding.byte_size) {
            Some(rest) => left = rest,
            None => gone.push(holding.name.clone()),
        }
    }
    gone
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn holdings(list: &[(u64, u64)]) -> Vec<Holding<usize>> {
        let each = list.iter().enumerate();
        each.map(|(name, &(byte_size, used))| Holding {
            name,
            byte_size,
            used: Duration::from_secs(used),
        })
        .collect()
    }

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        type Row<'a> = (&'a [(u64, u64)], u64, &'a [usize]);
        let table: [Row<'_>; 5] = [
            (&[], 0, &[]),
            (&[(10, 1), (10, 2), (10, 3)], 30, &[]),
            (&[(10, 1), (10, 2), (10, 3)], 29, &[0]),
            (&[(10, 3), (10, 2), (10, 1)], 15, &[1, 2]),
            (&[(99, 3), (10, 2)], 50, &[0]),
        ];
        for (list, limit, expected) in table {
            assert_eq!(evicted(&holdings(list), limit), expected, "{list:?}");
        }
    }

    proptest! {
        #[test]
        fn the_rest_is_within_the_limit(
            list in prop::collection::vec((0_u64..100, 0_u64..9), 0..12),
            limit in 0_u64..400,
        ) {
            let all = holdings(&list);
            let gone = evicted(&all, limit);
            let rest: u64 = all.iter().filter(|it| !gone.contains(&it.name)).map(|it| it.byte_size).sum();
            prop_assert!(rest <= limit);
            // Nothing goes that would have had room.
            for name in gone {
                prop_assert!(rest + all[name].byte_size > limit);
            }
        }
    }

    #[test]
    fn a_plan_is_what_was_kept_or_is_not_used() {
        let record = Record {
            format: Record::FORMAT,
            byte_size: 4,
            sha256: "ab".to_owned(),
            note: Note::default(),
            verdict: None,
        };
        assert_eq!(record.verify(4, "ab"), Ok(()));
        assert!(
            record
                .verify(3, "ab")
                .unwrap_err()
                .contains("3 bytes long, and was 4")
        );
        assert!(
            record
                .verify(4, "cd")
                .unwrap_err()
                .contains("bytes are others")
        );
        let later = Record {
            format: 2,
            ..record
        };
        assert!(
            later
                .verify(4, "ab")
                .unwrap_err()
                .contains("unknown format 2")
        );
    }
}
