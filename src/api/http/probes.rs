//! `/livez`, `/startupz` and `/readyz`, as Kubernetes asks for them: 200 or 503, and why as JSON.

use hyper::{Response, StatusCode};
use serde_json::json;

use super::{metadata::document, route::Probe};
use crate::api::{
    admit::Admitted,
    body::Chunks,
    probes::{self, Verdict},
};

/// Answers a probe.
pub(super) fn probe(api: &Admitted<'_>, probe: Probe) -> Response<Chunks> {
    let stage = api.readiness.stage();
    let verdict = match probe {
        Probe::Live => api.liveness(),
        Probe::Started => probes::started(stage, &api.all_entries()),
        Probe::Ready => probes::ready(&api.readiness_policy, stage, &api.all_entries()),
    };
    answer(&verdict)
}

fn answer(verdict: &Verdict) -> Response<Chunks> {
    let Some(reason) = verdict.reason else {
        return document(&json!({"status": "ok"}));
    };
    let mut response = document(&json!({
        "status": "unavailable",
        "reason": reason,
        "models": verdict.because,
    }));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
}
