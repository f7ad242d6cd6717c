#![no_main]

#[path = "../bodies/grpc.rs"]
#[allow(dead_code, reason = "each target runs one of the bodies")]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::grpc_infer(data));
