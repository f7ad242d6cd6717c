//! Where the library is, and how a process comes to open it instead of the real ones.

use std::{
    env, fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

/// The names under which the driver and NVML are opened.
const NAMES: [&str; 4] = [
    "libcuda.so",
    "libcuda.so.1",
    "libnvidia-ml.so",
    "libnvidia-ml.so.1",
];

/// The library that Cargo built beside the running test.
///
/// # Errors
/// If it is not there.
pub fn library() -> io::Result<PathBuf> {
    let test = env::current_exe()?;
    test.ancestors()
        .skip(1)
        .take(2)
        .flat_map(|folder| {
            [
                folder.join("libfake_cuda.so"),
                folder.join("deps/libfake_cuda.so"),
            ]
        })
        .find(|path| path.is_file())
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "libfake_cuda.so is not built"))
}

/// Puts links to the library into `folder`, as driver and NVML. A process with that folder in its
/// `LD_LIBRARY_PATH` has pretend GPUs, whatever else the machine has.
///
/// # Errors
/// If the library is not there, or the folder cannot be written.
pub fn install(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let library = library()?;
    NAMES
        .iter()
        .try_for_each(|name| symlink(&library, folder.join(name)))
}
