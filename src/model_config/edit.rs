//! Changes a few settings of a configuration, in the message and in the text that a user wrote. The
//! text keeps its comments, order and form; what cannot be changed so is refused.

use std::{collections::BTreeMap, ops::Range};

use super::{
    from_pbtxt,
    outline::{Field, Value, named, scalar},
};
use crate::proto::inference::{
    ModelConfig, ModelInstanceGroup, ModelOptimizationPolicy, ModelParameter,
    model_instance_group::Kind, model_optimization_policy::Graph,
};

/// Settings to change; the others stay as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edit {
    /// Parameters by their keys; `None` takes one out.
    pub parameters: BTreeMap<String, Option<String>>,
    /// `optimization.graph.level`.
    pub graph_level: Option<i32>,
    /// Instances on the CPU, for configurations without instance groups.
    pub instance_count: Option<u16>,
}

impl Edit {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The configuration with the changes.
    pub fn apply(&self, config: &ModelConfig) -> ModelConfig {
        let mut config = config.clone();
        for (key, value) in &self.parameters {
            match value {
                Some(value) => {
                    let parameter = ModelParameter {
                        string_value: value.clone(),
                    };
                    config.parameters.insert(key.clone(), parameter);
                }
                None => drop(config.parameters.remove(key)),
            }
        }
        if let Some(level) = self.graph_level {
            let optimization = config
                .optimization
                .get_or_insert_with(ModelOptimizationPolicy::default);
            optimization.graph.get_or_insert_with(Graph::default).level = level;
        }
        if let Some(count) = self.instance_count {
            config.instance_group = vec![ModelInstanceGroup {
                count: i32::from(count),
                kind: Kind::Cpu.into(),
                ..ModelInstanceGroup::default()
            }];
        }
        config
    }

    /// The changes as protobuf text, for a configuration without any of them; what is taken out is not
    /// in it.
    pub fn to_pbtxt(&self) -> String {
        let mut text = String::new();
        if let Some(count) = self.instance_count {
            text.push_str(&instances(count));
        }
        if let Some(level) = self.graph_level {
            text.push_str(&format!(
                "optimization {{\n  graph {{ level: {level} }}\n}}\n"
            ));
        }
        for (key, value) in &self.parameters {
            if let Some(value) = value {
                text.push_str(&parameter(key, value));
            }
        }
        text
    }

    /// A `config.pbtxt` with the changes. Nothing else in it is other than before.
    ///
    /// # Errors
    /// Why it cannot be changed so.
    pub fn edit_pbtxt(&self, text: &str) -> Result<String, String> {
        let before = from_pbtxt(text, "config.pbtxt").map_err(|error| error.to_string())?;
        let fields = Field::all(text).ok_or("it is written in a way that is not edited")?;
        let mut editor = Editor {
            text,
            fields: &fields,
            patches: Vec::new(),
            tail: Self::default(),
        };
        for (key, value) in &self.parameters {
            editor.parameter(key, value.as_deref(), before.parameters.contains_key(key))?;
        }
        if let Some(level) = self.graph_level {
            editor.graph_level(level)?;
        }
        if let Some(count) = self.instance_count {
            if !before.instance_group.is_empty() {
                return Err("it has an instance_group already".to_owned());
            }
            editor.tail.instance_count = Some(count);
        }
        let after = editor.finish();
        // What was meant is what a reader finds.
        match from_pbtxt(&after, "config.pbtxt") {
            Ok(config) if config == self.apply(&before) => Ok(after),
            _ => Err("it is written in a way that is not edited".to_owned()),
        }
    }
}

struct Editor<'a> {
    text: &'a str,
    fields: &'a [Field],
    /// What replaces what.
    patches: Vec<(Range<usize>, String)>,
    /// What is added at the end.
    tail: Edit,
}

