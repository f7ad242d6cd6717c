//! What a plan is built from: an ONNX model with all its bytes, those that it keeps in other files too.

use std::{
    collections::BTreeSet,
    fmt, fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use prost::Message;
use sha2::{Digest as _, Sha256};

use crate::model_config::stays_inside;

/// Protocol buffers end here.
const BYTE_LIMIT: u64 = 2 << 30;
/// Files that one model may name.
const FILE_LIMIT: usize = 65_536;
/// Bytes that are read at once.
const CHUNK: usize = 1 << 20;

/// A model as it was read.
#[derive(Clone, Debug)]
pub struct Source {
    /// The model's file.
    pub path: PathBuf,
    /// What is in it.
    pub bytes: Vec<u8>,
    /// Of that, and of all that it names.
    pub digest: Digest,
}

/// SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub(super) [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Digest {
    /// Of all that `hasher` was given.
    pub(super) fn of(hasher: Sha256) -> Self {
        Self(hasher.finalize().into())
    }
}

impl Source {
    /// Reads the model in `file`; a folder holds it under its own name.
    ///
    /// # Errors
    /// If it or a file that it names cannot be read, is none of ONNX, or lies outside its folder; in one line.
    pub fn read(file: &Path) -> Result<Self, String> {
        let path = match file.file_name() {
            Some(name) if file.is_dir() => file.join(name),
            _ => file.to_owned(),
        };
        let unreadable = |error: io::Error| format!("cannot read {}: {error}", path.display());
        let byte_size = fs::metadata(&path).map_err(unreadable)?.len();
        if byte_size >= BYTE_LIMIT {
            return Err(format!(
                "{} is {byte_size} bytes long, the limit is {BYTE_LIMIT}: save the model with external data",
                path.display()
            ));
        }
        let bytes = fs::read(&path).map_err(unreadable)?;
        let files = external_files(&bytes)
            .map_err(|why| format!("{} is no ONNX model: {why}", path.display()))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let digest = digest(&bytes, folder, &files)?;
        Ok(Self {
            path,
            bytes,
            digest,
        })
    }
}

