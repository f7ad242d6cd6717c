//! Listeners for management, which the ordinary doors then are not.

use despina::proto::inference::{
    RepositoryModelUnloadRequest, ServerLiveRequest,
    grpc_inference_service_client::GrpcInferenceServiceClient,
};
use tonic::{Code, transport::Endpoint};

use crate::{
    common::{Server, wait_until},
    rig::{Files, INFER, ask, ask_as, new_key, repository},
};

const EXPLICIT: [&str; 4] = ["--model-control-mode", "explicit", "--load-model", "open"];
const UNLOAD: &str = "/v2/repository/models/open/unload";
const LOAD: &str = "/v2/repository/models/open/load";
const READY: &str = "/v2/models/open/ready";

#[test]
fn management_is_answered_where_it_is_wanted_and_nowhere_else() {
    let repository = repository();
    let ports = ["--management-http-port", "0", "--management-grpc-port", "0"];
    let flags = [&EXPLICIT[..], &ports].concat();
    let server = Server::start_plain(repository.path(), &flags);
    let [Some(http), Some(grpc)] = server.management else {
        panic!("{:?}", server.management)
    };
    for (path, body) in [(UNLOAD, "{}"), (LOAD, "{}"), ("/v2/logging", "")] {
        let refused = ask(server.http, path, &[], body);
        assert_eq!(refused.status, 501, "{path}: {}", refused.text());
        assert!(refused.text().contains("--management-http-port"));
    }
    // What is no management is answered at both.
    for address in [server.http, http] {
        assert_eq!(ask(address, READY, &[], "").status, 200);
        assert_eq!(
            ask(address, "/v2/models/open/infer", &[], INFER).status,
            200
        );
    }
    assert_eq!(ask(http, UNLOAD, &[], "{}").status, 200);
    wait_until("the model is unloaded", || {
        ask(server.http, READY, &[], "").status != 200
    });
    assert_eq!(ask(http, LOAD, &[], "{}").status, 200);
    assert_eq!(ask(server.http, READY, &[], "").status, 200);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        for (address, code) in [(server.grpc, Some(Code::Unimplemented)), (grpc, None)] {
            let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("address");
            let channel = endpoint.connect().await.expect("connect");
            let mut client = GrpcInferenceServiceClient::new(channel);
            let unload = RepositoryModelUnloadRequest {
                model_name: "open".to_owned(),
                ..Default::default()
            };
            let refused = client.repository_model_unload(unload).await.err();
            assert_eq!(refused.map(|status| status.code()), code);
            assert!(client.server_live(ServerLiveRequest {}).await.is_ok());
        }
    });
    server.stop();
}

/// The listener is one more bound, not a way around the others.
#[test]
fn who_comes_to_the_management_listener_still_needs_the_right() {
    let (files, repository) = (Files::new(), repository());
    let (key, entry) = new_key("ursula", &["user"]);
    let keys = files.write("keys.yaml", &format!("keys:\n{entry}"));
    let policy = "roles: { user: { allow: [{ verbs: [load], models: [open] }] } }\n";
    let policy = files.write("policy.yaml", policy);
    let flags = ["--auth-keys", &keys, "--auth-policy", &policy];
    let ports = ["--management-http-port", "0"];
    let flags = [&EXPLICIT[..], &flags, &ports].concat();
    let server = Server::start_plain(repository.path(), &flags);
    let [Some(http), None] = server.management else {
        panic!("{:?}", server.management)
    };
    assert_eq!(ask_as("", http, LOAD, "{}").status, 401);
    assert_eq!(ask_as(&key, http, UNLOAD, "{}").status, 403);
    assert_eq!(ask_as(&key, http, LOAD, "{}").status, 200);
    assert_eq!(ask_as(&key, server.http, LOAD, "{}").status, 501);
}
