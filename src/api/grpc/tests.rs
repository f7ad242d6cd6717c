//! The gRPC door on a real socket, with no model behind it.

use std::sync::Arc;

use prost_reflect::DescriptorPool;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use tonic::{
    Code,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};

use crate::{
    admission::{Gate, Policy},
    api::{Api, Port, Stage, grpc, tests::empty_api},
    proto::{
        DESCRIPTORS,
        health::{
            HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
        },
        inference::{self as pb, grpc_inference_service_client::GrpcInferenceServiceClient},
    },
};

struct Door {
    channel: Channel,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

impl Door {
    async fn grpc(api: &Arc<Api>) -> Self {
        Self::at(api, |port| port).await
    }

    /// One at the port that `change` makes.
    async fn at(api: &Arc<Api>, change: fn(Port) -> Port) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let port = change(Port::new(listener, None));
        let served = grpc::serve(port, Arc::clone(api), async { drop(stopped.await) });
        let served = tokio::spawn(served);
        Self {
            channel: Endpoint::from_shared(address)
                .unwrap()
                .connect()
                .await
                .unwrap(),
            stop,
            served,
        }
    }

    fn inference(&self) -> GrpcInferenceServiceClient<Channel> {
        GrpcInferenceServiceClient::new(self.channel.clone())
    }
}

