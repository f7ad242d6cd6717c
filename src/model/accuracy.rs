//! Whether what one engine answers is close enough to what another does. Pure.

use sha2::{Digest, Sha256};

use crate::{
    backend::Batch,
    tensor::{Tensor, floats},
};

/// What a check is called: the same tolerance on the same samples is the same check.
pub(super) fn check_name(tolerance: f64, samples: &[Batch]) -> String {
    let mut hasher = Sha256::new();
    for input in samples.iter().flat_map(|sample| &sample.inputs) {
        let Tensor {
            datatype,
            shape,
            data,
        } = &input.tensor;
        hasher.update(format!("{} {datatype:?} {shape} ", input.index));
        hasher.update(data.host().unwrap_or_default());
    }
    let digest: String = hasher
        .finalize()
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("tolerance {tolerance}, samples {digest}")
}

/// Holds the outputs of two executions of the same inputs against each other: floats may differ by `tolerance`
/// times the largest magnitude of the reference's output, anything else not at all.
///
/// # Errors
/// Which output differs, and by how much.
pub(super) fn compare(
    reference: &Batch,
    other: &Batch,
    names: &[&str],
    tolerance: f64,
) -> Result<(), String> {
    for (index, expected) in reference.outputs.iter().enumerate() {
        let name = names.get(index).copied().unwrap_or_default();
        let found = other.outputs.get(index).and_then(Option::as_ref);
        match (expected, found) {
            (Some(expected), Some(found)) => compare_tensors(expected, found, tolerance)
                .map_err(|why| format!("output '{name}' {why}"))?,
            _ => return Err(format!("output '{name}' was not computed")),
        }
    }
    Ok(())
}

fn compare_tensors(expected: &Tensor, found: &Tensor, tolerance: f64) -> Result<(), String> {
    if expected.datatype != found.datatype || expected.shape != found.shape {
        return Err(format!(
            "is {:?} of shape {}, not {:?} of shape {}",
            found.datatype, found.shape, expected.datatype, expected.shape
        ));
    }
    let (Some(expected_bytes), Some(found_bytes)) = (expected.data.host(), found.data.host())
    else {
        return Err("is not in host memory".to_owned());
    };
    let numbers = |bytes| floats(expected.datatype, bytes).map(Vec::from_iter);
    match (numbers(expected_bytes), numbers(found_bytes)) {
        (Some(expected), Some(found)) => {
            let difference = difference(&expected, &found);
            // Not a number is no small difference.
            match difference <= tolerance {
                true => Ok(()),
                false => Err(format!(
                    "differs by {difference:.2e} of its largest magnitude, {tolerance:.0e} is allowed"
                )),
            }
        }
        _ if expected_bytes == found_bytes => Ok(()),
        _ => Err("differs".to_owned()),
    }
}

