//! What has gone wrong in other servers: docs/security.md names, for each class, the tests that fail if it
//! came to this one. Here are those that look at the sources, and the one that looks for the tests.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// All files below `folder` with one of these extensions.
fn files(folder: &Path, extensions: &[&str], into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("folder").flatten() {
        let path = entry.path();
        let extension = path.extension().and_then(|it| it.to_str());
        if path.is_dir() {
            files(&path, extensions, into);
        } else if extension.is_some_and(|it| extensions.contains(&it)) {
            into.push(path);
        }
    }
}

fn texts(folders: &[&str], extensions: &[&str]) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for folder in folders {
        files(&root.join(folder), extensions, &mut found);
    }
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("UTF-8");
        (path, text)
    };
    found.into_iter().map(read).collect()
}

/// Text in backticks in the last column of the table's rows.
fn named_tests(page: &str) -> Vec<String> {
    let (_, section) = page
        .split_once("## What has gone wrong elsewhere")
        .expect("the section");
    let rows = section.lines().filter(|line| line.starts_with("| "));
    let columns = rows.filter_map(|row| row.trim_end_matches(" |").rsplit(" | ").next());
    columns
        .flat_map(|column| column.split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect()
}

#[test]
fn each_class_has_its_tests() {
    let page = include_str!("../../docs/security.md");
    let sources = texts(&["src", "tests", "fuzz/bodies"], &["rs", "py"]);
    let exists = |test: &str| {
        let definitions = [
            format!("fn {test}("),
            format!("def {test}("),
            format!("class {test}("),
        ];
        sources
            .iter()
            .any(|(_, text)| definitions.iter().any(|it| text.contains(it)))
    };
    let named = named_tests(page);
    assert!(named.len() > 40, "the table is not read: {named:?}");
    let gone: Vec<_> = named.iter().filter(|test| !exists(test)).collect();
    assert!(gone.is_empty(), "no such tests: {gone:?}");
}

#[test]
fn no_program_is_run_that_a_client_could_name() {
    for (path, text) in texts(&["src"], &["rs"]) {
        for line in text.lines().filter(|line| line.contains("Command::new(")) {
            let is_fixed = line.contains("Command::new(\"")
                || line.contains("Command::new(env::current_exe()");
            assert!(is_fixed, "{}: {line}", path.display());
        }
    }
}

#[test]
fn nothing_that_reads_what_clients_send_is_unsafe() {
    let rooms = [
        "src/admission",
        "src/api",
        "src/inference",
        "src/model_config",
        "src/repository",
        "src/scheduler",
        "src/shared_memory",
        "src/tensor",
    ];
    for (path, text) in texts(&rooms, &["rs"]) {
        for word in ["unsafe {", "unsafe fn", "unsafe impl", "expect(unsafe_code"] {
            assert!(!text.contains(word), "{}: {word}", path.display());
        }
    }
}
