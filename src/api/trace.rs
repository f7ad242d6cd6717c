//! Triton's trace extension, as both doors have it: names of settings, their values, and what may be
//! changed. Also what the doors themselves note of a request that is traced.

use std::{num::IntErrorKind, sync::Arc, time::Instant};

use super::{Api, admit::Admitted, body::Chunks, excerpt};
use crate::{
    error::{Error, Result},
    trace::{Change, Edit, Level, Trace, Values},
};

/// A setting's name, and its values in words.
pub(super) type Shown = (&'static str, Vec<String>);

/// Takes one setting into `change`; without values, it is no longer set.
///
/// # Errors
/// `Unimplemented` for the trace file, `InvalidArgument` for an unknown setting or a value that is
/// not one of its values.
pub(super) fn set(change: &mut Change, name: &str, values: &[String]) -> Result<()> {
    match name {
        "trace_file" => return Err(file_is_fixed()),
        "trace_level" => change.levels = levels(values)?,
        "trace_rate" => {
            let rate = number(name, values, 0, u32::MAX.into())?;
            change.rate = rate.map_or(Edit::Clear, |rate| {
                Edit::Set(u32::try_from(rate).unwrap_or(u32::MAX))
            });
        }
        "trace_count" => {
            let count = number(name, values, -1, i32::MAX.into())?;
            change.count = count.map_or(Edit::Clear, |count| Edit::Set(u32::try_from(count).ok()));
        }
        "log_frequency" => {
            let frequency = number(name, values, 0, u32::MAX.into())?;
            change.log_frequency = frequency.map_or(Edit::Clear, |frequency| {
                Edit::Set(u32::try_from(frequency).unwrap_or(u32::MAX))
            });
        }
        _ => {
            return Err(invalid(format!(
                "unknown trace setting '{}', there are trace_file, trace_level, trace_rate, \
                 trace_count and log_frequency",
                excerpt(name)
            )));
        }
    }
    Ok(())
}

/// Changes the settings of the act's model, or of all models, if there is something to change, and
/// tells what is in force then.
///
/// # Errors
/// `InvalidArgument` for a model that is not ready, or if requests could not be traced so.
pub(super) fn update(api: &Admitted<'_>, change: &Change) -> Result<[Shown; 6]> {
    let model = api.model();
    if !model.is_empty() && api.resolve(None).is_err() {
        let name = excerpt(model);
        return Err(invalid(format!("Request for unknown model : {name}")));
    }
    let tracing = api.tracing();
    if *change != Change::default() {
        tracing.change(model, change)?;
        tracing::info!(model, ?change, "tracing was changed by a client");
    }
    Ok(shown(tracing.values(model), tracing.file_name()))
}

fn shown(values: Values, file: String) -> [Shown; 6] {
    let levels = [
        ("OFF", values.levels.is_off()),
        ("TIMESTAMPS", values.levels.timestamps),
        ("TENSORS", values.levels.tensors),
    ];
    let levels = levels.into_iter().filter(|(_, is_on)| *is_on);
    let count = values
        .count
        .map_or("-1".to_owned(), |left| left.to_string());
    [
        (
            "trace_level",
            levels.map(|(name, _)| name.to_owned()).collect(),
        ),
        ("trace_rate", vec![values.rate.to_string()]),
        ("trace_count", vec![count]),
        ("log_frequency", vec![values.log_frequency.to_string()]),
        ("trace_file", vec![file]),
        ("trace_mode", vec!["triton".to_owned()]),
    ]
}

fn levels(values: &[String]) -> Result<Edit<crate::trace::Levels>> {
    if values.is_empty() {
        return Ok(Edit::Clear);
    }
    if values.iter().any(|value| value == "OFF") {
        return match values {
            [_] => Ok(Edit::Set(crate::trace::Levels::default())),
            _ => Err(invalid(
                "Expect only one trace level 'OFF' is specified".to_owned(),
            )),
        };
    }
    let levels = values.iter().map(|value| {
        let level: Result<Level, String> = excerpt(value).parse();
        level.map_err(invalid)
    });
    levels.collect::<Result<_>>().map(Edit::Set)
}

/// The number that is the only value; `None` if there is none.
fn number(name: &str, values: &[String], least: i64, most: i64) -> Result<Option<i64>> {
    let text = match values {
        [] => return Ok(None),
        [text] => text,
        _ => return Err(invalid(format!("expect only 1 value for '{name}'"))),
    };
    let got = excerpt(text);
    let beyond = || {
        invalid(format!(
            "Unable to parse '{name}', value is out of range [ {least}, {most} ], got: {got}"
        ))
    };
    match text.parse::<i64>() {
        Ok(number) if (least..=most).contains(&number) => Ok(Some(number)),
        Ok(number) if number < least && least < 0 => Err(invalid(format!(
            "Unable to parse '{name}'. Expecting value >= {least}, got: {got}"
        ))),
        Ok(_) => Err(beyond()),
        Err(error) => match error.kind() {
            IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => Err(beyond()),
            _ => Err(invalid(format!("Unable to parse '{name}', got: {got}"))),
        },
    }
}

fn file_is_fixed() -> Error {
    Error::unimplemented(
        "trace_file",
        "trace file location can not be updated through network protocol",
    )
}

fn invalid(message: String) -> Error {
    Error::invalid_argument("trace_setting", message)
}

/// What a door calls its stages.
#[derive(Debug)]
pub(super) struct Stages {
    receive: [&'static str; 2],
    send: [&'static str; 2],
}

/// HTTP's, as Triton calls them.
pub(super) const HTTP: Stages = Stages {
    receive: ["HTTP_RECV_START", "HTTP_RECV_END"],
    send: ["HTTP_SEND_START", "HTTP_SEND_END"],
};

/// gRPC's, as Triton calls them.
pub(super) const GRPC: Stages = Stages {
    receive: ["GRPC_WAITREAD_START", "GRPC_WAITREAD_END"],
    send: ["GRPC_SEND_START", "GRPC_SEND_END"],
};

/// What a door notes of one request. While nothing is traced, that is nothing.
#[derive(Debug)]
pub(super) struct Watched {
    stages: &'static Stages,
    began: Option<Instant>,
    trace: Option<Arc<Trace>>,
}

impl Watched {
    /// A request that begins now.
    pub(super) fn new(stages: &'static Stages, api: &Api) -> Self {
        Self {
            stages,
            began: api.is_tracing().then(Instant::now),
            trace: None,
        }
    }

    /// The request's model is known now, and with it whether the request is traced.
    pub(super) fn begin(&mut self, api: &Admitted<'_>) {
        let Some(began) = self.began else {
            return;
        };
        self.trace = api.tracing().sample(api.model());
        if let Some(trace) = &self.trace {
            trace.mark(self.stages.receive[0], began);
        }
    }

    /// The request is there whole.
    pub(super) fn received(&self) {
        if let Some(trace) = &self.trace {
            trace.mark(self.stages.receive[1], Instant::now());
        }
    }

    /// For the request itself.
    pub(super) fn trace(&self) -> Option<Arc<Trace>> {
        self.trace.clone()
    }

    /// The answer is about to be sent; it has been once it is dropped.
    pub(super) fn send(&self, answer: &mut Chunks) {
        if let Some(trace) = &self.trace {
            let [begin, end] = self.stages.send;
            answer.watch(Arc::clone(trace).sending(begin, end));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{error::ErrorKind, trace::Levels};

    fn change(name: &str, values: &[&str]) -> Result<Change> {
        let values: Vec<_> = values.iter().map(|&value| value.to_owned()).collect();
        let mut change = Change::default();
        set(&mut change, name, &values)?;
        Ok(change)
    }

    #[test]
    fn settings_are_set_and_cleared() {
        let both = Levels {
            timestamps: true,
            tensors: true,
        };
        let levels = |values: &[&str]| change("trace_level", values).unwrap().levels;
        assert_eq!(levels(&["TENSORS", "TIMESTAMPS"]), Edit::Set(both));
        assert_eq!(levels(&["OFF"]), Edit::Set(Levels::default()));
        assert_eq!(levels(&[]), Edit::Clear);
        let count = |value: &str| change("trace_count", &[value]).unwrap().count;
        assert_eq!(count("-1"), Edit::Set(None));
        assert_eq!(count("0"), Edit::Set(Some(0)));
        assert_eq!(change("trace_rate", &["7"]).unwrap().rate, Edit::Set(7));
        let frequency = change("log_frequency", &[]).unwrap().log_frequency;
        assert_eq!(frequency, Edit::Clear);
    }

    #[test]
    fn what_is_wrong_is_told_in_tritons_words() {
        for (name, values, why) in [
            (
                "trace_level",
                &["OFF", "TENSORS"][..],
                "Expect only one trace level 'OFF'",
            ),
            ("trace_level", &["MAX"], "unknown trace level 'MAX'"),
            ("trace_rate", &["x"], "Unable to parse 'trace_rate', got: x"),
            (
                "trace_rate",
                &["4294967296"],
                "Unable to parse 'trace_rate', value is out of range [ 0, 4294967295 ], got: 4294967296",
            ),
            ("trace_rate", &["-1"], "value is out of range"),
            (
                "trace_rate",
                &["1", "2"],
                "expect only 1 value for 'trace_rate'",
            ),
            (
                "trace_count",
                &["-2"],
                "Unable to parse 'trace_count'. Expecting value >= -1, got: -2",
            ),
            (
                "trace_count",
                &["99999999999999999999"],
                "[ -1, 2147483647 ]",
            ),
            (
                "log_frequency",
                &["often"],
                "Unable to parse 'log_frequency', got: often",
            ),
            (
                "trace_mode",
                &["triton"],
                "unknown trace setting 'trace_mode'",
            ),
        ] {
            let error = change(name, values).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(error.message().contains(why), "{error}");
        }
        let error = change("trace_file", &["x"]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unimplemented);
    }

    #[test]
    fn every_setting_is_shown_as_text() {
        let values = Values {
            levels: Levels::default(),
            rate: 1000,
            count: None,
            log_frequency: 0,
        };
        let text = |shown: [Shown; 6]| shown.map(|(_, values)| values.join(","));
        let expected = ["OFF", "1000", "-1", "0", "f", "triton"];
        assert_eq!(text(shown(values, "f".to_owned())), expected);
    }
}
