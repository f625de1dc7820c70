//! Schedules, hosts, the store and the records of actions, without a browser.

use std::time::Duration;

use axum::{Router, http::StatusCode};
use chrono::TimeDelta;
use serde_json::json;
use wfe::{
    operator::{Face, Role, Verb},
    prelude::*,
    schedules::{NewSchedule, Timetable},
    traits::AuditFilter,
};
use wfe_core::clock::{Clock, SystemClock};

use super::{Bench, answers, get, location, post};
use crate::Visitor;

const EVIL: &str = "\"><img src=x onerror=alert(1)>'/../?&#\u{202e}";

fn as_role(bench: &Bench, role: Role) -> Router {
    bench.dashboard().access(move |_| Some(Visitor::new("ann", role))).into_router()
}

/// The host has a definition and a schedule, and is not started.
async fn with_schedule(bench: &Bench, id: &str, timetable: Timetable) {
    let report = WorkflowBuilder::<u32>::new("report", 1).change("count", |n| *n += 1).build().unwrap();
    bench.host.register(report).unwrap();
    bench
        .host
        .schedules()
        .create(NewSchedule::new(id, "report", timetable).version(1), &1_u32)
        .await
        .unwrap();
}

/// Sends the form of a page that asks, with these fields in addition.
async fn confirm(router: &Router, path: &str, asked: &str, more: &[(&str, &str)]) -> super::Answered {
    let form = answers(asked);
    let mut form: Vec<(&str, &str)> =
        form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    form.extend(more);
    post(router, path, &form).await
}

/// The page of a job when it has ended.
async fn ended(router: &Router, number: u32) -> String {
    loop {
        let page = get(router, &format!("/storage/jobs/{number}")).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.body);
        if !page.body.contains("Look again") {
            return page.body;
        }
        tokio::task::yield_now().await;
    }
}

async fn recorded(bench: &Bench, action: &str) -> Vec<wfe::traits::AuditRecord> {
    let filter = AuditFilter { action: Some(action.to_owned()), ..AuditFilter::default() };
    bench.operator.audit(&filter, None, 50).await.unwrap().rows
}

#[tokio::test]
async fn a_schedule_says_what_it_starts_next_and_is_paused_and_triggered() {
    let bench = Bench::new().await;
    let router = as_role(&bench, Role::Operator);
    let empty = get(&router, "/schedules").await;
    assert!(empty.body.contains("No schedule is here yet."), "{}", empty.body);
    with_schedule(&bench, "nightly", Timetable::cron("0 3 * * *").in_zone("Europe/Berlin")).await;
    let list = get(&router, "/schedules").await;
    assert!(list.body.contains("Next is nightly") && list.body.contains("Europe/Berlin"), "{}", list.body);
    assert!(list.body.contains("03:00") && list.body.contains("never"), "in words: {}", list.body);
    assert!(list.body.contains("Missed ticks"), "one alone is open: {}", list.body);
    let open = get(&router, "/schedules?open=nightly").await;
    assert_eq!(open.body.matches("data-kind=\"at\"").count(), 5, "five ticks: {}", open.body);
    assert!(open.body.contains("one instance starts for all of them"), "{}", open.body);

    let asked = post(&router, "/schedules/act", &[("do", "pause"), ("id", "nightly")]).await;
    assert!(asked.body.contains("Pause nightly?"), "{}", asked.body);
    assert!(!bench.operator.schedule("nightly").await.unwrap().status.is_paused, "it asks first");
    let done = confirm(&router, "/schedules/act", &asked.body, &[("reason", "the bank is closed")]).await;
    assert_eq!(
        (done.status, location(&done)),
        (StatusCode::SEE_OTHER, "../schedules?open=nightly"),
        "{}",
        done.body
    );
    assert!(bench.operator.schedule("nightly").await.unwrap().status.is_paused);
    let records = recorded(&bench, "pause_schedule").await;
    assert_eq!(records.len(), 1);
    let record = &records[0].audit;
    assert_eq!(
        (&*record.actor, record.face, record.reason.as_deref()),
        ("ann", Face::Dashboard, Some("the bank is closed"))
    );
    let open = get(&router, "/schedules?open=nightly").await;
    assert!(open.body.contains("Paused") && open.body.contains("if it were not paused"), "{}", open.body);

    let again = post(&router, "/schedules/act", &[("do", "pause"), ("id", "nightly"), ("sure", "1")]).await;
    assert_eq!(again.status, StatusCode::CONFLICT);
    let form = [("do", "trigger"), ("id", "nightly"), ("sure", "1")];
    let started = post(&router, "/schedules/act", &form).await;
    assert_eq!(started.status, StatusCode::SEE_OTHER, "{}", started.body);
    assert!(location(&started).starts_with("../instances/"), "{}", started.body);
    let form = [("do", "resume"), ("id", "nightly"), ("sure", "1")];
    assert_eq!(post(&router, "/schedules/act", &form).await.status, StatusCode::SEE_OTHER);
    let form = [("do", "delete"), ("id", "nightly"), ("sure", "1")];
    assert_eq!(location(&post(&router, "/schedules/act", &form).await), "../schedules");
    let gone = get(&router, "/schedules?open=nightly").await;
    assert!(gone.status == StatusCode::OK && gone.body.contains("it was deleted"), "{}", gone.body);
    let gone = post(&router, "/schedules/act", &[("do", "pause"), ("id", "none")]).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
    bench.host.stop().await.unwrap();
}

