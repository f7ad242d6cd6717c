use std::{path::Path, sync::mpsc};

use super::*;
use crate::{
    backend::{BatchInput, Stop},
    inference::{Correlation, Parameters},
    model_config::{self, Environment},
};

fn config(io: &str) -> ModelConfig {
    let text = format!("name: 'm' backend: 'repeat' {io}");
    let proto = model_config::from_pbtxt(&text, "config.pbtxt").unwrap();
    ModelConfig::from_proto(proto, &Environment::default()).unwrap()
}

const IO: &str = "
    input { name: 'IN' data_type: TYPE_INT32 dims: -1 }
    input { name: 'DELAY' data_type: TYPE_UINT32 dims: -1 }
    input { name: 'WAIT' data_type: TYPE_UINT32 dims: 1 }
    output { name: 'OUT' data_type: TYPE_INT32 dims: 1 }
    output { name: 'IDX' data_type: TYPE_UINT32 dims: 1 }
    model_transaction_policy { decoupled: true }";

fn load(config: &ModelConfig) -> Result<Box<dyn Executor>, BackendError> {
    let spec = LoadSpec {
        file: Path::new("m/1/model"),
        config,
        instance: "m_0_0",
        devices: crate::device::Devices::none(),
    };
    Repeat.load(&spec, Device::Host)
}

fn inputs(values: &[i32], delays: &[u32]) -> smallvec::SmallVec<[BatchInput; 2]> {
    let tensor = |datatype, bytes: Vec<u8>| Tensor {
        datatype,
        shape: Shape::new([i64::try_from(bytes.len() / 4).unwrap()]),
        data: Buffer::from(bytes),
    };
    let values = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let delays = delays
        .iter()
        .flat_map(|delay| delay.to_le_bytes())
        .collect();
    [
        tensor(Datatype::Int32, values),
        tensor(Datatype::Uint32, delays),
        tensor(Datatype::Uint32, vec![0; 4]),
    ]
    .into_iter()
    .enumerate()
    .map(|(index, tensor)| BatchInput { index, tensor })
    .collect()
}

/// Writes down what it is sent; cancelled when nobody reads that.
struct Protocol(mpsc::SyncSender<String>);

impl Responder for Protocol {
    fn is_cancelled(&self) -> bool {
        self.0.send(String::new()).is_err()
    }

    fn send(&mut self, response: Result<Outputs, BackendError>) -> Result<(), Stop> {
        let outputs = response.unwrap();
        let value = |index: usize| {
            let bytes = outputs[index].as_ref().unwrap().data.host().unwrap();
            i32::from_le_bytes(bytes.try_into().unwrap())
        };
        let line = format!("{}@{} ", value(0), value(1));
        self.0.send(line).map_err(|_| Stop)
    }

    fn finish(self: Box<Self>, last: Option<Result<Outputs, BackendError>>) {
        let line = match last {
            None => "end".to_owned(),
            Some(last) => last.unwrap_err().to_string(),
        };
        self.0.send(line).unwrap();
    }
}

fn request(values: &[i32], delays: &[u32]) -> (DecoupledRequest, mpsc::Receiver<String>) {
    let (sender, receiver) = mpsc::sync_channel(100);
    let request = DecoupledRequest {
        id: String::new(),
        parameters: Parameters::new(),
        correlation: Correlation::default(),
        batch_size: 1,
        inputs: inputs(values, delays),
        wanted: smallvec::smallvec![0, 1],
        responder: Box::new(Protocol(sender)),
    };
    (request, receiver)
}

#[test]
fn every_element_is_a_response_and_the_end_comes_by_itself() {
    let mut executor = load(&config(IO)).unwrap();
    let (three, three_sent) = request(&[7, -8, 9], &[0, 1, 0]);
    let (none, none_sent) = request(&[], &[]);
    let (uneven, uneven_sent) = request(&[1], &[0, 0]);
    let decoupled = executor.decoupled().unwrap();
    decoupled.execute(vec![three, none, uneven]);
    assert_eq!(three_sent.iter().collect::<String>(), "7@0 -8@1 9@2 end");
    assert_eq!(none_sent.iter().collect::<String>(), "end");
    let error = uneven_sent.iter().collect::<String>();
    assert!(
        error.contains("expected IN and DELAY shape to match"),
        "{error}"
    );
}

#[test]
fn nobody_is_waited_for_who_is_gone_when_the_executor_is_dropped() {
    let mut executor = load(&config(IO)).unwrap();
    let (slow, sent) = request(&[1, 2], &[0, u32::MAX]);
    executor.decoupled().unwrap().execute(vec![slow]);
    drop(sent);
    drop(executor);
}

#[test]
fn without_decoupling_there_is_one_element() {
    let mut executor = load(&config(IO)).unwrap();
    let mut batch = |values: &[i32]| {
        let mut batch = Batch {
            batch_size: 1,
            inputs: inputs(values, &vec![0; values.len()]),
            wanted: smallvec::smallvec![0, 1],
            outputs: vec![None; 2],
        };
        let done = Executor::execute(executor.as_mut(), &mut batch);
        done.map(|()| batch.outputs[0].clone().unwrap())
    };
    let out = batch(&[5]).unwrap();
    assert_eq!(out.data.host().unwrap(), 5_i32.to_le_bytes());
    assert!(batch(&[5, 6]).is_err() && batch(&[]).is_err());
}

#[test]
fn other_models_are_refused() {
    for (from, to, want) in [
        ("'IDX'", "'INDEX'", "expected output 'IDX'"),
        (
            "TYPE_INT32 dims: -1",
            "TYPE_INT64 dims: -1",
            "expected input 'IN'",
        ),
        ("dims: 1 }", "dims: 2 }", "one dimension of size 1"),
        (
            "input { name: 'WAIT' data_type: TYPE_UINT32 dims: 1 }",
            "",
            "expected 3 inputs",
        ),
        (
            "input { name: 'IN'",
            "max_batch_size: 1 input { name: 'IN'",
            "max_batch_size == 0",
        ),
    ] {
        let error = load(&config(&IO.replace(from, to))).err().unwrap();
        assert!(error.to_string().contains(want), "{error}");
    }
}
