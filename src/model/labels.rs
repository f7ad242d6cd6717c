//! Names of an output's classes, read once, when the model is loaded.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use bytes::Bytes;

use crate::{
    error::{Error, Result},
    model_config::ModelConfig,
};

/// A file of labels is read into memory whole.
const FILE_BYTE_SIZE: u64 = 64 << 20;
/// Clients choose how many labels an answer holds; this bounds what each of them may cost.
const LABEL_BYTE_SIZE: usize = 4096;

/// What the classes of one output are called.
#[derive(Clone, Debug)]
pub struct Labels(Vec<Bytes>);

impl Labels {
    /// One label a line; line `n` is that of class `n`. A carriage return that ends a line is not
    /// part of it.
    fn new(text: &Bytes) -> io::Result<Self> {
        text.split(|&byte| byte == b'\n')
            .enumerate()
            .map(
                |(class, line)| match line.strip_suffix(b"\r").unwrap_or(line) {
                    label if label.len() <= LABEL_BYTE_SIZE => Ok(text.slice_ref(label)),
                    label => Err(io::Error::other(format!(
                        "the label of class {class} has {} bytes, the limit is {LABEL_BYTE_SIZE}",
                        label.len()
                    ))),
                },
            )
            .collect::<io::Result<_>>()
            .map(Self)
    }

    /// The label of a class; `None` if it has none, or an empty one.
    pub fn label(&self, class: usize) -> Option<&[u8]> {
        self.0
            .get(class)
            .map(Bytes::as_ref)
            .filter(|label| !label.is_empty())
    }
}

/// The labels of each output, in the configuration's order. The names of their files have been
/// checked to lie below `folder`.
///
/// # Errors
/// `InvalidArgument` that names the file if it cannot be read, is not a regular file or is larger
/// than 64 MiB, or has a line of more than 4 KiB.
pub(super) fn read(config: &ModelConfig, folder: &Path) -> Result<Vec<Option<Labels>>> {
    config
        .outputs
        .iter()
        .map(|output| {
            let Some(name) = &output.label_filename else {
                return Ok(None);
            };
            let path = folder.join(name);
            let labels = read_file(&path).and_then(|text| Labels::new(&text));
            labels.map(Some).map_err(|error| {
                Error::invalid_argument(
                    "label_file",
                    format!(
                        "unable to read label file '{}' of output '{}' for {}: {error}",
                        path.display(),
                        output.name,
                        config.name
                    ),
                )
            })
        })
        .collect()
}

fn read_file(path: &Path) -> io::Result<Bytes> {
    let metadata = fs::metadata(path)?;
    // Opening a pipe would block.
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut text = Vec::new();
    // One byte more than may be tells a file that is too large; it may still be growing.
    File::open(path)?
        .take(FILE_BYTE_SIZE + 1)
        .read_to_end(&mut text)?;
    if u64::try_from(text.len()).is_ok_and(|size| size <= FILE_BYTE_SIZE) {
        return Ok(text.into());
    }
    Err(io::Error::other(format!(
        "it is larger than {FILE_BYTE_SIZE} bytes"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_label_and_an_empty_one_is_none() {
        let labels = Labels::new(&Bytes::from_static(b"cat\ndog \r\n\nbird")).unwrap();
        let label = |class| labels.label(class).map(<[u8]>::to_vec);
        assert_eq!(label(0), Some(b"cat".to_vec()));
        assert_eq!(label(1), Some(b"dog ".to_vec()));
        assert_eq!(label(2), None);
        assert_eq!(label(3), Some(b"bird".to_vec()));
        assert_eq!(label(4), None);
    }

    #[test]
    fn a_label_is_no_longer_than_may_be() {
        let longest = [b'x'; LABEL_BYTE_SIZE];
        assert!(Labels::new(&Bytes::copy_from_slice(&longest)).is_ok());
        let text = Bytes::from([b"a\nx", &longest[..]].concat());
        let error = Labels::new(&text).unwrap_err().to_string();
        assert!(error.contains("class 1 has 4097 bytes"), "{error}");
    }

    #[test]
    fn what_is_not_a_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = read_file(folder.path()).unwrap_err();
        assert!(error.to_string().contains("regular file"), "{error}");
        assert!(read_file(&folder.path().join("absent")).is_err());
        let large = folder.path().join("large");
        File::create(&large)
            .and_then(|file| file.set_len(FILE_BYTE_SIZE + 1))
            .unwrap();
        let error = read_file(&large).unwrap_err();
        assert!(error.to_string().contains("larger than"), "{error}");
    }
}
