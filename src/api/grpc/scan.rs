//! Counts what a `ModelInferRequest` holds before it is decoded. Two bytes on the wire can decode
//! to a structure of two hundred, so the limits must hold before that memory is taken. What numbers
//! in lists become is counted too: two bytes of a list can be sixteen once they are decoded.

use bytes::Bytes;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::{admission::Limits, api::request::within, error::Result};

/// Field numbers of `ModelInferRequest` and the messages in it, and of `RepositoryModelLoadRequest`.
mod field {
    pub(super) const PARAMETERS: u32 = 4;
    pub(super) const INPUTS: u32 = 5;
    pub(super) const OUTPUTS: u32 = 6;
    pub(super) const RAW_INPUT_CONTENTS: u32 = 7;
    pub(super) const INPUT_SHAPE: u32 = 3;
    pub(super) const INPUT_PARAMETERS: u32 = 4;
    pub(super) const INPUT_CONTENTS: u32 = 5;
    pub(super) const OUTPUT_PARAMETERS: u32 = 2;
    pub(super) const LOAD_PARAMETERS: u32 = 3;
}

/// Times that the elements of a list are in memory: in the list, which has grown by doubling, and
/// as the bytes that it is turned into.
const LIST_COPIES: usize = 3;

/// Checks the numbers of tensors, dimensions and parameters in an encoded message. What is
/// malformed is left for the decoder to refuse. Returns the bytes that its lists of elements take
/// once they are decoded.
///
/// # Errors
/// `InvalidArgument` that names the first number beyond its limit.
pub(super) fn check_counts(message: &[u8], limits: &Limits) -> Result<usize> {
    let mut list_byte_size: usize = 0;
    let (mut parameters, mut inputs, mut outputs, mut raw) = (0, 0, 0, 0);
    for (number, value) in Fields(message) {
        match number {
            field::PARAMETERS => count("number of parameters", &mut parameters, limits.parameters)?,
            field::INPUTS => {
                count("number of inputs", &mut inputs, limits.tensors_per_request)?;
                list_byte_size = list_byte_size.saturating_add(check_input(value, limits)?);
            }
            field::OUTPUTS => {
                count(
                    "number of outputs",
                    &mut outputs,
                    limits.tensors_per_request,
                )?;
                check_output(value, limits)?;
            }
            field::RAW_INPUT_CONTENTS => {
                let what = "number of raw_input_contents";
                count(what, &mut raw, limits.tensors_per_request)?;
            }
            _ => {}
        }
    }
    Ok(list_byte_size.saturating_mul(LIST_COPIES))
}

/// Checks the number of parameters in an encoded `RepositoryModelLoadRequest`.
///
/// # Errors
/// `InvalidArgument` if there are too many.
pub(super) fn check_load_counts(message: &[u8], limits: &Limits) -> Result<()> {
    let mut parameters = 0;
    for (number, _) in Fields(message) {
        if number == field::LOAD_PARAMETERS {
            count(
                "number of load parameters",
                &mut parameters,
                limits.parameters,
            )?;
        }
    }
    Ok(())
}

/// Returns the bytes of its elements, once.
fn check_input(input: &[u8], limits: &Limits) -> Result<usize> {
    let (mut dims, mut parameters) = (0, 0);
    let mut list_byte_size: usize = 0;
    for (number, value) in Fields(input) {
        match number {
            field::INPUT_SHAPE => {
                // Packed: each dimension ends with a byte below 0x80. Otherwise: one dimension.
                dims += varints(value);
                within("number of dimensions", dims, limits.dims_per_tensor)?;
            }
            field::INPUT_PARAMETERS => {
                count("number of parameters", &mut parameters, limits.parameters)?;
            }
            field::INPUT_CONTENTS => {
                let lists = Fields(value).map(|(number, value)| elements(number, value));
                list_byte_size = lists.fold(list_byte_size, usize::saturating_add);
            }
            _ => {}
        }
    }
    Ok(list_byte_size)
}

/// How many numbers there are in a packed list, or in a field of its own.
fn varints(value: &[u8]) -> usize {
    value.iter().filter(|&&byte| byte < 0x80).count().max(1)
}

