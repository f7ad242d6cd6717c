//! Generated KServe v2 and model-configuration types. Nothing here is written by hand.

#![allow(missing_docs, clippy::all, rustdoc::all)]

/// Package `inference`: the gRPC service and the model configuration.
pub mod inference {
    tonic::include_proto!("inference");
}

/// Package `grpc.health.v1`: the standard health service.
pub mod health {
    tonic::include_proto!("grpc.health.v1");
}

/// The encoded `FileDescriptorSet` of everything under `proto/`.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
