//! How the control loop carries out what is ordered of one model.

use std::sync::Arc;

use super::{
    Given,
    control::Control,
    lifecycle::{Order, Reply, Swap},
    load_failed,
    registry::Loaded,
    source::{Aspired, Override},
    threads::{Load, Replaced},
};
use crate::{
    error::{Error, Result},
    inference::ModelName,
    model::LoadRequest,
    model_config,
};

impl<L: Load> Control<L> {
    /// Carries the order out once those before it are done.
    pub(super) fn order(&mut self, name: &ModelName, order: Order) {
        self.lives.entry(name.clone()).or_default().push(order);
        self.proceed(name);
    }

    /// Carries out what waits, up to the next load.
    pub(super) fn proceed(&mut self, name: &ModelName) {
        while let Some(life) = self.lives.get_mut(name) {
            match life.next_order() {
                Some(Order::Refresh) => self.refresh(name),
                Some(Order::Load { given, reply }) => self.load(name, given, reply),
                Some(Order::Unload { reply }) => {
                    self.unload(name);
                    answer(reply, Ok(()));
                }
                None => break,
            }
        }
        self.sweep(name);
    }

    /// A version was loaded, or could not be.
    pub(super) fn loaded(&mut self, name: &ModelName, version: u64, result: Result<Arc<L::Model>>) {
        let Some(life) = self.lives.get_mut(name) else {
            return;
        };
        if life.loaded(version, result) {
            self.end_load(name);
            self.proceed(name);
        }
    }

    /// A version's incarnation has finished its last request and is freed.
    pub(super) fn drained(&mut self, name: &ModelName, version: u64) {
        let Some(life) = self.lives.get_mut(name) else {
            return;
        };
        if life.drained(version) {
            let present = life.is_present(version);
            self.registry
                .update(name, |entry| entry.drained(version, present));
            self.sweep(name);
        }
    }

    /// Stops serving the model; its requests in flight are finished behind.
    pub(super) fn unload(&mut self, name: &ModelName) {
        if self.registry.knows(name) {
            self.registry.update(name, |entry| entry.unload());
        }
        let drain = self.lives.get_mut(name).map(|life| life.unload());
        for (version, model) in drain.unwrap_or_default() {
            tracing::info!(model = %name, version, "unloading");
            self.threads.drain(name, version, model);
        }
    }

    /// Makes what is loaded what the folder says, unless that was tried before.
    fn refresh(&mut self, name: &ModelName) {
        // Changed again while the order waited: another one follows.
        if self.is_unsettled(name) {
            return;
        }
        let Some(found) = self.source.model(name) else {
            tracing::info!(model = %name, "the model's folder is gone");
            if let Some(life) = self.lives.get_mut(name) {
                life.forget_folder();
            }
            self.unload(name);
            self.initial.done(name, None);
            return;
        };
        self.warn(&found.warnings);
        let outcome = found.aspire(name, None);
        if self.was_tried(name, outcome.as_ref()) {
            self.initial.done(name, None);
            return;
        }
        match outcome {
            Ok(aspired) => self.begin_load(name, aspired, None),
            Err(reason) => self.fault(name, &reason, None),
        }
    }

    fn load(&mut self, name: &ModelName, given: Given, reply: Reply) {
        let Given { config, folder } = given;
        let instead = match self.overriding(config) {
            Ok(instead) => instead,
            Err(reason) => return self.refuse(name, &reason, reply),
        };
        let found = match folder {
            Some(folder) => Some(self.source.inspect(folder)),
            None => self.source.model(name),
        };
        let Some(found) = found else {
            let reason = format!("no folder '{name}' in any model repository");
            return self.refuse(name, &reason, reply);
        };
        self.warn(&found.warnings);
        match found.aspire(name, instead) {
            Ok(aspired) => self.begin_load(name, aspired, reply),
            Err(reason) => self.fault(name, &reason, reply),
        }
    }

    fn overriding(&mut self, config: Option<String>) -> Result<Option<Override>, String> {
        let Some(text) = config else {
            return Ok(None);
        };
        if text.len() > self.config_byte_limit {
            return Err(format!(
                "the configuration is {} bytes long, the limit is {}",
                text.len(),
                self.config_byte_limit
            ));
        }
        let config = model_config::from_json(&text, "config").map_err(|error| error.to_string())?;
        self.override_count += 1;
        Ok(Some(Override {
            config,
            serial: self.override_count,
        }))
    }

