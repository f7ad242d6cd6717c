//! Editing a configuration's text.

use proptest::prelude::*;

use crate::model_config::{Edit, from_pbtxt};

fn threads(value: Option<&str>) -> Edit {
    let parameters = [("intra_op_thread_count".to_owned(), value.map(str::to_owned))];
    Edit {
        parameters: parameters.into(),
        ..Edit::default()
    }
}

const WRITTEN: &str = r#"# Mine.
name: "m"   # the name
parameters { key: "footprint_byte_size" value: { string_value: "7" } }
  parameters: {
    key: 'intra_op_thread_count',
    value < string_value: "4" >  # as measured
  };
optimization { graph { level: -1 } }
"#;

#[test]
fn a_value_is_changed_where_it_is() {
    let due = WRITTEN.replace("\"4\"", "\"2\"");
    assert_eq!(threads(Some("2")).edit_pbtxt(WRITTEN), Ok(due));
    let level = Edit {
        graph_level: Some(1),
        ..Edit::default()
    };
    let due = WRITTEN.replace("-1", "1");
    assert_eq!(level.edit_pbtxt(WRITTEN), Ok(due));
}

#[test]
fn what_is_new_is_added_at_the_end() {
    let edit = Edit {
        graph_level: Some(1),
        instance_count: Some(2),
        ..threads(Some("1"))
    };
    let text = "name: \"m\"  # no line's end";
    let due = format!("{text}\n{}", edit.to_pbtxt());
    assert_eq!(edit.edit_pbtxt(text), Ok(due));
    assert_eq!(edit.edit_pbtxt(""), Ok(edit.to_pbtxt()));
}

#[test]
fn a_parameter_is_taken_out_with_its_lines() {
    let text = "name: \"m\"\n# kept\nparameters {\n  key: \"intra_op_thread_count\"\n  \
                value: { string_value: \"4\" }\n}\nbackend: \"onnxruntime\"\n";
    let due = "name: \"m\"\n# kept\nbackend: \"onnxruntime\"\n";
    assert_eq!(threads(None).edit_pbtxt(text).as_deref(), Ok(due));
    assert_eq!(threads(None).edit_pbtxt(due).as_deref(), Ok(due));
}

#[test]
fn what_would_be_lost_or_doubled_is_refused() {
    let group = Edit {
        instance_count: Some(2),
        ..Edit::default()
    };
    let level = Edit {
        graph_level: Some(1),
        ..Edit::default()
    };
    let list = r#"parameters [ { key: "intra_op_thread_count" value { string_value: "4" } } ]"#;
    let doubled = format!("{list}\n{list}");
    let cases = [
        (threads(None), WRITTEN, "has a comment"),
        (threads(None), list, "is in a list"),
        (threads(Some("1")), &doubled, "not found once"),
        (
            threads(Some("1")),
            r#"parameters { key: "intra_op_thread_coun\x74" value { string_value: "4" } }"#,
            "as plain text",
        ),
        (
            threads(Some("1")),
            r#"parameters { key: "intra_op_thread_count" value { } }"#,
            "no string_value",
        ),
        (
            group,
            "instance_group { count: 1 }",
            "instance_group already",
        ),
        (
            level,
            "optimization { eager_batching: true }",
            "no graph.level",
        ),
        (threads(Some("1")), "name: ", "config.pbtxt:1:"),
    ];
    for (edit, text, due) in cases {
        let error = edit.edit_pbtxt(text).unwrap_err();
        assert!(error.contains(due), "{text}: {error}");
    }
}

#[test]
fn a_value_in_a_list_is_changed() {
    let list = r#"parameters: [ { key: "a" value { string_value: "x" "y" } }, { key: "intra_op_thread_count" value { string_value: "4" } } ]"#;
    let due = list.replace("\"4\"", "\"3\"");
    assert_eq!(threads(Some("3")).edit_pbtxt(list), Ok(due));
}

proptest! {
    /// Whatever is edited, the rest is kept, and what comes out is what was meant.
    #[test]
    fn an_edited_text_means_the_edited_message(
        lines in prop::collection::vec(
            prop::sample::select(vec![
                "name: \"m\"", "# a comment { [ \"", "max_batch_size: 8;", "",
                "input [ { name: \"I\" data_type: TYPE_FP32 dims: [ -1, 2 ] } ]",
                "parameters { key: \"a\" value { string_value: \"b # no comment\" } }",
                "parameters: [ { key: \"c\" value: < string_value: 'd' > } ]",
                "dynamic_batching { }",
                "parameters { key: \"intra_op_thread_count\" value { string_value: \"1\" } }",
            ]),
            0..9,
        ),
        value in prop::option::of("[0-9]{1,2}"),
        level in prop::option::of(-1_i32..=2),
    ) {
        let text = lines.join("\n");
        let edit = Edit { graph_level: level, ..threads(value.as_deref()) };
        if let (Ok(before), Ok(after)) = (from_pbtxt(&text, "f"), edit.edit_pbtxt(&text)) {
            prop_assert_eq!(from_pbtxt(&after, "f").unwrap(), edit.apply(&before));
            for line in lines.iter().filter(|line| !(line.is_empty() || line.contains("intra_op"))) {
                prop_assert!(after.lines().any(|kept| kept == *line), "{}", after);
            }
        }
    }
}
