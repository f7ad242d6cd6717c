use std::{collections::BTreeMap, ffi::OsString, path::PathBuf};

use super::*;
use crate::{
    api::{ResponseCompression, tls::ClientCertificates},
    config::Config,
    device::Device,
    model_config::AutoPlacement,
    placement::{self, Footprint},
    repository::ControlMode,
    server::{Outlook, Row},
};

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
        "--allow-gpu-metrics=false",
        "--metrics-interval-ms=500",
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
    assert!(!config.gpu_metrics.enabled);
    assert_eq!(config.gpu_metrics.interval_seconds, 0.5);
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
fn a_command_line_for_triton_starts_the_server() {
    let given = ["/opt/tritonserver/bin/tritonserver", "--model-store=/m"];
    let arguments = super::arguments(given.iter().map(OsString::from));
    assert_eq!(arguments[1..], ["serve", "--model-store=/m"]);
    let other = super::arguments(["despina", "check", "m"].iter().map(OsString::from));
    assert_eq!(other, ["despina", "check", "m"]);
    let container = ["despina", "tritonserver", "--model-store=/m"];
    assert!(matches!(
        Arguments::try_parse_from(container).unwrap().command,
        Command::Serve(_)
    ));
}

#[test]
fn takes_what_triton_takes_and_the_last_of_two() {
    let config = config(&[
        "--model-repository=/a",
        "--model-repository=/b",
        "--model-repository=/a",
        "--model-control-mode=EXPLICIT",
        "--http-port=1",
        "--http-port=2",
        "--allow-grpc=FALSE",
        "--strict-model-config=true",
        "--log-verbose=true",
        "--trace-level=MIN",
        "--trace-rate=7",
        "--trace-file=t.json",
        "--trace-count=3",
        "--trace-log-frequency=5",
        "--trace-config=rate=9",
        "--backend-config=python,shm-default-byte-size=1048576",
        "--backend-config=onnxruntime,enable-global-threadpool=1",
        "--grpc-keepalive-time=10000",
    ])
    .unwrap();
    let folders = ["/a", "/b"].map(PathBuf::from);
    assert_eq!(config.repository.repositories, folders);
    assert_eq!(config.repository.control_mode, ControlMode::Explicit);
    assert_eq!(config.http.port, 2);
    assert!(!config.grpc.enabled && !config.models.auto_complete);
    assert_eq!(config.log.verbose_level, 1);
    let trace = config.trace;
    assert_eq!(trace.file, Some("t.json".into()));
    assert_eq!((trace.levels.len(), trace.rate, trace.count), (1, 9, 3));
    assert_eq!(trace.log_frequency, 5);
}

#[test]
fn refuses_what_it_does_not_know() {
    assert!(config(&["--http-prot", "1"]).is_err());
    assert!(config(&["--model-control-mode", "sometimes"]).is_err());
    assert!(config(&["--backend-config", "onnxruntime,colour=red"]).is_err());
    assert!(config(&["--allow-vertex-ai=true"]).is_err());
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
    let Command::Check(flags) = Arguments::try_parse_from(arguments).unwrap().command else {
        panic!("not check")
    };
    assert_eq!(flags.repository, PathBuf::from("models"));
    assert_eq!(flags.onnxruntime_library, Some(PathBuf::from("lib.so")));
    assert!(!flags.onnxruntime_download);
}

#[test]
fn devices_are_set_by_tritons_flags() {
    let config = config(&[
        "--min-supported-compute-capability=8.0",
        "--model-load-gpu-limit=0:0.5",
        "--model-load-gpu-limit",
        "1:1",
        "--host-policy=gpu_0,numa-node=1",
        "--host-policy=gpu_0,cpu-cores=0-3",
        "--auto-placement=pack",
    ])
    .unwrap()
    .placement;
    assert_eq!(config.min_compute_capability, 8.0);
    assert_eq!(config.gpu_limits, BTreeMap::from([(0, 0.5), (1, 1.0)]));
    let policy = placement::HostPolicy {
        numa_node: Some(1),
        cpu_cores: Some("0-3".to_owned()),
    };
    assert_eq!(
        config.host_policies,
        BTreeMap::from([("gpu_0".to_owned(), policy)])
    );
    assert_eq!(config.auto, AutoPlacement::Pack);
}

