//! `/healthz` and `/readyz`.

use axum::{
    extract::State,
    http::{HeaderName, StatusCode, header},
};
use wfe::{
    WorkflowHost,
    host::{Liveness, NotReady},
};

type Answer = (StatusCode, [(HeaderName, &'static str); 2], String);

/// Whether the process should go on. A host that was not started yet is not a reason to kill the process: it may upgrade
/// its store.
pub(crate) async fn live(State(host): State<WorkflowHost>) -> Answer {
    let reason = match host.liveness().await {
        Liveness::Alive | Liveness::NotStarted => None,
        Liveness::Stuck => Some(NotReady::Stuck),
        _ => Some(NotReady::Ended),
    };
    answer(reason)
}

/// Whether the host does its work.
pub(crate) async fn ready(State(host): State<WorkflowHost>) -> Answer {
    answer(host.not_ready().await)
}

fn answer(reasons: impl IntoIterator<Item = NotReady>) -> Answer {
    let reasons: Vec<String> = reasons.into_iter().map(|reason| reason.to_string()).collect();
    let (status, body) = if reasons.is_empty() {
        (StatusCode::OK, serde_json::json!({ "status": "ok" }))
    } else {
        let body = serde_json::json!({ "status": "unavailable", "reasons": reasons });
        (StatusCode::SERVICE_UNAVAILABLE, body)
    };
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, body.to_string())
}
