use axum::http::StatusCode;
use serde_json::json;
use wfe::{
    operator::{NewEvent, Place, Role},
    traits::{EventFilter, InstanceState},
};

use super::{EVIL, Scene, is_harmless, part};
use crate::tests::{get, location, post};

async fn publish(scene: &Scene, name: &str, key: &str) {
    scene.operator.publish(NewEvent::new(name, key).data(json!({ "by": "Ms Weber" }))).await.unwrap();
    scene.host.idle().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_told_whether_an_event_was_published_who_took_it_and_who_waits() {
    let scene = Scene::start().await;
    let router = scene.router(Role::Operator);
    let none = get(&router, "/events").await.body;
    assert!(none.contains("No event was published yet."), "{none}");
    assert!(get(&router, "/events?tab=waits").await.body.contains("Nobody waits for an event."));
    assert!(get(&router, "/events?tab=untaken").await.body.contains("Every event was taken."));

    scene.run("packs", "a lamp").await;
    scene.run("waits", "order-17").await;
    let stands = scene.run("waits", "order-18").await;
    publish(&scene, "approved", "order-17").await;
    publish(&scene, "approved", "order-71").await;
    let page = get(&router, "/events?name=approved").await.body;
    assert!(
        page.contains("2 shown")
            && page.contains("Taken")
            && page.contains("Not taken")
            && page.contains("Ms Weber"),
        "{page}"
    );
    let page = get(&router, "/events?name=approved&key=order-17").await.body;
    assert!(
        page.contains("Event approved/order-17") && page.contains("Taken") && !page.contains("order-71"),
        "{page}"
    );
    // Nothing was published, and somebody waits.
    let page = get(&router, "/events?name=approved&key=order-18").await.body;
    assert!(
        page.contains("No event approved/order-18 is stored.") && page.contains("1 instance waits for it"),
        "{page}"
    );
    let page = get(&router, "/events?tab=untaken").await.body;
    assert!(page.contains("order-71") && !page.contains("order-17"), "{page}");
    // What waits for workers is no wait for an event.
    let page = get(&router, "/events?tab=waits").await.body;
    assert!(page.contains("1 shown") && page.contains(&stands[..8]) && page.contains("order-18"), "{page}");
    let page = get(&router, "/events?tab=waits&name=approved&key=order-19").await.body;
    assert!(page.contains("Nobody waits for approved/order-19."), "{page}");

    let id = scene.operator.events(&EventFilter::default(), None, 1).await.unwrap().rows.remove(0).event.id;
    let page = get(&router, &format!("/events?show={id}")).await.body;
    assert!(page.contains("Data of") && page.contains("<pre>"), "{page}");
    assert_eq!(get(&router, "/events?key=order-17").await.status, StatusCode::BAD_REQUEST);
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_published_after_a_question_that_says_who_waits() {
    let scene = Scene::start().await;
    let router = scene.router(Role::Operator);
    let id = scene.run("waits", "order-17").await;
    let form = get(&router, "/events/publish?name=approved").await.body;
    assert!(form.contains(r#"value="approved""#), "{form}");
    let wrong =
        post(&router, "/events/publish", &[("name", "approved"), ("key", "order-17"), ("data", "yes")])
            .await
            .body;
    assert!(
        wrong.contains("Nothing was published.") && wrong.contains("no JSON") && wrong.contains("order-17"),
        "{wrong}"
    );
    let nameless = post(&router, "/events/publish", &[("name", "")]).await.body;
    assert!(nameless.contains("Name the event."), "{nameless}");
    let late = post(&router, "/events/publish", &[("name", "a"), ("effective", "tomorrow")]).await.body;
    assert!(late.contains("The time is not like"), "{late}");

    let wrong_key = post(&router, "/events/publish", &[("name", "approved"), ("key", "order-71")]).await.body;
    assert!(wrong_key.contains("Nobody waits for it now."), "{wrong_key}");
    let form = [("name", "approved"), ("key", "order-17"), ("data", "null"), ("id", "once")];
    let asked = post(&router, "/events/publish", &form).await.body;
    assert!(
        asked.contains("Publish approved/order-17?")
            && asked.contains("1 instance waits for it.")
            && asked.contains(&id[..8]),
        "{asked}"
    );
    assert!(scene.audit().await.is_empty(), "it was only asked");
    let sure: Vec<_> = form.into_iter().chain([("sure", "1"), ("reason", "by phone")]).collect();
    let done = post(&router, "/events/publish", &sure).await;
    let there = "../events?name=approved&key=order-17&did=published&met=1";
    assert_eq!((done.status, location(&done)), (StatusCode::SEE_OTHER, there), "{}", done.body);
    let page = get(&router, there.trim_start_matches("..")).await.body;
    assert!(page.contains("It meets 1 open wait."), "{page}");
    let record = scene.audit().await.remove(0).audit;
    assert_eq!(
        (record.actor.as_str(), record.action.as_str(), record.reason.as_deref()),
        ("weber", "publish", Some("by phone"))
    );
    scene.host.idle().await.unwrap();
    assert_eq!(scene.operator.summary(&id).await.unwrap().state, InstanceState::Completed);
    let again = post(&router, "/events/publish", &sure).await;
    assert!(location(&again).contains("did=known"), "{}", location(&again));
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_only_look_publishes_nothing() {
    let scene = Scene::start().await;
    let router = scene.router(Role::Viewer);
    assert!(!get(&router, "/events").await.body.contains("Publish…</a>"));
    assert_eq!(get(&router, "/events/publish").await.status, StatusCode::FORBIDDEN);
    let refused = post(&router, "/events/publish", &[("name", "approved"), ("sure", "1")]).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(scene.operator.events(&EventFilter::default(), None, 1).await.unwrap().rows.is_empty());
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_events_are_text_and_their_data_can_be_hidden() {
    let scene = Scene::start().await;
    let data = json!({ EVIL: "x".repeat(10 << 20), "secret": EVIL });
    scene.operator.publish(NewEvent::new(EVIL, EVIL).data(data).id("evil")).await.unwrap();
    scene.run("waits", EVIL).await;
    let router = scene.router(Role::Admin);
    let evil = part(EVIL);
    for path in [
        "/events".to_owned(),
        "/events?tab=untaken".to_owned(),
        "/events?tab=waits".to_owned(),
        "/events?show=evil".to_owned(),
        format!("/events?name={evil}&key={evil}"),
        format!("/events?name={evil}&key=none"),
        format!("/events/publish?name={evil}&key={evil}&data={evil}"),
    ] {
        let page = get(&router, &path).await;
        is_harmless(&path, &page);
        assert!(page.body.len() < 200_000, "{path} is {} bytes long", page.body.len());
    }
    let asked =
        post(&router, "/events/publish", &[("name", EVIL), ("key", EVIL), ("data", "\"<img>\"")]).await;
    is_harmless("/events/publish", &asked);
    let hides = scene.operator.clone().redact(|place, _, value| {
        if place == Place::Event {
            *value = json!({ "hidden": true });
        }
    });
    let page = get(&scene.dashboard(&hides, Role::Admin), "/events?show=evil").await.body;
    assert!(page.contains(r#"class="hid""#) && !page.contains("secret"), "{page}");
    scene.stop().await;
}
