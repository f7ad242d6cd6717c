//! gRPC messages that are wrong, or none.

use std::collections::HashMap;

use bytes::{Buf, BufMut, Bytes};
use despina::proto::inference::{
    InferParameter, InferTensorContents, ModelInferRequest, ModelRepositoryParameter,
    RepositoryIndexRequest, RepositoryModelLoadRequest,
    grpc_inference_service_client::GrpcInferenceServiceClient,
    infer_parameter::ParameterChoice,
    model_infer_request::{InferInputTensor, InferRequestedOutputTensor},
    model_repository_parameter,
};
use prost::Message;
use tonic::{
    Code, Request, Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};

use super::{common::Server, server, still_answers};

type Client = GrpcInferenceServiceClient<Channel>;

/// A wrong request and the codes that it may get.
type Case = (String, ModelInferRequest, &'static [Code]);

const REFUSED: &[Code] = &[Code::InvalidArgument];
const UNKNOWN: &[Code] = &[Code::InvalidArgument, Code::NotFound];

async fn connect(server: &Server) -> Channel {
    Endpoint::from_shared(format!("http://{}", server.grpc))
        .expect("address")
        .connect()
        .await
        .expect("connect")
}

/// Runs a test against a server, on a runtime of its own.
fn against_a_server(test: impl AsyncFnOnce(&Server, Channel)) {
    let (_repository, server) = server();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("runtime");
    runtime.block_on(async {
        let channel = connect(&server).await;
        test(&server, channel).await;
    });
    // The connection ends with the runtime that drives it.
    drop(runtime);
    server.stop();
}

fn tensor(name: &str) -> InferInputTensor {
    InferInputTensor {
        name: name.to_owned(),
        datatype: "FP32".to_owned(),
        shape: vec![1, 4],
        ..Default::default()
    }
}

fn right() -> ModelInferRequest {
    ModelInferRequest {
        model_name: "pair".to_owned(),
        inputs: vec![tensor("INPUT0"), tensor("INPUT1")],
        raw_input_contents: vec![Bytes::from_static(&[0; 16]); 2],
        ..Default::default()
    }
}

fn changed(change: impl FnOnce(&mut ModelInferRequest)) -> ModelInferRequest {
    let mut request = right();
    change(&mut request);
    request
}

fn case(
    name: impl Into<String>,
    codes: &'static [Code],
    change: impl FnOnce(&mut ModelInferRequest),
) -> Case {
    (name.into(), changed(change), codes)
}

fn parameter(choice: ParameterChoice) -> InferParameter {
    InferParameter {
        parameter_choice: Some(choice),
    }
}

async fn check(server: &Server, channel: Channel, cases: Vec<Case>) {
    let mut client = Client::new(channel).max_encoding_message_size(usize::MAX);
    let answer = client
        .model_infer(right())
        .await
        .expect("the right request");
    assert_eq!(answer.get_ref().raw_output_contents.len(), 2);
    let mut wrong = Vec::new();
    for (name, request, codes) in cases {
        match client.model_infer(request).await {
            Ok(_) => wrong.push(format!("{name}: answered")),
            Err(status) if codes.contains(&status.code()) && !status.message().is_empty() => {}
            Err(status) => wrong.push(format!("{name}: {status:?}")),
        }
        still_answers(server, &name);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let answer = client.model_infer(right()).await;
    answer.expect("the right request");
}

#[test]
fn tensors_that_lie() {
    let mut cases = vec![
        case("no raw contents", REFUSED, |r| r.raw_input_contents.clear()),
        case("one raw content", REFUSED, |r| {
            r.raw_input_contents.pop();
        }),
        case("both kinds of contents", REFUSED, |r| {
            r.inputs[0].contents = Some(InferTensorContents {
                fp32_contents: vec![0.0; 4],
                ..Default::default()
            });
        }),
        case("an unknown datatype", REFUSED, |r| {
            r.inputs[0].datatype = "FP31".to_owned()
        }),
        case("no datatype", REFUSED, |r| r.inputs[0].datatype.clear()),
        case("another datatype", REFUSED, |r| {
            r.inputs[0].datatype = "INT32".to_owned()
        }),
        case("ten thousand dimensions", REFUSED, |r| {
            r.inputs[0].shape = vec![1; 10_000]
        }),
    ];
    for length in [0, 1, 15, 17, 1 << 20] {
        cases.push(case(format!("{length} bytes"), REFUSED, move |r| {
            r.raw_input_contents[0] = vec![0; length].into();
        }));
    }
    for shape in [
        vec![],
        vec![4],
        vec![1, -4],
        vec![-1, 4],
        vec![i64::MIN, 4],
        vec![i64::MAX, i64::MAX],
        vec![i64::MAX, 4],
        vec![1 << 62, 4],
        vec![0, 4],
        vec![9, 4],
        vec![1, 4, 1],
    ] {
        cases.push(case(format!("shape {shape:?}"), REFUSED, |r| {
            r.inputs[0].shape = shape
        }));
    }
    against_a_server(async |server, channel| check(server, channel, cases).await);
}

#[test]
fn typed_contents_that_do_not_fit() {
    let with = |name: &str, contents: InferTensorContents| {
        case(name, REFUSED, |r| {
            r.raw_input_contents.clear();
            for input in &mut r.inputs {
                input.contents = Some(contents.clone());
            }
        })
    };
    let zeros = |count| vec![0.0; count];
    let cases = vec![
        with("empty", InferTensorContents::default()),
        with(
            "too few",
            InferTensorContents {
                fp32_contents: zeros(3),
                ..Default::default()
            },
        ),
        with(
            "too many",
            InferTensorContents {
                fp32_contents: zeros(5),
                ..Default::default()
            },
        ),
        with(
            "another type",
            InferTensorContents {
                int_contents: vec![0; 4],
                ..Default::default()
            },
        ),
        with(
            "two types",
            InferTensorContents {
                fp32_contents: zeros(4),
                fp64_contents: vec![0.0; 4],
                ..Default::default()
            },
        ),
    ];
    against_a_server(async |server, channel| check(server, channel, cases).await);
}

#[test]
fn names_versions_and_parameters_that_are_none() {
    let long = "x".repeat(1 << 20);
    let output = |name: &str| {
        vec![InferRequestedOutputTensor {
            name: name.to_owned(),
            ..Default::default()
        }]
    };
    let mut cases = vec![
        case("no model", UNKNOWN, |r| r.model_name.clear()),
        case("an unknown model", &[Code::NotFound], |r| {
            r.model_name = "nowhere".to_owned()
        }),
        case("a path for a model", UNKNOWN, |r| {
            r.model_name = "../pair".to_owned()
        }),
        case("a model with a NUL", UNKNOWN, |r| {
            r.model_name = "pair\0".to_owned()
        }),
        case("a model of a megabyte", UNKNOWN, |r| {
            r.model_name = long.clone()
        }),
        case("an unknown version", &[Code::NotFound], |r| {
            r.model_version = "2".to_owned()
        }),
        case("an unknown input", REFUSED, |r| {
            r.inputs[0].name = "WRONG".to_owned()
        }),
        case("an input without a name", REFUSED, |r| {
            r.inputs[0].name.clear()
        }),
        case("one input twice", REFUSED, |r| {
            r.inputs[1].name = "INPUT0".to_owned()
        }),
        case("an unknown output", REFUSED, |r| {
            r.outputs = output("WRONG")
        }),
        case("one output twice", REFUSED, |r| {
            r.outputs = [output("OUTPUT0"), output("OUTPUT0")].concat();
        }),
        case("twenty thousand inputs", REFUSED, |r| {
            r.inputs = vec![tensor("INPUT0"); 20_000]
        }),
    ];
    for version in ["latest", "-1", "1.0", "0x1", " 1", "99999999999999999999"] {
        cases.push(case(format!("version {version:?}"), UNKNOWN, |r| {
            r.model_version = version.to_owned();
        }));
    }
    for (key, choice) in [
        ("priority", ParameterChoice::Int64Param(-1)),
        ("priority", ParameterChoice::StringParam("high".to_owned())),
        ("timeout", ParameterChoice::BoolParam(true)),
        ("triton_x", ParameterChoice::BoolParam(true)),
    ] {
        let name = format!("parameter {key} {choice:?}");
        cases.push(case(name, REFUSED, |r| {
            r.parameters = HashMap::from([(key.to_owned(), parameter(choice))]);
        }));
    }
    against_a_server(async |server, channel| check(server, channel, cases).await);
}

#[test]
fn strings_whose_length_prefixes_lie() {
    let mut cases = Vec::new();
    for raw in [
        &b""[..],
        b"\x01\0\0",
        b"\x01\0\0\0",
        b"\xff\xff\xff\xffab",
        b"\x01\0\0\0a",
        b"\0\0\0\0\0\0\0\0a",
    ] {
        cases.push(case(format!("{raw:?}"), REFUSED, |r| {
            r.model_name = "text".to_owned();
            r.inputs = vec![InferInputTensor {
                datatype: "BYTES".to_owned(),
                shape: vec![2],
                ..tensor("INPUT0")
            }];
            r.raw_input_contents = vec![Bytes::copy_from_slice(raw)];
        }));
    }
    against_a_server(async |server, channel| check(server, channel, cases).await);
}

#[test]
fn repository_calls_that_are_wrong() {
    against_a_server(async |server, channel| {
        let mut client = Client::new(channel);
        let load = |model: &str| RepositoryModelLoadRequest {
            model_name: model.to_owned(),
            ..Default::default()
        };
        for name in ["", "..", ".", "../x", "a/b", "/tmp", "pair\0", "nowhere"] {
            let answer = client.repository_model_load(load(name)).await;
            assert!(answer.is_err(), "load {name:?}");
            still_answers(server, name);
        }
        let mut with = load("pair");
        with.parameters.insert(
            "unknown".to_owned(),
            ModelRepositoryParameter {
                parameter_choice: Some(model_repository_parameter::ParameterChoice::BoolParam(
                    true,
                )),
            },
        );
        let status = client
            .repository_model_load(with)
            .await
            .expect_err("unknown parameter");
        assert_eq!(status.code(), Code::InvalidArgument);
        let elsewhere = RepositoryIndexRequest {
            repository_name: "elsewhere".to_owned(),
            ready: false,
        };
        let status = client
            .repository_index(elsewhere)
            .await
            .expect_err("named repository");
        assert_eq!(status.code(), Code::Unimplemented);
        still_answers(server, "repository calls");
    });
}

/// Messages as bytes, whatever they hold.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let length = buffer.remaining();
        Ok(Some(buffer.copy_to_bytes(length).to_vec()))
    }
}

