//! The questions over gRPC.

use anyhow::{Context, Result};

use super::{Batching, Control, Described, ModelStatistics, ask};
use crate::{
    perf::{
        model::is_sequential,
        request::framed,
        wire::{Calls, GrpcWire, HeaderBlock, Message, Out},
    },
    proto::inference::{self as pb, model_metadata_response::TensorMetadata},
};

impl Control {
    fn grpc<Answer: prost::Message + Default>(
        &self,
        method: &str,
        request: &impl prost::Message,
    ) -> Result<Answer> {
        let block = HeaderBlock::grpc(
            &self.authority,
            &grpc_path(method),
            &self.headers,
            self.connector.is_some(),
        );
        let mut out = Out::default();
        let mut wire = GrpcWire::open(Calls::Unary, block, 1, &mut out);
        let message = Message {
            bytes: framed(request),
            decoupled: false,
            marks: None,
        };
        let kept = ask(&mut self.connect()?, &mut wire, out, &message)?;
        Answer::decode(&kept.body[..]).with_context(|| format!("{method}: not a message"))
    }

    pub(super) fn grpc_server(&self) -> Result<(String, String)> {
        let answer: pb::ServerMetadataResponse =
            self.grpc("ServerMetadata", &pb::ServerMetadataRequest {})?;
        Ok((answer.name, answer.version))
    }

    pub(super) fn grpc_metadata(
        &self,
        name: &str,
        version: Option<u64>,
    ) -> Result<(Vec<Described>, Vec<Described>)> {
        let request = pb::ModelMetadataRequest {
            name: name.to_owned(),
            version: version_text(version),
        };
        let answer: pb::ModelMetadataResponse = self.grpc("ModelMetadata", &request)?;
        let tensors = |tensors: Vec<TensorMetadata>| {
            let tensors = tensors.into_iter().map(|tensor| Described {
                name: tensor.name,
                datatype: tensor.datatype,
                shape: tensor.shape,
            });
            tensors.collect()
        };
        Ok((tensors(answer.inputs), tensors(answer.outputs)))
    }

    pub(super) fn grpc_batching(&self, name: &str, version: Option<u64>) -> Result<Batching> {
        let request = pb::ModelConfigRequest {
            name: name.to_owned(),
            version: version_text(version),
        };
        let answer: pb::ModelConfigResponse = self.grpc("ModelConfig", &request)?;
        let config = answer.config.context("no configuration")?;
        let sequential = is_sequential(&config);
        let policy = config.model_transaction_policy;
        Ok(Batching {
            sequential,
            batched: config.max_batch_size > 0,
            decoupled: policy.is_some_and(|policy| policy.decoupled),
        })
    }

    pub(super) fn grpc_statistics(
        &self,
        name: &str,
        version: Option<u64>,
    ) -> Result<ModelStatistics> {
        let request = pb::ModelStatisticsRequest {
            name: name.to_owned(),
            version: version_text(version),
        };
        let answer: pb::ModelStatisticsResponse = self.grpc("ModelStatistics", &request)?;
        let mut sum = ModelStatistics::default();
        for version in answer.model_stats {
            sum.add(&of_message(&version));
        }
        Ok(sum)
    }

    pub(super) fn grpc_register_system(&self, name: &str, key: &str, byte_size: u64) -> Result<()> {
        let request = pb::SystemSharedMemoryRegisterRequest {
            name: name.to_owned(),
            key: key.to_owned(),
            offset: 0,
            byte_size,
        };
        let method = "SystemSharedMemoryRegister";
        let _: pb::SystemSharedMemoryRegisterResponse = self.grpc(method, &request)?;
        Ok(())
    }

    pub(super) fn grpc_register_cuda(
        &self,
        name: &str,
        handle: &[u8; 64],
        ordinal: u32,
        byte_size: u64,
    ) -> Result<()> {
        let request = pb::CudaSharedMemoryRegisterRequest {
            name: name.to_owned(),
            raw_handle: handle.to_vec(),
            device_id: ordinal.into(),
            byte_size,
        };
        let method = "CudaSharedMemoryRegister";
        let _: pb::CudaSharedMemoryRegisterResponse = self.grpc(method, &request)?;
        Ok(())
    }

    pub(super) fn grpc_unregister_cuda(&self, name: &str) -> Result<()> {
        let request = pb::CudaSharedMemoryUnregisterRequest {
            name: name.to_owned(),
        };
        let method = "CudaSharedMemoryUnregister";
        let _: pb::CudaSharedMemoryUnregisterResponse = self.grpc(method, &request)?;
        Ok(())
    }

    pub(super) fn grpc_unregister_system(&self, name: &str) -> Result<()> {
        let request = pb::SystemSharedMemoryUnregisterRequest {
            name: name.to_owned(),
        };
        let method = "SystemSharedMemoryUnregister";
        let _: pb::SystemSharedMemoryUnregisterResponse = self.grpc(method, &request)?;
        Ok(())
    }
}

/// The path of a method of the inference service.
pub(in crate::perf) fn grpc_path(method: &str) -> String {
    format!("/inference.GRPCInferenceService/{method}")
}

fn version_text(version: Option<u64>) -> String {
    version.map_or_else(String::new, |version| version.to_string())
}

fn of_message(message: &pb::ModelStatistics) -> ModelStatistics {
    let stats = message.inference_stats.unwrap_or_default();
    let pair = |duration: Option<pb::StatisticDuration>| {
        duration.map_or((0, 0), |duration| (duration.count, duration.ns))
    };
    ModelStatistics {
        inference_count: message.inference_count,
        execution_count: message.execution_count,
        success: pair(stats.success),
        fail: pair(stats.fail),
        queue: pair(stats.queue),
        compute_input: pair(stats.compute_input),
        compute_infer: pair(stats.compute_infer),
        compute_output: pair(stats.compute_output),
    }
}
