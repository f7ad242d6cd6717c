//! Which test shows which limit, at which door: a limit that is in the struct and not here fails.

use std::collections::BTreeSet;

use serde_yaml::Value;

use super::{access, control, counts, shared, sizes, streams, waiting};

/// A test that shows a limit from both sides.
type Shown = Option<fn()>;

/// Where there is none, that door has nothing of the kind: no JSON, no text with a length of its own, no
/// streams of requests.
const NOTHING_OF_THE_KIND: Shown = None;

/// Each limit, and the test that shows it over HTTP and over gRPC.
const EVERY: [(&str, Shown, Shown); 31] = [
    both("request_byte_size", sizes::bytes_of_a_request),
    both(
        "in_flight_byte_size",
        shared::bytes_in_flight_over_all_connections_and_both_doors,
    ),
    both("response_byte_size", sizes::bytes_of_an_answer),
    both("small_chunks_per_body", counts::small_pieces_of_a_body),
    both("decompressed_byte_size", sizes::bytes_after_decompression),
    both("decompression_ratio", sizes::the_ratio_of_decompression),
    both(
        "compressions",
        waiting::bodies_that_are_decompressed_at_a_time,
    ),
    http("json_byte_size", sizes::bytes_of_json),
    http("json_depth", counts::nesting_of_json),
    both("header_byte_size", sizes::bytes_of_header_fields),
    both("credential_byte_size", access::bytes_of_a_credential),
    both("principals", access::principals_with_quotas),
    both("tensors_per_request", counts::tensors_of_a_request),
    both("dims_per_tensor", counts::dimensions_of_a_tensor),
    both(
        "parameters",
        counts::parameters_of_a_request_and_of_a_tensor,
    ),
    both("classes_per_output", control::classes_of_an_output),
    both("text_byte_size", counts::lengths_of_texts),
    both("connections", shared::connections),
    grpc("streams_per_connection", streams::streams_of_a_connection),
    both("requests_per_connection", shared::requests_of_a_connection),
    grpc("messages_per_stream", shared::messages_of_a_stream),
    grpc(
        "requests_per_stream",
        streams::requests_in_flight_on_a_stream,
    ),
    grpc("stream_byte_size", streams::bytes_in_flight_on_a_stream),
    both("unread_responses", streams::responses_that_wait_to_be_read),
    both("header_timeout_seconds", shared::silence),
    both(
        "body_timeout_seconds",
        control::how_long_a_body_may_stop_arriving,
    ),
    both("shared_memory_regions", control::regions_of_shared_memory),
    both("handshakes", waiting::handshakes_under_way),
    both(
        "handshake_timeout_seconds",
        waiting::how_long_a_handshake_may_take,
    ),
    both(
        "config_byte_size",
        control::bytes_of_a_configuration_and_of_files,
    ),
    both(
        "load_file_byte_size",
        control::bytes_of_a_configuration_and_of_files,
    ),
];

const fn both(limit: &'static str, test: fn()) -> (&'static str, Shown, Shown) {
    (limit, Some(test), Some(test))
}

const fn http(limit: &'static str, test: fn()) -> (&'static str, Shown, Shown) {
    (limit, Some(test), NOTHING_OF_THE_KIND)
}

const fn grpc(limit: &'static str, test: fn()) -> (&'static str, Shown, Shown) {
    (limit, NOTHING_OF_THE_KIND, Some(test))
}

#[test]
fn every_limit_is_shown() {
    let limits = serde_yaml::to_value(despina::admission::Limits::default()).expect("limits");
    let limits = limits.as_mapping().expect("a mapping").keys();
    let limits: BTreeSet<_> = limits.filter_map(Value::as_str).collect();
    let shown: BTreeSet<_> = EVERY.iter().map(|(name, ..)| *name).collect();
    assert_eq!(limits, shown);
}
