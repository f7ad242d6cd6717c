//! Data that mean nothing.

use anyhow::{Context, Result, ensure};

use super::{Data, Row, Source, Tensor, elements::push_number, row_tensor};
use crate::{
    perf::{model::Model, random::Random},
    tensor::{Datatype, Shape, push_element},
};

/// Different rows, as far as memory allows.
const ROWS: usize = 16;
/// What all rows together may take.
const MOST_BYTES: usize = 64 << 20;
/// Whole numbers lie below.
const MOST: f64 = 101.0;

/// Random or zero rows.
pub(super) fn rows(data: &Data, model: &Model) -> Result<Vec<Row>> {
    let mut random = Random::new(data.seed);
    let mut rows: Vec<Row> = Vec::new();
    let mut byte_size = 0;
    while rows.len() < ROWS && byte_size * (rows.len() + 1) <= MOST_BYTES * rows.len().max(1) {
        let row = row(data, model, &mut random)?;
        byte_size += row
            .inputs
            .iter()
            .map(|tensor| tensor.data.len())
            .sum::<usize>();
        rows.push(row);
        if data.source == Source::Zero {
            break;
        }
    }
    Ok(rows)
}

fn row(data: &Data, model: &Model, random: &mut Random) -> Result<Row> {
    let inputs = model.inputs.iter().map(|spec| -> Result<Tensor> {
        let dims = data.dims(spec)?;
        let count = Shape::from(&dims[..]).element_count();
        let count = count.with_context(|| format!("{dims:?} is too large"))?;
        ensure!(
            count <= MOST_BYTES * 4,
            "input {} with {count} elements is too large",
            spec.name
        );
        let mut bytes = Vec::new();
        for _ in 0..count {
            push(data, spec.datatype, random, &mut bytes);
        }
        row_tensor(spec, dims, bytes)
    });
    Ok(Row {
        inputs: inputs.collect::<Result<_>>()?,
        expected: Vec::new(),
    })
}

fn push(data: &Data, datatype: Datatype, random: &mut Random, bytes: &mut Vec<u8>) {
    let zero = data.source == Source::Zero;
    let number = match datatype {
        Datatype::Bytes => return push_text(data, zero, random, bytes),
        _ if zero => 0.0,
        Datatype::Bool => (random.unit() * 2.0).floor().min(1.0),
        Datatype::Fp16 | Datatype::Bf16 | Datatype::Fp32 | Datatype::Fp64 => random.unit(),
        _ => (random.unit() * MOST).floor().min(MOST - 1.0),
    };
    push_number(datatype, number, bytes);
}

fn push_text(data: &Data, zero: bool, random: &mut Random, bytes: &mut Vec<u8>) {
    let text: Vec<u8> = match &data.string_data {
        Some(text) => text.clone().into_bytes(),
        None if zero => Vec::new(),
        None => (0..data.string_length).map(|_| letter(random)).collect(),
    };
    push_element(bytes, &text);
}

fn letter(random: &mut Random) -> u8 {
    const LETTERS: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789  ";
    let index = usize::try_from(random.bits() % 64).unwrap_or(0);
    LETTERS[index]
}
