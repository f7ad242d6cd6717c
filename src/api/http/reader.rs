//! Pulls values out of a client's JSON, one after the other, with errors that name their line and
//! column. Builds no tree; nesting and text lengths are bounded.

use std::ops::Range;

use jiter::{Jiter, JiterError, LinePosition, Peek};

use crate::{
    admission::Limits,
    api::request::within,
    error::{Error, Result},
    inference::Parameter,
};

/// Nesting beyond which no limit can be set: reading uses the stack.
const MOST_DEPTH: usize = 512;

/// A place in a JSON text.
#[derive(Debug)]
pub(super) struct Reader<'j> {
    /// The whole text, for places in errors.
    whole: &'j [u8],
    /// Where in `whole` the text of `jiter` begins.
    offset: usize,
    /// Where in `whole` the part that is read ends.
    end: usize,
    pub(super) jiter: Jiter<'j>,
    depth_limit: usize,
    text_limit: usize,
}

impl<'j> Reader<'j> {
    /// At the start of `text`.
    pub(super) fn new(text: &'j [u8], limits: &Limits) -> Self {
        Self {
            whole: text,
            offset: 0,
            end: text.len(),
            // Clients may send NaN and Infinity, which strict JSON does not have.
            jiter: Jiter::new(text).with_allow_inf_nan(),
            depth_limit: limits.json_depth.min(MOST_DEPTH),
            text_limit: limits.text_byte_size,
        }
    }

    /// Another reader for a value that was skipped before.
    pub(super) fn reopen(&self, value: Range<usize>) -> Self {
        Self {
            whole: self.whole,
            offset: value.start,
            end: value.end,
            jiter: Jiter::new(self.whole.get(value).unwrap_or_default()).with_allow_inf_nan(),
            ..*self
        }
    }

