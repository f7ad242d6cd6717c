//! The OpenAPI document of the HTTP surface. It is made from one table of operations, which tests
//! hold against the routes: neither can have what the other does not.

use std::sync::LazyLock;

use bytes::Bytes;
use hyper::Response;
use serde_json::{Map, Value, json};

use super::answer;
use crate::{admission::Verb, api::body::Chunks};

/// A method on a path.
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    /// What a policy calls it.
    pub(super) verb: Verb,
    pub(super) summary: &'static str,
    /// The schema of the body, if it has one.
    request: Option<&'static str>,
    answer: Answer,
}

/// What comes back.
#[derive(Clone, Copy)]
enum Answer {
    /// A status alone.
    Nothing,
    /// JSON of this schema.
    Json(&'static str),
    /// JSON of this schema, and binary tensors behind it.
    Tensors(&'static str),
    /// A stream of events, each JSON of this schema.
    Events(&'static str),
}

/// The document.
pub(super) fn document() -> Response<Chunks> {
    static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| made().to_string().into());
    answer::json(DOCUMENT.clone())
}

const SCHEMAS: &str = include_str!("openapi_schemas.json");

const fn get(path: &'static str, verb: Verb, summary: &'static str, answer: Answer) -> Operation {
    Operation {
        method: "get",
        path,
        verb,
        summary,
        request: None,
        answer,
    }
}

const fn post(
    path: &'static str,
    verb: Verb,
    summary: &'static str,
    request: &'static str,
    answer: Answer,
) -> Operation {
    Operation {
        method: "post",
        path,
        verb,
        summary,
        request: Some(request),
        answer,
    }
}

/// Paths below a model, each of which is there with and without a version.
const MODEL: &str = "/v2/models/{model}";
const VERSION: &str = "/v2/models/{model}/versions/{version}";

use Answer::{Events, Json, Nothing, Tensors};

/// Operations that are there once.
#[rustfmt::skip]
const PLAIN: [Operation; 31] = [
    get("/livez", Verb::Health, "Whether the server should be restarted if not", Json("Probe")),
    get("/startupz", Verb::Health, "Whether the first models were loaded", Json("Probe")),
    get("/readyz", Verb::Health, "Whether the server should get requests", Json("Probe")),
    get("/v2", Verb::Metadata, "Name, version and extensions of the server", Json("ServerMetadata")),
    get("/v2/openapi.json", Verb::Metadata, "This document", Json("Any")),
    get("/v2/health/live", Verb::Health, "Whether the server lives", Json("Live")),
    get("/v2/health/ready", Verb::Health, "Whether the server is ready", Json("Ready")),
    get("/v2/models/stats", Verb::Statistics, "What all models have done", Json("Statistics")),
    post("/v2/repository/index", Verb::Index, "Models and their states", "IndexRequest", Json("Index")),
    post("/v2/repository/models/{model}/load", Verb::Load, "Load or reload a model", "LoadRequest", Nothing),
    post("/v2/repository/models/{model}/unload", Verb::Unload, "Unload a model", "UnloadRequest", Nothing),
    post("/v2/repository/{repository}/index", Verb::Index, "The same as without a name", "IndexRequest", Json("Index")),
    post("/v2/repository/{repository}/models/{model}/load", Verb::Index, "Not supported", "LoadRequest", Nothing),
    post("/v2/repository/{repository}/models/{model}/unload", Verb::Index, "Not supported", "UnloadRequest", Nothing),
    get("/v2/systemsharedmemory/status", Verb::SharedMemory, "All system regions", Json("SystemRegions")),
    get("/v2/systemsharedmemory/region/{region}/status", Verb::SharedMemory, "One system region", Json("SystemRegions")),
    post("/v2/systemsharedmemory/region/{region}/register", Verb::SharedMemory, "Register a system region", "SystemRegister", Nothing),
    post("/v2/systemsharedmemory/region/{region}/unregister", Verb::SharedMemory, "Unregister a system region", "Nothing", Nothing),
    post("/v2/systemsharedmemory/unregister", Verb::SharedMemory, "Unregister all system regions", "Nothing", Nothing),
    get("/v2/cudasharedmemory/status", Verb::SharedMemory, "All CUDA regions", Json("CudaRegions")),
    get("/v2/cudasharedmemory/region/{region}/status", Verb::SharedMemory, "One CUDA region", Json("CudaRegions")),
    post("/v2/cudasharedmemory/region/{region}/register", Verb::SharedMemory, "Register a CUDA region", "CudaRegister", Nothing),
    post("/v2/cudasharedmemory/region/{region}/unregister", Verb::SharedMemory, "Unregister a CUDA region", "Nothing", Nothing),
    post("/v2/cudasharedmemory/unregister", Verb::SharedMemory, "Unregister all CUDA regions", "Nothing", Nothing),
    get("/v2/trace/setting", Verb::Trace, "Trace settings of all models", Json("TraceSettings")),
    post("/v2/trace/setting", Verb::Trace, "Change trace settings of all models", "TraceChange", Json("TraceSettings")),
    get("/v2/models/{model}/trace/setting", Verb::Trace, "A model's trace settings", Json("TraceSettings")),
    post("/v2/models/{model}/trace/setting", Verb::Trace, "Change a model's trace settings", "TraceChange", Json("TraceSettings")),
    get("/v2/logging", Verb::Logging, "What is logged", Json("LogSettings")),
    post("/v2/logging", Verb::Logging, "Change what is logged", "LogSettings", Json("LogSettings")),
    get("/v2/", Verb::Metadata, "The same as without the slash", Json("ServerMetadata")),
];

/// Operations on a model or one of its versions; their paths follow the model's.
#[rustfmt::skip]
const OF_MODEL: [Operation; 7] = [
    get("", Verb::Metadata, "Versions, inputs and outputs", Json("ModelMetadata")),
    get("/ready", Verb::Health, "Whether it is ready", Json("ModelReady")),
    get("/config", Verb::Config, "The complete configuration", Json("Any")),
    get("/stats", Verb::Statistics, "What it has done", Json("Statistics")),
    post("/infer", Verb::Infer, "Run it on tensors", "InferRequest", Tensors("InferResponse")),
    post("/generate", Verb::Infer, "Run it on plain JSON", "GenerateRequest", Json("GenerateResponse")),
    post("/generate_stream", Verb::Infer, "The same, one event for each response", "GenerateRequest", Events("GenerateResponse")),
];

/// Every operation, with its whole path.
pub(super) fn operations() -> impl Iterator<Item = (String, &'static Operation)> {
    let plain = PLAIN.iter().map(|it| (it.path.to_owned(), it));
    let of_model = [MODEL, VERSION].into_iter().flat_map(|model| {
        let operations = OF_MODEL.iter();
        operations.map(move |it| (format!("{model}{}", it.path), it))
    });
    plain.chain(of_model)
}

/// Method, path and verb of each operation, as docs/api.md has them.
#[cfg(test)]
pub(in crate::api) fn rows() -> impl Iterator<Item = (String, &'static str)> {
    operations().map(|(path, operation)| {
        let method = operation.method.to_uppercase();
        (format!("{method} {path}"), operation.verb.name())
    })
}

fn made() -> Value {
    let mut paths = Map::new();
    for (path, operation) in operations() {
        let methods = paths.entry(path.clone()).or_insert_with(|| json!({}));
        methods[operation.method] = described(&path, operation);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Despina",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "KServe v2 with Triton's extensions. `x-verb` is what a policy calls an operation.",
        },
        "paths": paths,
        "components": { "schemas": schemas() },
    })
}

