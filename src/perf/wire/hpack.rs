//! Header fields of HTTP/2: requests that are always alike, and the few fields of an answer that
//! matter. The server is asked to keep no table for its answers, so none is kept here.

use std::borrow::Cow;

use super::{Broken, huffman};

/// Entries of the static table.
const STATIC: usize = 61;
/// What an entry of the dynamic table takes besides its text.
const ENTRY: usize = 32;
/// What a server keeps of a client's fields if it says nothing else.
const TABLE: usize = 4096;

/// The fields that every request of a connection has, encoded.
#[derive(Clone, Debug)]
pub(in crate::perf) struct HeaderBlock {
    /// For the first request: the server is to remember the fields.
    pub(super) first: Vec<u8>,
    /// For all others: it remembers them.
    pub(super) again: Vec<u8>,
    /// For a server that remembers nothing.
    pub(super) plain: Vec<u8>,
}

impl HeaderBlock {
    /// The fields of gRPC calls of one method.
    pub(in crate::perf) fn grpc(
        authority: &str,
        path: &str,
        more: &[(String, String)],
        is_encrypted: bool,
    ) -> Self {
        let fixed = [
            (":path", path),
            (":authority", authority),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            (
                "user-agent",
                concat!("despina-perf/", env!("CARGO_PKG_VERSION")),
            ),
        ];
        let mut fields: Vec<(String, String)> = fixed
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        fields.extend(
            more.iter()
                .map(|(name, value)| (name.to_lowercase(), value.clone())),
        );
        Self::new(&fields, is_encrypted)
    }

    fn new(fields: &[(String, String)], is_encrypted: bool) -> Self {
        // `:method: POST` and `:scheme: http` or `https` are in the static table.
        let mut first = vec![0x83, if is_encrypted { 0x87 } else { 0x86 }];
        let (mut again, mut plain) = (first.clone(), first.clone());
        for (index, (name, value)) in fields.iter().enumerate() {
            literal(0x40, name, value, &mut first);
            literal(0x00, name, value, &mut plain);
            // The last field that was added has the lowest index.
            integer(STATIC + fields.len() - index, 7, 0x80, &mut again);
        }
        let size = |(name, value): &(String, String)| name.len() + value.len() + ENTRY;
        if fields.iter().map(size).sum::<usize>() > TABLE {
            (first, again) = (plain.clone(), plain.clone());
        }
        Self {
            first,
            again,
            plain,
        }
    }
}

fn literal(kind: u8, name: &str, value: &str, block: &mut Vec<u8>) {
    block.push(kind);
    for text in [name, value] {
        integer(text.len(), 7, 0, block);
        block.extend_from_slice(text.as_bytes());
    }
}

/// An integer behind `kind`, of which so many bits are the integer's.
fn integer(value: usize, bits: u32, kind: u8, block: &mut Vec<u8>) {
    let most = (1 << bits) - 1;
    if let Some(small) = u8::try_from(value).ok().filter(|&small| small < most) {
        block.push(kind | small);
        return;
    }
    block.push(kind | most);
    let mut rest = value - usize::from(most);
    while rest >= 0x80 {
        block.push(u8::try_from(rest & 0x7f).unwrap_or(0) | 0x80);
        rest >>= 7;
    }
    block.push(u8::try_from(rest).unwrap_or(0));
}

/// How a call ended, as its trailers say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Trailers {
    /// `grpc-status`.
    pub(super) status: Option<u32>,
    /// `grpc-message`.
    pub(super) message: String,
}

impl Trailers {
    /// Reads a header block.
    pub(super) fn read(mut block: &[u8]) -> Result<Self, Broken> {
        let mut trailers = Self::default();
        while !block.is_empty() {
            let Some(field) = field(&mut block) else {
                return Err(Broken(
                    "the server's header fields cannot be read".to_owned(),
                ));
            };
            let Some((name, value)) = field else {
                continue;
            };
            if &*name == b"grpc-status" {
                trailers.status = String::from_utf8_lossy(&value).parse().ok();
            } else if &*name == b"grpc-message" {
                trailers.message = percent_encoding::percent_decode(&value)
                    .decode_utf8_lossy()
                    .into_owned();
            }
        }
        Ok(trailers)
    }
}

type Field<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

/// The next field, if it is spelled out; `Some(None)` for others. `None` if it cannot be read.
fn field<'a>(block: &mut &'a [u8]) -> Option<Option<Field<'a>>> {
    let kind = *block.first()?;
    if kind & 0x80 != 0 {
        let index = take_integer(block, 7)?;
        return (1..=STATIC).contains(&index).then_some(None);
    }
    if kind & 0xe0 == 0x20 {
        take_integer(block, 5)?;
        return Some(None);
    }
    let index = take_integer(block, if kind & 0x40 != 0 { 6 } else { 4 })?;
    let name = match index {
        0 => take_text(block)?,
        1..=STATIC => Cow::Borrowed(&b""[..]),
        _ => return None,
    };
    Some(Some((name, take_text(block)?)))
}

fn take_text<'a>(block: &mut &'a [u8]) -> Option<Cow<'a, [u8]>> {
    let huffman = block.first()? & 0x80 != 0;
    let length = take_integer(block, 7)?;
    let (text, rest) = block.split_at_checked(length)?;
    *block = rest;
    if huffman {
        return huffman::decode(text).map(Cow::Owned);
    }
    Some(Cow::Borrowed(text))
}

fn take_integer(block: &mut &[u8], bits: u32) -> Option<usize> {
    let (&byte, mut rest) = block.split_first()?;
    let most = (1_u8 << bits) - 1;
    let mut value = usize::from(byte & most);
    if byte & most == most {
        let mut shift = 0;
        loop {
            let (&byte, behind) = rest.split_first()?;
            rest = behind;
            value += usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
            if shift > 28 {
                return None;
            }
        }
    }
    *block = rest;
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailers_are_read_with_and_without_huffman_coding() {
        let mut plain = vec![0x20];
        literal(0x00, "grpc-status", "5", &mut plain);
        literal(0x10, "grpc-message", "no%20model", &mut plain);
        let due = Trailers {
            status: Some(5),
            message: "no model".to_owned(),
        };
        assert_eq!(Trailers::read(&plain).unwrap(), due);
        // `grpc-status: 0` as h2 writes it.
        let coded = [
            0x40, 0x88, 0x9a, 0xca, 0xc8, 0xb2, 0x12, 0x34, 0xda, 0x8f, 0x01, 0x30,
        ];
        assert_eq!(Trailers::read(&coded).unwrap().status, Some(0));
        // `:status: 200` says nothing of the call.
        assert_eq!(Trailers::read(&[0x88]).unwrap(), Trailers::default());
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for block in [
            &[0xbe][..],
            &[0x00, 0x05, b'a'],
            &[0x7f],
            &[0x3f, 0xff, 0xff, 0xff, 0xff, 0xff],
        ] {
            assert!(Trailers::read(block).is_err(), "{block:x?}");
        }
    }

    #[test]
    fn integers_come_back() {
        for value in [0, 1, 126, 127, 128, 254, 255, 1337, 70_000] {
            let mut block = Vec::new();
            integer(value, 7, 0, &mut block);
            let mut rest = &block[..];
            assert_eq!(take_integer(&mut rest, 7), Some(value));
            assert!(rest.is_empty());
        }
    }
}
