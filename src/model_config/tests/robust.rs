use proptest::prelude::*;

use super::*;

/// Pieces from which hostile texts are put together.
fn soup(pieces: &'static [&'static str]) -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        8 => proptest::sample::select(pieces).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

const PBTXT: &[&str] = &[
    "name",
    "input",
    "dims",
    "data_type",
    "parameters",
    "key",
    "value",
    "reshape",
    ":",
    "{",
    "}",
    "[",
    "]",
    "<",
    ">",
    ",",
    ";",
    " ",
    "\n",
    "#",
    "\"",
    "'",
    "\\",
    "-",
    "1",
    "0x",
    "1e9",
    "TYPE_FP32",
    "true",
    "/",
    ".",
    "model_warmup",
    "version_policy",
    "latest",
    "all",
];

const YAML: &[&str] = &[
    "name",
    "input",
    "dims",
    "data_type",
    "parameters",
    ":",
    ": ",
    "- ",
    "{",
    "}",
    "[",
    "]",
    ",",
    "\n",
    "\n  ",
    "&a ",
    "*a",
    "!t ",
    "<<",
    "|",
    ">",
    "\"",
    "'",
    "\\",
    "1",
    "~",
    "? ",
    "---",
    "%",
    "TYPE_FP32",
];

const JSON: &[&str] = &[
    "\"name\"",
    "\"input\"",
    "\"dims\"",
    "\"parameters\"",
    "\"data_type\"",
    ":",
    "{",
    "}",
    "[",
    "]",
    ",",
    " ",
    "\n",
    "\"",
    "\\u00e9",
    "\\",
    "1",
    "-1.5e300",
    "null",
    "true",
    "\"TYPE_FP32\"",
];

/// A fault must lie in the text.
fn check(text: &str, read: Result<pb::ModelConfig, ConfigError>) {
    if let Err(ConfigError::Syntax { line, column, .. }) = read {
        let in_line = text.split('\n').nth(line - 1).map(|l| l.chars().count());
        assert!(in_line.is_some_and(|length| (1..=length + 1).contains(&column)));
    }
}

proptest! {
    #[test]
    fn no_pbtxt_breaks_the_parser(text in prop_oneof![soup(PBTXT), any::<String>()]) {
        check(&text, from_pbtxt(&text, "f"));
    }

    #[test]
    fn no_yaml_breaks_the_parser(text in prop_oneof![soup(YAML), any::<String>()]) {
        check(&text, from_yaml(&text, "f"));
    }

    #[test]
    fn no_json_breaks_the_parser(text in prop_oneof![soup(JSON), any::<String>()]) {
        check(&text, from_json(&text, "f"));
    }

    #[test]
    fn what_is_shown_reads_back(
        name in any::<String>(),
        dims in proptest::collection::vec(any::<i64>(), 0..4),
        max_batch_size in any::<i32>(),
        keys in proptest::collection::btree_map(any::<String>(), any::<String>(), 0..4),
    ) {
        let config = pb::ModelConfig {
            name,
            max_batch_size,
            input: vec![pb::ModelInput { dims, ..Default::default() }],
            metric_tags: keys,
            ..Default::default()
        };
        prop_assert_eq!(from_json(&to_json(&config), "f").unwrap(), config);
    }
}

#[test]
fn deep_nesting_is_refused_before_it_costs_stack() {
    let deep = 200_000;
    for open in ["input {", "input [", "[", "<", "{"] {
        let error = from_pbtxt(&open.repeat(deep), "f").unwrap_err().to_string();
        assert!(
            error.ends_with("nested more than 100 levels deep"),
            "{error}"
        );
    }
    for open in ["[", "{\"input\":", "{\"parameters\":{\"a\":"] {
        assert!(from_json(&open.repeat(deep), "f").is_err());
    }
    for open in ["[", "{input: ", "- ", "? "] {
        assert!(from_yaml(&open.repeat(10_000), "f").is_err());
    }
}

#[test]
fn yaml_whose_brackets_would_take_too_long_is_refused() {
    let error = from_yaml(&"[".repeat(100_000), "f")
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("f:1:1: too many brackets"), "{error}");
    // What models with very many tensors need is far below.
    let tensor = "- {name: some_tensor_name, data_type: TYPE_FP32, dims: [-1, 3, 224, 224]}\n";
    let text = format!("input:\n{}", tensor.repeat(1000));
    assert_eq!(from_yaml(&text, "f").unwrap().input.len(), 1000);
}

#[test]
fn a_blank_key_is_not_searched_for_in_every_gap() {
    let text = format!("name: m\n#{}\n\" \": 1", " ".repeat(1 << 20));
    let error = from_yaml(&text, "f").unwrap_err().to_string();
    assert_eq!(error, "f:3:1: unknown field ' ' in ModelConfig");
}

#[test]
fn messages_do_not_repeat_the_whole_text() {
    let long = "x".repeat(1 << 20);
    for error in [
        from_pbtxt(&format!("max_batch_size: '{long}'"), "f"),
        from_pbtxt(&format!("{long}: 1"), "f"),
        from_yaml(&format!("{long}: 1"), "f"),
        from_yaml(&format!("max_batch_size: {long}"), "f"),
        from_json(&format!("{{\"{long}\": 1}}"), "f"),
    ] {
        assert!(error.unwrap_err().to_string().chars().count() < 1100);
    }
}

#[test]
fn yaml_aliases_cannot_stand_for_endlessly_much() {
    let numbers = vec!["1"; 2000].join(",");
    let mut text = format!("input:\n- dims: &a [{numbers}]\n");
    text.push_str(&"- dims: *a\n".repeat(5000));
    let error = from_yaml(&text, "f").unwrap_err().to_string();
    assert!(error.ends_with("aliases repeat too much"), "{error}");

    let modest = "input:\n- dims: &a [1, 2]\n- dims: *a\n";
    assert_eq!(from_yaml(modest, "f").unwrap().input[1].dims, [1, 2]);
}
