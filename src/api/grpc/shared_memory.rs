//! The shared memory extensions: status, register, unregister.

use crate::{
    admission::Verb,
    api::admit::Caller,
    error::Result,
    proto::inference::{
        self as pb, cuda_shared_memory_status_response::RegionStatus as CudaStatus,
        system_shared_memory_status_response::RegionStatus as SystemStatus,
    },
    shared_memory::{Origin, RegionKind},
};

/// A name, if the message has one.
fn named(name: &str) -> Option<&str> {
    Some(name).filter(|name| !name.is_empty())
}

pub(super) fn system_status(
    caller: &Caller,
    request: &pb::SystemSharedMemoryStatusRequest,
) -> Result<pb::SystemSharedMemoryStatusResponse> {
    let api = caller.admit(Verb::SharedMemory, "")?;
    let regions = api
        .regions()?
        .status(RegionKind::System, named(&request.name))?;
    let row = |status: crate::shared_memory::RegionStatus| match status.origin {
        Origin::System { key, offset } => Some((
            status.name.clone(),
            SystemStatus {
                name: status.name,
                key,
                offset,
                byte_size: status.byte_size,
            },
        )),
        Origin::Cuda { .. } => None,
    };
    Ok(pb::SystemSharedMemoryStatusResponse {
        regions: regions.into_iter().filter_map(row).collect(),
    })
}

pub(super) fn register_system(
    caller: &Caller,
    request: &pb::SystemSharedMemoryRegisterRequest,
) -> Result<pb::SystemSharedMemoryRegisterResponse> {
    let api = caller.admit(Verb::SharedMemory, "")?;
    api.refuse_when_exiting()?;
    let pb::SystemSharedMemoryRegisterRequest {
        name,
        key,
        offset,
        byte_size,
    } = request;
    api.regions()?
        .register_system(name, key, *offset, *byte_size)?;
    Ok(pb::SystemSharedMemoryRegisterResponse {})
}

pub(super) fn unregister_system(
    caller: &Caller,
    request: &pb::SystemSharedMemoryUnregisterRequest,
) -> Result<pb::SystemSharedMemoryUnregisterResponse> {
    let api = caller.admit(Verb::SharedMemory, "")?;
    api.regions()?
        .unregister(RegionKind::System, named(&request.name))?;
    Ok(pb::SystemSharedMemoryUnregisterResponse {})
}

pub(super) fn cuda_status(
    caller: &Caller,
    request: &pb::CudaSharedMemoryStatusRequest,
) -> Result<pb::CudaSharedMemoryStatusResponse> {
    let api = caller.admit(Verb::SharedMemory, "")?;
    let regions = api
        .regions()?
        .status(RegionKind::Cuda, named(&request.name))?;
    let row = |status: crate::shared_memory::RegionStatus| match status.origin {
        Origin::Cuda { device } => Some((
            status.name.clone(),
            CudaStatus {
                name: status.name,
                device_id: device.into(),
                byte_size: status.byte_size,
            },
        )),
        Origin::System { .. } => None,
    };
    Ok(pb::CudaSharedMemoryStatusResponse {
        regions: regions.into_iter().filter_map(row).collect(),
    })
}

pub(super) async fn register_cuda(
    caller: &Caller,
    request: pb::CudaSharedMemoryRegisterRequest,
) -> Result<pb::CudaSharedMemoryRegisterResponse> {
    let api = caller.admit(Verb::SharedMemory, "")?;
    api.refuse_when_exiting()?;
    let pb::CudaSharedMemoryRegisterRequest {
        name,
        raw_handle,
        device_id,
        byte_size,
    } = request;
    api.register_cuda(name, raw_handle, device_id, byte_size)
        .await?;
    Ok(pb::CudaSharedMemoryRegisterResponse {})
}

pub(super) fn unregister_cuda(
    caller: &Caller,
    request: &pb::CudaSharedMemoryUnregisterRequest,
) -> Result<pb::CudaSharedMemoryUnregisterResponse> {
    let api = caller.admit(Verb::SharedMemory, "")?;
    api.regions()?
        .unregister(RegionKind::Cuda, named(&request.name))?;
    Ok(pb::CudaSharedMemoryUnregisterResponse {})
}
