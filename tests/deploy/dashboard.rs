//! The dashboard's queries against the metrics page: every family and every label must be there.

use std::collections::{BTreeMap, BTreeSet};

use regex_lite::Regex;
use serde_json::Value;

use crate::{
    common::{Repository, Server, call, identity_config, wait_until},
    read,
};

/// Has no series before the first error of a GPU.
const ERRORS: (&str, [&str; 2]) = ("despina_gpu_xid_errors_total", ["gpu_uuid", "xid"]);
/// Words of the query language.
const WORDS: [&str; 6] = ["sum", "by", "rate", "or", "vector", "histogram_quantile"];

/// The labels of each family.
type Families = BTreeMap<String, BTreeSet<String>>;

#[test]
fn every_query_asks_for_families_and_labels_that_there_are() {
    let families = families(&page());
    let queries = queries(&read("config/grafana/dashboards/despina.json"));
    assert!(queries.len() > 30, "{queries:#?}");
    for query in &queries {
        check(query, &families);
    }
}

#[test]
#[should_panic(expected = "nv_gpu_utilisation")]
fn a_family_that_there_is_not_would_be_found() {
    check("sum(nv_gpu_utilisation)", &families("nv_gpu_utilization 1"));
}

#[test]
#[should_panic(expected = "card")]
fn a_label_that_there_is_not_would_be_found() {
    let families = families("nv_gpu_utilization{gpu_uuid=\"GPU-0\"} 1");
    check("sum by (card) (nv_gpu_utilization)", &families);
}

fn check(query: &str, families: &Families) {
    let (names, labels) = asked(query);
    let mut known = BTreeSet::new();
    for name in &names {
        let family = families.get(name);
        known.extend(family.unwrap_or_else(|| panic!("no family {name}: {query}")));
    }
    assert!(!names.is_empty(), "no family in {query}");
    for label in &labels {
        assert!(known.contains(label), "no label {label}: {query}");
    }
}

/// The families and the labels that a query names.
fn asked(query: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let text = Regex::new("\"[^\"]*\"|\\[[^]]*\\]").unwrap();
    let query = text.replace_all(query, "");
    let groups = Regex::new(r"by \(([^)]*)\)|\{([^}]*)\}").unwrap();
    let word = Regex::new("[a-zA-Z_][a-zA-Z0-9_]*").unwrap();
    let words = |text: &str| -> Vec<String> {
        let found = word.find_iter(text);
        found.map(|word| word.as_str().to_owned()).collect()
    };
    let labels = groups
        .captures_iter(&query)
        .flat_map(|group| words(&group[0]));
    let labels = labels.filter(|word| word != "by").collect();
    let rest = groups.replace_all(&query, " ");
    let rest = Regex::new(r"\b[0-9.]+(e[0-9]+)?")
        .unwrap()
        .replace_all(&rest, " ");
    let names = words(&rest).into_iter();
    let names = names.filter(|word| !WORDS.contains(&word.as_str()));
    (names.collect(), labels)
}

/// The queries of panels and variables.
fn queries(dashboard: &str) -> Vec<String> {
    let dashboard: Value = serde_json::from_str(dashboard).expect("JSON");
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let targets = list(&dashboard["panels"]).into_iter();
    let targets = targets.flat_map(|panel| list(&panel["targets"]));
    let mut queries: Vec<_> = targets
        .map(|target| target["expr"].as_str().expect("a query").to_owned())
        .collect();
    for variable in list(&dashboard["templating"]["list"]) {
        let query = variable["definition"].as_str().expect("a query");
        let inner = query
            .strip_prefix("label_values(")
            .and_then(|query| query.strip_suffix(')'))
            .and_then(|query| query.split_once(", "));
        let (family, label) = inner.expect("label_values(family, label)");
        queries.push(format!("sum by ({label}) ({family})"));
    }
    queries
}

/// Series of a metrics page by name, as Prometheus keeps them.
fn families(page: &str) -> Families {
    let label = Regex::new("([a-zA-Z_]+)=\"").unwrap();
    let mut families = Families::new();
    let series = |line: &&str| !(line.is_empty() || line.starts_with('#'));
    for line in page.lines().filter(series) {
        let end = line.find(['{', ' ']).expect("a series");
        let labels = families.entry(line[..end].to_owned()).or_default();
        labels.extend(label.captures_iter(line).map(|label| label[1].to_owned()));
    }
    families
}

/// The page of a server that has served, and failed, on a pretend GPU.
fn page() -> String {
    let repository = Repository::empty();
    let on_gpu = "instance_group { kind: KIND_GPU }";
    repository.add("model", &identity_config("TYPE_FP32", 0, on_gpu), &[1]);
    let folder = tempfile::tempdir().unwrap();
    fake_cuda::install(folder.path()).unwrap();
    let settings = [
        ("LD_LIBRARY_PATH", folder.path().to_str().unwrap()),
        ("FAKE_CUDA_DEVICES", "1"),
    ];
    let flags = ["--metrics-interval-ms", "10"];
    let server = Server::start_in(repository.path(), &flags, &settings);
    let input = r#"{"inputs":[{"name":"INPUT0","shape":[1],"datatype":"FP32","data":[1]}]}"#;
    let answer = server.call("POST", "/v2/models/model/infer", input);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let mut page = String::new();
    wait_until("all of the page", || {
        page = call(server.metrics, "GET", "/metrics", "").unwrap().text();
        page.contains("nv_cpu_utilization ") && page.contains("nv_gpu_utilization{")
    });
    server.stop();
    let (family, [first, second]) = ERRORS;
    format!("{page}\n{family}{{{first}=\"\",{second}=\"\"}} 0")
}
