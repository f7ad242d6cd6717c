//! Arrays as numpy saves them.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail, ensure};

use super::{Row, Tensor, row_tensor};
use crate::{
    perf::model::{Model, TensorSpec},
    tensor::Datatype,
};

const MAGIC: &[u8] = b"\x93NUMPY";

/// An array.
#[derive(Debug, PartialEq)]
pub(super) struct Array {
    datatype: Datatype,
    shape: Vec<i64>,
    bytes: Vec<u8>,
}

/// The rows in a file for the model's only input.
pub(super) fn rows(path: &Path, model: &Model) -> Result<Vec<Row>> {
    let [spec] = &model.inputs[..] else {
        bail!(
            "the model has {} inputs: put a .npy file for each into a folder, and give the folder",
            model.inputs.len()
        );
    };
    let tensors = read(path)?.rows(spec)?;
    Ok(tensors.into_iter().map(Row::of).collect())
}

/// The array in a file.
pub(super) fn read(path: &Path) -> Result<Array> {
    Array::parse(&fs::read(path)?)
}

impl Row {
    fn of(input: Tensor) -> Self {
        Self {
            inputs: vec![input],
            expected: Vec::new(),
        }
    }
}

impl Array {
    /// Reads the format, version 1 to 3.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        let rest = bytes.strip_prefix(MAGIC).context("not a .npy file")?;
        let (version, rest) = rest.split_first_chunk::<2>().context("cut short")?;
        let (length, rest) = if version[0] == 1 {
            let (length, rest) = rest.split_first_chunk::<2>().context("cut short")?;
            (u32::from(u16::from_le_bytes(*length)), rest)
        } else {
            let (length, rest) = rest.split_first_chunk::<4>().context("cut short")?;
            (u32::from_le_bytes(*length), rest)
        };
        let header = rest.split_at_checked(usize::try_from(length)?);
        let (header, data) = header.context("cut short")?;
        let header = std::str::from_utf8(header)?;
        ensure!(
            field(header, "fortran_order")?.starts_with("False"),
            "the array is in Fortran's order; save numpy.ascontiguousarray of it"
        );
        Ok(Self {
            datatype: datatype(field(header, "descr")?)?,
            shape: shape(field(header, "shape")?)?,
            bytes: data.to_vec(),
        })
    }

    /// Its rows: itself if it is one, otherwise what lies along its first dimension.
    pub(super) fn rows(&self, spec: &TensorSpec) -> Result<Vec<Tensor>> {
        ensure!(
            self.datatype == spec.datatype,
            "{} is {}, and the array {}",
            spec.name,
            spec.datatype,
            self.datatype
        );
        if spec.accepts(&self.shape) {
            return Ok(vec![row_tensor(
                spec,
                self.shape.clone(),
                self.bytes.clone(),
            )?]);
        }
        let (&count, dims) = self.shape.split_first().context("a scalar")?;
        ensure!(
            count > 0 && spec.accepts(dims),
            "{} is {}, and the array has neither that shape nor rows of it: {:?}",
            spec.name,
            spec.shape_text(),
            self.shape
        );
        let size = self.bytes.len() / usize::try_from(count)?;
        let rows = self.bytes.chunks_exact(size.max(1));
        rows.map(|row| row_tensor(spec, dims.to_vec(), row.to_vec()))
            .collect()
    }
}

/// What follows a key of the header, which is a literal of a Python dictionary.
fn field<'a>(header: &'a str, key: &str) -> Result<&'a str> {
    let quoted = format!("'{key}':");
    let found = header.split_once(&quoted);
    let (_, value) = found.with_context(|| format!("the header has no {key}"))?;
    Ok(value.trim_start())
}

fn datatype(descr: &str) -> Result<Datatype> {
    let name = descr
        .trim_start_matches('\'')
        .split('\'')
        .next()
        .unwrap_or("");
    Ok(match name {
        "|b1" => Datatype::Bool,
        "|u1" => Datatype::Uint8,
        "<u2" => Datatype::Uint16,
        "<u4" => Datatype::Uint32,
        "<u8" => Datatype::Uint64,
        "|i1" => Datatype::Int8,
        "<i2" => Datatype::Int16,
        "<i4" => Datatype::Int32,
        "<i8" => Datatype::Int64,
        "<f2" => Datatype::Fp16,
        "<f4" => Datatype::Fp32,
        "<f8" => Datatype::Fp64,
        _ => bail!("arrays of {name} are not read"),
    })
}

fn shape(tuple: &str) -> Result<Vec<i64>> {
    let inner = tuple
        .strip_prefix('(')
        .and_then(|rest| rest.split(')').next());
    let parts = inner.context("the shape is no tuple")?.split(',');
    let parts = parts.map(str::trim).filter(|part| !part.is_empty());
    parts.map(|part| Ok(part.parse()?)).collect()
}
