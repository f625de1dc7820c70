//! What is done, without a script.

use axum::http::StatusCode;
use serde_json::json;
use wfe::traits::{InstanceState, Query};

use super::{Bench, answers, get, location, post};

async fn states(bench: &Bench) -> Vec<InstanceState> {
    let window = bench.operator.list(&Query::default(), None, 50).await.unwrap();
    window.rows.into_iter().map(|row| row.state).collect()
}

#[tokio::test]
async fn an_action_asks_first_and_is_recorded_with_its_reason() {
    let bench = Bench::new().await;
    let id = bench.start("order", "order-17", json!(1)).await;
    let router = bench.router();
    let asked = post(&router, "/act", &[("do", "suspend"), ("id", &id)]).await;
    assert_eq!(asked.status, StatusCode::OK);
    assert!(asked.body.contains("Suspend 1 instance?") && asked.body.contains("order-17"), "{}", asked.body);
    assert_eq!(
        bench.operator.summary(&id).await.unwrap().request,
        None,
        "nothing happens before it is confirmed"
    );
    let mut form = answers(&asked.body);
    form.push(("reason".to_owned(), "the bank is closed".to_owned()));
    let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let done = post(&router, "/act", &form).await;
    assert_eq!(
        (done.status, location(&done)),
        (StatusCode::SEE_OTHER, &*format!("./instances/{id}")),
        "{}",
        done.body
    );
    let page = get(&router, &format!("/instances/{id}?tab=audit")).await;
    assert!(page.body.contains("the bank is closed") && page.body.contains("local"), "{}", page.body);
    bench.host.stop().await.unwrap();
}

#[tokio::test]
async fn a_bulk_action_reaches_all_that_match_and_its_number_is_typed() {
    let bench = Bench::new().await;
    for n in 0..103 {
        bench.start("order", &format!("order-{n}"), json!(n)).await;
    }
    bench.start("refund", "refund-1", json!(1)).await;
    let router = bench.router();
    let form = [("do", "terminate"), ("all", "1"), ("f", "definition:order")];
    let asked = post(&router, "/act", &form).await;
    assert!(
        asked.body.contains("Terminate 103 instances?") && asked.body.contains("Type 103"),
        "{}",
        asked.body
    );
    let sure = |typed| {
        [("do", "terminate"), ("all", "1"), ("f", "definition:order"), ("sure", "1"), ("typed", typed)]
    };
    let again = post(&router, "/act", &sure("13")).await;
    assert!(again.status == StatusCode::OK && again.body.contains("Nothing was done"));
    assert!(states(&bench).await.iter().all(|state| !state.is_final()));
    let done = post(&router, "/act", &sure("103")).await;
    assert_eq!((done.status, location(&done)), (StatusCode::SEE_OTHER, "./bulk/1"));
    // It goes on without the request: asked until it has ended.
    let page = loop {
        let page = get(&router, "/bulk/1").await.body;
        if !page.contains("Stop after this batch") {
            break page;
        }
        tokio::task::yield_now().await;
    };
    assert!(page.contains("103 tried, 103 changed"), "{page}");
    let asked = bench.operator.list(&Query { requested: true, ..Query::default() }, None, 500).await.unwrap();
    assert!(asked.rows.len() == 103 && asked.rows.iter().all(|row| row.definition == "order"));
    bench.host.stop().await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_done_is_said_and_changes_nothing() {
    let bench = Bench::new().await;
    let id = bench.start("order", "order-17", json!(1)).await;
    let router = bench.router();
    for (form, status) in [
        (vec![("do", "explode"), ("id", id.as_str())], StatusCode::BAD_REQUEST),
        (vec![("do", "resume")], StatusCode::BAD_REQUEST),
        (vec![("do", "retry"), ("id", &id), ("sure", "1")], StatusCode::CONFLICT),
        // Deleting is for admins.
        (vec![("do", "delete"), ("id", &id)], StatusCode::FORBIDDEN),
    ] {
        let answer = post(&router, "/act", &form).await;
        assert_eq!(answer.status, status, "{form:?}: {}", answer.body);
    }
    assert_eq!(states(&bench).await, [InstanceState::Due]);
    bench.host.stop().await.unwrap();
}
