//! A query tells where an instance stands, and why it waits.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Notify;
use wfe::{
    Result, WfeError, WorkflowHost,
    clock::Clock,
    definition::{Activity, Definition, Event, Every, OnFailure, Retry, WorkflowBuilder, WorkflowName, task},
    status::{Blocked, InstanceStatus, State, Waits},
    steps::{Next, StepError},
    traits::{Control, Cursor, Ending, ErrorRecord, Page, PersistenceProvider},
};
use wfe_testkit::{Layer, Layered};

use crate::support::{
    Count, Store, Tally, Timed, completed, in_time, keep_thread, nothing, on_every_store, started, until,
};

const HOUR: Duration = Duration::from_hours(1);

fn builder() -> WorkflowBuilder<Tally> {
    WorkflowBuilder::new("w", 1)
}

fn in_an_hour(place: &Timed) -> DateTime<Utc> {
    place.clock.now() + TimeDelta::hours(1)
}

/// Starts the definition and waits until its only place, and nothing else of it, is at rest.
async fn at_rest(place: &Timed, definition: &Definition<Tally>) -> (WorkflowHost, String, Waits) {
    let host = place.host(&[definition]).await;
    let id = host.start_workflow("w", &Tally::default()).await.unwrap();
    let mut waits = None;
    until(async || {
        let status = host.status(&id).await.unwrap();
        waits = status.positions.first().map(|position| position.waits.clone());
        // A body waits for its slot until the program's runtime starts it.
        !matches!(waits, Some(Waits::Running { .. } | Waits::Due | Waits::Slot) | None)
    })
    .await;
    (host, id, waits.unwrap())
}

fn only(status: &InstanceStatus) -> &Waits {
    assert_eq!(status.positions.len(), 1, "{status:?}");
    &status.positions[0].waits
}

/// A step that runs a second time an hour later, until it is let go: because it failed, or because it asked for that.
fn twice(fails: bool, runs: &Count, go: &Arc<Notify>) -> Definition<Tally> {
    let (runs, go) = (runs.clone(), go.clone());
    WorkflowBuilder::<Tally>::new("twice", 1)
        .then("t", async move |_, _| match runs.up() {
            1 if fails => Err(StepError::retryable("no")),
            1 => Ok(Next::sleep(HOUR)),
            _ => {
                go.notified().await;
                Ok(Next::Done)
            }
        })
        .retry(Retry::every(HOUR).attempts(2))
        .build()
        .unwrap()
}

/// A store that does not give all failures of an instance.
struct Few(Arc<dyn PersistenceProvider>);

#[async_trait]
impl Layer for Few {
    fn inner(&self) -> &Arc<dyn PersistenceProvider> {
        &self.0
    }

    async fn failures(&self, _: &str, _: Option<Cursor>, _: usize) -> Result<Page<ErrorRecord>> {
        Err(WfeError::Busy { message: "all failures were asked for".to_owned(), source: None })
    }
}

