//! What the server and its models say about themselves, in the protocol's own messages; each door
//! writes them in its own way.

use std::collections::BTreeMap;

use super::{Stage, admit::Admitted};
use crate::{
    error::{Error, Result},
    inference::{BatchSnapshot, DurationSnapshot, ResponseSnapshot},
    model::Model,
    model_config::ModelConfig,
    proto::inference::{self as pb, model_metadata_response::TensorMetadata},
    shared_memory::RegionKind,
    tensor::{Datatype, Shape},
};

/// What is there of Triton's list, in Triton's order and words.
const EXTENSIONS: [&str; 11] = [
    "classification",
    "model_repository",
    "schedule_policy",
    "model_configuration",
    SYSTEM_SHARED_MEMORY,
    CUDA_SHARED_MEMORY,
    "binary_tensor_data",
    "parameters",
    "statistics",
    "trace",
    "logging",
];

const SYSTEM_SHARED_MEMORY: &str = "system_shared_memory";
const CUDA_SHARED_MEMORY: &str = "cuda_shared_memory";

impl Admitted<'_> {
    /// Whether the server takes inference requests.
    ///
    /// # Errors
    /// `Unavailable` while the server is exiting.
    pub(super) fn ready(&self) -> Result<bool> {
        self.refuse_when_exiting()?;
        Ok(self.readiness.stage() == Stage::Ready && (!self.strict_readiness || self.all_ready()))
    }

    /// The server's name, version, and the extensions that it has as it was started.
    pub(super) fn server_metadata(&self) -> pb::ServerMetadataResponse {
        let is_there = |extension: &&str| match *extension {
            SYSTEM_SHARED_MEMORY => self.offers(RegionKind::System),
            CUDA_SHARED_MEMORY => self.offers(RegionKind::Cuda),
            _ => true,
        };
        pb::ServerMetadataResponse {
            name: self.server_name.clone(),
            version: self.server_version.clone(),
            extensions: EXTENSIONS
                .into_iter()
                .filter(is_there)
                .map(str::to_owned)
                .collect(),
        }
    }

    /// The model's tensors, and its versions that are ready (or only the one asked for).
    ///
    /// # Errors
    /// As [`Admitted::resolve`].
    pub(super) fn model_metadata(&self, version: Option<u64>) -> Result<pb::ModelMetadataResponse> {
        let model = self.resolve(version)?;
        let versions = version.map_or_else(|| self.ready_versions(), |only| vec![only]);
        Ok(model_metadata(model.config(), &versions))
    }

    /// The model's complete configuration.
    ///
    /// # Errors
    /// As [`Admitted::resolve`].
    pub(super) fn model_config(&self, version: Option<u64>) -> Result<pb::ModelConfig> {
        Ok(self.resolve(version)?.config().proto.clone())
    }

    /// What the model's versions that are ready have done, or those of all models.
    ///
    /// # Errors
    /// `InvalidArgument` if the model or version that is asked for is not ready, `Unavailable`
    /// while the server is exiting.
    pub(super) fn statistics(&self, version: Option<u64>) -> Result<pb::ModelStatisticsResponse> {
        self.refuse_when_exiting()?;
        let name = self.model();
        let mut models = self.ready_models();
        if !name.is_empty() {
            models.retain(|model| &**model.name() == name);
            if models.is_empty() {
                return Err(not_available(format!(
                    "requested model '{}' is not available",
                    super::excerpt(name)
                )));
            }
            models.retain(|model| version.is_none_or(|version| version == model.version()));
            if models.is_empty() {
                return Err(not_available(format!(
                    "requested model version is not available for model '{name}'"
                )));
            }
        }
        Ok(pb::ModelStatisticsResponse {
            model_stats: models.iter().map(|model| model_statistics(model)).collect(),
        })
    }

    /// The repository index.
    pub(super) fn index(&self, ready_only: bool) -> pb::RepositoryIndexResponse {
        let row =
            |entry: crate::repository::IndexEntry| pb::repository_index_response::ModelIndex {
                name: entry.name.as_str().to_owned(),
                version: entry.version.map_or_else(String::new, |v| v.to_string()),
                state: entry
                    .state
                    .map_or_else(String::new, |state| state.name().to_owned()),
                reason: entry.reason,
            };
        pb::RepositoryIndexResponse {
            models: self.entries(ready_only).into_iter().map(row).collect(),
        }
    }
}

/// The error for a `repository_name` in a repository call, which no server of this kind has.
pub(super) fn named_repository() -> Error {
    Error::unimplemented(
        "repository_name",
        "'repository_name' specification is not supported",
    )
}

fn not_available(message: String) -> Error {
    Error::invalid_argument("statistics_not_available", message)
}

