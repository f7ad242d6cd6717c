//! Memory of CUDA devices that clients share: opened by the handle that the client's process exported,
//! never larger than the allocation behind it, whatever the client says. Inputs and outputs stay on
//! devices: the host reads and writes them only for a model that runs there.

use std::sync::Arc;

use super::{CudaMemory, Region, refuse, region::CUDA_HANDLE_BYTE_SIZE};
use crate::{
    device::{
        Devices,
        cuda::{DeviceError, DeviceSpan, ImportedMemory},
    },
    error::{Error, ErrorKind, Result},
    tensor::{Buffer, Memory},
};

impl CudaMemory for Devices {
    fn open(
        &self,
        handle: &[u8; CUDA_HANDLE_BYTE_SIZE],
        device: u32,
        byte_size: u64,
    ) -> Result<Arc<dyn Region>> {
        let open = Self::open(self, device).map_err(|error| refuse(error.to_string()))?;
        let memory = ImportedMemory::open(open.context(), *handle).map_err(|error| {
            refuse(format!(
                "no memory of cuda:{device} can be opened by the handle: {error}"
            ))
        })?;
        let span = usize::try_from(byte_size)
            .ok()
            .filter(|&byte_size| byte_size > 0)
            .and_then(|byte_size| memory.span(0, byte_size));
        let span = span.ok_or_else(|| {
            refuse(format!(
                "a region of {byte_size} bytes cannot be had of an allocation of {} bytes",
                memory.byte_size()
            ))
        })?;
        Ok(Arc::new(CudaRegion { span }))
    }
}

#[derive(Debug)]
struct CudaRegion {
    span: DeviceSpan,
}

impl CudaRegion {
    fn part(&self, offset: u64, byte_size: usize) -> Result<DeviceSpan> {
        usize::try_from(offset)
            .ok()
            .and_then(|offset| self.span.part(offset, byte_size))
            .ok_or_else(|| {
                refuse(format!(
                    "{byte_size} bytes from {offset} on are not within its {} bytes",
                    self.span.byte_size()
                ))
            })
    }
}

impl Region for CudaRegion {
    fn byte_size(&self) -> u64 {
        self.span.byte_size() as u64
    }

    fn read(self: Arc<Self>, offset: u64, byte_size: usize) -> Result<Buffer> {
        let part = self.part(offset, byte_size)?;
        Ok(Buffer::Foreign(Arc::new(part)))
    }

    fn device_memory(&self, offset: u64, byte_size: usize) -> Option<Buffer> {
        let part = self.part(offset, byte_size).ok()?;
        Some(Buffer::Foreign(Arc::new(part)))
    }

    fn write(&self, offset: u64, tensor: &Buffer) -> Result<()> {
        if let Buffer::Foreign(memory) = tensor
            && let Some(span) = memory.as_any().downcast_ref::<DeviceSpan>()
            && span.is_same(&self.part(offset, span.byte_size())?)
        {
            return Ok(());
        }
        let bytes = tensor.to_host_bytes().ok_or_else(|| {
            Error::internal("output_not_on_host", "the output is not in host memory")
        })?;
        self.part(offset, bytes.len())?.store(bytes).map_err(failed)
    }
}

fn failed(error: DeviceError) -> Error {
    let kind = match &error {
        DeviceError::Lost { .. } | DeviceError::GivenUp { .. } => ErrorKind::Unavailable,
        DeviceError::OutOfMemory { .. } | DeviceError::Failed { .. } => ErrorKind::Internal,
    };
    Error::new(kind, "cuda_shared_memory", error.to_string())
}
