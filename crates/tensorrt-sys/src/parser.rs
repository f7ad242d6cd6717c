//! libnvonnxparser, opened at run time: what reads ONNX models for builders.

use std::{
    ffi::{c_int, c_void},
    path::{Path, PathBuf},
    sync::Arc,
};

use libloading::Symbol;

use crate::{
    bindings::trt_parser_version,
    library::{Library, OpenError, Version, symbol},
};

/// An open parser of the version that the header has, which stays open as long as this lives.
#[derive(Debug)]
pub struct OnnxParser {
    path: PathBuf,
    create: *mut c_void,
    _parser: libloading::Library,
    /// It uses libnvinfer.
    _library: Arc<Library>,
}

// SAFETY: what is kept is the address of a function, which may be called from any thread.
unsafe impl Send for OnnxParser {}
// SAFETY: as above.
unsafe impl Sync for OnnxParser {}

impl OnnxParser {
    /// Opens the parser at that path, or of that name where the system looks, beside an open libnvinfer.
    ///
    /// # Errors
    /// If this build has no header for it, or it is no parser of that version.
    ///
    /// # Safety
    /// Whatever the file is, its initialisation runs: it must be one that may be trusted.
    pub unsafe fn open(path: &Path, library: &Arc<Library>) -> Result<Self, OpenError> {
        let header = header().ok_or(OpenError::NoParserHeader)?;
        // SAFETY: the caller trusts the file.
        let parser = unsafe { libloading::Library::new(path) };
        let parser = parser.map_err(|error| OpenError::Unloadable {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        let found = version_of(&parser, path)?;
        if (found.major, found.minor) != (header.major, header.minor) {
            return Err(OpenError::Parser {
                path: path.to_owned(),
                library: found,
                header,
            });
        }
        Ok(Self {
            path: path.to_owned(),
            create: *symbol(&parser, path, "createNvOnnxParser_INTERNAL")?,
            _parser: parser,
            _library: Arc::clone(library),
        })
    }

    /// As it was given to [`OnnxParser::open`].
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its factory of parsers, for [`crate::trt_builder_parse`].
    pub fn create(&self) -> *mut c_void {
        self.create
    }
}

/// The version of the parser's header, if this build has it.
fn header() -> Option<Version> {
    // SAFETY: the function takes nothing and only answers.
    let number = unsafe { trt_parser_version() };
    let number = u32::try_from(number).ok().filter(|number| *number != 0)?;
    Some(Version::from_number(number))
}

fn version_of(parser: &libloading::Library, path: &Path) -> Result<Version, OpenError> {
    let ask: Symbol<unsafe extern "C" fn() -> c_int> =
        symbol(parser, path, "getNvOnnxParserVersion")?;
    // SAFETY: every libnvonnxparser declares it so: it takes nothing and only answers.
    let number = unsafe { ask() };
    Ok(Version::from_number(u32::try_from(number).unwrap_or(0)))
}
