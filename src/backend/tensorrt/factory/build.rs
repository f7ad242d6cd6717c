//! One build, in this process: model in, plan out. It may take minutes, and if TensorRT ends the process, it ends
//! this one: a server has it done by another (`child`).

use std::{
    fs,
    io::{self, Write},
    path::Path,
    sync::Arc,
    time::Instant,
};

use serde::{Deserialize, Serialize};
use tensorrt_sys::{Library, OnnxParser};

use super::{recipe::Recipe, shapes::BuildProfile, source::Source};
use crate::{
    backend::{
        BackendError,
        tensorrt::{
            TensorRt,
            builder::{Builder, ModelInput},
            library,
        },
    },
    device::Gpu,
};

/// A larger timing cache is none.
const TIMING_BYTE_LIMIT: u64 = 1 << 30;

/// What to build, and on what.
#[derive(Clone, Copy, Debug)]
pub struct BuildOrder<'a> {
    /// The model.
    pub source: &'a Source,
    /// How.
    pub recipe: &'a Recipe,
    /// The GPU's ordinal; the first that may be used if not set.
    pub gpu: Option<u32>,
    /// A file that keeps what builds learn about kernels; it need not be there yet.
    pub timing_cache: Option<&'a Path>,
}

/// What a plan was built for.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct BuildReport {
    /// TensorRT's version.
    pub tensorrt: String,
    /// The GPU's name.
    pub device: String,
    /// Its compute capability.
    pub compute_capability: String,
    /// The driver's version.
    pub driver: String,
    /// The optimization profiles.
    pub profiles: Vec<String>,
    /// Of the model, with its external data.
    pub model_sha256: String,
    /// Bytes of the plan.
    pub byte_size: usize,
    /// How long it took.
    pub seconds: f64,
}

impl TensorRt {
    /// Builds the plan.
    ///
    /// # Errors
    /// [`BackendError::Unavailable`] if there is no TensorRT that builds, no ONNX parser or no such GPU;
    /// [`BackendError::InvalidModel`] if the model cannot be built so, with TensorRT's reason.
    pub fn build(&self, order: &BuildOrder<'_>) -> Result<(Vec<u8>, BuildReport), BackendError> {
        let start = Instant::now();
        let library = self.library()?;
        let gpu = self.gpu(order.gpu)?;
        let parser =
            library::open_parser(&self.config, library).map_err(BackendError::Unavailable)?;
        let device = self.devices.open(gpu.ordinal)?;
        device.context().enter()?;
        let (plan, profiles) = self.assemble(order, library, &Arc::new(parser))?;
        let (major, minor) = gpu.compute_capability;
        let report = BuildReport {
            tensorrt: library.version().to_string(),
            device: gpu.name.clone(),
            compute_capability: format!("{major}.{minor}"),
            driver: self.driver.clone(),
            profiles: profiles.iter().map(ToString::to_string).collect(),
            model_sha256: order.source.digest.to_string(),
            byte_size: plan.len(),
            seconds: start.elapsed().as_secs_f64(),
        };
        Ok((plan, report))
    }

    /// The GPU of that ordinal, or the first that may be used.
    pub(super) fn gpu(&self, ordinal: Option<u32>) -> Result<&Gpu, BackendError> {
        let ordinal = match ordinal {
            Some(ordinal) => ordinal,
            None => self.first_gpu()?,
        };
        let gpu = self.gpus.iter().find(|gpu| gpu.ordinal == ordinal);
        gpu.ok_or_else(|| {
            BackendError::Unavailable(format!(
                "there is no GPU {ordinal}: {}",
                self.first_gpu
                    .as_ref()
                    .map_or_else(Clone::clone, |_| format!("{} are here", self.gpus.len()))
            ))
        })
    }

    fn assemble(
        &self,
        order: &BuildOrder<'_>,
        library: &Arc<Library>,
        parser: &Arc<OnnxParser>,
    ) -> Result<(Vec<u8>, Vec<BuildProfile>), BackendError> {
        let Source { path, bytes, .. } = order.source;
        let mut builder = Builder::new(library, order.recipe, &self.config.plugins)?;
        builder.parse(parser, bytes, path)?;
        let profiles = profiles_for(&builder.inputs()?, &order.recipe.profiles)
            .map_err(BackendError::InvalidModel)?;
        profiles
            .iter()
            .try_for_each(|profile| builder.add_profile(profile))?;
        let Some(timing_cache) = order.timing_cache else {
            return Ok((builder.build()?, profiles));
        };
        read_timing_cache(&mut builder, timing_cache);
        let plan = builder.build()?;
        if let Some(learned) = builder.timing_cache()
            && let Err(error) = replace(timing_cache, &learned)
        {
            tracing::warn!(file = %timing_cache.display(), %error, "the timing cache cannot be written");
        }
        Ok((plan, profiles))
    }
}

/// What does not fit this TensorRT and this device is learned anew.
fn read_timing_cache(builder: &mut Builder, file: &Path) {
    let is_small = fs::metadata(file).is_ok_and(|metadata| metadata.len() <= TIMING_BYTE_LIMIT);
    let known = is_small.then(|| fs::read(file).ok()).flatten();
    if let Some(known) = known {
        if builder.set_timing_cache(&known) {
            return;
        }
        tracing::warn!(file = %file.display(), "TensorRT cannot use the timing cache, another is begun");
    }
    builder.set_timing_cache(&[]);
}

