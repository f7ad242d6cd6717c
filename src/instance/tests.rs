use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use proptest::prelude::*;
use smallvec::smallvec;

use super::{
    BatchSource, Instance, Seat, Signature,
    gather::{Slabs, gather},
    scatter::scatter,
};
use crate::{
    backend::{BackendError, Batch, Executor},
    error::ErrorKind,
    inference::{Input, Request, ResponseReceiver, Statistics, response_channel},
    model_config::{InputSpec, OutputSpec},
    tensor::{Buffer, Datatype, Shape, Tensor, push_element},
};

fn signature(datatype: Datatype) -> Signature {
    Signature {
        inputs: vec![InputSpec {
            name: "IN".into(),
            datatype,
            dims: Shape::new([-1]),
            reshape: None,
            optional: false,
        }],
        outputs: vec![OutputSpec {
            name: "OUT".into(),
            datatype,
            dims: Shape::new([-1]),
            reshape: None,
            label_filename: None,
        }],
        has_batch_dimension: true,
        decoupled: false,
    }
}

fn request(rows: usize, tensor: Tensor) -> (Request, ResponseReceiver) {
    let (sender, receiver) = response_channel();
    let mut request = Request::new(smallvec![Input::new("IN", tensor)], sender);
    request.batch_size = rows;
    request.wanted = smallvec![0];
    (request, receiver)
}

fn bytes_tensor(rows: &[Vec<Vec<u8>>], columns: usize) -> Tensor {
    let mut data = Vec::new();
    for element in rows.iter().flatten() {
        push_element(&mut data, element).unwrap();
    }
    Tensor {
        datatype: Datatype::Bytes,
        shape: Shape::new([rows.len(), columns].map(|dim| i64::try_from(dim).unwrap())),
        data: Buffer::from(data),
    }
}

fn numbers(rows: usize, columns: usize, first: u8) -> Tensor {
    let data: Vec<u8> = (0..rows * columns * 2)
        .map(|i| first.wrapping_add(u8::try_from(i % 256).unwrap()))
        .collect();
    Tensor {
        datatype: Datatype::Int16,
        shape: Shape::new([rows, columns].map(|dim| i64::try_from(dim).unwrap())),
        data: Buffer::from(data),
    }
}

/// What an identity backend does between gather and scatter.
fn echo(requests: &[Request], signature: &Signature) -> Vec<Tensor> {
    let mut batch = gather(requests, signature, Slabs::Host).unwrap();
    batch.outputs[0] = batch.input(0).cloned();
    scatter(batch, requests, signature)
        .unwrap()
        .into_iter()
        .map(|response| response.outputs[0].tensor.clone())
        .collect()
}

proptest! {
    #[test]
    fn scatter_undoes_gather_for_numbers(rows in prop::collection::vec(1_usize..5, 1..8), columns in 0_usize..4) {
        let tensors: Vec<_> = rows.iter().zip(1..).map(|(&rows, i)| numbers(rows, columns, i * 17)).collect();
        let (requests, _receivers): (Vec<_>, Vec<_>) =
            rows.iter().zip(&tensors).map(|(&rows, tensor)| request(rows, tensor.clone())).unzip();
        for (back, sent) in echo(&requests, &signature(Datatype::Int16)).iter().zip(&tensors) {
            prop_assert_eq!(&back.shape, &sent.shape);
            prop_assert_eq!(back.data.host(), sent.data.host());
        }
    }

    #[test]
    fn scatter_undoes_gather_for_strings(
        requests in prop::collection::vec(
            prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 2), 1..4),
            1..5,
        ),
    ) {
        let tensors: Vec<_> = requests.iter().map(|rows| bytes_tensor(rows, 2)).collect();
        let (queued, _receivers): (Vec<_>, Vec<_>) =
            requests.iter().zip(&tensors).map(|(rows, tensor)| request(rows.len(), tensor.clone())).unzip();
        for (back, sent) in echo(&queued, &signature(Datatype::Bytes)).iter().zip(&tensors) {
            prop_assert_eq!(&back.shape, &sent.shape);
            prop_assert_eq!(back.data.host(), sent.data.host());
        }
    }
}

#[test]
fn one_request_alone_is_not_copied() {
    let tensor = numbers(2, 3, 0);
    let address = tensor.data.host().unwrap().as_ptr();
    let (request, _receiver) = request(2, tensor);
    let back = echo(&[request], &signature(Datatype::Int16));
    assert_eq!(back[0].data.host().unwrap().as_ptr(), address);
}

