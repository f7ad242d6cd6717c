//! The `despina` program, and its allocator. Tensors are large and short-lived: the system's allocator
//! asks the kernel for each, and gives it back at once, at a cost of a page fault for every 4 KiB
//! (docs/benchmarks.md).

#![expect(unsafe_code, reason = "an allocator is called through C")]

use std::{
    alloc::{GlobalAlloc, Layout},
    process::ExitCode,
    thread,
    time::Duration,
};

use libmimalloc_sys as mi;

/// How often memory that is not in use goes back to the system.
const GIVE_BACK: Duration = Duration::from_secs(1);
/// What mimalloc aligns every block to that is at least as large.
const NATURAL_ALIGNMENT: usize = 16;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    give_back_memory();
    despina::cli::run()
}

/// mimalloc. Blocks that are aligned well anyway take its shorter way.
struct Allocator;

/// Whether every block of that size is aligned like that.
fn is_natural(size: usize, alignment: usize) -> bool {
    alignment == 1 || (alignment <= NATURAL_ALIGNMENT && alignment <= size)
}

// SAFETY: mimalloc's blocks are as large as asked for and aligned as `is_natural` says or as asked
// for, belong to the caller until they are freed, and null is returned where there is no memory.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_natural(layout.size(), layout.align()) {
            // SAFETY: takes any size.
            return unsafe { mi::mi_malloc(layout.size()) }.cast();
        }
        // SAFETY: takes any size; a layout's alignment is a power of two.
        unsafe { mi::mi_malloc_aligned(layout.size(), layout.align()) }.cast()
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_natural(layout.size(), layout.align()) {
            // SAFETY: takes any size.
            return unsafe { mi::mi_zalloc(layout.size()) }.cast();
        }
        // SAFETY: takes any size; a layout's alignment is a power of two.
        unsafe { mi::mi_zalloc_aligned(layout.size(), layout.align()) }.cast()
    }

    unsafe fn dealloc(&self, block: *mut u8, _: Layout) {
        // SAFETY: the caller has the block from here and gives it up.
        unsafe { mi::mi_free(block.cast()) };
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if is_natural(size, layout.align()) {
            // SAFETY: the caller has the block from here and gives it up for the new one.
            return unsafe { mi::mi_realloc(block.cast(), size) }.cast();
        }
        // SAFETY: as above; a layout's alignment is a power of two.
        unsafe { mi::mi_realloc_aligned(block.cast(), size, layout.align()) }.cast()
    }
}

/// Lets memory go back to the system for as long as the process lives. The allocator gives it back
/// only when it is called, which after a flood may be never.
fn give_back_memory() {
    // If no thread can be had, memory comes back later: no reason not to serve.
    let _ = thread::Builder::new().name("memory".to_owned()).spawn(|| {
        loop {
            thread::sleep(GIVE_BACK);
            // SAFETY: may be called from any thread at any time.
            unsafe { mi::mi_collect(false) };
        }
    });
}
