//! What is run on bytes that pretend to be a model configuration. Shared by the fuzz target and
//! the smoke test; a finding is a panic, an endless loop or memory without bound.

use despina::model_config::{
    ConfigError, Environment, ModelConfig, from_json, from_pbtxt, from_yaml,
};

/// Reads `data` in each of the three notations; what can be read is normalised too.
pub fn pbtxt(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    for parse in [from_pbtxt, from_yaml, from_json] {
        match parse(text, "config") {
            Ok(proto) => {
                let _ = ModelConfig::version_policy_of(&proto);
                let _ = ModelConfig::from_proto(proto, &Environment::default());
            }
            Err(ConfigError::Syntax { line, column, .. }) => {
                // A place that is not in the text helps nobody.
                // YAML's lines end with a carriage return alone, too.
                let lines = text.split(['\n', '\r']).count();
                assert!(line <= lines + 1, "line {line}");
                assert!(column <= text.chars().count() + 1, "column {column}");
            }
            Err(_) => {}
        }
    }
}
