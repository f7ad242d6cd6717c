//! What Despina uses of TensorRT. The C++ interface is wrapped by a shim with a C interface
//! (`shim/tensorrt_shim.h`), compiled against the TensorRT headers of the build machine; `bindings` is
//! what bindgen makes of that header. The library itself is opened at run time by [`Library::open`],
//! and the ONNX parser beside it by [`OnnxParser::open`].
//! Nothing here is safe to use but that; the safe forms are in the server's `backend/tensorrt`.
//!
//! Interfaces of TensorRT are bound to its major version: a library of another one is refused.

#[cfg(not(feature = "regenerate"))]
#[allow(
    missing_docs,
    non_camel_case_types,
    reason = "the header has the documentation"
)]
mod bindings;
#[cfg(feature = "regenerate")]
#[allow(
    missing_docs,
    non_camel_case_types,
    reason = "the header has the documentation"
)]
mod bindings {
    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}
mod library;
mod parser;

pub use self::{
    bindings::*,
    library::{Library, OpenError, Version, header_version},
    parser::OnnxParser,
};