    /// What is yet to be read.
    pub(super) fn rest(&self) -> &'j [u8] {
        let at = self.offset + self.jiter.current_index();
        self.whole.get(at..self.end).unwrap_or_default()
    }

    /// Goes on behind so many bytes of the [`Self::rest`], which were read elsewhere and end with a
    /// value.
    pub(super) fn advance(&mut self, byte_count: usize) {
        let at = self.offset + self.jiter.current_index() + byte_count;
        *self = self.reopen(at.min(self.end)..self.end);
    }

    /// Bytes from here to the end of what is read.
    pub(super) fn remaining(&self) -> usize {
        self.rest().len()
    }

    /// The kind of the next value.
    pub(super) fn peek(&mut self) -> Result<Peek> {
        self.jiter.peek().map_err(|error| self.fault(&error))
    }

    /// Reads an object at `depth`: each key becomes what `key_of` makes of it, and `member` must
    /// read its value.
    pub(super) fn object<K>(
        &mut self,
        depth: usize,
        key_of: impl Fn(&str) -> K,
        mut member: impl FnMut(&mut Self, K) -> Result<()>,
    ) -> Result<()> {
        self.enter(depth)?;
        let first = self.jiter.next_object().map(|key| key.map(&key_of));
        let mut next = first.map_err(|error| self.fault(&error))?;
        while let Some(key) = next {
            member(self, key)?;
            let following = self.jiter.next_key().map(|key| key.map(&key_of));
            next = following.map_err(|error| self.fault(&error))?;
        }
        Ok(())
    }

    /// Reads an array at `depth`; `element` must read each value.
    pub(super) fn array(
        &mut self,
        depth: usize,
        mut element: impl FnMut(&mut Self, Peek) -> Result<()>,
    ) -> Result<()> {
        self.enter(depth)?;
        let first = self.jiter.next_array();
        let mut next = first.map_err(|error| self.fault(&error))?;
        while let Some(peek) = next {
            element(self, peek)?;
            let following = self.jiter.array_step();
            next = following.map_err(|error| self.fault(&error))?;
        }
        Ok(())
    }

    /// Reads a string, `what` in errors.
    pub(super) fn string(&mut self, what: &str) -> Result<String> {
        self.text(what, str::to_owned)
    }

    /// Reads a string, `what` in errors, as what `interpret` makes of it.
    pub(super) fn text<T>(&mut self, what: &str, interpret: impl Fn(&str) -> T) -> Result<T> {
        self.long_text(what, self.text_limit, interpret)
    }

    /// As [`Reader::text`], with a limit of its own.
    pub(super) fn long_text<T>(
        &mut self,
        what: &str,
        limit: usize,
        interpret: impl FnOnce(&str) -> T,
    ) -> Result<T> {
        match self.jiter.next_str() {
            Ok(text) => {
                within(what, text.len(), limit)?;
                Ok(interpret(text))
            }
            Err(error) => Err(self.fault(&error)),
        }
    }

    /// Reads a boolean, number or string, the only values that parameters have.
    pub(super) fn parameter(&mut self) -> Result<Parameter> {
        match self.peek()? {
            Peek::String => Ok(Parameter::String(self.string("length of parameter")?)),
            peek @ (Peek::True | Peek::False) => self
                .jiter
                .known_bool(peek)
                .map(Parameter::Bool)
                .map_err(|error| self.fault(&error)),
            peek if peek.is_num() => Ok(number(self.number_text(peek)?)),
            _ => Err(self.refuse("a parameter must be a string, number or boolean")),
        }
    }

    /// Reads a non-negative integer.
    pub(super) fn unsigned(&mut self, what: &str) -> Result<usize> {
        let peek = self.peek()?;
        if peek.is_num() {
            let text = self.number_text(peek)?;
            if let Some(value) = text.parse().ok().filter(|_| is_digits(text)) {
                return Ok(value);
            }
        }
        Err(self.refuse(&format!("{what} must be a non-negative integer")))
    }

    /// Reads a number's text.
    pub(super) fn number_text(&mut self, peek: Peek) -> Result<&'j str> {
        let start = self.jiter.current_index();
        let end = self.jiter.known_number_bytes(peek).map(|_| ());
        end.map_err(|error| self.fault(&error))?;
        // Numbers are ASCII.
        Ok(std::str::from_utf8(self.jiter.slice_to_current(start)).unwrap_or_default())
    }

    /// Skips a value at `depth` and tells where it is.
    pub(super) fn skip(&mut self, depth: usize) -> Result<Range<usize>> {
        let peek = self.peek()?;
        let start = self.offset + self.jiter.current_index();
        match peek {
            Peek::Array => self.array(depth, |reader, _| reader.skip(depth + 1).map(drop))?,
            Peek::Object => {
                self.object(depth, |_| (), |reader, ()| reader.skip(depth + 1).map(drop))?;
            }
            scalar => self
                .jiter
                .known_skip(scalar)
                .map_err(|error| self.fault(&error))?,
        }
        Ok(start..self.offset + self.jiter.current_index())
    }

    /// Makes sure that nothing follows.
    pub(super) fn finish(&mut self) -> Result<()> {
        self.jiter.finish().map_err(|error| self.fault(&error))
    }

    /// # Errors
    /// `InvalidArgument` if `depth` is beyond the limit.
    pub(super) fn enter(&self, depth: usize) -> Result<()> {
        if depth <= self.depth_limit {
            return Ok(());
        }
        Err(self.refuse(&format!(
            "JSON nesting depth exceeds maximum allowed limit ({})",
            self.depth_limit
        )))
    }

    /// An error of the JSON itself.
    pub(super) fn fault(&self, error: &JiterError) -> Error {
        self.refuse_at(error.index, &error.error_type.to_string())
    }

    /// An error of what was just read.
    pub(super) fn refuse(&self, what: &str) -> Error {
        self.refuse_at(self.jiter.current_index(), what)
    }

    fn refuse_at(&self, index: usize, what: &str) -> Error {
        let place = LinePosition::find(self.whole, self.offset + index);
        Error::invalid_argument(
            "malformed_json",
            format!("failed to parse the request JSON buffer: {what} at {place}"),
        )
    }
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A JSON number as a parameter: an integer if it is written as one and fits.
fn number(text: &str) -> Parameter {
    if let Ok(value) = text.parse() {
        return Parameter::Int(value);
    }
    if let Ok(value) = text.parse() {
        return Parameter::Uint(value);
    }
    Parameter::Double(text.parse().unwrap_or(f64::NAN))
}