in_time! {
    async fn of_a_body_that_runs_after_a_pause_it_tells_that_and_not_the_pause(place: Timed) {
        for fails in [true, false] {
            let (runs, go) = (Count::default(), Arc::new(Notify::new()));
            let twice = twice(fails, &runs, &go);
            let hold = go.clone();
            let holds = builder()
                .then("h", async move |_, _| {
                    hold.notified().await;
                    Ok(())
                })
                .build()
                .unwrap();
            let host = started(place.builder().await.concurrent_steps(1).build(), &[&twice, &holds]).await;
            let id = host.start_workflow("twice", &Tally::default()).await.unwrap();
            let at = in_an_hour(&place);
            until(async || matches!(
                *only(&host.status(&id).await.unwrap()),
                Waits::Retry { at: when, .. } | Waits::Timer { until: when } if when == at
            )).await;
            place.clock.wait_for(|deadlines| deadlines.contains(&at)).await;
            let holds = host.start_workflow("w", &Tally::default()).await.unwrap();
            until(async || matches!(only(&host.status(&holds).await.unwrap()), Waits::Running { since: Some(_) })).await;
            place.clock.set(at);
            until(async || *only(&host.status(&id).await.unwrap()) == Waits::Slot).await;
            go.notify_one();
            until(async || *only(&host.status(&id).await.unwrap()) == Waits::Running { since: Some(at) }).await;
            // Another host knows that it runs.
            let other = place.builder().await.build();
            assert_eq!(*only(&other.status(&id).await.unwrap()), Waits::Running { since: None });
            go.notify_one();
            completed(&host, &id).await;
            host.stop().await.unwrap();
        }
    }

    async fn of_a_pause_that_is_over_while_no_host_is_there_it_tells_that_it_is_due(place: Timed) {
        let twice = twice(true, &Count::default(), &Arc::new(Notify::new()));
        let host = place.host(&[&twice]).await;
        let id = host.start_workflow("twice", &Tally::default()).await.unwrap();
        until(async || matches!(only(&host.status(&id).await.unwrap()), Waits::Retry { .. })).await;
        host.stop().await.unwrap();
        let client = place.builder().await.build();
        place.clock.advance(HOUR);
        assert_eq!(*only(&client.status(&id).await.unwrap()), Waits::Due);
    }

    async fn of_a_pause_after_an_attempt_that_took_too_long_it_tells_that_while_the_body_goes_on(place: Timed) {
        let open = Arc::new(AtomicBool::new(false));
        let is_open = open.clone();
        let runs = Count::default();
        let count = runs.clone();
        let slow = builder()
            .blocking("s", move |_, _| {
                count.up();
                keep_thread(|| is_open.load(SeqCst));
                Ok(())
            })
            .timeout(HOUR)
            .retry(Retry::every(HOUR).attempts(2))
            .build()
            .unwrap();
        let host = place.host(&[&slow]).await;
        let id = host.start_workflow("w", &Tally::default()).await.unwrap();
        until(async || runs.get() == 1).await;
        let limit = in_an_hour(&place);
        place.clock.wait_for(|deadlines| deadlines.contains(&limit)).await;
        place.clock.set(limit);
        let at = in_an_hour(&place);
        until(async || matches!(
            *only(&host.status(&id).await.unwrap()),
            Waits::Retry { at: when, attempt: 2, .. } if when == at
        )).await;
        open.store(true, SeqCst);
    }

    async fn of_a_delay_and_of_a_pause_that_a_body_asked_for_it_tells_the_time(place: Timed) {
        let (.., waits) = at_rest(&place, &builder().delay("d", |_| HOUR).build().unwrap()).await;
        assert_eq!(waits, Waits::Timer { until: in_an_hour(&place) });
        let pause = WorkflowBuilder::<Tally>::new("p", 1)
            .then("p", async |_, _| Ok(Next::sleep(HOUR)))
            .build()
            .unwrap();
        let host = place.host(&[&pause]).await;
        let id = host.start_workflow("p", &Tally::default()).await.unwrap();
        until(async || *only(&host.status(&id).await.unwrap()) == Waits::Timer { until: in_an_hour(&place) }).await;
    }

    async fn of_a_failed_step_it_tells_when_it_is_tried_again_and_for_which_time(place: Timed) {
        let fails = builder()
            .then("f", async |_, _| Err::<(), _>(StepError::retryable("no")))
            .retry(Retry::exponential().attempts(4).initial(HOUR).jitter(0.0))
            .build()
            .unwrap();
        let (host, id, waits) = at_rest(&place, &fails).await;
        // The longest pause of five minutes is shorter.
        let at = place.clock.now() + TimeDelta::minutes(5);
        let Waits::Retry { at: when, attempt: 2, last_failure: Some(last) } = waits else { panic!("{waits:?}") };
        assert_eq!((when, &*last.error.message, last.attempt), (at, "no", 1));
        place.clock.set(at);
        until(async || matches!(only(&host.status(&id).await.unwrap()), Waits::Retry { attempt: 3, .. })).await;
        let failures = host.failures(&id).all().await.unwrap();
        assert_eq!(failures.iter().map(|failure| failure.attempt).collect::<Vec<_>>(), [1, 2]);
        let Waits::Retry { last_failure: Some(last), .. } = only(&host.status(&id).await.unwrap()).clone() else { panic!() };
        assert_eq!(*last, failures[1]);
        assert!(host.failures("it's \0 none").all().await.unwrap().is_empty());
    }

    async fn of_a_saga_that_is_undone_it_tells_which_failure_it_is_tried_again_for(place: Timed) {
        let saga = builder()
            .saga("s", |all| {
                all.step("a", nothing())
                    .compensate_with(|undo| {
                        undo.then("u", async |_, _| Err::<(), _>(StepError::retryable("not undone")))
                    })
                    .then("f", async |_, _| Err::<(), _>(StepError::retryable("no")))
            })
            .retry(Retry::exponential().attempts(4).initial(HOUR / 60).jitter(0.0))
            .build()
            .unwrap();
        let (host, id, waits) = at_rest(&place, &saga).await;
        let Waits::Retry { attempt: 2, last_failure: Some(last), .. } = waits else { panic!("{waits:?}") };
        assert_eq!((&*last.step, &*last.error.message), ("f", "no"), "not that of a compensation");
        assert_eq!(host.failures(&id).all().await.unwrap()[0], *last);
    }

    async fn of_one_that_is_asked_for_something_it_tells_what_and_of_a_cancelled_one_that_it_is_undone(place: Timed) {
        let saga = builder()
            .saga("s", |all| {
                all.step("a", nothing())
                    .compensate_with(|undo| undo.delay("u", |_| HOUR))
                    .delay("d", |_| HOUR)
            })
            .build()
            .unwrap();
        let (host, id, _) = at_rest(&place, &saga).await;
        let quiet = host.status(&id).await.unwrap();
        assert_eq!((quiet.request, quiet.closing), (None, None));
        host.cancel(&id).await.unwrap();
        until(async || host.status(&id).await.unwrap().closing == Some(Ending::Cancelled)).await;
        let status = host.status(&id).await.unwrap();
        assert_eq!((status.state, status.request), (State::Running, None));
        host.stop().await.unwrap();
        // Nobody is there who could take it up.
        let client = place.builder().await.build();
        client.terminate(&id).await.unwrap();
        let request = client.status(&id).await.unwrap().request;
        assert_eq!(request.map(|request| request.control), Some(Control::Terminate));
        let host = place.host(&[&saga]).await;
        until(async || host.status(&id).await.unwrap().state == State::Terminated).await;
        let ended = host.status(&id).await.unwrap();
        assert_eq!((ended.request, ended.closing), (None, None));
    }

    async fn it_reads_no_other_failure_than_the_last_of_each_place(place: Timed) {
        let fails = |pause| {
            task::<Tally>()
                .call(|ctx, _| {
                    Err::<(), _>(StepError::retryable(format!("{} {}", ctx.step_id(), ctx.attempt())))
                })
                .retry(Retry::every(pause))
        };
        let both = builder()
            .parallel("both", |both| {
                both.branch(|b| b.step("quick", fails(HOUR / 60)))
                    .branch(|b| b.step("slow", fails(HOUR / 12)))
            })
            .build()
            .unwrap();
        let host = WorkflowHost::builder_shared(Arc::new(Layered(Few(place.provider().await))));
        let host = started(host.clock(place.clock.clone()).poll_interval(100_000 * HOUR).build(), &[&both]).await;
        let id = host.start_workflow("w", &Tally::default()).await.unwrap();
        host.idle().await.unwrap();
        place.clock.advance(HOUR / 60);
        host.idle().await.unwrap();
        let status = host.status(&id).await.unwrap();
        let last: Vec<_> = status.positions.iter().map(|position| match &position.waits {
            Waits::Retry { last_failure: Some(last), .. } => &*last.error.message,
            other => panic!("{other:?}"),
        }).collect();
        assert_eq!(last, ["quick 2", "slow 1"]);
    }

    async fn of_a_wait_it_tells_the_event_and_the_time_limit(place: Timed) {
        let pay = builder()
            .wait_for("pay", Event::<()>::new("paid"), |_| "o'\"1")
            .fail_after(|_| HOUR)
            .build()
            .unwrap();
        let (.., waits) = at_rest(&place, &pay).await;
        let (name, key, until) = ("paid".to_owned(), "o'\"1".to_owned(), Some(in_an_hour(&place)));
        assert_eq!(waits, Waits::Event { name, key, until });
    }

    async fn of_external_tasks_it_tells_what_is_requested_of_whom_and_who_has_it(place: Timed) {
        let resize = builder().activity("thumb", Activity::<_, ()>::new("resize"), |_| 7).build().unwrap();
        let (host, id, waits) = at_rest(&place, &resize).await;
        let Waits::Activity { name, id: wait, held: None, until: None } = waits else { panic!("{waits:?}") };
        assert_eq!(name, "resize");
        let expiry = in_an_hour(&place);
        let provider = place.provider().await;
        assert!(provider.set_subscription_token(&wait, "t", "anna", expiry).await.unwrap());
        let status = host.status(&id).await.unwrap();
        let Waits::Activity { held: Some(held), .. } = only(&status) else { panic!("{status:?}") };
        assert_eq!((held.worker.as_deref(), held.until), (Some("anna"), Some(expiry)));

        let asks = WorkflowBuilder::<Tally>::new("asks", 1)
            .user_task("ask", |_| "May he?")
            .assignee(|_| "boss")
            .plain_option("yes")
            .build()
            .unwrap();
        let host = place.host(&[&asks]).await;
        let id = host.start_workflow("asks", &Tally::default()).await.unwrap();
        until(async || {
            let status = host.status(&id).await.unwrap();
            matches!(only(&status), Waits::UserTask { task: Some(task), held: None, .. }
                if task.prompt == "May he?" && task.assignee.as_deref() == Some("boss") && task.options == ["yes"])
        }).await;
    }

    /// A worker's token stays with its wait until a host has taken the answer.
    async fn of_an_activity_that_was_answered_it_tells_that_it_is_due_and_not_who_has_it(place: Timed) {
        let resize = builder().activity("thumb", Activity::<_, ()>::new("resize"), |_| 7).build().unwrap();
        let (host, id, _) = at_rest(&place, &resize).await;
        host.stop().await.unwrap();
        let client = place.builder().await.build();
        let claim = client.activities().claim_by_name("resize", "anna", HOUR).await.unwrap().unwrap();
        assert!(matches!(only(&client.status(&id).await.unwrap()), Waits::Activity { held: Some(_), .. }));
        claim.succeed(&()).await.unwrap();
        assert_eq!(*only(&client.status(&id).await.unwrap()), Waits::Due);
        assert!(client.activities().open("resize", None, 1).await.unwrap().rows.is_empty());
    }

    async fn of_a_parent_it_tells_the_child_and_of_the_child_the_parent(place: Timed) {
        let name = WorkflowName::<Tally>::new("part");
        let part = name.define(1).delay("d", |_| HOUR).build().unwrap();
        let whole = builder().sub_workflow("sub", name, |_| Tally::default()).build().unwrap();
        let host = place.host(&[&part, &whole]).await;
        let id = host.start_workflow("w", &Tally::default()).await.unwrap();
        let mut child = String::new();
        until(async || {
            let status = host.status(&id).await.unwrap();
            let Waits::Child { id, until: None } = only(&status) else { return false };
            child.clone_from(id);
            true
        }).await;
        until(async || host.status(&child).await.is_ok_and(|status| {
            // Before it begins it stands nowhere.
            status.positions.first().is_some_and(|position| matches!(position.waits, Waits::Timer { .. }))
        })).await;
        assert_eq!(host.status(&child).await.unwrap().parent, Some(id));
    }

    async fn of_a_recurring_branch_it_tells_the_next_tick(place: Timed) {
        let recurs = builder()
            .recur("tick", Every::interval(HOUR), |_| false, |tick| tick.step("t", nothing()))
            .wait_for("wait", Event::<()>::new("e"), |_| "k")
            .build()
            .unwrap();
        let host = place.host(&[&recurs]).await;
        let id = host.start_workflow("w", &Tally::default()).await.unwrap();
        until(async || {
            let status = host.status(&id).await.unwrap();
            let waits: Vec<_> = status.positions.iter().map(|position| &position.waits).collect();
            matches!(waits[..], [Waits::Tick { next }, Waits::Event { .. }] if *next == in_an_hour(&place))
        }).await;
    }

    async fn of_running_bodies_it_tells_since_when_and_of_others_that_they_wait_for_a_place(place: Timed) {
        let gate = Arc::new(Notify::new());
        let held = || {
            let gate = gate.clone();
            task::<Tally>().then(async move |_, _| {
                gate.notified().await;
                Ok(())
            })
        };
        let definition = builder()
            .parallel("both", |both| both.branch(|b| b.step("one", held())).branch(|b| b.step("two", held())))
            .build()
            .unwrap();
        let host = started(place.builder().await.concurrent_steps(1).build(), &[&definition]).await;
        let since = place.clock.now();
        let id = host.start_workflow("w", &Tally::default()).await.unwrap();
        until(async || {
            let status = host.status(&id).await.unwrap();
            let waits: Vec<_> = status.positions.into_iter().map(|position| position.waits).collect();
            waits == [Waits::Running { since: Some(since) }, Waits::Slot]
        }).await;
        // Another host does not know so much, but that it runs.
        let other = place.builder().await.build();
        let waits = other.status(&id).await.unwrap().positions.into_iter().map(|position| position.waits);
        assert_eq!(waits.collect::<Vec<_>>(), [Waits::Running { since: None }, Waits::Running { since: None }]);
        gate.notify_one();
        until(async || matches!(host.status(&id).await.unwrap().positions.as_slice(), [one] if one.step == "two")).await;
        gate.notify_one();
        completed(&host, &id).await;
    }
}

