//! The `despina` program, and its allocator. Tensors are large and short-lived: the system's allocator
//! asks the kernel for each, and gives it back at once, at a cost of a page fault for every 4 KiB
//! (docs/benchmarks.md).

#![expect(unsafe_code, reason = "an allocator is called through C")]

use std::{
    alloc::{GlobalAlloc, Layout},
    process::ExitCode,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use libmimalloc_sys as mi;

/// How often memory that is not in use goes back to the system.
const GIVE_BACK: Duration = Duration::from_secs(1);
/// What mimalloc aligns every block to that is at least as large.
const NATURAL_ALIGNMENT: usize = 16;
/// Blocks from this size on start somewhere within a page, each at another place. Processors that
/// copy with `rep movsb` can take five times as long where the destination is 1 to 15 bytes further
/// into its page than the source into its own. A tensor behind the nine bytes of an HTTP/2 frame,
/// read to the start of a page, is just that, each time anew (docs/benchmarks.md).
const LARGE: usize = 32 << 10;
/// Places are so far from each other; blocks that need more alignment have none.
const PLACE: usize = 64;
/// What places are counted in.
const PAGE: usize = 4096;
/// From one place to the next: it comes to all of them.
const NEXT_PLACE: usize = 11 * PLACE;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    give_back_memory();
    despina::cli::run()
}

/// mimalloc. Blocks that are aligned well anyway take its shorter way.
struct Allocator;

/// How a block is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Every block of that size is aligned well.
    Plain,
    /// Aligned as asked for.
    Aligned,
    /// At the next place.
    Placed,
}

impl Way {
    fn of(size: usize, alignment: usize) -> Self {
        if size >= LARGE && alignment <= PLACE {
            Self::Placed
        } else if alignment == 1 || (alignment <= NATURAL_ALIGNMENT && alignment <= size) {
            Self::Plain
        } else {
            Self::Aligned
        }
    }
}

/// How far before the end of a page.
fn next_place() -> usize {
    static LAST: AtomicUsize = AtomicUsize::new(0);
    LAST.fetch_add(NEXT_PLACE, Ordering::Relaxed) % PAGE
}

// SAFETY: mimalloc's blocks are as large as asked for and aligned as `Way` says or as asked for,
// belong to the caller until they are freed, and null is returned where there is no memory.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (size, alignment) = (layout.size(), layout.align());
        let block = match Way::of(size, alignment) {
            // SAFETY: takes any size.
            Way::Plain => unsafe { mi::mi_malloc(size) },
            // SAFETY: takes any size; a layout's alignment is a power of two.
            Way::Aligned => unsafe { mi::mi_malloc_aligned(size, alignment) },
            // SAFETY: as above, and so is a page's.
            Way::Placed => unsafe { mi::mi_malloc_aligned_at(size, PAGE, next_place()) },
        };
        block.cast()
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let (size, alignment) = (layout.size(), layout.align());
        let block = match Way::of(size, alignment) {
            // SAFETY: takes any size.
            Way::Plain => unsafe { mi::mi_zalloc(size) },
            // SAFETY: takes any size; a layout's alignment is a power of two.
            Way::Aligned => unsafe { mi::mi_zalloc_aligned(size, alignment) },
            // SAFETY: as above, and so is a page's.
            Way::Placed => unsafe { mi::mi_zalloc_aligned_at(size, PAGE, next_place()) },
        };
        block.cast()
    }

    unsafe fn dealloc(&self, block: *mut u8, _: Layout) {
        // SAFETY: the caller has the block from here and gives it up.
        unsafe { mi::mi_free(block.cast()) };
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let place = if layout.size() < LARGE {
            next_place()
        } else {
            // It can stay where it is if there is room.
            block.addr().wrapping_neg() % PAGE
        };
        let (block, alignment) = (block.cast(), layout.align());
        let block = match Way::of(size, alignment) {
            // SAFETY: the caller has the block from here and gives it up for the new one.
            Way::Plain => unsafe { mi::mi_realloc(block, size) },
            // SAFETY: as above; a layout's alignment is a power of two.
            Way::Aligned => unsafe { mi::mi_realloc_aligned(block, size, alignment) },
            // SAFETY: as above, and so is a page's.
            Way::Placed => unsafe { mi::mi_realloc_aligned_at(block, size, PAGE, place) },
        };
        block.cast()
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
