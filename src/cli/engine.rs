//! `despina engine`: builds TensorRT plans from ONNX models.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};

use crate::{
    backend::tensorrt::factory::{
        self, BuildOrder, BuildProfile, BuildReport, Hardware, Precision, Recipe, Source, replace,
    },
    config::Config,
    model_config::{self, Environment, ModelConfig},
    server::engine_builder,
    telemetry::logging::Logging,
};

#[derive(Debug, Subcommand)]
pub(super) enum EngineCommand {
    /// Build a TensorRT plan from an ONNX model.
    ///
    /// The plan is for the GPU and the TensorRT that are here, and takes minutes. Needs the full TensorRT
    /// library (libnvinfer) and its ONNX parser (libnvonnxparser).
    Build(Box<BuildFlags>),
}

#[derive(Args, Clone, Debug)]
pub(super) struct BuildFlags {
    /// The ONNX model: a file, or a folder model.onnx with the file and its external data in it.
    model: PathBuf,
    /// Where the plan goes; written whole or not at all.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Shapes to build for, one optimization profile each time: NAME=MIN/OPT/MAX for each input whose shape
    /// varies, with commas between, such as x=1x784/16x784/64x784. One shape alone stands for all three.
    #[arg(long, value_name = "SHAPES", help_heading = "Shapes")]
    profile: Vec<BuildProfile>,
    /// A model configuration (config.pbtxt) whose max_batch_size, preferred_batch_size, dims and engine_*
    /// parameters say what to build; flags come before it.
    #[arg(long, value_name = "FILE", help_heading = "Shapes")]
    config: Option<PathBuf>,
    /// What the plan computes with: fp32 and tf32 keep the model's types, and tf32 rounds products of 32-bit
    /// floats; with fp16 and bf16 TensorRT chooses, which only version 10 can. [default: tf32]
    #[arg(long, value_name = "PRECISION", help_heading = "Building")]
    precision: Option<Precision>,
    /// A file that keeps what builds learn about kernels, so that the next is faster.
    #[arg(long, value_name = "FILE", help_heading = "Building")]
    timing_cache: Option<PathBuf>,
    /// Most bytes of the GPU's memory that a layer may use besides; all of it by default.
    #[arg(long, value_name = "BYTES", help_heading = "Building")]
    workspace_limit: Option<u64>,
    /// How hard TensorRT tries, from 0 to 5; its own default is 3.
    #[arg(long, value_name = "LEVEL", help_heading = "Building")]
    optimization_level: Option<u8>,
    /// Let later versions of TensorRT of the same major version run the plan, too. It brings host code along.
    #[arg(long, help_heading = "Building")]
    version_compatible: bool,
    /// Which other GPUs shall run the plan: none, ampere-plus or same-compute-capability.
    #[arg(long, value_name = "WHICH", help_heading = "Building")]
    hardware_compatibility: Option<Hardware>,
    /// Let weights stay on the host, as far as a budget says when the plan is loaded.
    #[arg(long, help_heading = "Building")]
    weight_streaming: bool,
    /// The GPU's ordinal; the first that models may use by default.
    #[arg(long, value_name = "ORDINAL", help_heading = "Where")]
    gpu: Option<u32>,
    /// libnvinfer's file; otherwise it is looked for.
    #[arg(
        long,
        env = "DESPINA_TENSORRT_LIBRARY",
        value_name = "FILE",
        help_heading = "Where"
    )]
    tensorrt_library: Option<PathBuf>,
    /// libnvonnxparser's file; otherwise it is looked for.
    #[arg(
        long,
        env = "DESPINA_ONNX_PARSER_LIBRARY",
        value_name = "FILE",
        help_heading = "Where"
    )]
    onnx_parser_library: Option<PathBuf>,
    /// A shared library of plugins, loaded before the model is read; may be given several times.
    #[arg(long, value_name = "FILE", help_heading = "Where")]
    plugin: Vec<PathBuf>,
    /// Print what was built for as JSON.
    #[arg(long)]
    json: bool,
    /// End when the process ends that started this one.
    #[arg(long, hide = true)]
    with_parent: bool,
}