#[tokio::test]
async fn grpc_answers_without_any_model() {
    let api = empty_api();
    let door = Door::grpc(&api).await;
    let mut client = door.inference();
    let live = client.server_live(pb::ServerLiveRequest {}).await;
    assert!(live.unwrap().get_ref().live);
    let ready = client.model_ready(pb::ModelReadyRequest {
        name: "m".to_owned(),
        version: String::new(),
    });
    assert!(!ready.await.unwrap().get_ref().ready);
    let infer = |version: &str| pb::ModelInferRequest {
        model_name: "m".to_owned(),
        model_version: version.to_owned(),
        ..Default::default()
    };
    let unknown = client.model_infer(infer("")).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    assert_eq!(
        unknown.message(),
        "Request for unknown model: 'm' is not found"
    );
    let version = client.model_infer(infer("x")).await.unwrap_err();
    assert_eq!(version.code(), Code::InvalidArgument);
    let logging = client.log_settings(pb::LogSettingsRequest::default()).await;
    assert_eq!(logging.unwrap().into_inner().settings.len(), 6);
    let requests = tonic::codegen::tokio_stream::once(infer(""));
    let stream = client.model_stream_infer(requests).await;
    let mut stream = stream.unwrap().into_inner();
    let answer = stream.message().await.unwrap().unwrap();
    assert_eq!(answer.error_message, unknown.message());
    assert!(stream.message().await.unwrap().is_none());
    let named = client.repository_index(pb::RepositoryIndexRequest {
        repository_name: "r".to_owned(),
        ready: false,
    });
    assert_eq!(named.await.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test]
async fn reflection_describes_the_services_to_who_may_see_them() {
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let ask = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let door = Door::grpc(&empty_api()).await;
    let mut client = ServerReflectionClient::new(door.channel.clone());
    let asked = tonic::codegen::tokio_stream::once(ask.clone());
    let mut answers = client
        .server_reflection_info(asked)
        .await
        .unwrap()
        .into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(services)) = answer else {
        panic!("no list of services")
    };
    let mut names: Vec<_> = services.service.into_iter().map(|it| it.name).collect();
    names.sort();
    let expected = [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "inference.GRPCInferenceService",
    ];
    assert_eq!(names, expected);

    let mut api = empty_api();
    Arc::get_mut(&mut api).unwrap().gate = Gate::guarded(Policy::default());
    let door = Door::grpc(&api).await;
    let mut client = ServerReflectionClient::new(door.channel.clone());
    let asked = tonic::codegen::tokio_stream::once(ask);
    let refused = client.server_reflection_info(asked).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_watched_servers_changes_are_told_and_its_end_ends_the_stream() {
    let api = empty_api();
    api.readiness.set(Stage::Starting);
    let door = Door::grpc(&api).await;
    let mut health = HealthClient::new(door.channel.clone());
    let stream = health.watch(HealthCheckRequest::default()).await.unwrap();
    let mut stream = stream.into_inner();
    let mut next = async || stream.message().await.unwrap().map(|told| told.status());
    assert_eq!(next().await, Some(ServingStatus::NotServing));
    api.readiness.set(Stage::Ready);
    assert_eq!(next().await, Some(ServingStatus::Serving));
    api.readiness.set(Stage::Exiting);
    assert_eq!(next().await, Some(ServingStatus::NotServing));
    assert_eq!(next().await, None);
    door.stop.send(()).unwrap();
    door.served.await.unwrap();
}

#[tokio::test]
async fn messages_beyond_the_limit_are_refused() {
    let mut api = empty_api();
    Arc::get_mut(&mut api).unwrap().limits.request_byte_size = 1000;
    let door = Door::grpc(&api).await;
    let large = pb::ModelInferRequest {
        raw_input_contents: vec![vec![0; 100_000].into()],
        ..Default::default()
    };
    let error = door.inference().model_infer(large).await.unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn an_exiting_server_is_unavailable_and_then_closes() {
    let api = empty_api();
    let door = Door::grpc(&api).await;
    let mut health = HealthClient::new(door.channel.clone());
    let serving = health.check(HealthCheckRequest::default()).await.unwrap();
    assert_eq!(serving.get_ref().status, 1);
    api.readiness.set(Stage::Exiting);
    let error = door
        .inference()
        .server_ready(pb::ServerReadyRequest::default())
        .await;
    let error = error.unwrap_err();
    assert_eq!(
        (error.code(), error.message()),
        (Code::Unavailable, "Server exiting")
    );
    door.stop.send(()).unwrap();
    door.served.await.unwrap();
}

/// docs/api.md says of every route and every method what a policy calls it.
#[tokio::test]
async fn the_published_table_is_what_the_doors_answer() {
    let mut api = empty_api();
    Arc::get_mut(&mut api).unwrap().gate = Gate::guarded(Policy::default());
    let door = Door::grpc(&api).await;
    let mut client = Grpc::new(door.channel.clone());
    let mut rows: Vec<_> = crate::api::http::rows()
        .map(|(call, verb)| format!("| `{call}` | `{verb}` |"))
        .collect();
    for service in DescriptorPool::decode(DESCRIPTORS).unwrap().services() {
        for method in service.methods() {
            let call = format!("{}/{}", service.full_name(), method.name());
            client.ready().await.unwrap();
            let path = PathAndQuery::try_from(format!("/{call}")).unwrap();
            let codec = tonic_prost::ProstCodec::<(), ()>::default();
            let refused = client.unary(tonic::Request::new(()), path, codec).await;
            let refused = refused.expect_err(&call);
            let verb = refused.message().split('\'').nth(1).expect(&call);
            rows.push(format!("| `{call}` | `{verb}` |"));
        }
    }
    let published = include_str!("../../../docs/api.md");
    let published = published.lines().filter(|line| line.starts_with("| `"));
    let published: Vec<_> = published.collect();
    assert_eq!(
        published,
        rows,
        "docs/api.md should have:\n{}",
        rows.join("\n")
    );
}

#[tokio::test]
async fn every_method_passes_the_gate() {
    let mut api = empty_api();
    Arc::get_mut(&mut api).unwrap().gate = Gate::guarded(Policy::default());
    let door = Door::grpc(&api).await;
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let mut client = Grpc::new(door.channel.clone());
    let mut count = 0;
    for service in pool.services() {
        for method in service.methods() {
            let path = format!("/{}/{}", service.full_name(), method.name());
            let codec = tonic_prost::ProstCodec::<(), ()>::default();
            client.ready().await.unwrap();
            let answer = client
                .unary(
                    tonic::Request::new(()),
                    PathAndQuery::try_from(path.clone()).unwrap(),
                    codec,
                )
                .await;
            let status = answer.expect_err(&path);
            assert_eq!(status.code(), Code::Unauthenticated, "{path}: {status}");
            count += 1;
        }
    }
    assert!(count > 20, "{count} methods");
}

#[tokio::test]
async fn every_method_of_management_is_answered_at_its_listener_only() {
    let mut api = empty_api();
    Arc::get_mut(&mut api).unwrap().has_management = true;
    let ordinary = Door::grpc(&api).await;
    let management = Door::at(&api, Port::for_management).await;
    let elsewhere = async |door: &Door, path: &str| {
        let mut client = Grpc::new(door.channel.clone());
        client.ready().await.unwrap();
        let path = PathAndQuery::try_from(path).unwrap();
        let codec = tonic_prost::ProstCodec::<(), ()>::default();
        let answer = client.unary(tonic::Request::new(()), path, codec).await;
        let refused = answer.err().filter(|status| {
            let message = status.message();
            message.contains("by the management listener only")
        });
        refused.map(|status| status.code())
    };
    let mut methods = Vec::new();
    for service in DescriptorPool::decode(DESCRIPTORS).unwrap().services() {
        // Watching the server never ends.
        for method in service.methods().filter(|it| it.name() != "Watch") {
            let path = format!("/{}/{}", service.full_name(), method.name());
            match elsewhere(&ordinary, &path).await {
                None => {}
                Some(code) => {
                    assert_eq!(code, Code::Unimplemented, "{path}");
                    methods.push(method.name().to_owned());
                }
            }
            assert_eq!(elsewhere(&management, &path).await, None, "{path}");
        }
    }
    let expected = [
        "CudaSharedMemoryRegister",
        "CudaSharedMemoryStatus",
        "CudaSharedMemoryUnregister",
        "LogSettings",
        "RepositoryModelLoad",
        "RepositoryModelUnload",
        "SystemSharedMemoryRegister",
        "SystemSharedMemoryStatus",
        "SystemSharedMemoryUnregister",
        "TraceSetting",
    ];
    methods.sort();
    assert_eq!(methods, expected);
}
