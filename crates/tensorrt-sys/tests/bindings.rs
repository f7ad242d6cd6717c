//! Whether `src/bindings.rs` is what bindgen makes of the shim's header. Needs libclang; `bindings.sh`
//! brings that, runs this, and writes the file anew if it is told to.
#![cfg(feature = "regenerate")]

use std::{env, fs};

#[test]
fn bindings_are_those_of_the_header() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/bindings.rs");
    let made = include_str!(concat!(env!("OUT_DIR"), "/bindings.rs"));
    if env::var_os("WRITE_BINDINGS").is_some() {
        fs::write(file, made).unwrap();
    }
    assert!(
        fs::read_to_string(file).unwrap() == made,
        "{file} is not what the header says; run bindings.sh --write"
    );
}
