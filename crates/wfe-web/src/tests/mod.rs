//! The router, without a browser.

mod definitions;
mod forms;
mod live;
mod mounting;
mod names;
mod rights;
mod stuck;
mod upkeep;

use std::net::SocketAddr;

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::ConnectInfo,
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use serde_json::{Value, json};
use tower::ServiceExt;
use wfe::{Operator, prelude::*, sqlite::SqliteStore};

use crate::Dashboard;

/// A store with a few instances, and a dashboard on it.
pub(super) struct Bench {
    pub(super) operator: Operator,
    pub(super) host: WorkflowHost,
}

/// What a request was answered.
pub(super) struct Answered {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Bench {
    /// The host is not started: instances stay as they are.
    pub(super) async fn new() -> Self {
        let store = SqliteStore::new(":memory:").await.unwrap();
        let host = WorkflowHost::new(store);
        let operator = host.operator().unwrap();
        Self { operator, host }
    }

    pub(super) async fn start(&self, definition: &str, reference: &str, data: Value) -> String {
        let started = wfe::operator::NewInstance::new(definition, data).version(1).reference(reference);
        self.operator.start(started).await.unwrap().id
    }

    pub(super) fn dashboard(&self) -> Dashboard {
        Dashboard::of(self.operator.clone())
    }

    pub(super) fn router(&self) -> Router {
        self.dashboard().into_router()
    }
}

/// A request from this machine, as a browser sends it.
pub(super) fn request(method: Method, path: &str) -> axum::http::request::Builder {
    let peer = ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 4711)));
    let is_form = method == Method::POST;
    let request =
        Request::builder().method(method).uri(path).header(header::HOST, "localhost:4400").extension(peer);
    if is_form {
        request
            .header("sec-fetch-site", "same-origin")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
    } else {
        request
    }
}

pub(super) async fn send(router: &Router, request: Request<Body>) -> Answered {
    let (parts, body) = router.clone().oneshot(request).await.unwrap().into_parts();
    let is_stream = parts.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
    let body = if is_stream {
        String::new()
    } else {
        String::from_utf8_lossy(&to_bytes(body, 1 << 24).await.unwrap()).into_owned()
    };
    Answered { status: parts.status, headers: parts.headers, body }
}

pub(super) async fn get(router: &Router, path: &str) -> Answered {
    send(router, request(Method::GET, path).body(Body::empty()).unwrap()).await
}

pub(super) async fn post(router: &Router, path: &str, form: &[(&str, &str)]) -> Answered {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    send(router, request(Method::POST, path).body(Body::from(body)).unwrap()).await
}

/// What a person sends who reads the form and presses its button.
pub(super) fn answers(page: &str) -> Vec<(String, String)> {
    let hidden = page.split("<form class=\"sure\"").nth(1).unwrap().split("</form>").next().unwrap();
    let value = |input: &str, name: &str| {
        input.split(&format!("{name}=\"")).nth(1).map(|rest| rest.split('"').next().unwrap().to_owned())
    };
    hidden
        .split("<input type=\"hidden\"")
        .skip(1)
        .map(|input| (value(input, "name").unwrap(), value(input, "value").unwrap()))
        .collect()
}

pub(super) fn location(answer: &Answered) -> &str {
    answer.headers.get(header::LOCATION).unwrap().to_str().unwrap()
}

#[tokio::test]
async fn every_page_answers_with_what_is_stored() {
    let bench = Bench::new().await;
    let id = bench.start("order", "order-17", json!({ "total": 2250 })).await;
    let router = bench.router();
    let overview = get(&router, "/overview").await;
    assert_eq!(overview.status, StatusCode::OK, "{}", overview.body);
    assert!(overview.body.contains("Open <b>1</b>"), "{}", overview.body);
    let list = get(&router, "/instances?f=definition:order").await;
    assert!(list.body.contains("order-17") && list.body.contains("1 match"), "{}", list.body);
    let none = get(&router, "/instances?f=definition:refund").await;
    assert!(none.body.contains("No instance matches.") && !none.body.contains("order-17"));
    for (tab, says) in [
        ("now", "Stands at"),
        ("timeline", "Timeline, step by step"),
        ("steps", "No step has ended yet."),
        ("data", "2250"),
        ("failures", "No attempt has failed."),
        ("children", "It has no children."),
        ("audit", "start"),
    ] {
        let page = get(&router, &format!("/instances/{id}?tab={tab}")).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.body);
        assert!(page.body.contains(says) && page.body.contains("is due"), "{tab}: {}", page.body);
    }
    assert_eq!(get(&router, "/instances/none").await.status, StatusCode::NOT_FOUND);
    assert_eq!(get(&router, "/nothing").await.status, StatusCode::NOT_FOUND);
    bench.host.stop().await.unwrap();
}
