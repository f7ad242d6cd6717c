//! No route answers a caller whom the gate does not let in.

use std::sync::Arc;

use super::smoke::Door;
use crate::{
    admission::{Gate, Policy},
    api::{http::route, tests::empty_api},
};

#[tokio::test]
async fn every_route_passes_the_gate() {
    let mut api = empty_api();
    Arc::get_mut(&mut api).unwrap().gate = Gate::guarded(Policy::default());
    let mut door = Door::http(&api).await;
    for path in route::tests::paths() {
        let mut refused = 0;
        for method in ["GET", "POST"] {
            let request =
                format!("{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{{}}");
            let (head, body) = door.ask(&request).await;
            if head.starts_with("http/1.1 405") {
                continue;
            }
            assert!(head.starts_with("http/1.1 401"), "{method} {path}: {head}");
            assert!(
                body.contains("without credentials"),
                "{method} {path}: {body}"
            );
            refused += 1;
        }
        assert!(refused > 0, "{path} takes neither GET nor POST");
    }
}
