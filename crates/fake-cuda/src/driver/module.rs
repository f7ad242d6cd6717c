//! Modules and kernels.

use std::ffi::{c_uint, c_void};

use super::{Out, Text, current, exported, stream::given};
use crate::{
    code::Code,
    counters::Counter,
    kernels::{self, Launch},
    operation::Operation,
    state::{Function, Module, state},
    table::Handle,
};

/// Threads of a block at most.
const BLOCK_LIMIT: u64 = 1024;

/// What a module is made from: a fat binary, a cubin, or PTX.
#[repr(transparent)]
pub struct Image(*const u8);

impl Image {
    fn is_known(&self) -> bool {
        const FAT_BINARY: [u8; 4] = [0x50, 0xed, 0x55, 0xba];
        if self.0.is_null() {
            return false;
        }
        // SAFETY: such a pointer comes from C only; every image has four bytes.
        let magic = unsafe { self.0.cast::<[u8; 4]>().read() };
        magic == FAT_BINARY || magic == *b"\x7fELF" || magic.is_ascii()
    }
}

fn load(image: &Image) -> Result<Handle, Code> {
    let device = current()?;
    if !image.is_known() {
        return Err(Code::INVALID_IMAGE);
    }
    device.add(Counter::Modules, 1);
    Ok(state().modules.insert(Module {
        device: device.ordinal,
    }))
}

exported! {
    fn cuModuleLoadData(module: Out<Handle>, image: Image) {
        module.set(load(&image)?)
    }

    fn cuModuleLoadDataEx(
        module: Out<Handle>,
        image: Image,
        _count: c_uint,
        _options: *mut c_void,
        _values: *mut c_void,
    ) {
        module.set(load(&image)?)
    }

    fn cuModuleUnload(module: Handle) {
        let unloaded = state().modules.remove(module)?;
        state().functions.retain(|function| function.module != module);
        state().device(unloaded.device)?.subtract(Counter::Modules, 1);
        Ok(())
    }

    fn cuModuleGetFunction(function: Out<Handle>, module: Handle, name: Text) {
        state().modules.find(module)?;
        let kernel = kernels::find(&name.read()?).ok_or(Code::NOT_FOUND)?;
        function.set(state().functions.insert(Function { module, kernel }))
    }

    fn cuLaunchKernel(
        function: Handle,
        grid_x: c_uint,
        grid_y: c_uint,
        grid_z: c_uint,
        block_x: c_uint,
        block_y: c_uint,
        block_z: c_uint,
        _shared_byte_size: c_uint,
        queue: Handle,
        arguments: *const *const c_void,
        _extra: *mut c_void,
    ) {
        let (grid, block) = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
        let threads: u64 = block.iter().map(|&extent| u64::from(extent)).product();
        if threads == 0 || threads > BLOCK_LIMIT || grid.contains(&0) || arguments.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        let kernel = state().functions.find(function)?.kernel;
        // SAFETY: the header says that there is a pointer for each parameter of the kernel.
        let launch = unsafe { Launch::new(kernel, grid, block, arguments) };
        given(queue)?.push(Operation::Launch(launch))
    }
}
