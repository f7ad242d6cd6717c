//! A pretend libnvinfer, so that what Despina does with TensorRT can be run on pretend GPUs. It is C++,
//! compiled against TensorRT's real headers: it implements the interfaces that the server's shim calls,
//! as another library of the same major version would. It computes almost nothing, and what it does it
//! gives to the CUDA driver that the process has open. It proves order, ownership and behaviour in
//! failure; it proves nothing about TensorRT itself, about speed, or about a GPU.
//!
//! # Plans
//!
//! [`plan`] puts the header of a real plan before lines such as
//!
//! ```text
//! input IN INT32 -1x4
//! output OUT INT32 -1x4
//! profile IN=1x4/4x4/8x4
//! run copy OUT IN
//! ```
//!
//! | line | meaning |
//! | --- | --- |
//! | `input <name> <type> <shape> [host\|vectorized]` | a shape is `-1x4` or `scalar`; `host`: a shape tensor |
//! | `output …` | the same |
//! | `profile <input>=<min>/<opt>/<max> …` | one optimization profile; in order |
//! | `run copy <output> <input>` | the output is the input |
//! | `run profile <output>` | every byte of it is the number of the profile |
//! | `run zero <output> [<input>]` | every byte of it is the length of its name; in shape the input's, or its own |
//! | `run nonzero <output> <input>` | the bytes of the input that are not 0: how many is known when they are read |
//! | `run resize <output> <input>` | its shape is what the shape tensor says |
//! | `weights <bytes>`, `streamable <bytes>` | memory of the device that the engine takes; what of it can be streamed |
//! | `workspace <bytes>` | what a context needs for its first profile; twice that for the second |
//! | `capability <major>.<minor>` | it runs on such devices only |
//! | `hostcode`, `plugins <file>` | it needs a permission, or a library of plugins |
//! | `fails <n>` | execution *n* of each context fails |
//! | `nocontext` | no context can be made |
//!
//! # Builders
//!
//! A pretend libnvonnxparser reads ONNX models of which every node is `Identity`; all else it refuses as the real
//! one refuses what it does not know. What a builder makes of them is such a plan, for the compute capability of
//! the device unless it shall be compatible with others.
//!
//! # Settings, by environment variables
//!
//! `FAKE_TENSORRT_VERSION` is the number that the library says it is; with `FAKE_TENSORRT_NO_RUNTIME` no
//! runtime can be made. `FAKE_TENSORRT_BUILD` is how builds go: one that `fails`, one that `crashes` the process,
//! or one whose plan computes what is `wrong`. A build waits until the file `FAKE_TENSORRT_BUILD_GATE` is there, and
//! writes a line `began` and a line `built` to the end of the file `FAKE_TENSORRT_BUILD_LOG`. As with the real
//! library the answer to what fails is not null but null with an offset.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

/// The major version that it pretends to be.
pub const MAJOR: u32 = 11;

/// The library, if the build had the headers for it.
pub fn library() -> Option<PathBuf> {
    let path = env!("FAKE_TENSORRT_LIBRARY");
    (!path.is_empty()).then(|| PathBuf::from(path))
}

/// The parser, if it was built.
pub fn parser() -> Option<PathBuf> {
    let path = env!("FAKE_TENSORRT_PARSER");
    (!path.is_empty()).then(|| PathBuf::from(path))
}

/// The library, for a test that is passed over without it: that is said on standard error.
///
/// # Panics
/// In CI, which fetches the headers first: there nothing is passed over.
pub fn library_or_skip() -> Option<PathBuf> {
    let library = library();
    if library.is_none() {
        let absence = tensorrt_sys::header_version().err();
        let message = format!(
            "passed over: the pretend TensorRT needs its headers ({}); crates/tensorrt-sys/headers.sh \
             brings them",
            absence.unwrap_or("those here are of another version")
        );
        assert!(std::env::var_os("CI").is_none(), "{message}");
        eprintln!("{message}");
    }
    library
}

/// Puts links to the library and to the parser into `folder`, under TensorRT's names. A process with that
/// folder in its `LD_LIBRARY_PATH` finds them.
///
/// # Errors
/// If it was not built, or the folder cannot be written.
pub fn install(folder: &Path) -> io::Result<()> {
    let library =
        library().ok_or_else(|| io::Error::other("the pretend TensorRT was not built"))?;
    fs::create_dir_all(folder)?;
    symlink(library, folder.join(format!("libnvinfer.so.{MAJOR}")))?;
    let parser = parser().ok_or_else(|| io::Error::other("the pretend parser was not built"))?;
    symlink(parser, folder.join(format!("libnvonnxparser.so.{MAJOR}")))
}

/// A plan of those lines, for this version.
pub fn plan(lines: &str) -> Vec<u8> {
    plan_of([MAJOR as u8, 4, 0, 106], lines)
}

/// A plan of those lines, as a TensorRT of that version would have written it.
pub fn plan_of(version: [u8; 4], lines: &str) -> Vec<u8> {
    let mut plan = b"ftrt".to_vec();
    plan.resize(24, 0);
    plan.extend(version);
    plan.extend(
        lines
            .lines()
            .flat_map(|line| [line.trim(), "\n"])
            .flat_map(str::bytes),
    );
    plan
}