async fn send_raw(channel: &Channel, path: &'static str, message: Vec<u8>) -> Result<(), Status> {
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready()
        .await
        .map_err(|error| Status::unknown(error.to_string()))?;
    grpc.unary(Request::new(message), PathAndQuery::from_static(path), Raw)
        .await
        .map(drop)
}

#[test]
fn messages_that_are_no_protobuf() {
    const INFER: &str = "/inference.GRPCInferenceService/ModelInfer";
    against_a_server(async |server, channel| {
        let right = right().encode_to_vec();
        assert!(send_raw(&channel, INFER, right.clone()).await.is_ok());
        // Groups nested deeper than any stack; a length that reaches past the end; an overlong
        // varint; a field number of 0; text that is no UTF-8.
        let deep: Vec<u8> = [0x7b].repeat(1 << 20);
        for message in [
            right[..right.len() - 1].to_vec(),
            right[..right.len() / 2].to_vec(),
            deep,
            b"\x0a\xff\xff\xff\xff\x0fpair".to_vec(),
            b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01".to_vec(),
            b"\x00\x01".to_vec(),
            b"\x0a\x04\xff\xfe\xfd\xfc".to_vec(),
            vec![0xff; 4096],
        ] {
            let name = format!("{:?}", &message[..message.len().min(16)]);
            let status = send_raw(&channel, INFER, message).await.expect_err(&name);
            assert!(
                !matches!(
                    status.code(),
                    Code::Ok | Code::Unavailable | Code::DeadlineExceeded
                ),
                "{name}: {status:?}"
            );
            still_answers(server, &name);
        }
        assert!(send_raw(&channel, INFER, right).await.is_ok());
    });
}

