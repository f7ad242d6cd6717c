//! The GPU suite (docs/gpu.md) on a pretend GPU: that its programs run, and find nothing wrong. Its
//! numbers mean nothing then, and its report has to say so.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// What only the engines of a real GPU can run.
const NEED_A_GPU: [&str; 2] = ["kernels", "ONNX Runtime, GPU against CPU"];
const CHECKS: usize = 6;

struct Suite {
    folder: tempfile::TempDir,
}

impl Suite {
    /// Stages it, without the unit tests: they run on the pretend driver anyway.
    fn staged() -> Self {
        let suite = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gpu/stage.py");
        let staged = Command::new("python3")
            .arg(script)
            .arg(suite.path("stage"))
            .args(["--despina", env!("CARGO_BIN_EXE_despina"), "--no-tests"])
            .output()
            .expect("python3");
        assert!(staged.status.success(), "{}", said(&staged));
        suite
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs it on two pretend GPUs with these settings.
    fn run(&self, settings: &[(&str, &str)]) -> Output {
        let driver = self.path("driver");
        fs::create_dir_all(&driver).unwrap();
        fake_cuda::install(&driver).unwrap();
        Command::new("python3")
            .arg(self.path("stage/suite/suite.py"))
            .args(["--short", "--out"])
            .arg(self.path("out"))
            .env("LD_LIBRARY_PATH", &driver)
            .env("FAKE_CUDA_DEVICES", "2")
            .envs(settings.iter().copied())
            .output()
            .expect("python3")
    }

    /// The one report there is.
    fn report(&self) -> (String, String) {
        let entries: Vec<_> = fs::read_dir(self.path("out")).unwrap().flatten().collect();
        assert_eq!(entries.len(), 1);
        let name = entries[0].file_name().into_string().unwrap();
        (name, fs::read_to_string(entries[0].path()).unwrap())
    }
}

fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    text.into_owned()
}

/// Checks and their outcomes.
fn outcomes(report: &str) -> Vec<(&str, &str)> {
    let (_, rest) = report.split_once("| check | outcome |").expect("a table");
    let rows = rest
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let mut cells = row.trim_matches('|').split(" | ");
        let mut next = || cells.next().expect("a cell").trim();
        (next(), next())
    })
    .collect()
}

#[test]
fn what_can_be_run_without_a_gpu_is_right_and_the_report_says_that_it_is_fake() {
    let suite = Suite::staged();
    let output = suite.run(&[]);
    assert!(output.status.success(), "{}", said(&output));
    let (name, report) = suite.report();
    assert!(name.starts_with("report-FAKE-"), "{name}");
    assert!(report.starts_with("# FAKE GPU report"), "{report}");
    let outcomes = outcomes(&report);
    assert_eq!(outcomes.len(), CHECKS, "{report}");
    for (check, outcome) in outcomes {
        let wanted = if NEED_A_GPU.contains(&check) {
            "not run: "
        } else {
            "passed: "
        };
        assert!(outcome.starts_with(wanted), "{check}: {outcome}");
    }
    assert!(!report.contains("FAILED"), "{report}");
}

#[test]
fn a_gpu_that_is_not_right_is_found_out() {
    let suite = Suite::staged();
    let output = suite.run(&[("FAKE_CUDA_FAULTS", "0:dies-after=40")]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let (_, report) = suite.report();
    let (check, outcome) = outcomes(&report)[0];
    assert!(
        check == "device" && outcome.starts_with("FAILED: "),
        "{check}: {outcome}"
    );
}
