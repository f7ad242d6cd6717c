//! The shim on the pretend library, where it needs no driver: which libraries are refused, and what a
//! failed call looks like.

use std::{
    env,
    ffi::{CStr, c_char, c_void},
    path::Path,
    process::Command,
    ptr,
    sync::{Arc, Mutex},
};

use tensorrt_sys::{Library, OnnxParser, OpenError, Version, trt_build_options};

const MARK: &str = "FAKE_TENSORRT_TEST";

/// Runs `body` in a process of its own with these settings, which the library reads from its environment.
fn with(test: &str, settings: &[(&str, &str)], body: impl FnOnce(&Path)) {
    let Some(library) = fake_tensorrt::library_or_skip() else {
        return;
    };
    if env::var_os(MARK).is_some() {
        return body(&library);
    }
    let output = Command::new(env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(MARK, "")
        .envs(settings.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}

fn open(library: &Path) -> Result<Library, OpenError> {
    // SAFETY: the library is the one that was built for these tests.
    unsafe { Library::open(library) }
}

#[test]
fn a_library_of_the_headers_version_is_opened() {
    with(
        "a_library_of_the_headers_version_is_opened",
        &[],
        |library| {
            let opened = open(library).unwrap();
            assert_eq!(Ok(opened.version()), tensorrt_sys::header_version());
        },
    );
}

#[test]
fn a_library_of_another_major_version_is_refused() {
    let settings = [("FAKE_TENSORRT_VERSION", "100300")];
    with(
        "a_library_of_another_major_version_is_refused",
        &settings,
        |library| {
            let error = open(library).unwrap_err();
            assert!(
                matches!(error, OpenError::Version { library, .. } if library == Version::from_number(100_300))
            );
            let message = error.to_string();
            assert!(
                message.contains("is TensorRT 10.3.0, but this build is made for TensorRT 11"),
                "{message}"
            );
        },
    );
}

static MESSAGES: Mutex<Vec<String>> = Mutex::new(Vec::new());

unsafe extern "C" fn log(_user: *mut c_void, severity: i32, message: *const c_char) {
    // SAFETY: the shim passes a string.
    let text = unsafe { CStr::from_ptr(message) }.to_string_lossy();
    MESSAGES.lock().unwrap().push(format!("{severity} {text}"));
}

#[test]
fn a_runtime_that_cannot_be_made_is_null_and_says_why() {
    let settings = [("FAKE_TENSORRT_NO_RUNTIME", "1")];
    with(
        "a_runtime_that_cannot_be_made_is_null_and_says_why",
        &settings,
        |library| {
            let opened = open(library).unwrap();
            // SAFETY: the factory is the library's, which is open; the callback unwinds only if a lock is
            // poisoned, which nobody does.
            let runtime = unsafe {
                tensorrt_sys::trt_runtime_new(opened.create(), Some(log), ptr::null_mut())
            };
            assert!(runtime.is_null());
            assert_eq!(
                *MESSAGES.lock().unwrap(),
                ["1 CUDA initialization failure with error: 35"]
            );
        },
    );
}

static PLAIN: trt_build_options = trt_build_options {
    precision: 0,
    hardware: 0,
    optimization_level: -1,
    version_compatible: false,
    weight_streaming: false,
    workspace_limit: 0,
};

#[test]
fn a_builder_that_cannot_be_made_is_null_and_says_why() {
    let Some(library) = fake_tensorrt::library_or_skip() else {
        return;
    };
    let opened = open(&library).unwrap();
    let create = opened.create_builder().unwrap();
    // SAFETY: the factory is the library's, which is open; the callback unwinds only if a lock is
    // poisoned, which nobody does.
    let builder = unsafe {
        tensorrt_sys::trt_builder_new(create, Some(log), ptr::null_mut(), &raw const PLAIN)
    };
    assert!(builder.is_null());
    let messages = MESSAGES.lock().unwrap();
    assert!(messages.contains(&"1 CUDA initialization failure with error: 35".to_owned()));
}

#[test]
fn a_parser_of_the_headers_version_is_opened_and_no_other_library() {
    let Some(library) = fake_tensorrt::library_or_skip() else {
        return;
    };
    let parser = fake_tensorrt::parser().unwrap();
    let opened = Arc::new(open(&library).unwrap());
    // SAFETY: the library is the one that was built for these tests.
    let found = unsafe { OnnxParser::open(&parser, &opened) }.unwrap();
    assert_eq!(found.path(), parser);
    // SAFETY: as above.
    let error = unsafe { OnnxParser::open(&library, &opened) }.unwrap_err();
    let message = error.to_string();
    assert!(
        message.contains("it has no getNvOnnxParserVersion"),
        "{message}"
    );
}

#[test]
fn null_objects_are_answered_and_never_followed() {
    use tensorrt_sys::*;
    let (runtime, engine, context) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
    // SAFETY: the header says that null is no error.
    let engine_made = unsafe { trt_engine_new(runtime, c"plan".as_ptr().cast(), 4) };
    // SAFETY: as above.
    let context_made = unsafe { trt_context_new(engine) };
    assert!(engine_made.is_null() && context_made.is_null());
    // SAFETY: as above.
    let numbers = [unsafe { trt_engine_tensor_count(engine) }, unsafe {
        trt_context_infer_shapes(context)
    }];
    assert_eq!(numbers, [-1, -1]);
    // SAFETY: as above.
    assert!(!unsafe { trt_context_enqueue(context, ptr::null_mut()) });
    let builder = ptr::null_mut();
    // SAFETY: as above.
    let counts = [unsafe { trt_builder_input_count(builder) }, unsafe {
        trt_builder_error_count(builder)
    }];
    assert_eq!(counts, [-1, 0]);
    // SAFETY: as above.
    assert!(unsafe { trt_builder_build(builder) }.is_null());
    // SAFETY: as above.
    assert!(!unsafe { trt_builder_end_profile(builder) });
    // SAFETY: as above.
    assert_eq!(unsafe { trt_blob_size(ptr::null()) }, 0);
    // SAFETY: as above.
    unsafe { trt_builder_free(builder) };
    // SAFETY: as above.
    unsafe { trt_blob_free(ptr::null_mut()) };
    // SAFETY: as above.
    unsafe { trt_context_free(context) };
    // SAFETY: as above.
    unsafe { trt_engine_free(engine) };
    // SAFETY: as above.
    unsafe { trt_runtime_free(runtime) };
}
