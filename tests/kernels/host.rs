//! Runs the kernels' sources on the CPU: compiled once by the system's C++ compiler, launched as the
//! driver would. This shows that they compute what they should; not that a GPU does.

use std::{
    ffi::{CStr, CString, c_char, c_int, c_uint, c_void},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::Command,
    ptr,
    sync::{Mutex, OnceLock},
};

use despina::device::kernels::Launch;

type LaunchFunction =
    unsafe extern "C" fn(*const c_char, *const c_uint, c_uint, *const *const u64) -> c_int;

/// Launches a kernel, whose addresses are this process's own, and waits for it.
///
/// # Safety
/// The addresses in `kernel` point to as much memory as the kernel uses.
pub unsafe fn launch(kernel: &impl Launch) {
    // Its grid and what a block shares are global.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap();
    let geometry = kernel.geometry();
    assert_eq!(
        (geometry.grid[2], geometry.block[1], geometry.block[2]),
        (1, 1, 1)
    );
    let name = CString::new(format!("{}::{}", kernel.module().name, kernel.entry())).unwrap();
    let arguments = kernel.arguments();
    let pointers: Vec<_> = arguments.pointers().collect();
    // SAFETY: the name ends in 0; the grid has three numbers; there is a pointer for each of the
    // parameters, if `Launch` and the source agree, which is what is tested.
    let code = unsafe {
        library()(
            name.as_ptr(),
            geometry.grid.as_ptr(),
            geometry.block[0],
            pointers.as_ptr(),
        )
    };
    assert_eq!(code, 0, "{name:?} is not in the source");
}

fn library() -> LaunchFunction {
    static LIBRARY: OnceLock<LaunchFunction> = OnceLock::new();
    *LIBRARY.get_or_init(|| open(&compile()))
}

/// Builds the library and says where it is.
fn compile() -> PathBuf {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
    let host = sources.join("tests/kernels/host");
    let library = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("kernels-on-host-{}.so", std::process::id()));
    let output = Command::new("c++")
        // Products and sums are fused where the source says so, as on the GPU.
        .args([
            "-std=c++20",
            "-O1",
            "-ffp-contract=off",
            "-Wall",
            "-Wextra",
            "-Werror",
        ])
        .args(["-shared", "-fPIC", "-pthread", "-o"])
        .arg(&library)
        .arg("-I")
        .arg(&host)
        .arg("-I")
        .arg(sources.join("kernels"))
        .arg(host.join("launch.cpp"))
        .output()
        .expect("a C++ compiler, as c++");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    library
}

fn open(library: &Path) -> LaunchFunction {
    let path = CString::new(library.as_os_str().as_bytes()).unwrap();
    // SAFETY: a path that ends in 0; the library does nothing when it is loaded.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
    assert_ne!(handle, ptr::null_mut(), "{}", failure());
    std::fs::remove_file(library).unwrap();
    // SAFETY: the handle is that of a library, and the name ends in 0.
    let symbol = unsafe { libc::dlsym(handle, c"launch".as_ptr()) };
    assert_ne!(symbol, ptr::null_mut(), "{}", failure());
    // SAFETY: it is the function of launch.cpp, whose type this is; it is never unloaded.
    unsafe { std::mem::transmute::<*mut c_void, LaunchFunction>(symbol) }
}

fn failure() -> String {
    // SAFETY: dlerror may be called at any time.
    let text = unsafe { libc::dlerror() };
    // SAFETY: what is not null is a text that lives until the next call.
    let text = (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) });
    text.map_or_else(String::new, |text| text.to_string_lossy().into_owned())
}
