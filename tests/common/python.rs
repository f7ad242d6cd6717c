//! A Python with the exact packages of `tests/python/requirements.txt`, made once.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::once;

/// An interpreter and what comes with it.
#[derive(Clone, Debug)]
pub struct Python {
    /// The interpreter.
    pub interpreter: PathBuf,
    /// ONNX Runtime's shared library, for the server: the one whose answers Python compares with.
    pub onnxruntime: PathBuf,
}

/// The folder of the Python files.
pub fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python")
}

/// The interpreter; makes its virtual environment on the first use.
pub fn python() -> Python {
    let requirements = include_str!("../python/requirements.txt");
    let folder = once::folder("python", &[requirements], make_environment);
    let interpreter = folder.join("venv/bin/python");
    let script = "import glob, importlib.util as u\n\
                  print(glob.glob(u.find_spec('onnxruntime').submodule_search_locations[0]\
                   + '/capi/libonnxruntime.*')[0])";
    let onnxruntime = run(Command::new(&interpreter).args(["-c", script]));
    Python {
        interpreter,
        onnxruntime: onnxruntime.trim().into(),
    }
}

fn make_environment(folder: &Path) {
    let environment = folder.join("venv");
    run(Command::new("python3")
        .args(["-m", "venv"])
        .arg(&environment));
    run(Command::new(environment.join("bin/python"))
        .args(["-m", "pip", "install", "--quiet", "--requirement"])
        .arg(scripts().join("requirements.txt")));
}

/// Runs a module of `tests/python` with these variables in its environment; fails with what it wrote
/// unless all of its tests pass.
pub fn run_module(module: &str, variables: &[(&str, &str)]) {
    run(Command::new(python().interpreter)
        .args(["-B", "-X", "faulthandler", "-m", "unittest", module])
        .current_dir(scripts())
        .envs(variables.iter().copied())
        .stdin(Stdio::null()));
}

/// Runs a command; fails with all that it wrote unless it succeeds; returns its standard output.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| {
        panic!("the tests need Python 3.11 or newer: {command:?} did not start: {error}")
    });
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{command:?} failed with {}\n{stdout}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    stdout
}