    fn begin_load(&mut self, name: &ModelName, aspired: Aspired, reply: Reply) {
        let Some(life) = self.lives.get_mut(name) else {
            return;
        };
        let (folder, config) = (aspired.folder.clone(), aspired.config.clone());
        let versions = life.begin(aspired, reply);
        if versions.is_empty() {
            return self.end_load(name);
        }
        self.registry.update(name, |entry| entry.begin(&versions));
        for version in versions {
            self.threads.load(LoadRequest {
                name: name.clone(),
                version,
                model_folder: folder.clone(),
                config: config.clone(),
            });
        }
    }

    fn end_load(&mut self, name: &ModelName) {
        let Some(life) = self.lives.get_mut(name) else {
            return;
        };
        let Some(ending) = life.end(name) else {
            return;
        };
        let result = match ending.result {
            Ok(swap) => {
                self.registry.update(name, |entry| {
                    entry.swap(&swap.ready, &swap.retired, &swap.present);
                    for (version, model) in &swap.ready {
                        entry.remark(*version, model.remark());
                    }
                });
                self.begin_replacements(name, &swap);
                Ok(())
            }
            Err(failure) => {
                self.registry
                    .update(name, |entry| entry.fail(&failure.reasons));
                Err(failure.error)
            }
        };
        for (version, model) in ending.drain {
            self.threads.drain(name, version, model);
        }
        self.conclude(name, ending.reply, result);
    }

    /// Has made what is to take the place of what only stands in.
    fn begin_replacements(&mut self, name: &ModelName, swap: &Swap<L::Model>) {
        for (version, model) in swap.ready.iter().filter(|(_, model)| model.is_stand_in()) {
            let life = self.lives.get(name);
            let Some(halt) = life.and_then(|life| life.halt_of(*version)) else {
                continue;
            };
            let request = LoadRequest {
                name: name.clone(),
                version: *version,
                model_folder: swap.folder.clone(),
                config: swap.config.clone(),
            };
            self.threads.replace(request, Arc::clone(model), halt);
        }
    }

    /// What was made takes its place, unless nobody wants it any more; if nothing was, the stand-in says why.
    pub(super) fn replaced(&mut self, replaced: Replaced<L::Model>) {
        let Replaced {
            model: name,
            version,
            stand_in,
            result,
        } = replaced;
        let name = &name;
        let Some(life) = self.lives.get_mut(name) else {
            if let Ok(model) = result {
                self.threads.drain(name, version, model);
            }
            return;
        };
        match result {
            Ok(model) if life.replace(version, &stand_in, &model) => {
                tracing::info!(model = %name, version, "what was built takes the stand-in's place");
                self.registry.update(name, |entry| {
                    entry.replace(version, &model);
                    entry.remark(version, model.remark());
                });
                self.threads.drain(name, version, stand_in);
            }
            Ok(model) => {
                life.discard(version, &model);
                self.threads.drain(name, version, model);
            }
            Err(_) if life.serves(version, &stand_in) => {
                let remark = stand_in.remark();
                self.registry
                    .update(name, |entry| entry.remark(version, remark));
            }
            Err(_) => {}
        }
    }

    /// The folder says that nothing can be loaded.
    fn fault(&mut self, name: &ModelName, reason: &str, reply: Reply) {
        if let Some(life) = self.lives.get_mut(name) {
            life.fault(reason);
        }
        self.registry.update(name, |entry| entry.fault(reason));
        self.refuse(name, reason, reply);
    }

    fn refuse(&mut self, name: &ModelName, reason: &str, reply: Reply) {
        tracing::warn!(model = %name, reason, "cannot load the model");
        if self.registry.knows(name) {
            self.registry.update(name, |entry| entry.fault(reason));
        }
        self.conclude(name, reply, Err(load_failed(name, reason)));
    }

    fn conclude(&mut self, name: &ModelName, reply: Reply, result: Result<()>) {
        let failure = result.as_ref().err().map(Error::message);
        self.initial.done(name, failure);
        answer(reply, result);
    }

    /// Forgets a life of which nothing is left. Only a model without a folder has none in a mode
    /// that follows folders, so it leaves the index too.
    fn sweep(&mut self, name: &ModelName) {
        if self.lives.get(name).is_some_and(|life| life.is_over()) {
            self.lives.remove(name);
            if self.settle.is_some() && self.registry.knows(name) {
                self.registry.remove(name);
            }
        }
    }
}

/// Tells who asked; who no longer waits is not told.
pub(super) fn answer(reply: Reply, result: Result<()>) {
    if let Some(reply) = reply {
        let _ = reply.send(result);
    }
}
