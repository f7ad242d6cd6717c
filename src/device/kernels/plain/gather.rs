//! Copies between a slab and many spans.

/// What goes into a slab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// So many zeros, which pad a batch or a row.
    Zeros(usize),
}

/// Writes each piece at its offset in `slab`. `None` if one does not lie inside it; then some may have
/// been written.
pub fn gather<'a>(
    slab: &mut [u8],
    pieces: impl IntoIterator<Item = (usize, Piece<'a>)>,
) -> Option<()> {
    for (offset, piece) in pieces {
        let rest = slab.get_mut(offset..)?;
        match piece {
            Piece::Bytes(bytes) => rest.get_mut(..bytes.len())?.copy_from_slice(bytes),
            Piece::Zeros(byte_size) => rest.get_mut(..byte_size)?.fill(0),
        }
    }
    Some(())
}

/// Reads each span from its offset in `slab`. `None` if one does not lie inside it; then some may have
/// been read.
pub fn scatter<'a>(
    slab: &[u8],
    spans: impl IntoIterator<Item = (usize, &'a mut [u8])>,
) -> Option<()> {
    for (offset, span) in spans {
        let rest = slab.get(offset..)?;
        span.copy_from_slice(rest.get(..span.len())?);
    }
    Some(())
}
