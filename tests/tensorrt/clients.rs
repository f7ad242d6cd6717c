//! The same models through unmodified `tritonclient`.

use crate::{
    common::run_module,
    rig::{ON_ONE, Rig},
};

#[test]
fn tritonclient_gets_what_it_sent() {
    let Some(rig) = Rig::new() else { return };
    for datatype in [
        "BOOL", "UINT8", "INT8", "INT32", "INT64", "FP16", "FP32", "BF16",
    ] {
        let plan = format!(
            "input INPUT0 {datatype} -1x4
             output OUTPUT0 {datatype} -1x4
             profile INPUT0=1x4/4x4/8x4
             run copy OUTPUT0 INPUT0"
        );
        let model = format!("plan_{}", datatype.to_lowercase());
        rig.add(&model, &fake_tensorrt::plan(&plan), ON_ONE);
    }
    let server = rig.start(&[]);
    run_module(
        "test_tensorrt",
        &[
            ("DESPINA_HTTP", &server.http.to_string()),
            ("DESPINA_GRPC", &server.grpc.to_string()),
            ("DESPINA_METRICS", &server.metrics.to_string()),
            ("DESPINA_REPOSITORY", &rig.models.path().to_string_lossy()),
        ],
    );
    server.stop();
    rig.assert_nothing_is_left();
}
