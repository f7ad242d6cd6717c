//! A taste of fuzzing in every test run: each body of `fuzz/bodies` on its corpus and on thousands
//! of deterministic mutations of it. The long runs are `cargo fuzz`'s.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used
)]

mod auth;
#[path = "../../fuzz/bodies/compression.rs"]
mod compression;
#[path = "../../fuzz/bodies/config.rs"]
mod config;
mod grpc;
mod http;
mod plan;
#[path = "../../fuzz/bodies/shared_memory.rs"]
mod shared_memory;
#[path = "../../fuzz/bodies/wire.rs"]
mod wire;
#[path = "../../fuzz/bodies/yaml.rs"]
mod yaml;

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
};

const MUTATIONS: usize = 20_000;
/// For bodies that do more than to read.
const FEW_MUTATIONS: usize = 2_000;

#[test]
fn model_configurations() {
    run("pbtxt", config::pbtxt);
}

#[test]
fn settings() {
    run("yaml", yaml::yaml);
}

#[test]
fn compressed_bodies() {
    run_few("compression", compression::compression);
}

#[test]
fn regions_of_shared_memory() {
    run_few("shared_memory", shared_memory::shared_memory);
}

#[test]
fn connections_to_a_whole_server() {
    run_few("wire", wire::wire);
}

/// Runs `body` on the corpus and on mutations of it; a panic is reported with its input.
fn run(target: &str, body: impl Fn(&[u8])) {
    run_mutations(target, MUTATIONS, body);
}

/// As [`run`], on fewer mutations.
fn run_few(target: &str, body: impl Fn(&[u8])) {
    run_mutations(target, FEW_MUTATIONS, body);
}

fn run_mutations(target: &str, count: usize, body: impl Fn(&[u8])) {
    let corpus = corpus(target);
    for input in &corpus {
        run_one(target, &body, input);
    }
    let mut random = Random(0x0d_e5_91_0a);
    for _ in 0..count {
        run_one(target, &body, &random.mutation(&corpus));
    }
}

fn run_one(target: &str, body: impl Fn(&[u8]), input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| body(input))) {
        eprintln!("{target} fails on b\"{}\"", input.escape_ascii());
        resume_unwind(panic);
    }
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .expect("corpus")
        .map(|entry| entry.expect("corpus file").path())
        .collect();
    // Folders list in any order; the mutations must not depend on it.
    files.sort();
    let corpus: Vec<_> = files
        .iter()
        .map(|file| fs::read(file).expect("read"))
        .collect();
    assert!(corpus.len() > 3, "{} is empty", folder.display());
    corpus
}

/// Marsaglia's xorshift64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).expect("below a usize")
    }

    /// A corpus file after one to six changes.
    fn mutation(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut data = corpus[self.below(corpus.len())].clone();
        for _ in 0..=self.below(6) {
            self.change(&mut data, corpus);
        }
        data
    }

    fn change(&mut self, data: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        const PIECES: [&[u8]; 12] = [
            b"-1",
            b"9223372036854775807",
            b"18446744073709551616",
            b"1e999",
            b"{",
            b"}",
            b"[",
            b"]",
            b"\"",
            b"\\u0000",
            b"\xff",
            b": ",
        ];
        let at = self.below(data.len() + 1);
        match self.below(7) {
            0 => data.truncate(at),
            1 if at < data.len() => data[at] ^= 1 << self.below(8),
            2 if at < data.len() => {
                let end = data.len().min(at + 1 + self.below(16));
                data.drain(at..end);
            }
            3 => {
                let other = &corpus[self.below(corpus.len())];
                let begin = self.below(other.len());
                let end = other.len().min(begin + self.below(64));
                data.splice(at..at, other[begin..end].iter().copied());
            }
            4 => {
                let end = data.len().min(at + self.below(64));
                let twice = data[at..end].to_vec();
                data.splice(at..at, twice);
            }
            _ => {
                let piece = PIECES[self.below(PIECES.len())];
                data.splice(at..at, piece.iter().copied());
            }
        }
    }
}

#[test]
fn mutations_are_the_same_in_every_run_and_differ_from_each_other() {
    let corpus = corpus("pbtxt");
    let some = || {
        let mut random = Random(1);
        (0..100)
            .map(|_| random.mutation(&corpus))
            .collect::<Vec<_>>()
    };
    assert_eq!(some(), some());
    let distinct: std::collections::HashSet<_> = some().into_iter().collect();
    assert!(distinct.len() > 90, "{}", distinct.len());
}

#[test]
#[should_panic(expected = "found")]
fn a_body_that_fails_on_a_mutation_is_noticed() {
    run("pbtxt", |data| assert!(!data.contains(&0xff), "found"));
}
