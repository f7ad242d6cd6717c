use super::*;
use crate::model_config::{self, Environment};

fn config(text: &str) -> ModelConfig {
    let text = format!(
        "name: 'm' backend: 'identity' input {{ name: 'IN' data_type: TYPE_FP32 dims: 4 }}
         output {{ name: 'OUT' data_type: TYPE_FP32 dims: 4 }} {text}"
    );
    let proto = model_config::from_pbtxt(&text, "config.pbtxt").unwrap();
    ModelConfig::from_proto(proto, &Environment::default()).unwrap()
}

fn sizes_of(text: &str) -> Vec<RangeInclusive<usize>> {
    sizes(&config(text)).unwrap()
}

#[test]
fn there_are_none_unless_they_are_asked_for_and_can_be_used() {
    assert!(sizes_of("max_batch_size: 8").is_empty());
    let graphs = "max_batch_size: 8 optimization { cuda { graphs: true } }";
    assert!(!sizes_of(graphs).is_empty());
    let varying = "input { name: 'V' data_type: TYPE_FP32 dims: -1 }";
    assert!(sizes_of(&format!("{graphs} {varying}")).is_empty());
    let bytes = "output { name: 'B' data_type: TYPE_STRING dims: 1 }";
    assert!(sizes_of(&format!("{graphs} {bytes}")).is_empty());
}

#[test]
fn usual_sizes_are_powers_of_two_the_preferred_ones_and_the_largest() {
    let of = |text: &str| {
        sizes_of(&format!(
            "optimization {{ cuda {{ graphs: true }} }} {text}"
        ))
    };
    assert_eq!(of(""), [1..=1]);
    assert_eq!(of("max_batch_size: 1"), [1..=1]);
    assert_eq!(of("max_batch_size: 6"), [1..=1, 2..=2, 3..=4, 5..=6]);
    let preferred = "max_batch_size: 8 dynamic_batching { preferred_batch_size: [ 3, 8 ] }";
    assert_eq!(of(preferred), [1..=1, 2..=2, 3..=3, 4..=4, 5..=8]);
}

#[test]
fn named_sizes_are_taken_alone_or_down_to_their_lower_bound() {
    let of = |specs: &str| {
        let text = format!("max_batch_size: 8 optimization {{ cuda {{ graphs: true {specs} }} }}");
        sizes(&config(&text)).map_err(|error| error.to_string())
    };
    let bounded = "graph_spec { batch_size: 8 graph_lower_bound { batch_size: 5 } }";
    let both = format!("{bounded} graph_spec {{ batch_size: 2 }}");
    assert_eq!(of(&both).unwrap(), [2..=2, 5..=8]);
    for (wrong, words) in [
        (
            "graph_spec { batch_size: 9 }",
            "batch_size 9, it must be from 1 to 8",
        ),
        ("graph_spec { batch_size: 0 }", "batch_size 0"),
        ("graph_spec { batch_size: -1 }", "batch_size -1"),
        (
            "graph_spec { batch_size: 2 graph_lower_bound { batch_size: 3 } }",
            "a lower bound of 3 above 2",
        ),
        (
            "graph_spec { batch_size: 2 input { key: 'IN' value: { dim: 4 } } }",
            "shapes of inputs",
        ),
    ] {
        let error = of(wrong).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
}
