//! The classification extension: an output as its largest elements, `value:index[:label]`, in the
//! place of all of them. Pure but for the model's labels, which it is handed.

use std::num::NonZeroUsize;

use half::{bf16, f16};

use super::request::within;
use crate::{
    admission::Limits,
    error::{Error, Result},
    inference::Response,
    model::{Labels, Model},
    model_config::ModelConfig,
    tensor::{Datatype, Ranked, Shape, Tensor, push_element, top_k},
};

/// Which of the outputs that a request lists are wanted as classes, and how many of them. Empty for
/// most requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Classification(Vec<(usize, NonZeroUsize)>);

impl Classification {
    /// Asks for the `count` largest elements of each row of the listed output `place`.
    pub(super) fn push(&mut self, place: usize, count: NonZeroUsize) {
        self.0.push((place, count));
    }

    /// Whether the listed output `place` is wanted as classes.
    pub(super) fn contains(&self, place: usize) -> bool {
        self.0.iter().any(|&(wanted, _)| wanted == place)
    }

    /// Refuses outputs without an order, before anything is computed. `outputs` are those listed.
    ///
    /// # Errors
    /// `InvalidArgument`, in Triton's words.
    pub(super) fn check(&self, outputs: &[String], model: &ModelConfig) -> Result<()> {
        for name in self.0.iter().filter_map(|&(place, _)| outputs.get(place)) {
            // An unknown name is refused where all names are checked.
            if let Some(spec) = model.outputs.iter().find(|spec| *spec.name == **name)
                && matches!(spec.datatype, Datatype::Bool | Datatype::Bytes)
            {
                return Err(no_order(spec.datatype));
            }
        }
        Ok(())
    }

    /// Puts the classes in the place of the outputs.
    ///
    /// # Errors
    /// `InvalidArgument` if they are more than `limits` allow, `Internal` for an output that is not
    /// what it says it is.
    pub(super) fn apply(
        &self,
        response: &mut Response,
        model: &Model,
        limits: &Limits,
    ) -> Result<()> {
        let has_rows = model.config().max_batch_size > 0;
        for &(place, count) in &self.0 {
            let Some(output) = response.outputs.get_mut(place) else {
                continue;
            };
            let view = View::new(&output.tensor, has_rows, count.get())
                .ok_or_else(|| unreadable(&output.name))?;
            within(
                &format!("number of classes of output '{}'", output.name),
                view.rows.saturating_mul(view.count),
                limits.classes_per_output,
            )?;
            output.tensor = view.classes(model.labels(output.index))?;
        }
        Ok(())
    }
}

/// A tensor as rows of elements, of each of which the largest are wanted.
#[derive(Clone, Copy)]
struct View<'a> {
    data: &'a [u8],
    datatype: Datatype,
    /// Whether the classes' shape has a leading dimension of rows.
    has_rows: bool,
    rows: usize,
    row_byte_size: usize,
    /// How many of each row: not more than it has.
    count: usize,
}

impl<'a> View<'a> {
    /// `None` for a tensor that is not on the host, or whose bytes do not fill its shape.
    fn new(tensor: &'a Tensor, has_rows: bool, count: usize) -> Option<Self> {
        let data = tensor.data.host()?;
        if Some(data.len()) != tensor.shape.byte_size(tensor.datatype) {
            return None;
        }
        let (rows, row) = match tensor.shape.split_first() {
            Some((&rows, row)) if has_rows => (usize::try_from(rows).ok()?, Shape::from(row)),
            _ => (1, tensor.shape.clone()),
        };
        Some(Self {
            data,
            datatype: tensor.datatype,
            has_rows: has_rows && !tensor.shape.is_empty(),
            rows,
            row_byte_size: row.byte_size(tensor.datatype)?,
            count: count.min(row.element_count()?),
        })
    }

    fn classes(self, labels: Option<&Labels>) -> Result<Tensor> {
        let data = match self.datatype {
            Datatype::Uint8 => self.write(labels, u8::from_le_bytes, push_integer),
            Datatype::Uint16 => self.write(labels, u16::from_le_bytes, push_integer),
            Datatype::Uint32 => self.write(labels, u32::from_le_bytes, push_integer),
            Datatype::Uint64 => self.write(labels, u64::from_le_bytes, push_integer),
            Datatype::Int8 => self.write(labels, i8::from_le_bytes, push_integer),
            Datatype::Int16 => self.write(labels, i16::from_le_bytes, push_integer),
            Datatype::Int32 => self.write(labels, i32::from_le_bytes, push_integer),
            Datatype::Int64 => self.write(labels, i64::from_le_bytes, push_integer),
            Datatype::Fp16 => self.write(labels, f16::from_le_bytes, push_float),
            Datatype::Bf16 => self.write(labels, bf16::from_le_bytes, push_float),
            Datatype::Fp32 => self.write(labels, f32::from_le_bytes, push_float),
            Datatype::Fp64 => self.write(labels, f64::from_le_bytes, push_float),
            Datatype::Bool | Datatype::Bytes => return Err(no_order(self.datatype)),
        }?;
        let rows = self.has_rows.then_some(self.rows);
        let dims = rows.into_iter().chain([self.count]);
        Ok(Tensor {
            datatype: Datatype::Bytes,
            shape: dims
                .map(|dim| i64::try_from(dim).unwrap_or(i64::MAX))
                .collect(),
            data: data.into(),
        })
    }

    /// The classes as a BYTES tensor's data.
    fn write<T: Ranked, const N: usize>(
        self,
        labels: Option<&Labels>,
        element: fn([u8; N]) -> T,
        push: fn(&mut Vec<u8>, T),
    ) -> Result<Vec<u8>> {
        let (mut data, mut text) = (Vec::new(), Vec::new());
        // Without elements there are no classes, whatever the number of rows.
        for row in self.data.chunks_exact(self.row_byte_size.max(1)) {
            let (elements, _) = row.as_chunks::<N>();
            let elements = elements.iter().map(|&bytes| element(bytes));
            for (class, value) in top_k(elements, self.count) {
                text.clear();
                push(&mut text, value);
                text.push(b':');
                push_integer(&mut text, class);
                if let Some(label) = labels.and_then(|labels| labels.label(class)) {
                    text.push(b':');
                    text.extend_from_slice(label);
                }
                push_element(&mut data, &text).ok_or_else(|| {
                    Error::internal("class_text", "the text of a class is 4 GiB or longer")
                })?;
            }
        }
        Ok(data)
    }
}

fn push_integer<T: itoa::Integer>(text: &mut Vec<u8>, value: T) {
    text.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// As C's `%f`, which C++ standard libraries use to make text of floating-point numbers.
fn push_float<T: Into<f64>>(text: &mut Vec<u8>, value: T) {
    let value = value.into();
    let shown = match (value.is_nan(), value.is_sign_negative()) {
        (true, false) => "nan".to_owned(),
        (true, true) => "-nan".to_owned(),
        (false, _) => format!("{value:.6}"),
    };
    text.extend_from_slice(shown.as_bytes());
}

fn no_order(datatype: Datatype) -> Error {
    Error::invalid_argument(
        "classification_datatype",
        format!("class result not available for output due to unsupported type '{datatype}'"),
    )
}

fn unreadable(output: &str) -> Error {
    Error::internal(
        "malformed_output",
        format!("output '{output}' cannot be read for classification"),
    )
}

#[cfg(test)]
#[path = "classification_tests.rs"]
mod tests;
