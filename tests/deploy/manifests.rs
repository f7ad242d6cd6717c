//! Compose files and manifests: every flag, variable and probe must be one that the program has.

use std::{collections::BTreeSet, process::Command};

use regex_lite::Regex;
use serde::Deserialize;
use serde_yaml::Value;

use crate::{
    common::{Repository, Server, identity_config},
    read,
};

const FILES: [&str; 6] = [
    "config/compose.yaml",
    "config/compose.gpu.yaml",
    "config/kubernetes/despina.yaml",
    "config/kserve/serving-runtime.yaml",
    "config/kserve/inference-service.yaml",
    "config/prometheus/prometheus.yaml",
];

fn documents(file: &str) -> Vec<Value> {
    let text = read(file);
    let documents = serde_yaml::Deserializer::from_str(&text);
    documents
        .map(|document| {
            Value::deserialize(document).unwrap_or_else(|error| panic!("{file}: {error}"))
        })
        .collect()
}

/// Every value that some mapping of the document has under `key`.
fn all<'v>(value: &'v Value, key: &str) -> Vec<&'v Value> {
    match value {
        Value::Mapping(mapping) => mapping
            .iter()
            .flat_map(|(name, value)| {
                let here = (name.as_str() == Some(key)).then_some(value);
                here.into_iter().chain(all(value, key))
            })
            .collect(),
        Value::Sequence(values) => values.iter().flat_map(|value| all(value, key)).collect(),
        _ => Vec::new(),
    }
}

/// The command lines that start with `serve`.
fn command_lines(file: &str) -> Vec<Vec<String>> {
    let documents = documents(file);
    let lines = documents.iter().flat_map(|document| {
        let lines = [all(document, "args"), all(document, "command")].concat();
        lines.into_iter().filter_map(Value::as_sequence)
    });
    let words = lines.map(|line| -> Vec<String> {
        let words = line.iter().filter_map(Value::as_str);
        words.map(str::to_owned).collect()
    });
    words
        .filter(|words| words.first().is_some_and(|word| word == "serve"))
        .collect()
}

fn despina(arguments: &[String]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_despina"))
        .args(arguments)
        .output()
        .expect("despina");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.success(), said.into_owned())
}

#[test]
fn every_command_line_is_one_that_the_program_takes() {
    let lines: Vec<_> = FILES.into_iter().flat_map(command_lines).collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    for mut line in lines {
        line.push("--help".to_owned());
        let (is_taken, said) = despina(&line);
        assert!(is_taken, "{line:?}: {said}");
    }
}

#[test]
fn every_variable_is_one_that_the_program_reads() {
    let variable = Regex::new(r"\bDESPINA_[A-Z_]+").unwrap();
    let mut help = String::new();
    for command in ["serve", "health"] {
        help += &despina(&[command.to_owned(), "--help".to_owned()]).1;
    }
    let known: BTreeSet<_> = variable
        .find_iter(&help)
        .map(|found| found.as_str())
        .collect();
    for file in FILES.iter().chain(&["Dockerfile.cuda"]) {
        for found in variable.find_iter(&read(file)) {
            assert!(known.contains(found.as_str()), "{file}: {}", found.as_str());
        }
    }
}

#[test]
fn every_probe_is_answered() {
    let repository = Repository::empty();
    repository.add("model", &identity_config("TYPE_FP32", 0, ""), &[1]);
    let server = Server::start_plain(repository.path(), &[]);
    let mut asked = BTreeSet::new();
    for document in FILES.into_iter().flat_map(documents) {
        for probe in all(&document, "httpGet") {
            let path = probe["path"].as_str().expect("a path");
            assert_eq!(server.call("GET", path, "").status, 200, "{path}");
            asked.insert(path.to_owned());
        }
    }
    assert_eq!(
        asked.into_iter().collect::<Vec<_>>(),
        ["/livez", "/readyz", "/startupz"]
    );
    server.stop();
}

#[test]
fn an_image_that_is_built_has_a_target_and_the_gpu_is_asked_for_over_it() {
    let dockerfile = read("Dockerfile.cuda");
    for file in ["config/compose.yaml", "config/compose.gpu.yaml"] {
        let compose = &documents(file)[0];
        let target = compose["services"]["despina"]["build"]["target"]
            .as_str()
            .unwrap();
        assert!(
            dockerfile.contains(&format!(" AS {target}\n")),
            "{file}: {target}"
        );
        let asks = !all(compose, "devices").is_empty();
        assert_eq!(asks, file.contains("gpu"), "{file}");
    }
}