fn digest(bytes: &[u8], folder: &Path, files: &BTreeSet<String>) -> Result<Digest, String> {
    let mut hasher = Sha256::new();
    hasher.update((bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
    for name in files {
        let add = |hasher: &mut Sha256| add_file(hasher, &folder.join(name));
        hasher.update((name.len() as u64).to_le_bytes());
        hasher.update(name.as_bytes());
        add(&mut hasher).map_err(|error| format!("external data '{name}': {error}"))?;
    }
    Ok(Digest::of(hasher))
}

/// Length and content of a file.
pub(super) fn add_file(hasher: &mut Sha256, path: &Path) -> io::Result<()> {
    let mut file = fs::File::open(path)?;
    let metadata = file.metadata()?;
    // Not a pipe or a device, which could hold this thread for ever.
    if !metadata.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    hasher.update(metadata.len().to_le_bytes());
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = file.read(&mut chunk)?;
        let Some(read) = chunk.get(..read).filter(|read| !read.is_empty()) else {
            return Ok(());
        };
        hasher.update(read);
    }
}

/// The files beside the model in which it keeps tensors.
fn external_files(model: &[u8]) -> Result<BTreeSet<String>, String> {
    let model = OnnxModel::decode(model).map_err(|error| error.to_string())?;
    let graph = model.graph.ok_or("it has no graph")?;
    let mut files = BTreeSet::new();
    add_graph(&graph, &mut files)?;
    for function in &model.functions {
        add_nodes(&function.nodes, &mut files)?;
    }
    Ok(files)
}

fn add_graph(graph: &OnnxGraph, files: &mut BTreeSet<String>) -> Result<(), String> {
    let sparse = graph.sparse_initializers.iter();
    let sparse = sparse.flat_map(|sparse| sparse.values.iter().chain(&sparse.indices));
    for tensor in graph.initializers.iter().chain(sparse) {
        add_tensor(tensor, files)?;
    }
    add_nodes(&graph.nodes, files)
}

fn add_nodes(nodes: &[OnnxNode], files: &mut BTreeSet<String>) -> Result<(), String> {
    for attribute in nodes.iter().flat_map(|node| &node.attributes) {
        for tensor in attribute.tensor.iter().chain(&attribute.tensors) {
            add_tensor(tensor, files)?;
        }
        for graph in attribute.graph.iter().chain(&attribute.graphs) {
            add_graph(graph, files)?;
        }
    }
    Ok(())
}

fn add_tensor(tensor: &OnnxTensor, files: &mut BTreeSet<String>) -> Result<(), String> {
    for entry in tensor
        .external_data
        .iter()
        .filter(|entry| entry.key == "location")
    {
        let file = entry.value.trim_start_matches("./");
        if !stays_inside(file) {
            return Err(format!(
                "its external data '{}' is outside its folder",
                file.escape_debug()
            ));
        }
        files.insert(file.to_owned());
        if files.len() > FILE_LIMIT {
            return Err(format!("it names more than {FILE_LIMIT} files"));
        }
    }
    Ok(())
}

// Just so much of ONNX as names files; the rest, weights above all, is passed over.

#[derive(Clone, PartialEq, Message)]
struct OnnxModel {
    #[prost(message, optional, tag = "7")]
    graph: Option<OnnxGraph>,
    #[prost(message, repeated, tag = "25")]
    functions: Vec<OnnxFunction>,
}

#[derive(Clone, PartialEq, Message)]
struct OnnxFunction {
    #[prost(message, repeated, tag = "7")]
    nodes: Vec<OnnxNode>,
}

#[derive(Clone, PartialEq, Message)]
struct OnnxGraph {
    #[prost(message, repeated, tag = "1")]
    nodes: Vec<OnnxNode>,
    #[prost(message, repeated, tag = "5")]
    initializers: Vec<OnnxTensor>,
    #[prost(message, repeated, tag = "15")]
    sparse_initializers: Vec<OnnxSparseTensor>,
}

#[derive(Clone, PartialEq, Message)]
struct OnnxNode {
    #[prost(message, repeated, tag = "5")]
    attributes: Vec<OnnxAttribute>,
}

#[derive(Clone, PartialEq, Message)]
struct OnnxAttribute {
    #[prost(message, optional, tag = "5")]
    tensor: Option<OnnxTensor>,
    #[prost(message, optional, tag = "6")]
    graph: Option<OnnxGraph>,
    #[prost(message, repeated, tag = "10")]
    tensors: Vec<OnnxTensor>,
    #[prost(message, repeated, tag = "11")]
    graphs: Vec<OnnxGraph>,
}

#[derive(Clone, PartialEq, Message)]
struct OnnxSparseTensor {
    #[prost(message, optional, tag = "1")]
    values: Option<OnnxTensor>,
    #[prost(message, optional, tag = "2")]
    indices: Option<OnnxTensor>,
}

#[derive(Clone, PartialEq, Message)]
struct OnnxTensor {
    #[prost(message, repeated, tag = "13")]
    external_data: Vec<OnnxEntry>,
}

#[derive(Clone, PartialEq, Message)]
struct OnnxEntry {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tensor(location: &str) -> OnnxTensor {
        let entry = |key: &str, value: &str| OnnxEntry {
            key: key.to_owned(),
            value: value.to_owned(),
        };
        OnnxTensor {
            external_data: vec![entry("location", location), entry("offset", "0")],
        }
    }

    /// A model that names a file at each place where one can be.
    fn model(locations: [&str; 4]) -> OnnxModel {
        let [initializer, constant, inner, function] = locations.map(tensor);
        let node = |attribute| OnnxNode {
            attributes: vec![attribute],
        };
        let body = OnnxGraph {
            initializers: vec![inner],
            ..OnnxGraph::default()
        };
        OnnxModel {
            graph: Some(OnnxGraph {
                initializers: vec![initializer],
                nodes: vec![
                    node(OnnxAttribute {
                        tensor: Some(constant),
                        ..OnnxAttribute::default()
                    }),
                    node(OnnxAttribute {
                        graph: Some(body),
                        ..OnnxAttribute::default()
                    }),
                ],
                ..OnnxGraph::default()
            }),
            functions: vec![OnnxFunction {
                nodes: vec![node(OnnxAttribute {
                    tensors: vec![function],
                    ..OnnxAttribute::default()
                })],
            }],
        }
    }

    #[test]
    fn files_are_found_wherever_a_model_names_them() {
        let bytes = model(["a", "sub/b", "./c", "a"]).encode_to_vec();
        let files = external_files(&bytes).unwrap();
        assert_eq!(files.into_iter().collect::<Vec<_>>(), ["a", "c", "sub/b"]);
        for outside in ["../weights", "/etc/passwd", "a/../../b"] {
            let bytes = model(["a", "b", outside, "c"]).encode_to_vec();
            let message = external_files(&bytes).unwrap_err();
            assert!(message.contains("outside its folder"), "{message}");
        }
    }

    #[test]
    fn the_digest_is_of_all_bytes_that_make_the_model() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
        let read = || Source::read(&folder.path().join("model.onnx"));
        write("model.onnx", &model(["a", "b", "b", "b"]).encode_to_vec());
        write("a", b"1");
        assert!(
            read().unwrap_err().contains("external data 'b'"),
            "{:?}",
            read()
        );
        write("b", b"2");
        let before = read().unwrap().digest;
        assert_eq!(read().unwrap().digest, before);
        write("unrelated", b"3");
        assert_eq!(read().unwrap().digest, before);
        write("b", b"4");
        let after = read().unwrap().digest;
        assert_ne!(after, before);
        // The same bytes, elsewhere.
        write("a", b"14");
        write("b", b"");
        assert_ne!(read().unwrap().digest, after);
        write("model.onnx", b"\x08\x07");
        assert!(read().unwrap_err().contains("it has no graph"));
        write("model.onnx", b"no model");
        assert!(read().unwrap_err().contains("is no ONNX model"));
    }

    #[test]
    fn a_folder_holds_the_model_under_its_own_name() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("model.onnx");
        fs::create_dir(&inner).unwrap();
        fs::write(inner.join("model.onnx"), model(["w"; 4]).encode_to_vec()).unwrap();
        fs::write(inner.join("w"), b"weights").unwrap();
        assert_eq!(Source::read(&inner).unwrap().path, inner.join("model.onnx"));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = external_files(&bytes);
        }

        #[test]
        fn broken_models_are_refused_or_read(at in 0_usize..200, byte in any::<u8>()) {
            let mut bytes = model(["a", "b", "c", "d"]).encode_to_vec();
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Ok(files) = external_files(&bytes) {
                prop_assert!(files.iter().all(|file| stays_inside(file)));
            }
        }
    }
}
