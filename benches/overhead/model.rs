//! The models: their configurations, and what they are asked and must answer.

use std::{fs, iter, path::Path};

use anyhow::Result;
use bytes::Bytes;
use serde_json::json;

/// A model with one input, INPUT0, and one output of the same datatype, OUTPUT0.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    /// Its folder in the repository.
    pub name: &'static str,
    backend: &'static str,
    pub datatype: &'static str,
    element_byte_size: usize,
    elements: usize,
    output_elements: usize,
    /// 0 if it cannot be batched; else it has a dynamic batcher.
    max_batch_size: usize,
}

/// Numbers of an image of 224 x 224 pixels.
const IMAGE: usize = 3 * 224 * 224;

pub const IDENTITY_SMALL: Model = Model {
    name: "identity_small",
    backend: "identity",
    datatype: "UINT8",
    element_byte_size: 1,
    elements: 64,
    output_elements: 64,
    max_batch_size: 0,
};

pub const IDENTITY_LARGE: Model = Model {
    name: "identity_large",
    datatype: "FP32",
    element_byte_size: 4,
    elements: IMAGE,
    output_elements: IMAGE,
    ..IDENTITY_SMALL
};

/// Takes an image and answers with a score for each of 1000 classes.
pub const CLASSIFIER: Model = Model {
    name: "simulated_image",
    backend: "simulated",
    output_elements: 1000,
    ..IDENTITY_LARGE
};

pub const ALL: [Model; 5] = [
    IDENTITY_SMALL,
    Model {
        name: "identity_batched",
        max_batch_size: 64,
        ..IDENTITY_SMALL
    },
    Model {
        name: "simulated_small",
        backend: "simulated",
        ..IDENTITY_SMALL
    },
    IDENTITY_LARGE,
    CLASSIFIER,
];

impl Model {
    /// Bytes of its input tensor.
    pub fn byte_size(&self) -> usize {
        self.elements * self.element_byte_size
    }

    /// Bytes of its output tensor.
    pub fn output_byte_size(&self) -> usize {
        self.output_elements * self.element_byte_size
    }

    /// The shape of a request for one row.
    pub fn shape(&self) -> Vec<usize> {
        let batch = (self.max_batch_size > 0).then_some(1);
        batch.into_iter().chain([self.elements]).collect()
    }

    /// The input: bytes that a mix-up of rows or offsets would not leave as they are.
    pub fn input(&self) -> Bytes {
        (0..=250_u8).cycle().take(self.byte_size()).collect()
    }

    /// The output that is due.
    pub fn output(&self) -> Bytes {
        if self.backend == "identity" {
            self.input()
        } else {
            iter::repeat_n(0, self.output_byte_size()).collect()
        }
    }

    /// A whole HTTP request with a binary input, for a binary output.
    pub fn http_request(&self) -> Bytes {
        let json = json!({
            "inputs": [{
                "name": "INPUT0",
                "shape": self.shape(),
                "datatype": self.datatype,
                "parameters": { "binary_data_size": self.byte_size() },
            }],
            "outputs": [{ "name": "OUTPUT0", "parameters": { "binary_data": true } }],
        })
        .to_string();
        let head = format!(
            "POST /v2/models/{}/infer HTTP/1.1\r\n\
             Host: localhost\r\n\
             Content-Type: application/octet-stream\r\n\
             Inference-Header-Content-Length: {}\r\n\
             Content-Length: {}\r\n\r\n",
            self.name,
            json.len(),
            json.len() + self.byte_size(),
        );
        [head.as_bytes(), json.as_bytes(), &self.input()]
            .concat()
            .into()
    }

    /// Adds it to a repository.
    pub fn write(&self, repository: &Path) -> Result<()> {
        let folder = repository.join(self.name);
        fs::create_dir_all(folder.join("1"))?;
        fs::write(folder.join("config.pbtxt"), self.config())?;
        Ok(())
    }

    fn config(&self) -> String {
        let Self {
            backend,
            datatype,
            elements,
            output_elements,
            max_batch_size,
            ..
        } = self;
        let batching = if *max_batch_size > 0 {
            "dynamic_batching { }\n"
        } else {
            ""
        };
        format!(
            "backend: \"{backend}\"\n\
             max_batch_size: {max_batch_size}\n\
             input [ {{ name: \"INPUT0\" data_type: TYPE_{datatype} dims: [ {elements} ] }} ]\n\
             output [ {{ name: \"OUTPUT0\" data_type: TYPE_{datatype} dims: [ {output_elements} ] }} ]\n\
             {batching}"
        )
    }
}
