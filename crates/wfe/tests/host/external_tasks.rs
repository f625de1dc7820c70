//! Workers and people outside of the workflows.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::TimeDelta;
use serde_json::json;
use tokio::sync::Notify;
use wfe::{
    Outcome, WfeError, WorkflowHost,
    clock::Clock,
    definition::{Activity, Definition, Retry, WorkflowBuilder, task},
    external_tasks::{ActivityClaim, OpenTask},
    host::Lifecycle,
    status::State,
    steps::{Next, StepError, UserAnswer},
};

use crate::support::{Count, Store, Tally, Timed, completed, ended, in_time, until};

pub const LEASE: Duration = Duration::from_mins(1);
pub const DOUBLE: Activity<u32, u32> = Activity::new("double");

pub fn doubling() -> Definition<Tally> {
    WorkflowBuilder::<Tally>::new("double", 1)
        .activity("ask", DOUBLE, |tally| tally.sum)
        .output(|n, tally| tally.sum = n)
        .build()
        .unwrap()
}

type Keys = Arc<Mutex<Vec<String>>>;

/// A saga in a saga, all of whose steps, and what undoes them, let a worker do something. It always fails, twice.
fn buying(keys: &Keys) -> Definition<Tally> {
    let asks = || {
        let keys = keys.clone();
        task::<Tally>().call(move |ctx, _| {
            if ctx.event::<u32>()?.is_some() {
                return Ok(Next::Done);
            }
            keys.lock().unwrap().push(ctx.idempotency_key());
            Next::wait_for_activity(Activity::<i32, i32>::new("double"), &0)
        })
    };
    WorkflowBuilder::<Tally>::new("buy", 1)
        .saga("saga", |outer| {
            outer.saga("inner", |inner| {
                inner
                    .step("a", asks())
                    .compensate_with(|undo| undo.step("un-a", asks()).activity("tell", DOUBLE, |_| 0))
                    .step("b", asks())
                    .compensate_with(|undo| undo.step("un-b", asks()))
                    .call("c", |_, _| Err::<(), _>(StepError::retryable("sold out")))
            })
        })
        .retry(Retry::every(Duration::ZERO).attempts(2))
        .build()
        .unwrap()
}

pub async fn start(host: &WorkflowHost, definition: &str, sum: u32) -> String {
    host.start_workflow(definition, &Tally { numbers: vec![], sum }).await.unwrap()
}

/// The next activity, once it is there.
pub async fn claim(host: &WorkflowHost, worker: &str) -> ActivityClaim {
    let mut claim = None;
    until(async || {
        claim = host.activities().claim_by_name("double", worker, LEASE).await.unwrap();
        claim.is_some()
    })
    .await;
    claim.unwrap()
}

#[allow(clippy::needless_pass_by_value, reason = "it reads better at its callers")]
pub fn is_refused<T: std::fmt::Debug>(answer: Result<T, WfeError>, code: &str) {
    assert!(matches!(&answer, Err(error) if error.code() == code), "{answer:?} instead of {code}");
}

/// Counts when it is dropped.
pub struct Gone(pub Count);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.up();
    }
}

async fn tasks(host: &WorkflowHost, assignee: Option<&str>, count: usize) -> Vec<OpenTask> {
    let mut open = Vec::new();
    until(async || {
        open = host.user_tasks().open(assignee, None, 100).await.unwrap().rows;
        open.len() == count
    })
    .await;
    open
}

fn answer(option: &str) -> UserAnswer {
    UserAnswer::new(option).by("bo").data(json!({"why": "\0'"}))
}

fn deciding() -> Definition<Tally> {
    WorkflowBuilder::<Tally>::new("decide", 1)
        .user_task("ask", |tally| format!("{}?", tally.sum))
        .assignee(|tally| if tally.sum < 3 { "anna" } else { "bo" })
        .option("yes", |yes| yes.change("grant", |tally| tally.sum += 10))
        .plain_option("no")
        .build()
        .unwrap()
}

