//! Calls and requests about shared memory that are wrong. What is right about it is in
//! `python/test_shared_memory.py`.

use std::{fs, path::PathBuf};

use super::{
    common::Server,
    http::{case, changed, check},
    server,
};
use serde_json::{Value, json};

const REFUSED: &[u16] = &[400];

/// Shared memory of 64 bytes, removed with the value.
struct Memory {
    path: PathBuf,
    key: String,
}

impl Memory {
    fn new(name: &str) -> Self {
        let key = format!("/despina-malformed-{name}-{}", std::process::id());
        let path = PathBuf::from(format!("/dev/shm{key}"));
        fs::write(&path, [0; 64]).expect("shared memory");
        Self { path, key }
    }

    fn register(&self, server: &Server) {
        let body = json!({"key": self.key, "byte_size": 64}).to_string();
        let path = "/v2/systemsharedmemory/region/r/register";
        assert_eq!(server.call("POST", path, &body).status, 200);
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[test]
fn registrations_that_are_wrong() {
    let (_repository, server) = server();
    let memory = Memory::new("register");
    let key = &memory.key;
    let bodies = [
        String::new(),
        "{".to_owned(),
        "[]".to_owned(),
        json!({"key": key}).to_string(),
        json!({"byte_size": 64}).to_string(),
        json!({"key": 7, "byte_size": 64}).to_string(),
        json!({"key": [key], "byte_size": 64}).to_string(),
        json!({"key": key, "byte_size": "64"}).to_string(),
        json!({"key": key, "byte_size": -1}).to_string(),
        json!({"key": key, "byte_size": 1.5}).to_string(),
        json!({"key": key, "byte_size": 65}).to_string(),
        json!({"key": key, "byte_size": 64, "offset": -64}).to_string(),
        json!({"key": key, "byte_size": 64, "offset": 1}).to_string(),
        json!({"key": key, "byte_size": u64::MAX, "offset": u64::MAX}).to_string(),
        format!(r#"{{"key": "{key}", "byte_size": 18446744073709551616}}"#),
        json!({"key": format!("{key}\0"), "byte_size": 64}).to_string(),
        json!({"key": "x".repeat(300), "byte_size": 64}).to_string(),
        json!({"key": "/..", "byte_size": 64}).to_string(),
        json!({"key": format!("/../shm{key}"), "byte_size": 64}).to_string(),
        format!("{}1", r#"{"x":"#.repeat(60_000 / 5)),
    ];
    let register = "/v2/systemsharedmemory/region/r/register";
    let mut cases: Vec<_> = bodies
        .iter()
        .map(|body| case(body.get(..80).unwrap_or(body), body.clone(), REFUSED).to(register))
        .collect();
    let long = format!("/v2/systemsharedmemory/region/{}/register", "x".repeat(300));
    let right = json!({"key": key, "byte_size": 64}).to_string();
    for path in [
        "/v2/systemsharedmemory/register",
        "/v2/systemsharedmemory/region/%0A/register",
        "/v2/systemsharedmemory/region/%ff/register",
        &long,
    ] {
        cases.push(case(path, right.clone(), REFUSED).to(path));
    }
    for raw_handle in [
        json!(null),
        json!("AAAA"),
        json!({}),
        json!({"b64": 7}),
        json!({"b64": "?"}),
        json!({"b64": "AAAA"}),
    ] {
        let body = json!({"raw_handle": raw_handle, "device_id": 0, "byte_size": 64}).to_string();
        cases.push(case(&body, body.clone(), REFUSED).to("/v2/cudasharedmemory/region/c/register"));
    }
    let large = " ".repeat(1 << 20);
    cases.push(case("a large body", large, &[413]).to(register));
    check(&server, cases);
    for (method, verb) in [
        ("GET", "register"),
        ("GET", "unregister"),
        ("POST", "status"),
    ] {
        let answer = server.call(
            method,
            &format!("/v2/systemsharedmemory/region/r/{verb}"),
            "",
        );
        assert_eq!(answer.status, 405, "{method} {verb}");
    }
    let status = server.call("GET", "/v2/systemsharedmemory/status", "");
    assert_eq!(status.json(), json!([]));
    server.stop();
}

/// The right request, its first input in shared memory by these parameters.
fn in_shared_memory(parameters: Value) -> String {
    changed(|request| {
        let input = &mut request["inputs"][0];
        input.as_object_mut().expect("an object").remove("data");
        input["parameters"] = parameters;
    })
}

/// The right request with an output in shared memory by these parameters.
fn to_shared_memory(parameters: Value) -> String {
    changed(|request| {
        request["outputs"] = json!([{"name": "OUTPUT0", "parameters": parameters}]);
    })
}

#[test]
fn tensors_in_memory_that_is_not_there() {
    let (_repository, server) = server();
    let memory = Memory::new("infer");
    memory.register(&server);
    let place = |offset: Value, byte_size: Value| {
        json!({"shared_memory_region": "r", "shared_memory_offset": offset,
               "shared_memory_byte_size": byte_size})
    };
    let mut cases = Vec::new();
    for parameters in [
        json!({"shared_memory_region": "r"}),
        json!({"shared_memory_byte_size": 16}),
        json!({"shared_memory_offset": 0}),
        json!({"shared_memory_region": "", "shared_memory_byte_size": 16}),
        json!({"shared_memory_region": 7, "shared_memory_byte_size": 16}),
        json!({"shared_memory_region": ["r"], "shared_memory_byte_size": 16}),
        json!({"shared_memory_region": "x".repeat(300), "shared_memory_byte_size": 16}),
        place(json!(-1), json!(16)),
        place(json!(0), json!(-16)),
        place(json!(0), json!(16.5)),
        place(json!("0"), json!(16)),
        place(json!(64), json!(16)),
        place(json!(49), json!(16)),
        place(json!(u64::MAX), json!(16)),
        place(json!(u64::MAX - 15), json!(32)),
        place(json!(1), json!(u64::MAX)),
    ] {
        let name = parameters.to_string();
        let name = name.get(..120).unwrap_or(&name);
        cases.push(case(name, in_shared_memory(parameters.clone()), REFUSED));
        cases.push(case(name, to_shared_memory(parameters), REFUSED));
    }
    for (offset, byte_size) in [(0, 0), (0, 15), (0, 17)] {
        let body = in_shared_memory(place(json!(offset), json!(byte_size)));
        cases.push(case("another size", body, REFUSED).says("input byte size mismatch"));
    }
    let small = to_shared_memory(place(json!(60), json!(4)));
    cases.push(case("too small", small, &[500]).says("should be at least 16 bytes"));
    let mut classes = place(json!(0), json!(16));
    classes["classification"] = json!(2);
    let classes = to_shared_memory(classes);
    cases.push(case("classes", classes, REFUSED).says("can't set both"));
    let twice = right_place_twice();
    cases.push(case("given twice", twice, REFUSED).says("given twice"));
    check(&server, cases);
    assert_eq!(fs::read(&memory.path).expect("memory"), [0; 64]);
    server.stop();
}

/// A request whose JSON has a key twice.
fn right_place_twice() -> String {
    let parameters = json!({"shared_memory_region": "r", "shared_memory_byte_size": 16});
    let once = "\"shared_memory_region\":\"r\"";
    in_shared_memory(parameters).replace(once, &format!("{once},{once}"))
}
