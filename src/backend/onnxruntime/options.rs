//! Session options from a model's configuration: Triton's `optimization.graph.level` and its
//! parameters for this backend. Reading them is pure; applying them is apart.

use std::ops::RangeInclusive;

use ort::{
    ep::{CPU, ExecutionProvider},
    session::{
        RunOptions,
        builder::{BuilderResult, GraphOptimizationLevel, SessionBuilder},
    },
};

use super::{BackendError, failed};
use crate::model_config::{ModelConfig, did_you_mean};

/// More threads of one pool are a mistake.
const MAX_THREADS: u32 = 1024;

const SHRINKAGE: &str = "memory.enable_memory_arena_shrinkage";
const FREE_DIMENSION: &str = "free_dimension_override.";

/// Parameters that this backend reads, for all devices.
const PARAMETERS: [&str; 6] = [
    "intra_op_thread_count",
    "inter_op_thread_count",
    "execution_mode",
    "enable_mem_arena",
    "enable_mem_pattern",
    SHRINKAGE,
];

/// Configuration entries of ONNX Runtime that a model may set. Not among them are those that name
/// files, and those that the server decides for all models.
const ENTRIES: [&str; 20] = [
    "session.allow_released_opsets_only",
    "session.disable_aot_function_inlining",
    "session.disable_cpu_ep_fallback",
    "session.disable_double_qdq_remover",
    "session.disable_prepacking",
    "session.disable_quant_qdq",
    "session.dynamic_block_base",
    "session.enable_quant_qdq_cleanup",
    "session.force_spinning_stop",
    "session.inter_op.allow_spinning",
    "session.intra_op.allow_spinning",
    "session.intra_op_thread_affinities",
    "session.qdqisint8allowed",
    "session.set_denormal_as_zero",
    "session.strict_shape_type_inference",
    "session.use_device_allocator_for_initializers",
    "session.x64quantprecision",
    "optimization.disable_specified_optimizers",
    "optimization.enable_cast_chain_elimination",
    "optimization.enable_gelu_approximation",
];

/// What a model's configuration says of its sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SessionOptions {
    /// Triton's scale: -1 basic, 1 extended, 2 off, everything else all.
    pub(super) graph_level: Option<i32>,
    /// Threads within an operator.
    pub(super) intra_threads: Option<u32>,
    /// Threads between operators.
    pub(super) inter_threads: Option<u32>,
    /// Whether operators run beside each other.
    pub(super) parallel: bool,
    /// Whether memory is kept between runs, in the arena that all models share.
    pub(super) no_arena: bool,
    /// Whether memory is planned for one input shape.
    pub(super) memory_pattern: bool,
    /// Which arenas are shrunk after each run, such as `cpu:0;gpu:0`.
    pub(super) shrink: Option<String>,
    /// ONNX Runtime's configuration entries.
    pub(super) entries: Vec<(String, String)>,
    /// Free dimensions of the model that are fixed, by name.
    pub(super) dimensions: Vec<(String, u32)>,
}

impl SessionOptions {
    /// Reads a configuration. Parameters that are none of this backend's are left alone, as in
    /// Triton: they may be anybody's.
    ///
    /// # Errors
    /// [`BackendError::InvalidModel`] with the key, its value and what was expected.
    pub(super) fn read(config: &ModelConfig) -> Result<Self, BackendError> {
        let optimization = config.proto.optimization.as_ref();
        let parameters = Parameters(config);
        Ok(Self {
            graph_level: optimization
                .and_then(|optimization| optimization.graph.as_ref())
                .map(|graph| graph.level),
            intra_threads: parameters.number("intra_op_thread_count", 0..=MAX_THREADS)?,
            inter_threads: parameters.number("inter_op_thread_count", 0..=MAX_THREADS)?,
            parallel: parameters.switch("execution_mode")?.unwrap_or(false),
            no_arena: !parameters.switch("enable_mem_arena")?.unwrap_or(true),
            // Planned memory is for one input shape; with batches of every size it only grows.
            memory_pattern: parameters.switch("enable_mem_pattern")?.unwrap_or(false),
            shrink: parameters.arenas(SHRINKAGE)?,
            entries: parameters.entries()?,
            dimensions: parameters.dimensions()?,
        })
    }

    /// What each run is told, if anything.
    pub(super) fn run_options(&self) -> Result<Option<RunOptions>, BackendError> {
        let Some(arenas) = &self.shrink else {
            return Ok(None);
        };
        let mut options = RunOptions::new().map_err(failed)?;
        options.set(SHRINKAGE, arenas).map_err(failed)?;
        Ok(Some(options))
    }