#[test]
fn malformed_device_flags_are_refused_in_tritons_words() {
    for (flag, want) in [
        (
            "--model-load-gpu-limit=0.5",
            "--model-load-gpu-limit option format is '<device_id>:<fraction>'. Got 0.5",
        ),
        (
            "--host-policy=numa-node=1",
            "--host-policy option format is '<policy name>,<setting>=<value>'. Got numa-node=1",
        ),
        (
            "--host-policy=cpu,cores=1",
            "Unsupported host policy setting 'cores' is specified, supported settings are \
             'numa-node', 'cpu-cores'",
        ),
        (
            "--host-policy=cpu,numa-node=x",
            "--host-policy cpu,numa-node=x: 'x' is not a node's number",
        ),
    ] {
        assert_eq!(config(&[flag]).unwrap_err().to_string(), want);
    }
}

#[test]
fn the_plan_is_a_table_that_says_what_is_estimated() {
    let row = |model: &str, device, footprint, why: &str| Row {
        model: model.to_owned(),
        version: Some(1),
        instance: format!("{model}_0"),
        device,
        footprint: Some(footprint),
        why: why.to_owned(),
    };
    let outlook = Outlook {
        rows: vec![
            row(
                "a",
                Some(Device::Cuda(1)),
                Footprint::Estimated(10),
                "most room",
            ),
            row("long", None, Footprint::Declared(9), "GPU 7 is not there"),
        ],
        spaces: vec![placement::Space {
            ordinal: 1,
            limit_byte_size: 20,
            is_limited: false,
            taken_byte_size: 10,
        }],
    };
    let text = plan::report(&outlook);
    let want = "MODEL  VERSION  INSTANCE  DEVICE  BYTES  WHY\n\
                a      1        a_0       cuda:1  ~10    most room\n\
                long   1        long_0    none    9      GPU 7 is not there\n\n\
                DEVICE  TAKEN  LIMIT\n\
                cuda:1  10     20\n\n\
                1 of 2 do not fit\n";
    assert!(text.starts_with(want), "{text}");
    assert!(text.contains("an estimate from the size"), "{text}");
    assert!(!outlook.fits());
}

#[test]
fn tritons_flags_for_encryption_have_tritons_meaning() {
    let files = [
        "--grpc-server-cert=c",
        "--grpc-server-key=k",
        "--grpc-root-cert=r",
    ];
    let with = |flag: &str| config(&[&files[..], &[flag]].concat()).map(|config| config.grpc.tls);
    let one_sided = with("--grpc-use-ssl=1").unwrap();
    assert_eq!(one_sided.certificate, Some("c".into()));
    // Triton takes no notice of the roots either.
    assert_eq!(one_sided.client_roots, None);
    let mutual = with("--grpc-use-ssl-mutual=1").unwrap();
    assert_eq!(mutual.key, Some("k".into()));
    assert_eq!(mutual.client_roots, Some("r".into()));
    assert_eq!(mutual.client_certificates, ClientCertificates::Required);
    let http = config(&[
        "--http-use-ssl=true",
        "--http-server-cert=c",
        "--http-server-key=k",
    ]);
    assert!(http.unwrap().http.tls.is_on());
}

#[test]
fn flags_for_encryption_that_do_not_fit_are_refused() {
    for (flags, part) in [
        (
            &["--grpc-server-cert=c"][..],
            "no effect without --grpc-use-ssl=true",
        ),
        (&["--http-use-ssl=1"], "--http-use-ssl needs"),
        (
            &["--http-use-ssl=1", "--http-server-cert=c"],
            "--http-use-ssl needs",
        ),
        (
            &[
                "--metrics-use-ssl-mutual=1",
                "--metrics-server-cert=c",
                "--metrics-server-key=k",
            ],
            "--metrics-use-ssl-mutual needs --metrics-root-cert",
        ),
    ] {
        let error = config(flags).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}
