use super::*;

const PBTXT: &str = r#"
# A comment, "with a quote
name: "simple"; platform: "onnxruntime_onnx",
backend: 'onnx' "runtime"
max_batch_size: 8
input [
  {
    name: "a[0]{"  # brackets in a string
    data_type: TYPE_FP32
    format: FORMAT_NONE
    dims: [ 1, -1 ]
    reshape { shape: [ ] }
  },
  { name: "b" data_type: 13 dims: 4 dims: 5 optional: true }
]
output [{
  name: "y"
  data_type: TYPE_INT64
  dims [ 3 ]
  label_filename: "labels.txt"
}]
instance_group < kind: KIND_CPU count: 2 gpus: [] >
version_policy: { specific { versions: [1, 3] } }
dynamic_batching {
  preferred_batch_size: [ 4, 8 ]
  max_queue_delay_microseconds: 100
  priority_levels: 2
  default_priority_level: 1
  priority_queue_policy [
    { key: 1 value: { timeout_action: DELAY max_queue_size: 7 } }
  ]
}
parameters: { key: "threads" value: { string_value: "1.10" } }
parameters { key: "b" value { string_value: "x" } }
model_warmup {
  name: "w" batch_size: 1
  inputs { key: "b" value { data_type: TYPE_STRING dims: [4, 5] zero_data: true } }
}
"#;

const YAML: &str = r#"
# The same.
name: simple
platform: onnxruntime_onnx
backend: onnxruntime
maxBatchSize: 8
input:
  - name: "a[0]{"
    data_type: TYPE_FP32
    format: FORMAT_NONE
    dims: [1, -1]
    reshape: {shape: []}
  - {name: b, dataType: type_string, dims: ["4", 5.0], optional: true}
output:
  - name: y
    data_type: 9
    dims: [3]
    label_filename: labels.txt
instance_group:
  - kind: KIND_CPU
    count: 2
version_policy: {specific: {versions: [1, 3]}}
dynamic_batching:
  preferred_batch_size: [4, 8]
  max_queue_delay_microseconds: 100
  priority_levels: 2
  default_priority_level: 1
  priority_queue_policy:
    1: {timeout_action: DELAY, max_queue_size: 7}
parameters:
  threads: {string_value: 1.10}
  b: {string_value: x}
model_warmup:
  - name: w
    batch_size: 1
    inputs: {b: {data_type: TYPE_STRING, dims: [4, 5], zero_data: true}}
optimization: ~
"#;

#[test]
fn the_three_languages_say_the_same() {
    let config = pbtxt(PBTXT);
    assert_eq!(config.input[0].name, "a[0]{");
    assert!(config.input[0].reshape.as_ref().unwrap().shape.is_empty());
    assert_eq!(config.input[1].dims, [4, 5]);
    assert_eq!(config.backend, "onnxruntime");
    assert_eq!(config.parameters["threads"].string_value, "1.10");
    assert_eq!(from_yaml(YAML, "config.yaml").unwrap(), config);
    let json = to_json(&config);
    assert_eq!(from_json(&json, "config.json").unwrap(), config);
    // JSON is YAML.
    assert_eq!(from_yaml(&json, "config.yaml").unwrap(), config);
}

#[test]
fn an_empty_file_is_an_empty_configuration() {
    let empty = pb::ModelConfig::default();
    assert_eq!(from_pbtxt("", "f").unwrap(), empty);
    assert_eq!(from_pbtxt("# nothing", "f").unwrap(), empty);
    assert_eq!(from_yaml("", "f").unwrap(), empty);
    assert_eq!(from_yaml("# nothing\n", "f").unwrap(), empty);
    assert_eq!(from_json("{}", "f").unwrap(), empty);
}

type Read = fn(&str, &str) -> Result<pb::ModelConfig, ConfigError>;

fn check_errors(read: Read, cases: &[(&str, &str)]) {
    for (text, want) in cases {
        let got = read(text, "f").map(|_| ()).unwrap_err().to_string();
        assert_eq!(got, *want, "{text}");
    }
}