#[test]
fn an_output_that_contradicts_the_signature_fails_the_batch() {
    let (request, _receiver) = request(2, numbers(2, 3, 0));
    let requests = [request];
    for (shape, datatype, expected) in [
        (&[3, 3][..], Datatype::Int16, "batch dimension must be 2"),
        (&[2, 3], Datatype::Fp16, "has datatype FP16"),
    ] {
        let mut batch = gather(&requests, &signature(Datatype::Int16), Slabs::Host).unwrap();
        batch.outputs[0] = Some(Tensor {
            datatype,
            shape: Shape::from(shape),
            data: Buffer::Host(Bytes::new()),
        });
        let error = scatter(batch, &requests, &signature(Datatype::Int16))
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
}

/// What two requests of one row and two get of six elements that came as `shape`.
fn scattered(signature: &Signature, shape: &[i64]) -> Result<[Shape; 2], BackendError> {
    let (first, _receiver) = request(1, numbers(1, 2, 0));
    let (second, _receiver) = request(2, numbers(2, 2, 2));
    let requests = [first, second];
    let mut batch = gather(&requests, signature, Slabs::Host).unwrap();
    let mut output = numbers(3, 2, 0);
    output.shape = Shape::from(shape);
    batch.outputs[0] = Some(output);
    let responses = scatter(batch, &requests, signature)?;
    Ok([0, 1].map(|index: usize| responses[index].outputs[0].tensor.shape.clone()))
}

#[test]
fn a_reshaped_output_gets_the_shape_that_clients_see() {
    let mut signature = signature(Datatype::Int16);
    signature.outputs[0].dims = Shape::new([-1]);
    signature.outputs[0].reshape = Some(Shape::new([-1, 1]));
    let shapes = [Shape::new([1, 2]), Shape::new([2, 2])];
    assert_eq!(scattered(&signature, &[3, 2, 1]).unwrap(), shapes);
    let error = scattered(&signature, &[3, 2]).unwrap_err().to_string();
    assert!(
        error.contains("the model configuration says [batch] and then [-1,1]"),
        "{error}"
    );
}

#[test]
fn an_output_of_another_shape_than_the_configuration_says_keeps_it() {
    let mut signature = signature(Datatype::Int16);
    signature.outputs[0].dims = Shape::new([7]);
    let shapes = [Shape::new([1, 2, 1]), Shape::new([2, 2, 1])];
    assert_eq!(scattered(&signature, &[3, 2, 1]).unwrap(), shapes);
}

/// Hands out prepared batches and then ends.
struct Prepared(Mutex<VecDeque<Vec<Request>>>);

impl BatchSource for Prepared {
    fn next(&self, seat: Seat) -> Option<(Vec<Request>, Seat)> {
        Some((self.0.lock().unwrap().pop_front()?, seat))
    }

    fn put_back(&self, requests: Vec<Request>) {
        self.0.lock().unwrap().push_back(requests);
    }
}

/// Echoes, but panics or fails on inputs of one row.
struct Moody {
    panics: bool,
}

impl Executor for Moody {
    fn execute(&mut self, batch: &mut Batch) -> Result<(), BackendError> {
        if batch.batch_size == 1 {
            assert!(!self.panics, "moody");
            return Err(BackendError::Failed("moody".to_owned()));
        }
        batch.outputs[0] = batch.input(0).cloned();
        Ok(())
    }
}

#[test]
fn a_failed_or_panicking_batch_fails_only_its_own_requests() {
    for panics in [false, true] {
        let (bad, bad_receiver) = request(1, numbers(1, 1, 0));
        let (good, good_receiver) = request(2, numbers(2, 1, 0));
        let source = Arc::new(Prepared(Mutex::new([vec![bad], vec![good]].into())));
        let statistics = Arc::new(Statistics::default());
        let instance = Instance::start(
            "moody_0",
            None,
            move || Ok(Box::new(Moody { panics }) as Box<dyn Executor>),
            source,
            Arc::default(),
            Arc::new(signature(Datatype::Int16)),
            Arc::clone(&statistics),
        )
        .and_then(super::Starting::wait)
        .unwrap();
        assert_eq!(bad_receiver.wait().unwrap_err().kind(), ErrorKind::Internal);
        assert_eq!(
            good_receiver.wait().unwrap().outputs[0].tensor.shape,
            Shape::new([2, 1])
        );
        instance.join();
        let snapshot = statistics.snapshot();
        assert_eq!((snapshot.success.count, snapshot.failures[2]), (1, 1));
    }
}

#[test]
fn a_load_that_fails_or_panics_is_reported() {
    for panics in [false, true] {
        let error = Instance::start(
            "broken_0",
            None,
            move || {
                assert!(!panics, "broken");
                Err(BackendError::InvalidModel("broken".to_owned()))
            },
            Arc::new(Prepared(Mutex::default())),
            Arc::default(),
            Arc::new(signature(Datatype::Int16)),
            Arc::default(),
        )
        .and_then(super::Starting::wait)
        .unwrap_err();
        assert!(
            error
                .to_string()
                .contains(if panics { "panicked" } else { "broken" }),
            "{error}"
        );
    }
}
