//! The binary tensor data extension: where the JSON ends, which bytes are which input's, and
//! requests that are nothing but one tensor.

use bytes::{BufMut, Bytes, BytesMut};
use hyper::HeaderMap;
use smallvec::smallvec;

use super::{answer::JSON_LENGTH, json::InferDocument, json_tensor::DeclaredData};
use crate::{
    api::{InferRequest, OutputFormats, excerpt},
    error::{Error, Result},
    inference::Input,
    model_config::{InputSpec, ModelConfig},
    tensor::{Buffer, Datatype, Shape, Tensor},
};

/// What `Inference-Header-Content-Length` says; `None` if it is not there.
///
/// # Errors
/// `InvalidArgument` unless it is one non-negative number.
pub(super) fn json_length(headers: &HeaderMap) -> Result<Option<usize>> {
    let Some(value) = headers.get(JSON_LENGTH) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default();
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits).map(Some).ok_or_else(|| {
        Error::invalid_argument(
            "json_length",
            format!(
                "Unable to parse Inference-Header-Content-Length '{}' as a non-negative integer",
                excerpt(text)
            ),
        )
    })
}

/// Splits a body after `json_length` bytes (all of it, if `None`) into JSON and binary tensors,
/// without a copy.
///
/// # Errors
/// `InvalidArgument` if the body is shorter than that.
pub fn split_body(mut body: Bytes, json_length: Option<usize>) -> Result<(Bytes, Bytes)> {
    let Some(length) = json_length else {
        return Ok((body, Bytes::new()));
    };
    if length > body.len() {
        return Err(Error::invalid_argument(
            "json_length",
            format!(
                "Inference-Header-Content-Length of {length} exceeds the {} bytes of the body",
                body.len()
            ),
        ));
    }
    let tensors = body.split_off(length);
    Ok((body, tensors))
}

/// Gives each input of `document` that wants binary data its slice of `tensors`.
///
/// # Errors
/// `InvalidArgument`, with `model` in Triton's words, if there are too few or too many bytes.
pub fn bind_tensors(
    document: InferDocument,
    mut tensors: Bytes,
    model: &str,
) -> Result<InferRequest> {
    let mut request = document.request;
    for input in document.inputs {
        let data = match input.data {
            DeclaredData::Json(bytes) => Buffer::from(bytes),
            DeclaredData::Binary(byte_size) if byte_size <= tensors.len() => {
                Buffer::Host(tensors.split_to(byte_size))
            }
            DeclaredData::Shared(reference) => {
                let index = request.inputs.len();
                request.shared.inputs.push((index, reference));
                Buffer::Host(Bytes::new())
            }
            DeclaredData::Binary(byte_size) => {
                let short = byte_size - tensors.len();
                return Err(too_short(&input.name, short, model));
            }
        };
        let tensor = Tensor {
            datatype: input.datatype,
            shape: input.shape,
            data,
        };
        request.inputs.push(Input::new(input.name, tensor));
    }
    if !tensors.is_empty() {
        return Err(Error::invalid_argument(
            "trailing_tensor_data",
            format!("unexpected additional input data for model '{model}'"),
        ));
    }
    Ok(request)
}

/// A request whose body is the only input's bytes; its shape follows from their number. One row,
/// if the model batches. All outputs are wanted as binary data.
///
/// # Errors
/// `InvalidArgument` unless the model has one input of which at most one dimension is variable.
pub(super) fn raw_request(config: &ModelConfig, body: Bytes) -> Result<InferRequest> {
    let [input] = config.inputs.as_slice() else {
        return Err(refuse_raw(format!(
            "Raw request must only have 1 input (found 1) to be deduced but got {} inputs in '{}' \
             model configuration",
            config.inputs.len(),
            config.name
        )));
    };
    let mut shape = raw_shape(input, body.len())?;
    if config.max_batch_size > 0 {
        shape = shape.with_leading(1);
    }
    let tensor = Tensor {
        datatype: input.datatype,
        shape,
        data: Buffer::Host(match input.datatype {
            Datatype::Bytes => with_length(&body)?,
            _ => body,
        }),
    };
    Ok(InferRequest {
        inputs: smallvec![Input::new(&*input.name, tensor)],
        formats: OutputFormats {
            binary_by_default: true,
            ..OutputFormats::default()
        },
        ..InferRequest::default()
    })
}