#[tokio::test]
async fn hosts_tell_what_they_run_and_what_none_of_them_has() {
    let bench = Bench::new().await;
    let router = bench.router();
    let empty = get(&router, "/hosts").await;
    assert!(
        empty.body.contains("No host is alive") && empty.body.contains("Nothing is due"),
        "{}",
        empty.body
    );
    let (began, mut running) = tokio::sync::mpsc::unbounded_channel();
    let (end, may_end) = tokio::sync::watch::channel(false);
    let slow = WorkflowBuilder::<u32>::new("slow", 7)
        .then("wait-here", async move |_, _| {
            began.send(())?;
            let mut may_end = may_end.clone();
            let _ = may_end.changed().await;
            Ok(())
        })
        .build()
        .unwrap();
    let slow = bench.host.register(slow).unwrap();
    let id = slow.start(&1).await.unwrap().into_id();
    bench.start("refund", "refund-4", json!(1)).await;
    bench.host.start().await.unwrap();
    running.recv().await.unwrap();
    let page = get(&router, "/hosts").await.body;
    assert!(page.contains("1 host is alive") && page.contains("slow") && page.contains(" v7"), "{page}");
    assert!(page.contains(&format!("pid {}", std::process::id())) && page.contains("wait-here"), "{page}");
    assert!(page.contains(&format!("instances/{id}")), "what runs is a link: {page}");
    assert!(page.contains("No host has") && page.contains("refund"), "{page}");
    end.send(true).unwrap();
    bench.host.stop().await.unwrap();
}

#[tokio::test]
async fn the_store_is_checked_and_backed_up() {
    let bench = Bench::new().await;
    bench.start("order", "order-1", json!(1)).await;
    let router = as_role(&bench, Role::Admin);
    let page = get(&router, "/storage").await.body;
    assert!(page.contains("nothing is wrong") && page.contains("No backup is recorded."), "{page}");
    assert!(page.contains("Free pages") && page.contains("Nothing is running."), "{page}");

    let asked = post(&router, "/storage/check", &[]).await;
    assert!(asked.body.contains("Check the store?"), "{}", asked.body);
    let begun = confirm(&router, "/storage/check", &asked.body, &[("depth", "full")]).await;
    assert_eq!(
        (begun.status, location(&begun)),
        (StatusCode::SEE_OTHER, "../storage/jobs/1"),
        "{}",
        begun.body
    );
    let done = ended(&router, 1).await;
    assert!(done.contains("Check: done") && done.contains("No fault was found."), "{done}");

    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("copy.db");
    let asked = post(&router, "/storage/act", &[("do", "backup")]).await;
    assert!(
        asked.body.contains("Back up the store?") && asked.body.contains("name=\"target\""),
        "{}",
        asked.body
    );
    let more = [("target", target.to_str().unwrap()), ("reason", "before the move")];
    confirm(&router, "/storage/act", &asked.body, &more).await;
    let done = ended(&router, 2).await;
    assert!(done.contains("Backup: done") && done.contains("with 1 instances"), "{done}");
    assert!(target.exists());
    let records = recorded(&bench, "backup").await;
    assert_eq!((records.len(), records[0].audit.reason.as_deref()), (1, Some("before the move")));
    // The same file again: what went wrong is said, and the first copy stays.
    confirm(&router, "/storage/act", &asked.body, &more).await;
    let failed = ended(&router, 3).await;
    assert!(failed.contains("Backup: look at this") && failed.contains("copy.db"), "{failed}");

    for (verb, says) in
        [("compact", "returned to the file system"), ("checkpoint", "pages are in the database")]
    {
        let asked = post(&router, "/storage/act", &[("do", verb)]).await;
        let begun = confirm(&router, "/storage/act", &asked.body, &[]).await;
        let number = location(&begun).rsplit('/').next().unwrap().parse().unwrap();
        let done = ended(&router, number).await;
        assert!(done.contains(says), "{verb}: {done}");
        assert_eq!(recorded(&bench, verb).await.len(), 1, "{verb}");
    }
    let page = get(&router, "/storage").await.body;
    assert!(page.contains("Backed up from here") && page.contains("storage/jobs/2"), "{page}");
    bench.host.stop().await.unwrap();
}

