//! Finding libonnxruntime: in a fixed, documented order, the last resort being a pinned wheel that
//! pip downloads into the cache.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The version that is downloaded. Any from 1.23 on can be used: 1.22 ends the process when a session is made.
pub const VERSION: &str = "1.31.1";

/// Settings of the `onnxruntime` backend.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The library's file; nothing else is looked at if this is set.
    pub library: Option<PathBuf>,
    /// Whether the pinned wheel may be downloaded when no library is found.
    pub download: bool,
    /// Threads of the pool that all sessions share; all hardware threads if not set.
    pub threads: Option<usize>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            library: None,
            download: true,
            threads: None,
        }
    }
}

/// A library that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// Its file.
    pub path: PathBuf,
    /// Which step found it, for the log.
    pub source: &'static str,
}

/// Looks for the library: the setting → beside the executable → the cache → the `onnxruntime`
/// package of `python3` → the pinned wheel, downloaded into the cache.
///
/// # Errors
/// One line that says what was tried.
pub fn locate(config: &Config) -> Result<Located, String> {
    if let Some(path) = &config.library {
        return if path.is_file() {
            Ok(Located {
                path: path.clone(),
                source: "configured",
            })
        } else {
            Err(format!(
                "ONNX Runtime is not at the configured path {}",
                path.display()
            ))
        };
    }
    let cache = cache_folder();
    let beside = env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.parent()?.to_owned()));
    let candidates = [
        (
            beside.as_deref().and_then(library_in),
            "beside the executable",
        ),
        (
            beside.and_then(|folder| library_in(&folder.join("lib"))),
            "beside the executable",
        ),
        (cache.as_deref().and_then(library_in), "cache"),
        (python_package(), "Python package onnxruntime"),
    ];
    for (path, source) in candidates {
        if let Some(path) = path {
            return Ok(Located { path, source });
        }
    }
    let hint = "install the Python package onnxruntime, or set --onnxruntime-library";
    if !config.download {
        return Err(format!(
            "ONNX Runtime was not found and downloading is off: {hint}"
        ));
    }
    let cache = cache.ok_or_else(|| {
        format!("ONNX Runtime was not found and there is no cache folder to download it to: {hint}")
    })?;
    match download(&cache) {
        Ok(path) => Ok(Located {
            path,
            source: "downloaded",
        }),
        Err(error) => Err(format!(
            "ONNX Runtime was not found and its download failed ({error}): {hint}"
        )),
    }
}

/// The library in that folder: the newest, should there be several.
fn library_in(folder: &Path) -> Option<PathBuf> {
    let mut libraries: Vec<_> = fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            name.starts_with("libonnxruntime.so") && path.is_file()
        })
        .collect();
    libraries.sort();
    libraries.pop()
}

/// `$XDG_CACHE_HOME/despina/onnxruntime-<version>`, or the same under `~/.cache`.
fn cache_folder() -> Option<PathBuf> {
    let set = |name| {
        env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let base = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")))?;
    Some(base.join("despina").join(format!("onnxruntime-{VERSION}")))
}

/// Asks python3 where its onnxruntime package is, without importing it.
fn python_package() -> Option<PathBuf> {
    let script = "import importlib.util as u; s = u.find_spec('onnxruntime'); \
                  print(s.submodule_search_locations[0] if s else '')";
    let output = Command::new("python3")
        .args(["-I", "-c", script])
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let folder = String::from_utf8(output.stdout).ok()?;
    let folder = folder.trim();
    (!folder.is_empty())
        .then(|| library_in(&Path::new(folder).join("capi")))
        .flatten()
}

/// pip's platform tag and the wheel's SHA-256, by architecture.
fn wheel() -> Option<(&'static str, &'static str)> {
    match env::consts::ARCH {
        "x86_64" => Some((
            "manylinux_2_28_x86_64",
            "1f3dea47f2f0e5117c2404cea7d21fd253ae7836a3bf167a501cdfbb2600d536",
        )),
        "aarch64" => Some((
            "manylinux_2_28_aarch64",
            "0b9a492176886992e0e875f06bc0367e333f5fff11711a2d642e18b02f3009cc",
        )),
        _ => None,
    }
}

/// Downloads the pinned wheel with pip, checks it, and puts its library into the cache by an
/// atomic rename, so that servers starting at the same time do not see half of it.
fn download(cache: &Path) -> Result<PathBuf, String> {
    let (platform, sha256) =
        wheel().ok_or_else(|| format!("no wheel is known for {}", env::consts::ARCH))?;
    let parent = cache.parent().ok_or("the cache folder has no parent")?;
    let work = parent.join(format!(".download-{}", std::process::id()));
    let result = fetch(&work, platform, sha256).and_then(|capi| {
        // Somebody else may have been faster; theirs is as good.
        drop(fs::rename(&capi, cache));
        library_in(cache).ok_or_else(|| format!("{} holds no library", cache.display()))
    });
    drop(fs::remove_dir_all(&work));
    result
}

fn fetch(work: &Path, platform: &str, sha256: &str) -> Result<PathBuf, String> {
    tracing::info!(version = VERSION, "downloading ONNX Runtime");
    fs::create_dir_all(work).map_err(|error| format!("{}: {error}", work.display()))?;
    let package = format!("onnxruntime=={VERSION}");
    python(
        Command::new("python3")
            .args([
                "-m",
                "pip",
                "download",
                "--quiet",
                "--no-deps",
                "--only-binary",
                ":all:",
            ])
            .args([
                "--platform",
                platform,
                "--python-version",
                "312",
                "--implementation",
                "cp",
                "-d",
            ])
            .arg(work)
            .arg(&package),
    )?;
    let wheel = fs::read_dir(work)
        .map_err(|error| error.to_string())?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .ok_or("pip downloaded no wheel")?;
    let bytes = fs::read(&wheel).map_err(|error| error.to_string())?;
    let found = hex(&Sha256::digest(&bytes));
    if found != sha256 {
        return Err(format!("the wheel's SHA-256 is {found}, expected {sha256}"));
    }
    python(
        Command::new("python3")
            .args(["-m", "zipfile", "-e"])
            .arg(&wheel)
            .arg(work),
    )?;
    Ok(work.join("onnxruntime").join("capi"))
}

fn python(command: &mut Command) -> Result<(), String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("python3: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let last = text
        .lines()
        .rfind(|line| !line.trim().is_empty())
        .unwrap_or("no message");
    Err(last.trim().chars().take(300).collect())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configured_path_is_the_only_one_looked_at() {
        let config = Config {
            library: Some("/nowhere/libonnxruntime.so".into()),
            ..Config::default()
        };
        let error = locate(&config).unwrap_err();
        assert!(error.contains("/nowhere/libonnxruntime.so"), "{error}");
    }

    #[test]
    fn takes_the_newest_library_of_a_folder_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "libonnxruntime.so.1.30.0",
            "libonnxruntime.so.1.31.1",
            "libonnxruntime_providers_shared.so",
        ] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        assert_eq!(
            library_in(folder.path()).unwrap().file_name().unwrap(),
            "libonnxruntime.so.1.31.1"
        );
        assert_eq!(library_in(&folder.path().join("absent")), None);
    }

    #[test]
    fn prints_digests_as_pip_does() {
        assert_eq!(hex(&[0x0f, 0xa0]), "0fa0");
    }
}
