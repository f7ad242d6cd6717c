//! What would run where, without loading anything: for this machine, or for one that is pretended.

use anyhow::Result;

use super::assemble::{backends, environment};
use crate::{
    backend::BackendRegistry,
    config::Config,
    device::{Device, Devices, Inventory},
    error,
    model::{LoadRequest, with_engine},
    model_config::{self, Environment, ModelConfig},
    placement::{self, Footprint, Space, Wish},
    repository,
};

/// What would run where.
#[derive(Debug)]
pub struct Outlook {
    /// One for each instance, and one for each model that cannot have any.
    pub rows: Vec<Row>,
    /// The GPUs with what would be taken of them.
    pub spaces: Vec<Space>,
}

/// Where one instance would run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The model's name.
    pub model: String,
    /// Its version, if it has one.
    pub version: Option<u64>,
    /// The instance's name; empty for a model that cannot have any.
    pub instance: String,
    /// The device; `None` if it cannot be anywhere.
    pub device: Option<Device>,
    /// What it takes there.
    pub footprint: Option<Footprint>,
    /// Why it is there, or is nowhere.
    pub why: String,
}

/// One version's instances.
struct Version {
    request: LoadRequest,
    config: ModelConfig,
    footprint: Footprint,
    wishes: Vec<Wish>,
}

/// Plans for the repositories' models: on this machine's devices, or on those of `pretended`, where
/// every engine is taken to be usable.
///
/// # Errors
/// If a repository cannot be read, or a setting is wrong.
pub fn outlook(config: &Config, pretended: Option<&Inventory>) -> Result<Outlook> {
    let here = Inventory::probe();
    let inventory = pretended.unwrap_or(&here);
    let spaces = placement::spaces(inventory, &config.placement).map_err(anyhow::Error::msg)?;
    let planner = Planner {
        environment: environment(config, inventory),
        backends: pretended
            .is_none()
            .then(|| backends(config, inventory, &Devices::new(inventory, &config.gpu))),
    };
    let (mut rows, mut versions) = (Vec::new(), Vec::new());
    for (name, requests) in repository::survey(&config.repository)? {
        let requests = requests.unwrap_or_else(|why| {
            rows.push(Row::faulty(name.to_string(), None, why));
            Vec::new()
        });
        for request in requests {
            let number = Some(request.version);
            match planner.version(request) {
                Ok(version) => versions.push(version),
                Err(fault) => {
                    rows.push(Row::faulty(
                        name.to_string(),
                        number,
                        fault.message().to_owned(),
                    ));
                }
            }
        }
    }
    Ok(place(rows, spaces, versions))
}

struct Planner {
    environment: Environment,
    /// To be asked whether they can use GPUs; `None` if they are taken to.
    backends: Option<BackendRegistry>,
}

impl Planner {
    fn version(&self, request: LoadRequest) -> error::Result<Version> {
        let version_folder = request.model_folder.join(request.version.to_string());
        let mut proto = request.config.clone();
        model_config::complete_from_files(&mut proto, &request.name, &version_folder)?;
        let (environment, fault) = match &self.backends {
            Some(backends) => with_engine(
                &self.environment,
                backends.backend(&proto.backend)?.as_ref(),
            ),
            None => (self.environment.clone(), None),
        };
        let config = ModelConfig::from_proto(proto, &environment)?;
        let footprint = Footprint::of(&config, &version_folder)?;
        let wishes = placement::wishes(
            &config,
            request.version,
            footprint.byte_size(),
            fault.as_deref(),
        );
        Ok(Version {
            request,
            config,
            footprint,
            wishes,
        })
    }
}

fn place(mut rows: Vec<Row>, mut spaces: Vec<Space>, versions: Vec<Version>) -> Outlook {
    let wishes: Vec<_> = versions
        .iter()
        .flat_map(|version| version.wishes.iter().cloned())
        .collect();
    let mut answers = placement::plan(&spaces, &wishes).into_iter();
    for version in versions {
        let names = placement::instances(&version.config.instance_groups);
        for ((instance, ..), answer) in names.zip(answers.by_ref()) {
            let (device, why) = match answer {
                Ok(seat) => (Some(seat.device), seat.why.to_string()),
                Err(refusal) => (None, refusal.to_string()),
            };
            take(&mut spaces, device, version.footprint);
            rows.push(Row {
                model: version.config.name.clone(),
                version: Some(version.request.version),
                instance,
                device,
                footprint: Some(version.footprint),
                why,
            });
        }
    }
    rows.sort_by(|a, b| (&a.model, a.version).cmp(&(&b.model, b.version)));
    Outlook { rows, spaces }
}

fn take(spaces: &mut [Space], device: Option<Device>, footprint: Footprint) {
    let of_device = |space: &&mut Space| device == Some(Device::Cuda(space.ordinal));
    if let Some(space) = spaces.iter_mut().find(of_device) {
        space.taken_byte_size = space.taken_byte_size.saturating_add(footprint.byte_size());
    }
}

impl Row {
    fn faulty(model: String, version: Option<u64>, why: String) -> Self {
        Self {
            model,
            version,
            instance: String::new(),
            device: None,
            footprint: None,
            why,
        }
    }
}

impl Outlook {
    /// Whether every instance has a device.
    pub fn fits(&self) -> bool {
        self.rows.iter().all(|row| row.device.is_some())
    }
}
