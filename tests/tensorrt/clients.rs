//! The same models through unmodified `tritonclient`.

use std::{path::Path, process::Command};

use crate::{
    common::python,
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
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python");
    let output = Command::new(python().interpreter)
        .args(["-B", "-m", "unittest", "test_tensorrt"])
        .current_dir(scripts)
        .env("DESPINA_HTTP", server.http.to_string())
        .env("DESPINA_GRPC", server.grpc.to_string())
        .env("DESPINA_METRICS", server.metrics.to_string())
        .env("DESPINA_REPOSITORY", rig.models.path())
        .output()
        .expect("start Python");
    let text = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&text)
    );
    server.stop();
    rig.assert_nothing_is_left();
}
