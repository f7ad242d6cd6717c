//! The JSON of earlier requests, read: with binary tensors a client sends the same text with every
//! request, and to compare it costs a tenth of reading it.

use std::{
    array,
    sync::{Mutex, TryLockError},
};

use super::{InferDocument, parse_infer_request};
use crate::{admission::Limits, error::Result};

const SLOT_COUNT: usize = 16;
/// Longer texts are not kept.
const MOST_BYTES: usize = 1024;

/// At most one text for each slot, and what it says.
#[derive(Debug)]
pub struct Memo {
    limits: Limits,
    slots: [Mutex<Option<Entry>>; SLOT_COUNT],
}

#[derive(Debug)]
struct Entry {
    text: Box<[u8]>,
    document: InferDocument,
}

impl Memo {
    /// Nothing yet; requests are read within `limits`.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            slots: array::from_fn(|_| Mutex::default()),
        }
    }

    /// What [`parse_infer_request`] makes of `text`.
    ///
    /// # Errors
    /// As that.
    pub(super) fn parse(&self, text: &[u8]) -> Result<InferDocument> {
        if let Some(document) = self.find(text) {
            return Ok(document);
        }
        let document = parse_infer_request(text, &self.limits)?;
        self.keep(text, &document);
        Ok(document)
    }

    fn find(&self, text: &[u8]) -> Option<InferDocument> {
        self.with_slot(text, |slot| {
            let entry = slot.as_ref().filter(|entry| *entry.text == *text)?;
            Some(entry.document.clone())
        })
    }

    fn keep(&self, text: &[u8], document: &InferDocument) {
        // A text with an id is hardly sent twice.
        if text.len() > MOST_BYTES || document.holds_data() || !document.request.id.is_empty() {
            return;
        }
        self.with_slot(text, |slot| {
            *slot = Some(Entry {
                text: text.into(),
                document: document.clone(),
            });
            Some(())
        });
    }

    /// `None` where somebody else is at the slot: reading the text anew takes less than waiting.
    fn with_slot<T>(
        &self,
        text: &[u8],
        visit: impl FnOnce(&mut Option<Entry>) -> Option<T>,
    ) -> Option<T> {
        let slot = self.slots.get(slot(text))?;
        match slot.try_lock() {
            Ok(mut slot) => visit(&mut slot),
            Err(TryLockError::Poisoned(slot)) => visit(&mut slot.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// Texts of different length, or of different content in a few places, are mostly in different
/// slots.
fn slot(text: &[u8]) -> usize {
    let at = |quarter| usize::from(text.get(text.len() * quarter / 4).copied().unwrap_or(0));
    (text.len() * 7 + at(1) * 5 + at(2) * 3 + at(3)) % SLOT_COUNT
}

#[cfg(test)]
mod tests {
    use super::*;

    const BINARY: &str = r#"{"inputs":[{"name":"a","shape":[4],"datatype":"UINT8","parameters":{"binary_data_size":4}}]}"#;

    fn kept(memo: &Memo) -> usize {
        let slots = memo.slots.iter();
        slots.filter(|slot| slot.lock().unwrap().is_some()).count()
    }

    #[test]
    fn the_same_text_is_read_once_and_says_the_same() {
        let memo = Memo::new(Limits::default());
        let first = memo.parse(BINARY.as_bytes()).unwrap();
        assert_eq!(kept(&memo), 1);
        let second = memo.find(BINARY.as_bytes()).unwrap();
        assert_eq!(format!("{first:?}"), format!("{second:?}"));
        let other = BINARY.replace("[4]", "[5]");
        assert!(memo.find(other.as_bytes()).is_none());
    }

    #[test]
    fn what_is_different_each_time_or_large_or_wrong_is_not_kept() {
        let memo = Memo::new(Limits::default());
        let with_id = BINARY.replacen('{', r#"{"id":"7","#, 1);
        let with_data = r#"{"inputs":[{"name":"a","shape":[1],"datatype":"UINT8","data":[1]}]}"#;
        let long = format!("{BINARY}{}", " ".repeat(MOST_BYTES));
        for text in [with_id.as_str(), with_data, long.as_str()] {
            memo.parse(text.as_bytes()).unwrap();
        }
        assert!(memo.parse(b"{").is_err());
        assert_eq!(kept(&memo), 0);
    }

    #[test]
    fn a_text_within_wide_limits_is_not_taken_for_one_within_narrow_ones() {
        let narrow = Limits {
            tensors_per_request: 0,
            ..Limits::default()
        };
        let (wide, narrow) = (Memo::new(Limits::default()), Memo::new(narrow));
        assert!(wide.parse(BINARY.as_bytes()).is_ok());
        assert!(narrow.parse(BINARY.as_bytes()).is_err());
    }
}
