//! The endpoints for probes.

#![allow(clippy::unwrap_used, reason = "a test says what it expects by unwrapping it")]

use async_trait::async_trait;
use axum::{Router, body::Body, http::Request};
use serde_json::{Value, json};
use std::sync::Arc;

use tower::ServiceExt;
use wfe::{
    Outcome, Result, WorkflowHost,
    definition::WorkflowBuilder,
    sqlite::SqliteStore,
    steps::StepError,
    traits::{Loaded, PersistenceProvider},
};
use wfe_testkit::{Layer, Layered};
use wfe_web::Monitoring;

async fn get(router: &Router, path: &str) -> (u16, Value) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

async fn store() -> Arc<SqliteStore> {
    Arc::new(SqliteStore::new(":memory:").await.unwrap())
}

fn router(host: &WorkflowHost) -> Router {
    Router::new().nest("/wfe", Monitoring::new(host).without_metrics().into_router().unwrap())
}

fn fine() -> (u16, Value) {
    (200, json!({ "status": "ok" }))
}

fn unavailable(reason: &str) -> (u16, Value) {
    (503, json!({ "status": "unavailable", "reasons": [reason] }))
}

#[tokio::test]
async fn a_host_is_ready_while_it_runs_and_alive_until_it_has_ended() {
    let host = WorkflowHost::builder_shared(store().await).build();
    let router = router(&host);
    assert_eq!(get(&router, "/wfe/healthz").await, fine());
    assert_eq!(get(&router, "/wfe/readyz").await, unavailable("the host was not started yet"));
    host.start().await.unwrap();
    assert_eq!((get(&router, "/wfe/healthz").await, get(&router, "/wfe/readyz").await), (fine(), fine()));
    host.stop().await.unwrap();
    let ended = unavailable("the host has ended; restart the process");
    assert_eq!(
        (get(&router, "/wfe/healthz").await, get(&router, "/wfe/readyz").await),
        (ended.clone(), ended)
    );
}

#[tokio::test]
async fn a_failed_instance_is_no_reason_to_be_unavailable() {
    let host = WorkflowHost::builder_shared(store().await).build();
    let fails =
        WorkflowBuilder::<()>::new("w", 1).then("s", async |_, _| Err::<(), _>(StepError::fatal("broken")));
    let fails = host.register(fails.build().unwrap()).unwrap();
    host.start().await.unwrap();
    let outcome = fails.start(&()).await.unwrap().outcome().await.unwrap();
    assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
    assert_eq!(get(&router(&host), "/wfe/readyz").await, fine());
    host.stop().await.unwrap();
}

#[tokio::test]
async fn a_host_whose_store_cannot_be_read_is_alive_and_not_ready() {
    let store = store().await;
    let host = WorkflowHost::builder_shared(store.clone()).build();
    host.start().await.unwrap();
    let router = router(&host);
    store.close().await;
    assert_eq!(get(&router, "/wfe/healthz").await, fine());
    assert_eq!(get(&router, "/wfe/readyz").await, unavailable("the store cannot be read: store is closed"));
}

/// A store that never answers a read.
struct Hangs(Arc<dyn PersistenceProvider>);

#[async_trait]
impl Layer for Hangs {
    fn inner(&self) -> &Arc<dyn PersistenceProvider> {
        &self.0
    }

    async fn load(&self, _id: &str) -> Result<Loaded> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_store_that_does_not_answer_a_read_within_a_second_makes_its_host_not_ready() {
    let host = WorkflowHost::new(Layered(Hangs(store().await)));
    host.start().await.unwrap();
    let expected = unavailable("the store could not be read within 1 s");
    assert_eq!(get(&router(&host), "/wfe/readyz").await, expected);
    host.stop().await.unwrap();
}

#[tokio::test]
async fn without_metrics_there_is_no_such_endpoint() {
    let host = WorkflowHost::builder_shared(store().await).build();
    let request = Request::get("/wfe/metrics").body(Body::empty()).unwrap();
    assert_eq!(router(&host).oneshot(request).await.unwrap().status(), 404);
}
