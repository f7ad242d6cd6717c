//! No route answers a caller whom the gate does not let in, nor one who came to the wrong listener.

use std::{collections::HashSet, sync::Arc};

use super::smoke::Door;
use crate::{
    admission::{Gate, Policy},
    api::{
        Port,
        http::{route, route::Route},
        tests::empty_api,
    },
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

#[tokio::test]
async fn every_route_of_management_is_answered_at_its_listener_only() {
    let mut api = empty_api();
    Arc::get_mut(&mut api).unwrap().has_management = true;
    let mut ordinary = Door::http(&api).await;
    let mut management = Door::at(&api, Port::for_management).await;
    let mut verbs = HashSet::new();
    for path in route::tests::paths() {
        let verb = Route::new(path).unwrap().unwrap().verb();
        for method in ["GET", "POST"] {
            let request =
                format!("{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{{}}");
            let (head, body) = ordinary.ask(&request).await;
            let is_elsewhere = body.contains("by the management listener only");
            let is_allowed = !head.starts_with("http/1.1 405");
            assert_eq!(
                is_elsewhere,
                is_allowed && verb.is_management(),
                "{path}: {body}"
            );
            if is_elsewhere {
                assert!(head.starts_with("http/1.1 501"), "{path}: {head}");
                verbs.insert(verb.name());
            }
            let (_, body) = management.ask(&request).await;
            assert!(!body.contains("management listener"), "{path}: {body}");
        }
    }
    assert_eq!(verbs.len(), 5, "{verbs:?}");
}
