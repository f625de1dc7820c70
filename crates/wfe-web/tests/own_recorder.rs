//! A program that has a recorder of its own, which is one for the process: a test in a program of its own.

#![allow(clippy::unwrap_used, reason = "a test says what it expects by unwrapping it")]

use axum::{Router, body::Body, http::Request};
use tower::ServiceExt;
use wfe::{WorkflowHost, definition::WorkflowBuilder, sqlite::SqliteStore};
use wfe_web::{Monitoring, PrometheusBuilder, with_buckets};

async fn scrape(router: &Router) -> String {
    let request = Request::get("/wfe/metrics").body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test]
async fn the_recorder_of_the_program_is_used_and_never_replaced() {
    let builder = with_buckets(PrometheusBuilder::new()).add_global_label("service", "shop");
    let handle = builder.install_recorder().unwrap();
    let host = WorkflowHost::new(SqliteStore::new(":memory:").await.unwrap());

    let refused = Monitoring::new(&host).into_router().unwrap_err().to_string();
    assert!(refused.contains("Monitoring::prometheus") && refused.contains("without_metrics"), "{refused}");

    let router = Router::new().nest("/wfe", Monitoring::new(&host).prometheus(handle).into_router().unwrap());
    let plain = WorkflowBuilder::<()>::new("plain", 1).then("one", async |_, _| Ok(()));
    let plain = host.register(plain.build().unwrap()).unwrap();
    host.start().await.unwrap();
    plain.start(&()).await.unwrap().outcome().await.unwrap().completed().unwrap();
    let text = scrape(&router).await;
    for line in [
        r#"wfe_instances_started_total{service="shop",definition="plain"} 1"#,
        r#"wfe_step_duration_seconds_bucket{service="shop",definition="plain",step="one",outcome="success",le="+Inf"} 1"#,
        "# TYPE wfe_commit_seconds histogram",
    ] {
        assert!(text.lines().any(|one| one == line), "{line}\n{text}");
    }
    // The route has the path under which the program has mounted the router.
    let scraped =
        r#"http_server_request_duration_seconds_count{service="shop",route="/wfe/metrics",status="200"} 1"#;
    assert!(scrape(&router).await.lines().any(|one| one == scraped));
    host.stop().await.unwrap();
}
