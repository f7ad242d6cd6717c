//! What is run on bytes that pretend to be settings: the server's own, and a policy. Shared by the
//! fuzz target and the smoke test.

use despina::{
    admission::{Identity, Policy, Verb},
    config::Config,
    strict_yaml::{FileError, parse},
};

/// A `server.yaml`, and a policy.
pub fn yaml(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match parse::<Config>(text, "server.yaml") {
        Ok(config) => {
            let _ = config.check();
        }
        Err(error) => check_place(&error, text),
    }
    match parse::<Policy>(text, "policy.yaml") {
        Ok(policy) => {
            let _ = policy.undefined_roles();
            let _ = policy.quota(&Identity::Anonymous);
            for verb in Verb::ALL {
                let _ = policy.decide(&Identity::Anonymous, verb, "a-model");
            }
        }
        Err(error) => check_place(&error, text),
    }
}

/// A place that is not in the text helps nobody.
fn check_place(error: &FileError, text: &str) {
    if let FileError::Syntax { line, column, .. } = error {
        // YAML's lines end with a carriage return alone, too.
        let lines = text.split(['\n', '\r']).count();
        assert!(*line <= lines + 1, "line {line}");
        assert!(*column <= text.chars().count() + 1, "column {column}");
    }
}