/// The largest difference, as a fraction of the largest magnitude of `expected`.
fn difference(expected: &[f64], found: &[f64]) -> f64 {
    if expected.len() != found.len() {
        return f64::INFINITY;
    }
    let magnitudes = expected.iter().map(|number| number.abs());
    let largest = magnitudes
        .filter(|number| number.is_finite())
        .fold(0.0, f64::max);
    let scale = if largest > 0.0 { largest } else { 1.0 };
    let differences = expected.iter().zip(found).map(|(a, b)| {
        let is_same = a == b || (a.is_nan() && b.is_nan());
        match (is_same, (a - b).abs()) {
            (true, _) => 0.0,
            (false, apart) if apart.is_finite() => apart / scale,
            _ => f64::INFINITY,
        }
    });
    differences.fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};
    use smallvec::smallvec;

    use super::*;
    use crate::{
        backend::BatchInput,
        tensor::{Buffer, Datatype, Shape},
    };

    fn tensor(datatype: Datatype, bytes: Vec<u8>) -> Tensor {
        let size = datatype.element_byte_size().unwrap_or(1);
        let count = i64::try_from(bytes.len() / size).unwrap();
        Tensor {
            datatype,
            shape: Shape::new([count]),
            data: Buffer::from(bytes),
        }
    }

    fn fp32(numbers: &[f32]) -> Tensor {
        tensor(
            Datatype::Fp32,
            numbers
                .iter()
                .flat_map(|number| number.to_le_bytes())
                .collect(),
        )
    }

    fn batch(output: Tensor) -> Batch {
        Batch {
            batch_size: 1,
            inputs: smallvec![BatchInput {
                index: 0,
                tensor: fp32(&[1.0])
            }],
            wanted: smallvec![0],
            outputs: vec![Some(output)],
        }
    }

    fn verdict(expected: Tensor, found: Tensor, tolerance: f64) -> Result<(), String> {
        compare(&batch(expected), &batch(found), &["y"], tolerance)
    }

    #[test]
    fn floats_may_differ_by_a_fraction_of_the_largest() {
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        let table: [(&[f32], &[f32], bool); 11] = [
            (&[1.0, 2.0], &[1.0, 2.0], true),
            // A small number by the side of a large one may be far off.
            (&[100.0, 0.0], &[100.0, 0.9], true),
            (&[100.0, 0.0], &[100.0, 1.1], false),
            (&[-100.0, 1.0], &[-100.9, 1.0], true),
            (&[0.0], &[0.005], true),
            (&[0.0], &[0.1], false),
            (&[nan, inf, -inf, 1.0], &[nan, inf, -inf, 1.0], true),
            (&[1.0], &[nan], false),
            (&[nan], &[1.0], false),
            (&[inf], &[-inf], false),
            (&[], &[], true),
        ];
        for (expected, found, is_close) in table {
            let verdict = verdict(fp32(expected), fp32(found), 0.01);
            assert_eq!(
                verdict.is_ok(),
                is_close,
                "{expected:?} {found:?}: {verdict:?}"
            );
        }
        let message = verdict(fp32(&[2.0]), fp32(&[1.0]), 0.01).unwrap_err();
        assert_eq!(
            message,
            "output 'y' differs by 5.00e-1 of its largest magnitude, 1e-2 is allowed"
        );
    }

    #[test]
    fn half_floats_are_numbers_too() {
        let half = |number| tensor(Datatype::Fp16, f16::from_f32(number).to_le_bytes().to_vec());
        let brain = |number| {
            tensor(
                Datatype::Bf16,
                bf16::from_f32(number).to_le_bytes().to_vec(),
            )
        };
        assert!(verdict(half(1.0), half(1.01), 0.02).is_ok());
        assert!(verdict(half(1.0), half(1.05), 0.02).is_err());
        assert!(verdict(brain(1.0), brain(1.03), 0.05).is_ok());
        assert!(verdict(brain(1.0), brain(2.0), 0.05).is_err());
    }

    #[test]
    fn all_else_is_equal_or_wrong() {
        let bytes = |bytes: &[u8]| tensor(Datatype::Int8, bytes.to_vec());
        assert!(verdict(bytes(&[1, 2]), bytes(&[1, 2]), 0.5).is_ok());
        assert!(verdict(bytes(&[1, 2]), bytes(&[1, 3]), 0.5).is_err());
        assert!(verdict(bytes(&[1, 2]), bytes(&[1]), 0.5).is_err());
        assert!(verdict(bytes(&[0; 4]), fp32(&[0.0]), 0.5).is_err());
        let mut missing = batch(fp32(&[]));
        missing.outputs = vec![None];
        let message = compare(&batch(fp32(&[])), &missing, &["y"], 0.5).unwrap_err();
        assert_eq!(message, "output 'y' was not computed");
    }

    #[test]
    fn a_check_is_called_after_what_it_is_made_of() {
        let sample = |number| {
            let mut sample = batch(fp32(&[]));
            sample.inputs[0].tensor = fp32(&[number]);
            [sample]
        };
        let name = check_name(0.01, &sample(1.0));
        assert_eq!(name, check_name(0.01, &sample(1.0)));
        assert_ne!(name, check_name(0.01, &sample(2.0)));
        assert_ne!(name, check_name(0.02, &sample(1.0)));
        assert!(name.starts_with("tolerance 0.01, samples "), "{name}");
    }
}