#[test]
fn pbtxt_errors_name_place_key_and_nearest() {
    check_errors(
        from_pbtxt,
        &[
            (
                "name: \"m\"\n  max_batch_sz: 8",
                "f:2:3: unknown field 'max_batch_sz' in ModelConfig, did you mean \
                 'max_batch_size'?",
            ),
            (
                "input [ {\n nam: \"ü\" } ]",
                "f:2:2: unknown field 'nam' in ModelInput, did you mean 'name'?",
            ),
            (
                "input[ { name: \"ü\", dim: 3 } ]",
                "f:1:21: unknown field 'dim' in ModelInput, did you mean 'dims'?",
            ),
            ("zzz: 1", "f:1:1: unknown field 'zzz' in ModelConfig"),
            (
                "input [\n { data_type: TYPE_FLOAT }\n]",
                "f:2:4: field 'data_type': unknown value 'TYPE_FLOAT' of DataType, did you mean \
                 'TYPE_FP32'?",
            ),
            (
                "input { data_type: FP16 }",
                "f:1:9: field 'data_type': unknown value 'FP16' of DataType, did you mean \
                 'TYPE_FP16'?",
            ),
            (
                "input { data_type: TYPE_BYTES }",
                "f:1:9: field 'data_type': unknown value 'TYPE_BYTES' of DataType, did you mean \
                 'TYPE_STRING'?",
            ),
            (
                "instance_group { kind: KIND_GPUS }",
                "f:1:18: field 'kind': unknown value 'KIND_GPUS' of ModelInstanceGroup.Kind, did \
                 you mean 'KIND_GPU'?",
            ),
            (
                "max_batch_size: \"8\"",
                "f:1:1: field 'max_batch_size': expected an integer, but found '\"8\"'",
            ),
            (
                "max_batch_size: 99999999999",
                "f:1:1: field 'max_batch_size': expected value to be a signed 32-bit integer, but \
                 the value 99999999999 is out of range",
            ),
            (
                "name: 5",
                "f:1:1: field 'name': expected a string, but found '5'",
            ),
            (
                "model_transaction_policy { decoupled: maybe }",
                "f:1:28: field 'decoupled': expected 'true' or 'false', but found 'maybe'",
            ),
            (
                "input: 5",
                "f:1:1: field 'input': expected '{' or '<', but found '5'",
            ),
            (
                "name: \"a\"\nname: \"b\"",
                "f:2:1: field 'name' is given twice",
            ),
            (
                "dynamic_batching {}\nsequence_batching {}",
                "f:2:1: field 'sequence_batching': a value is already set for oneof \
                 'scheduling_choice'",
            ),
            (
                "input {",
                "f:1:8: expected '}' or a field name, but reached end of input",
            ),
            (
                "max_batch_size 5",
                "f:1:16: expected ':' or a message value, but found '5'",
            ),
            (
                "name: \"a\" }",
                "f:1:11: expected a field name, but found '}'",
            ),
            ("name: @", "f:1:7: invalid token"),
        ],
    );
}

#[test]
fn yaml_errors_name_place_key_and_nearest() {
    check_errors(
        from_yaml,
        &[
            (
                "name: m\nmax_batch_sz: 8",
                "f:2:1: unknown field 'max_batch_sz' in ModelConfig, did you mean \
                 'max_batch_size'?",
            ),
            (
                "input:\n  - name: ü\n    \"datatype\": TYPE_FP32",
                "f:3:6: unknown field 'datatype' in ModelInput, did you mean 'data_type'?",
            ),
            (
                "input: [{name: ü, dim: 3}]",
                "f:1:19: unknown field 'dim' in ModelInput, did you mean 'dims'?",
            ),
            (
                "input:\n  - name: x\n    data_type: TYPE_FP23",
                "f:3:5: field 'data_type': unknown value 'TYPE_FP23' of DataType, did you mean \
                 'TYPE_FP32'?",
            ),
            (
                "max_batch_size: eight",
                "f:1:1: field 'max_batch_size': expected a 32-bit integer, but found 'eight'",
            ),
            (
                "max_batch_size: 3000000000",
                "f:1:1: field 'max_batch_size': expected a 32-bit integer, but found 3000000000",
            ),
            (
                "name: m\ninput: {name: x}",
                "f:2:1: field 'input': expected a list, but found a mapping",
            ),
            (
                "name: m\nparameters: [a]",
                "f:2:1: field 'parameters': expected a mapping, but found a list",
            ),
            (
                "parameters: {a: b}",
                "f:1:14: field 'a': expected a mapping, but found 'b'",
            ),
            (
                "response_cache: {enable: yes}",
                "f:1:18: field 'enable': expected true or false, but found 'yes'",
            ),
            ("name: a\nname: b", "f:2:1: field 'name' is given twice"),
            (
                "dynamic_batching: {}\nsequence_batching: {}",
                "f:2:1: field 'sequence_batching' excludes 'dynamic_batching', which is given too, \
                 in ModelConfig",
            ),
            ("- a", "f:1:1: expected a mapping, but found a list"),
        ],
    );
}

