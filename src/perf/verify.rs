//! Checks answers on a sample: names, datatypes, shapes and sizes against what the server says of its
//! model, contents against what they are to be, and whether the same input is always answered alike.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use prost::Message as _;
use serde_json::Value;

use super::{
    control::Door,
    data::{Sample, Tensor, push_json},
    model::Model,
    wire::Kept,
};
use crate::{
    proto::inference::ModelInferResponse,
    tensor::{Datatype, Shape},
};

/// Checks answers from any thread.
#[derive(Debug)]
pub(super) struct Verifier {
    door: Door,
    models: Vec<(Model, Vec<Reference>)>,
    checked: AtomicU64,
    different: AtomicU64,
}

/// What is known of the answers to one sample.
#[derive(Debug)]
struct Reference {
    expected: Vec<Tensor>,
    first: OnceLock<Vec<Tensor>>,
}

impl Verifier {
    pub(super) fn new(door: Door, models: &[(Model, Vec<Sample>)]) -> Self {
        let references = |samples: &Vec<Sample>| {
            let samples = samples.iter().map(|sample| Reference {
                expected: sample.expected.clone(),
                first: OnceLock::new(),
            });
            samples.collect()
        };
        Self {
            door,
            models: models
                .iter()
                .map(|(model, samples)| (model.clone(), references(samples)))
                .collect(),
            checked: AtomicU64::new(0),
            different: AtomicU64::new(0),
        }
    }

    /// Answers that were checked, and those that differ from the first to the same input.
    pub(super) fn counts(&self) -> (u64, u64) {
        (
            self.checked.load(Ordering::Relaxed),
            self.different.load(Ordering::Relaxed),
        )
    }

    /// Checks an answer.
    ///
    /// # Errors
    /// What is wrong with it. That it is not the same as another is only counted.
    pub(super) fn check(&self, model: usize, sample: usize, kept: &Kept) -> Result<(), String> {
        let outputs = match self.door {
            Door::Http => http_outputs(kept),
            Door::Grpc => grpc_outputs(kept),
        };
        self.check_outputs(model, sample, outputs)
    }

    /// Checks an answer's outputs, if there are any to be had.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub(super) fn check_outputs(
        &self,
        model: usize,
        sample: usize,
        outputs: Result<Vec<Tensor>>,
    ) -> Result<(), String> {
        let Some((model, references)) = self.models.get(model) else {
            return Ok(());
        };
        self.checked.fetch_add(1, Ordering::Relaxed);
        let checked = outputs.and_then(|outputs| {
            for output in &outputs {
                fits(model, output)?;
            }
            if let Some(reference) = references.get(sample) {
                reference.agree(&outputs)?;
                if *reference.first.get_or_init(|| outputs.clone()) != outputs {
                    self.different.fetch_add(1, Ordering::Relaxed);
                }
            }
            Ok(())
        });
        checked.map_err(|error| format!("wrong answer: {error:#}"))
    }
}

impl Reference {
    fn agree(&self, outputs: &[Tensor]) -> Result<()> {
        for expected in &self.expected {
            let output = outputs.iter().find(|output| output.name == expected.name);
            let output = output.with_context(|| format!("no output {}", expected.name))?;
            ensure!(
                output.data == expected.data,
                "output {} is not what validation_data says",
                expected.name
            );
        }
        Ok(())
    }
}

/// Whether an output is one that the model has.
fn fits(model: &Model, output: &Tensor) -> Result<()> {
    let spec = model.output(&output.name);
    let spec = spec.with_context(|| format!("the model has no output {}", output.name))?;
    ensure!(
        output.datatype == spec.datatype,
        "output {} has datatype {}, not {}",
        spec.name,
        output.datatype,
        spec.datatype
    );
    let rows = output.shape.get(usize::from(model.batched)..);
    ensure!(
        rows.is_some_and(|dims| spec.accepts(dims)),
        "output {} has shape {:?}, and the model says {}",
        spec.name,
        output.shape,
        spec.shape_text()
    );
    let due = Shape::from(&output.shape[..]).byte_size(output.datatype);
    if let Some(due) = due.filter(|_| !output.data.is_empty()) {
        ensure!(
            output.data.len() == due,
            "output {} has {} bytes, and its shape asks for {due}",
            spec.name,
            output.data.len()
        );
    }
    Ok(())
}

/// The outputs of an answer over HTTP. Of what lies in shared memory there are no data.
fn http_outputs(kept: &Kept) -> Result<Vec<Tensor>> {
    let (json, mut binary) = match kept.json_byte_size {
        Some(size) => kept.body.split_at_checked(size).context("cut short")?,
        None => (&kept.body[..], &[][..]),
    };
    let document: Value = serde_json::from_slice(json)?;
    let outputs = document["outputs"].as_array().context("no outputs")?;
    let mut tensors = Vec::new();
    for output in outputs {
        let name = output["name"]
            .as_str()
            .context("an output without a name")?;
        let datatype = datatype(output["datatype"].as_str().unwrap_or_default())?;
        let mut data = Vec::new();
        if let Some(size) = output["parameters"]["binary_data_size"].as_u64() {
            let split = binary.split_at_checked(usize::try_from(size)?);
            let (own, rest) = split.context("binary data are cut short")?;
            data.extend_from_slice(own);
            binary = rest;
        } else if let Some(elements) = output.get("data") {
            push_json(datatype, elements, &mut data)?;
        }
        tensors.push(Tensor {
            name: name.to_owned(),
            datatype,
            shape: serde_json::from_value(output["shape"].clone())?,
            data: data.into(),
        });
    }
    Ok(tensors)
}

