//! Trace settings in layers: what the server was started with, what clients set for all models, and
//! what they set for one. Pure.

use std::collections::BTreeMap;

use super::config::Level;

/// Settings in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Values {
    /// What is written of a request.
    pub levels: Levels,
    /// One request of so many is traced.
    pub rate: u32,
    /// How many more are traced; `None` for no end.
    pub count: Option<u32>,
    /// Traces per file; 0 for one file.
    pub log_frequency: u32,
}

/// What is written of a request; with neither, nothing is traced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Levels {
    pub timestamps: bool,
    pub tensors: bool,
}

/// What to do with one setting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Edit<T> {
    /// Nothing.
    #[default]
    Keep,
    /// Let the layer below decide again.
    Clear,
    /// Set it.
    Set(T),
}

/// What to change in one layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Change {
    pub levels: Edit<Levels>,
    pub rate: Edit<u32>,
    pub count: Edit<Option<u32>>,
    pub log_frequency: Edit<u32>,
}

/// What a layer sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Layer {
    levels: Option<Levels>,
    rate: Option<u32>,
    count: Option<Option<u32>>,
    log_frequency: Option<u32>,
}

/// All layers.
#[derive(Clone, Debug)]
pub(super) struct Layers {
    start: Values,
    global: Layer,
    models: BTreeMap<String, Layer>,
}

impl Levels {
    /// Whether nothing is traced.
    pub fn is_off(self) -> bool {
        self == Self::default()
    }
}

impl FromIterator<Level> for Levels {
    fn from_iter<I: IntoIterator<Item = Level>>(levels: I) -> Self {
        let mut all = Self::default();
        for level in levels {
            match level {
                Level::Timestamps => all.timestamps = true,
                Level::Tensors => all.tensors = true,
            }
        }
        all
    }
}

impl Values {
    /// Why requests cannot be traced so; a setting that switches tracing off is never wrong.
    pub(super) fn fault(&self, has_file: bool) -> Option<&'static str> {
        if self.levels.is_off() {
            None
        } else if self.rate == 0 {
            Some("sample rate must be non-zero")
        } else if has_file {
            None
        } else {
            Some("trace file name is not given")
        }
    }
}

impl Layers {
    pub(super) fn new(start: Values) -> Self {
        Self {
            start,
            global: Layer::default(),
            models: BTreeMap::new(),
        }
    }

    /// Changes the settings of `model`, or of all models if that is empty. A model for which nothing
    /// is set any more is forgotten.
    pub(super) fn change(&mut self, model: &str, change: &Change) {
        if model.is_empty() {
            return self.global.change(change);
        }
        let layer = self.models.entry(model.to_owned()).or_default();
        layer.change(change);
        if *layer == Layer::default() {
            self.models.remove(model);
        }
    }

    /// Notes how many traces are left of the number set for `model`, or for all if that is empty.
    pub(super) fn spend(&mut self, model: &str, left: Option<u32>) {
        let layer = if model.is_empty() {
            Some(&mut self.global)
        } else {
            self.models.get_mut(model)
        };
        if let Some(Layer {
            count: Some(count), ..
        }) = layer
        {
            *count = left;
        }
    }

    pub(super) fn global(&self) -> Values {
        self.global.over(self.start)
    }

    /// Models with settings of their own, and what is in force for each.
    pub(super) fn models(&self) -> impl Iterator<Item = (&str, Values)> {
        let global = self.global();
        let models = self.models.iter();
        models.map(move |(name, layer)| (name.as_str(), layer.over(global)))
    }
}

impl Layer {
    fn change(&mut self, change: &Change) {
        change.levels.apply(&mut self.levels);
        change.rate.apply(&mut self.rate);
        change.count.apply(&mut self.count);
        change.log_frequency.apply(&mut self.log_frequency);
    }

    fn over(&self, below: Values) -> Values {
        Values {
            levels: self.levels.unwrap_or(below.levels),
            rate: self.rate.unwrap_or(below.rate),
            count: self.count.unwrap_or(below.count),
            log_frequency: self.log_frequency.unwrap_or(below.log_frequency),
        }
    }
}

impl<T: Copy> Edit<T> {
    fn apply(self, setting: &mut Option<T>) {
        match self {
            Self::Keep => {}
            Self::Clear => *setting = None,
            Self::Set(value) => *setting = Some(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Values = Values {
        levels: Levels {
            timestamps: true,
            tensors: false,
        },
        rate: 1,
        count: None,
        log_frequency: 0,
    };

    fn model(layers: &Layers, name: &str) -> Option<Values> {
        layers
            .models()
            .find(|(model, _)| *model == name)
            .map(|(_, values)| values)
    }

    #[test]
    fn a_model_follows_all_models_in_what_it_does_not_set() {
        let mut layers = Layers::new(START);
        let own = Change {
            rate: Edit::Set(12),
            log_frequency: Edit::Set(34),
            ..Change::default()
        };
        layers.change("m", &own);
        let all = Change {
            rate: Edit::Set(56),
            count: Edit::Set(Some(78)),
            levels: Edit::Set(Levels::default()),
            ..Change::default()
        };
        layers.change("", &all);
        let clear = Change {
            rate: Edit::Clear,
            count: Edit::Clear,
            ..Change::default()
        };
        layers.change("", &clear);
        let off = Values {
            levels: Levels::default(),
            ..START
        };
        assert_eq!(layers.global(), off);
        let expected = Values {
            rate: 12,
            log_frequency: 34,
            ..off
        };
        assert_eq!(model(&layers, "m"), Some(expected));
        layers.change("m", &clear);
        assert_eq!(model(&layers, "m").unwrap().rate, 1);
    }

    #[test]
    fn a_model_without_settings_of_its_own_is_forgotten() {
        let mut layers = Layers::new(START);
        let set = Change {
            rate: Edit::Set(5),
            ..Change::default()
        };
        layers.change("m", &set);
        layers.change("n", &Change::default());
        assert_eq!(layers.models().count(), 1);
        let clear = Change {
            rate: Edit::Clear,
            ..Change::default()
        };
        layers.change("m", &clear);
        assert_eq!(layers.models().count(), 0);
    }

    #[test]
    fn what_is_spent_is_spent_of_the_number_that_was_set() {
        let mut layers = Layers::new(START);
        layers.spend("", Some(1));
        assert_eq!(layers.global().count, None, "none was set");
        let set = Change {
            count: Edit::Set(Some(5)),
            ..Change::default()
        };
        layers.change("", &set);
        layers.spend("", Some(2));
        assert_eq!(layers.global().count, Some(2));
    }

    #[test]
    fn only_what_is_switched_on_can_be_wrong() {
        let zero = Values { rate: 0, ..START };
        assert_eq!(zero.fault(true), Some("sample rate must be non-zero"));
        assert_eq!(START.fault(false), Some("trace file name is not given"));
        assert_eq!(START.fault(true), None);
        let off = Values {
            levels: Levels::default(),
            ..zero
        };
        assert_eq!(off.fault(false), None);
    }
}
