//! Handles by which another process opens device memory: they name the process, and the file that
//! backs the memory there.

use std::{ffi::c_char, fs::File, process};

use crate::{code::Code, memory::Memory};

/// `CUipcMemHandle`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct IpcHandle([c_char; 64]);

const MAGIC: u64 = u64::from_ne_bytes(*b"FAKECUDA");

/// The handle of the allocation that `address` is in.
pub(crate) fn export(memory: &Memory, address: u64) -> Result<IpcHandle, Code> {
    memory.allocation(address, |_, allocation| {
        IpcHandle::from_numbers([
            MAGIC,
            u64::from(process::id()),
            u64::try_from(allocation.file()).unwrap_or(u64::MAX),
            allocation.byte_size,
            allocation.device as u64,
        ])
    })
}

/// Opens what another process exported. As with the driver, a process cannot open its own.
pub(crate) fn import(memory: &Memory, handle: &IpcHandle) -> Result<u64, Code> {
    let [magic, process, file, byte_size, device] = handle.numbers();
    if magic != MAGIC {
        return Err(Code::INVALID_HANDLE);
    }
    if process == u64::from(process::id()) {
        return Err(Code::INVALID_CONTEXT);
    }
    let file = File::options()
        .read(true)
        .write(true)
        .open(format!("/proc/{process}/fd/{file}"))
        .map_err(|_| Code::INVALID_HANDLE)?;
    memory.import(device as usize, byte_size, file)
}

impl IpcHandle {
    fn from_numbers(numbers: [u64; 5]) -> Self {
        let mut handle = [0; 64];
        let bytes = numbers.into_iter().flat_map(u64::to_ne_bytes);
        for (to, byte) in handle.iter_mut().zip(bytes) {
            *to = byte as c_char;
        }
        Self(handle)
    }

    fn numbers(&self) -> [u64; 5] {
        let mut numbers = [0; 5];
        for (number, bytes) in numbers.iter_mut().zip(self.0.chunks_exact(8)) {
            let mut eight = [0; 8];
            for (to, &byte) in eight.iter_mut().zip(bytes) {
                *to = byte as u8;
            }
            *number = u64::from_ne_bytes(eight);
        }
        numbers
    }
}
