//! Which settings are tried: first threads and instances, then switches on top of the best of them, then
//! all switches together that helped. Pure.

use std::collections::BTreeMap;

use crate::model_config::Edit;

const INTRA: &str = "intra_op_thread_count";
const INTER: &str = "inter_op_thread_count";
const MODE: &str = "execution_mode";
const SPINNING: &str = "session.intra_op.allow_spinning";
const DENORMALS: &str = "session.set_denormal_as_zero";

/// What a plan depends on.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub(super) processor_count: u16,
    pub(super) instance_count: u16,
    /// Whether the configuration leaves the number of instances open.
    pub(super) may_add_instances: bool,
    /// The configuration's parameters.
    pub(super) parameters: BTreeMap<String, String>,
    pub(super) graph_level: Option<i32>,
}

impl Facts {
    /// Threads of an instance's own, or the pool that all models share, for one instance and more.
    pub(super) fn threads(&self) -> Vec<Edit> {
        let processors = self.processor_count.max(1);
        let counts = if self.may_add_instances {
            distinct([1, processors.min(2), processors / 4, processors])
        } else {
            vec![self.instance_count.max(1)]
        };
        let mut edits = Vec::new();
        for count in counts {
            let instances = Edit {
                instance_count: (count != self.instance_count).then_some(count),
                ..Edit::default()
            };
            edits.push(with(&instances, &[(INTRA, None), (INTER, None)]));
            for threads in distinct([1, processors / count, processors]) {
                if threads == 1 || threads.saturating_mul(count) <= processors {
                    let threads = threads.to_string();
                    edits.push(with(&instances, &[(INTRA, Some(&threads))]));
                }
            }
        }
        self.tidy(edits)
    }

    /// One switch each, on top of what is best so far.
    pub(super) fn switches(&self, best: &Edit) -> Vec<Edit> {
        let mut edits: Vec<_> = [0, 1, -1]
            .map(|level| Edit {
                graph_level: Some(level),
                ..best.clone()
            })
            .into();
        edits.push(with(best, &[("enable_mem_pattern", Some("1"))]));
        edits.push(with(best, &[("enable_mem_arena", Some("0"))]));
        let threads = self.value(best, INTRA);
        if let Some(threads) = threads {
            // The shared pool counts denormal numbers as zero, and does not spin.
            edits.push(with(best, &[(DENORMALS, Some("1"))]));
            if threads != "1" {
                edits.push(with(best, &[(SPINNING, Some("1"))]));
            }
        }
        if self.processor_count > 1 {
            let own = self.processor_count.to_string();
            let threads = threads.unwrap_or(&own);
            let beside = [
                (MODE, Some("1")),
                (INTER, Some("2")),
                (INTRA, Some(threads)),
            ];
            edits.push(with(best, &beside));
        }
        let mut edits = self.tidy(edits);
        edits.retain(|edit| edit != best);
        edits
    }

    /// Those edits, all of which are on top of `best`, in one; `None` if there are not two.
    pub(super) fn combined(&self, best: &Edit, good: &[&Edit]) -> Option<Edit> {
        let mut all = best.clone();
        for edit in good {
            all.parameters.extend(edit.parameters.clone());
            all.graph_level = edit.graph_level.or(all.graph_level);
        }
        (good.len() > 1).then_some(all)
    }

    /// A parameter as it is with an edit.
    fn value<'a>(&'a self, edit: &'a Edit, key: &str) -> Option<&'a str> {
        match edit.parameters.get(key) {
            Some(value) => value.as_deref(),
            None => self.parameters.get(key).map(String::as_str),
        }
    }

    /// Without what changes nothing, and each once.
    fn tidy(&self, edits: Vec<Edit>) -> Vec<Edit> {
        let mut tidy: Vec<Edit> = Vec::new();
        for mut edit in edits {
            let parameters = &mut edit.parameters;
            parameters.retain(|key, value| value.as_ref() != self.parameters.get(key));
            // Everything but these three means all optimisations, as nothing does.
            let level = |level: Option<i32>| level.filter(|level| [-1, 1, 2].contains(level));
            if level(edit.graph_level) == level(self.graph_level) {
                edit.graph_level = None;
            }
            if !edit.is_empty() && !tidy.contains(&edit) {
                tidy.push(edit);
            }
        }
        tidy
    }
}

/// What an edit changes, in words.
pub(super) fn label(edit: &Edit) -> String {
    let instances = edit
        .instance_count
        .map(|count| format!("instances {count}"));
    let level = edit
        .graph_level
        .map(|level| format!("optimization.graph.level {level}"));
    let parameters = edit.parameters.iter().map(|(key, value)| match value {
        Some(value) => format!("{key} {value}"),
        None => format!("no {key}"),
    });
    let parts: Vec<_> = instances
        .into_iter()
        .chain(level)
        .chain(parameters)
        .collect();
    if parts.is_empty() {
        "as it is".to_owned()
    } else {
        parts.join(", ")
    }
}

/// How many settings an edit changes.
pub(super) fn change_count(edit: &Edit) -> usize {
    let others = [edit.instance_count.is_some(), edit.graph_level.is_some()];
    edit.parameters.len() + others.into_iter().filter(|is_set| *is_set).count()
}

fn with(edit: &Edit, parameters: &[(&str, Option<&str>)]) -> Edit {
    let mut edit = edit.clone();
    for (key, value) in parameters {
        let value = value.map(str::to_owned);
        edit.parameters.insert((*key).to_owned(), value);
    }
    edit
}

fn distinct(counts: impl IntoIterator<Item = u16>) -> Vec<u16> {
    let mut counts: Vec<_> = counts.into_iter().filter(|count| *count > 0).collect();
    counts.sort_unstable();
    counts.dedup();
    counts
}
