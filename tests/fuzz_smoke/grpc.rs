//! The bodies of the gRPC messages.

#[path = "../../fuzz/bodies/grpc.rs"]
mod bodies;

use super::run;

#[test]
fn infer_messages() {
    run("grpc_infer", bodies::grpc_infer);
}

#[test]
fn messages_of_streams() {
    run("grpc_stream", bodies::grpc_stream);
}
