//! The image: what it pins, what it says of itself, and its bill of materials.

use std::{collections::BTreeSet, fs, process::Command};

use regex_lite::Regex;
use serde_json::Value;

use crate::{project, read};

/// The packages of a requirements file, each with its hashes.
fn pins(file: &str) -> Vec<(String, Vec<String>)> {
    let text = read(&format!("config/container/{file}.txt")).replace("\\\n", " ");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pin = Regex::new("^([a-z0-9-]+==[0-9.]+)((?: +--hash=sha256:[0-9a-f]{64})+)$").unwrap();
    lines
        .map(|line| {
            let parts = pin.captures(line);
            let parts = parts.unwrap_or_else(|| panic!("{file}: not pinned: {line}"));
            let hashes = parts[2].split_whitespace();
            let hashes = hashes.map(|hash| hash.replace("--hash=sha256:", ""));
            (parts[1].to_owned(), hashes.collect())
        })
        .collect()
}

/// The requirements that the image's stages use.
fn requirements() -> BTreeSet<String> {
    let file = Regex::new(r"COPY config/container/([a-z-]+)\.txt").unwrap();
    let dockerfile = read("Dockerfile.cuda");
    let found = file.captures_iter(&dockerfile);
    found.map(|file| file[1].to_owned()).collect()
}

#[test]
fn every_wheel_is_pinned_by_version_and_hash() {
    let used = requirements();
    assert_eq!(used.len(), 5, "{used:?}");
    for file in used {
        assert!(!pins(&file).is_empty(), "{file}");
    }
}

#[test]
fn onnxruntime_is_the_one_that_the_server_would_download() {
    let source = read("src/backend/onnxruntime/library.rs");
    let [(package, hashes)] = &pins("onnxruntime-cpu")[..] else {
        panic!("not one package");
    };
    let (_, version) = package.split_once("==").unwrap();
    assert!(source.contains(&format!("VERSION: &str = \"{version}\"")));
    for hash in hashes {
        assert!(source.contains(hash), "{hash}");
    }
    assert_eq!(
        pins("onnxruntime")[0].0,
        format!("onnxruntime-gpu=={version}")
    );
}

#[test]
fn the_label_says_the_programs_version() {
    let version = format!("ARG VERSION={}\n", env!("CARGO_PKG_VERSION"));
    assert!(read("Dockerfile.cuda").contains(&version));
}

#[test]
fn the_bill_of_materials_lists_what_runs_and_nothing_that_builds_or_tests() {
    let folder = tempfile::tempdir().unwrap();
    let made = Command::new(project("config/container/sboms.sh"))
        .arg(folder.path())
        .current_dir(project(""))
        .env("CARGO_NET_OFFLINE", "true")
        .status()
        .expect("sboms.sh");
    assert!(made.success());
    let bill = |target: &str| -> Value {
        let file = folder.path().join(format!("{target}.cdx.json"));
        serde_json::from_slice(&fs::read(file).expect("a bill")).expect("JSON")
    };
    let core = components(&bill("core"));
    for (name, is_there) in [
        ("hyper", true),
        ("rustls", true),
        ("libmimalloc-sys", true),
        // These build it, test it, or run in the compiler.
        ("prost-build", false),
        ("proptest", false),
        ("serde_derive", false),
        ("fake-cuda", false),
    ] {
        let found = core
            .iter()
            .any(|purl| purl.starts_with(&format!("pkg:cargo/{name}@")));
        assert_eq!(found, is_there, "{name}");
    }
    let full = components(&bill("tensorrt"));
    for file in ["onnxruntime", "cuda", "cudnn", "tensorrt"] {
        for (package, _) in pins(file) {
            let purl = format!("pkg:pypi/{}", package.replace("==", "@"));
            assert!(full.contains(&purl), "{purl}");
        }
    }
    assert!(full.is_superset(&core));
}

/// The package URLs of components; each has a hash, but for the project's own.
fn components(bill: &Value) -> BTreeSet<String> {
    let components = bill["components"].as_array().expect("components");
    let purls = components.iter().map(|component| {
        let name = component["name"].as_str().expect("a name");
        let is_own = project("crates").join(name).exists();
        let has_hash = component["hashes"][0]["content"].is_string();
        assert!(has_hash || is_own, "{component}");
        component["purl"].as_str().expect("a URL").to_owned()
    });
    purls.collect()
}
