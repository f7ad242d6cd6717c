use super::*;
use crate::{api::ResponseCompression, config::Config, repository::ControlMode};

fn config(arguments: &[&str]) -> anyhow::Result<Config> {
    let arguments = ["despina", "serve"].iter().chain(arguments);
    let Command::Serve(flags) = Arguments::try_parse_from(arguments)?.command else {
        panic!("not serve")
    };
    let mut config = Config::default();
    flags.apply(&mut config)?;
    Ok(config)
}

#[test]
fn the_command_line_is_sound() {
    use clap::CommandFactory;
    Arguments::command().debug_assert();
}

#[test]
fn takes_tritons_flags_in_both_spellings() {
    let config = config(&[
        "--model-repository=/models",
        "--model-control-mode",
        "explicit",
        "--load-model=a",
        "--load-model=b",
        "--http-port=9000",
        "--allow-grpc=0",
        "--allow-client-shm=true",
        "--grpc-infer-response-compression-level=low",
        "--exit-on-error=true",
        "--backend-config=onnxruntime,default-max-batch-size=8",
    ])
    .unwrap();
    assert_eq!(
        config.repository.repositories,
        ["/models".into()] as [PathBuf; 1]
    );
    assert_eq!(config.repository.control_mode, ControlMode::Explicit);
    assert_eq!(config.repository.load_models, ["a", "b"]);
    assert_eq!(config.http.port, 9000);
    assert!(!config.grpc.enabled);
    assert!(config.shared_memory.enabled);
    assert_eq!(config.grpc_response_compression, ResponseCompression::Low);
    assert!(config.exit_on_error);
    assert_eq!(config.models.default_max_batch_size, 8);
}

#[test]
fn one_address_opens_every_door_and_a_doors_own_wins() {
    let config = config(&["--address", "0.0.0.0", "--metrics-address", "127.0.0.1"]).unwrap();
    assert_eq!(config.http.address, "0.0.0.0");
    assert_eq!(config.grpc.address, "0.0.0.0");
    assert_eq!(config.metrics.address, "127.0.0.1");
}

#[test]
fn refuses_what_it_does_not_know() {
    assert!(config(&["--http-prot", "1"]).is_err());
    assert!(config(&["--model-control-mode", "sometimes"]).is_err());
    assert!(config(&["--backend-config", "onnxruntime,colour=red"]).is_err());
}

#[test]
fn check_takes_the_library_and_whether_it_may_be_downloaded() {
    let arguments = [
        "despina",
        "check",
        "models",
        "--onnxruntime-library",
        "lib.so",
        "--onnxruntime-download=false",
    ];
    let Command::Check {
        repository,
        onnxruntime_library,
        onnxruntime_download,
    } = Arguments::try_parse_from(arguments).unwrap().command
    else {
        panic!("not check")
    };
    assert_eq!(repository, PathBuf::from("models"));
    assert_eq!(onnxruntime_library, Some(PathBuf::from("lib.so")));
    assert!(!onnxruntime_download);
}