/// Writes a file whole or not at all.
///
/// # Errors
/// If its folder cannot be written.
pub fn replace(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let mut part = tempfile::Builder::new()
        .prefix(".part-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(folder.unwrap_or(Path::new(".")))?;
    part.write_all(bytes)?;
    part.as_file().sync_all()?;
    part.persist(file)?;
    Ok(())
}

/// The profiles as the model needs them: of the inputs whose shape varies only, and of all of those.
///
/// # Errors
/// What is missing, or does not fit, and how it is said.
fn profiles_for(
    inputs: &[ModelInput],
    wanted: &[BuildProfile],
) -> Result<Vec<BuildProfile>, String> {
    for (name, _) in wanted.iter().flat_map(BuildProfile::iter) {
        if !inputs.iter().any(|input| input.name == name) {
            let names: Vec<_> = inputs.iter().map(|input| input.name.as_str()).collect();
            return Err(format!(
                "the model has no input '{name}', but {}",
                names.join(", ")
            ));
        }
    }
    if let Some(input) = inputs.iter().find(|input| input.is_shape) {
        return Err(format!(
            "input '{}' is a shape tensor, which plans built here cannot have; trtexec builds such plans",
            input.name
        ));
    }
    let variable: Vec<_> = inputs
        .iter()
        .filter(|input| input.dims.iter().any(|dim| *dim < 0))
        .collect();
    if variable.is_empty() {
        return Ok(Vec::new());
    }
    if wanted.is_empty() {
        let shapes = variable
            .iter()
            .map(|input| format!("{} {}", input.name, input.dims));
        return Err(format!(
            "the shapes of inputs vary ({}): say for which to build, such as --profile {}=MIN/OPT/MAX",
            shapes.collect::<Vec<_>>().join(", "),
            variable.first().map_or("x", |input| &input.name)
        ));
    }
    wanted
        .iter()
        .map(|profile| restricted(profile, &variable))
        .collect()
}

fn restricted(profile: &BuildProfile, variable: &[&ModelInput]) -> Result<BuildProfile, String> {
    let ranges = variable.iter().map(|input| {
        let range = profile
            .range(&input.name)
            .ok_or_else(|| format!("profile {profile} says no shapes of input '{}'", input.name))?;
        let fits = [&range.min, &range.opt, &range.max]
            .into_iter()
            .all(|shape| {
                shape.len() == input.dims.len()
                    && shape
                        .iter()
                        .zip(input.dims.iter())
                        .all(|(extent, dim)| *dim < 0 || extent == dim)
            });
        match fits {
            true => Ok((input.name.clone(), range.clone())),
            false => Err(format!(
                "profile {profile} does not fit input '{}', which has shape {}",
                input.name, input.dims
            )),
        }
    });
    ranges.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Shape;

    fn input(name: &str, dims: &[i64]) -> ModelInput {
        ModelInput {
            name: name.to_owned(),
            dims: Shape::from(dims),
            is_shape: false,
        }
    }

    #[test]
    fn a_model_gets_the_profiles_that_it_needs() {
        let fixed = input("f", &[4]);
        let varies = input("v", &[-1, 3]);
        let shape = ModelInput {
            is_shape: true,
            ..input("s", &[2])
        };
        let both = [fixed.clone(), varies.clone()];
        type Row<'a> = (
            &'a [ModelInput],
            &'a [&'a str],
            Result<&'a [&'a str], &'a str>,
        );
        let table: [Row<'_>; 8] = [
            (&[], &[], Ok(&[])),
            (std::slice::from_ref(&fixed), &["f=4"], Ok(&[])),
            (&both, &["f=4,v=1x3/2x3/3x3"], Ok(&["v=1x3/2x3/3x3"])),
            (
                &both,
                &["v=1x3", "v=2x3"],
                Ok(&["v=1x3/1x3/1x3", "v=2x3/2x3/2x3"]),
            ),
            (
                &both,
                &[],
                Err("say for which to build, such as --profile v=MIN/OPT/MAX"),
            ),
            (&both, &["f=4"], Err("says no shapes of input 'v'")),
            (
                &both,
                &["v=1x4"],
                Err("does not fit input 'v', which has shape [-1,3]"),
            ),
            (&both, &["w=1"], Err("has no input 'w', but f, v")),
        ];
        for (inputs, wanted, expected) in table {
            let wanted: Vec<BuildProfile> =
                wanted.iter().map(|text| text.parse().unwrap()).collect();
            match (profiles_for(inputs, &wanted), expected) {
                (Ok(profiles), Ok(expected)) => {
                    let shown: Vec<_> = profiles.iter().map(ToString::to_string).collect();
                    assert_eq!(shown, expected);
                }
                (Err(message), Err(part)) => assert!(message.contains(part), "{message}"),
                (result, expected) => panic!("{result:?}, not {expected:?}"),
            }
        }
        let message = profiles_for(&[shape], &[]).unwrap_err();
        assert!(message.contains("'s' is a shape tensor"), "{message}");
    }

    #[test]
    fn a_file_is_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("plan");
        replace(&file, b"first").unwrap();
        replace(&file, b"2").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"2");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(replace(Path::new("/dev/null/plan"), b"").is_err());
    }
}
