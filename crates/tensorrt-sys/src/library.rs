//! libnvinfer, opened at run time: the full library, or one that only runs plans (lean), or one that
//! finds the library that a plan was built with (dispatch). All three have the functions that run plans; only
//! the full one builds them.

use std::{
    ffi::{c_int, c_void},
    fmt,
    path::{Path, PathBuf},
};

use libloading::Symbol;

use crate::bindings::trt_header_version;

/// Why there are no headers in this build; empty if there are.
const ABSENCE: &str = env!("TENSORRT_SYS_ABSENCE");

/// A version of TensorRT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// What interfaces are bound to.
    pub major: u32,
    /// What only adds to interfaces.
    pub minor: u32,
    /// What changes no interface.
    pub patch: u32,
}

impl Version {
    /// From TensorRT's own number: major * 10000 + minor * 100 + patch.
    pub const fn from_number(number: u32) -> Self {
        Self {
            major: number / 10_000,
            minor: number / 100 % 100,
            patch: number % 100,
        }
    }

    /// The oldest library of the same major version that has every function that the shim calls.
    const fn oldest(self) -> Self {
        Self {
            major: self.major,
            // Memory by profile and the weight streaming budget came with 10.1.
            minor: if self.major == 10 { 1 } else { 0 },
            patch: 0,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// The version of the headers that this build has.
///
/// # Errors
/// Why it has none, in one line.
pub fn header_version() -> Result<Version, &'static str> {
    if !ABSENCE.is_empty() {
        return Err(ABSENCE);
    }
    // SAFETY: the function takes nothing and only answers.
    let number = unsafe { trt_header_version() };
    Ok(Version::from_number(u32::try_from(number).unwrap_or(0)))
}

/// Why a library cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// This build has no headers.
    NoHeaders(&'static str),
    /// It is not there, or the system cannot load it.
    Unloadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// It lacks a function that every libnvinfer has.
    Foreign {
        /// The file.
        path: PathBuf,
        /// The function.
        function: &'static str,
    },
    /// This build has no header of the ONNX parser.
    NoParserHeader,
    /// An ONNX parser whose interface is not that of the header.
    Parser {
        /// The file.
        path: PathBuf,
        /// What it says that it is.
        library: Version,
        /// What this build is made for.
        header: Version,
    },
    /// Its interfaces are not those of the headers.
    Version {
        /// The file.
        path: PathBuf,
        /// What it is.
        library: Version,
        /// What this build is made for.
        headers: Version,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHeaders(reason) => write!(f, "this build is without TensorRT: {reason}"),
            Self::Unloadable { path, reason } => {
                write!(f, "{} cannot be loaded: {reason}", path.display())
            }
            Self::Foreign { path, function } => {
                write!(
                    f,
                    "{} is no TensorRT library: it has no {function}",
                    path.display()
                )
            }
            Self::NoParserHeader => f.write_str(
                "this build cannot read ONNX: TensorRT's headers on the build machine were without NvOnnxParser.h",
            ),
            Self::Parser {
                path,
                library,
                header,
            } => write!(
                f,
                "{} is an ONNX parser of version {library}, but this build is made for {header}",
                path.display()
            ),
            Self::Version {
                path,
                library,
                headers,
            } => {
                let oldest = headers.oldest();
                write!(
                    f,
                    "{} is TensorRT {library}, but this build is made for TensorRT {} from {}.{} on",
                    path.display(),
                    headers.major,
                    oldest.major,
                    oldest.minor
                )
            }
        }
    }
}

impl std::error::Error for OpenError {}

/// An open library of a version that fits, which stays open as long as this lives.
#[derive(Debug)]
pub struct Library {
    path: PathBuf,
    version: Version,
    create: *mut c_void,
    create_builder: Option<*mut c_void>,
    _library: libloading::Library,
}

// SAFETY: what is kept are addresses of functions, which may be called from any thread.
unsafe impl Send for Library {}
// SAFETY: as above.
unsafe impl Sync for Library {}

impl Library {
    /// Opens the library at that path, or of that name where the system looks.
    ///
    /// # Errors
    /// If this build has no headers, or it is no library that fits them.
    ///
    /// # Safety
    /// Whatever the file is, its initialisation runs: it must be one that may be trusted.
    pub unsafe fn open(path: &Path) -> Result<Self, OpenError> {
        let headers = header_version().map_err(OpenError::NoHeaders)?;
        // SAFETY: the caller trusts the file.
        let library = unsafe { libloading::Library::new(path) };
        let library = library.map_err(|error| OpenError::Unloadable {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        let version = version_of(&library, path)?;
        if version.major != headers.major || version < headers.oldest() {
            return Err(OpenError::Version {
                path: path.to_owned(),
                library: version,
                headers,
            });
        }
        Ok(Self {
            path: path.to_owned(),
            version,
            create: *symbol(&library, path, "createInferRuntime_INTERNAL")?,
            create_builder: symbol(&library, path, "createInferBuilder_INTERNAL")
                .ok()
                .map(|function| *function),
            _library: library,
        })
    }

    /// As it was given to [`Library::open`].
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Its factory of runtimes, for [`crate::trt_runtime_new`].
    pub fn create(&self) -> *mut c_void {
        self.create
    }

    /// Its factory of builders, for [`crate::trt_builder_new`]; `None` if it only runs plans.
    pub fn create_builder(&self) -> Option<*mut c_void> {
        self.create_builder
    }
}

fn version_of(library: &libloading::Library, path: &Path) -> Result<Version, OpenError> {
    let ask: Symbol<unsafe extern "C" fn() -> c_int> = symbol(library, path, "getInferLibVersion")?;
    // SAFETY: every libnvinfer declares it so: it takes nothing and only answers.
    let number = unsafe { ask() };
    Ok(Version::from_number(u32::try_from(number).unwrap_or(0)))
}

pub(crate) fn symbol<'a, T>(
    library: &'a libloading::Library,
    path: &Path,
    function: &'static str,
) -> Result<Symbol<'a, T>, OpenError> {
    // SAFETY: the types that are asked for are those of TensorRT's headers.
    let found = unsafe { library.get(function.as_bytes()) };
    found.map_err(|_| OpenError::Foreign {
        path: path.to_owned(),
        function,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_tensorrts_version_numbers() {
        let version = Version::from_number(110_402);
        assert_eq!(version.to_string(), "11.4.2");
        assert_eq!(Version::from_number(100_100).to_string(), "10.1.0");
        assert!(Version::from_number(100_000) < version.oldest());
        assert!(Version::from_number(100_000) < Version::from_number(100_900).oldest());
        assert!(Version::from_number(110_000) >= version.oldest());
    }

    #[test]
    fn what_is_no_library_is_refused_by_name() {
        // SAFETY: neither path is initialised: one is not there, one is no library.
        let open = |path: &str| unsafe { Library::open(Path::new(path)) }.unwrap_err();
        if let Err(reason) = header_version() {
            assert_eq!(open("/nowhere"), OpenError::NoHeaders(reason));
            return;
        }
        let message = open("/nowhere/libnvinfer.so.11").to_string();
        assert!(
            message.contains("libnvinfer.so.11 cannot be loaded"),
            "{message}"
        );
        let message = open("/dev/null").to_string();
        assert!(message.contains("/dev/null cannot be loaded"), "{message}");
        // A library that every process has open already.
        let message = open("libc.so.6").to_string();
        assert!(message.contains("is no TensorRT library"), "{message}");
    }
}
