//! Rows of one input that lie in different places: some on the host, some on a device, as clients
//! sent or shared them. They come together on the device that computes, without a way over the host.

use std::{any::Any, sync::Arc};

use crate::tensor::{Buffer, Memory, MemoryKind};

/// The pieces of an input, in order.
#[derive(Debug)]
pub struct Pieces(Vec<Buffer>);

impl Pieces {
    /// The pieces as one buffer.
    pub fn buffer(pieces: Vec<Buffer>) -> Buffer {
        Buffer::Foreign(Arc::new(Self(pieces)))
    }

    /// The pieces that a buffer has, if it has any.
    pub(super) fn of(buffer: &Buffer) -> Option<&[Buffer]> {
        match buffer {
            Buffer::Host(_) => None,
            Buffer::Foreign(memory) => {
                let pieces: &Self = memory.as_any().downcast_ref()?;
                Some(&pieces.0)
            }
        }
    }
}

impl Memory for Pieces {
    /// That of the first that is not on the host.
    fn kind(&self) -> MemoryKind {
        let mut kinds = self.0.iter().map(Buffer::kind);
        kinds
            .find(|kind| *kind != MemoryKind::Host)
            .unwrap_or(MemoryKind::Host)
    }

    fn byte_size(&self) -> usize {
        self.0.iter().map(Buffer::byte_size).sum()
    }

    fn host(&self) -> Option<&[u8]> {
        None
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
