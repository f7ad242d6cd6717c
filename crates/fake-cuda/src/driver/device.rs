//! What there is.

use std::ffi::{c_char, c_int};

use super::{Out, exported, numbered};
use crate::{code::Code, state::state};

exported! {
    fn cuDeviceGetCount(count: Out<c_int>) {
        count.set(state().devices().len() as c_int)
    }

    fn cuDeviceGet(device: Out<c_int>, ordinal: c_int) {
        numbered(ordinal)?;
        device.set(ordinal)
    }

    fn cuDeviceGetName(name: Out<c_char>, byte_size: c_int, device: c_int) {
        let byte_size = usize::try_from(byte_size).map_err(|_| Code::INVALID_VALUE)?;
        name.set_text(byte_size, &numbered(device)?.name())
    }

    fn cuDeviceGetUuid_v2(uuid: Out<[u8; 16]>, device: c_int) {
        uuid.set(numbered(device)?.uuid())
    }

    fn cuDeviceTotalMem_v2(byte_size: Out<usize>, device: c_int) {
        byte_size.set(numbered(device)?.memory_byte_size as usize)
    }

    fn cuDeviceGetPCIBusId(bus: Out<c_char>, byte_size: c_int, device: c_int) {
        let byte_size = usize::try_from(byte_size).map_err(|_| Code::INVALID_VALUE)?;
        bus.set_text(byte_size, &bus_id(numbered(device)?.ordinal))
    }

    fn cuDeviceGetAttribute(value: Out<c_int>, attribute: c_int, device: c_int) {
        let device = numbered(device)?;
        value.set(match attribute {
            1 => 1024,                           // threads of a block
            10 => 32,                            // threads of a warp
            16 => 132,                           // multiprocessors
            33 => device.ordinal as c_int + 1,   // PCI bus
            19 | 40 | 41 | 78 | 115 => 1,        // mapped host memory, copy engine, unified addresses,
                                                 // stream priorities, memory pools
            75 => 9,                             // compute capability
            134 => device.numa_node.map_or(-1, |node| node as c_int),
            _ => 0,
        })
    }

    fn cuDeviceCanAccessPeer(can: Out<c_int>, device: c_int, peer: c_int) {
        let (device, peer) = (numbered(device)?, numbered(peer)?);
        can.set(c_int::from(device.ordinal != peer.ordinal))
    }
}

/// `0000:01:00.0` for the first.
pub(crate) fn bus_id(ordinal: usize) -> String {
    format!("0000:{:02x}:00.0", ordinal + 1)
}
