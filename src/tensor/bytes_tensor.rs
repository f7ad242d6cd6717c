//! Reading and writing the wire form of BYTES tensors: for each element a `u32` little-endian
//! length and that many bytes.

/// Walks the elements of a serialised BYTES tensor.
///
/// Yields `Err(())` once, and then ends, if a length prefix is cut short or reaches past the end.
#[derive(Clone, Debug)]
pub struct BytesTensor<'a> {
    rest: &'a [u8],
}

impl<'a> BytesTensor<'a> {
    /// Reads `serialised` from its start.
    pub fn new(serialised: &'a [u8]) -> Self {
        Self { rest: serialised }
    }

    /// The number of elements, or `None` if the bytes are not a whole BYTES tensor.
    pub fn element_count(serialised: &[u8]) -> Option<usize> {
        let mut count = 0;
        for element in BytesTensor::new(serialised) {
            element.ok()?;
            count += 1;
        }
        Some(count)
    }

    /// Byte length of the first `count` elements; `None` if there are not that many.
    pub fn prefix_byte_size(serialised: &[u8], count: usize) -> Option<usize> {
        let mut elements = BytesTensor::new(serialised);
        for _ in 0..count {
            elements.next()?.ok()?;
        }
        Some(serialised.len() - elements.rest.len())
    }
}

impl<'a> Iterator for BytesTensor<'a> {
    type Item = Result<&'a [u8], ()>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let element = self
            .rest
            .split_first_chunk::<4>()
            .and_then(|(length, rest)| {
                let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
                rest.split_at_checked(length)
            });
        match element {
            Some((element, rest)) => {
                self.rest = rest;
                Some(Ok(element))
            }
            None => {
                self.rest = &[];
                Some(Err(()))
            }
        }
    }
}

/// Appends one element in wire form; `None` (and nothing written) if it is 4 GiB or longer.
pub fn push_element(serialised: &mut Vec<u8>, element: &[u8]) -> Option<()> {
    let length = u32::try_from(element.len()).ok()?;
    serialised.extend_from_slice(&length.to_le_bytes());
    serialised.extend_from_slice(element);
    Some(())
}
