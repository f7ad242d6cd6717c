//! The header of a serialized engine: read before TensorRT sees the file, so that what is no plan, or one
//! of another version, is refused with words instead of a code. Pure, and reads no more than the header.

use std::fmt;

/// What every plan begins with.
const TAG: [u8; 4] = *b"ftrt";
/// The one layout that is known.
const SERIALIZATION: u32 = 0;
/// Where the version of the TensorRT that wrote it is, in four bytes.
const VERSION_AT: usize = 24;
/// Bytes that are read.
const BYTE_SIZE: usize = VERSION_AT + 4;

/// The version of TensorRT that wrote a plan: major, minor, patch and build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanVersion(pub [u8; 4]);

impl PlanVersion {
    /// Interfaces and plans change with it.
    pub fn major(self) -> u32 {
        u32::from(self.0[0])
    }
}

impl fmt::Display for PlanVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch, build] = self.0;
        write!(f, "{major}.{minor}.{patch}.{build}")
    }
}

/// Why a file is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPlan {
    /// Shorter than the header.
    #[error("it has {0} bytes, fewer than the header of a plan")]
    Short(usize),
    /// Something else.
    #[error("it is no TensorRT plan{}", .0.map(|what| format!(" but {what}")).unwrap_or_default())]
    Foreign(Option<&'static str>),
    /// A plan in a layout that is not known.
    #[error("it is a plan in the unknown layout {0}")]
    Layout(u32),
}

/// Which TensorRT wrote the plan that begins with `bytes`.
///
/// # Errors
/// Why it is no plan, as far as its first bytes tell.
pub fn plan_version(bytes: &[u8]) -> Result<PlanVersion, NoPlan> {
    if !bytes.starts_with(&TAG) {
        return Err(NoPlan::Foreign(look(bytes)));
    }
    let header: &[u8; BYTE_SIZE] = bytes.first_chunk().ok_or(NoPlan::Short(bytes.len()))?;
    let [_, _, _, _, a, b, c, d, ..] = *header;
    match u32::from_le_bytes([a, b, c, d]) {
        SERIALIZATION => {
            let [.., major, minor, patch, build] = *header;
            Ok(PlanVersion([major, minor, patch, build]))
        }
        layout => Err(NoPlan::Layout(layout)),
    }
}

/// What else it may be: what people put into the place of a plan.
fn look(bytes: &[u8]) -> Option<&'static str> {
    const KNOWN: [(&[u8], &str); 6] = [
        (
            b"version https://git-lfs",
            "a Git LFS pointer: the file itself was not fetched",
        ),
        (b"PK\x03\x04", "a ZIP archive, such as TorchScript"),
        (b"\x7fELF", "a shared library or a program"),
        (b"\x1f\x8b", "compressed with gzip"),
        (b"\x89HDF", "an HDF5 file"),
        // Field 1, the version of the intermediate representation.
        (
            b"\x08",
            "a protobuf message, such as an ONNX model: build a plan of it first",
        ),
    ];
    if bytes.is_empty() {
        return Some("empty");
    }
    let known = KNOWN.iter().find(|(start, _)| bytes.starts_with(start));
    known.map(|(_, what)| *what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(tag: &[u8; 4], layout: u32, version: [u8; 4]) -> Vec<u8> {
        let mut bytes = tag.to_vec();
        bytes.extend(layout.to_le_bytes());
        bytes.resize(VERSION_AT, 0xaa);
        bytes.extend(version);
        bytes
    }

    #[test]
    fn reads_who_wrote_a_plan() {
        let mut plan = header(&TAG, 0, [10, 3, 0, 26]);
        plan.extend(b"whatever follows");
        let version = plan_version(&plan).unwrap();
        assert_eq!(
            (version.major(), version.to_string()),
            (10, "10.3.0.26".to_owned())
        );
    }

    #[test]
    fn says_what_is_no_plan() {
        let says = |bytes: &[u8]| plan_version(bytes).unwrap_err().to_string();
        let table: [(&[u8], &str); 8] = [
            (b"", "it is no TensorRT plan but empty"),
            (
                b"ftrt\0\0",
                "it has 6 bytes, fewer than the header of a plan",
            ),
            (b"ptrt this is something", "it is no TensorRT plan"),
            (
                b"\x08\x09\x12\x07pytorch",
                "it is no TensorRT plan but a protobuf message, such as an ONNX model: build a plan of it first",
            ),
            (
                b"version https://git-lfs.github.com/spec/v1",
                "it is no TensorRT plan but a Git LFS pointer: the file itself was not fetched",
            ),
            (
                b"PK\x03\x04",
                "it is no TensorRT plan but a ZIP archive, such as TorchScript",
            ),
            (
                b"\x7fELF",
                "it is no TensorRT plan but a shared library or a program",
            ),
            (
                b"\x1f\x8b\x08",
                "it is no TensorRT plan but compressed with gzip",
            ),
        ];
        for (bytes, message) in table {
            assert_eq!(says(bytes), message, "{bytes:?}");
        }
        assert_eq!(
            says(&header(&TAG, 7, [0; 4])),
            "it is a plan in the unknown layout 7"
        );
    }
}
