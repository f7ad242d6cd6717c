//! One conformance suite that every backend runs, as far as its outputs can be predicted.

use std::{path::Path, sync::Arc};

use super::{Backend, Batch, BatchInput, LoadSpec, identity::Identity, simulated::Simulated};
use crate::{
    device::{Device, Devices},
    model_config::{self, Environment, ModelConfig},
    tensor::{Buffer, Datatype, Shape, Tensor},
};

fn config(backend: &str, extra: &str) -> ModelConfig {
    let text = format!(
        r#"
        name: "m"
        backend: "{backend}"
        max_batch_size: 4
        input [ {{ name: "IN0" data_type: TYPE_FP32 dims: 2 }}, {{ name: "IN1" data_type: TYPE_STRING dims: 1 }} ]
        output [ {{ name: "OUT0" data_type: TYPE_FP32 dims: 2 }}, {{ name: "OUT1" data_type: TYPE_STRING dims: 1 }} ]
        {extra}
        "#
    );
    let proto = model_config::from_pbtxt(&text, "config.pbtxt").unwrap();
    ModelConfig::from_proto(proto, &Environment::default()).unwrap()
}

fn spec(config: &ModelConfig) -> LoadSpec<'_> {
    LoadSpec {
        file: Path::new("m/1/model"),
        config,
        instance: "m_0_1",
        devices: Devices::none(),
    }
}

fn batch(rows: usize, wanted: &[usize]) -> Batch {
    let dim = i64::try_from(rows).unwrap();
    let numbers = Tensor {
        datatype: Datatype::Fp32,
        shape: Shape::new([dim, 2]),
        data: Buffer::from(1.5_f32.to_le_bytes().repeat(2 * rows)),
    };
    let strings = Tensor {
        datatype: Datatype::Bytes,
        shape: Shape::new([dim, 1]),
        data: Buffer::from([1, 0, 0, 0, b'x'].repeat(rows)),
    };
    Batch {
        batch_size: rows,
        inputs: [numbers, strings]
            .into_iter()
            .enumerate()
            .map(|(index, tensor)| BatchInput { index, tensor })
            .collect(),
        wanted: wanted.iter().copied().collect(),
        outputs: vec![None; 2],
    }
}

#[test]
fn every_backend_sets_exactly_the_wanted_outputs_in_full() {
    let backends: [Arc<dyn Backend>; 2] = [Arc::new(Identity), Arc::new(Simulated)];
    for backend in backends {
        backend.ready().unwrap();
        let config = config(backend.name(), "");
        let mut executor = backend.load(&spec(&config), Device::Host).unwrap();
        for rows in 1..=4 {
            for wanted in [&[0][..], &[1], &[0, 1]] {
                let mut batch = batch(rows, wanted);
                executor.execute(&mut batch).unwrap();
                for (index, output) in batch.outputs.iter().enumerate() {
                    assert_eq!(
                        output.is_some(),
                        wanted.contains(&index),
                        "{}",
                        backend.name()
                    );
                    let Some(output) = output else { continue };
                    assert_eq!(output.datatype, config.outputs[index].datatype);
                    assert_eq!(output.shape.first(), Some(&i64::try_from(rows).unwrap()));
                    if let Some(expected) = output.shape.byte_size(output.datatype) {
                        assert_eq!(output.data.byte_size(), expected, "{}", backend.name());
                    }
                }
            }
        }
    }
}

#[test]
fn identity_answers_with_its_inputs() {
    let config = config("identity", "");
    let mut executor = Identity.load(&spec(&config), Device::Host).unwrap();
    let mut batch = batch(3, &[0, 1]);
    executor.execute(&mut batch).unwrap();
    for (input, output) in batch.inputs.iter().zip(&batch.outputs) {
        assert_eq!(
            output.as_ref().unwrap().data.host(),
            input.tensor.data.host()
        );
    }
}

#[test]
fn parameters_that_cannot_be_read_fail_the_load_by_name() {
    for (backend, parameter) in [
        (Arc::new(Identity) as Arc<dyn Backend>, "execute_delay_ms"),
        (Arc::new(Simulated), "latency_us"),
    ] {
        let config = config(
            backend.name(),
            &format!(r#"parameters {{ key: "{parameter}" value: {{ string_value: "soon" }} }}"#),
        );
        let error = backend
            .load(&spec(&config), Device::Host)
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.contains(parameter) && error.contains("soon"),
            "{error}"
        );
    }
}
