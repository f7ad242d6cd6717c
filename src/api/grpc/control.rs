//! Everything but inference: health, metadata, configuration, statistics and the repository.

use std::collections::HashMap;

use crate::{
    admission::{Limits, Verb},
    api::{
        admit::Caller,
        describe::named_repository,
        excerpt,
        load::{LoadParameters, file_path, unknown_load_parameter},
        parse_version,
        request::unknown_parameter,
    },
    error::{Error, Result},
    proto::inference::{self as pb, model_repository_parameter::ParameterChoice},
    repository::Overrides,
};

type RepositoryParameters = HashMap<String, pb::ModelRepositoryParameter>;

pub(super) fn server_live(caller: &Caller) -> Result<pb::ServerLiveResponse> {
    let api = caller.admit(Verb::Health, "")?;
    api.refuse_when_exiting()?;
    Ok(pb::ServerLiveResponse { live: true })
}

pub(super) fn server_ready(caller: &Caller) -> Result<pb::ServerReadyResponse> {
    Ok(pb::ServerReadyResponse {
        ready: caller.admit(Verb::Health, "")?.ready()?,
    })
}

pub(super) fn server_metadata(caller: &Caller) -> Result<pb::ServerMetadataResponse> {
    Ok(caller.admit(Verb::Metadata, "")?.server_metadata())
}

/// Models that are unknown are not ready, which is not an error.
pub(super) fn model_ready(
    caller: &Caller,
    request: &pb::ModelReadyRequest,
) -> Result<pb::ModelReadyResponse> {
    let api = caller.admit(Verb::Health, &request.name)?;
    api.refuse_when_exiting()?;
    let version = parse_version(&request.version)?;
    Ok(pb::ModelReadyResponse {
        ready: api.model_ready(version).is_ok(),
    })
}

pub(super) fn model_metadata(
    caller: &Caller,
    request: &pb::ModelMetadataRequest,
) -> Result<pb::ModelMetadataResponse> {
    let api = caller.admit(Verb::Metadata, &request.name)?;
    api.model_metadata(parse_version(&request.version)?)
}

pub(super) fn model_config(
    caller: &Caller,
    request: &pb::ModelConfigRequest,
) -> Result<pb::ModelConfigResponse> {
    let api = caller.admit(Verb::Config, &request.name)?;
    let config = api.model_config(parse_version(&request.version)?)?;
    Ok(pb::ModelConfigResponse {
        config: Some(config),
    })
}

pub(super) fn statistics(
    caller: &Caller,
    request: &pb::ModelStatisticsRequest,
) -> Result<pb::ModelStatisticsResponse> {
    let api = caller.admit(Verb::Statistics, &request.name)?;
    api.statistics(parse_version(&request.version)?)
}

pub(super) async fn index(
    caller: &Caller,
    request: &pb::RepositoryIndexRequest,
) -> Result<pb::RepositoryIndexResponse> {
    let api = caller.admit(Verb::Index, "")?;
    api.refuse_when_exiting()?;
    refuse_name(&request.repository_name)?;
    api.look().await?;
    Ok(api.index(request.ready))
}

/// Answers when the model is ready.
pub(super) async fn load(
    caller: &Caller,
    request: pb::RepositoryModelLoadRequest,
) -> Result<pb::RepositoryModelLoadResponse> {
    let api = caller.admit(Verb::Load, &request.model_name)?;
    api.refuse_when_exiting()?;
    refuse_name(&request.repository_name)?;
    let overrides = overrides(request.parameters, &api.limits)?;
    api.load(overrides).await?;
    Ok(pb::RepositoryModelLoadResponse {})
}

/// Answers before the model's last request has finished.
pub(super) async fn unload(
    caller: &Caller,
    request: pb::RepositoryModelUnloadRequest,
) -> Result<pb::RepositoryModelUnloadResponse> {
    let api = caller.admit(Verb::Unload, &request.model_name)?;
    api.refuse_when_exiting()?;
    refuse_name(&request.repository_name)?;
    let unload_dependents = unload_dependents(&request.parameters)?;
    api.unload(unload_dependents).await?;
    Ok(pb::RepositoryModelUnloadResponse {})
}

fn refuse_name(repository: &str) -> Result<()> {
    if repository.is_empty() {
        Ok(())
    } else {
        Err(named_repository())
    }
}

