//! The `despina` program.

#![expect(unsafe_code, reason = "the allocator is asked to give memory back")]

use std::{process::ExitCode, thread, time::Duration};

/// Tensors are large and short-lived: the system's allocator asks the kernel for each, and gives it
/// back at once, at a cost of a page fault for every 4 KiB (docs/benchmarks.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How often memory that is not in use goes back to the system.
const GIVE_BACK: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    // The allocator gives memory back only when it is called, which after a flood may be never. If
    // no thread can be had, memory comes back later: no reason not to serve.
    let _ = thread::Builder::new().name("memory".to_owned()).spawn(|| {
        loop {
            thread::sleep(GIVE_BACK);
            // SAFETY: may be called from any thread at any time.
            unsafe { libmimalloc_sys::mi_collect(false) };
        }
    });
    despina::cli::run()
}
