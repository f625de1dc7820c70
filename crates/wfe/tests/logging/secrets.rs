//! What belongs to the program's data is never logged, whatever becomes of an instance.

use std::{sync::LazyLock, time::Duration};

use serde::{Deserialize, Serialize};
use wfe::{
    Outcome, WorkflowHost,
    definition::{Activity, Event, OnFailure, Retry, WorkflowBuilder},
    schedules::{NewSchedule, Timetable},
    status::State,
    steps::{Next, StepError, UserAnswer},
};
use wfe_sqlite::SqlitePersistenceProvider;

use crate::{PATIENCE, SAID};

/// What each secret contains.
const SECRET: &str = "5500-0000-0000-0004";
/// What the program's own errors say, which may be logged.
const OWN_TEXT: &str = "the program's own text";

fn secret(of: &str) -> String {
    format!("{of} {SECRET}")
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Patient {
    name: String,
}

async fn until(mut condition: impl AsyncFnMut() -> bool) {
    let comes = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, comes).await.expect("it comes true");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_items_outcomes_events_keys_and_answers_are_in_no_line() {
    LazyLock::force(&SAID);
    let host = WorkflowHost::new(SqlitePersistenceProvider::new(":memory:").await.unwrap());
    let define = |id: &str| WorkflowBuilder::<Patient>::new(id, 1);
    let fails = |ctx: &wfe::steps::Ctx| {
        let attempt = ctx.attempt();
        if attempt == 1 { Err(StepError::retryable(OWN_TEXT)) } else { Ok(secret("an outcome")) }
    };
    let all = define("secretive")
        .then("outcome", async move |ctx, _| fails(&ctx))
        .retry(Retry::every(Duration::ZERO).attempts(2))
        .output(|outcome, patient| patient.name = outcome)
        .then("keeps", async |ctx, _| {
            if ctx.state::<String>()?.is_none() {
                return Next::sleep(Duration::ZERO).keeping(&secret("a state"));
            }
            Ok(Next::Done)
        })
        .decide(
            "by",
            |_| secret("a value"),
            |by| {
                by.when(secret("a value"), |then| {
                    then.change("then", |patient| patient.name = secret("data"))
                })
            },
        )
        .for_each(
            "items",
            |_| vec![secret("an item"), secret("another")],
            |each| {
                each.call("item", |ctx, _, item| {
                    if ctx.attempt() == 1 { Err(StepError::retryable(OWN_TEXT)) } else { Ok(item.clone()) }
                })
                .retry(Retry::every(Duration::ZERO).attempts(2))
            },
        )
        .wait_for("event", Event::<String>::new("paid"), |_| secret("a key"))
        .output(|event, patient| patient.name = event)
        .activity("activity", Activity::<String, String>::new("heal"), |_| secret("an input"))
        .output(|result, patient| patient.name = result)
        .user_task("task", |_| secret("a prompt"))
        .assignee(|_| secret("an assignee"))
        .plain_option(secret("an option"))
        .output(|answer, patient| patient.name = answer.option)
        .build()
        .unwrap();
    let ends = |id: &str, on_failure| {
        define(id)
            .saga("saga", |saga| {
                saga.call("done", |_, _| Ok(secret("an outcome")))
                    .compensate_with(|undo| undo.call("undo", |_, _| Ok(secret("an outcome"))))
                    .call("fails", |_, _| Err::<(), _>(StepError::fatal(OWN_TEXT)))
            })
            .on_failure(on_failure)
            .build()
            .unwrap()
    };
    host.register(all).unwrap();
    host.register(ends("suspended", OnFailure::Suspend)).unwrap();
    host.register(ends("failed", OnFailure::Fail)).unwrap();
    host.start().await.unwrap();
    let patient = Patient { name: secret("data") };
    let failed = host.start_workflow("failed", &patient).await.unwrap();
    let suspended = host.start_workflow("suspended", &patient).await.unwrap();
    let yearly = NewSchedule::new("yearly", "failed", Timetable::interval(Duration::from_hours(9000)));
    host.schedules().create(yearly, &patient).await.unwrap();
    let triggered = host.schedules().trigger("yearly").await.unwrap();
    let id = host.start_workflow("secretive", &patient).await.unwrap();
    let waits = async |step: &str| {
        until(async || host.status(&id).await.unwrap().current_steps == [step]).await;
    };
    waits("event").await;
    host.publish_event("paid", &secret("a key"), &secret("a payload")).await.unwrap();
    waits("activity").await;
    let claim = host.activities().claim_by_name("heal", "w", Duration::from_mins(1)).await.unwrap().unwrap();
    claim.succeed(&secret("a result")).await.unwrap();
    waits("task").await;
    let task = host.user_tasks().open(None, None, 1).await.unwrap().rows.remove(0);
    let answer = UserAnswer::new(secret("an option")).by(secret("a user")).data(secret("a comment"));
    host.user_tasks().answer(&task.id, &answer).await.unwrap();
    assert!(matches!(host.outcome::<Patient>(&id).await.unwrap(), Outcome::Completed(_)));
    for id in [&failed, &triggered] {
        assert!(matches!(host.outcome::<Patient>(id).await.unwrap(), Outcome::Failed(_)));
    }
    until(async || host.status(&suspended).await.unwrap().state == State::Suspended).await;
    host.cancel(&suspended).await.unwrap();
    assert_eq!(host.outcome::<()>(&suspended).await.unwrap(), Outcome::Cancelled);
    host.stop().await.unwrap();
    let said = SAID.lock().clone();
    let texts = |said: &crate::Said| {
        let around = said.around.iter().flat_map(|(_, fields)| fields);
        around.chain(&said.fields).map(|(_, value)| value.clone()).collect::<Vec<_>>().join(" ")
    };
    let quotes = said.iter().find(|said| texts(said).contains(SECRET));
    assert!(quotes.is_none(), "{quotes:?}");
    // That these are the lines of all of it, is seen by what may be logged.
    let own = said.iter().filter(|said| texts(said).contains(OWN_TEXT)).count();
    assert!(own >= 5, "{own}");
}
