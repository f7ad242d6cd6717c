//! Compiles the shim against TensorRT's headers, if this machine has any; nothing is downloaded and
//! nothing of TensorRT is linked. Headers are looked for where `TENSORRT_INCLUDE_DIR` says (empty: build
//! without), where systems have them, and in the registry crate that `headers.sh` fetches. Without any,
//! what is compiled instead answers that nothing is there.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// The crate, as Cargo names its folder, and where its headers are in it.
const CRATE: &str = "trtx-sys-0.9.1+rtx1.7";
const HEADERS_IN_CRATE: &str = "TensorRT-Headers/TRT-Enterprise-11.4";
/// The header that says which version it is.
const VERSION_HEADER: &str = "NvInferVersion.h";
/// Major versions whose interfaces the shim is written for.
const KNOWN: [u32; 2] = [10, 11];

fn main() {
    println!("cargo:rerun-if-env-changed=TENSORRT_INCLUDE_DIR");
    println!("cargo:rerun-if-changed=shim");
    match headers() {
        Ok(headers) => with(&headers),
        Err(absence) => without(&absence),
    }
    #[cfg(feature = "regenerate")]
    regenerate();
}

/// Makes bindings of the shim's header, which the crate then uses instead of the committed ones.
#[cfg(feature = "regenerate")]
fn regenerate() {
    let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap());
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap());
    bindgen::Builder::default()
        .header("shim/tensorrt_shim.h")
        .allowlist_item("(trt|TRT)_.*")
        .disable_header_comment()
        .raw_line("// Made by bindings.sh of shim/tensorrt_shim.h; not to be edited.")
        .use_core()
        .formatter(bindgen::Formatter::Rustfmt)
        .rustfmt_configuration_file(Some(package.join("../../rustfmt.toml")))
        .generate()
        .unwrap()
        .write_to_file(out.join("bindings.rs"))
        .unwrap();
}

/// The shim proper.
fn with(headers: &Path) {
    println!(
        "cargo:rerun-if-changed={}",
        headers.join(VERSION_HEADER).display()
    );
    println!("cargo:rustc-env=TENSORRT_SYS_ABSENCE=");
    println!("cargo:include={}", headers.display());
    let mut build = cc::Build::new();
    build
        .cpp(true)
        .std("c++17")
        .files(["shim/runtime.cpp", "shim/context.cpp", "shim/builder.cpp"])
        .includes(["shim", "shim/cuda"])
        // Warnings are about our sources, not about the headers.
        .flag("-isystem")
        .flag(headers)
        .cpp_link_stdlib(None);
    let compiled = build.try_compile("despina_tensorrt_shim");
    if let Err(error) = compiled {
        panic!(
            "the TensorRT headers in {} cannot be compiled; point TENSORRT_INCLUDE_DIR to others, or \
             leave it empty to build without TensorRT: {error}",
            headers.display()
        );
    }
    link_standard_library(&build);
}

/// The binary shall start where no C++ library is installed, so its few functions that the shim needs
/// are linked into it, where the compiler has them for that.
fn link_standard_library(build: &cc::Build) {
    let archive = build
        .get_compiler()
        .to_command()
        .arg("-print-file-name=libstdc++.a")
        .output()
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .map(|path| PathBuf::from(path.trim()));
    match archive
        .as_deref()
        .filter(|path| path.is_absolute())
        .and_then(Path::parent)
    {
        Some(folder) => {
            println!("cargo:rustc-link-search=native={}", folder.display());
            println!("cargo:rustc-link-lib=static:-bundle=stdc++");
        }
        None => println!("cargo:rustc-link-lib=stdc++"),
    }
}

fn without(absence: &str) {
    println!("cargo:rustc-env=TENSORRT_SYS_ABSENCE={absence}");
    cc::Build::new()
        .file("shim/without.c")
        .include("shim")
        .compile("despina_tensorrt_shim");
}

/// The folder with headers of a version that is known, or why there is none, in one line.
fn headers() -> Result<PathBuf, String> {
    match env::var_os("TENSORRT_INCLUDE_DIR") {
        Some(folder) if folder.is_empty() => Err("TENSORRT_INCLUDE_DIR was empty".to_owned()),
        Some(folder) => known(PathBuf::from(folder)),
        None => places()
            .into_iter()
            .find(|folder| folder.join(VERSION_HEADER).is_file())
            .map_or_else(
                || Err("the build machine had no TensorRT headers".to_owned()),
                known,
            ),
    }
}

/// Where headers may be, the system's first.
fn places() -> Vec<PathBuf> {
    let architecture = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    let mut places = vec![
        PathBuf::from(format!("/usr/include/{architecture}-linux-gnu")),
        PathBuf::from("/usr/include"),
        PathBuf::from("/usr/local/include"),
        PathBuf::from("/usr/local/tensorrt/include"),
        PathBuf::from("/opt/tensorrt/include"),
    ];
    places.extend(registry_sources().into_iter().map(|registry| {
        // The script has to run again when the crate comes, and not before.
        println!("cargo:rerun-if-changed={}", registry.display());
        registry.join(CRATE).join(HEADERS_IN_CRATE)
    }));
    places
}

/// Where Cargo unpacks what comes from registries.
fn registry_sources() -> Vec<PathBuf> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
    let registries = home.and_then(|home| fs::read_dir(home.join("registry/src")).ok());
    registries
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect()
}

/// Holds the headers' version against those that the shim is written for.
fn known(folder: PathBuf) -> Result<PathBuf, String> {
    let header = folder.join(VERSION_HEADER);
    let text =
        fs::read_to_string(&header).map_err(|error| format!("{}: {error}", header.display()))?;
    match major(&text) {
        Some(major) if KNOWN.contains(&major) => Ok(folder),
        Some(major) => Err(format!(
            "the TensorRT headers of the build machine, in {}, are of version {major}, not of 10 or 11",
            folder.display()
        )),
        None => Err(format!("{} says no version", header.display())),
    }
}

/// `NV_TENSORRT_MAJOR`, which newer headers define by another name that they define before.
fn major(text: &str) -> Option<u32> {
    let value = |name: &str| {
        text.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            let is_it = words.next() == Some("#define") && words.next() == Some(name);
            words.next().filter(|_| is_it)
        })
    };
    let said = value("NV_TENSORRT_MAJOR")?;
    said.parse().ok().or_else(|| value(said)?.parse().ok())
}