on_every_store! {
    async fn of_what_stands_still_it_tells_why(store: Store) {
        let definition = WorkflowBuilder::<Tally>::new("w", 3)
            .then("f", async |_, _| {
                Err::<(), _>(StepError::fatal(std::io::Error::other("the disk is gone")).with_code("disk"))
            })
            .on_failure(OnFailure::Suspend)
            .build()
            .unwrap();
        let client = store.builder().await.build();
        client.register(definition.clone()).unwrap();
        let id = client.start_workflow("w", &Tally::default()).await.unwrap();
        let status = client.status(&id).await.unwrap();
        assert_eq!((status.blocked.as_ref(), only(&status)), (None, &Waits::Due));
        let host = store.host(&[]).await;
        let missing = Blocked::DefinitionMissing { id: "w".to_owned(), version: 3 };
        assert_eq!(host.status(&id).await.unwrap().blocked, Some(missing));
        host.register(definition).unwrap();
        until(async || host.status(&id).await.unwrap().state == State::Suspended).await;
        let status = host.status(&id).await.unwrap();
        let Some(Blocked::Suspended(Some(cause))) = &status.blocked else { panic!("{status:?}") };
        assert_eq!((&*cause.code, &*cause.step, cause.attempt), ("disk", "f", 1));
        assert_eq!(*only(&status), Waits::Resume);
        host.terminate(&id).await.unwrap();
        until(async || host.status(&id).await.unwrap().state == State::Terminated).await;
        let status = host.status(&id).await.unwrap();
        assert_eq!((status.blocked, status.positions.len()), (None, 0));
    }

    async fn data_is_typed_and_what_is_none_of_that_type_is_an_error(store: Store) {
        let definition = builder()
            .then("a", async |ctx, _| {
                ctx.cancellation().cancelled().await;
                Ok(())
            })
            .build()
            .unwrap();
        let host = store.host(&[&definition]).await;
        let id = host.start_workflow("w", &Tally::of([3])).await.unwrap();
        assert_eq!(host.data::<Tally>(&id).await.unwrap(), Tally::of([3]));
        assert!(matches!(host.data::<Vec<u8>>(&id).await, Err(WfeError::Serialization(_))));
        assert!(matches!(host.data::<Tally>("it's \0 none").await, Err(WfeError::WorkflowNotFound(_))));
        assert!(matches!(host.status("it's \0 none").await, Err(WfeError::WorkflowNotFound(_))));
        host.terminate(&id).await.unwrap();
    }
}
