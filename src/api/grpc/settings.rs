//! The trace and logging extensions over gRPC.

use crate::{
    admission::Verb,
    api::{admit::Caller, logging, trace},
    error::Result,
    inference::Parameter,
    proto::inference::{self as pb, log_settings_request, log_settings_response},
    telemetry::logging::Change,
    trace::Change as TraceChange,
};

/// What is logged, after it was changed as the request says.
pub(super) fn logging(
    caller: &Caller,
    request: pb::LogSettingsRequest,
) -> Result<pb::LogSettingsResponse> {
    let api = caller.admit(Verb::Logging, "")?;
    let mut change = Change::default();
    for (name, value) in request.settings {
        logging::set(&mut change, &name, &parameter(value))?;
    }
    let settings = logging::shown(logging::update(&api, &change));
    Ok(pb::LogSettingsResponse {
        settings: settings
            .into_iter()
            .map(|(name, value)| (name.to_owned(), shown(value)))
            .collect(),
    })
}

/// What is traced, after it was changed as the request says.
pub(super) fn trace(
    caller: &Caller,
    request: pb::TraceSettingRequest,
) -> Result<pb::TraceSettingResponse> {
    let api = caller.admit(Verb::Trace, &request.model_name)?;
    let mut change = TraceChange::default();
    for (name, setting) in &request.settings {
        trace::set(&mut change, name, &setting.value)?;
    }
    let settings = trace::update(&api, &change)?.into_iter();
    let settings = settings.map(|(name, value)| {
        let value = pb::trace_setting_response::SettingValue { value };
        (name.to_owned(), value)
    });
    Ok(pb::TraceSettingResponse {
        settings: settings.collect(),
    })
}

/// A value without a type is no value of any setting.
fn parameter(value: log_settings_request::SettingValue) -> Parameter {
    use log_settings_request::setting_value::ParameterChoice::{
        BoolParam, StringParam, Uint32Param,
    };
    match value.parameter_choice {
        Some(BoolParam(value)) => Parameter::Bool(value),
        Some(Uint32Param(value)) => Parameter::Uint(value.into()),
        Some(StringParam(value)) => Parameter::String(value),
        None => Parameter::Double(f64::NAN),
    }
}

fn shown(value: Parameter) -> log_settings_response::SettingValue {
    use log_settings_response::setting_value::ParameterChoice::{
        BoolParam, StringParam, Uint32Param,
    };
    let choice = match value {
        Parameter::Bool(value) => Some(BoolParam(value)),
        Parameter::String(value) => Some(StringParam(value)),
        Parameter::Uint(value) => u32::try_from(value).ok().map(Uint32Param),
        Parameter::Int(_) | Parameter::Double(_) => None,
    };
    log_settings_response::SettingValue {
        parameter_choice: choice,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::tests::caller;

    fn request(
        name: &str,
        choice: Option<log_settings_request::setting_value::ParameterChoice>,
    ) -> pb::LogSettingsRequest {
        let value = log_settings_request::SettingValue {
            parameter_choice: choice,
        };
        pb::LogSettingsRequest {
            settings: [(name.to_owned(), value)].into(),
        }
    }

    #[test]
    fn trace_settings_of_an_unknown_model_are_an_invalid_argument() {
        let api = caller();
        let all = trace(&api, Default::default()).unwrap();
        assert_eq!(all.settings.len(), 6);
        assert_eq!(all.settings["trace_level"].value, ["OFF"]);
        let request = pb::TraceSettingRequest {
            model_name: "m".to_owned(),
            ..Default::default()
        };
        let error = trace(&api, request).unwrap_err();
        assert_eq!(error.message(), "Request for unknown model : m");
    }

    #[test]
    fn answers_with_every_setting() {
        use log_settings_request::setting_value::ParameterChoice::BoolParam;
        let api = caller();
        let shown = logging(&api, request("log_info", Some(BoolParam(false)))).unwrap();
        assert_eq!(shown.settings.len(), 6);
        let info = log_settings_response::setting_value::ParameterChoice::BoolParam(false);
        assert_eq!(shown.settings["log_info"].parameter_choice, Some(info));
        assert!(
            shown
                .settings
                .values()
                .all(|it| it.parameter_choice.is_some())
        );
        assert_eq!(logging(&api, Default::default()).unwrap(), shown);
        assert!(logging(&api, request("log_info", None)).is_err());
    }
}
