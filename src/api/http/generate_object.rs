//! A response as the object that the generate extension answers with: a key for each output and
//! parameter, and a single element without an array around it.

use super::json_response::{push_data, push_integer, push_parameter, push_string};
use crate::{error::Result, inference::Response, model::Model};

/// What the object says besides the outputs; no output can have these keys.
const RESERVED: [&str; 3] = ["id", "model_name", "model_version"];

/// Writes `response` of `model` to the request `id`, in about `limit` bytes at most.
///
/// # Errors
/// `InvalidArgument` beyond the limit and for a BYTES output that is not UTF-8; `Internal` for an output that is not in
/// host memory or not what its datatype and shape say.
pub(super) fn write(id: &str, model: &Model, response: &Response, limit: usize) -> Result<Vec<u8>> {
    let mut object = Object(Vec::with_capacity(256));
    if !id.is_empty() {
        push_string(object.key("id"), id);
    }
    push_string(object.key("model_name"), model.name());
    let out = object.key("model_version");
    out.push(b'"');
    push_integer(out, model.version());
    out.push(b'"');
    object.push_response(response, limit)?;
    Ok(object.finish())
}

struct Object(Vec<u8>);

impl Object {
    /// Appends a key; its value is to follow.
    fn key(&mut self, key: &str) -> &mut Vec<u8> {
        let separator = if self.0.is_empty() { b'{' } else { b',' };
        self.0.push(separator);
        push_string(&mut self.0, key);
        self.0.push(b':');
        &mut self.0
    }

    /// Parameters first: where an output has the name of one, the parameter counts, as in Triton.
    fn push_response(&mut self, response: &Response, limit: usize) -> Result<()> {
        let is_parameter = |name: &str| response.parameters.iter().any(|(other, _)| other == name);
        for (name, value) in &response.parameters {
            if !RESERVED.contains(&name.as_str()) {
                push_parameter(self.key(name), value);
            }
        }
        for output in &response.outputs {
            let name = &*output.name;
            if RESERVED.contains(&name) || is_parameter(name) {
                continue;
            }
            let out = self.key(name);
            let start = out.len();
            push_data(out, &output.tensor, output, limit)?;
            if output.tensor.shape.element_count() == Some(1) {
                // Without the brackets.
                out.remove(start);
                out.pop();
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Vec<u8> {
        self.0.push(b'}');
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        inference::{Output, Parameter},
        tensor::{Buffer, Datatype, Shape, Tensor, push_element},
    };

    fn output(name: &str, datatype: Datatype, shape: &[i64], data: Vec<u8>) -> Output {
        Output {
            index: 0,
            name: name.into(),
            tensor: Tensor {
                datatype,
                shape: Shape::from(shape),
                data: Buffer::from(data),
            },
        }
    }

    #[test]
    fn single_elements_have_no_array_and_names_are_not_given_twice() {
        let mut text = Vec::new();
        push_element(&mut text, b"a\"b").unwrap();
        let response = Response {
            outputs: [
                output("TEXT", Datatype::Bytes, &[1, 1], text),
                output("N", Datatype::Uint8, &[3], vec![1, 2, 3]),
                output("EMPTY", Datatype::Fp32, &[1, 0], Vec::new()),
                output("id", Datatype::Uint8, &[1], vec![9]),
                output("p", Datatype::Uint8, &[1], vec![9]),
            ]
            .into_iter()
            .collect(),
            parameters: vec![
                ("p".to_owned(), Parameter::Bool(true)),
                ("model_name".to_owned(), Parameter::Int(1)),
            ],
        };
        let mut object = Object(Vec::new());
        object.push_response(&response, usize::MAX).unwrap();
        let text = String::from_utf8(object.finish()).unwrap();
        assert_eq!(text, r#"{"p":true,"TEXT":"a\"b","N":[1,2,3],"EMPTY":[]}"#);
    }
}