#[tokio::test]
async fn a_purge_is_previewed_and_its_number_typed() {
    let bench = Bench::new().await;
    let open = bench.start("order", "order-open", json!(1)).await;
    let report = WorkflowBuilder::<u32>::new("report", 1).change("count", |n| *n += 1).build().unwrap();
    let report = bench.host.register(report).unwrap();
    bench.host.start().await.unwrap();
    let mut ids = Vec::new();
    for n in 0..3 {
        let handle = report.start(&n).await.unwrap();
        ids.push(handle.id().to_owned());
        handle.outcome().await.unwrap();
    }
    let router = as_role(&bench, Role::Admin);
    // They have just ended, so nothing is old enough.
    let none = get(&router, "/storage/purge?older=30d").await;
    assert!(none.body.contains("Nothing to purge"), "{}", none.body);
    let before = SystemClock.now();
    let link = format!("/storage/purge?before={}&definition=report", before.format("%Y-%m-%dT%H:%M:%S%.9fZ"));
    let asked = get(&router, &link).await;
    assert!(asked.body.contains("Delete 3 instances?") && asked.body.contains("Type 3"), "{}", asked.body);
    assert!(ids.iter().all(|id| asked.body.contains(id.as_str())), "examples are links: {}", asked.body);
    let wrong = confirm(&router, "/storage/act", &asked.body, &[("typed", "2")]).await;
    assert!(
        wrong.status == StatusCode::OK && wrong.body.contains("Nothing was done: type 3"),
        "{}",
        wrong.body
    );
    assert!(bench.operator.summary(&ids[0]).await.is_ok());
    let begun = confirm(&router, "/storage/act", &wrong.body, &[("typed", "3"), ("reason", "old")]).await;
    assert_eq!(
        (begun.status, location(&begun)),
        (StatusCode::SEE_OTHER, "../storage/jobs/1"),
        "{}",
        begun.body
    );
    let done = ended(&router, 1).await;
    assert!(done.contains("3 instances and 0 events removed"), "{done}");
    assert!(bench.operator.summary(&ids[0]).await.is_err());
    assert!(bench.operator.summary(&open).await.is_ok(), "what is open stays");
    assert_eq!(recorded(&bench, "purge").await[0].audit.reason.as_deref(), Some("old"));

    let future = (SystemClock.now() + TimeDelta::days(1)).format("%Y-%m-%dT%H:%M:%SZ");
    for query in [format!("before={future}"), "older=never".to_owned(), "older=1d&ending=running".to_owned()]
    {
        assert_eq!(
            get(&router, &format!("/storage/purge?{query}")).await.status,
            StatusCode::BAD_REQUEST,
            "{query}"
        );
    }
    let asked = get(&router, "/storage/purge?what=events&older=1d").await;
    assert!(asked.body.contains("Delete events?"), "{}", asked.body);
    confirm(&router, "/storage/act", &asked.body, &[]).await;
    assert!(ended(&router, 2).await.contains("Purge: done"));
    bench.host.stop().await.unwrap();
}

