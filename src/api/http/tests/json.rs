//! The request's JSON: what is read, what is refused, and that nothing makes it panic.

use std::num::NonZeroUsize;

use bytes::Bytes;
use proptest::prelude::*;

use crate::{
    admission::Limits,
    api::{
        InferRequest,
        classification::Classification,
        http::{bind_tensors, parse_infer_request, split_body},
    },
    error::{Error, ErrorKind, Result},
    inference::{CorrelationId, Parameter},
    shared_memory::Reference,
    tensor::Datatype,
};

fn read(json: &str, tensors: &'static [u8]) -> Result<InferRequest> {
    let document = parse_infer_request(json.as_bytes(), &Limits::default())?;
    bind_tensors(document, Bytes::from_static(tensors), "m")
}

/// A request with one input of these fields.
fn tensor(fields: &str) -> String {
    format!(r#"{{"inputs":[{{"name":"A",{fields}}}]}}"#)
}

/// The bytes of one input with this data.
fn data(datatype: &str, shape: &str, data: &str) -> Result<Vec<u8>> {
    let fields = format!(r#""datatype":"{datatype}","shape":{shape},"data":{data}"#);
    let request = read(&tensor(&fields), b"")?;
    Ok(request.inputs[0].tensor.data.host().unwrap().to_vec())
}

fn refusal(json: &str) -> Error {
    read(json, b"").unwrap_err()
}

#[test]
fn reads_a_whole_request() {
    let request = read(
        r#" {"id":"7\n","parameters":{"sequence_id":3,"timeout":9,"mine":"x","binary_data_output":true},
            "unknown":{"a":[1,{"b":null}]},
            "inputs":[{"name":"A","shape":[1,2],"datatype":"INT32","data":[[1,-2]]},
                      {"name":"B","shape":[3],"datatype":"UINT8","parameters":{"binary_data_size":3}}],
            "outputs":[{"name":"X"},{"name":"Y","parameters":{"binary_data":true}}]} "#,
        b"abc",
    )
    .unwrap();
    assert_eq!(request.id, "7\n");
    assert_eq!(request.options.correlation.id, CorrelationId::Number(3));
    let custom = [("mine".to_owned(), Parameter::String("x".to_owned()))];
    assert_eq!(request.options.custom, custom);
    let [a, b] = request.inputs.as_slice() else {
        panic!("two inputs");
    };
    assert_eq!(
        a.tensor.data.host().unwrap(),
        [1, 0, 0, 0, 254, 255, 255, 255]
    );
    assert_eq!(
        (&*b.name, b.tensor.data.host().unwrap()),
        ("B", &b"abc"[..])
    );
    assert_eq!(request.outputs.unwrap(), ["X", "Y"]);
    let wanted = [0, 1, 2].map(|index| request.formats.is_binary(index));
    // A listed output is JSON unless it says otherwise; `binary_data_output` is for the others.
    assert_eq!(wanted, [false, true, true]);
}

#[test]
fn data_may_be_nested_or_flat_and_come_before_its_type() {
    let expected = data("INT16", "[2,2]", "[1,2,3,4]").unwrap();
    for nested in ["[[1,2],[3,4]]", "[[[1],[2]],3,[4]]", "[ [1 ,2],\n[3, 4] ]"] {
        assert_eq!(
            data("INT16", "[2,2]", nested).unwrap(),
            expected,
            "{nested}"
        );
    }
    let first = tensor(r#""data":[[1,2],[3,4]],"shape":[2,2],"datatype":"INT16""#);
    let request = read(&first, b"").unwrap();
    assert_eq!(request.inputs[0].tensor.data.host().unwrap(), expected);
}

#[test]
fn empty_and_scalar_shapes_have_their_counts() {
    assert_eq!(data("FP32", "[0,5]", "[]").unwrap(), b"");
    assert_eq!(data("UINT8", "[]", "[9]").unwrap(), [9]);
    assert_eq!(
        data("BYTES", "[2]", r#"["","a\u00e9"]"#).unwrap(),
        b"\0\0\0\0\x03\0\0\0a\xc3\xa9"
    );
}

#[test]
fn floats_take_what_triton_takes() {
    let read = |text: &str| {
        let bytes = data("FP32", "[1]", &format!("[{text}]")).unwrap();
        f32::from_le_bytes(bytes.try_into().unwrap())
    };
    assert!(read("NaN").is_nan());
    assert_eq!(read("-Infinity"), f32::NEG_INFINITY);
    assert_eq!(read("Infinity"), f32::INFINITY);
    assert_eq!(read("16777217"), 16_777_216.0);
    assert_eq!(read("-1.5e-3"), -0.0015);
    assert_eq!(data("FP16", "[1]", "[1.0]").unwrap(), [0, 0x3c]);
    assert_eq!(data("BF16", "[1]", "[1.0]").unwrap(), [0x80, 0x3f]);
}

#[test]
fn integers_are_checked_against_their_datatype() {
    for (datatype, least, most) in [
        ("UINT8", "0", "255"),
        ("INT8", "-128", "127"),
        ("UINT16", "0", "65535"),
        ("INT16", "-32768", "32767"),
        ("UINT32", "0", "4294967295"),
        ("INT32", "-2147483648", "2147483647"),
        ("UINT64", "0", "18446744073709551615"),
        ("INT64", "-9223372036854775808", "9223372036854775807"),
    ] {
        assert!(
            data(datatype, "[2]", &format!("[{least},{most}]")).is_ok(),
            "{datatype}"
        );
        let above = (most.parse::<i128>().unwrap() + 1).to_string();
        let below = (least.parse::<i128>().unwrap() - 1).to_string();
        for wrong in [&*above, &*below, "1.0", "1e2", "NaN"] {
            let error = data(datatype, "[1]", &format!("[{wrong}]")).unwrap_err();
            let expected = format!("value {wrong} does not fit datatype {datatype}");
            assert!(error.message().contains(&expected), "{error}");
        }
    }
}

#[test]
fn values_of_another_type_are_refused() {
    for (datatype, value) in [
        ("BOOL", "2"),
        ("BOOL", "\"true\""),
        ("INT32", "true"),
        ("INT32", "\"1\""),
        ("FP32", "null"),
        ("FP32", "1e39"),
        ("FP64", "1e400"),
        ("FP16", "65520"),
        ("BYTES", "1"),
        ("FP32", "{}"),
    ] {
        let error = data(datatype, "[1]", &format!("[{value}]")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.message().contains("line 1 column"), "{error}");
    }
    assert_eq!(
        data("BOOL", "[4]", "[true,false,1,0]").unwrap(),
        [1, 0, 1, 0]
    );
}

#[test]
fn element_counts_must_match_the_shape() {
    for (shape, values) in [
        ("[3]", "[1,2]"),
        ("[1]", "[1,2]"),
        ("[0]", "[1]"),
        ("[2]", "[[],[]]"),
        ("[1000000000000]", "[1]"),
        ("[9223372036854775807,9223372036854775807]", "[1]"),
    ] {
        let error = data("INT32", shape, values).unwrap_err();
        assert!(error.message().contains("'data'"), "{shape}: {error}");
    }
}

#[test]
fn malformed_requests_are_refused_with_their_place() {
    for (json, part) in [
        ("", "line 1"),
        ("[]", "expected object but found array"),
        ("{", "EOF"),
        ("{}", "'inputs' is missing"),
        (r#"{"inputs":[]}x"#, "trailing characters"),
        (r#"{"inputs":{}}"#, "expected array but found object"),
        (r#"{"inputs":[1]}"#, "inputs[0]: "),
        (r#"{"inputs":[{}]}"#, "inputs[0]: 'name' is missing"),
        (r#"{"inputs":[{"name":1}]}"#, "'name': "),
        (r#"{"id":1,"inputs":[]}"#, "expected string"),
        (r#"{"inputs":[],"inputs":[]}"#, "'inputs' is given twice"),
        (
            r#"{"inputs":[{"name":"A","name":"B"}]}"#,
            "'name' is given twice",
        ),
        (
            r#"{"inputs":[],"parameters":{"a":[]}}"#,
            "string, number or boolean",
        ),
        (
            r#"{"inputs":[],"parameters":{"a":1,"a":2}}"#,
            "'a' is given twice",
        ),
        (r#"{"inputs":[],"parameters":{"triton_x":1}}"#, "reserved"),
        (
            r#"{"inputs":[],"outputs":[{"name":"X"},{"name":"X"}]}"#,
            "output 'X' already exists in request",
        ),
        (
            &tensor(r#""datatype":"FP31","shape":[1],"data":[1]"#),
            "unknown datatype 'FP31'",
        ),
        (
            &tensor(r#""datatype":"FP32","shape":[-1],"data":[1]"#),
            "non-negative",
        ),
        (
            &tensor(r#""datatype":"FP32","shape":[1.5],"data":[1]"#),
            "non-negative",
        ),
        (
            &tensor(r#""datatype":"FP32","shape":[9223372036854775808],"data":[]"#),
            "non-negative",
        ),
        (
            &tensor(r#""datatype":"FP32","shape":[1]"#),
            "But no field is set",
        ),
        (
            &tensor(
                r#""datatype":"FP32","shape":[1],"data":[1],"parameters":{"binary_data_size":4}"#,
            ),
            "But multiple fields are set",
        ),
        (
            &tensor(r#""datatype":"FP32","shape":[1],"parameters":{"binary_data_size":-4}"#),
            "non-negative integer",
        ),
        (
            &tensor(r#""datatype":"BYTES","shape":[1],"data":["\ud800"]"#),
            "line 1",
        ),
    ] {
        let error = refusal(json);
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{json}");
        assert!(error.message().contains(part), "{json}: {error}");
    }
    let twice = r#"{"inputs":[{"name":"A","shape":[0],"datatype":"INT8","data":[]},
        {"name":"A","shape":[0],"datatype":"INT8","data":[]}]}"#;
    assert_eq!(
        refusal(twice).message(),
        "input 'A' already exists in request"
    );
}

#[test]
fn errors_after_a_skipped_value_still_point_into_the_document() {
    let json = "{\"inputs\":[{\"name\":\"A\",\n\"data\":[1,\n  300],\"shape\":[2],\"datatype\":\"UINT8\"}]}";
    let error = refusal(json);
    assert!(error.message().contains("value 300"), "{error}");
    assert!(error.message().contains("line 3"), "{error}");
}

#[test]
fn classification_is_a_count_of_which_zero_is_none() {
    let json = |count: &str| {
        format!(
            r#"{{"inputs":[],"outputs":[{{"name":"A"}},
                {{"name":"B","parameters":{{"classification":{count}}}}}]}}"#
        )
    };
    let mut want = Classification::default();
    assert_eq!(read(&json("0"), b"").unwrap().classification, want);
    want.push(1, NonZeroUsize::new(2).unwrap());
    assert_eq!(read(&json("2"), b"").unwrap().classification, want);
    for bad in ["-1", "1.5", "\"1\"", "true", "99999999999999999999"] {
        let error = refusal(&json(bad));
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.message().contains("'classification'"), "{error}");
    }
}

#[test]
fn tensors_in_shared_memory_are_named_and_carry_nothing() {
    let json = r#"{"inputs":[
        {"name":"A","shape":[2],"datatype":"UINT8","parameters":{"binary_data_size":2}},
        {"name":"B","shape":[1],"datatype":"UINT8","parameters":{
            "shared_memory_region":"r","shared_memory_byte_size":1,
            "shared_memory_offset":18446744073709551584}}],
        "outputs":[{"name":"X"},{"name":"Y","parameters":{
            "shared_memory_region":"s","shared_memory_byte_size":4}}]}"#;
    let request = read(json, b"xy").unwrap();
    let reference = |region: &str, offset, byte_size| Reference {
        region: region.to_owned(),
        offset,
        byte_size,
    };
    assert_eq!(
        request.shared.inputs,
        [(1, reference("r", u64::MAX - 31, 1))]
    );
    assert_eq!(request.shared.outputs, [(1, reference("s", 0, 4))]);
    assert_eq!(request.inputs[1].tensor.data.byte_size(), 0);
    for rest in [
        r#""data":[1],"parameters":{"shared_memory_region":"r","shared_memory_byte_size":1}"#,
        r#""parameters":{"binary_data_size":1,"shared_memory_region":"r","shared_memory_byte_size":1}"#,
    ] {
        let error = refusal(&tensor(&format!(
            r#""datatype":"UINT8","shape":[1],{rest}"#
        )));
        assert!(
            error.message().contains("multiple fields are set"),
            "{error}"
        );
    }
    for parameters in [
        r#""shared_memory_region":"r""#,
        r#""shared_memory_region":"r","shared_memory_byte_size":-1"#,
        r#""shared_memory_region":7,"shared_memory_byte_size":1"#,
        r#""shared_memory_byte_size":1"#,
    ] {
        let json = format!(r#""datatype":"UINT8","shape":[1],"parameters":{{{parameters}}}"#);
        let error = refusal(&tensor(&json));
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{json}");
    }
}

#[test]
fn binary_tensors_are_slices_in_the_order_of_their_inputs() {
    let json = r#"{"inputs":[
        {"name":"A","shape":[2],"datatype":"UINT8","parameters":{"binary_data_size":2}},
        {"name":"J","shape":[1],"datatype":"UINT8","data":[5]},
        {"name":"B","shape":[1],"datatype":"UINT8","parameters":{"binary_data_size":1}}]}"#;
    let request = read(json, b"xyz").unwrap();
    let bytes: Vec<_> = request
        .inputs
        .iter()
        .map(|input| input.tensor.data.host().unwrap().to_vec())
        .collect();
    assert_eq!(bytes, [b"xy".to_vec(), vec![5], b"z".to_vec()]);
    assert_eq!(
        read(json, b"x").unwrap_err().message(),
        "unexpected size for input 'A', expecting 1 additional bytes for model 'm'"
    );
    assert_eq!(
        read(json, b"xyz!").unwrap_err().message(),
        "unexpected additional input data for model 'm'"
    );
}

#[test]
fn limits_hold() {
    let limits = Limits {
        json_byte_size: 400,
        json_depth: 6,
        tensors_per_request: 1,
        dims_per_tensor: 2,
        parameters: 1,
        text_byte_size: 8,
        ..Limits::default()
    };
    let refused = |json: &str| parse_infer_request(json.as_bytes(), &limits).unwrap_err();
    for (json, part) in [
        (" ".repeat(401), "request JSON size of 401 bytes"),
        (
            r#"{"a":[[[[[[]]]]]],"inputs":[]}"#.to_owned(),
            "maximum allowed limit (6)",
        ),
        (
            tensor(r#""datatype":"INT8","shape":[1],"data":[[[[1]]]]"#),
            "maximum allowed limit (6)",
        ),
        (
            r#"{"inputs":[],"outputs":[{"name":"A"},{"name":"B"}]}"#.to_owned(),
            "number of outputs",
        ),
        (tensor(r#""shape":[1,1,1]"#), "number of dimensions"),
        (
            r#"{"inputs":[],"parameters":{"a":1,"b":2}}"#.to_owned(),
            "number of parameters",
        ),
        (
            r#"{"id":"123456789","inputs":[]}"#.to_owned(),
            "length of 'id'",
        ),
        (
            r#"{"inputs":[],"parameters":{"123456789":2}}"#.to_owned(),
            "parameter's name",
        ),
        (
            tensor(r#""datatype":"FP64","shape":[60],"data":[0]"#),
            "bytes of a JSON tensor",
        ),
    ] {
        let json = if json.contains("FP64") {
            json + &" ".repeat(200)
        } else {
            json
        };
        let error = refused(&json);
        assert!(error.message().contains(part), "{json}: {error}");
    }
    let deep = format!(r#"{{"inputs":[],"x":{}"#, "[".repeat(100_000));
    assert!(parse_infer_request(deep.as_bytes(), &Limits::default()).is_err());
}

/// Text that is nearly an inference request.
fn near_json() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"inputs\"",
        "\"outputs\"",
        "\"name\"",
        "\"shape\"",
        "\"datatype\"",
        "\"data\"",
        "\"parameters\"",
        "\"binary_data_size\"",
        "\"A\"",
        "\"INT8\"",
        "\"BYTES\"",
        "\"FP32\"",
        "1",
        "-2",
        "3.5",
        "1e999",
        "NaN",
        "true",
        "null",
        " ",
        "\"\\u00",
        "{\"inputs\":[{\"name\":\"A\",\"datatype\":\"FP32\",\"shape\":[2],\"data\":[",
    ]);
    prop::collection::vec(word, 0..40).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(
        body in prop::collection::vec(any::<u8>(), 0..200),
        length in prop::option::of(0usize..220),
    ) {
        if let Ok((json, tensors)) = split_body(Bytes::from(body), length)
            && let Ok(document) = parse_infer_request(&json, &Limits::default())
        {
            let _ = bind_tensors(document, tensors, "m");
        }
    }

    #[test]
    fn nearly_requests_never_panic(text in near_json(), tensors in prop::collection::vec(any::<u8>(), 0..8)) {
        if let Ok(document) = parse_infer_request(text.as_bytes(), &Limits::default())
            && let Ok(request) = bind_tensors(document, Bytes::from(tensors), "m")
        {
            for input in &request.inputs {
                prop_assert!(Datatype::ALL.contains(&input.tensor.datatype));
            }
        }
    }
}
