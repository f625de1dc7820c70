//! Pages about definitions, and starts.

use axum::http::StatusCode;
use serde_json::json;
use wfe::{
    definition::{Main, Sequence},
    prelude::*,
    traits::Query,
};

use super::{Bench, get, location, post};

fn order(version: u32) -> Sequence<u32, Main> {
    let order = WorkflowBuilder::<u32>::new("order", version);
    order
        .then("price", async |_, _| Ok(()))
        .wait_for("approval", Event::<()>::new("approved"), |_| "17")
        .closed()
}

#[tokio::test]
async fn a_definition_is_drawn_with_what_stands_at_its_steps_and_its_difference() {
    let bench = Bench::new().await;
    let workflow = bench.host.register(order(1).build().unwrap()).unwrap();
    let second = order(2).then("ship", async |_, _| Ok(())).build().unwrap();
    bench.host.register(second).unwrap();
    bench.host.start().await.unwrap();
    let instance = workflow.start(&7).await.unwrap();
    let query = Query { definition: Some("order".to_owned()), ..Query::default() };
    loop {
        let status = bench.operator.status(instance.id()).await.unwrap();
        if status
            .positions
            .iter()
            .any(|it| it.step == "approval" && matches!(it.waits, wfe::status::Waits::Event { .. }))
        {
            break;
        }
        tokio::task::yield_now().await;
    }
    let version = bench.operator.status(instance.id()).await.unwrap().version;
    let router = bench.router();
    let list = get(&router, "/definitions").await;
    assert!(list.body.contains(&format!("href=\"./definitions/order/{version}\"")), "{}", list.body);
    let page = get(&router, &format!("/definitions/order/{version}")).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.body);
    assert!(
        page.body.contains("<title>approval: event approved. Here now: 1 waiting</title>"),
        "{}",
        page.body
    );
    assert!(page.body.contains("times of the newest 1") && !page.body.contains("style="), "{}", page.body);
    let newer = get(&router, "/definitions/order/2?against=1").await;
    assert!(
        newer.body.contains("v2 against v1") && newer.body.contains("<ins>new</ins> step"),
        "{}",
        newer.body
    );
    let file = get(&router, "/definitions/order/2/svg").await;
    assert_eq!(file.headers["content-type"], "image/svg+xml");
    assert!(file.body.starts_with("<svg ") && file.body.contains("ship"), "{}", file.body);
    assert_eq!(get(&router, "/definitions/order/9").await.status, StatusCode::NOT_FOUND);
    assert_eq!(get(&router, "/definitions/order/x").await.status, StatusCode::BAD_REQUEST);

    let form = get(&router, "/definitions/order/2/start").await;
    assert!(form.body.contains("name=\"data\"") && form.body.contains(">7<"), "{}", form.body);
    let path = "/definitions/order/2/start";
    let wrong = post(&router, path, &[("data", "{")]).await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST, "{}", wrong.body);
    let asked = post(&router, path, &[("data", "8"), ("reference", "order-18")]).await;
    assert!(asked.body.contains("Start order v2?") && asked.body.contains("order-18"), "{}", asked.body);
    assert_eq!(bench.operator.count(&query, 10).await.unwrap().n, 1, "nothing starts before it is confirmed");
    let done = post(&router, path, &[("data", "8"), ("reference", "order-18"), ("sure", "1")]).await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.body);
    let id = location(&done).rsplit('/').next().unwrap();
    assert_eq!(bench.operator.data(id).await.unwrap(), json!(8));
    bench.host.stop().await.unwrap();
}
