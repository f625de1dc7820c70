//! Each line about an instance: its level, its text and its fields.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, LazyLock},
    time::Duration,
};

use chrono::{DateTime, Utc};
use tracing::Level;
use wfe::{
    Outcome, WorkflowHost,
    definition::{Definition, Event, OnFailure, Retry, WorkflowBuilder, WorkflowName},
    schedules::{NewSchedule, Timetable},
    status::State,
    steps::StepError,
    traits::PersistenceProvider,
};
use wfe_sqlite::SqlitePersistenceProvider;
use wfe_testkit::VirtualClock;

use crate::{PATIENCE, SAID, Said, host};

/// The subscriber takes long for each line about this definition.
pub const SLOW: &str = "slow";

const DAY: Duration = Duration::from_hours(24);

/// The lines about this instance: level, message, and all fields but those that name the instance, which are checked.
fn lines_about(id: &str, definition: &str) -> Vec<(Level, String, BTreeMap<String, String>)> {
    let about = |said: &&Said| said.fields.get("wfe.instance.id").is_some_and(|instance| instance == id);
    let line = |said: &Said| {
        let mut fields = said.fields.clone();
        fields.remove("wfe.instance.id");
        let (of, version) = (fields.remove("wfe.definition.id"), fields.remove("wfe.definition.version"));
        assert_eq!((of.as_deref(), version.as_deref()), (Some(definition), Some("1")), "{said:?}");
        (said.level, fields.remove("message").unwrap(), fields)
    };
    let seen = |said: &&Said| said.level <= Level::INFO;
    SAID.lock().iter().filter(about).filter(seen).map(line).collect()
}

fn fields(fields: &[(&str, &str)]) -> BTreeMap<String, String> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

async fn until(mut condition: impl AsyncFnMut() -> bool) {
    let comes = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, comes).await.expect("it comes true");
}

async fn ended(host: &WorkflowHost, id: &str) -> Outcome<u32> {
    tokio::time::timeout(PATIENCE, host.outcome(id)).await.expect("it ends").unwrap()
}

fn broken() -> StepError {
    StepError::from(anyhow()).with_code("bank")
}

/// An error with a cause.
fn anyhow() -> std::io::Error {
    std::io::Error::other("the bank\nis closed")
}

fn failing(id: &str, on_failure: OnFailure) -> wfe::Result<Definition<u32>> {
    WorkflowBuilder::<u32>::new(id, 1)
        .then("pay", async |ctx, data| if ctx.attempt() <= *data { Err(broken()) } else { Ok(()) })
        .retry(Retry::every(Duration::ZERO).attempts(2))
        .on_failure(on_failure)
        .build()
}

const STARTED: (Level, &str) = (Level::INFO, "the instance has started");

/// A line without further fields.
fn plain((level, message): (Level, &str)) -> (Level, String, BTreeMap<String, String>) {
    (level, message.to_owned(), BTreeMap::new())
}

fn attempt(number: &str, next: &str) -> (Level, String, BTreeMap<String, String>) {
    let of = [("wfe.step.id", "pay"), ("wfe.step.attempt", number), ("code", "bank"), ("next", next)];
    let mut fields = fields(&of);
    fields.insert("error".to_owned(), "the bank\\nis closed".to_owned());
    (Level::WARN, "an attempt of the step has failed".to_owned(), fields)
}

/// A line about a failure that changed the whole instance.
fn cause(level: Level, message: &str) -> (Level, String, BTreeMap<String, String>) {
    let of = [("wfe.step.id", "pay"), ("wfe.step.attempt", "2"), ("code", "bank")];
    let mut fields = fields(&of);
    fields.insert("error".to_owned(), "the bank\\nis closed".to_owned());
    (level, message.to_owned(), fields)
}

