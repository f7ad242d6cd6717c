//! Where the fields of a protobuf text lie, for changing one of them and nothing else. For texts that
//! the parser takes; of others it makes nothing.

use std::ops::Range;

use super::pbtxt::token_end;

/// A field of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: String,
    /// From its name to the end of its value.
    pub(super) span: Range<usize>,
    pub(super) value: Value,
}

/// What a field holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Where a number, name or text lies.
    Scalar(Range<usize>),
    Message(Vec<Field>),
    List(Vec<Value>),
}

impl Field {
    /// The fields of the text, in their order; `None` if it is not well formed.
    pub(super) fn all(text: &str) -> Option<Vec<Self>> {
        let mut outline = Outline { text, at: 0 };
        let fields = outline.fields()?;
        outline.next_token().is_none().then_some(fields)
    }

    /// Its messages: one, or those of a list.
    pub(super) fn messages(&self) -> Vec<&[Self]> {
        match &self.value {
            Value::List(values) => values.iter().filter_map(Value::message).collect(),
            value => value.message().into_iter().collect(),
        }
    }
}

impl Value {
    fn message(&self) -> Option<&[Field]> {
        match self {
            Self::Message(fields) => Some(fields),
            Self::Scalar(_) | Self::List(_) => None,
        }
    }
}

/// The fields of that name.
pub(super) fn named<'a>(fields: &'a [Field], name: &str) -> impl Iterator<Item = &'a Field> {
    fields.iter().filter(move |field| field.name == name)
}

/// Where the one scalar of that name lies.
pub(super) fn scalar(fields: &[Field], name: &str) -> Option<Range<usize>> {
    let mut found = named(fields, name);
    match (&found.next()?.value, found.next()) {
        (Value::Scalar(span), None) => Some(span.clone()),
        _ => None,
    }
}

struct Outline<'a> {
    text: &'a str,
    at: usize,
}

impl Outline<'_> {
    /// The next token, which is not taken, without white space and comments before it.
    fn next_token(&mut self) -> Option<Range<usize>> {
        loop {
            let first = *self.text.as_bytes().get(self.at)?;
            let end = token_end(self.text.as_bytes(), self.at);
            if !first.is_ascii_whitespace() && first != b'#' {
                return Some(self.at..end);
            }
            self.at = end;
        }
    }

    fn first_byte(&mut self) -> Option<u8> {
        let token = self.next_token()?;
        self.text.as_bytes().get(token.start).copied()
    }

    fn take(&mut self) -> Option<Range<usize>> {
        let token = self.next_token()?;
        self.at = token.end;
        Some(token)
    }

    fn take_if(&mut self, bytes: &[u8]) -> bool {
        let is_one = self.first_byte().is_some_and(|byte| bytes.contains(&byte));
        if is_one {
            self.take();
        }
        is_one
    }

    fn fields(&mut self) -> Option<Vec<Field>> {
        let mut fields = Vec::new();
        while let Some(byte) = self.first_byte() {
            if !(byte.is_ascii_alphabetic() || byte == b'_') {
                break;
            }
            let name = self.take()?;
            self.take_if(b":");
            let value = self.value()?;
            fields.push(Field {
                name: self.text.get(name.clone())?.to_owned(),
                span: name.start..self.at,
                value,
            });
            self.take_if(b",;");
        }
        Some(fields)
    }

    fn value(&mut self) -> Option<Value> {
        match self.first_byte()? {
            b'{' | b'<' => {
                self.take();
                let fields = self.fields()?;
                self.take_if(b"}>").then_some(Value::Message(fields))
            }
            b'[' => {
                self.take();
                let mut values = Vec::new();
                while !self.take_if(b"]") {
                    values.push(self.value()?);
                    self.take_if(b",");
                }
                Some(Value::List(values))
            }
            first => {
                let mut span = self.take()?;
                let is_text = |byte| matches!(byte, b'"' | b'\'');
                // A sign is a token of its own, and texts beside each other are one.
                while (first == b'-' && span.end == span.start + 1)
                    || (is_text(first) && self.first_byte().is_some_and(is_text))
                {
                    span.end = self.take()?.end;
                }
                Some(Value::Scalar(span))
            }
        }
    }
}
