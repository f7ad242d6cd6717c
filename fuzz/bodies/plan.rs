//! What is run on bytes that pretend to be a TensorRT plan, before TensorRT sees them. Shared by the fuzz
//! target and the smoke test.

use despina::backend::tensorrt::{NoPlan, plan_version};

/// A plan's header: whoever wrote it is found in it, and nothing beyond it is looked at.
pub fn plan(data: &[u8]) {
    let header = &data[..data.len().min(28)];
    match plan_version(data) {
        Ok(version) => {
            assert_eq!(plan_version(header), Ok(version));
            assert!(data.starts_with(b"ftrt") && header.ends_with(&version.0));
        }
        Err(NoPlan::Short(byte_size)) => assert!(byte_size == data.len() && byte_size < 28),
        Err(fault) => assert!(!fault.to_string().contains('\n')),
    }
}
