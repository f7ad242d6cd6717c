//! The gRPC client: the generated one, with windows in which sixteen large tensors have room.

use std::{net::SocketAddr, time::Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use despina::proto::inference::{
    ModelInferRequest,
    grpc_inference_service_client::GrpcInferenceServiceClient,
    model_infer_request::{InferInputTensor, InferRequestedOutputTensor},
};
use tonic::transport::{Channel, Endpoint};

use super::{
    client::{Caller, Client},
    model::Model,
};

const STREAM_WINDOW: u32 = 8 << 20;
const CONNECTION_WINDOW: u32 = 64 << 20;

/// Asks one model over gRPC.
#[derive(Clone)]
pub struct GrpcClient {
    address: SocketAddr,
    request: ModelInferRequest,
    output: Bytes,
}

impl GrpcClient {
    pub fn new(address: SocketAddr, model: &Model) -> Result<Self> {
        let shape = model.shape().into_iter().map(i64::try_from);
        let input = InferInputTensor {
            name: "INPUT0".to_owned(),
            datatype: model.datatype.to_owned(),
            shape: shape.collect::<Result<_, _>>()?,
            ..InferInputTensor::default()
        };
        let output = InferRequestedOutputTensor {
            name: "OUTPUT0".to_owned(),
            ..InferRequestedOutputTensor::default()
        };
        Ok(Self {
            address,
            request: ModelInferRequest {
                model_name: model.name.to_owned(),
                inputs: vec![input],
                outputs: vec![output],
                raw_input_contents: vec![model.input()],
                ..ModelInferRequest::default()
            },
            output: model.output(),
        })
    }
}

impl Client for GrpcClient {
    type Caller = GrpcCaller;

    const CALLERS_PER_CONNECTION: usize = 16;

    async fn connect(&self, callers: usize) -> Result<Vec<GrpcCaller>> {
        let channel = Endpoint::from_shared(format!("http://{}", self.address))?
            .tcp_nodelay(true)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .connect()
            .await?;
        let caller = || GrpcCaller {
            client: GrpcInferenceServiceClient::new(channel.clone()),
            request: self.request.clone(),
            output: self.output.clone(),
        };
        Ok((0..callers).map(|_| caller()).collect())
    }
}

/// One stream after the other on a shared connection.
pub struct GrpcCaller {
    client: GrpcInferenceServiceClient<Channel>,
    request: ModelInferRequest,
    output: Bytes,
}

impl Caller for GrpcCaller {
    async fn exchange(&mut self) -> Result<Instant> {
        let answer = self.client.model_infer(self.request.clone()).await;
        let finished = Instant::now();
        let answer = answer.context("refused")?.into_inner();
        ensure!(answer.outputs.len() == 1, "there is not one output");
        let [output] = answer.raw_output_contents.as_slice() else {
            bail!("there is not one raw output");
        };
        ensure!(
            output.len() == self.output.len(),
            "the output has the wrong size"
        );
        ensure!(*output == self.output, "the output has the wrong bytes");
        Ok(finished)
    }
}