pub(super) fn run(command: &EngineCommand) -> Result<ExitCode> {
    match command {
        EngineCommand::Build(flags) => build(flags),
    }
}

fn build(flags: &BuildFlags) -> Result<ExitCode> {
    if flags.with_parent {
        let signal = Some(rustix::process::Signal::KILL);
        rustix::process::set_parent_process_death_signal(signal)
            .context("cannot be told when the parent ends")?;
    }
    let config = configuration(flags);
    let _logging = Logging::start(&config.log).map_err(anyhow::Error::msg)?;
    let recipe = recipe(flags)?;
    let source = Source::read(&flags.model).map_err(anyhow::Error::msg)?;
    let order = BuildOrder {
        source: &source,
        recipe: &recipe,
        gpu: flags.gpu,
        timing_cache: flags.timing_cache.as_deref(),
    };
    let (plan, report) = engine_builder(&config).build(&order)?;
    replace(&flags.output, &plan)
        .with_context(|| format!("cannot write {}", flags.output.display()))?;
    match flags.json {
        true => println!("{}", serde_json::to_string(&report)?),
        false => print!("{}", text(&report, flags)),
    }
    Ok(ExitCode::SUCCESS)
}

fn configuration(flags: &BuildFlags) -> Config {
    let mut config = Config::default();
    config.tensorrt.library.clone_from(&flags.tensorrt_library);
    config
        .tensorrt
        .onnx_parser
        .clone_from(&flags.onnx_parser_library);
    config.tensorrt.plugins.clone_from(&flags.plugin);
    // Nothing is sent anywhere.
    config.gpu.pinned_memory_pool_byte_size = 0;
    "warn".clone_into(&mut config.log.filter);
    config
}

/// What the configuration says, with the flags laid over it.
fn recipe(flags: &BuildFlags) -> Result<Recipe> {
    let mut recipe = match &flags.config {
        Some(file) => {
            let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
            factory::recipe(&model_configuration(&text, &file.display().to_string())?)?
        }
        None => Recipe::default(),
    };
    if let Some(precision) = flags.precision {
        recipe.precision = precision;
    }
    if let Some(hardware) = flags.hardware_compatibility {
        recipe.hardware = hardware;
    }
    if !flags.profile.is_empty() {
        recipe.profiles.clone_from(&flags.profile);
    }
    recipe.version_compatible |= flags.version_compatible;
    recipe.weight_streaming |= flags.weight_streaming;
    recipe.optimization_level = flags.optimization_level.or(recipe.optimization_level);
    recipe.workspace_byte_limit = flags.workspace_limit.or(recipe.workspace_byte_limit);
    Ok(recipe)
}

fn model_configuration(text: &str, file: &str) -> Result<ModelConfig> {
    let mut proto = model_config::from_pbtxt(text, file)?;
    if proto.input.is_empty() {
        bail!("{file} has no inputs, so it does not say for which shapes to build");
    }
    if proto.name.is_empty() {
        "model".clone_into(&mut proto.name);
    }
    // The rest is for who serves the model.
    "tensorrt".clone_into(&mut proto.backend);
    "tensorrt_plan".clone_into(&mut proto.platform);
    proto.default_model_filename.clear();
    proto.instance_group.clear();
    Ok(ModelConfig::from_proto(proto, &Environment::default())?)
}

fn text(report: &BuildReport, flags: &BuildFlags) -> String {
    let profiles = match report.profiles.is_empty() {
        true => "none: no input varies".to_owned(),
        false => report.profiles.join("\n               "),
    };
    format!(
        "wrote          {} ({} bytes)\nTensorRT       {}\nGPU            {}, compute capability {}\n\
         driver         {}\nprofiles       {profiles}\nmodel SHA-256  {}\ntook           {:.1} s\n",
        flags.output.display(),
        report.byte_size,
        report.tensorrt,
        report.device,
        report.compute_capability,
        report.driver,
        report.model_sha256,
        report.seconds,
    )
}