#[test]
fn streams_of_what_is_no_request() {
    const STREAM: &str = "/inference.GRPCInferenceService/ModelStreamInfer";
    against_a_server(async |server, channel| {
        let right = right().encode_to_vec();
        let deep: Vec<u8> = [0x7b].repeat(1 << 20);
        for wrong in [right[..right.len() - 1].to_vec(), deep, vec![0xff; 4096]] {
            let name = format!("{:?}", &wrong[..wrong.len().min(16)]);
            let mut grpc = tonic::client::Grpc::new(channel.clone());
            grpc.ready().await.expect("ready");
            let messages = tonic::codegen::tokio_stream::iter([right.clone(), wrong]);
            let path = PathAndQuery::from_static(STREAM);
            let answers = grpc.streaming(Request::new(messages), path, Raw).await;
            let mut answers = answers.expect("a stream opens").into_inner();
            let mut last = answers.message().await;
            while let Ok(Some(_)) = last {
                last = answers.message().await;
            }
            let status = last.expect_err(&name);
            assert_eq!(status.code(), Code::InvalidArgument, "{name}: {status:?}");
            still_answers(server, &name);
        }
    });
}

#[test]
fn wrong_requests_on_a_stream_are_answered_in_their_place() {
    against_a_server(async |server, channel| {
        let mut wrong = changed(|request| request.inputs[0].shape = vec![1, i64::MAX]);
        wrong.id = "wrong".to_owned();
        let requests = [
            right(),
            wrong,
            changed(|request| request.inputs.clear()),
            right(),
        ];
        let requests = tonic::codegen::tokio_stream::iter(requests);
        let answers = Client::new(channel).model_stream_infer(requests).await;
        let mut answers = answers.expect("a stream opens").into_inner();
        let mut errors = Vec::new();
        while let Some(answer) = answers.message().await.expect("the stream goes on") {
            let id = answer.infer_response.expect("its id").id;
            errors.push((!answer.error_message.is_empty(), id));
        }
        let expected = [(false, ""), (true, "wrong"), (true, ""), (false, "")];
        assert_eq!(errors, expected.map(|(failed, id)| (failed, id.to_owned())));
        still_answers(server, "a stream of wrong requests");
    });
}

#[test]
fn methods_that_are_none() {
    against_a_server(async |server, channel| {
        for path in [
            "/inference.GRPCInferenceService/Nothing",
            "/nothing.Nothing/Nothing",
            "/",
        ] {
            let status = send_raw(&channel, path, Vec::new()).await.expect_err(path);
            assert_eq!(status.code(), Code::Unimplemented, "{path}: {status:?}");
            still_answers(server, path);
        }
    });
}
