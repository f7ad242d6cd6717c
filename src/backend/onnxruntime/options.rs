//! Session options from a model's configuration: Triton's `optimization.graph.level` and its
//! parameters for this backend.

use ort::session::builder::{BuilderResult, GraphOptimizationLevel, SessionBuilder};

use super::{BackendError, failed};
use crate::{backend::parameters::parameter, model_config::ModelConfig};

/// Applies what the configuration asks for.
///
/// # Errors
/// If a parameter cannot be read, or ONNX Runtime refuses an option.
#[expect(
    clippy::result_large_err,
    reason = "the crate's error gives its builder back"
)]
pub(super) fn apply(
    builder: SessionBuilder,
    config: &ModelConfig,
) -> Result<SessionBuilder, BackendError> {
    let mut options = Options {
        builder: Some(builder),
    };
    if let Some(level) = graph_level(config) {
        options.set(|builder| builder.with_optimization_level(level))?;
    }
    let intra = parameter::<usize>(config, "intra_op_thread_count")?;
    let inter = parameter::<usize>(config, "inter_op_thread_count")?;
    if intra.is_some() || inter.is_some() {
        // A model that asks for threads of its own leaves the pool that the others share.
        options.set(SessionBuilder::with_independent_thread_pool)?;
        options.set(|builder| builder.with_intra_op_spinning(false))?;
        options.set(|builder| builder.with_intra_threads(intra.unwrap_or(0)))?;
        options.set(|builder| builder.with_inter_threads(inter.unwrap_or(0)))?;
    }
    if let Some(mode) = parameter::<u8>(config, "execution_mode")? {
        options.set(|builder| builder.with_parallel_execution(mode == 1))?;
    }
    // Planned memory is for one input shape; with batches of every size it only grows.
    let pattern = parameter::<u8>(config, "enable_mem_pattern")?.unwrap_or(0) != 0;
    options.set(|builder| builder.with_memory_pattern(pattern))?;
    options.finish()
}

struct Options {
    builder: Option<SessionBuilder>,
}

impl Options {
    fn set(
        &mut self,
        option: impl FnOnce(SessionBuilder) -> BuilderResult,
    ) -> Result<(), BackendError> {
        if let Some(builder) = self.builder.take() {
            self.builder = Some(option(builder).map_err(failed)?);
        }
        Ok(())
    }

    fn finish(self) -> Result<SessionBuilder, BackendError> {
        self.builder.ok_or_else(|| failed("an option was refused"))
    }
}

/// Triton's scale: -1 basic, 1 extended, 2 off, everything else all.
fn graph_level(config: &ModelConfig) -> Option<GraphOptimizationLevel> {
    let level = config.proto.optimization.as_ref()?.graph.as_ref()?.level;
    Some(match level {
        -1 => GraphOptimizationLevel::Level1,
        1 => GraphOptimizationLevel::Level2,
        2 => GraphOptimizationLevel::Disable,
        _ => GraphOptimizationLevel::All,
    })
}
