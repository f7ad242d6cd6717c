//! What `despina serve` prints once it is ready: where it listens, what it serves, and a line to
//! try it with.

use std::{fmt::Write, net::SocketAddr, sync::Arc, time::Duration};

use serde_json::{Value, json};

use crate::{
    model::Model,
    model_config::InputSpec,
    repository::{IndexEntry, VersionState},
    server::{Address, Server},
    tensor::Datatype,
};

/// A sample request with more elements would not fit a terminal.
const MAX_SAMPLE_ELEMENTS: usize = 64;

/// What follows the address of a gRPC door that is not the ordinary one.
const GRPC: &str = " (gRPC)";

/// The text, ending in a newline.
pub(super) fn banner(server: &Server, started_in: Duration) -> String {
    let mut text = format!(
        "despina {} ready in {} ms\n",
        env!("CARGO_PKG_VERSION"),
        started_in.as_millis()
    );
    let addresses = server.addresses();
    for (name, address, suffix) in [
        ("http", addresses.http, ""),
        ("grpc", addresses.grpc, ""),
        ("metrics", addresses.metrics, "/metrics"),
        ("manage", addresses.management_http, ""),
        ("manage", addresses.management_grpc, GRPC),
    ] {
        if let Some(Address {
            socket,
            is_encrypted,
        }) = address
        {
            let is_grpc = name == "grpc" || suffix == GRPC;
            let scheme = match (is_grpc, is_encrypted) {
                (true, false) => "",
                (false, false) => "http://",
                (true, true) => "tls://",
                (false, true) => "https://",
            };
            push(
                &mut text,
                format_args!("  {name:<8} {scheme}{socket}{suffix}"),
            );
        }
    }
    let index = server.registry().index(false);
    push(&mut text, format_args!("  models"));
    for entry in &index {
        push(&mut text, format_args!("    {}", row(entry)));
    }
    if index.is_empty() {
        push(&mut text, format_args!("    none"));
    }
    if let Some(http) = addresses.http
        && !http.is_encrypted
        && let Some(line) = curl(http.socket, &server.registry().ready_models())
    {
        push(&mut text, format_args!("  try it\n    {line}"));
    }
    text
}

fn row(entry: &IndexEntry) -> String {
    let version = entry
        .version
        .map_or_else(String::new, |version| version.to_string());
    let state = entry.state.map_or("not loaded", VersionState::name);
    let reason = if entry.reason.is_empty() {
        String::new()
    } else {
        format!("  {}", entry.reason)
    };
    format!("{:<24} {version:>4}  {state}{reason}", entry.name.as_str())
}

/// A `curl` command for the model with the shortest sample request.
fn curl(address: SocketAddr, models: &[Arc<Model>]) -> Option<String> {
    let body = |model: &Arc<Model>| {
        let config = model.config();
        let inputs: Option<Vec<_>> = config
            .inputs
            .iter()
            .filter(|input| !input.optional)
            .map(|input| sample(input, config.max_batch_size > 0))
            .collect();
        Some((
            model.name().clone(),
            json!({ "inputs": inputs? }).to_string(),
        ))
    };
    let (name, body) = models
        .iter()
        .filter_map(body)
        .min_by_key(|(_, body)| body.len())?;
    let name = percent_encoding::utf8_percent_encode(&name, percent_encoding::NON_ALPHANUMERIC)
        .to_string();
    // What a model may be called is escaped; underscores need not be.
    let name = name
        .replace("%5F", "_")
        .replace("%2D", "-")
        .replace("%2E", ".");
    let body = body.replace('\'', "'\\''");
    Some(format!(
        "curl -s http://{address}/v2/models/{name}/infer -d '{body}'"
    ))
}

fn sample(input: &InputSpec, batched: bool) -> Option<Value> {
    let mut shape: Vec<i64> = input.dims.iter().map(|&dim| dim.max(1)).collect();
    if batched {
        shape.insert(0, 1);
    }
    let elements = shape.iter().try_fold(1_usize, |count, &dim| {
        count.checked_mul(usize::try_from(dim).ok()?)
    })?;
    let element = match input.datatype {
        Datatype::Bool => json!(false),
        Datatype::Bytes => json!("a line of text"),
        _ => json!(0),
    };
    (elements <= MAX_SAMPLE_ELEMENTS).then(|| {
        json!({
            "name": &*input.name,
            "shape": shape,
            "datatype": input.datatype.name(),
            "data": vec![element; elements],
        })
    })
}

fn push(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a `String` cannot fail.
    let _ = writeln!(text, "{line}");
}
