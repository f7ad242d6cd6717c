//! What is run on bytes that pretend to be compressed. Shared by the fuzz target and the smoke test;
//! a finding is memory beyond the limits, or memory that is not counted.

use std::sync::Arc;

use despina::{
    admission::{Budget, Limits},
    api::Encoding,
};

/// The ratio does not bound what is smaller than this.
const RATIO_FLOOR: usize = 1 << 20;

/// A request's body after a byte that says which encoding it is in.
pub fn compression(data: &[u8]) {
    let Some((kind, body)) = data.split_first() else {
        return;
    };
    let encoding = if kind & 1 == 0 {
        Encoding::Gzip
    } else {
        Encoding::Deflate
    };
    let limits = Limits {
        decompressed_byte_size: 3 << 20,
        decompression_ratio: 64,
        ..Limits::default()
    };
    let budget = Arc::new(Budget::new(2 << 20));
    let mut charge = budget.charge();
    if let Ok(bytes) = encoding.decompress_here(body, &limits, &mut charge) {
        let most = (body.len() * limits.decompression_ratio).max(RATIO_FLOOR);
        assert!(bytes.len() <= most.min(limits.decompressed_byte_size));
        assert!(budget.used() >= bytes.len(), "bytes that nobody counts");
    }
    drop(charge);
    assert_eq!(budget.used(), 0, "bytes that are never given back");
}
