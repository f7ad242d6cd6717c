//! The generated service traits, each method handed on to where it is written.

use std::{pin::Pin, time::Instant};

use tonic::{Request, Response, Status, Streaming, async_trait, codegen::tokio_stream};

use super::{Door, control, health, infer, settings, shared_memory};
use crate::{
    api::{
        status,
        trace::{self, Watched},
    },
    error::Result,
    proto::{
        health::{HealthCheckRequest, HealthCheckResponse, health_server::Health},
        inference::{self as pb, grpc_inference_service_server::GrpcInferenceService},
    },
};

type BoxStream<T> =
    Pin<Box<dyn tokio_stream::Stream<Item = std::result::Result<T, Status>> + Send>>;
type Reply<T> = std::result::Result<Response<T>, Status>;

/// Ends a call: one line in the log, and the error as a status.
fn reply<T>(method: &'static str, started: Option<Instant>, result: Result<T>) -> Reply<T> {
    let reply = result.map_err(|error| status::grpc(&error));
    log_call(method, started, reply.as_ref().err());
    reply.map(Response::new)
}

/// One line a call, if it is wanted.
pub(super) fn log_call(method: &str, started: Option<Instant>, status: Option<&Status>) {
    if let Some(started) = started {
        let microseconds = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let code = status.map_or(tonic::Code::Ok, Status::code);
        tracing::debug!(method, ?code, microseconds, "grpc");
    }
}

/// When the call began, if its line is wanted.
pub(super) fn started() -> Option<Instant> {
    tracing::enabled!(tracing::Level::DEBUG).then(Instant::now)
}

#[async_trait]
impl Health for Door {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Reply<HealthCheckResponse> {
        reply(
            "Check",
            started(),
            health::check(&self.caller(request.extensions())),
        )
    }

    type WatchStream = BoxStream<HealthCheckResponse>;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Reply<Self::WatchStream> {
        let watched = health::watch(self.caller(request.extensions()));
        let stream = watched.map(|stream| Box::pin(stream) as Self::WatchStream);
        reply("Watch", started(), stream)
    }
}

#[async_trait]
impl GrpcInferenceService for Door {
    /// Not on the way of a request: the door answers this method in `unary`, with fewer copies.
    async fn model_infer(
        &self,
        request: Request<pb::ModelInferRequest>,
    ) -> Reply<pb::ModelInferResponse> {
        let started = started();
        let caller = self.caller(request.extensions());
        let mut watched = Watched::new(&trace::GRPC, &caller);
        let result = infer::infer(&caller, request.into_inner(), &mut watched).await;
        reply("ModelInfer", started, result)
    }

    /// Nothing: this method never gets here, the door answers it in `stream`.
    type ModelStreamInferStream =
        tokio_stream::Empty<std::result::Result<pb::ModelStreamInferResponse, Status>>;

    async fn model_stream_infer(
        &self,
        _: Request<Streaming<pb::ModelInferRequest>>,
    ) -> Reply<Self::ModelStreamInferStream> {
        Err(Status::internal("ModelStreamInfer is not answered here"))
    }

    async fn server_live(
        &self,
        request: Request<pb::ServerLiveRequest>,
    ) -> Reply<pb::ServerLiveResponse> {
        reply(
            "ServerLive",
            started(),
            control::server_live(&self.caller(request.extensions())),
        )
    }

    async fn server_ready(
        &self,
        request: Request<pb::ServerReadyRequest>,
    ) -> Reply<pb::ServerReadyResponse> {
        reply(
            "ServerReady",
            started(),
            control::server_ready(&self.caller(request.extensions())),
        )
    }

    async fn model_ready(
        &self,
        request: Request<pb::ModelReadyRequest>,
    ) -> Reply<pb::ModelReadyResponse> {
        let started = started();
        reply(
            "ModelReady",
            started,
            control::model_ready(&self.caller(request.extensions()), request.get_ref()),
        )
    }

    async fn server_metadata(
        &self,
        request: Request<pb::ServerMetadataRequest>,
    ) -> Reply<pb::ServerMetadataResponse> {
        let result = control::server_metadata(&self.caller(request.extensions()));
        reply("ServerMetadata", started(), result)
    }

    async fn model_metadata(
        &self,
        request: Request<pb::ModelMetadataRequest>,
    ) -> Reply<pb::ModelMetadataResponse> {
        let started = started();
        reply(
            "ModelMetadata",
            started,
            control::model_metadata(&self.caller(request.extensions()), request.get_ref()),
        )
    }

