//! Well-formed HTTP whose path, header or body is wrong.

use super::{
    common::{Answer, Connection, Server},
    right_json, server, still_answers,
};
use serde_json::{Value, json};

/// A request that must fail.
pub(super) struct Case {
    name: String,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// One of these must come back.
    statuses: &'static [u16],
    /// Part of the message.
    fragment: &'static str,
}

/// The client's fault, or what Triton calls an internal error: JSON that is no JSON, or of the
/// wrong type.
const WRONG: &[u16] = &[400, 500];
const REFUSED: &[u16] = &[400];
const UNKNOWN: &[u16] = &[400, 404];

pub(super) fn case(name: &str, body: impl Into<Vec<u8>>, statuses: &'static [u16]) -> Case {
    Case {
        name: name.to_owned(),
        path: "/v2/models/pair/infer".to_owned(),
        headers: Vec::new(),
        body: body.into(),
        statuses,
        fragment: "",
    }
}

impl Case {
    pub(super) fn says(mut self, fragment: &'static str) -> Self {
        self.fragment = fragment;
        self
    }

    pub(super) fn to(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// What is wrong with the answer to this case.
    fn fault(&self, answer: &Answer) -> Option<String> {
        let name = &self.name;
        let text = answer.text();
        if !self.statuses.contains(&answer.status) {
            let (got, want) = (answer.status, self.statuses);
            return Some(format!("{name}: {got} instead of {want:?}: {text}"));
        }
        let json: Value = serde_json::from_str(&text).unwrap_or_default();
        match json["error"].as_str() {
            None | Some("") => Some(format!("{name}: no message: {text}")),
            Some(message) if !message.contains(self.fragment) => Some(format!("{name}: {message}")),
            Some(_) => None,
        }
    }

    fn send(&self, server: &Server) -> Answer {
        let mut connection = Connection::open(server.http).expect("connect");
        let headers: Vec<(&str, &str)> = self
            .headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        connection
            .request("POST", &self.path, &headers, &self.body)
            .unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }
}

/// Sends each case; it must be answered as it says, in JSON, and harm nobody.
pub(super) fn check(server: &Server, cases: Vec<Case>) {
    let mut wrong = Vec::new();
    for case in cases {
        wrong.extend(case.fault(&case.send(server)));
        still_answers(server, &case.name);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The right request after `change`.
pub(super) fn changed(change: impl FnOnce(&mut Value)) -> String {
    let mut request: Value = serde_json::from_str(&right_json()).expect("JSON");
    change(&mut request);
    request.to_string()
}

/// The right request with one member of its first input replaced.
fn input(member: &str, value: Value) -> String {
    changed(|request| request["inputs"][0][member] = value)
}

/// A body of JSON and binary data, with its header field.
fn binary(name: &str, header: &Value, data: &[u8], statuses: &'static [u16]) -> Case {
    let header = header.to_string();
    let body = [header.as_bytes(), data].concat();
    let length = header.len().to_string();
    case(name, body, statuses).with("Inference-Header-Content-Length", length)
}

/// The right request with binary data of these sizes announced.
fn binary_header(first: Value, second: Value) -> Value {
    let tensor = |name, size| {
        json!({"name": name, "shape": [1, 4], "datatype": "FP32",
               "parameters": {"binary_data_size": size}})
    };
    json!({"inputs": [tensor("INPUT0", first), tensor("INPUT1", second)]})
}

#[test]
fn json_that_is_none_or_not_of_the_right_form() {
    let (_repository, server) = server();
    let right = right_json();
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let mut cases = vec![
        case("nothing", "", WRONG),
        case("an open brace", "{", WRONG),
        case(
            "cut in the middle",
            &right.as_bytes()[..right.len() / 2],
            WRONG,
        ),
        case("something behind it", format!("{right}x"), WRONG),
        case("no UTF-8", b"{\"inputs\": \"\xff\xfe\"}", WRONG),
        case(
            "no UTF-8 in a name",
            {
                let mut bytes = right.clone().into_bytes();
                bytes[right.find("INPUT0").expect("name")] = 0xff;
                bytes
            },
            WRONG,
        ),
        case(
            "a lone surrogate",
            right.replace("INPUT0", "\\ud800"),
            WRONG,
        ),
        case("an unknown escape", right.replace("INPUT0", "\\x41"), WRONG),
        case("an array", "[]", WRONG),
        case("a number", "7", WRONG),
        case("null", "null", WRONG),
        case("no inputs", "{}", WRONG),
        case("inputs of the wrong type", r#"{"inputs": 7}"#, WRONG),
        case("inputs that are no objects", r#"{"inputs": [7]}"#, WRONG),
        case("an input without members", r#"{"inputs": [{}]}"#, WRONG),
        case("a wrong id", changed(|r| r["id"] = json!(7)), WRONG),
        case(
            "wrong outputs",
            changed(|r| r["outputs"] = json!("OUTPUT0")),
            WRONG,
        ),
        case(
            "an output without a name",
            changed(|r| r["outputs"] = json!([{}])),
            WRONG,
        ),
        case(
            "wrong parameters",
            changed(|r| r["parameters"] = json!([1])),
            WRONG,
        ),
        case(
            "a wrong priority",
            changed(|r| r["parameters"] = json!({"priority": -1})),
            WRONG,
        ),
        case(
            "a wrong timeout",
            changed(|r| r["parameters"] = json!({"timeout": "x"})),
            WRONG,
        ),
    ];
    for depth in [101, 10_000, 1_000_000] {
        let text = right.replacen("[1,2,3,4]", &nested(depth), 1);
        assert_ne!(text, right);
        cases.push(case(&format!("data nested {depth} deep"), text, WRONG));
        let name = format!("a parameter nested {depth} deep");
        let text = format!("{{\"parameters\": {{\"x\": {}}}}}", nested(depth));
        cases.push(case(&name, text, WRONG));
        let text = "{\"a\":".repeat(depth);
        cases.push(case(&format!("objects opened {depth} times"), text, WRONG));
    }
    check(&server, cases);
    server.stop();
}

#[test]
fn shapes_that_lie_overflow_or_are_none() {
    let (_repository, server) = server();
    let huge = i64::MAX;
    let mut cases = vec![case(
        "a negative dimension",
        input("shape", json!([-1, 4])),
        WRONG,
    )];
    for shape in [
        json!([1, -4]),
        json!([-1, -4]),
        json!([huge, 4]),
        json!([huge, huge]),
        json!([4_294_967_296_u64, 4_294_967_296_u64]),
        json!([1_u64 << 62, 4]),
        json!([u64::MAX, 4]),
        json!([0, 4]),
        json!([1, 0]),
        json!([1, 1_000_000_000_000_u64]),
        json!([1.5, 4]),
        json!(["1", 4]),
        json!([null, 4]),
        json!([[1], 4]),
        json!([true, 4]),
        json!("1,4"),
        json!({}),
        json!(null),
        json!([]),
        json!([4]),
        json!(vec![1; 10_000]),
        json!([9, 4]),
    ] {
        let mut name = format!("shape {shape}");
        name.truncate(60);
        cases.push(case(&name, input("shape", shape), WRONG));
    }
    let text = right_json().replacen("[1,4]", "[99999999999999999999999,4]", 1);
    cases.push(case("a dimension beyond 64 bits", text, WRONG));
    let text = right_json().replacen("[1,4]", "[1e2,4]", 1);
    cases.push(case("a dimension in scientific notation", text, WRONG));
    for shape in [
        json!([huge, huge]),
        json!([huge, 4]),
        json!([-1, 4]),
        json!([1_u64 << 40, 4]),
    ] {
        let mut header = binary_header(json!(16), json!(16));
        header["inputs"][0]["shape"] = shape.clone();
        let name = format!("binary data of shape {shape}");
        cases.push(binary(&name, &header, &[0; 32], WRONG));
    }
    check(&server, cases);
    server.stop();
}

#[test]
fn json_data_of_the_wrong_number_or_type() {
    let (_repository, server) = server();
    let mut cases = Vec::new();
    for data in [
        json!([1, 2, 3]),
        json!([1, 2, 3, 4, 5]),
        json!([]),
        json!([[1, 2], [3]]),
        json!([1, 2, 3, null]),
        json!([1, 2, 3, "4"]),
        json!([1, 2, 3, true]),
        json!([1, 2, 3, {}]),
        json!({"0": 1}),
        json!("1234"),
        json!(7),
        json!(null),
    ] {
        cases.push(case(&format!("data {data}"), input("data", data), WRONG));
    }
    let text = |data: Value| {
        json!({"inputs": [{"name": "INPUT0", "shape": [2], "datatype": "BYTES", "data": data}]})
            .to_string()
    };
    for data in [
        json!(["a"]),
        json!(["a", "b", "c"]),
        json!(["a", 7]),
        json!(["a", null]),
    ] {
        let name = format!("strings {data}");
        cases.push(case(&name, text(data), WRONG).to("/v2/models/text/infer"));
    }
    let truth = |data: Value| {
        json!({"inputs": [{"name": "INPUT0", "shape": [2], "datatype": "BOOL", "data": data}]})
            .to_string()
    };
    for data in [json!(["true", false]), json!([true]), json!([[], []])] {
        let name = format!("truths {data}");
        cases.push(case(&name, truth(data), WRONG).to("/v2/models/truth/infer"));
    }
    check(&server, cases);
    server.stop();
}

#[test]
fn names_and_datatypes_that_do_not_fit() {
    let (_repository, server) = server();
    let long = "x".repeat(1 << 20);
    let twice = |request: &mut Value| request["inputs"][1] = request["inputs"][0].clone();
    let many = |request: &mut Value| {
        let one = request["inputs"][0].clone();
        request["inputs"] = Value::Array(vec![one; 20_000]);
    };
    let output = |name: &str| changed(|r| r["outputs"] = json!([{"name": name}]));
    check(
        &server,
        vec![
            case("an unknown input", input("name", json!("WRONG")), REFUSED),
            case("an input without a name", input("name", json!("")), WRONG),
            case(
                "a name with a NUL",
                input("name", json!("INPUT0\0")),
                REFUSED,
            ),
            case(
                "a path for a name",
                input("name", json!("../INPUT0")),
                REFUSED,
            ),
            case(
                "a name of a megabyte",
                input("name", json!(long)),
                &[400, 413],
            ),
            case("a number for a name", input("name", json!(0)), WRONG),
            case("one input twice", changed(twice), REFUSED),
            case("twenty thousand inputs", changed(many), REFUSED),
            case(
                "one input only",
                changed(|r| {
                    r["inputs"].as_array_mut().expect("array").pop();
                }),
                REFUSED,
            )
            .says("expected 2 inputs but got 1 inputs for model 'pair'"),
            case("an unknown output", output("WRONG"), REFUSED)
                .says("unexpected inference output 'WRONG' for model 'pair'"),
            case("an empty output name", output(""), WRONG),
            case(
                "an output twice",
                changed(|r| r["outputs"] = json!([{"name": "OUTPUT0"}, {"name": "OUTPUT0"}])),
                REFUSED,
            )
            .says("output 'OUTPUT0' already exists in request"),
            case(
                "another datatype",
                input("datatype", json!("FP64")),
                REFUSED,
            )
            .says("data-type is 'FP64'"),
            case("no datatype", input("datatype", json!("FP31")), REFUSED),
            case(
                "a datatype in lower case",
                input("datatype", json!("fp32")),
                REFUSED,
            ),
            case(
                "the name in the configuration",
                input("datatype", json!("TYPE_FP32")),
                REFUSED,
            ),
            case(
                "a number for a datatype",
                input("datatype", json!(11)),
                WRONG,
            ),
            case(
                "an id of a megabyte",
                changed(|r| r["id"] = json!(long)),
                &[400, 413],
            ),
        ],
    );
    server.stop();
}

#[test]
fn binary_data_of_the_wrong_length() {
    let (_repository, server) = server();
    let right = || binary_header(json!(16), json!(16));
    let mut cases = vec![
        binary("cut", &right(), &[0; 31], REFUSED),
        binary("none at all", &right(), &[], REFUSED),
        binary("one byte more", &right(), &[0; 33], REFUSED)
            .says("unexpected additional input data for model 'pair'"),
        binary(
            "shorter than the shape",
            &binary_header(json!(12), json!(16)),
            &[0; 28],
            REFUSED,
        ),
        binary(
            "longer than the shape",
            &binary_header(json!(20), json!(16)),
            &[0; 36],
            REFUSED,
        ),
    ];
    for size in [
        json!(-1),
        json!(i64::MIN),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(u64::MAX - 15),
        json!(16.0),
        json!("16"),
        json!(null),
        json!([16]),
        json!(true),
    ] {
        let header = binary_header(size.clone(), json!(16));
        cases.push(binary(&format!("size {size}"), &header, &[0; 32], WRONG));
    }
    let both = json!({"inputs": [
        {"name": "INPUT0", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4],
         "parameters": {"binary_data_size": 16}},
        {"name": "INPUT1", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]});
    cases.push(binary("data twice", &both, &[0; 16], REFUSED));
    let body = right().to_string();
    for length in [
        "-1",
        "+5",
        "x",
        "",
        "1.0",
        "0x10",
        "99999",
        "18446744073709551616",
    ] {
        let case = case(&format!("header length {length:?}"), body.clone(), REFUSED);
        cases.push(case.with("Inference-Header-Content-Length", length));
    }
    let case_ = case("header length cuts the JSON", body.clone(), WRONG);
    cases.push(case_.with(
        "Inference-Header-Content-Length",
        (body.len() / 2).to_string(),
    ));
    cases.push(
        case("a raw body for two inputs", vec![0; 32], REFUSED)
            .with("Inference-Header-Content-Length", "0"),
    );
    check(&server, cases);
    server.stop();
}

#[test]
fn strings_whose_length_prefixes_lie() {
    let (_repository, server) = server();
    let mut cases = Vec::new();
    for (name, data) in [
        ("no prefix", &b""[..]),
        ("a cut prefix", b"\x01\0\0"),
        ("a prefix without its bytes", b"\x01\0\0\0"),
        ("a prefix of 4 GiB", b"\xff\xff\xff\xffab"),
        ("a prefix of 2 GiB", b"\0\0\0\x80ab"),
        ("one element of two", b"\x01\0\0\0a"),
        ("three elements of two", b"\0\0\0\0\0\0\0\0\0\0\0\0"),
        ("a byte behind the last", b"\0\0\0\0\0\0\0\0a"),
    ] {
        let header = json!({"inputs": [{"name": "INPUT0", "shape": [2], "datatype": "BYTES",
                            "parameters": {"binary_data_size": data.len()}}]});
        cases.push(binary(name, &header, data, REFUSED).to("/v2/models/text/infer"));
    }
    for shape in [json!([i64::MAX]), json!([1_u64 << 40])] {
        let header = json!({"inputs": [{"name": "INPUT0", "shape": shape, "datatype": "BYTES",
                            "parameters": {"binary_data_size": 4}}]});
        let name = format!("strings of shape {shape}");
        cases.push(binary(&name, &header, &[0; 4], WRONG).to("/v2/models/text/infer"));
    }
    check(&server, cases);
    server.stop();
}

#[test]
fn models_versions_and_paths_that_are_none() {
    let (repository, server) = server();
    let outside = repository.path().parent().expect("parent").join("outside");
    std::fs::create_dir_all(outside.join("1")).expect("folder");
    let config = super::identity_config("TYPE_FP32", 0, "");
    std::fs::write(outside.join("config.pbtxt"), config).expect("file");
    let long = "x".repeat(10_000);
    for path in [
        "/v2/models/nowhere/infer",
        "/v2/models/../outside/infer",
        "/v2/models/..%2Foutside/infer",
        "/v2/models/%2e%2e/infer",
        "/v2/models/pair%00/infer",
        "/v2/models/pair%ff/infer",
        "/v2/models/pair%/infer",
        "/v2/models//infer",
        "/v2/models/pair/versions//infer",
        "/v2/models/pair/versions/-1/infer",
        "/v2/models/pair/versions/0x1/infer",
        "/v2/models/pair/versions/1.0/infer",
        "/v2/models/pair/versions/99999999999999999999/infer",
        "/v2/models/pair/versions/2/infer",
        "/v2/models/pair/versions/1/../1/infer",
        "/v2/models/pair/infer/",
        "/v2/models/pair/infer/x",
        "//v2/models/pair/infer",
        "/V2/models/pair/infer",
        &format!("/v2/models/{long}/infer"),
    ] {
        let answer = case(path, right_json(), UNKNOWN).to(path).send(&server);
        assert!(
            UNKNOWN.contains(&answer.status),
            "{path}: {}",
            answer.status
        );
        still_answers(&server, path);
    }
    for name in [
        "..%2Foutside",
        "%2e%2e%2Foutside",
        "..",
        ".",
        "%00",
        "a%2Fb",
        "%2Ftmp",
        "~",
    ] {
        for verb in ["load", "unload"] {
            let path = format!("/v2/repository/models/{name}/{verb}");
            let answer = server.call("POST", &path, "");
            // What is not loaded may be unloaded.
            let allowed = verb == "unload" && answer.status == 200;
            assert!(allowed || answer.status >= 400, "{path}: {}", answer.status);
            still_answers(&server, &path);
        }
    }
    let index = server.call("POST", "/v2/repository/index", "");
    assert!(!index.text().contains("outside"), "{}", index.text());
    server.stop();
}

#[test]
fn repository_calls_with_wrong_bodies() {
    let (_repository, server) = server();
    let mut cases = Vec::new();
    let deep = format!("{{\"parameters\": {}1", "{\"a\":".repeat(100_000));
    for body in [
        "{",
        "[]",
        "7",
        r#"{"parameters": 7}"#,
        r#"{"parameters": {"config": 7}}"#,
        r#"{"parameters": {"config": "{"}}"#,
        r#"{"parameters": {"config": "[]"}}"#,
        r#"{"parameters": {"config": "{\"max_batch_size\": -1}"}}"#,
        r#"{"parameters": {"config": "{\"max_batch_sizes\": 1}"}}"#,
        r#"{"parameters": {"config": "{\"name\": \"other\"}"}}"#,
        r#"{"parameters": {"unknown": "x"}}"#,
        r#"{"parameters": {"file:../../x": "AAAA"}}"#,
        &deep,
    ] {
        let mut name = format!("load with {body}");
        name.truncate(80);
        cases.push(case(&name, body, &[400, 500, 501]).to("/v2/repository/models/pair/load"));
    }
    for body in ["{", "[]", r#"{"ready": "yes"}"#] {
        let name = format!("index with {body}");
        cases.push(case(&name, body, WRONG).to("/v2/repository/index"));
    }
    check(&server, cases);
    server.stop();
}
