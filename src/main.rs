//! The `despina` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    despina::cli::run()
}