fn model_metadata(config: &ModelConfig, versions: &[u64]) -> pb::ModelMetadataResponse {
    let tensor = |name: &str, datatype: Datatype, dims: &Shape| TensorMetadata {
        name: name.to_owned(),
        datatype: datatype.name().to_owned(),
        shape: if config.max_batch_size > 0 {
            dims.with_leading(-1).to_vec()
        } else {
            dims.to_vec()
        },
    };
    pb::ModelMetadataResponse {
        name: config.name.clone(),
        versions: versions.iter().map(u64::to_string).collect(),
        platform: if config.platform.is_empty() {
            config.backend.clone()
        } else {
            config.platform.clone()
        },
        inputs: config
            .inputs
            .iter()
            .map(|input| tensor(&input.name, input.datatype, &input.dims))
            .collect(),
        outputs: config
            .outputs
            .iter()
            .map(|output| tensor(&output.name, output.datatype, &output.dims))
            .collect(),
    }
}

fn model_statistics(model: &Model) -> pb::ModelStatistics {
    let snapshot = model.statistics().snapshot();
    pb::ModelStatistics {
        name: model.name().as_str().to_owned(),
        version: model.version().to_string(),
        last_inference: snapshot.last_inference,
        inference_count: snapshot.inference_count,
        execution_count: snapshot.execution_count,
        inference_stats: Some(pb::InferStatistics {
            success: duration(snapshot.success),
            fail: duration(snapshot.fail),
            queue: duration(snapshot.queue),
            compute_input: duration(snapshot.compute_input),
            compute_infer: duration(snapshot.compute_infer),
            compute_output: duration(snapshot.compute_output),
            cache_hit: duration(DurationSnapshot::default()),
            cache_miss: duration(DurationSnapshot::default()),
        }),
        batch_stats: snapshot
            .batches
            .iter()
            .map(|(&batch_size, batch)| batch_statistics(batch_size, batch))
            .collect(),
        response_stats: model
            .statistics()
            .responses()
            .snapshot()
            .iter()
            .enumerate()
            .map(|(index, response)| (index.to_string(), response_statistics(response)))
            .collect(),
        memory_usage: memory_usage(model),
    }
}

/// What its instances hold of each GPU, for whatever purpose. What they hold on the host is not known.
fn memory_usage(model: &Model) -> Vec<pb::MemoryUsage> {
    let mut sums = BTreeMap::<u32, u64>::new();
    for account in model.accounts() {
        let ordinal = account.device().context().ordinal();
        let sum = sums.entry(ordinal).or_default();
        *sum = sum.saturating_add(account.total_byte_size());
    }
    sums.into_iter()
        .map(|(ordinal, byte_size)| pb::MemoryUsage {
            r#type: "GPU".to_owned(),
            id: ordinal.into(),
            byte_size,
        })
        .collect()
}

fn response_statistics(response: &ResponseSnapshot) -> pb::InferResponseStatistics {
    pb::InferResponseStatistics {
        compute_infer: duration(response.compute_infer),
        compute_output: duration(response.compute_output),
        success: duration(response.success),
        fail: duration(response.fail),
        empty_response: duration(response.empty_response),
        cancel: duration(response.cancel),
    }
}

fn batch_statistics(batch_size: usize, batch: &BatchSnapshot) -> pb::InferBatchStatistics {
    pb::InferBatchStatistics {
        batch_size: u64::try_from(batch_size).unwrap_or(u64::MAX),
        compute_input: duration(batch.compute_input),
        compute_infer: duration(batch.compute_infer),
        compute_output: duration(batch.compute_output),
    }
}

fn duration(snapshot: DurationSnapshot) -> Option<pb::StatisticDuration> {
    Some(pb::StatisticDuration {
        count: snapshot.count,
        ns: snapshot.nanoseconds,
    })
}

#[cfg(test)]
mod tests {
    use super::model_metadata;
    use crate::{
        admission::Verb,
        api::tests::{caller, model_config},
        tensor::Datatype,
    };

    #[test]
    fn lists_only_extensions_that_are_there() {
        let caller = caller();
        let api = caller.admit(Verb::Metadata, "").unwrap();
        let metadata = api.server_metadata();
        assert_eq!((&*metadata.name, &*metadata.version), ("triton", "1.2.3"));
        assert!(
            metadata
                .extensions
                .contains(&"binary_tensor_data".to_owned())
        );
        // Shared memory is off unless it is turned on.
        assert!(
            !metadata
                .extensions
                .iter()
                .any(|name| name.contains("shared_memory"))
        );
    }

    #[test]
    fn shapes_have_a_batch_dimension_if_the_model_batches() {
        let shape = |max_batch_size| {
            let config = model_config(max_batch_size, &[("IN", Datatype::Fp32, &[2])]);
            let metadata = model_metadata(&config, &[1, 3]);
            assert_eq!(metadata.platform, "identity");
            assert_eq!(metadata.versions, ["1", "3"]);
            metadata.inputs[0].shape.clone()
        };
        assert_eq!(shape(0), [2]);
        assert_eq!(shape(1), [-1, 2]);
    }

    #[test]
    fn statistics_of_an_unknown_model_are_an_invalid_argument() {
        let caller = caller();
        let api = |model| caller.admit(Verb::Statistics, model).unwrap();
        let error = api("m").statistics(None).unwrap_err();
        assert_eq!(error.message(), "requested model 'm' is not available");
        assert_eq!(error.kind(), crate::error::ErrorKind::InvalidArgument);
        assert!(api("").statistics(None).unwrap().model_stats.is_empty());
    }
}
