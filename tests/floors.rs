//! The house's own rules, read from its source: imports go strictly down the floors table of
//! `src/lib.rs`, and files and functions stay small. Test code is exempt from the floors.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

#[path = "floors/source.rs"]
mod source;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use source::Source;

/// Room to floor.
type Floors = BTreeMap<String, usize>;

const FILE_CEILING: usize = 400;
const FILE_BOUND: usize = 600;
const FUNCTION_CEILING: usize = 60;
const FUNCTION_BOUND: usize = 100;

/// The table in the documentation of `src/lib.rs`, and `main` above it.
fn floors(lib: &str) -> Floors {
    let mut floors = Floors::new();
    for line in lib.lines().filter_map(|line| line.strip_prefix("//! | ")) {
        let Some((floor, rooms)) = line.split_once('|') else {
            continue;
        };
        let Ok(floor) = floor.trim().parse::<usize>() else {
            continue;
        };
        for room in rooms
            .split(['[', ']', '`', ',', '|', ' '])
            .filter(|room| !room.is_empty())
        {
            let before = floors.insert(room.to_owned(), floor);
            assert_eq!(before, None, "{room} is in the table twice");
        }
    }
    let top = floors.values().max().expect("a floors table in src/lib.rs") + 1;
    floors.insert("main".to_owned(), top);
    floors
}

/// What is wrong with the imports of a file in module `path` (its room first).
fn wrong_imports(floors: &Floors, path: &[&str], source: &Source) -> Vec<String> {
    let room = path[0];
    let Some(floor) = floors.get(room) else {
        return vec![format!("room {room} has no floor")];
    };
    let mut wrong = Vec::new();
    for (line, import) in source.rooms_used(path.len()) {
        match floors.get(&import) {
            _ if import == room => {}
            None => wrong.push(format!("line {line}: {import} is no room")),
            Some(below) if below < floor => {}
            Some(other) => wrong.push(format!(
                "line {line}: {room} (floor {floor}) imports {import} (floor {other})"
            )),
        }
    }
    wrong
}

/// Every source file with its module path, files of tests left out.
fn files() -> Vec<(PathBuf, Vec<String>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("source folder") {
            let path = entry.expect("source entry").path();
            let is_test = path.file_stem().is_some_and(|stem| stem == "tests");
            if path.is_dir() && !is_test {
                folders.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs") && !is_test {
                let inside = path.strip_prefix(&root).expect("inside").with_extension("");
                let mut modules: Vec<String> = inside
                    .iter()
                    .map(|part| part.to_string_lossy().into_owned())
                    .collect();
                if modules.last().is_some_and(|last| last == "mod") {
                    modules.pop();
                }
                if modules != ["lib"] {
                    found.push((path, modules));
                }
            }
        }
    }
    found.sort();
    assert!(found.len() > 20, "the source was not found");
    found
}

fn read(path: &Path) -> Source {
    Source::new(&fs::read_to_string(path).expect("source file"))
}

#[test]
fn imports_go_strictly_down() {
    let lib = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs"));
    let floors = floors(&lib.expect("src/lib.rs"));
    let mut wrong = Vec::new();
    for (path, modules) in files() {
        let modules: Vec<&str> = modules.iter().map(String::as_str).collect();
        for message in wrong_imports(&floors, &modules, &read(&path)) {
            wrong.push(format!("{}: {message}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_and_functions_stay_small() {
    let mut wrong = Vec::new();
    for (path, _) in files() {
        let source = read(&path);
        let file = path.display();
        if source.line_count() > FILE_CEILING {
            println!("{file}: {} lines", source.line_count());
        }
        if source.line_count() > FILE_BOUND {
            wrong.push(format!("{file}: {} lines", source.line_count()));
        }
        for (name, line, length) in source.functions() {
            if length > FUNCTION_CEILING {
                println!("{file}:{line}: fn {name} has {length} lines");
            }
            if length > FUNCTION_BOUND {
                wrong.push(format!("{file}:{line}: fn {name} has {length} lines"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const TABLE: &str = "//! | floor | rooms |\n//! | --- | --- |\n//! | 0 | [`error`], [`sync`] |\n\
                     //! | 1 | [`tensor`] |\n//! | 2 | [`model`], `cache` |\n";

#[test]
fn the_table_is_read() {
    let floors = floors(TABLE);
    let rows: Vec<_> = floors
        .iter()
        .map(|(room, floor)| (room.as_str(), *floor))
        .collect();
    let want = [
        ("cache", 2),
        ("error", 0),
        ("main", 3),
        ("model", 2),
        ("sync", 0),
        ("tensor", 1),
    ];
    assert_eq!(rows, want);
}

#[test]
fn the_reader_finds_every_wrong_import_and_nothing_else() {
    let floors = floors(TABLE);
    let text = r##"
        //! crate::model in a comment
        use std::fmt;
        use crate::{error::{Error, Result}, cache::Key, tensor::Tensor};
        use crate::model::Model;
        use crate::{
            tensor::{self, Shape},
            nowhere::Thing,
        };
        pub(crate) use self::inner::X;
        use super::model as upstairs;
        use super::super::nothing_here;
        fn f(text: &'static str) -> crate::error::Result<char> {
            let quoted = ("crate::model", r#"crate::model"#, b"crate::model", '"', '\'');
            /* crate::model /* nested */ crate::model */
            crate::sync::now::<crate::cache::Clock>(quoted)
        }
        mod inner { use super::super::cache::Y; use super::sibling; }
        #[cfg(test)]
        mod tests { use crate::model::Model; fn g() { crate::cache::f(); } }
        #[cfg(test)]
        use crate::cache::ForTests;
    "##;
    let wrong = wrong_imports(&floors, &["tensor"], &Source::new(text));
    let lines: Vec<_> = wrong
        .iter()
        .map(|message| message.split(':').next().unwrap())
        .collect();
    assert_eq!(
        lines,
        [
            "line 4", "line 5", "line 8", "line 11", "line 16", "line 18"
        ],
        "{wrong:#?}"
    );
    assert!(wrong[2].contains("nowhere is no room"), "{wrong:#?}");
    let fine = Source::new("use crate::{error::Error, tensor::Tensor}; use super::super::sync;");
    assert!(wrong_imports(&floors, &["model", "load"], &fine).is_empty());
    assert!(!wrong_imports(&floors, &["attic"], &fine).is_empty());
    let main = Source::new("fn main() { despina::model::run(); despina::attic::run() }");
    let wrong = wrong_imports(&floors, &["main"], &main);
    assert_eq!(wrong, ["line 1: attic is no room"]);
}

#[test]
fn the_reader_measures_functions_and_leaves_tests_out() {
    let text = "fn a(f: fn(u8) -> u8) -> [u8; 2] {\n  \"}\";\n  '}';\n}\ntrait T {\n  fn b();\n}\n\
                #[cfg(test)]\nmod tests {\n  fn c() {\n  }\n}\nfn d<'a>() -> &'a str { \"\" }\n";
    let source = Source::new(text);
    let functions: Vec<_> = source.functions();
    let want = [("a".to_owned(), 1, 4), ("d".to_owned(), 13, 1)];
    assert_eq!(functions, want);
    assert_eq!(source.line_count(), 8);
}