#[test]
fn json_errors_name_place_key_and_nearest() {
    check_errors(
        from_json,
        &[
            (
                "{\"name\": \"m\",\n \"max_batch_sz\": 8}",
                "f:2:3: unknown field 'max_batch_sz' in ModelConfig, did you mean \
                 'max_batch_size'?",
            ),
            (
                "{\"input\": [{\"name\": \"ü\", \"dim\": [3]}]}",
                "f:1:27: unknown field 'dim' in ModelInput, did you mean 'dims'?",
            ),
            (
                "{\"max_batch_size\": \"max_batch_size: 3\"}",
                "f:1:3: field 'max_batch_size': expected a 32-bit integer, but found \
                 'max_batch_size: 3'",
            ),
            (
                "{\"name\":\n 5}",
                "f:1:3: field 'name': expected text, but found 5",
            ),
            (
                "{\"input\": [{\"dims\": [1, 2.5]}]}",
                "f:1:14: field 'dims': expected a 64-bit integer, but found 2.5",
            ),
            (
                "{\"input\": [null]}",
                "f:1:3: field 'input': a list cannot hold null",
            ),
            (
                "{\"version_policy\": 3}",
                "f:1:3: field 'version_policy': expected a mapping, but found 3",
            ),
            ("[]", "f:1:1: expected a mapping, but found a list"),
            ("{\"name\": \"m\" ü\n}", "f:1:14: expected `,` or `}`"),
            ("", "f:1:1: EOF while parsing a value"),
            ("{\"name\": \"m\"} x", "f:1:15: trailing characters"),
            ("{\"name\" \"m\"}", "f:1:9: expected `:`"),
        ],
    );
}

#[test]
fn shows_a_configuration_as_triton_does() {
    let config = pbtxt(
        r#"name: "m" backend: "onnxruntime" max_batch_size: 2
        input { name: "x" data_type: TYPE_FP32 dims: [ -1, 16 ] reshape { shape: [ 16, -1 ] } }
        version_policy { latest { num_versions: 1 } }
        instance_group { count: 9 kind: KIND_CPU }
        dynamic_batching {
          max_queue_delay_microseconds: 9007199254740993
          priority_queue_policy { key: 2 value { max_queue_size: 1 } }
          priority_queue_policy { key: 1 value {} }
        }
        metric_tags { key: "b" value: "2" } metric_tags { key: "a" value: "1" }"#,
    );
    let policy = |size: u32| {
        format!(
            r#"{{"timeout_action":"REJECT","default_timeout_microseconds":0,"allow_timeout_override":false,"max_queue_size":{size}}}"#
        )
    };
    let want = [
        r#"{"name":"m","platform":"","backend":"onnxruntime","runtime":"","#,
        r#""version_policy":{"latest":{"num_versions":1}},"max_batch_size":2,"#,
        r#""input":[{"name":"x","data_type":"TYPE_FP32","format":"FORMAT_NONE","dims":[-1,16],"#,
        r#""reshape":{"shape":[16,-1]},"is_shape_tensor":false,"allow_ragged_batch":false,"#,
        r#""optional":false,"is_non_linear_format_io":false}],"#,
        r#""output":[],"batch_input":[],"batch_output":[],"#,
        r#""dynamic_batching":{"preferred_batch_size":[],"#,
        r#""max_queue_delay_microseconds":9007199254740993,"preserve_ordering":false,"#,
        r#""priority_levels":0,"default_priority_level":0,"priority_queue_policy":{"1":"#,
        &policy(0),
        r#","2":"#,
        &policy(1),
        r#"}},"instance_group":[{"name":"","kind":"KIND_CPU","count":9,"gpus":[],"#,
        r#""secondary_devices":[],"profile":[],"passive":false,"host_policy":""}],"#,
        r#""default_model_filename":"","cc_model_filenames":{},"metric_tags":{"a":"1","b":"2"},"#,
        r#""parameters":{},"model_warmup":[]}"#,
    ]
    .concat();
    assert_eq!(to_json(&config), want);
}
