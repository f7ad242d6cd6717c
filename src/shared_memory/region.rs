//! What a region is to a request: some bytes of it, checked against its size once.

use std::{fmt::Debug, sync::Arc};

use super::refuse;
use crate::{error::Result, tensor::Buffer};

/// Bytes of a `cudaIpcMemHandle_t`.
pub const CUDA_HANDLE_BYTE_SIZE: usize = 64;

/// Longest name of a region, in bytes.
const NAME_BYTE_SIZE: usize = 256;

/// Memory that a client has registered. Positions were checked against [`Region::byte_size`]; the
/// client may take the memory away at any time, which is an error and never more than that.
pub trait Region: Send + Sync + Debug {
    /// Bytes that the client registered.
    fn byte_size(&self) -> u64;

    /// The `byte_size` bytes from `offset` on: a copy that nobody else can change, or memory of a
    /// device that keeps the region open.
    ///
    /// # Errors
    /// `InvalidArgument` if the client has made the memory smaller, `Internal` if it cannot be read.
    fn read(self: Arc<Self>, offset: u64, byte_size: usize) -> Result<Buffer>;

    /// The `byte_size` bytes from `offset` on as memory of a device, for who can write there; `None` if
    /// they are not on one.
    fn device_memory(&self, _offset: u64, _byte_size: usize) -> Option<Buffer> {
        None
    }

    /// Writes `tensor` from `offset` on. One that is there already is not copied.
    ///
    /// # Errors
    /// As [`Region::read`].
    fn write(&self, offset: u64, tensor: &Buffer) -> Result<()>;
}

/// Opens memory of CUDA devices that other processes have exported.
pub trait CudaMemory: Send + Sync + Debug {
    /// The first `byte_size` bytes of the allocation behind `handle`.
    ///
    /// # Errors
    /// `InvalidArgument` if there is no such device or allocation, or if it is smaller.
    fn open(
        &self,
        handle: &[u8; CUDA_HANDLE_BYTE_SIZE],
        device: u32,
        byte_size: u64,
    ) -> Result<Arc<dyn Region>>;
}

/// Bytes of a region, as a client names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The region's name.
    pub region: String,
    /// Bytes from the region's start.
    pub offset: u64,
    /// How many bytes from there.
    pub byte_size: u64,
}

impl Reference {
    /// # Errors
    /// `InvalidArgument` unless it is a name that a region can have: 1 to 256 bytes without
    /// control characters.
    pub fn check_name(name: &str) -> Result<()> {
        if (1..=NAME_BYTE_SIZE).contains(&name.len()) && !name.contains(char::is_control) {
            return Ok(());
        }
        Err(refuse(format!(
            "failed to register shared memory region '{}': invalid args: its name must have 1 to \
             {NAME_BYTE_SIZE} bytes and no control characters",
            excerpt(name)
        )))
    }
}

/// Bytes that a region holds, kept until the value is dropped whatever becomes of the region's name.
#[derive(Clone, Debug)]
pub struct Span {
    region: Arc<dyn Region>,
    reference: Reference,
    byte_size: usize,
}

impl Span {
    /// # Errors
    /// `InvalidArgument`, in Triton's words, if `region` does not hold all of the bytes.
    pub(super) fn new(region: Arc<dyn Region>, reference: Reference) -> Result<Self> {
        let Reference {
            region: name,
            offset,
            byte_size,
        } = &reference;
        let size = region.byte_size();
        if *offset > size || (*offset == size && *byte_size > 0) {
            return Err(refuse(format!(
                "Invalid offset for shared memory region: '{name}': {offset} is not within its \
                 {size} bytes"
            )));
        }
        let end = offset.checked_add(*byte_size).ok_or_else(|| {
            refuse(format!(
                "Integer overflow detected: byte_size ({byte_size}) + offset ({offset}) exceeds \
                 maximum value ({}) for region '{name}'",
                u64::MAX
            ))
        })?;
        match usize::try_from(*byte_size) {
            Ok(byte_size) if end <= size => Ok(Self {
                region,
                reference,
                byte_size,
            }),
            _ => Err(refuse(format!(
                "Invalid offset + byte size for shared memory region: '{name}': {offset} + \
                 {byte_size} is more than its {size} bytes"
            ))),
        }
    }

    /// How many bytes it has.
    pub fn byte_size(&self) -> usize {
        self.byte_size
    }

    /// Its bytes, as they are now.
    ///
    /// # Errors
    /// As [`Region::read`], with the region's name.
    pub fn read(&self) -> Result<Buffer> {
        Arc::clone(&self.region)
            .read(self.reference.offset, self.byte_size)
            .map_err(|error| error.prefixed(self.prefix()))
    }

    /// Its bytes as memory of a device, if they are on one.
    pub fn device_memory(&self) -> Option<Buffer> {
        self.region
            .device_memory(self.reference.offset, self.byte_size)
    }

    /// Writes `tensor` to its beginning.
    ///
    /// # Errors
    /// `InvalidArgument` if `tensor` is larger than the span; as [`Region::write`], with the region's
    /// name.
    pub fn write(&self, tensor: &Buffer) -> Result<()> {
        if tensor.byte_size() > self.byte_size {
            return Err(refuse(format!(
                "{}{} bytes do not fit the {} bytes that were named",
                self.prefix(),
                tensor.byte_size(),
                self.byte_size
            )));
        }
        self.region
            .write(self.reference.offset, tensor)
            .map_err(|error| error.prefixed(self.prefix()))
    }

    fn prefix(&self) -> String {
        format!("shared memory region '{}': ", self.reference.region)
    }
}

/// The beginning of a client's text, escaped, for messages.
pub(super) fn excerpt(text: &str) -> String {
    text.chars()
        .take(NAME_BYTE_SIZE)
        .flat_map(char::escape_debug)
        .collect()
}
