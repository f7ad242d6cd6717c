//! Names the library as the driver's is named, so that who opened it by its path has opened
//! `libcuda.so.1`.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libcuda.so.1");
}
