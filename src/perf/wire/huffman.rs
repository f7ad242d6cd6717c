//! The Huffman code of HPACK (RFC 7541, appendix B), decoded. The code is canonical: the lengths of
//! its codes tell the codes.

/// Bits of the code of each byte.
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5,
    5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6,
    6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22,
    23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22,
    21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20,
    22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19,
    21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22,
    22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];
const LONGEST: u8 = 30;

/// The text; `None` if it is not in the code.
pub(super) fn decode(bytes: &[u8]) -> Option<Vec<u8>> {
    let codes = Codes::new();
    let mut text = Vec::with_capacity(bytes.len() * 8 / 5);
    let (mut code, mut length) = (0_u32, 0_u8);
    for bit in bytes.iter().flat_map(|byte| bits(*byte)) {
        code = code << 1 | u32::from(bit);
        length += 1;
        if let Some(byte) = codes.byte(code, length) {
            text.push(byte);
            (code, length) = (0, 0);
        } else if length == LONGEST {
            return None;
        }
    }
    // What is left must be padding: fewer than eight bits, all of them 1.
    let padding = length < 8 && code == (1 << length) - 1;
    padding.then_some(text)
}

fn bits(byte: u8) -> impl Iterator<Item = bool> {
    (0..8).rev().map(move |bit| byte >> bit & 1 == 1)
}

/// The codes, by length.
struct Codes {
    /// Bytes in the order of their codes.
    bytes: Vec<u8>,
    /// For each length its first code, and how many bytes have shorter ones.
    first: Vec<(u32, usize)>,
}

impl Codes {
    fn new() -> Self {
        let mut bytes: Vec<u8> = (0..=u8::MAX).collect();
        bytes.sort_by_key(|&byte| LENGTHS[usize::from(byte)]);
        let (mut code, mut before) = (0, 0);
        let mut first = Vec::new();
        for length in 0..=LONGEST {
            first.push((code, before));
            let count = LENGTHS.iter().filter(|&&other| other == length).count();
            before += count;
            code = (code + u32::try_from(count).unwrap_or(0)) << 1;
        }
        Self { bytes, first }
    }

    fn byte(&self, code: u32, length: u8) -> Option<u8> {
        let &(first, before) = self.first.get(usize::from(length))?;
        let index = before + usize::try_from(code.checked_sub(first)?).ok()?;
        let &byte = self.bytes.get(index)?;
        (LENGTHS[usize::from(byte)] == length).then_some(byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_the_examples_of_the_standard() {
        // RFC 7541, C.4 and C.6.
        let cases: [(&[u8], &str); 4] = [
            (
                &[
                    0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff,
                ],
                "www.example.com",
            ),
            (&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf], "no-cache"),
            (&[0x64, 0x02], "302"),
            (
                &[
                    0x9d, 0x29, 0xad, 0x17, 0x18, 0x63, 0xc7, 0x8f, 0x0b, 0x97, 0xc8, 0xe9, 0xae,
                    0x82, 0xae, 0x43, 0xd3,
                ],
                "https://www.example.com",
            ),
        ];
        for (bytes, due) in cases {
            assert_eq!(decode(bytes).unwrap(), due.as_bytes());
        }
    }

    #[test]
    fn refuses_what_is_not_in_the_code() {
        // Padding of zeros, padding of eight bits, and the end-of-string code.
        for bytes in [&[0x64, 0x02, 0x00][..], &[0x64, 0x02, 0xff], &[0xff; 4]] {
            assert_eq!(decode(bytes), None, "{bytes:x?}");
        }
    }
}
