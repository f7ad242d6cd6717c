//! The logging extension over gRPC.

use crate::{
    admission::Verb,
    api::{admit::Caller, logging},
    error::Result,
    inference::Parameter,
    proto::inference::{self as pb, log_settings_request, log_settings_response},
    telemetry::logging::Change,
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
