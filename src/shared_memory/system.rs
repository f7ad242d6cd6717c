//! POSIX shared memory: a file that a client owns. It is read and written, never mapped: a mapping
//! of a file that its owner makes shorter is a signal that ends the process.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::Path,
    sync::Arc,
};

use super::{Region, key::Key, refuse};
use crate::{
    error::{Error, Result},
    tensor::Buffer,
};

/// Where `shm_open` has its files.
pub(super) const FOLDER: &str = "/dev/shm";

/// Part of a file.
#[derive(Debug)]
pub(super) struct SystemRegion {
    file: File,
    /// Where in the file the region begins. `start + byte_size` does not overflow.
    start: u64,
    byte_size: u64,
}

/// Why a region cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    #[error("cannot be opened: {0}")]
    Open(#[from] io::Error),
    #[error("is no regular file of the shared memory file system")]
    NotShared,
    #[error("has {0} bytes")]
    TooSmall(u64),
    #[error("a region must have at least one byte")]
    Empty,
}

impl SystemRegion {
    /// Opens the file of `key` in `folder`, of which the region is `byte_size` bytes from `start`.
    pub(super) fn open(
        folder: &Path,
        key: &Key,
        start: u64,
        byte_size: u64,
    ) -> Result<Self, OpenError> {
        if byte_size == 0 {
            return Err(OpenError::Empty);
        }
        // A link is not followed, and what is no file must not make us wait. The standard library
        // adds O_CLOEXEC.
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(key.path_in(folder))?;
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.dev() != fs::metadata(folder)?.dev() {
            return Err(OpenError::NotShared);
        }
        let end = start.checked_add(byte_size);
        if end.is_none_or(|end| end > metadata.len()) {
            return Err(OpenError::TooSmall(metadata.len()));
        }
        Ok(Self {
            file,
            start,
            byte_size,
        })
    }

    /// The place of `byte_size` bytes at `offset` in the file, which must still hold them: memory is
    /// taken only for what is there, and a write past the end would make the file longer.
    fn place(&self, offset: u64, byte_size: usize) -> Result<u64> {
        let size = self.file.metadata().map_err(broken)?.len();
        let place = self.start.saturating_add(offset);
        let end = u64::try_from(byte_size)
            .ok()
            .and_then(|byte_size| place.checked_add(byte_size));
        if end.is_some_and(|end| end <= size) {
            return Ok(place);
        }
        Err(shrunk())
    }
}

impl Region for SystemRegion {
    fn byte_size(&self) -> u64 {
        self.byte_size
    }

    fn read(self: Arc<Self>, offset: u64, byte_size: usize) -> Result<Buffer> {
        let place = self.place(offset, byte_size)?;
        let mut bytes = vec![0; byte_size];
        self.file.read_exact_at(&mut bytes, place).map_err(broken)?;
        Ok(bytes.into())
    }

    fn write(&self, offset: u64, tensor: &Buffer) -> Result<()> {
        let bytes = tensor.host().ok_or_else(|| {
            Error::internal("output_not_on_host", "the output is not in host memory")
        })?;
        let place = self.place(offset, bytes.len())?;
        self.file.write_all_at(bytes, place).map_err(broken)
    }
}

fn shrunk() -> Error {
    refuse("its memory is smaller than it was when it was registered".to_owned())
}

fn broken(error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return shrunk();
    }
    Error::internal("shared_memory", "its memory cannot be used").with_source(error)
}
