//! Where in a text something is wrong, and what.

use std::cell::{Cell, RefCell};

use serde::de::Error;

use super::ConfigError;

/// Most characters of a message; parsers repeat tokens of any length.
const MESSAGE_LIMIT: usize = 1000;

/// Something wrong at a byte offset of the text.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) offset: usize,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn into_error(self, text: &str, file: &str) -> ConfigError {
        let before = text
            .get(..text.floor_char_boundary(self.offset))
            .unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        ConfigError::Syntax {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before
                .get(line_start..)
                .map_or(0, |line| line.chars().count())
                + 1,
            message: match self.message.char_indices().nth(MESSAGE_LIMIT) {
                Some((end, _)) => format!("{}…", self.message.get(..end).unwrap_or_default()),
                None => self.message,
            },
        }
    }
}

/// What differs between the two languages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Json,
    Yaml,
}

/// What all seeds of one text share.
pub(super) struct Context {
    pub(super) dialect: Dialect,
    /// The key at fault, whether the key itself is wrong, and what is wrong.
    fault: RefCell<Option<(String, bool, String)>>,
    /// YAML's aliases let a small text stand for an endless one; this is how much it may.
    budget: Cell<usize>,
}

impl Context {
    pub(super) fn new(dialect: Dialect, text_byte_size: usize) -> Self {
        Self {
            dialect,
            fault: RefCell::new(None),
            budget: Cell::new(text_byte_size.saturating_mul(4).saturating_add(4096)),
        }
    }

    /// Where and what: `offset` is where the reader stood, `said` its own message, which counts if
    /// none of ours was recorded.
    pub(super) fn fault(&self, text: &str, offset: usize, said: &str) -> Fault {
        match self.fault.take() {
            Some((key, is_key, message)) => Fault {
                offset: self.key_offset(text, offset, &key, is_key),
                message,
            },
            None => Fault {
                offset: match self.dialect {
                    Dialect::Json => offset.saturating_sub(1),
                    Dialect::Yaml => offset,
                },
                message: said
                    .rfind(" at line ")
                    .and_then(|at| said.get(..at))
                    .unwrap_or(said)
                    .to_owned(),
            },
        }
    }

    /// The last place before `offset` where `key` stands as a key; `offset` if it is written in
    /// some other way, with escapes say.
    fn key_offset(&self, text: &str, offset: usize, key: &str, is_key: bool) -> usize {
        // No key at all is the document itself. A blank one would be found in every gap.
        if key.trim().is_empty() {
            let document = self.dialect == Dialect::Json && !is_key;
            return if document {
                text.len() - text.trim_start().len()
            } else {
                offset.min(text.len())
            };
        }
        // YAML's mark of a key is where the key begins; all others are behind it.
        let reach = if is_key && self.dialect == Dialect::Yaml {
            key.len() + 1
        } else {
            0
        };
        let end = text.floor_char_boundary(offset.saturating_add(reach));
        let window = text.get(..end).unwrap_or_default();
        window
            .rmatch_indices(key)
            .map(|(at, _)| at)
            .find(|&at| self.is_key_at(text, at, key))
            .unwrap_or_else(|| offset.min(text.len()))
    }

    fn is_key_at(&self, text: &str, at: usize, key: &str) -> bool {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        let mut after = text.get(at + key.len()..).unwrap_or_default();
        let quoted = matches!(before, Some('"' | '\''));
        if quoted {
            after = after.strip_prefix(['"', '\'']).unwrap_or_default();
        }
        let alone = before.is_none_or(|c| !c.is_alphanumeric() && c != '_');
        let allowed = quoted || self.dialect == Dialect::Yaml;
        allowed && alone && after.trim_start().starts_with(':')
    }

    pub(super) fn fail<E: Error>(&self, key: &str, is_key: bool, message: String) -> E {
        let error = E::custom(&message);
        *self.fault.borrow_mut() = Some((key.to_owned(), is_key, message));
        error
    }

    pub(super) fn spend<E: Error>(&self, key: &str, amount: usize) -> Result<(), E> {
        match self.budget.get().checked_sub(amount) {
            Some(left) => {
                self.budget.set(left);
                Ok(())
            }
            None => Err(self.fail(key, false, "aliases repeat too much".to_owned())),
        }
    }
}
