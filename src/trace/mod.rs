//! Traces: which requests are followed, when they came to each stage, and the files that say so, in
//! the form of Triton's. Requests carry a [`Probe`](crate::inference::Probe) and know nothing of
//! this; while nothing is traced, a request costs one look at an atomic flag.

mod config;
mod files;
mod json;
mod record;
mod sampler;
mod settings;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;

pub use self::{
    config::{Config, Level},
    record::{Sending, Trace},
    settings::{Change, Edit, Levels, Values},
};
use self::{files::Files, sampler::Sampler, settings::Layers, writer::Writer};
use crate::error::{Error, Result};

/// The server's traces.
#[derive(Debug)]
pub struct Tracing {
    /// Whether any request may be traced.
    is_on: AtomicBool,
    table: ArcSwap<Table>,
    layers: Mutex<Layers>,
    file: Option<PathBuf>,
    tensor_byte_limit: usize,
    writer: Writer,
    next_id: AtomicU64,
    next_serial: AtomicU64,
}

/// The settings in force.
#[derive(Debug)]
struct Table {
    global: Arc<Sampler>,
    models: HashMap<String, Arc<Sampler>>,
}

impl Table {
    fn is_on(&self) -> bool {
        let mut samplers = self.models.values().chain([&self.global]);
        samplers.any(|sampler| !sampler.values.levels.is_off())
    }
}

impl Tracing {
    /// Traces as `config` says.
    ///
    /// # Errors
    /// `InvalidArgument` if the settings contradict each other; `Internal` if there is no thread.
    pub fn start(config: &Config) -> Result<Self> {
        let start = start_values(config)?;
        if let Some(fault) = start.fault(config.file.is_some()) {
            return Err(invalid(fault));
        }
        let writer = match &config.file {
            Some(path) => Writer::start(Files::new(path, config.byte_limit)),
            None => Ok(Writer::default()),
        };
        let writer = writer.map_err(|error| {
            Error::internal("no_thread", format!("no thread to write traces: {error}"))
        })?;
        let global = Sampler::new(0, start, writer.outbox.clone());
        Ok(Self {
            is_on: AtomicBool::new(!start.levels.is_off()),
            table: ArcSwap::from_pointee(Table {
                global,
                models: HashMap::new(),
            }),
            layers: Mutex::new(Layers::new(start)),
            file: config.file.clone(),
            tensor_byte_limit: config.tensor_byte_limit,
            writer,
            next_id: AtomicU64::new(1),
            next_serial: AtomicU64::new(1),
        })
    }

    /// Whether any request may be traced.
    pub fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// A trace for the next request of `model`, if it is one that is traced.
    pub fn sample(&self, model: &str) -> Option<Arc<Trace>> {
        if !self.is_on() {
            return None;
        }
        let table = self.table.load();
        let sampler = table.models.get(model).unwrap_or(&table.global);
        sampler.take().then(|| {
            let id = self.next_id.fetch_add(1, Ordering::Relaxed);
            Trace::new(Arc::clone(sampler), id, self.tensor_byte_limit)
        })
    }

    /// What is in force for `model`, or for all without settings of their own if it is empty.
    pub fn values(&self, model: &str) -> Values {
        let table = self.table.load();
        let sampler = table.models.get(model).unwrap_or(&table.global);
        Values {
            count: sampler.left(),
            ..sampler.values
        }
    }

    /// The file; empty if there is none.
    pub fn file_name(&self) -> String {
        let file = self.file.as_ref();
        file.map_or_else(String::new, |path| path.display().to_string())
    }

    /// Changes the settings of `model`, or of all models if it is empty. Traces that have begun end
    /// under the settings under which they did.
    ///
    /// # Errors
    /// `InvalidArgument` if requests could not be traced so; then nothing is changed.
    pub fn change(&self, model: &str, change: &Change) -> Result<()> {
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        let table = self.table.load_full();
        let mut next = layers.clone();
        next.spend("", table.global.left());
        for (name, sampler) in &table.models {
            next.spend(name, sampler.left());
        }
        next.change(model, change);
        let models = next.models().map(|(_, values)| values);
        for values in models.chain([next.global()]) {
            if let Some(fault) = values.fault(self.file.is_some()) {
                return Err(invalid(fault));
            }
        }
        let table = self.next_table(&next, &table, model);
        let is_on = table.is_on();
        self.table.store(Arc::new(table));
        self.is_on.store(is_on, Ordering::Relaxed);
        *layers = next;
        Ok(())
    }

    /// Writes the traces that have ended, and takes no more. Blocks until that is done.
    pub fn stop(&self) {
        self.is_on.store(false, Ordering::Relaxed);
        self.writer.stop();
    }

    /// The settings in force after a change to `model`'s: what others have stays as it is, unless
    /// the change was to all models'.
    fn next_table(&self, layers: &Layers, before: &Table, model: &str) -> Table {
        let sampler = |values: Values| {
            let serial = self.next_serial.fetch_add(1, Ordering::Relaxed);
            Sampler::new(serial, values, self.writer.outbox.clone())
        };
        let models = layers.models().map(|(name, values)| {
            let kept = before.models.get(name);
            let kept = kept.filter(|_| !model.is_empty() && name != model);
            let sampler = kept.cloned().unwrap_or_else(|| sampler(values));
            (name.to_owned(), sampler)
        });
        Table {
            models: models.collect(),
            global: if model.is_empty() {
                sampler(layers.global())
            } else {
                Arc::clone(&before.global)
            },
        }
    }
}

impl Default for Tracing {
    /// Traces nothing, and cannot be made to: there is no file.
    fn default() -> Self {
        let nothing = Values {
            levels: Levels::default(),
            rate: Config::default().rate,
            count: None,
            log_frequency: 0,
        };
        let writer = Writer::default();
        Self {
            is_on: AtomicBool::new(false),
            table: ArcSwap::from_pointee(Table {
                global: Sampler::new(0, nothing, writer.outbox.clone()),
                models: HashMap::new(),
            }),
            layers: Mutex::new(Layers::new(nothing)),
            file: None,
            tensor_byte_limit: 0,
            writer,
            next_id: AtomicU64::new(1),
            next_serial: AtomicU64::new(1),
        }
    }
}

fn start_values(config: &Config) -> Result<Values> {
    let count = match config.count {
        -1 => None,
        count => match u32::try_from(count) {
            Ok(count) => Some(count),
            Err(_) => return Err(invalid("count must be -1 or a number of 32 bits")),
        },
    };
    Ok(Values {
        levels: config.levels.iter().copied().collect(),
        rate: config.rate,
        count,
        log_frequency: config.log_frequency,
    })
}

fn invalid(fault: &str) -> Error {
    Error::invalid_argument(
        "trace_setting",
        format!("Attempting to set invalid trace setting :{fault}"),
    )
}
