//! The flags on what requests carry, of all commands that send some.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Args;

use super::perf_values::shape;
use crate::perf::{Data, Source};

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Data")]
pub(super) struct DataFlags {
    /// Rows of each request.
    #[arg(short = 'b', long, value_name = "COUNT", default_value_t = 1)]
    batch_size: usize,
    /// The dimensions of an input whose model leaves some open, without the batch dimension. May be
    /// given more than once.
    #[arg(long, value_name = "NAME:D,D,...")]
    shape: Vec<String>,
    /// random, zero, a file of JSON as perf_analyzer reads it, a .npy file, or a folder with a file for
    /// each input. Files may be given more than once.
    #[arg(long, value_name = "DATA", default_value = "random")]
    input_data: Vec<PathBuf>,
    /// Bytes of a random text.
    #[arg(long, value_name = "COUNT", default_value_t = 128)]
    string_length: usize,
    /// What each text is.
    #[arg(long, value_name = "TEXT")]
    string_data: Option<String>,
    /// Of all that is random: the same seed gives the same requests at the same times.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    seed: u64,
}

impl DataFlags {
    /// What they say.
    ///
    /// # Errors
    /// If one is malformed.
    pub(super) fn data(&self) -> Result<Data> {
        ensure!(self.batch_size > 0, "-b must be 1 at least");
        let source = match &self.input_data[..] {
            [only] if only.as_os_str() == "random" => Source::Random,
            [only] if only.as_os_str() == "zero" => Source::Zero,
            paths => Source::Files(paths.to_vec()),
        };
        Ok(Data {
            source,
            batch_size: self.batch_size,
            shapes: self
                .shape
                .iter()
                .map(|text| shape(text))
                .collect::<Result<_>>()?,
            string_length: self.string_length,
            string_data: self.string_data.clone(),
            seed: self.seed,
        })
    }
}
