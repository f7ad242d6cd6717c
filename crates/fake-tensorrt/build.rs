//! Builds the libraries against the headers that the shim was compiled with, if there are any and they are
//! those whose interfaces it implements: all of them, so every version needs another list.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// The version that `library/unused.h` is for.
const IMPLEMENTED: &str = "TRT-Enterprise-11.4";

/// Of libnvinfer.
const NVINFER: [&str; 7] = [
    "plan", "driver", "engine", "context", "runtime", "network", "builder",
];

fn main() {
    println!("cargo:rerun-if-changed=library");
    let headers = env::var_os("DEP_DESPINA_TENSORRT_SHIM_INCLUDE").map(PathBuf::from);
    let (library, parser) = match headers {
        Some(headers) if headers.ends_with(IMPLEMENTED) => (
            build(&headers, "libfake_nvinfer.so", &NVINFER),
            build(&headers, "libfake_nvonnxparser.so", &["parser"]),
        ),
        _ => (String::new(), String::new()),
    };
    println!("cargo:rustc-env=FAKE_TENSORRT_LIBRARY={library}");
    println!("cargo:rustc-env=FAKE_TENSORRT_PARSER={parser}");
}

fn build(headers: &Path, name: &str, sources: &[&str]) -> String {
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap()).join(name);
    let compiler = cc::Build::new().cpp(true).std("c++17").get_compiler();
    let mut command: Command = compiler.to_command();
    command
        .args([
            "-shared",
            "-fPIC",
            "-fvisibility=hidden",
            // The headers export then what a library exports.
            "-DTENSORRT_BUILD_LIB",
            "-Wall",
            "-Wextra",
        ])
        .args([
            "-I",
            "library",
            "-I",
            "../tensorrt-sys/shim/cuda",
            "-isystem",
        ])
        .arg(headers)
        .args(sources.iter().map(|name| format!("library/{name}.cpp")))
        .args(["-ldl", "-o"])
        .arg(&out);
    let status = command.status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
    out.to_str().unwrap().to_owned()
}
