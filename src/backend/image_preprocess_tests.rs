use std::path::Path;

use smallvec::smallvec;

use super::*;
use crate::{
    backend::BatchInput,
    device::Devices,
    model_config::{self, Environment},
    tensor::Buffer,
};

fn config(input: &str, output: &str, extra: &str) -> ModelConfig {
    let text = format!(
        "name: 'm' backend: 'image_preprocess' max_batch_size: 4 {extra}
         input {{ name: 'IN' {input} }} output {{ name: 'OUT' {output} }}"
    );
    let proto = model_config::from_pbtxt(&text, "config.pbtxt").unwrap();
    ModelConfig::from_proto(proto, &Environment::default()).unwrap()
}

fn load(config: &ModelConfig) -> Result<Box<dyn Executor>, BackendError> {
    let spec = LoadSpec {
        file: Path::new("m/1"),
        config,
        instance: "m_0_0",
        devices: Devices::none(),
    };
    ImagePreprocess.load(&spec, Device::Host)
}

const INPUT: &str = "data_type: TYPE_UINT8 dims: [ 2, 2, 3 ]";
const OUTPUT: &str = "data_type: TYPE_FP32 dims: [ 3, 1, 1 ]";

#[test]
fn pixels_become_planes_by_channel() {
    let scales = "parameters { key: 'scale' value: { string_value: '1, 2, 0.5' } }
                  parameters { key: 'offset' value: { string_value: '-1' } }";
    let mut executor = load(&config(INPUT, OUTPUT, scales)).unwrap();
    // Red is 10 everywhere, green from 0 to 60, blue only in one corner.
    let one = [10, 0, 8, 10, 20, 0, 10, 40, 0, 10, 60, 0];
    let black = [0; 12];
    let mut batch = Batch {
        batch_size: 2,
        inputs: smallvec![BatchInput {
            index: 0,
            tensor: Tensor {
                datatype: Datatype::Uint8,
                shape: Shape::new([2, 2, 2, 3]),
                data: Buffer::from([one, black].concat()),
            },
        }],
        wanted: smallvec![0],
        outputs: vec![None],
    };
    executor.execute(&mut batch).unwrap();
    let output = batch.outputs[0].take().unwrap();
    assert_eq!(output.shape, Shape::new([2, 3, 1, 1]));
    let (numbers, _) = output.data.host().unwrap().as_chunks::<4>();
    let numbers: Vec<_> = numbers.iter().copied().map(f32::from_le_bytes).collect();
    assert_eq!(numbers, [9.0, 59.0, 0.0, -1.0, -1.0, -1.0]);
    // A batch whose bytes do not match its size is refused, and the next one runs.
    batch.batch_size = 3;
    assert!(executor.execute(&mut batch).is_err());
}

#[test]
fn refuses_models_that_are_no_images() {
    let scale =
        |text: &str| format!("parameters {{ key: 'scale' value: {{ string_value: '{text}' }} }}");
    for (input, output, extra, words) in [
        (
            "data_type: TYPE_FP32 dims: [ 2, 2, 3 ]",
            OUTPUT,
            String::new(),
            "UINT8",
        ),
        (
            INPUT,
            "data_type: TYPE_FP64 dims: [ 3, 1, 1 ]",
            String::new(),
            "FP32 or FP16",
        ),
        (
            INPUT,
            "data_type: TYPE_FP32 dims: [ 1, 1, 1 ]",
            String::new(),
            "channels",
        ),
        (
            INPUT,
            "data_type: TYPE_FP32 dims: [ 3, -1, 1 ]",
            String::new(),
            "65535",
        ),
        (
            "data_type: TYPE_UINT8 dims: [ 2, 2 ]",
            OUTPUT,
            String::new(),
            "[height",
        ),
        (INPUT, OUTPUT, scale("1,2"), "expected a number, or 3"),
        (INPUT, OUTPUT, scale("x"), "expected a number"),
        (INPUT, OUTPUT, scale("inf"), "expected a number"),
    ] {
        let error = load(&config(input, output, &extra))
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains(words), "{error}");
    }
}
