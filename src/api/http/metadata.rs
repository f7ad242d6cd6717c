//! Health, metadata, configuration and statistics as JSON.

use std::collections::BTreeMap;

use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use super::answer;
use crate::{
    api::{admit::Admitted, body::Chunks},
    error::Result,
    model_config,
    proto::inference::{self as pb, model_metadata_response::TensorMetadata},
};

/// Answers while the process can: 200, and 503 while it is exiting. The bodies of this and the next two are
/// the Open Inference Protocol's; Triton sends none, and KServe's client cannot do without.
pub(super) fn live(api: &Admitted<'_>) -> Result<Response<Chunks>> {
    api.refuse_when_exiting()?;
    Ok(document(&json!({"live": true})))
}

/// 200 if the server is ready, 400 if it is not.
pub(super) fn ready(api: &Admitted<'_>) -> Result<Response<Chunks>> {
    let is_ready = api.ready()?;
    let mut response = document(&json!({"ready": is_ready}));
    if !is_ready {
        *response.status_mut() = StatusCode::BAD_REQUEST;
    }
    Ok(response)
}

/// 200 if the model is ready, otherwise the error of looking it up.
pub(super) fn model_ready(
    api: &Admitted<'_>,
    name: &str,
    version: Option<u64>,
) -> Result<Response<Chunks>> {
    api.model_ready(version)?;
    Ok(document(&json!({"name": name, "ready": true})))
}

/// The server's name, version and extensions.
pub(super) fn server(api: &Admitted<'_>) -> Response<Chunks> {
    let metadata = api.server_metadata();
    document(&json!({
        "name": metadata.name,
        "version": metadata.version,
        "extensions": metadata.extensions,
    }))
}

/// The model's versions and tensors.
pub(super) fn model(api: &Admitted<'_>, version: Option<u64>) -> Result<Response<Chunks>> {
    let metadata = api.model_metadata(version)?;
    let tensors = |tensors: &[TensorMetadata]| -> Vec<Value> {
        tensors
            .iter()
            .map(|tensor| {
                json!({
                    "name": tensor.name,
                    "datatype": tensor.datatype,
                    "shape": tensor.shape,
                })
            })
            .collect()
    };
    Ok(document(&json!({
        "name": metadata.name,
        "versions": metadata.versions,
        "platform": metadata.platform,
        "inputs": tensors(&metadata.inputs),
        "outputs": tensors(&metadata.outputs),
    })))
}

/// The model's complete configuration.
pub(super) fn config(api: &Admitted<'_>, version: Option<u64>) -> Result<Response<Chunks>> {
    let model = api.resolve(version)?;
    Ok(answer::json(model_config::to_json(&model.config().proto)))
}

/// What the model, or every model, has done.
pub(super) fn statistics(api: &Admitted<'_>, version: Option<u64>) -> Result<Response<Chunks>> {
    let statistics = api.statistics(version)?;
    let models: Vec<_> = statistics
        .model_stats
        .iter()
        .map(model_statistics)
        .collect();
    Ok(document(&json!({ "model_stats": models })))
}

/// `value` as an answer.
pub(super) fn document(value: &Value) -> Response<Chunks> {
    answer::json(value.to_string())
}

fn model_statistics(model: &pb::ModelStatistics) -> Value {
    let inference = model.inference_stats.as_ref();
    let total = |pick: fn(&pb::InferStatistics) -> Option<pb::StatisticDuration>| {
        duration(inference.and_then(pick))
    };
    let responses: BTreeMap<_, _> = model
        .response_stats
        .iter()
        .map(|(index, response)| (index, response_statistics(response)))
        .collect();
    let batches: Vec<_> = model.batch_stats.iter().map(batch_statistics).collect();
    let memory: Vec<_> = model.memory_usage.iter().map(memory_usage).collect();
    json!({
        "name": model.name,
        "version": model.version,
        "last_inference": model.last_inference,
        "inference_count": model.inference_count,
        "execution_count": model.execution_count,
        "inference_stats": {
            "success": total(|stats| stats.success),
            "fail": total(|stats| stats.fail),
            "queue": total(|stats| stats.queue),
            "compute_input": total(|stats| stats.compute_input),
            "compute_infer": total(|stats| stats.compute_infer),
            "compute_output": total(|stats| stats.compute_output),
            "cache_hit": total(|stats| stats.cache_hit),
            "cache_miss": total(|stats| stats.cache_miss),
        },
        "response_stats": responses,
        "batch_stats": batches,
        "memory_usage": memory,
    })
}

fn memory_usage(usage: &pb::MemoryUsage) -> Value {
    json!({ "type": usage.r#type, "id": usage.id, "byte_size": usage.byte_size })
}

fn response_statistics(response: &pb::InferResponseStatistics) -> Value {
    json!({
        "compute_infer": duration(response.compute_infer),
        "compute_output": duration(response.compute_output),
        "success": duration(response.success),
        "fail": duration(response.fail),
        "empty_response": duration(response.empty_response),
        "cancel": duration(response.cancel),
    })
}

fn batch_statistics(batch: &pb::InferBatchStatistics) -> Value {
    json!({
        "batch_size": batch.batch_size,
        "compute_input": duration(batch.compute_input),
        "compute_infer": duration(batch.compute_infer),
        "compute_output": duration(batch.compute_output),
    })
}

fn duration(duration: Option<pb::StatisticDuration>) -> Value {
    let duration = duration.unwrap_or_default();
    json!({ "count": duration.count, "ns": duration.ns })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_have_every_key_of_the_extension() {
        let some = |count, ns| Some(pb::StatisticDuration { count, ns });
        let value = model_statistics(&pb::ModelStatistics {
            name: "m".to_owned(),
            version: "1".to_owned(),
            inference_stats: Some(pb::InferStatistics {
                success: some(2, 30),
                ..Default::default()
            }),
            response_stats: [(
                "1".to_owned(),
                pb::InferResponseStatistics {
                    empty_response: some(3, 7),
                    ..Default::default()
                },
            )]
            .into(),
            batch_stats: vec![pb::InferBatchStatistics {
                batch_size: 4,
                compute_infer: some(1, 9),
                ..Default::default()
            }],
            memory_usage: vec![pb::MemoryUsage {
                r#type: "GPU".to_owned(),
                id: 3,
                byte_size: 77,
            }],
            ..Default::default()
        });
        assert_eq!(
            value["inference_stats"]["success"],
            json!({"count": 2, "ns": 30})
        );
        assert_eq!(
            value["inference_stats"]["cache_miss"],
            json!({"count": 0, "ns": 0})
        );
        let empty = &value["response_stats"]["1"]["empty_response"];
        assert_eq!(*empty, json!({"count": 3, "ns": 7}));
        assert_eq!(value["batch_stats"][0]["batch_size"], 4);
        assert_eq!(value["batch_stats"][0]["compute_infer"]["ns"], 9);
        let usage = json!([{"type": "GPU", "id": 3, "byte_size": 77}]);
        assert_eq!(value["memory_usage"], usage);
    }
}