#[tokio::test]
async fn the_audit_is_read_by_actor_action_and_instance_in_pages() {
    let bench = Bench::new().await;
    let router = bench.router();
    let empty = get(&router, "/audit").await;
    assert!(empty.body.contains("Nobody has acted yet."), "{}", empty.body);
    let id = bench.start("order", "order-17", json!(1)).await;
    for n in 0..55 {
        bench.start("order", &format!("bulk-{n}"), json!(n)).await;
    }
    let ann = bench.operator.clone().acting_as("ann", Face::Cli).because("a test of the brakes");
    ann.act(&Verb::Suspend, &id).await.unwrap();
    let first = get(&router, "/audit").await.body;
    assert!(
        first.contains("50 shown") && first.contains("a test of the brakes") && first.contains("Older"),
        "{first}"
    );
    let next = first.split("audit?after=").nth(1).unwrap().split('"').next().unwrap();
    let second = get(&router, &format!("/audit?after={next}")).await.body;
    assert!(second.contains("7 shown") && !second.contains("a test of the brakes"), "{second}");
    for (query, shown) in [
        ("actor=ann", 1),
        ("action=suspend", 1),
        ("action=start&actor=program&instance=order-17", 1),
        ("instance=order-17", 2),
        ("actor=nobody", 0),
    ] {
        let page = get(&router, &format!("/audit?{query}")).await;
        assert!(
            page.body.contains(&format!("{shown} shown")),
            "{query}: {}",
            page.body.split("<main").nth(1).unwrap()
        );
    }
    let none = get(&router, "/audit?actor=nobody").await;
    assert!(none.body.contains("No recorded action matches."), "{}", none.body);
    assert_eq!(get(&router, "/audit?after=x").await.status, StatusCode::BAD_REQUEST);
    bench.host.stop().await.unwrap();
}

#[tokio::test]
async fn viewers_see_these_pages_and_no_way_to_act() {
    let bench = Bench::new().await;
    with_schedule(&bench, "nightly", Timetable::interval(Duration::from_hours(1))).await;
    let viewer = as_role(&bench, Role::Viewer);
    for path in ["/schedules?open=nightly", "/hosts", "/storage", "/audit"] {
        let page = get(&viewer, path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        let actions = page.body.matches("method=\"post\"").count();
        // Everybody may have the store checked.
        assert_eq!(actions, usize::from(path == "/storage"), "{path}: {}", page.body);
    }
    let operator = as_role(&bench, Role::Operator);
    for (router, path, form) in [
        (&viewer, "/schedules/act", vec![("do", "pause"), ("id", "nightly"), ("sure", "1")]),
        (&viewer, "/storage/act", vec![("do", "compact"), ("sure", "1")]),
        (&operator, "/storage/act", vec![("do", "backup"), ("target", "/nowhere/x"), ("sure", "1")]),
        (&operator, "/storage/act", vec![("do", "purge"), ("older", "1d"), ("sure", "1"), ("typed", "0")]),
    ] {
        assert_eq!(post(router, path, &form).await.status, StatusCode::FORBIDDEN, "{path} {form:?}");
    }
    assert_eq!(get(&operator, "/storage/purge?older=1d").await.status, StatusCode::FORBIDDEN);
    assert!(!bench.operator.schedule("nightly").await.unwrap().status.is_paused);
    bench.host.stop().await.unwrap();
}

#[tokio::test]
async fn hostile_names_of_schedules_and_actors_are_text() {
    let bench = Bench::new().await;
    with_schedule(&bench, EVIL, Timetable::interval(Duration::from_hours(1))).await;
    let id = bench.start(EVIL, EVIL, json!(1)).await;
    bench.operator.clone().acting_as(EVIL, Face::Api).because(EVIL).act(&Verb::Suspend, &id).await.unwrap();
    let router = as_role(&bench, Role::Admin);
    let evil: String = form_urlencoded::byte_serialize(EVIL.as_bytes()).collect();
    for path in [
        "/schedules".to_owned(),
        format!("/schedules?open={evil}"),
        "/schedules?open=%3Cimg%3E".to_owned(),
        "/hosts".to_owned(),
        "/storage".to_owned(),
        format!("/storage/purge?older=1d&definition={evil}"),
        "/audit".to_owned(),
        format!("/audit?actor={evil}&action={evil}&instance={evil}"),
    ] {
        let page = get(&router, &path).await;
        assert!(page.status.is_success(), "{path}: {} {}", page.status, page.body);
        assert!(!page.body.contains("<img"), "{path}: {}", page.body);
        assert!(!page.body.contains(" style=") && !page.body.contains(" onclick="), "{path}");
    }
    let asked = post(&router, "/schedules/act", &[("do", "delete"), ("id", EVIL)]).await;
    assert!(asked.status == StatusCode::OK && !asked.body.contains("<img"), "{}", asked.body);
    let done = post(&router, "/schedules/act", &[("do", "delete"), ("id", EVIL), ("sure", "1")]).await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.body);
    bench.host.stop().await.unwrap();
}

#[test]
fn each_key_of_the_navigation_opens_one_page() {
    let mut keys: Vec<char> =
        crate::pages::GROUPS.iter().filter_map(|group| group.nav.as_ref()).map(|nav| nav.key).collect();
    let all = keys.len();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), all, "{keys:?}");
}
