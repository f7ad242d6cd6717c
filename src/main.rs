//! The `despina` program.

use std::process::ExitCode;

/// Tensors are large and short-lived: the system's allocator asks the kernel for each, and gives it
/// back at once, at a cost of a page fault for every 4 KiB (docs/benchmarks.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    despina::cli::run()
}
