//! The bodies of the HTTP parsers.

#[path = "../../fuzz/bodies/http.rs"]
mod bodies;

use super::run;

#[test]
fn binary_requests() {
    run("http_binary", bodies::http_binary);
}

#[test]
fn json_requests() {
    run("json_tensors", bodies::json_tensors);
}

#[test]
fn generate_requests() {
    run("generate", bodies::generate);
}
