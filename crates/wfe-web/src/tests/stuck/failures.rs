use axum::http::StatusCode;
use serde_json::json;
use wfe::{
    operator::{Place, Role},
    traits::InstanceState,
};

use super::{DAY, EVIL, Scene, is_harmless, part};
use crate::tests::{get, location, post};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_failures_are_grouped_by_their_reason_and_the_first_is_open() {
    let scene = Scene::start().await;
    let router = scene.router(Role::Operator);
    let empty = get(&router, "/failures").await.body;
    assert!(empty.contains("No open failure") && empty.contains("Nothing is broken."), "{empty}");

    scene.run("order", "refused by the issuer").await;
    scene.clock.advance(DAY * 2);
    let second = scene.run("order", "refused again").await;
    scene.run("refund", "overloaded").await;
    let page = get(&router, "/failures").await.body;
    assert!(page.contains("<h1>3 open failures, for 2 reasons</h1>"), "{page}");
    assert!(page.contains("2 suspended") && page.contains("1 failed"), "{page}");
    // The first of the order is two days old, the refund is new.
    assert!(
        page.contains(r#"<span class="tag">known"#) && page.contains(r#"<span class="tag new">new"#),
        "{page}"
    );
    assert!(
        page.contains("1 new since yesterday") && page.contains(r#"aria-label="1 in 24 hours, new""#),
        "{page}"
    );
    // The largest is open: with its example, its causes, and what its instances share.
    assert!(
        page.contains(&second[..8]) && page.contains("refused again") && page.contains("All 2 are of"),
        "{page}"
    );

    let of_code = get(&router, "/failures?by=code&f=code%3Ahttp_503").await.body;
    assert!(
        of_code.contains("1 open failure, for 1 reason") && !of_code.contains("card_declined"),
        "{of_code}"
    );
    let by_text = get(&router, "/failures?f=OVERLOADED").await.body;
    assert!(by_text.contains("1 open failure, for 1 reason"), "{by_text}");
    let none = get(&router, "/failures?step=ship").await.body;
    assert!(none.contains("No failure matches the filter.") && none.contains("Take off step"), "{none}");
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reason_is_dealt_with_after_a_question_and_the_audit_has_it() {
    let scene = Scene::start().await;
    let router = scene.router(Role::Operator);
    let stands = scene.run("order", "refused").await;
    let ended = scene.run("refund", "overloaded").await;
    // What has ended is never resumed, and what stands is never retried.
    let page = get(&router, "/failures").await.body;
    assert!(page.contains("do=resume&amp;") || page.contains("do=resume"), "{page}");
    for (definition, offered, missing) in
        [("order", "do=resume", "do=retry"), ("refund", "do=retry", "do=resume")]
    {
        let page = get(&router, &format!("/failures?definition={definition}")).await.body;
        assert!(page.contains(offered) && !page.contains(missing), "{definition}: {page}");
    }

    let scope = "definition=refund&step=charge&code=http_503";
    let asked = get(&router, &format!("/failures/act?do=retry&{scope}")).await;
    assert!(
        asked.body.contains("Retry 1 failed instance of refund?") && asked.body.contains("http_503"),
        "{}",
        asked.body
    );
    let form = [("do", "retry"), ("definition", "refund"), ("step", "charge"), ("code", "http_503")];
    let asked = post(&router, "/failures/act", &form).await;
    assert_eq!(asked.status, StatusCode::OK);
    assert_eq!(
        scene.operator.summary(&ended).await.unwrap().state,
        InstanceState::Failed,
        "it was only asked"
    );
    let sure: Vec<_> = form.into_iter().chain([("sure", "1"), ("reason", "the gateway answers")]).collect();
    let done = post(&router, "/failures/act", &sure).await;
    assert_eq!((done.status, location(&done)), (StatusCode::SEE_OTHER, "../bulk/1"), "{}", done.body);
    let record =
        scene.audit().await.into_iter().find(|it| it.audit.instance.as_deref() == Some(&ended)).unwrap();
    let of = (record.audit.actor.as_str(), record.audit.action.as_str(), record.audit.reason.as_deref());
    assert_eq!(of, ("weber", "retry", Some("the gateway answers")));
    let report = get(&router, "/bulk/1").await.body;
    assert!(report.contains("../failures") && report.contains("1 changed"), "{report}");

    // A failure that is dealt with moves to its own tab, and back.
    let ack = [("do", "ack"), ("definition", "order"), ("sure", "1")];
    assert_eq!(post(&router, "/failures/act", &ack).await.status, StatusCode::SEE_OTHER);
    assert!(scene.operator.summary(&stands).await.unwrap().is_acknowledged);
    let page = get(&router, "/failures?tab=acknowledged").await.body;
    assert!(
        page.contains("1 failure dealt with") && page.contains("do=reopen") && !page.contains("do=ack"),
        "{page}"
    );
    let open = get(&router, "/failures?definition=order").await.body;
    assert!(open.contains("No failure matches the filter."), "{open}");
    let again = [("do", "reopen"), ("definition", "order"), ("tab", "acknowledged"), ("sure", "1")];
    assert_eq!(post(&router, "/failures/act", &again).await.status, StatusCode::SEE_OTHER);
    assert!(!scene.operator.summary(&stands).await.unwrap().is_acknowledged);
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_action_reaches_its_reason_alone_and_many_need_their_number() {
    let scene = Scene::start().await;
    let router = scene.router(Role::Operator);
    for n in 0..101 {
        scene.host.start_workflow("refund", &format!("overloaded {n}")).await.unwrap();
    }
    scene.run("order", "refused").await;
    let form = [("do", "ack"), ("code", "http_503"), ("sure", "1")];
    let asked = post(&router, "/failures/act", &form).await;
    assert!(asked.status == StatusCode::OK && asked.body.contains("Type 101"), "{}", asked.body);
    assert!(scene.audit().await.is_empty(), "nothing was done without the number");
    let done = post(
        &router,
        "/failures/act",
        &[("do", "ack"), ("code", "http_503"), ("sure", "1"), ("typed", "101")],
    )
    .await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.body);
    while get(&router, "/bulk/1").await.body.contains("Stop after this batch") {
        tokio::task::yield_now().await;
    }
    let left = get(&router, "/failures").await.body;
    assert!(
        left.contains("<h1>1 open failure, for 1 reason</h1>") && left.contains("card_declined"),
        "{left}"
    );
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_attempt_is_listed_from_a_cursor() {
    let scene = Scene::start().await;
    let router = scene.router(Role::Viewer);
    let none = get(&router, "/failures?tab=attempts").await.body;
    assert!(none.contains("No attempt has failed."), "{none}");
    for n in 0..51 {
        scene.host.start_workflow("refund", &format!("no. {n}")).await.unwrap();
    }
    scene.host.idle().await.unwrap();
    let page = get(&router, "/failures?tab=attempts").await.body;
    assert!(page.contains("50 shown.") && page.contains("http_503"), "{page}");
    let next = page.split("after=").nth(1).unwrap().split('"').next().unwrap();
    let page = get(&router, &format!("/failures?tab=attempts&after={next}")).await.body;
    assert!(page.contains("1 shown.") && page.contains("Newest") && !page.contains("Older"), "{page}");
    assert_eq!(get(&router, "/failures?tab=attempts&after=x").await.status, StatusCode::BAD_REQUEST);
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_only_look_is_offered_nothing_and_refused() {
    let scene = Scene::start().await;
    let router = scene.router(Role::Viewer);
    let id = scene.run("refund", "overloaded").await;
    for path in ["/failures", "/failures?tab=acknowledged", "/failures?tab=attempts"] {
        let page = get(&router, path).await;
        assert!(page.status.is_success() && !page.body.contains("do="), "{path}: {}", page.body);
    }
    assert_eq!(get(&router, "/failures/act?do=retry").await.status, StatusCode::FORBIDDEN);
    let refused = post(&router, "/failures/act", &[("do", "retry"), ("sure", "1")]).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert_eq!(scene.operator.summary(&id).await.unwrap().state, InstanceState::Failed);
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_failures_are_text_and_what_is_hidden_stays_hidden() {
    let scene = Scene::start().await;
    let huge = format!("{EVIL}{}", "x".repeat(1 << 20));
    scene.run("refund", &huge).await;
    let router = scene.router(Role::Admin);
    for path in [
        "/failures".to_owned(),
        "/failures?tab=attempts".to_owned(),
        format!("/failures?step={0}&code={0}&f={0}&open={0}", part(EVIL)),
        format!("/failures/act?do=ack&definition={}", part(EVIL)),
    ] {
        let page = get(&router, &path).await;
        is_harmless(&path, &page);
        assert!(page.body.len() < 200_000, "{path} is {} bytes long", page.body.len());
    }
    let hides = scene.operator.clone().redact(|place, _, value| {
        if place == Place::Failure {
            *value = json!("withheld");
        }
    });
    let router = scene.dashboard(&hides, Role::Admin);
    for path in ["/failures", "/failures?tab=attempts"] {
        let page = get(&router, path).await.body;
        assert!(page.contains("withheld") && !page.contains("onerror"), "{path}: {page}");
    }
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_to_lists_keep_a_name_with_spaces_whole() {
    let scene = Scene::start().await;
    let id = scene.run("late refund", "overloaded").await;
    let router = scene.router(Role::Operator);
    for page in ["/overview".to_owned(), format!("/instances/{id}")] {
        let body = get(&router, &page).await.body;
        let mut links = body.split("href=\"").filter_map(|rest| rest.split('"').next());
        let link = links.find(|link| link.contains("instances?") && link.contains("refund"));
        let (_, query) = link.unwrap_or_else(|| panic!("no link: {body}")).split_once('?').unwrap();
        let list = get(&router, &format!("/instances?{}", query.replace("&amp;", "&"))).await.body;
        assert!(list.contains("1 match") && list.contains(&id[..8]), "{page}, {query}: {list}");
    }
    scene.stop().await;
}
