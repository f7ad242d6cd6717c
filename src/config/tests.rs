use super::*;
use crate::strict_yaml::parse;

const WRITTEN_OUT: &str = include_str!("../../config/server.yaml");

#[test]
fn the_shipped_file_writes_out_every_default() {
    assert_eq!(
        parse::<Config>(WRITTEN_OUT, "server.yaml").unwrap(),
        Config::default()
    );
    let written: serde_yaml::Value = serde_yaml::from_str(WRITTEN_OUT).unwrap();
    let all = serde_yaml::to_value(Config::default()).unwrap();
    assert_eq!(paths(&written, ""), paths(&all, ""));
}

fn paths(value: &serde_yaml::Value, at: &str) -> std::collections::BTreeSet<String> {
    match value {
        serde_yaml::Value::Mapping(fields) => fields
            .iter()
            .flat_map(|(key, value)| paths(value, &format!("{at}/{}", key.as_str().unwrap())))
            .collect(),
        _ => [at.to_owned()].into(),
    }
}

#[test]
fn an_empty_file_is_the_defaults() {
    assert_eq!(
        parse::<Config>("# nothing\n", "f").unwrap(),
        Config::default()
    );
}

#[test]
fn what_a_file_leaves_out_keeps_its_default() {
    let config: Config = parse("http:\n  port: 9000\n", "f").unwrap();
    assert_eq!(config.http.port, 9000);
    assert_eq!(config.http.address, "127.0.0.1");
    assert_eq!(config.grpc, Config::default().grpc);
}

#[test]
fn an_unknown_key_is_named_with_its_place_and_the_nearest_valid_one() {
    let error = parse::<Config>("id: x\nhttp:\n  prot: 1\n", "server.yaml")
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("server.yaml:3:3: http: unknown field `prot`"),
        "{error}"
    );
    assert!(error.ends_with("did you mean `port`?"), "{error}");
}

#[test]
fn a_mistyped_value_is_named_with_its_place() {
    let error = parse::<Config>("http:\n  port: many\n", "f")
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("f:2:9: http.port: invalid type: string \"many\""),
        "{error}"
    );
}

#[test]
fn one_request_must_fit_what_all_may_hold() {
    let mut config = Config::default();
    config.limits.in_flight_byte_size = 100;
    config.limits.request_byte_size = 101;
    assert!(
        config
            .check()
            .unwrap_err()
            .contains("in_flight_byte_size (100)")
    );
    config.limits.request_byte_size = 100;
    assert_eq!(config.check(), Ok(()));
}

#[test]
fn two_doors_cannot_share_a_port_unless_it_is_chosen_freely() {
    let mut config = Config::default();
    config.grpc.port = 8000;
    assert_eq!(
        config.check().unwrap_err(),
        "http and grpc would both listen on 127.0.0.1:8000"
    );
    config.grpc.port = 0;
    config.http.port = 0;
    assert_eq!(config.check(), Ok(()));
    config.http.enabled = false;
    config.grpc.enabled = false;
    assert!(config.check().is_err());
}

#[test]
fn the_front_doors_get_half_of_the_processors_or_what_is_set() {
    let mut config = Config::default();
    for (cpu_count, threads) in [(1, 1), (2, 1), (3, 1), (4, 2), (16, 8)] {
        assert_eq!(config.front_door_thread_count(cpu_count), threads);
    }
    config.front_door_threads = 3;
    assert_eq!(config.front_door_thread_count(2), 3);
    config.front_door_threads = 1025;
    assert!(config.check().unwrap_err().contains("the limit is 1024"));
}