in_time! {
    async fn an_activity_is_claimed_once_and_its_result_reaches_the_instance(place: Timed) {
        let host = place.host(&[&doubling()]).await;
        let id = start(&host, "double", 4).await;
        let claimed = claim(&host, "anna").await;
        assert_eq!((claimed.input::<u32>().unwrap(), &*claimed.activity().step), (4, "ask"));
        assert_eq!((&*claimed.activity().instance_id, claimed.idempotency_key()), (&*id, format!("{id}/ask")));
        assert_eq!(claimed.expiry(), place.clock.now() + LEASE);
        assert!(matches!(claimed.input::<String>(), Err(WfeError::Serialization(_))));
        assert!(host.activities().claim_by_name("double", "bo", LEASE).await.unwrap().is_none());
        assert!(host.activities().claim_by_name("other", "bo", LEASE).await.unwrap().is_none());
        let open = host.activities().open("double", None, 10).await.unwrap().rows;
        let held = open[0].held.clone().unwrap();
        assert_eq!((open.len(), held.worker.as_deref()), (1, Some("anna")));
        claimed.succeed(&8).await.unwrap();
        claimed.succeed(&8).await.unwrap();
        is_refused(claimed.succeed(&9).await, "task-completed");
        is_refused(claimed.fail(&StepError::fatal("after all not")).await, "task-completed");
        assert_eq!(completed(&host, &id).await.sum, 8);
        assert!(host.activities().open("double", None, 10).await.unwrap().rows.is_empty());
    }

    async fn a_worker_is_told_the_idempotency_key_that_the_step_sees(place: Timed) {
        let keys = Keys::default();
        let host = place.host(&[&buying(&keys)]).await;
        let id = start(&host, "buy", 0).await;
        let mut told = Vec::new();
        for _ in 0..10 {
            let claimed = claim(&host, "w").await;
            let open = host.activities().open("double", None, 10).await.unwrap().rows;
            assert_eq!(claimed.idempotency_key(), open[0].idempotency_key);
            told.push(claimed.idempotency_key());
            claimed.succeed(&0).await.unwrap();
        }
        completed(&host, &id).await;
        let at = |path: &str| format!("{id}/{path}");
        // The outer saga has two rounds, in each of which the inner one does two steps and both are undone.
        let all = ["saga/1/inner/1/a", "saga/1/inner/1/b", "saga/undo1/un-b", "saga/undo0/un-a", "saga/undo0/tell",
            "saga/2/inner/1/a", "saga/2/inner/1/b", "saga/undo3/un-b", "saga/undo2/un-a", "saga/undo2/tell"].map(at);
        assert_eq!(told, all);
        told.retain(|key| !key.ends_with("/tell"));
        assert_eq!(told, *keys.lock().unwrap());
    }

    async fn a_page_of_one_assignee_s_tasks_is_full_however_many_of_others_lie_between(place: Timed) {
        const ALL: u32 = 300;
        let is_bo_s = |n: u32| n == 0 || n >= ALL - 3;
        let asks = WorkflowBuilder::<Tally>::new("ask", 1)
            .for_each("each", |_| (0..ALL).collect(), |one| {
                one.user_task("ask", |_, n| n.to_string())
                    .assignee(move |_, n| if is_bo_s(*n) { "bo" } else { "anna" })
                    .plain_option("yes")
            })
            .all_at_once()
            .build()
            .unwrap();
        let host = place.host(&[&asks]).await;
        start(&host, "ask", 0).await;
        host.idle().await.unwrap();
        let pages = async |assignee: Option<&str>, limit: usize| {
            let (mut all, mut sizes, mut after) = (Vec::new(), Vec::new(), None);
            loop {
                let page = host.user_tasks().open(assignee, after, limit).await.unwrap();
                sizes.push(page.rows.len());
                all.extend(page.rows.into_iter().map(|open| open.task.prompt.parse::<u32>().unwrap()));
                after = page.next;
                if after.is_none() {
                    return (all, sizes);
                }
            }
        };
        for limit in [1, 2, 3, 100, 256, 299, 1000] {
            for (assignee, expected) in [
                (Some("bo"), (0..ALL).filter(|n| is_bo_s(*n)).collect()),
                (Some("anna"), (0..ALL).filter(|n| !is_bo_s(*n)).collect()),
                (Some("nobody"), Vec::new()),
                (None, (0..ALL).collect::<Vec<_>>()),
            ] {
                let (all, sizes) = pages(assignee, limit).await;
                assert_eq!(all, expected, "{assignee:?} in pages of {limit}");
                let (_, full) = sizes.split_last().unwrap();
                assert!(full.iter().all(|size| *size == limit), "{assignee:?} in pages of {limit}: {sizes:?}");
            }
        }
        assert_eq!(host.user_tasks().open(Some("bo"), None, 0).await.unwrap().rows, []);
    }

    async fn open_activities_come_in_pages_oldest_first(place: Timed) {
        let host = place.host(&[&doubling()]).await;
        for n in 0..5 {
            start(&host, "double", n).await;
            until(async || {
                host.activities().open("double", None, 10).await.unwrap().rows.len() == n as usize + 1
            }).await;
        }
        let (mut inputs, mut after) = (Vec::new(), None);
        loop {
            let page = host.activities().open("double", after, 2).await.unwrap();
            inputs.extend(page.rows.iter().map(|open| open.input.as_u64().unwrap()));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(inputs, [0, 1, 2, 3, 4]);
    }

    async fn a_claim_that_ran_out_goes_to_the_next_worker_and_its_late_answer_is_refused(place: Timed) {
        let host = place.host(&[&doubling()]).await;
        let id = start(&host, "double", 4).await;
        let mut late = claim(&host, "late").await;
        place.clock.advance(LEASE / 2);
        late.heartbeat().await.unwrap();
        place.clock.advance(LEASE / 2);
        assert!(host.activities().claim_by_name("double", "next", LEASE).await.unwrap().is_none(), "its heartbeat counts");
        place.clock.advance(LEASE / 2);
        is_refused(late.succeed(&1).await, "lease-expired");
        let next = claim(&host, "next").await;
        is_refused(late.heartbeat().await, "lease-expired");
        is_refused(late.succeed(&2).await, "lease-expired");
        is_refused(late.fail(&StepError::fatal("no")).await, "lease-expired");
        is_refused(late.release().await, "lease-expired");
        next.succeed(&8).await.unwrap();
        assert_eq!(completed(&host, &id).await.sum, 8);
    }

    async fn a_heartbeat_after_the_lease_ran_out_keeps_the_claim_if_nobody_else_has_it(place: Timed) {
        let host = place.host(&[&doubling()]).await;
        let id = start(&host, "double", 4).await;
        let mut late = claim(&host, "late").await;
        place.clock.advance(2 * LEASE);
        is_refused(late.succeed(&1).await, "lease-expired");
        late.heartbeat().await.unwrap();
        assert_eq!(late.expiry(), place.clock.now() + LEASE);
        assert!(host.activities().claim_by_name("double", "next", LEASE).await.unwrap().is_none());
        late.succeed(&8).await.unwrap();
        assert_eq!(completed(&host, &id).await.sum, 8);
    }

    async fn an_answer_that_was_accepted_is_taken_also_when_the_limit_has_passed(place: Timed) {
        let definition = WorkflowBuilder::<Tally>::new("double", 1)
            .activity("ask", DOUBLE, |tally| tally.sum)
            .output(|n, tally| tally.sum = n)
            .fail_after(|_| LEASE / 2)
            .build()
            .unwrap();
        for is_suspended in [true, false] {
            let host = place.host(&[&definition]).await;
            let id = start(&host, "double", 4).await;
            let claimed = claim(&host, "w").await;
            if is_suspended {
                host.suspend(&id).await.unwrap();
                until(async || host.status(&id).await.unwrap().state == State::Suspended).await;
            } else {
                // Nobody is there when the limit passes.
                host.stop().await.unwrap();
            }
            place.clock.advance(LEASE * 3 / 4);
            claimed.succeed(&8).await.unwrap();
            let host = if is_suspended { host } else { place.host(&[&definition]).await };
            if is_suspended {
                host.resume(&id).await.unwrap();
            }
            assert_eq!(completed(&host, &id).await.sum, 8, "suspended: {is_suspended}");
            host.stop().await.unwrap();
        }
    }

    async fn an_answer_that_comes_when_the_limit_has_taken_effect_is_refused(place: Timed) {
        let definition = WorkflowBuilder::<Tally>::new("double", 1)
            .activity("ask", DOUBLE, |tally| tally.sum)
            .on_timeout(|_| LEASE / 2, |late| late.change("late", |tally| tally.sum = 9))
            .build()
            .unwrap();
        let host = place.host(&[&definition]).await;
        let id = start(&host, "double", 4).await;
        let claimed = claim(&host, "w").await;
        let limit = place.clock.now() + LEASE / 2;
        place.clock.wait_for(|deadlines| deadlines.contains(&limit)).await;
        place.clock.set(limit);
        assert_eq!(completed(&host, &id).await.sum, 9);
        is_refused(claimed.succeed(&8).await, "task-cancelled");
    }

    async fn an_activity_that_is_given_back_goes_to_the_next_worker_at_once(place: Timed) {
        let host = place.host(&[&doubling()]).await;
        let id = start(&host, "double", 4).await;
        claim(&host, "anna").await.release().await.unwrap();
        let next = host.activities().claim_by_name("double", "bo", LEASE).await.unwrap().unwrap();
        next.succeed(&8).await.unwrap();
        assert_eq!(completed(&host, &id).await.sum, 8);
    }

    async fn a_worker_s_failure_is_the_step_s_and_a_retryable_one_is_offered_again(place: Timed) {
        let definition = WorkflowBuilder::<Tally>::new("double", 1)
            .activity("ask", DOUBLE, |tally| tally.sum)
            .retry(Retry::every(Duration::ZERO).attempts(6))
            .build()
            .unwrap();
        let host = place.host(&[&definition]).await;
        let id = start(&host, "double", 4).await;
        let disk = std::io::Error::other(WfeError::Cancelled);
        let first = claim(&host, "anna").await;
        first.fail(&StepError::retryable(disk).with_code("disk")).await.unwrap();
        let second = claim(&host, "anna").await;
        assert_eq!(second.idempotency_key(), first.idempotency_key());
        assert_ne!(second.activity().id, first.activity().id);
        second.fail(&StepError::fatal("no \0 way").with_code("never")).await.unwrap();
        let Outcome::Failed(failure) = ended(&host, &id).await else { panic!() };
        assert_eq!((&*failure.code, failure.attempt, &*failure.causes), ("never", 2, &["no \0 way".to_owned()][..]));
    }

    async fn nobody_can_do_what_an_instance_does_not_wait_for_any_more(place: Timed) {
        let host = place.host(&[&doubling()]).await;
        let id = start(&host, "double", 4).await;
        let mut claimed = claim(&host, "anna").await;
        host.terminate(&id).await.unwrap();
        assert_eq!(ended(&host, &id).await, Outcome::Terminated);
        is_refused(claimed.heartbeat().await, "task-cancelled");
        is_refused(claimed.succeed(&8).await, "task-cancelled");
        assert!(host.activities().claim_by_name("double", "bo", LEASE).await.unwrap().is_none());
    }

    async fn a_worker_does_what_comes_and_hears_of_it_by_itself(place: Timed) {
        let host = place.host(&[&doubling()]).await;
        let client = host.clone();
        let early = start(&host, "double", 1).await;
        let worker = host.activities().worker(DOUBLE, "w").concurrent(2);
        let work = tokio::spawn(worker.run(async |n, ctx| {
            assert_eq!(ctx.activity().step, "ask");
            assert_ne!(n, 13, "unlucky");
            if n == 14 { Err(StepError::fatal("refused").with_code("refused")) } else { Ok(2 * n) }
        }));
        assert_eq!(completed(&client, &early).await.sum, 2);
        let mut ids = Vec::new();
        for n in 2..12 {
            ids.push(start(&host, "double", n).await);
        }
        for (id, n) in ids.iter().zip(2..) {
            assert_eq!(completed(&host, id).await.sum, 2 * n);
        }
        for (n, code) in [(13, "panic"), (14, "refused")] {
            let id = start(&host, "double", n).await;
            let Outcome::Failed(failure) = ended(&host, &id).await else { panic!() };
            assert_eq!(failure.code, code);
        }
        host.stop().await.unwrap();
        work.await.unwrap().unwrap();
    }

    async fn a_worker_keeps_its_claim_while_it_works_and_stops_when_it_is_lost(place: Timed) {
        let host = place.host(&[&doubling()]).await;
        let (begun, gone, gate) = (Count::default(), Count::default(), Arc::new(Notify::new()));
        let (begins, goes, open) = (begun.clone(), gone.clone(), gate.clone());
        let worker = host.activities().worker(DOUBLE, "w").lease(LEASE);
        let work = tokio::spawn(worker.run(move |n, _| {
            let (gone, gate) = (Gone(goes.clone()), gate.clone());
            begins.up();
            async move {
                gate.notified().await;
                drop(gone);
                Ok(2 * n)
            }
        }));
        let id = start(&host, "double", 4).await;
        until(async || begun.get() == 1).await;
        for _ in 0..6 {
            let beat = place.clock.now() + LEASE / 3;
            place.clock.wait_for(|deadlines| deadlines.contains(&beat)).await;
            place.clock.set(beat);
            // As a pause: the beat waits by the monotonic hand.
            place.clock.advance(LEASE / 3);
            until(async || {
                let open = host.activities().open("double", None, 1).await.unwrap().rows;
                open[0].held.as_ref().unwrap().until.unwrap() > place.clock.now() + LEASE / 2
            }).await;
            assert!(host.activities().claim_by_name("double", "other", LEASE).await.unwrap().is_none());
        }
        open.notify_one();
        assert_eq!(completed(&host, &id).await.sum, 8);
        let id = start(&host, "double", 5).await;
        until(async || begun.get() == 2).await;
        host.terminate(&id).await.unwrap();
        ended(&host, &id).await;
        let before = gone.get();
        until(async || { place.clock.advance(LEASE / 3); gone.get() == before + 1 }).await;
        work.abort();
    }

    async fn a_worker_takes_over_when_the_lease_of_another_runs_out(place: Timed) {
        let host = place.host(&[&doubling()]).await;
        let id = start(&host, "double", 4).await;
        let dead = claim(&host, "dead").await;
        let worker = host.activities().worker(DOUBLE, "w");
        let work = tokio::spawn(worker.run(async |n, _| Ok(2 * n)));
        let expiry = dead.expiry();
        place.clock.wait_for(|deadlines| deadlines.contains(&expiry)).await;
        place.clock.set(expiry);
        assert_eq!(completed(&host, &id).await.sum, 8);
        work.abort();
    }

    async fn a_task_is_listed_by_its_assignee_and_answered_once(place: Timed) {
        let host = place.host(&[&deciding()]).await;
        let (one, two) = (start(&host, "decide", 1).await, start(&host, "decide", 5).await);
        let anna = tasks(&host, Some("anna"), 1).await;
        let bo = tasks(&host, Some("bo"), 1).await;
        tasks(&host, None, 2).await;
        assert_eq!((&*anna[0].task.prompt, &*anna[0].instance_id, &*anna[0].task.step), ("1?", &*one, "ask"));
        assert_eq!(anna[0].task.options, ["yes", "no"]);
        let refused = host.user_tasks().answer(&anna[0].id, &answer("perhaps")).await;
        assert!(matches!(&refused, Err(WfeError::Invalid(why)) if why.contains("perhaps")), "{refused:?}");
        host.user_tasks().answer(&anna[0].id, &answer("yes")).await.unwrap();
        is_refused(host.user_tasks().answer(&anna[0].id, &answer("no")).await, "task-completed");
        assert_eq!(completed(&host, &one).await.sum, 11);
        is_refused(host.user_tasks().answer(&anna[0].id, &answer("no")).await, "task-completed");
        is_refused(host.user_tasks().answer("none '\0", &answer("no")).await, "subscription-not-found");
        host.user_tasks().answer(&bo[0].id, &answer("no")).await.unwrap();
        assert_eq!(completed(&host, &two).await.sum, 5);
        let stored = place.provider().await.get_workflow_instance(&two).await.unwrap();
        assert_eq!(stored.execution_pointers[0].outcome, Some(serde_json::to_value(answer("no")).unwrap()));
        tasks(&host, None, 0).await;
    }

    async fn a_task_that_went_to_somebody_else_is_another_one(place: Timed) {
        let definition = WorkflowBuilder::<Tally>::new("decide", 1)
            .user_task("ask", |_| "well?")
            .assignee(|_| "anna")
            .plain_option("yes")
            .reassign(|_| Duration::from_hours(1), |_| "bo")
            .build()
            .unwrap();
        let host = place.host(&[&definition]).await;
        let id = start(&host, "decide", 1).await;
        let anna = tasks(&host, Some("anna"), 1).await;
        let late = place.clock.now() + TimeDelta::hours(1);
        place.clock.wait_for(|deadlines| deadlines.contains(&late)).await;
        place.clock.set(late);
        let bo = tasks(&host, Some("bo"), 1).await;
        tasks(&host, None, 1).await;
        is_refused(host.user_tasks().answer(&anna[0].id, &answer("yes")).await, "task-cancelled");
        host.user_tasks().answer(&bo[0].id, &answer("yes")).await.unwrap();
        completed(&host, &id).await;
    }

    async fn what_makes_no_sense_is_refused(place: Timed) {
        let host = place.host(&[&doubling()]).await;
        let invalid = |e: WfeError| assert!(matches!(e, WfeError::Invalid(_)), "{e:?}");
        invalid(host.activities().claim_by_name("double", "w", Duration::ZERO).await.unwrap_err());
        invalid(host.activities().claim_by_name("wfe.own", "w", LEASE).await.unwrap_err());
        invalid(host.activities().open("wfe.own", None, 1).await.unwrap_err());
        let own = host.activities().worker(Activity::<(), ()>::new("wfe.own"), "w");
        invalid(own.run(async |(), _| Ok(())).await.unwrap_err());
        let odd = "'; DROP TABLE \0\"☃";
        assert!(host.activities().claim_by_name(odd, odd, LEASE).await.unwrap().is_none());
        start(&host, "double", 4).await;
        let claimed = claim(&host, odd).await;
        invalid(host.user_tasks().answer(&claimed.activity().id, &answer("yes")).await.unwrap_err());
        assert!(matches!(claimed.succeed(&f64::NAN).await, Err(WfeError::Serialization(_))));
        claimed.release().await.unwrap();
        let forever = host.activities().claim_by_name("double", "w", Duration::MAX).await.unwrap().unwrap();
        forever.succeed(&1).await.unwrap();
    }
}

/// Workers in a process of their own, which knows no definition and starts no host.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_in_another_process_hears_of_work_and_the_host_of_its_answer() {
    let store = Store::file();
    let host = store.host(&[&doubling()]).await;
    let client = store.builder().await.build();
    let work = tokio::spawn(client.activities().worker(DOUBLE, "w").run(async |n, _| Ok(2 * n)));
    for n in 0..5 {
        let id = start(&host, "double", n).await;
        assert_eq!(completed(&host, &id).await.sum, 2 * n);
    }
    client.stop().await.unwrap();
    work.await.unwrap().unwrap();
    let mut events = host.lifecycle();
    let id = start(&host, "double", 7).await;
    claim(&client, "by hand").await.succeed(&14).await.unwrap();
    assert_eq!(completed(&host, &id).await.sum, 14);
    let mut told = Vec::new();
    while let Ok(event) = events.try_recv() {
        told.push(event.what);
    }
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(matches!(&told[1], Lifecycle::StepCompleted { step, .. } if step == "ask"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_the_plain_traits_alone_there_are_no_external_tasks() {
    let host = Store::plain().host(&[]).await;
    assert!(matches!(host.activities().claim_by_name("a", "w", LEASE).await, Err(WfeError::Unsupported(_))));
    assert!(matches!(host.user_tasks().open(None, None, 1).await, Err(WfeError::Unsupported(_))));
}