fn described(path: &str, operation: &Operation) -> Value {
    let content = |schema: &str| json!({"application/json": {"schema": {"$ref": format!("#/components/schemas/{schema}")}}});
    let done = match operation.answer {
        Nothing => json!({"description": "Done"}),
        Json(schema) => json!({"description": "Done", "content": content(schema)}),
        Tensors(schema) => {
            let mut content = content(schema);
            content["application/octet-stream"] = json!({});
            json!({"description": "JSON, and behind it the outputs that were asked for as binary data",
                   "content": content})
        }
        Events(schema) => {
            let schema = format!("#/components/schemas/{schema}");
            json!({"description": "Events", "content": {"text/event-stream": {"schema": {"$ref": schema}}}})
        }
    };
    let mut described = json!({
        "summary": operation.summary,
        "x-verb": operation.verb.name(),
        "responses": {
            "200": done,
            "default": {"description": "Refused or failed", "content": content("Error")},
        },
    });
    let parameters: Vec<_> = names(path)
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
        .collect();
    if !parameters.is_empty() {
        described["parameters"] = parameters.into();
    }
    if let Some(schema) = operation.request {
        described["requestBody"] = json!({"content": content(schema)});
    }
    described
}

/// The names in braces.
fn names(path: &str) -> impl Iterator<Item = &str> {
    let segments = path.split('/');
    segments.filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
}

/// Written by hand; a test reads it.
fn schemas() -> Value {
    serde_json::from_str(SCHEMAS).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use hyper::Method;

    use super::*;
    use crate::api::http::route::{self, Route};

    /// A path with something in the place of each name.
    fn filled(path: &str) -> String {
        names(path).fold(path.to_owned(), |filled, name| {
            let value = if name == "version" { "1" } else { "x" };
            filled.replace(&format!("{{{name}}}"), value)
        })
    }

    fn fits(template: &str, path: &str) -> bool {
        let (template, path) = (template.split('/'), path.split('/'));
        template.clone().count() == path.clone().count()
            && template
                .zip(path)
                .all(|(named, given)| named.starts_with('{') || named == given)
    }

    #[test]
    fn every_operation_is_a_route_of_that_verb_and_takes_no_other_method() {
        let paths: BTreeSet<_> = operations().map(|(path, _)| path).collect();
        for path in paths {
            let filled = filled(&path);
            let route = Route::new(&filled).unwrap().expect(&filled);
            for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE] {
                let mut all = operations();
                let described = all.find(|(other, operation)| {
                    *other == path && operation.method.eq_ignore_ascii_case(method.as_str())
                });
                assert_eq!(
                    route.allows(&method),
                    described.is_some(),
                    "{method} {path}"
                );
                if let Some((_, operation)) = described {
                    assert_eq!(route.verb(), operation.verb, "{path}");
                }
            }
        }
    }

    #[test]
    fn every_route_is_described() {
        for path in route::tests::paths() {
            let described = operations().any(|(template, _)| fits(&template, path));
            assert!(described, "{path}");
        }
    }

    #[test]
    fn every_schema_that_is_named_is_there_and_the_other_way_round() {
        let made = made();
        let schemas = made["components"]["schemas"].as_object().unwrap();
        let text = made.to_string();
        let named: BTreeSet<_> = text
            .split("#/components/schemas/")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .collect();
        let there: BTreeSet<_> = schemas.keys().map(String::as_str).collect();
        assert_eq!(named, there);
    }
}