fn raw_shape(input: &InputSpec, byte_size: usize) -> Result<Shape> {
    let fixed = Shape::new(input.dims.iter().copied().filter(|&dim| dim != -1));
    let fixed_count = fixed.element_count().filter(|&count| count > 0);
    let mut variable = input.dims.iter().enumerate().filter(|(_, dim)| **dim == -1);
    let (first, second) = (variable.next(), variable.next());
    let mut shape = input.dims.clone();
    match (input.datatype.element_byte_size(), first, second) {
        (None, None, _) if fixed_count == Some(1) => Ok(shape),
        (None, ..) => Err(refuse_raw(format!(
            "For BYTE datatype raw input '{}', the model must have input shape [1], got {shape}",
            input.name
        ))),
        // With a fixed shape the model's own check compares the sizes.
        (Some(_), None, _) => Ok(shape),
        (Some(element), Some((index, _)), None) => {
            let row = fixed_count.and_then(|count| count.checked_mul(element));
            let dim = row
                .filter(|row| byte_size.is_multiple_of(*row))
                .and_then(|row| i64::try_from(byte_size / row).ok())
                .ok_or_else(|| {
                    refuse_raw(format!(
                        "{byte_size} bytes of raw input '{}' do not fill the shape {shape}",
                        input.name
                    ))
                })?;
            shape.set(index, dim);
            Ok(shape)
        }
        (Some(_), Some(_), Some(_)) => Err(refuse_raw(format!(
            "The shape of the raw input '{}' can not be deduced because there are more than one \
             variable-sized dimension",
            input.name
        ))),
    }
}

/// `element` with the length in front that a BYTES tensor has.
fn with_length(element: &[u8]) -> Result<Bytes> {
    let length = u32::try_from(element.len())
        .map_err(|_| refuse_raw("a BYTES element must be shorter than 4 GiB".to_owned()))?;
    let mut tensor = BytesMut::with_capacity(element.len().saturating_add(4));
    tensor.put_u32_le(length);
    tensor.put_slice(element);
    Ok(tensor.freeze())
}

fn too_short(input: &str, short: usize, model: &str) -> Error {
    Error::invalid_argument(
        "missing_tensor_data",
        format!(
            "unexpected size for input '{}', expecting {short} additional bytes for model '{model}'",
            excerpt(input)
        ),
    )
}

fn refuse_raw(message: String) -> Error {
    Error::invalid_argument("raw_request", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::tests::model_config;

    fn input(datatype: Datatype, dims: &[i64]) -> InputSpec {
        InputSpec {
            name: "IN".into(),
            datatype,
            dims: dims.into(),
            reshape: None,
            optional: false,
        }
    }

    fn shape(datatype: Datatype, dims: &[i64], byte_size: usize) -> Result<String> {
        raw_shape(&input(datatype, dims), byte_size).map(|shape| shape.to_string())
    }

    #[test]
    fn deduces_one_variable_dimension_of_a_raw_request() {
        assert_eq!(shape(Datatype::Fp32, &[2, -1], 24).unwrap(), "[2,3]");
        assert_eq!(shape(Datatype::Fp32, &[2, 2], 7).unwrap(), "[2,2]");
        assert_eq!(shape(Datatype::Bytes, &[1, 1], 7).unwrap(), "[1,1]");
        for (datatype, dims, byte_size) in [
            (Datatype::Fp32, &[2, -1][..], 25),
            (Datatype::Fp32, &[-1, -1], 16),
            (Datatype::Fp32, &[0, -1], 0),
            (Datatype::Fp64, &[i64::MAX, i64::MAX, -1], 8),
            (Datatype::Bytes, &[2], 8),
            (Datatype::Bytes, &[-1], 8),
            (Datatype::Bytes, &[-1, 1], 8),
        ] {
            assert!(shape(datatype, dims, byte_size).is_err(), "{dims:?}");
        }
    }

    #[test]
    fn a_raw_body_is_one_row_of_the_only_input() {
        let config = model_config(8, &[("IN", Datatype::Uint8, &[-1])]);
        let request = raw_request(&config, Bytes::from_static(b"abc")).unwrap();
        let input = &request.inputs[0];
        assert_eq!((&*input.name, &*input.tensor.shape), ("IN", &[1, 3][..]));
        assert!(request.outputs.is_none() && request.formats.is_binary(0));
        let two = [
            ("A", Datatype::Uint8, &[1][..]),
            ("B", Datatype::Uint8, &[1]),
        ];
        let error = raw_request(&model_config(0, &two), Bytes::new()).unwrap_err();
        assert!(error.message().contains("got 2 inputs in 'm'"), "{error}");
    }

    #[test]
    fn a_raw_string_gets_its_length_in_front() {
        assert_eq!(with_length(b"ab").unwrap(), &b"\x02\0\0\0ab"[..]);
    }

    #[test]
    fn the_json_length_is_digits_only() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(JSON_LENGTH, text.parse().unwrap());
            json_length(&headers)
        };
        assert_eq!(json_length(&HeaderMap::new()).unwrap(), None);
        assert_eq!(read("0").unwrap(), Some(0));
        for bad in ["", "-1", "+1", "1.5", "x", "99999999999999999999999"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn bodies_split_where_the_header_says() {
        let body = Bytes::from_static(b"{}123");
        let (json, tensors) = split_body(body.clone(), Some(2)).unwrap();
        assert_eq!((&json[..], &tensors[..]), (&b"{}"[..], &b"123"[..]));
        let (json, tensors) = split_body(body.clone(), None).unwrap();
        assert_eq!((json.len(), tensors.len()), (5, 0));
        assert!(split_body(body, Some(6)).is_err());
    }
}
