//! Compiles `proto/` to Rust without needing `protoc` on the machine.

use std::{env, fs, path::PathBuf};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const PROTOS: [&str; 3] = ["grpc_service.proto", "model_config.proto", "health.proto"];

fn main() -> Result<()> {
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(PROTOS, ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(
        out.join("descriptors.bin"),
        prost::Message::encode_to_vec(&descriptors),
    )?;
    tonic_prost_build::configure()
        // Tensor contents stay slices of the received message: no copy.
        .bytes(".inference.ModelInferRequest.raw_input_contents")
        .bytes(".inference.ModelInferResponse.raw_output_contents")
        .bytes(".inference.InferTensorContents.bytes_contents")
        .bytes(".inference.ModelRepositoryParameter.bytes_param")
        .btree_map(".inference.ModelConfig")
        .build_transport(false)
        .compile_fds(descriptors)?;
    Ok(())
}
