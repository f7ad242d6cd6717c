//! `kernels/*.fatbin` against `kernels/SHA256SUMS`, and what is in them.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use despina::device::kernels::Module;
use sha2::{Digest, Sha256};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels")
}

fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_file_is_the_one_that_was_built() {
    let sums = fs::read_to_string(folder().join("SHA256SUMS")).unwrap();
    let mut summed = BTreeSet::new();
    for line in sums.lines() {
        let (sum, name) = line.split_once("  ").expect("sum and name");
        let actual = digest(&fs::read(folder().join(name)).unwrap());
        assert_eq!(
            actual, sum,
            "kernels/{name} has changed: run kernels/build.sh and commit what it builds"
        );
        summed.insert(name.to_owned());
    }
    let mut present: BTreeSet<_> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    present.remove("SHA256SUMS");
    assert_eq!(summed, present);
}

#[test]
fn every_source_is_a_module_that_is_compiled_in() {
    let mut modules = BTreeSet::new();
    for module in Module::ALL {
        let file = folder().join(module.name).with_extension("fatbin");
        assert_eq!(fs::read(file).unwrap(), module.image);
        modules.insert(module.name.to_owned());
    }
    let sources: BTreeSet<_> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "cu"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(modules, sources);
}

const PTX: u16 = 1;
const MACHINE_CODE: u16 = 2;

/// Kind and architecture of each part of a fat binary.
fn parts(image: &[u8]) -> BTreeSet<(u16, u32)> {
    let u16_at = |at: usize| u16::from_le_bytes(image[at..at + 2].try_into().unwrap());
    let u32_at = |at: usize| u32::from_le_bytes(image[at..at + 4].try_into().unwrap());
    let size_at = |at: usize| {
        let size = u64::from_le_bytes(image[at..at + 8].try_into().unwrap());
        usize::try_from(size).unwrap()
    };
    assert_eq!(u32_at(0), 0xba55_ed50, "not a fat binary");
    let mut parts = BTreeSet::new();
    let mut at = usize::from(u16_at(6));
    assert_eq!(at + size_at(8), image.len());
    while at < image.len() {
        parts.insert((u16_at(at), u32_at(at + 28)));
        at += usize::try_from(u32_at(at + 4)).unwrap() + size_at(at + 8);
    }
    parts
}

#[test]
fn there_is_code_for_every_gpu_from_turing_on() {
    let machine_code = [75, 80, 86, 89, 90, 100, 120].map(|sm| (MACHINE_CODE, sm));
    let want: BTreeSet<_> = machine_code.into_iter().chain([(PTX, 75)]).collect();
    for module in Module::ALL {
        assert_eq!(parts(module.image), want, "{}", module.name);
    }
}