impl Editor<'_> {
    fn parameter(&mut self, key: &str, value: Option<&str>, is_there: bool) -> Result<(), String> {
        if !is_there {
            if let Some(value) = value {
                let parameters = &mut self.tail.parameters;
                parameters.insert(key.to_owned(), Some(value.to_owned()));
            }
            return Ok(());
        }
        let (field, entry) = self
            .entry(key)
            .ok_or_else(|| format!("its parameter '{key}' is not found once, as plain text"))?;
        match value {
            Some(value) => {
                let inner = named(entry, "value").next().map(Field::messages);
                let inner = inner.and_then(|messages| messages.first().copied());
                let span = inner.and_then(|fields| scalar(fields, "string_value"));
                let span =
                    span.ok_or_else(|| format!("its parameter '{key}' has no string_value"))?;
                self.patches.push((span, quoted(value)));
            }
            None => {
                let span = self.whole_lines(&field.span);
                let removed = self.text.get(span.clone()).unwrap_or_default();
                if matches!(field.value, Value::List(_)) || removed.contains('#') {
                    return Err(format!(
                        "its parameter '{key}' is in a list, or has a comment; take it out by hand"
                    ));
                }
                self.patches.push((span, String::new()));
            }
        }
        Ok(())
    }

    /// The one entry of `parameters` with that key, and the field that it is in.
    fn entry(&self, key: &str) -> Option<(&Field, &[Field])> {
        let is_key = |entry: &&[Field]| {
            let literal = scalar(entry, "key").and_then(|span| self.text.get(span));
            literal.is_some_and(|literal| literal == quoted(key) || literal == format!("'{key}'"))
        };
        let mut found = named(self.fields, "parameters").flat_map(|field| {
            let entries = field.messages().into_iter().filter(is_key);
            entries.map(move |entry| (field, entry)).collect::<Vec<_>>()
        });
        let first = found.next()?;
        found.next().is_none().then_some(first)
    }

    fn graph_level(&mut self, level: i32) -> Result<(), String> {
        let optimization = named(self.fields, "optimization").next();
        let Some(optimization) = optimization else {
            self.tail.graph_level = Some(level);
            return Ok(());
        };
        let inner = optimization.messages();
        let graphs = inner
            .first()
            .and_then(|fields| named(fields, "graph").next());
        let inner = graphs.map(Field::messages).unwrap_or_default();
        let span = inner.first().and_then(|fields| scalar(fields, "level"));
        let span = span.ok_or("its optimization has no graph.level to change")?;
        self.patches.push((span, level.to_string()));
        Ok(())
    }

    /// The span with the white space around it, if nothing else is on its lines.
    fn whole_lines(&self, span: &Range<usize>) -> Range<usize> {
        let before = self.text.get(..span.start).unwrap_or_default();
        let after = self.text.get(span.end..).unwrap_or_default();
        let indent = before.trim_end_matches([' ', '\t']);
        let rest = after.trim_start_matches([' ', '\t', ',', ';']);
        if (indent.is_empty() || indent.ends_with('\n'))
            && (rest.is_empty() || rest.starts_with('\n'))
        {
            let end = self.text.len() - rest.len();
            return indent.len()..(end + usize::from(!rest.is_empty()));
        }
        span.clone()
    }

    fn finish(mut self) -> String {
        let mut text = self.text.to_owned();
        // From the end, so that the places before it stay where they are.
        self.patches.sort_by_key(|(span, _)| span.start);
        for (span, patch) in self.patches.iter().rev() {
            text.replace_range(span.clone(), patch);
        }
        let tail = self.tail.to_pbtxt();
        if !(tail.is_empty() || text.is_empty() || text.ends_with('\n')) {
            text.push('\n');
        }
        text + &tail
    }
}

fn instances(count: u16) -> String {
    format!("instance_group [\n  {{\n    count: {count}\n    kind: KIND_CPU\n  }}\n]\n")
}

fn parameter(key: &str, value: &str) -> String {
    format!(
        "parameters {{\n  key: {}\n  value: {{ string_value: {} }}\n}}\n",
        quoted(key),
        quoted(value)
    )
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.escape_default())
}