/// The lines without the times of further attempts, which are those of the system clock.
fn timeless(
    lines: Vec<(Level, String, BTreeMap<String, String>)>,
) -> Vec<(Level, String, BTreeMap<String, String>)> {
    let timeless = |(level, message, mut fields): (Level, String, BTreeMap<String, String>)| {
        if let Some(time) = fields.remove("next_attempt") {
            assert!(time.ends_with('Z') && DateTime::parse_from_rfc3339(&time).is_ok(), "{time}");
        }
        (level, message, fields)
    };
    lines.into_iter().map(timeless).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_an_instance_that_completes_the_start_failed_attempts_and_the_end_are_logged() {
    let host = host(failing("completes", OnFailure::Fail)).await;
    let id = host.start_workflow("completes", &1_u32).await.unwrap();
    assert_eq!(ended(&host, &id).await, Outcome::Completed(1));
    let end = (Level::INFO, "the instance has completed");
    let lines = timeless(lines_about(&id, "completes"));
    assert_eq!(lines, [plain(STARTED), attempt("1", "retry"), plain(end)]);
    // In the span of the instance, too.
    let said = SAID.with("the instance has completed");
    let said = said.iter().find(|said| said.fields["wfe.instance.id"] == id).unwrap();
    let (span, around) = said.around.last().unwrap();
    assert_eq!(
        (*span, &around["wfe.instance.id"], &*around["wfe.definition.id"]),
        ("workflow", &id, "completes")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_restart_the_instance_that_it_replaces_is_logged() {
    let host = host(failing("restarts", OnFailure::Fail)).await;
    let first = host.start_workflow("restarts", &2_u32).await.unwrap();
    assert!(matches!(ended(&host, &first).await, Outcome::Failed(_)));
    let second = host.restart(&first, &0_u32).await.unwrap();
    assert_eq!(ended(&host, second.id()).await, Outcome::Completed(0));
    assert_eq!(lines_about(&first, "restarts")[0], plain(STARTED));
    let (level, message) = STARTED;
    let expected = (level, message.to_owned(), fields(&[("restart_of", &*first)]));
    assert_eq!(lines_about(second.id(), "restarts")[0], expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_failed_attempt_the_time_of_the_next_is_logged() {
    let waits = WorkflowBuilder::<u32>::new("tomorrow", 1)
        .then("pay", async |_, _| Err::<(), _>(broken()))
        .retry(Retry::every(DAY).attempts(2));
    let host = host(waits.build()).await;
    let id = host.start_workflow("tomorrow", &0_u32).await.unwrap();
    until(async || lines_about(&id, "tomorrow").len() == 2).await;
    let at: DateTime<Utc> = lines_about(&id, "tomorrow")[1].2["next_attempt"].parse().unwrap();
    let failed = host.failures(&id).next().await.unwrap().unwrap().error.error_time;
    assert_eq!((at - failed).num_hours(), 23, "up to a millisecond less than a day");
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_fails_is_logged_as_an_error_with_its_cause() {
    let host = host(failing("fails", OnFailure::Fail)).await;
    let id = host.start_workflow("fails", &9_u32).await.unwrap();
    assert!(matches!(ended(&host, &id).await, Outcome::Failed(_)));
    let lines = timeless(lines_about(&id, "fails"));
    let end = cause(Level::ERROR, "the instance has failed");
    assert_eq!(lines, [plain(STARTED), attempt("1", "retry"), attempt("2", "fail"), end]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_follows_the_last_attempt_is_logged() {
    let pays = |saga: WorkflowBuilder<u32>| {
        saga.saga("all", |all| {
            all.then("pay", async |_, _| Err::<(), _>(broken()))
                .retry(Retry::every(Duration::ZERO).attempts(2))
        })
        .on_failure(OnFailure::Continue)
        .build()
    };
    let fallback = WorkflowBuilder::<u32>::new("fallback", 1)
        .then("pay", async |_, _| Err::<(), _>(broken()))
        .retry(Retry::every(Duration::ZERO).attempts(2))
        .fallback(|instead| instead.call("instead", |_, _| Ok(())));
    for (id, definition, next) in [
        ("compensate", pays(WorkflowBuilder::new("compensate", 1)), "compensate"),
        ("continue", failing("continue", OnFailure::Continue), "continue"),
        ("fallback", fallback.build(), "fallback"),
    ] {
        let host = host(definition).await;
        let instance = host.start_workflow(id, &9_u32).await.unwrap();
        assert_eq!(ended(&host, &instance).await, Outcome::Completed(9), "{id}");
        let end = (Level::INFO, "the instance has completed");
        let lines = timeless(lines_about(&instance, id));
        assert_eq!(lines, [plain(STARTED), attempt("1", "retry"), attempt("2", next), plain(end)]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspension_by_a_failure_is_an_error_and_one_by_a_request_is_not() {
    let host = host(failing("suspends", OnFailure::Suspend)).await;
    let id = host.start_workflow("suspends", &2_u32).await.unwrap();
    until(async || host.status(&id).await.unwrap().state == State::Suspended).await;
    host.resume(&id).await.unwrap();
    assert_eq!(ended(&host, &id).await, Outcome::Completed(2));
    let by_failure = cause(Level::ERROR, "the instance is suspended: a step has failed");
    let resumed = (Level::INFO, "the instance is resumed");
    let end = (Level::INFO, "the instance has completed");
    let lines = timeless(lines_about(&id, "suspends"));
    assert_eq!(
        lines,
        [
            plain(STARTED),
            attempt("1", "retry"),
            attempt("2", "suspend"),
            by_failure,
            plain(resumed),
            plain(end)
        ]
    );

    let waits = WorkflowBuilder::<u32>::new("waits", 1).wait_for("wait", Event::<()>::new("never"), |_| "k");
    host.register(waits.build().unwrap()).unwrap();
    for (is_cancelled, end) in [(true, "the instance was cancelled"), (false, "the instance was terminated")]
    {
        let id = host.start_workflow("waits", &0_u32).await.unwrap();
        host.suspend(&id).await.unwrap();
        until(async || host.status(&id).await.unwrap().state == State::Suspended).await;
        if is_cancelled {
            host.cancel(&id).await.unwrap();
        } else {
            host.terminate(&id).await.unwrap();
        }
        ended(&host, &id).await;
        let by_request = (Level::INFO, "the instance is suspended by a request");
        let lines = lines_about(&id, "waits");
        assert_eq!(lines, [plain(STARTED), plain(by_request), plain((Level::INFO, end))]);
    }
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_is_logged_under_its_own_id() {
    let part = WorkflowName::<u32>::new("part");
    let whole = WorkflowBuilder::<u32>::new("whole", 1).sub_workflow("sub", part.clone(), |n| *n);
    let host = host(whole.build()).await;
    host.register(part.define(1).change("add", |n| *n += 1).build().unwrap()).unwrap();
    let id = host.start_workflow("whole", &1_u32).await.unwrap();
    ended(&host, &id).await;
    let end = (Level::INFO, "the instance has completed");
    assert_eq!(lines_about(&format!("{id}//sub//1"), "part"), [plain(STARTED), plain(end)]);
    assert_eq!(lines_about(&id, "whole"), [plain(STARTED), plain(end)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_misses_its_deadline_is_an_error_once() {
    let late = WorkflowBuilder::<u32>::new("late", 1).deadline(Duration::from_millis(1)).wait_for(
        "wait",
        Event::<()>::new("never"),
        |_| "k",
    );
    let host = host(late.build()).await;
    let id = host.start_workflow("late", &1_u32).await.unwrap();
    ended(&host, &id).await;
    let lines = lines_about(&id, "late");
    let failed = &lines[1];
    assert_eq!(
        (lines.len(), failed.0, &*failed.1),
        (2, Level::ERROR, "the instance has failed"),
        "{lines:?}"
    );
    assert_eq!((&*failed.2["code"], failed.2.get("wfe.step.id")), (StepError::DEADLINE, None));
}

async fn file_host(
    path: &Path,
    definition: wfe::Result<Definition<u32>>,
) -> (WorkflowHost, Arc<SqlitePersistenceProvider>) {
    LazyLock::force(&SAID);
    let provider = Arc::new(SqlitePersistenceProvider::file(path).open().await.unwrap());
    let host =
        WorkflowHost::builder_shared(provider.clone()).poll_interval(Duration::from_millis(20)).build();
    host.register(definition.unwrap()).unwrap();
    (host, provider)
}

/// An instance runs version 1, in which a step is gone now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quarantine_is_an_error_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let waits = |step: &str| {
        WorkflowBuilder::<u32>::new("gone", 1).wait_for(step, Event::<()>::new("never"), |_| "k").build()
    };
    let (host, _provider) = file_host(&path, waits("old")).await;
    host.start().await.unwrap();
    let id = host.start_workflow("gone", &1_u32).await.unwrap();
    until(async || host.status(&id).await.unwrap().current_steps == ["old"]).await;
    host.stop().await.unwrap();
    let (host, _provider) = file_host(&path, waits("new")).await;
    host.start().await.unwrap();
    host.publish_event("never", "k", &()).await.unwrap();
    until(async || host.status(&id).await.unwrap().state == State::Suspended).await;
    host.stop().await.unwrap();
    let lines = lines_about(&id, "gone");
    let quarantined = lines.last().unwrap();
    assert_eq!(quarantined.0, Level::ERROR, "{lines:?}");
    assert!(quarantined.1.starts_with("the instance is quarantined"), "{lines:?}");
    assert_eq!(quarantined.2["code"], StepError::DEFINITION);
    assert!(quarantined.2["error"].contains("step \"old\" is gone"), "{lines:?}");
    assert_eq!(lines.iter().filter(|line| line.0 <= Level::WARN).count(), 1, "told once: {lines:?}");
}

/// The file of the owner that had claimed it is left, and nobody holds its lock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_whose_process_crashed_is_logged_as_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let quick = WorkflowBuilder::<u32>::new("taken", 1).then("only", async |_, _| Ok(())).build();
    let (host, provider) = file_host(&path, quick).await;
    let id = host.start_workflow("taken", &1_u32).await.unwrap();
    let steps = provider.step_store().unwrap();
    let owner = steps.register().await.unwrap();
    let definitions = [("taken".to_owned(), 1)];
    let far = DateTime::<Utc>::MAX_UTC;
    assert_eq!(steps.claim(&owner, &definitions, far, 9).await.unwrap().len(), 1);
    let file = folder.path().join(format!("a.db-owner-{}", owner.id()));
    let sign = std::fs::read(&file).unwrap();
    drop(owner);
    std::fs::write(file, sign).unwrap();
    host.start().await.unwrap();
    ended(&host, &id).await;
    host.stop().await.unwrap();
    let lines = lines_about(&id, "taken");
    let taken = (
        Level::WARN,
        "the instance was taken over: the process that ran it has crashed".to_owned(),
        fields(&[("crashes", "1")]),
    );
    assert_eq!(lines, [plain(STARTED), taken, plain((Level::INFO, "the instance has completed"))]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_subscriber_stops_nothing_and_gets_every_line() {
    let host = host(failing(SLOW, OnFailure::Fail)).await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(host.start_workflow(SLOW, &1_u32).await.unwrap());
    }
    for id in ids {
        assert_eq!(ended(&host, &id).await, Outcome::Completed(1));
        assert_eq!(lines_about(&id, SLOW).len(), 3);
    }
    host.stop().await.unwrap();
}

/// For two hours nobody runs the schedule.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missed_ticks_of_a_schedule_are_logged_once_with_what_was_started_for_them() {
    LazyLock::force(&SAID);
    let clock = Arc::new(VirtualClock::new("2030-01-01T00:00:00Z".parse().unwrap()));
    let folder = tempfile::tempdir().unwrap();
    let provider = SqlitePersistenceProvider::file(folder.path().join("a.db"))
        .clock(clock.clone())
        .open()
        .await
        .unwrap();
    let host = WorkflowHost::builder(provider).clock(clock.clone()).build();
    let quick = WorkflowBuilder::<u32>::new("hourly", 1).then("only", async |_, _| Ok(()));
    host.register(quick.build().unwrap()).unwrap();
    host.schedules()
        .create(NewSchedule::new("missed", "hourly", Timetable::cron("0 * * * *")), &1_u32)
        .await
        .unwrap();
    clock.advance(Duration::from_mins(150));
    host.start().await.unwrap();
    until(async || host.schedules().get("missed").await.unwrap().last.is_some()).await;
    clock.advance(Duration::from_mins(30));
    let third = "2030-01-01T03:00:00Z".parse::<DateTime<Utc>>().unwrap();
    until(async || host.schedules().get("missed").await.unwrap().last == Some(third)).await;
    host.stop().await.unwrap();
    let lines = SAID.with("a schedule has missed ticks");
    let [line] = &lines[..] else { panic!("{lines:#?}") };
    assert_eq!(line.level, Level::WARN);
    let fields = ["wfe.schedule.id", "first", "newest", "started"].map(|name| &*line.fields[name]);
    assert_eq!(fields, ["missed", "2030-01-01T01:00:00Z", "2030-01-01T02:00:00Z", "1"]);
}

/// The first part of each text, up to what may vary.
#[test]
fn every_line_is_in_the_guide() {
    let guide = include_str!("../../src/guide/running_as_a_service.md");
    let sources = [include_str!("../../src/engine/log.rs"), include_str!("../../src/store/faults.rs")];
    let mut found = 0;
    for text in sources.iter().flat_map(|source| source.split('"')) {
        let is_line = text.starts_with("the instance ")
            || text.starts_with("an attempt ")
            || text.starts_with("the store ");
        if is_line && text != "the store is busy" {
            let until = text.find([':', ';']).unwrap_or(text.len());
            let text = &text[..until];
            assert!(guide.contains(&format!("`{text}")), "{text:?}");
            found += 1;
        }
    }
    assert!(found >= 15, "{found}");
}
