//! Gives execution providers to sessions. Their libraries lie beside ONNX Runtime's own, which opens
//! them; why one cannot be used is said in one line.

use std::path::Path;

use ort::{
    ep::{ArbitrarilyConfigurableExecutionProvider, CUDA, ExecutionProvider, OpenVINO, TensorRT},
    session::builder::SessionBuilder,
};

use super::providers::{Provider, ProviderKind};

/// Adds a provider to a session, behind those that it has. `library` is ONNX Runtime's.
///
/// # Errors
/// One line that says what is missing.
pub(super) fn add(
    builder: &mut SessionBuilder,
    provider: &Provider,
    library: &Path,
) -> Result<(), String> {
    let parts = Parts::of(provider.kind);
    let is_built_in = match provider.kind {
        ProviderKind::Cuda => CUDA::is_available(),
        ProviderKind::TensorRt => TensorRT::is_available(),
        ProviderKind::OpenVino => OpenVINO::is_available(),
    };
    parts.check(is_built_in.unwrap_or(false), library)?;
    let registered = match provider.kind {
        ProviderKind::Cuda => with_options(CUDA::default(), provider).register(builder),
        ProviderKind::TensorRt => with_options(TensorRT::default(), provider).register(builder),
        ProviderKind::OpenVino => with_options(OpenVINO::default(), provider).register(builder),
    };
    registered.map_err(|error| {
        format!(
            "ONNX Runtime cannot use its {} provider: {}",
            parts.name,
            told(&error.to_string())
        )
    })
}

/// What an error of ONNX Runtime tells, without the places in its source before it.
fn told(error: &str) -> &str {
    let line = error.lines().next().unwrap_or_default();
    // Then a code and its name.
    let told = line.split_once("[ONNXRuntimeError] : ");
    told.and_then(|(_, rest)| rest.splitn(3, " : ").nth(2))
        .unwrap_or(line)
}

/// What a provider needs to be there.
struct Parts {
    name: &'static str,
    /// In the folder of ONNX Runtime's library.
    libraries: [&'static str; 2],
    /// Where there is one.
    hint: &'static str,
}

impl Parts {
    fn of(kind: ProviderKind) -> Self {
        const SHARED: &str = "libonnxruntime_providers_shared.so";
        match kind {
            ProviderKind::Cuda => Self {
                name: "CUDA",
                libraries: [SHARED, "libonnxruntime_providers_cuda.so"],
                hint: "the Python package onnxruntime-gpu has it",
            },
            ProviderKind::TensorRt => Self {
                name: "TensorRT",
                libraries: [SHARED, "libonnxruntime_providers_tensorrt.so"],
                hint: "the Python package onnxruntime-gpu has it",
            },
            ProviderKind::OpenVino => Self {
                name: "OpenVINO",
                libraries: [SHARED, "libonnxruntime_providers_openvino.so"],
                hint: "the Python package onnxruntime-openvino has it",
            },
        }
    }

    fn check(&self, is_built_in: bool, library: &Path) -> Result<(), String> {
        if !is_built_in {
            return Err(format!(
                "ONNX Runtime at {} is built without its {} provider; {}",
                library.display(),
                self.name,
                self.hint
            ));
        }
        let folder = library.parent().unwrap_or(Path::new("."));
        let missing = |name: &&&str| !folder.join(name).exists();
        match self.libraries.iter().find(missing) {
            None => Ok(()),
            Some(name) => Err(format!(
                "ONNX Runtime's {} provider needs {name} in {}; {}",
                self.name,
                folder.display(),
                self.hint
            )),
        }
    }
}

fn with_options<P: ArbitrarilyConfigurableExecutionProvider>(provider: P, wanted: &Provider) -> P {
    let options = wanted.options.iter();
    options.fold(provider, |provider, (key, value)| {
        provider.with_arbitrary_config(key, value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_without_the_places_that_they_came_from() {
        for (error, want) in [
            (
                "/src/bridge.cc:2043 Get() [ONNXRuntimeError] : 1 : FAIL : Failed to load a.so with \
                 error: b.so.13: cannot open shared object file\nmore",
                "Failed to load a.so with error: b.so.13: cannot open shared object file",
            ),
            ("no such provider", "no such provider"),
        ] {
            assert_eq!(told(error), want);
        }
    }

    #[test]
    fn says_in_one_line_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("libonnxruntime.so.1.31.1");
        let parts = Parts::of(ProviderKind::Cuda);
        let fault = parts.check(false, &library).unwrap_err();
        assert!(
            fault.contains("is built without its CUDA provider"),
            "{fault}"
        );
        assert!(fault.contains("onnxruntime-gpu"), "{fault}");
        let fault = parts.check(true, &library).unwrap_err();
        assert!(
            fault.contains("needs libonnxruntime_providers_shared.so in"),
            "{fault}"
        );
        std::fs::write(folder.path().join("libonnxruntime_providers_shared.so"), "").unwrap();
        let fault = parts.check(true, &library).unwrap_err();
        assert!(
            fault.contains("needs libonnxruntime_providers_cuda.so in"),
            "{fault}"
        );
        std::fs::write(folder.path().join("libonnxruntime_providers_cuda.so"), "").unwrap();
        assert_eq!(parts.check(true, &library), Ok(()));
    }
}