    async fn model_config(
        &self,
        request: Request<pb::ModelConfigRequest>,
    ) -> Reply<pb::ModelConfigResponse> {
        let started = started();
        reply(
            "ModelConfig",
            started,
            control::model_config(&self.caller(request.extensions()), request.get_ref()),
        )
    }

    async fn model_statistics(
        &self,
        request: Request<pb::ModelStatisticsRequest>,
    ) -> Reply<pb::ModelStatisticsResponse> {
        let started = started();
        reply(
            "ModelStatistics",
            started,
            control::statistics(&self.caller(request.extensions()), request.get_ref()),
        )
    }

    async fn repository_index(
        &self,
        request: Request<pb::RepositoryIndexRequest>,
    ) -> Reply<pb::RepositoryIndexResponse> {
        let started = started();
        let result = control::index(&self.caller(request.extensions()), request.get_ref()).await;
        reply("RepositoryIndex", started, result)
    }

    /// Not on the way of a request: the door answers this method in `load`.
    async fn repository_model_load(
        &self,
        request: Request<pb::RepositoryModelLoadRequest>,
    ) -> Reply<pb::RepositoryModelLoadResponse> {
        let started = started();
        let caller = self.caller(request.extensions());
        let result = control::load(&caller, request.into_inner()).await;
        reply("RepositoryModelLoad", started, result)
    }

    async fn repository_model_unload(
        &self,
        request: Request<pb::RepositoryModelUnloadRequest>,
    ) -> Reply<pb::RepositoryModelUnloadResponse> {
        let started = started();
        let caller = self.caller(request.extensions());
        let result = control::unload(&caller, request.into_inner()).await;
        reply("RepositoryModelUnload", started, result)
    }

    async fn system_shared_memory_status(
        &self,
        request: Request<pb::SystemSharedMemoryStatusRequest>,
    ) -> Reply<pb::SystemSharedMemoryStatusResponse> {
        let started = started();
        let result =
            shared_memory::system_status(&self.caller(request.extensions()), request.get_ref());
        reply("SystemSharedMemoryStatus", started, result)
    }

    async fn system_shared_memory_register(
        &self,
        request: Request<pb::SystemSharedMemoryRegisterRequest>,
    ) -> Reply<pb::SystemSharedMemoryRegisterResponse> {
        let started = started();
        let result =
            shared_memory::register_system(&self.caller(request.extensions()), request.get_ref());
        reply("SystemSharedMemoryRegister", started, result)
    }

    async fn system_shared_memory_unregister(
        &self,
        request: Request<pb::SystemSharedMemoryUnregisterRequest>,
    ) -> Reply<pb::SystemSharedMemoryUnregisterResponse> {
        let started = started();
        let result =
            shared_memory::unregister_system(&self.caller(request.extensions()), request.get_ref());
        reply("SystemSharedMemoryUnregister", started, result)
    }

    async fn cuda_shared_memory_status(
        &self,
        request: Request<pb::CudaSharedMemoryStatusRequest>,
    ) -> Reply<pb::CudaSharedMemoryStatusResponse> {
        let started = started();
        let result =
            shared_memory::cuda_status(&self.caller(request.extensions()), request.get_ref());
        reply("CudaSharedMemoryStatus", started, result)
    }

    async fn cuda_shared_memory_register(
        &self,
        request: Request<pb::CudaSharedMemoryRegisterRequest>,
    ) -> Reply<pb::CudaSharedMemoryRegisterResponse> {
        let started = started();
        let result = {
            let caller = self.caller(request.extensions());
            shared_memory::register_cuda(&caller, request.into_inner()).await
        };
        reply("CudaSharedMemoryRegister", started, result)
    }

    async fn cuda_shared_memory_unregister(
        &self,
        request: Request<pb::CudaSharedMemoryUnregisterRequest>,
    ) -> Reply<pb::CudaSharedMemoryUnregisterResponse> {
        let started = started();
        let result =
            shared_memory::unregister_cuda(&self.caller(request.extensions()), request.get_ref());
        reply("CudaSharedMemoryUnregister", started, result)
    }

    async fn trace_setting(
        &self,
        request: Request<pb::TraceSettingRequest>,
    ) -> Reply<pb::TraceSettingResponse> {
        let started = started();
        let caller = self.caller(request.extensions());
        let result = settings::trace(&caller, request.into_inner());
        reply("TraceSetting", started, result)
    }

    async fn log_settings(
        &self,
        request: Request<pb::LogSettingsRequest>,
    ) -> Reply<pb::LogSettingsResponse> {
        let started = started();
        let caller = self.caller(request.extensions());
        let result = settings::logging(&caller, request.into_inner());
        reply("LogSettings", started, result)
    }
}