/// The outputs of an answer over gRPC. Of typed contents there are no data.
fn grpc_outputs(kept: &Kept) -> Result<Vec<Tensor>> {
    let response = ModelInferResponse::decode(&kept.body[..])?;
    let mut raw = response.raw_output_contents.into_iter();
    let outputs = response.outputs.into_iter().map(|output| {
        Ok(Tensor {
            datatype: datatype(&output.datatype)?,
            shape: output.shape,
            data: if output.parameters.contains_key("shared_memory_region") {
                Bytes::new()
            } else {
                raw.next().unwrap_or_default()
            },
            name: output.name,
        })
    });
    outputs.collect()
}

fn datatype(name: &str) -> Result<Datatype> {
    match Datatype::from_name(name) {
        Some(datatype) => Ok(datatype),
        None => bail!("unknown datatype \"{name}\""),
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::TensorSpec;
    use super::*;
    use crate::proto::inference::model_infer_response::InferOutputTensor;

    fn verifier(door: Door, expected: Option<&'static [u8]>) -> Verifier {
        let spec = TensorSpec {
            name: "OUT".to_owned(),
            datatype: Datatype::Uint8,
            dims: vec![-1],
        };
        let model = Model {
            name: "m".to_owned(),
            version: None,
            inputs: Vec::new(),
            outputs: vec![spec],
            batched: true,
            decoupled: false,
            is_sequential: false,
        };
        let expected = expected.map(|data| Tensor {
            name: "OUT".to_owned(),
            datatype: Datatype::Uint8,
            shape: vec![1, 2],
            data: Bytes::from_static(data),
        });
        let sample = Sample {
            inputs: Vec::new(),
            expected: expected.into_iter().collect(),
        };
        Verifier::new(door, &[(model, vec![sample])])
    }

    fn http(shape: &str, datatype: &str, data: &[u8]) -> Kept {
        let size = data.len();
        let mut body = format!(
            r#"{{"outputs":[{{"name":"OUT","datatype":"{datatype}","shape":{shape},
               "parameters":{{"binary_data_size":{size}}}}}]}}"#
        )
        .into_bytes();
        let json_byte_size = Some(body.len());
        body.extend_from_slice(data);
        Kept {
            json_byte_size,
            body,
        }
    }

    #[test]
    fn answers_that_do_not_fit_the_model_are_wrong() {
        let verifier = verifier(Door::Http, None);
        let cases = [
            (http("[1,2]", "UINT8", &[1, 2]), ""),
            (http("[1,2]", "INT8", &[1, 2]), "datatype"),
            (http("[2]", "UINT8", &[1, 2]), "shape"),
            (http("[1,1,2]", "UINT8", &[1, 2]), "shape"),
            (http("[1,3]", "UINT8", &[1, 2]), "bytes"),
            (http("[1,2]", "X", &[1, 2]), "unknown datatype"),
        ];
        for (kept, due) in cases {
            match verifier.check(0, 0, &kept) {
                Err(error) => assert!(!due.is_empty() && error.contains(due), "{error}"),
                Ok(()) => assert!(due.is_empty(), "{due}"),
            }
        }
    }

    #[test]
    fn answers_that_change_are_counted_and_wrong_contents_fail() {
        let verifier = verifier(Door::Http, None);
        for data in [[1, 2], [1, 2], [1, 3]] {
            verifier
                .check(0, 0, &http("[1,2]", "UINT8", &data))
                .unwrap();
        }
        assert_eq!(verifier.counts(), (3, 1));
        let verifier = self::verifier(Door::Http, Some(&[1, 2]));
        assert!(
            verifier
                .check(0, 0, &http("[1,2]", "UINT8", &[1, 2]))
                .is_ok()
        );
        assert!(
            verifier
                .check(0, 0, &http("[1,2]", "UINT8", &[1, 3]))
                .is_err()
        );
    }

    #[test]
    fn answers_over_grpc_are_read() {
        let verifier = verifier(Door::Grpc, Some(&[7, 8]));
        let response = ModelInferResponse {
            outputs: vec![InferOutputTensor {
                name: "OUT".to_owned(),
                datatype: "UINT8".to_owned(),
                shape: vec![1, 2],
                ..InferOutputTensor::default()
            }],
            raw_output_contents: vec![Bytes::from_static(&[7, 8])],
            ..ModelInferResponse::default()
        };
        let kept = |body| Kept {
            json_byte_size: None,
            body,
        };
        assert_eq!(
            verifier.check(0, 0, &kept(response.encode_to_vec())),
            Ok(())
        );
        assert!(verifier.check(0, 0, &kept(vec![0xff])).is_err());
    }
}
