//! A build in a process of its own: one that TensorRT ends, or that takes too long, is that process's end and
//! nobody else's, and all that it took of the GPU comes back.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use super::{build::BuildReport, recipe::Recipe};
use crate::backend::{BackendError, Halt, tensorrt::Config};

/// How often it is looked after.
const PACE: Duration = Duration::from_millis(20);
/// Of what it says, the last so many bytes are read.
const SAID_BYTE_LIMIT: u64 = 64 << 10;
/// What it begins its last words with.
const LAST_WORDS: &str = "despina: ";

/// What to build.
#[derive(Clone, Debug)]
pub(super) struct ChildOrder {
    pub(super) source: PathBuf,
    pub(super) output: PathBuf,
    pub(super) timing_cache: PathBuf,
    pub(super) gpu: u32,
    pub(super) library: PathBuf,
    pub(super) config: Config,
    pub(super) recipe: Recipe,
}

/// Has it built, and waits for that.
///
/// # Errors
/// What it said last, or how it ended; or that it was halted.
pub(super) fn build(order: &ChildOrder, halt: &Halt) -> Result<BuildReport, BackendError> {
    let failed = |error: io::Error| {
        BackendError::Failed(format!(
            "the process that builds cannot be started: {error}"
        ))
    };
    let (mut output, mut errors) = (
        tempfile::tempfile().map_err(failed)?,
        tempfile::tempfile().map_err(failed)?,
    );
    // This program, even if its file was replaced meanwhile.
    let mut child = Command::new("/proc/self/exe")
        .args(arguments(order))
        .stdin(Stdio::null())
        .stdout(output.try_clone().map_err(failed)?)
        .stderr(errors.try_clone().map_err(failed)?)
        .spawn()
        .map_err(failed)?;
    let status = wait(&mut child, halt).map_err(failed)?;
    let Some(status) = status else {
        return Err(BackendError::Unavailable("the build was halted".to_owned()));
    };
    if !status.success() {
        return Err(BackendError::InvalidModel(last_words(
            &said(&mut errors),
            status,
        )));
    }
    serde_json::from_str(&said(&mut output)).map_err(|error| {
        BackendError::Failed(format!(
            "the process that builds says nothing of use: {error}"
        ))
    })
}

/// How it ended; `None` if it was halted.
fn wait(child: &mut Child, halt: &Halt) -> io::Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if halt.is_halted() {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(PACE);
    }
}

fn said(file: &mut File) -> String {
    let mut bytes = Vec::new();
    let read = file.seek(SeekFrom::End(0)).and_then(|end| {
        file.seek(SeekFrom::Start(end.saturating_sub(SAID_BYTE_LIMIT)))?;
        file.read_to_end(&mut bytes)
    });
    // What cannot be read was not said.
    let _ = read;
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Why it failed, in one line.
fn last_words(said: &str, status: ExitStatus) -> String {
    let last = said
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix(LAST_WORDS));
    match last {
        Some(words) => words.to_owned(),
        None => format!("the process that builds ended without a word ({status})"),
    }
}

fn arguments(order: &ChildOrder) -> Vec<OsString> {
    let Recipe {
        precision,
        hardware,
        version_compatible,
        weight_streaming,
        optimization_level,
        workspace_byte_limit,
        profiles,
    } = &order.recipe;
    let mut arguments: Vec<OsString> = ["engine", "build", "--json", "--with-parent"]
        .map(OsString::from)
        .to_vec();
    let mut add = |flag: &str, value: OsString| arguments.extend([OsString::from(flag), value]);
    add("--output", order.output.clone().into());
    add("--timing-cache", order.timing_cache.clone().into());
    add("--gpu", order.gpu.to_string().into());
    add("--tensorrt-library", order.library.clone().into());
    if let Some(parser) = &order.config.onnx_parser {
        add("--onnx-parser-library", parser.clone().into());
    }
    for plugins in &order.config.plugins {
        add("--plugin", plugins.clone().into());
    }
    add("--precision", precision.name().into());
    add("--hardware-compatibility", hardware.name().into());
    if let Some(level) = optimization_level {
        add("--optimization-level", level.to_string().into());
    }
    if let Some(limit) = workspace_byte_limit {
        add("--workspace-limit", limit.to_string().into());
    }
    for profile in profiles {
        add("--profile", profile.to_string().into());
    }
    let switches = [
        (*version_compatible, "--version-compatible"),
        (*weight_streaming, "--weight-streaming"),
    ];
    let on = switches.into_iter().filter(|(is_on, _)| *is_on);
    arguments.extend(on.map(|(_, flag)| flag.into()));
    // Whatever the file is called.
    arguments.extend(["--".into(), order.source.clone().into()]);
    arguments
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;
    use crate::backend::tensorrt::factory::{Hardware, Precision};

    #[test]
    fn a_child_is_told_the_whole_recipe() {
        let order = ChildOrder {
            source: "m.onnx".into(),
            output: "out".into(),
            timing_cache: "timing".into(),
            gpu: 1,
            library: "nvinfer".into(),
            config: Config {
                onnx_parser: Some("parser".into()),
                plugins: vec!["p".into(), "q".into()],
                ..Config::default()
            },
            recipe: Recipe {
                precision: Precision::Fp32,
                hardware: Hardware::AmperePlus,
                version_compatible: true,
                weight_streaming: true,
                optimization_level: Some(4),
                workspace_byte_limit: Some(9),
                profiles: vec!["x=1".parse().unwrap()],
            },
        };
        let arguments: Vec<_> = arguments(&order)
            .into_iter()
            .map(|argument| argument.into_string().unwrap())
            .collect();
        assert_eq!(
            arguments.join(" "),
            "engine build --json --with-parent --output out --timing-cache timing --gpu 1 \
             --tensorrt-library nvinfer --onnx-parser-library parser --plugin p --plugin q --precision fp32 \
             --hardware-compatibility ampere-plus --optimization-level 4 --workspace-limit 9 \
             --profile x=1/1/1 --version-compatible --weight-streaming -- m.onnx"
        );
    }

    #[test]
    fn why_a_child_failed_is_its_last_word_or_its_end() {
        let said = "WARN something\ndespina: first\ndespina: the reason\nmore\n";
        assert_eq!(last_words(said, ExitStatus::from_raw(256)), "the reason");
        let message = last_words("WARN something", ExitStatus::from_raw(6));
        assert!(message.contains("without a word (signal: 6"), "{message}");
    }

    #[test]
    fn a_child_that_nobody_wants_is_ended() {
        let halt = Halt::default();
        halt.halt();
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        assert_eq!(wait(&mut child, &halt).unwrap(), None);
        let mut child = Command::new("true").spawn().unwrap();
        let status = wait(&mut child, &Halt::default()).unwrap();
        assert!(status.is_some_and(|status| status.success()));
    }
}
