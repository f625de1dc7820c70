//! `/healthz` and `/readyz`.

use axum::{
    extract::State,
    http::{HeaderName, StatusCode, header},
};
use wfe::{WorkflowHost, host::Liveness};

type Answer = (StatusCode, [(HeaderName, &'static str); 2], String);

/// Whether the process should go on. A host that was not started yet is not a reason to kill the process: it may upgrade
/// its store.
pub(crate) async fn live(State(host): State<WorkflowHost>) -> Answer {
    let reasons: &[&str] = match host.liveness().await {
        Liveness::Alive | Liveness::NotStarted => &[],
        Liveness::Stuck => &["the engine's thread does not respond; restart the process"],
        _ => &["the host has ended; restart the process"],
    };
    answer(reasons)
}

/// Whether the host does its work.
pub(crate) async fn ready(State(host): State<WorkflowHost>) -> Answer {
    let reasons: Vec<String> = host.not_ready().await.iter().map(ToString::to_string).collect();
    answer(&reasons)
}

fn answer(reasons: &[impl AsRef<str>]) -> Answer {
    let (status, body) = if reasons.is_empty() {
        (StatusCode::OK, serde_json::json!({ "status": "ok" }))
    } else {
        let reasons: Vec<&str> = reasons.iter().map(AsRef::as_ref).collect();
        let body = serde_json::json!({ "status": "unavailable", "reasons": reasons });
        (StatusCode::SERVICE_UNAVAILABLE, body)
    };
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, body.to_string())
}
