//! Finding libnvinfer: in a fixed, documented order. Nothing is downloaded: the full library is in no
//! package registry.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use tensorrt_sys::{Library, OnnxParser, OpenError, header_version};

/// Settings of the `tensorrt` backend.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The library's file; nothing else is looked at if this is set.
    pub library: Option<PathBuf>,
    /// The ONNX parser's file; otherwise it is looked for beside the library, and where the system looks.
    pub onnx_parser: Option<PathBuf>,
    /// The folder of engines that were built from ONNX models; otherwise `despina/engines` in the user's cache.
    pub engine_cache: Option<PathBuf>,
    /// Most bytes of engines in it.
    pub engine_cache_byte_limit: u64,
    /// Shared libraries of plugins, loaded before any engine. No other is ever loaded.
    pub plugins: Vec<PathBuf>,
    /// Whether plans may bring host code along, as those built to be version compatible do. They can
    /// then run any code in this process.
    pub version_compatible: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            library: None,
            onnx_parser: None,
            engine_cache: None,
            engine_cache_byte_limit: 20 << 30,
            plugins: Vec::new(),
            version_compatible: false,
        }
    }
}

impl Config {
    /// The folder of built engines: the setting, or one in the user's cache.
    ///
    /// # Errors
    /// If the user has none.
    pub(super) fn engine_folder(&self) -> Result<PathBuf, String> {
        let set = |name| {
            env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let cache = || set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
        let folder = self.engine_cache.clone();
        folder
            .or_else(|| Some(cache()?.join("despina").join("engines")))
            .ok_or_else(|| {
                "there is no folder to keep built engines in: set tensorrt.engine_cache".to_owned()
            })
    }
}

/// The kinds of the library, the most able first: the full one, the one that finds the library that a plan
/// was built with, and the one that only runs plans built to be version compatible.
const KINDS: [&str; 3] = ["libnvinfer", "libnvinfer_dispatch", "libnvinfer_lean"];
/// The Python packages that hold them.
const PACKAGES: [&str; 3] = [
    "tensorrt_libs",
    "tensorrt_dispatch_libs",
    "tensorrt_lean_libs",
];

/// Opens the library: the setting → beside the executable → where the system looks → the Python packages
/// of `python3`.
///
/// # Errors
/// One line that says what was tried.
pub(super) fn open(config: &Config) -> Result<Library, String> {
    let version = header_version().map_err(|why| OpenError::NoHeaders(why).to_string())?;
    if let Some(path) = &config.library {
        return open_at(path).map_err(|error| error.to_string());
    }
    let names = KINDS.map(|kind| format!("{kind}.so.{}", version.major));
    let mut refused = None;
    for path in candidates(&names) {
        match open_at(&path) {
            Ok(library) => return Ok(library),
            // It is there: worth a word, if no other can be used.
            Err(error @ OpenError::Version { .. }) => refused = Some(error.to_string()),
            Err(_) => {}
        }
    }
    let [name, ..] = names;
    Err(refused.unwrap_or_else(|| {
        format!(
            "TensorRT was not found: install {name} where the system looks for libraries, or set \
             --tensorrt-library"
        )
    }))
}

/// Opens the ONNX parser that belongs to an open library: the setting → beside the library → where the system
/// looks.
///
/// # Errors
/// One line that says what was tried.
pub(super) fn open_parser(config: &Config, library: &Arc<Library>) -> Result<OnnxParser, String> {
    let name = format!("libnvonnxparser.so.{}", library.version().major);
    let beside = library.path().parent().map(|folder| folder.join(&name));
    let beside = beside.filter(|path| path.is_file());
    let is_named = config.onnx_parser.is_some();
    let path = config
        .onnx_parser
        .clone()
        .or(beside)
        .unwrap_or(PathBuf::from(name));
    // SAFETY: the operator installed the library, or named it.
    let opened = unsafe { OnnxParser::open(&path, library) };
    opened.map_err(|error| match error {
        OpenError::Unloadable { .. } if !is_named => format!(
            "TensorRT's ONNX parser was not found: install {} where the system looks for libraries, or set \
             --onnx-parser-library",
            path.display()
        ),
        error => error.to_string(),
    })
}

fn open_at(path: &Path) -> Result<Library, OpenError> {
    // SAFETY: the operator installed the library, or named it.
    unsafe { Library::open(path) }
}

/// Where it may be, in order; a bare name is looked for by the system.
fn candidates(names: &[String; 3]) -> impl Iterator<Item = PathBuf> {
    let beside = env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.parent()?.to_owned()));
    let folders = beside
        .into_iter()
        .flat_map(|folder| [folder.join("lib"), folder]);
    let in_folders = folders.flat_map(|folder| names.clone().map(|name| folder.join(name)));
    let existing = in_folders.filter(|path| path.is_file());
    let by_system = names.clone().into_iter().map(PathBuf::from);
    let names = names.clone();
    // Asked only if nothing before could be opened.
    let in_packages = std::iter::once_with(packages)
        .flatten()
        .flat_map(move |folder| {
            names
                .clone()
                .map(|name| folder.join(name))
                .into_iter()
                .filter(|path| path.is_file())
        });
    existing.chain(by_system).chain(in_packages)
}

/// Asks python3 where its packages are, without importing them.
fn packages() -> Vec<PathBuf> {
    let script = format!(
        "import importlib.util as u\nfor n in {PACKAGES:?}:\n s = u.find_spec(n)\n \
         if s: print(s.submodule_search_locations[0])"
    );
    let output = Command::new("python3")
        .args(["-I", "-c", &script])
        .stdin(Stdio::null())
        .output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&text)
        .lines()
        .map(PathBuf::from)
        .collect()
}
