use std::time::Duration;

use axum::http::StatusCode;
use serde_json::json;
use wfe::{
    operator::{Place, Role},
    traits::InstanceState,
};

use super::{DAY, EVIL, Scene, is_harmless, part};
use crate::tests::{get, location, post};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_is_listed_under_its_assignee_and_answered() {
    let scene = Scene::start().await;
    let router = scene.router(Role::Operator);
    let none = get(&router, "/tasks").await.body;
    assert!(
        none.contains("No task waits for an answer") && none.contains("Nothing waits for a person."),
        "{none}"
    );
    let id = scene.run("asks", "May Ann spend 900 cents?").await;
    let task = scene.operator.tasks(None, None, 1).await.unwrap().rows.remove(0).id;
    let page = get(&router, "/tasks").await.body;
    assert!(
        page.contains("1 task waits for an answer")
            && page.contains("Mr Bell")
            && page.contains("May Ann spend"),
        "{page}"
    );
    let other = get(&router, "/tasks?for=Ms+Grant").await.body;
    assert!(other.contains("No open task is assigned to Ms Grant.") && !other.contains("May Ann"), "{other}");

    let path = format!("/tasks/task?id={}", part(&task));
    let page = get(&router, &path).await.body;
    assert!(page.contains("Yes, pay it") && page.contains(r#"value="reject""#), "{page}");
    // Data that are no JSON are not sent, and stay in the form.
    let wrong = post(&router, &path, &[("sure", "1"), ("option", "approve"), ("data", "{note")]).await.body;
    assert!(wrong.contains("Nothing was answered") && wrong.contains("{note"), "{wrong}");
    let unsure = post(&router, &path, &[("option", "approve")]).await;
    assert!(unsure.status == StatusCode::OK && scene.audit().await.is_empty());
    let strange = post(&router, &path, &[("sure", "1"), ("option", "maybe")]).await;
    assert_eq!(strange.status, StatusCode::BAD_REQUEST);
    let form =
        [("sure", "1"), ("option", "approve"), ("data", "{\"by\": 1}"), ("reason", "she asked nicely")];
    let done = post(&router, &path, &form).await;
    assert_eq!(
        (done.status, location(&done)),
        (StatusCode::SEE_OTHER, "../tasks?did=answered"),
        "{}",
        done.body
    );
    let record = scene.audit().await.remove(0).audit;
    assert_eq!(
        (record.actor.as_str(), record.action.as_str(), record.reason.as_deref()),
        ("weber", "answer", Some("she asked nicely"))
    );
    scene.host.idle().await.unwrap();
    assert_eq!(scene.operator.summary(&id).await.unwrap().state, InstanceState::Completed);
    // Somebody else was faster.
    let gone = post(&router, &path, &form).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
    assert!(gone.body.contains("not open any more"), "{}", gone.body);
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_overdue_comes_first() {
    let scene = Scene::start().await;
    scene.run("asks", "the first question").await;
    let router = scene.router(Role::Viewer);
    let page = get(&router, "/tasks").await.body;
    assert!(page.contains("None of those shown is overdue.") && page.contains("in 24 h"), "{page}");
    // The clock of the machine goes on, and no host escalates the task.
    let late =
        wfe_testkit::VirtualClock::new(wfe::clock::Clock::now(&*scene.clock) + DAY + Duration::from_hours(2));
    let router = crate::Dashboard::of(scene.operator.clone())
        .clock(std::sync::Arc::new(late))
        .access(|_| Some(crate::Visitor::new("weber", Role::Viewer)))
        .into_router();
    let page = get(&router, "/tasks").await.body;
    assert!(
        page.contains("1 is overdue; most of all that of")
            && page.contains("Mr Bell")
            && page.contains("by 2 h"),
        "{page}"
    );
    assert!(page.contains("Overdue") && page.contains("over since"), "{page}");
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn activities_are_counted_by_name_and_a_claim_is_released() {
    let scene = Scene::start().await;
    let router = scene.router(Role::Operator);
    let none = get(&router, "/activities").await.body;
    assert!(none.contains("No activity is open") && none.contains("No worker is waited for."), "{none}");
    scene.run("packs", "a lamp").await;
    scene.run("packs", "a chair").await;
    let claim = scene.claim().await;
    let page = get(&router, "/activities").await.body;
    assert!(
        page.contains("1 activity waits for a worker")
            && page.contains("worker-7")
            && page.contains("in 5 min"),
        "{page}"
    );
    let page = get(&router, "/activities?name=pack").await.body;
    assert!(page.contains("a lamp") && page.contains("a chair"), "{page}");
    assert_eq!(page.matches("Release…").count(), 1, "only what is held can be released: {page}");

    let id = claim.activity().id.clone();
    let form = [("id", id.as_str()), ("name", "pack"), ("worker", "worker-7")];
    let asked = post(&router, "/activities/release", &form).await;
    assert!(asked.status == StatusCode::OK && asked.body.contains("The claim of"), "{}", asked.body);
    assert!(scene.audit().await.is_empty(), "it was only asked");
    let sure: Vec<_> = form.into_iter().chain([("sure", "1")]).collect();
    let done = post(&router, "/activities/release", &sure).await;
    assert_eq!(
        (done.status, location(&done)),
        (StatusCode::SEE_OTHER, "../activities?name=pack&did=released"),
        "{}",
        done.body
    );
    let record = scene.audit().await.remove(0).audit;
    assert_eq!((record.actor.as_str(), record.action.as_str()), ("weber", "release"));
    let page = get(&router, "/activities?name=pack&did=released").await.body;
    assert!(page.contains("Released.") && !page.contains("Release…"), "{page}");
    let none = post(&router, "/activities/release", &[("id", "none"), ("sure", "1")]).await;
    assert_eq!(none.status, StatusCode::NOT_FOUND, "{}", none.body);
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_only_look_answers_and_releases_nothing() {
    let scene = Scene::start().await;
    scene.run("asks", "well?").await;
    scene.run("packs", "a lamp").await;
    let claim = scene.claim().await;
    let task = scene.operator.tasks(None, None, 1).await.unwrap().rows.remove(0).id;
    let router = scene.router(Role::Viewer);
    let page = get(&router, &format!("/tasks/task?id={}", part(&task))).await.body;
    assert!(
        page.contains("you may look at tasks, and not answer them") && !page.contains("<textarea"),
        "{page}"
    );
    let page = get(&router, "/activities?name=pack").await.body;
    assert!(page.contains("worker-7") && !page.contains("Release…"), "{page}");
    let form = [("sure", "1"), ("option", "approve"), ("id", claim.activity().id.as_str())];
    for path in [format!("/tasks/task?id={}", part(&task)), "/activities/release".to_owned()] {
        assert_eq!(post(&router, &path, &form).await.status, StatusCode::FORBIDDEN, "{path}");
    }
    assert!(scene.audit().await.is_empty());
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_questions_and_inputs_are_text_and_can_be_hidden() {
    let scene = Scene::start().await;
    let huge = format!("{EVIL}{}", "x".repeat(1 << 20));
    scene.run("asks", &huge).await;
    scene.run("packs", &huge).await;
    let task = scene.operator.tasks(None, None, 1).await.unwrap().rows.remove(0).id;
    let router = scene.router(Role::Admin);
    for path in [
        "/tasks".to_owned(),
        format!("/tasks?for={}", part(EVIL)),
        "/activities".to_owned(),
        format!("/activities?name={}", part(EVIL)),
        "/activities?name=pack".to_owned(),
    ] {
        let page = get(&router, &path).await;
        is_harmless(&path, &page);
        assert!(page.body.len() < 200_000, "{path} is {} bytes long", page.body.len());
    }
    let path = format!("/tasks/task?id={}", part(&task));
    is_harmless(&path, &get(&router, &path).await);
    let asked = post(&router, "/activities/release", &[("id", EVIL), ("name", EVIL), ("worker", EVIL)]).await;
    is_harmless("/activities/release", &asked);
    let hides = scene.operator.clone().redact(|place, _, value| {
        if place == Place::Data {
            *value = json!({ "hidden": true });
        }
    });
    let router = scene.dashboard(&hides, Role::Admin);
    for path in ["/tasks", &path, "/activities?name=pack"] {
        let page = get(&router, path).await.body;
        assert!(
            !page.contains("onerror") && (page.contains("•••") || page.contains("class=\"hid\"")),
            "{path}: {page}"
        );
    }
    scene.stop().await;
}