/// Bytes of what one field of `InferTensorContents` adds to its list.
fn elements(number: u32, value: &[u8]) -> usize {
    let byte_size = match number {
        1 => 1,
        2 | 4 => 4,
        3 | 5 => 8,
        // As long as they are on the wire; one that is not packed has no more than eight bytes.
        6 | 7 => return value.len().max(8),
        // Its element of the list, and its length in front of its bytes.
        8 => return size_of::<Bytes>().saturating_add(4 + value.len()),
        _ => return 0,
    };
    varints(value).saturating_mul(byte_size)
}

fn check_output(output: &[u8], limits: &Limits) -> Result<()> {
    let mut parameters = 0;
    for (number, _) in Fields(output) {
        if number == field::OUTPUT_PARAMETERS {
            count("number of parameters", &mut parameters, limits.parameters)?;
        }
    }
    Ok(())
}

fn count(what: &str, counter: &mut usize, limit: usize) -> Result<()> {
    *counter += 1;
    within(what, *counter, limit)
}

/// The fields of an encoded message: their numbers, and the bytes of those that have a length.
/// Ends early where the message is malformed.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (u32, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let (number, wire_type) = decode_key(&mut self.0).ok()?;
        if wire_type != WireType::LengthDelimited {
            // Groups included, which the decoder skips as well.
            skip_field(wire_type, number, &mut self.0, DecodeContext::default()).ok()?;
            return Some((number, &[]));
        }
        let length = usize::try_from(decode_varint(&mut self.0).ok()?).ok()?;
        let (value, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some((number, value))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::proto::inference::{
        InferParameter, ModelInferRequest,
        model_infer_request::{InferInputTensor, InferRequestedOutputTensor},
    };

    const LIMITS: Limits = Limits {
        credential_byte_size: 0,
        principals: 0,
        classes_per_output: 1,
        request_byte_size: usize::MAX,
        in_flight_byte_size: usize::MAX,
        response_byte_size: usize::MAX,
        small_chunks_per_body: 1,
        connections: 1,
        decompressed_byte_size: usize::MAX,
        decompression_ratio: 1,
        compressions: 1,
        json_byte_size: usize::MAX,
        json_depth: 1,
        header_byte_size: usize::MAX,
        tensors_per_request: 2,
        dims_per_tensor: 3,
        parameters: 1,
        text_byte_size: usize::MAX,
        streams_per_connection: 1,
        requests_per_connection: 1,
        messages_per_stream: 1,
        requests_per_stream: 1,
        stream_byte_size: 1,
        unread_responses: 1,
        header_timeout_seconds: 1,
        body_timeout_seconds: 60,
        handshakes: 1,
        handshake_timeout_seconds: 1,
        shared_memory_regions: 1,
        config_byte_size: 1,
        load_file_byte_size: 1,
    };

    fn check(message: &ModelInferRequest) -> Result<()> {
        check_counts(&message.encode_to_vec(), &LIMITS).map(drop)
    }

    fn parameters(count: usize) -> std::collections::HashMap<String, InferParameter> {
        (0..count)
            .map(|index| (index.to_string(), InferParameter::default()))
            .collect()
    }

    fn request(size: usize) -> ModelInferRequest {
        let input = InferInputTensor {
            name: "A".to_owned(),
            shape: vec![1 << 40; size + 1],
            parameters: parameters(size - 1),
            ..Default::default()
        };
        let output = InferRequestedOutputTensor {
            name: "O".to_owned(),
            parameters: parameters(size - 1),
        };
        ModelInferRequest {
            model_name: "m".to_owned(),
            parameters: parameters(size - 1),
            inputs: vec![input; size],
            outputs: vec![output; size],
            raw_input_contents: vec![vec![8; 10].into(); size],
            ..Default::default()
        }
    }

    #[test]
    fn what_is_within_the_limits_passes() {
        check(&request(2)).unwrap();
    }

    #[test]
    fn each_number_beyond_its_limit_is_refused() {
        let (fits, exceeds) = (request(2), request(3));
        let mut wide = fits.clone();
        wide.inputs[1].shape = exceeds.inputs[0].shape.clone();
        let mut input_parameters = fits.clone();
        input_parameters.inputs[0].parameters = parameters(2);
        let mut output_parameters = fits.clone();
        output_parameters.outputs[0].parameters = parameters(2);
        let with = |change: fn(&mut ModelInferRequest)| {
            let mut request = fits.clone();
            change(&mut request);
            request
        };
        for (message, part) in [
            (with(|r| r.parameters = parameters(2)), "parameters"),
            (
                with(|r| r.inputs.push(InferInputTensor::default())),
                "inputs",
            ),
            (
                with(|r| r.outputs.push(InferRequestedOutputTensor::default())),
                "outputs",
            ),
            (
                with(|r| r.raw_input_contents.push("".into())),
                "raw_input_contents",
            ),
            (wide, "dimensions"),
            (input_parameters, "parameters"),
            (output_parameters, "parameters"),
        ] {
            let error = check(&message).unwrap_err();
            assert!(error.message().contains(part), "{part}: {error}");
        }
    }

    #[test]
    fn dimensions_that_are_not_packed_are_counted_too() {
        // Input { shape: 1, 1, 1, 1 }, each with its own key.
        let message = [&[0x2a, 8][..], &[0x18, 1].repeat(4)].concat();
        assert!(check_counts(&message, &LIMITS).is_err());
        let message = [&[0x2a, 6][..], &[0x18, 1].repeat(3)].concat();
        assert!(check_counts(&message, &LIMITS).is_ok());
    }

    #[test]
    fn what_lists_become_is_counted() {
        use crate::proto::inference::InferTensorContents as Contents;
        let none = Contents::default;
        for (contents, byte_size) in [
            (none(), 0),
            (
                Contents {
                    bool_contents: vec![true; 5],
                    ..none()
                },
                5,
            ),
            (
                Contents {
                    int_contents: vec![-1; 5],
                    ..none()
                },
                20,
            ),
            (
                Contents {
                    int64_contents: vec![1; 5],
                    ..none()
                },
                40,
            ),
            (
                Contents {
                    uint_contents: vec![u32::MAX; 5],
                    ..none()
                },
                20,
            ),
            (
                Contents {
                    uint64_contents: vec![0; 5],
                    ..none()
                },
                40,
            ),
            (
                Contents {
                    fp32_contents: vec![1.0; 5],
                    ..none()
                },
                20,
            ),
            (
                Contents {
                    fp64_contents: vec![1.0; 5],
                    ..none()
                },
                40,
            ),
            (
                Contents {
                    bytes_contents: vec!["abc".into(), "".into()],
                    ..none()
                },
                2 * (size_of::<Bytes>() + 4) + 3,
            ),
        ] {
            let input = InferInputTensor {
                contents: Some(contents),
                ..Default::default()
            };
            let message = ModelInferRequest {
                inputs: vec![input; 2],
                ..Default::default()
            };
            let counted = check_counts(&message.encode_to_vec(), &LIMITS).unwrap();
            assert_eq!(counted, 2 * LIST_COPIES * byte_size);
        }
        // Input { contents { int64_contents: 1, 1 } }, each with its own key.
        let message = [0x2a, 6, 0x2a, 4, 0x18, 1, 0x18, 1];
        assert_eq!(check_counts(&message, &LIMITS).unwrap(), 16 * LIST_COPIES);
    }

    #[test]
    fn nothing_hides_behind_an_unknown_group() {
        let group = [0x7b, 0x08, 0x01, 0x7c];
        let message = [&group[..], &[0x2a, 0].repeat(3)].concat();
        assert_eq!(
            ModelInferRequest::decode(&*message).unwrap().inputs.len(),
            3
        );
        assert!(check_counts(&message, &LIMITS).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic_and_what_decodes_within_the_limits_was_let_through(
            message in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let checked = check_counts(&message, &LIMITS);
            if let (Ok(_), Ok(decoded)) = (checked, ModelInferRequest::decode(&*message)) {
                prop_assert!(decoded.inputs.len() <= LIMITS.tensors_per_request);
                prop_assert!(decoded.raw_input_contents.len() <= LIMITS.tensors_per_request);
            }
        }
    }
}
