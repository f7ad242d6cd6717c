//! Kernels, emulated on the CPU by their entry name.
//!
//! To add one: write a function that reads its arguments and memory from a [`Launch`] and writes its
//! results, and give it a line in `KERNELS` with the sizes of its parameters in bytes. Memory is
//! read and written by copies through [`Launch::read`] and [`Launch::write`], which check that a span
//! lies inside its allocation, as the hardware would.

use std::ffi::c_void;

use crate::{code::Code, house, memory, state::state};

/// A kernel that can be launched.
#[derive(Debug)]
pub struct Kernel {
    /// The entry's name in its module.
    pub name: &'static str,
    /// The size of each parameter, in bytes.
    pub parameters: &'static [usize],
    /// What it does.
    pub run: fn(&Launch) -> Result<(), Code>,
}

/// All but those of the server itself, which are in `house`.
const KERNELS: &[Kernel] = &[Kernel {
    name: "fill_u32",
    parameters: &[8, 4, 4],
    run: fill_u32,
}];

/// The kernel of that name.
pub(crate) fn find(name: &str) -> Option<&'static Kernel> {
    KERNELS
        .iter()
        .chain(house::KERNELS)
        .find(|kernel| kernel.name == name)
}

/// `fill_u32(uint32_t *destination, uint32_t value, uint32_t count)`: for tests of the driver itself.
fn fill_u32(launch: &Launch) -> Result<(), Code> {
    let count = launch.u32(2).min(launch.thread_count());
    let bytes: Vec<u8> = (0..count)
        .flat_map(|_| launch.u32(1).to_ne_bytes())
        .collect();
    launch.write(launch.u64(0), &bytes)
}

/// One launch of a kernel.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Blocks in x, y and z.
    pub grid: [u32; 3],
    /// Threads of a block in x, y and z.
    pub block: [u32; 3],
    kernel: &'static Kernel,
    arguments: Vec<Vec<u8>>,
}

impl Launch {
    /// Takes the arguments, as the driver does, when the kernel is launched.
    ///
    /// # Safety
    /// `arguments` points to as many pointers as the kernel has parameters, each to a value of its
    /// size.
    pub(crate) unsafe fn new(
        kernel: &'static Kernel,
        grid: [u32; 3],
        block: [u32; 3],
        arguments: *const *const c_void,
    ) -> Self {
        let copy = |(index, &byte_size): (usize, &usize)| {
            // SAFETY: the caller promises a pointer for each parameter.
            let place = unsafe { arguments.add(index) };
            // SAFETY: as above.
            let pointer = unsafe { place.read() };
            let mut value = vec![0; byte_size];
            // SAFETY: the caller promises that it points to so many bytes.
            unsafe { value.as_mut_ptr().copy_from(pointer.cast(), byte_size) };
            value
        };
        let arguments = kernel.parameters.iter().enumerate().map(copy).collect();
        Self {
            grid,
            block,
            kernel,
            arguments,
        }
    }

    pub(crate) fn run(&self) -> Result<(), Code> {
        (self.kernel.run)(self)
    }

    /// Threads of all blocks.
    pub fn thread_count(&self) -> u32 {
        self.grid
            .iter()
            .chain(&self.block)
            .fold(1, |product: u32, &extent| product.saturating_mul(extent))
    }

    /// Argument `index` as it was passed.
    ///
    /// # Panics
    /// If the kernel has no such parameter.
    pub fn bytes(&self, index: usize) -> &[u8] {
        &self.arguments[index]
    }

    /// Argument `index`, a pointer or another eight bytes.
    ///
    /// # Panics
    /// If the kernel has no such parameter of eight bytes.
    pub fn u64(&self, index: usize) -> u64 {
        u64::from_ne_bytes(self.array(index))
    }

    /// Argument `index`, four bytes.
    ///
    /// # Panics
    /// If the kernel has no such parameter of four bytes.
    pub fn u32(&self, index: usize) -> u32 {
        u32::from_ne_bytes(self.array(index))
    }

    /// Argument `index`, a `float`.
    ///
    /// # Panics
    /// If the kernel has no such parameter of four bytes.
    pub fn f32(&self, index: usize) -> f32 {
        f32::from_bits(self.u32(index))
    }

    fn array<const N: usize>(&self, index: usize) -> [u8; N] {
        self.bytes(index)
            .try_into()
            .unwrap_or_else(|_| panic!("{}: parameter {index} is not {N} bytes", self.kernel.name))
    }

    /// Reads memory of a device, or pinned memory.
    ///
    /// # Errors
    /// `CUDA_ERROR_ILLEGAL_ADDRESS` if the span is neither.
    pub fn read(&self, address: u64, byte_size: usize) -> Result<Vec<u8>, Code> {
        check(address, byte_size)?;
        let mut bytes = vec![0; byte_size];
        let destination = bytes.as_mut_ptr() as u64;
        state()
            .memory
            .copy(destination, address, byte_size as u64)?;
        Ok(bytes)
    }

    /// Writes memory of a device, or pinned memory.
    ///
    /// # Errors
    /// As [`Launch::read`].
    pub fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Code> {
        check(address, bytes.len())?;
        let source = bytes.as_ptr() as u64;
        state().memory.copy(address, source, bytes.len() as u64)
    }
}

/// A kernel cannot reach memory of the host that is not pinned.
fn check(address: u64, byte_size: usize) -> Result<(), Code> {
    let reachable =
        memory::is_device(address) || state().memory.is_pinned(address, byte_size as u64);
    match reachable {
        true => Ok(()),
        false => Err(Code::ILLEGAL_ADDRESS),
    }
}
