//! Memory: of the device, of the host if it is pinned, and of other processes.

use std::ffi::{c_int, c_uint, c_void};

use super::{
    Out, current, exported, of_context,
    stream::{given, stream},
};
use crate::{
    code::Code,
    counters::Counter,
    device::Device,
    ipc::{self, IpcHandle},
    memory,
    operation::{self, Operation},
    state::state,
    table::Handle,
};

/// Charges the device first, so that what does not fit is never made.
fn allocate(device: &Device, byte_size: usize) -> Result<u64, Code> {
    if byte_size == 0 {
        return Err(Code::INVALID_VALUE);
    }
    let byte_size = byte_size as u64;
    device.charge(byte_size)?;
    state()
        .memory
        .allocate(device.ordinal, byte_size)
        .inspect_err(|_| device.subtract(Counter::UsedBytes, memory::charge(byte_size)))
}

exported! {
    fn cuMemGetInfo_v2(free: Out<usize>, total: Out<usize>) {
        let device = current()?;
        let used = device.value(Counter::UsedBytes);
        free.set(device.memory_byte_size.saturating_sub(used) as usize)?;
        total.set(device.memory_byte_size as usize)
    }

    fn cuMemAlloc_v2(address: Out<u64>, byte_size: usize) {
        address.set(allocate(current()?, byte_size)?)
    }

    fn cuMemAllocAsync(address: Out<u64>, byte_size: usize, queue: Handle) {
        let device = state().device(stream(queue)?.device)?;
        device.check()?;
        address.set(allocate(device, byte_size)?)
    }

    fn cuMemFree_v2(address: u64) {
        // As the driver does: nothing that is under way may still use it.
        let device = state().memory.allocation(address, |_, allocation| allocation.device)?;
        let waited = state().synchronize(device);
        operation::free(address)?;
        waited
    }

    fn cuMemFreeAsync(address: u64, queue: Handle) {
        state().memory.allocation(address, |_, _| ())?;
        given(queue)?.push(Operation::Free(address))
    }

    fn cuMemGetAddressRange_v2(base: Out<u64>, byte_size: Out<usize>, address: u64) {
        let (first, size) = state()
            .memory
            .allocation(address, |base, allocation| (base, allocation.byte_size))?;
        base.set(first)?;
        byte_size.set(size as usize)
    }

    fn cuPointerGetAttribute(answer: Out<c_void>, attribute: c_int, address: u64) {
        let (base, byte_size, device) = state().memory.allocation(address, |base, allocation| {
            (base, allocation.byte_size, allocation.device)
        })?;
        match attribute {
            2 => answer.cast::<c_uint>().set(2), // memory of a device
            9 => answer.cast::<c_int>().set(device as c_int),
            11 => answer.cast::<u64>().set(base),
            12 => answer.cast::<usize>().set(byte_size as usize),
            _ => Err(Code::INVALID_VALUE),
        }
    }

    fn cuMemHostAlloc(address: Out<u64>, byte_size: usize, _flags: c_uint) {
        let device = current()?;
        let pinned = state().memory.pin(device.ordinal, byte_size as u64)?;
        device.add(Counter::PinnedBytes, byte_size as u64);
        address.set(pinned)
    }

    fn cuMemFreeHost(address: u64) {
        unpin(address)
    }

    fn cuMemHostRegister_v2(address: u64, byte_size: usize, _flags: c_uint) {
        let device = current()?;
        state().memory.register(address, device.ordinal, byte_size as u64);
        device.add(Counter::PinnedBytes, byte_size as u64);
        Ok(())
    }

    fn cuMemHostUnregister(address: u64) {
        unpin(address)
    }

    fn cuMemHostGetDevicePointer_v2(device_address: Out<u64>, address: u64, _flags: c_uint) {
        current()?;
        match state().memory.is_pinned(address, 1) {
            true => device_address.set(address),
            false => Err(Code::INVALID_VALUE),
        }
    }

    fn cuIpcGetMemHandle(handle: Out<IpcHandle>, address: u64) {
        handle.set(ipc::export(&state().memory, address)?)
    }

    fn cuIpcOpenMemHandle_v2(address: Out<u64>, handle: IpcHandle, _flags: c_uint) {
        current()?;
        address.set(ipc::import(&state().memory, &handle)?)
    }

    fn cuIpcCloseMemHandle(address: u64) {
        let is_imported = state()
            .memory
            .allocation(address, |_, allocation| allocation.is_imported)?;
        match is_imported {
            true => operation::free(address),
            false => Err(Code::INVALID_VALUE),
        }
    }

    fn cuMemcpyPeerAsync(
        destination: u64,
        destination_context: Handle,
        source: u64,
        source_context: Handle,
        byte_size: usize,
        queue: Handle,
    ) {
        of_context(destination_context)?;
        of_context(source_context)?;
        given(queue)?.push(super::copy::across(destination, source, byte_size))
    }
}

fn unpin(address: u64) -> Result<(), Code> {
    let pinned = state().memory.unpin(address)?;
    state()
        .device(pinned.device)?
        .subtract(Counter::PinnedBytes, pinned.byte_size);
    Ok(())
}
