//! Whether a candidate answers as the model does as it is. Other optimisations add in another order, so
//! floating-point numbers may differ a little; everything else may not. Pure.

use crate::{perf::Tensor, tensor::floats};

/// # Errors
/// The output that differs, and by how much.
pub(super) fn agree(
    due: &[Vec<Tensor>],
    answers: &[Vec<Tensor>],
    tolerance: f64,
) -> Result<(), String> {
    if due.len() != answers.len() {
        return Err("it does not answer all requests".to_owned());
    }
    for (due, answer) in due.iter().zip(answers) {
        for due in due {
            let own = answer.iter().find(|own| own.name == due.name);
            let own = own.ok_or_else(|| format!("output {} is missing", due.name))?;
            output(due, own, tolerance)?;
        }
    }
    Ok(())
}

fn output(due: &Tensor, own: &Tensor, tolerance: f64) -> Result<(), String> {
    let name = &due.name;
    if (due.datatype, &due.shape) != (own.datatype, &own.shape) {
        return Err(format!("output {name} has another shape"));
    }
    let (Some(values), Some(others)) = (
        floats(due.datatype, &due.data),
        floats(own.datatype, &own.data),
    ) else {
        return match due.data == own.data {
            true => Ok(()),
            false => Err(format!("output {name} is another")),
        };
    };
    let differ = |a: f64, b: f64| (a - b).abs() / a.abs().max(b.abs()).max(1.0);
    for (value, other) in values.zip(others) {
        let same = value == other || (value.is_nan() && other.is_nan());
        let far = differ(value, other);
        if !same && (far.is_nan() || far > tolerance) {
            return Err(format!("output {name} has {other} in the place of {value}"));
        }
    }
    Ok(())
}
