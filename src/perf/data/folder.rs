//! A folder with a file for each input, and perhaps for some outputs: numpy's, or the bytes
//! themselves, or lines of text.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use super::{Data, Row, Tensor, npy, row_tensor};
use crate::{
    perf::model::{Model, TensorSpec},
    tensor::{Datatype, push_element},
};

/// The rows in a folder.
pub(super) fn rows(folder: &Path, data: &Data, model: &Model) -> Result<Vec<Row>> {
    let mut columns = Vec::new();
    for spec in &model.inputs {
        let column = column(folder, spec, || data.dims(spec))?;
        columns.push(column.with_context(|| {
            format!("there is no file {0} or {0}.npy for input {0}", spec.name)
        })?);
    }
    let mut expected = Vec::new();
    for spec in &model.outputs {
        expected.extend(column(folder, spec, || Ok(spec.dims.clone()))?);
    }
    let count = columns.first().map_or(0, Vec::len);
    let even = columns
        .iter()
        .chain(&expected)
        .all(|column| column.len() == count);
    ensure!(even, "the files do not have the same number of rows");
    let across = |columns: &[Vec<Tensor>], row: usize| -> Vec<Tensor> {
        columns
            .iter()
            .filter_map(|column| column.get(row).cloned())
            .collect()
    };
    Ok((0..count)
        .map(|row| Row {
            inputs: across(&columns, row),
            expected: across(&expected, row),
        })
        .collect())
}

/// The rows of one tensor; `None` if there is no file for it.
fn column(
    folder: &Path,
    spec: &TensorSpec,
    dims: impl FnOnce() -> Result<Vec<i64>>,
) -> Result<Option<Vec<Tensor>>> {
    let Some(path) = file_in(folder, &spec.name) else {
        return Ok(None);
    };
    let array = path.with_extension("npy");
    if array.is_file() && path == array {
        let rows = npy::read(&path).and_then(|array| array.rows(spec));
        return rows.map(Some).with_context(|| path.display().to_string());
    }
    let mut bytes = fs::read(&path)?;
    if spec.datatype == Datatype::Bytes {
        bytes = lines(&bytes);
    }
    let row = row_tensor(spec, dims()?, bytes).with_context(|| path.display().to_string())?;
    Ok(Some(vec![row]))
}

/// The tensor's file. Its name comes from the server and must not lead out of the folder.
fn file_in(folder: &Path, name: &str) -> Option<PathBuf> {
    if name.contains('/') || name.starts_with('.') {
        return None;
    }
    let files = [folder.join(format!("{name}.npy")), folder.join(name)];
    files.into_iter().find(|file| file.is_file())
}

fn lines(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    for line in text.split(|&byte| byte == b'\n') {
        push_element(&mut bytes, line);
    }
    bytes
}