fn overrides(given: RepositoryParameters, limits: &Limits) -> Result<Overrides> {
    let mut parameters = LoadParameters::new(limits);
    for (name, value) in given {
        match (name.as_str(), value.parameter_choice) {
            ("config", Some(ParameterChoice::StringParam(config))) => {
                parameters.set_config(&config)?;
            }
            ("config", _) => return Err(wrong_load_type("config", "string_param")),
            (name, value) => match (file_path(name), value) {
                (Some(path), Some(ParameterChoice::BytesParam(contents))) => {
                    parameters.add_file(path, contents)?;
                }
                (Some(_), _) => return Err(wrong_load_type(name, "bytes_param")),
                (None, _) => return Err(unknown_load_parameter(name)),
            },
        }
    }
    Ok(parameters.finish())
}

fn wrong_load_type(name: &str, expected: &str) -> Error {
    Error::invalid_argument(
        "parameter_type",
        format!(
            "invalid value type for load parameter '{}', expected {expected}.",
            excerpt(name)
        ),
    )
}

fn unload_dependents(parameters: &RepositoryParameters) -> Result<bool> {
    let mut dependents = false;
    for (name, value) in parameters {
        match (name.as_str(), &value.parameter_choice) {
            ("unload_dependents", Some(ParameterChoice::BoolParam(value))) => dependents = *value,
            ("unload_dependents", _) => return Err(wrong_type(name, "bool_param")),
            (name, _) => return Err(unknown_parameter(name)),
        }
    }
    Ok(dependents)
}

fn wrong_type(name: &str, expected: &str) -> Error {
    Error::invalid_argument(
        "parameter_type",
        format!("invalid value type for '{name}' parameter, expected {expected}."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::{Stage, grpc::health, tests::caller},
        error::ErrorKind,
        proto::health::health_check_response::ServingStatus,
    };

    fn parameters(name: &str, choice: ParameterChoice) -> RepositoryParameters {
        let value = pb::ModelRepositoryParameter {
            parameter_choice: Some(choice),
        };
        HashMap::from([(name.to_owned(), value)])
    }

    #[test]
    fn an_unknown_model_is_not_ready_without_an_error() {
        let request = |version: &str| pb::ModelReadyRequest {
            name: "m".to_owned(),
            version: version.to_owned(),
        };
        assert!(!model_ready(&caller(), &request("")).unwrap().ready);
        assert!(model_ready(&caller(), &request("x")).is_err());
    }

    #[test]
    fn an_exiting_server_is_unavailable_but_its_health_check_answers() {
        let api = caller();
        assert_eq!(
            health::check(&api).unwrap().status(),
            ServingStatus::Serving
        );
        api.readiness.set(Stage::Exiting);
        assert_eq!(
            health::check(&api).unwrap().status(),
            ServingStatus::NotServing
        );
        assert_eq!(
            server_live(&api).unwrap_err().kind(),
            ErrorKind::Unavailable
        );
    }

    #[test]
    fn load_takes_a_configuration_and_files_and_refuses_the_rest() {
        use ParameterChoice::{BoolParam, BytesParam, StringParam};
        let limits = Limits {
            config_byte_size: 8,
            ..Limits::default()
        };
        let config = parameters("config", StringParam("{}".to_owned()));
        let overridden = overrides(config, &limits).unwrap();
        assert_eq!(overridden.config.as_deref(), Some("{}"));
        let file = parameters("file:1/m.onnx", BytesParam("onnx".into()));
        let overridden = overrides(file, &limits).unwrap();
        assert_eq!(overridden.files[0].path, "1/m.onnx");
        assert_eq!(overridden.files[0].contents, "onnx");
        for (name, choice, why) in [
            ("config", BoolParam(true), "expected string_param."),
            (
                "config",
                StringParam("123456789".to_owned()),
                "exceeds the limit of 8",
            ),
            ("x", BoolParam(true), "unrecognized load parameter 'x'."),
            (
                "file:1/m.onnx",
                StringParam(String::new()),
                "load parameter 'file:1/m.onnx', expected bytes_param.",
            ),
        ] {
            let error = overrides(parameters(name, choice), &limits).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{name}");
            assert!(error.message().contains(why), "{name}: {error}");
        }
    }

    #[test]
    fn unload_takes_one_boolean() {
        let yes = parameters("unload_dependents", ParameterChoice::BoolParam(true));
        assert!(unload_dependents(&yes).unwrap());
        let wrong = parameters("unload_dependents", ParameterChoice::Int64Param(1));
        assert!(unload_dependents(&wrong).is_err());
    }
}
