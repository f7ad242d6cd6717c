//! Where a tensor's bytes live.

use std::{any::Any, fmt::Debug, sync::Arc};

use bytes::Bytes;

/// The kind of memory behind a [`Buffer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MemoryKind {
    /// Pageable host memory.
    Host,
    /// Page-locked host memory, which a device can copy from and to directly.
    Pinned,
    /// Memory of the device with this ordinal.
    Device(u32),
}

/// A span of memory of any kind, kept alive by whoever holds the value.
pub trait Memory: Send + Sync + Debug {
    /// Where the bytes are.
    fn kind(&self) -> MemoryKind;
    /// How many bytes there are.
    fn byte_size(&self) -> usize;
    /// The bytes, where the host can read them.
    fn host(&self) -> Option<&[u8]>;
    /// Itself, for who has to know which memory it is.
    fn as_any(&self) -> &dyn Any;
}

/// A tensor's bytes: usually a refcounted host slice, otherwise some other [`Memory`].
#[derive(Clone, Debug)]
pub enum Buffer {
    /// Host memory; cloning and slicing do not copy.
    Host(Bytes),
    /// Any other memory.
    Foreign(Arc<dyn Memory>),
}

impl Buffer {
    /// Where the bytes are.
    pub fn kind(&self) -> MemoryKind {
        match self {
            Self::Host(_) => MemoryKind::Host,
            Self::Foreign(memory) => memory.kind(),
        }
    }

    /// How many bytes there are.
    pub fn byte_size(&self) -> usize {
        match self {
            Self::Host(bytes) => bytes.len(),
            Self::Foreign(memory) => memory.byte_size(),
        }
    }

    /// The bytes, where the host can read them.
    pub fn host(&self) -> Option<&[u8]> {
        match self {
            Self::Host(bytes) => Some(bytes),
            Self::Foreign(memory) => memory.host(),
        }
    }

    /// Host bytes without a copy where they already are [`Buffer::Host`], with one where the host
    /// can at least read them; `None` for device memory.
    pub fn to_host_bytes(&self) -> Option<Bytes> {
        match self {
            Self::Host(bytes) => Some(bytes.clone()),
            Self::Foreign(memory) => memory.host().map(Bytes::copy_from_slice),
        }
    }
}

impl From<Bytes> for Buffer {
    fn from(bytes: Bytes) -> Self {
        Self::Host(bytes)
    }
}

impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Host(bytes.into())
    }
}
