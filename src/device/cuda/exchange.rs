//! Between a span of a device's memory and the host, one copy that is waited for: for what no lane is
//! there for, such as memory that clients share.

use bytes::Bytes;

use super::{DeviceError, DeviceSpan, Priority, Stream, Work};
use crate::{device::HostSlab, tensor::Memory};

impl DeviceSpan {
    /// What it holds.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn fetch(&self) -> Result<Bytes, DeviceError> {
        let stream = Stream::new(self.context(), Priority::Normal)?;
        let mut work = Work::new(self.context())?;
        work.download(&stream, self, HostSlab::pageable(self.byte_size()))?;
        let landed = work.finish()?.wait()?;
        Ok(landed
            .into_iter()
            .next()
            .map(HostSlab::freeze)
            .unwrap_or_default())
    }

    /// Writes `bytes` to its beginning.
    ///
    /// # Errors
    /// If it is too small, or the device is lost.
    pub fn store(&self, bytes: Bytes) -> Result<(), DeviceError> {
        let stream = Stream::new(self.context(), Priority::Normal)?;
        let mut work = Work::new(self.context())?;
        work.upload(&stream, self, bytes)?;
        work.finish()?.wait().map(drop)
    }
}