    /// Sets them.
    ///
    /// # Errors
    /// If ONNX Runtime refuses one.
    #[expect(
        clippy::result_large_err,
        reason = "the crate's error gives its builder back"
    )]
    pub(super) fn apply(&self, builder: SessionBuilder) -> Result<SessionBuilder, BackendError> {
        let mut setter = Setter {
            builder: Some(builder),
        };
        if let Some(level) = self.graph_level.map(graph_level) {
            setter.set(|builder| builder.with_optimization_level(level))?;
        }
        if self.intra_threads.is_some() || self.inter_threads.is_some() {
            let count = |threads: Option<u32>| usize::try_from(threads.unwrap_or(0)).unwrap_or(0);
            // A model that asks for threads of its own leaves the pool that the others share.
            setter.set(SessionBuilder::with_independent_thread_pool)?;
            setter.set(|builder| builder.with_intra_op_spinning(false))?;
            setter.set(|builder| builder.with_intra_threads(count(self.intra_threads)))?;
            setter.set(|builder| builder.with_inter_threads(count(self.inter_threads)))?;
        }
        setter.set(|builder| builder.with_parallel_execution(self.parallel))?;
        setter.set(|builder| builder.with_memory_pattern(self.memory_pattern))?;
        if self.no_arena {
            setter.set(|builder| builder.with_config_entry("session.use_env_allocators", "0"))?;
        }
        for (key, value) in &self.entries {
            setter.set(|builder| builder.with_config_entry(key, value))?;
        }
        for (name, size) in &self.dimensions {
            setter.set(|builder| builder.with_dimension_override(name, i64::from(*size)))?;
        }
        let mut builder = setter.finish()?;
        if self.no_arena {
            let provider = CPU::default().with_arena_allocator(false);
            provider.register(&mut builder).map_err(failed)?;
        }
        Ok(builder)
    }
}

/// A model's parameters, and how they are read.
struct Parameters<'a>(&'a ModelConfig);

impl Parameters<'_> {
    fn number(&self, key: &str, range: RangeInclusive<u32>) -> Result<Option<u32>, BackendError> {
        self.read(key, |text| {
            let expected = || format!("a number from {} to {}", range.start(), range.end());
            let number = text.parse().ok();
            number
                .filter(|number| range.contains(number))
                .ok_or_else(expected)
        })
    }

    fn switch(&self, key: &str) -> Result<Option<bool>, BackendError> {
        self.read(key, |text| switch(text).ok_or_else(|| "0 or 1".to_owned()))
    }

    fn arenas(&self, key: &str) -> Result<Option<String>, BackendError> {
        let is_arena = |arena: &str| {
            let parts = arena.split_once(':');
            parts.is_some_and(|(kind, id)| {
                matches!(kind, "cpu" | "gpu") && id.parse::<u16>().is_ok()
            })
        };
        self.read(key, |text| match text.split(';').all(is_arena) {
            true => Ok(text.to_owned()),
            false => Err("arenas such as cpu:0;gpu:0".to_owned()),
        })
    }

    fn entries(&self) -> Result<Vec<(String, String)>, BackendError> {
        let of_runtime =
            |key: &&String| key.starts_with("session.") || key.starts_with("optimization.");
        let parameters = self.0.parameters.iter();
        parameters
            .filter(|(key, _)| of_runtime(key))
            .map(|(key, value)| {
                if !ENTRIES.contains(&key.as_str()) {
                    return Err(self.fault(format!(
                        "parameter '{}' of model '{}' is none that may be set{}",
                        key.escape_debug(),
                        self.0.name,
                        did_you_mean(key, ENTRIES.into_iter())
                    )));
                }
                let entry = (key.clone(), value.clone());
                self.read(key, |text| match text.contains('\0') {
                    true => Err("text without NUL".to_owned()),
                    false => Ok(()),
                })
                .map(|_| entry)
            })
            .collect()
    }

    fn dimensions(&self) -> Result<Vec<(String, u32)>, BackendError> {
        let parameters = self.0.parameters.keys();
        parameters
            .filter_map(|key| Some((key, key.strip_prefix(FREE_DIMENSION)?)))
            .map(|(key, name)| {
                let size = self.number(key, 1..=u32::MAX)?.unwrap_or(1);
                Ok((name.replace('\0', ""), size))
            })
            .collect()
    }

    /// The parameter's value, if it is set.
    fn read<T>(
        &self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, BackendError> {
        let Some(text) = self.0.parameters.get(key) else {
            return Ok(None);
        };
        parse(text.trim()).map(Some).map_err(|expected| {
            self.fault(format!(
                "parameter '{}' of model '{}' has value '{}', expected {expected}",
                key.escape_debug(),
                self.0.name,
                text.escape_debug()
            ))
        })
    }

    fn fault(&self, message: String) -> BackendError {
        BackendError::InvalidModel(message)
    }
}

/// Parameters that look like slips of ones that are known.
pub(super) fn slips(config: &ModelConfig, others: &[&str]) -> Vec<String> {
    let known = || PARAMETERS.iter().chain(others).copied();
    let keys = config.parameters.keys().map(String::as_str);
    keys.filter(|key| known().all(|known| known != *key))
        .filter_map(|key| {
            let near = known().find(|known| {
                known.len().abs_diff(key.len()) <= 2 && strsim::damerau_levenshtein(known, key) <= 2
            })?;
            Some(format!(
                "parameter '{}' is unknown, did you mean '{near}'?",
                key.escape_debug()
            ))
        })
        .collect()
}

/// Triton's booleans.
pub(super) fn switch(text: &str) -> Option<bool> {
    match text {
        "1" => Some(true),
        "0" => Some(false),
        _ if text.eq_ignore_ascii_case("true") => Some(true),
        _ if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

struct Setter {
    builder: Option<SessionBuilder>,
}

impl Setter {
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

fn graph_level(level: i32) -> GraphOptimizationLevel {
    match level {
        -1 => GraphOptimizationLevel::Level1,
        1 => GraphOptimizationLevel::Level2,
        2 => GraphOptimizationLevel::Disable,
        _ => GraphOptimizationLevel::All,
    }
}
