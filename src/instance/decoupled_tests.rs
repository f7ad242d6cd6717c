use std::sync::mpsc;

use smallvec::smallvec;

use super::*;
use crate::{
    error::ErrorKind,
    inference::{Input, Part, ResponseStream, response_channel, response_stream},
    model_config::OutputSpec,
    tensor::{Buffer, Datatype, Shape, Tensor},
};

fn signature() -> Arc<Signature> {
    Arc::new(Signature {
        inputs: Vec::new(),
        outputs: vec![OutputSpec {
            name: "OUT".into(),
            datatype: Datatype::Uint8,
            dims: Shape::new([-1]),
            reshape: None,
            label_filename: None,
        }],
        has_batch_dimension: true,
        decoupled: true,
    })
}

fn tensor(datatype: Datatype) -> Outputs {
    vec![Some(Tensor {
        datatype,
        shape: Shape::new([3, 2]),
        data: Buffer::from(vec![0; 6]),
    })]
}

fn request() -> (Request, ResponseStream) {
    let (sender, stream) = response_stream(8);
    let inputs = smallvec![Input::new(
        "IN",
        tensor(Datatype::Uint8)[0].clone().unwrap()
    )];
    let mut request = Request::new(inputs, sender);
    request.wanted = smallvec![0];
    (request, stream)
}

/// Keeps the responders, for the tests to use from another thread.
struct Keeper(mpsc::Sender<DecoupledRequest>);

impl DecoupledExecutor for Keeper {
    fn execute(&mut self, requests: Vec<DecoupledRequest>) {
        for request in requests {
            self.0.send(request).unwrap();
        }
    }
}

struct Rig {
    statistics: Arc<Statistics>,
}

impl Rig {
    fn new() -> Self {
        Self {
            statistics: Arc::default(),
        }
    }

    fn open(&self, request: Request) -> Option<Box<dyn Responder>> {
        let (kept, keeper) = mpsc::channel();
        let mut executor = Keeper(kept);
        execute(&mut executor, vec![request], &signature(), &self.statistics);
        keeper.try_recv().ok().map(|request| request.responder)
    }

    /// Responses counted: success, fail, empty, cancelled.
    fn responses(&self) -> Vec<[u64; 4]> {
        let snapshot = self.statistics.responses().snapshot();
        let counts = snapshot.iter().map(|place| {
            [
                place.success.count,
                place.fail.count,
                place.empty_response.count,
                place.cancel.count,
            ]
        });
        counts.collect()
    }

    /// Requests counted: success, canceled, backend.
    fn requests(&self) -> [u64; 3] {
        let snapshot = self.statistics.snapshot();
        let [_, canceled, backend, _] = snapshot.failures;
        [snapshot.success.count, canceled, backend]
    }
}

fn read_all(mut stream: ResponseStream) -> Vec<Part> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let mut parts = Vec::new();
    while let Some(part) = runtime.block_on(stream.next()) {
        parts.push(part);
    }
    parts
}

#[test]
fn a_responder_answers_from_another_thread_after_execute_returned() {
    let rig = Rig::new();
    let (request, stream) = request();
    let mut responder = rig.open(request).unwrap();
    std::thread::spawn(move || {
        responder.send(Ok(tensor(Datatype::Uint8))).unwrap();
        responder
            .send(Err(BackendError::Failed("moody".to_owned())))
            .unwrap();
        responder.finish(None);
    });
    let parts = read_all(stream);
    let response = parts[0].outcome.as_ref().unwrap().as_ref().unwrap();
    assert_eq!(response.outputs[0].tensor.shape, Shape::new([3, 2]));
    assert!(parts[1].outcome.as_ref().unwrap().is_err() && !parts[1].last);
    assert!(parts[2].outcome.is_none() && parts[2].last);
    assert_eq!(rig.responses(), [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]);
    assert_eq!(rig.requests(), [0, 0, 1]);
}

#[test]
fn a_request_counts_as_a_success_once_it_ends_without_an_error() {
    let rig = Rig::new();
    let (request, stream) = request();
    let responder = rig.open(request).unwrap();
    assert_eq!(rig.statistics.snapshot().execution_count, 1);
    assert_eq!(rig.requests(), [0, 0, 0]);
    responder.finish(Some(Ok(tensor(Datatype::Uint8))));
    let parts = read_all(stream);
    assert!(parts.len() == 1 && parts[0].last);
    assert_eq!(rig.requests(), [1, 0, 0]);
    assert_eq!(rig.responses(), [[1, 0, 0, 0]]);
    assert_eq!(rig.statistics.snapshot().inference_count, 1);
    let (_, first_responses, _) = rig.statistics.histograms().first_response.cumulative();
    assert_eq!(first_responses, 1);
}

#[test]
fn a_response_that_contradicts_the_signature_ends_the_request() {
    let rig = Rig::new();
    let (request, stream) = request();
    let mut responder = rig.open(request).unwrap();
    let wrong = responder.send(Ok(tensor(Datatype::Int8)));
    assert_eq!(wrong, Err(Stop));
    assert_eq!(responder.send(Ok(tensor(Datatype::Uint8))), Err(Stop));
    let parts = read_all(stream);
    let error = parts[0].outcome.as_ref().unwrap().as_ref().unwrap_err();
    assert!(error.message().contains("has datatype INT8"), "{error}");
    assert!(parts[0].last && parts.len() == 1);
    assert_eq!(rig.requests(), [0, 0, 1]);
}

#[test]
fn a_dropped_responder_ends_the_request_with_an_error() {
    let rig = Rig::new();
    let (request, stream) = request();
    drop(rig.open(request).unwrap());
    let parts = read_all(stream);
    let error = parts[0].outcome.as_ref().unwrap().as_ref().unwrap_err();
    assert!(parts[0].last && error.kind() == ErrorKind::Internal);
    assert_eq!(rig.requests(), [0, 0, 1]);
}

#[test]
fn a_client_that_goes_away_stops_the_backend_and_counts_as_cancelled() {
    let rig = Rig::new();
    let (request, stream) = request();
    let mut responder = rig.open(request).unwrap();
    assert!(!responder.is_cancelled());
    drop(stream);
    assert!(responder.is_cancelled());
    assert_eq!(responder.send(Ok(tensor(Datatype::Uint8))), Err(Stop));
    assert_eq!(rig.requests(), [0, 1, 0]);
    assert_eq!(rig.responses(), [[0, 0, 0, 1]]);
}

#[test]
fn who_waits_for_exactly_one_response_is_told() {
    let rig = Rig::new();
    let (sender, receiver) = response_channel();
    assert!(rig.open(Request::new(smallvec![], sender)).is_none());
    assert_eq!(receiver.wait().unwrap_err().reason(), "decoupled");
}

/// Panics with the responders in its hands.
struct Panicking;

impl DecoupledExecutor for Panicking {
    fn execute(&mut self, requests: Vec<DecoupledRequest>) {
        panic!("{} requests", requests.len());
    }
}

#[test]
fn a_panicking_backend_answers_its_requests_and_the_instance_goes_on() {
    let statistics = Arc::default();
    let (request, stream) = request();
    execute(&mut Panicking, vec![request], &signature(), &statistics);
    assert!(read_all(stream)[0].last);
}
