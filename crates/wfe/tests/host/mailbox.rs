//! What reaches an instance while it is at work, and in which order it is taken up. Nothing is polled here: what is not
//! taken up when it comes is lost.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use wfe::{
    Outcome, WorkflowHost,
    definition::{Definition, Event, Retry, WorkflowBuilder, task},
    status::State,
    steps::StepError,
};

use crate::support::{
    Count, Gate, Tally, Timed, after_releases, before_results, completed, ended, in_time, nothing, started,
    until,
};

const NUMBER: Event<u32> = Event::new("number");

/// Waits for numbers, again and again, until one is 0; between two of them nothing of it is at work.
fn coming_and_going() -> Definition<Tally> {
    WorkflowBuilder::<Tally>::new("w", 1)
        .while_(
            "on",
            |tally| tally.sum == 0,
            |on| {
                on.wait_for("wait", NUMBER, |_| "k")
                    .output(|n, tally| match n {
                        0 => tally.sum = 1,
                        n => tally.numbers.push(n),
                    })
                    .step("then", nothing())
            },
        )
        .build()
        .unwrap()
}

in_time! {
    async fn a_request_takes_effect_however_it_meets_an_instance_that_comes_and_goes(place: Timed) {
        let host = place.host(&[&coming_and_going()]).await;
        let id = host.start_workflow("w", &Tally::default()).await.unwrap();
        for n in 1..=40 {
            host.publish_event("number", "k", &n).await.unwrap();
            // Each time a little later in its work.
            for _ in 0..n {
                tokio::task::yield_now().await;
            }
            host.suspend(&id).await.unwrap();
            until(async || host.status(&id).await.unwrap().state == State::Suspended).await;
            host.resume(&id).await.unwrap();
        }
        host.publish_event("number", "k", &0).await.unwrap();
        assert_eq!(completed(&host, &id).await.numbers, (1..=40).collect::<Vec<_>>());
    }

    async fn a_request_that_comes_while_an_instance_is_given_back_takes_effect(place: Timed) {
        let gate = Gate::default();
        let provider = after_releases(place.provider().await, &gate);
        let builder = WorkflowHost::builder_shared(provider)
            .clock(place.clock.clone())
            .poll_interval(Duration::from_hours(100_000));
        let short = WorkflowBuilder::<Tally>::new("short", 1).step("only", nothing()).build().unwrap();
        // It is given back until its next attempt, and nothing else has the engine look at it.
        let w = WorkflowBuilder::<Tally>::new("w", 1)
            .then("fails", async |_, _| Err::<(), _>(StepError::retryable("again")))
            .retry(Retry::exponential().attempts(2).initial(Duration::from_hours(1)))
            .build()
            .unwrap();
        let host = started(builder.build(), &[&w, &short]).await;
        gate.shut();
        let id = host.start_workflow("w", &Tally::default()).await.unwrap();
        until(async || gate.came.get() == 1).await;
        host.suspend(&id).await.unwrap();
        // Whatever the engine was notified of before is in the mailbox by now.
        let other = host.start_workflow("short", &Tally::default()).await.unwrap();
        completed(&host, &other).await;
        gate.open();
        until(async || host.status(&id).await.unwrap().state == State::Suspended).await;
    }

    async fn an_event_that_waited_for_results_to_be_stored_comes_before_results_that_came_meanwhile(place: Timed) {
        let gate = Gate::default();
        let provider = before_results(place.provider().await, &gate);
        let go: Vec<_> = (0..3).map(|_| Arc::new(tokio::sync::Notify::new())).collect();
        let begun = Arc::<AtomicUsize>::default();
        let three = WorkflowBuilder::<Tally>::new("three", 1).parallel("all", |mut all| {
            for (n, go) in go.iter().enumerate() {
                let (go, begun) = (go.clone(), begun.clone());
                all = all.branch(|branch| {
                    branch.then(format!("step {n}"), async move |_, _| {
                        begun.fetch_add(1, Ordering::Relaxed);
                        go.notified().await;
                        Ok(())
                    })
                });
            }
            all.branch(|branch| branch.wait_for("wait", NUMBER, |_| "k").output(|n, tally| tally.sum = n))
        });
        let builder = WorkflowHost::builder_shared(provider)
            .clock(place.clock.clone())
            .poll_interval(Duration::from_hours(100_000));
        let host = started(builder.build(), &[&three.build().unwrap()]).await;
        let id = host.start_workflow("three", &Tally::default()).await.unwrap();
        // Ends a body, whose task ends when its result is in the mailbox.
        let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        // The number of tasks once it no longer changes: a call of the store may leave a task that is about to end.
        let settled = async || {
            let (mut last, mut same) = (tasks(), 0);
            while same < 1_000 {
                tokio::task::yield_now().await;
                let now = tasks();
                (last, same) = (now, if now == last { same + 1 } else { 0 });
            }
            last
        };
        let end_body = async |n: usize| {
            let before = settled().await;
            go[n].notify_one();
            until(async || tasks() < before).await;
        };
        until(async || host.status(&id).await.unwrap().current_steps.len() == 4).await;
        until(async || begun.load(Ordering::Relaxed) == 3).await;
        gate.shut();
        end_body(0).await;
        until(async || gate.came.get() == 1).await;
        host.publish_event("number", "k", &7).await.unwrap();
        // In each pass, the engine mails those at work, and then claims others. A pass that began before the event was stored
        // may still claim; each further event causes another pass.
        for other in 0..4 {
            let claims = gate.claims.get();
            host.publish_event("other", "k", &other).await.unwrap();
            until(async || gate.claims.get() > claims).await;
        }
        end_body(1).await;
        // It has an event and a result: the result is stored first, alone.
        gate.shut_behind();
        until(async || gate.came.get() == 2).await;
        end_body(2).await;
        // Now it has a result again. The event comes first.
        for (came, sum) in [(3, 0), (4, 7)] {
            gate.shut_behind();
            until(async || gate.came.get() == came).await;
            assert_eq!(host.data::<Tally>(&id).await.unwrap().sum, sum);
        }
        gate.open();
        completed(&host, &id).await;
    }

    async fn results_that_come_while_a_commit_is_under_way_go_into_the_next_one_together(place: Timed) {
        let gate = Gate::default();
        let provider = before_results(place.provider().await, &gate);
        let host = WorkflowHost::builder_shared(provider).clock(place.clock.clone());
        let go = Arc::new(tokio::sync::Semaphore::new(0));
        let ended_bodies = Count::default();
        let builder = WorkflowBuilder::<Tally>::new("w", 1).parallel("all", |mut all| {
            for n in 0..6 {
                let (go, ended) = (go.clone(), ended_bodies.clone());
                all = all.branch(|branch| {
                    branch.then(format!("step{n}"), async move |_, _| {
                        if n > 0 {
                            go.acquire().await.unwrap().forget();
                        }
                        ended.up();
                        Ok(())
                    })
                });
            }
            all
        });
        let host = started(host.build(), &[&builder.build().unwrap()]).await;
        gate.shut();
        let id = host.start_workflow("w", &Tally::default()).await.unwrap();
        until(async || gate.came.get() == 1).await;
        let revision = || async { place.provider().await.step_store().unwrap().load(&id).await.unwrap().revision };
        let before = revision().await;
        go.add_permits(5);
        until(async || {
            let status = host.status(&id).await.unwrap();
            ended_bodies.get() == 6 && status.positions.iter().all(|at| !format!("{:?}", at.waits).contains("Some"))
        })
        .await;
        gate.open();
        completed(&host, &id).await;
        assert!(revision().await - before <= 3, "the one that was held, and one with all others");
    }

    async fn the_time_of_a_body_counts_from_when_it_begins_and_not_from_when_that_is_taken_note_of(place: Timed) {
        let gate = Gate::default();
        let builder = WorkflowHost::builder_shared(before_results(place.provider().await, &gate))
            .clock(place.clock.clone())
            .poll_interval(Duration::from_hours(100_000))
            .concurrent_steps(1);
        let begun = Count::default();
        let (go, begins) = (Arc::new(tokio::sync::Semaphore::new(0)), begun.clone());
        let short = || {
            let go = go.clone();
            task::<Tally>().then(async move |_, _| {
                go.acquire().await.unwrap().forget();
                Ok(())
            })
        };
        let three = WorkflowBuilder::<Tally>::new("three", 1)
            .parallel("all", |all| {
                all.branch(|one| one.step("first", short()))
                    .branch(|two| two.step("second", short()))
                    .branch(|three| {
                        three
                            .then("limited", async move |_, _| {
                                begins.up();
                                std::future::pending::<Result<(), StepError>>().await
                            })
                            .timeout(Duration::from_hours(10))
                    })
            })
            .build()
            .unwrap();
        let host = started(builder.build(), &[&three]).await;
        gate.shut();
        let id = host.start_workflow("three", &Tally::default()).await.unwrap();
        go.add_permits(1);
        until(async || gate.came.get() == 1).await;
        // While the end of the first body is being stored, the third one gets the slot of the second one.
        go.add_permits(1);
        until(async || begun.get() == 1).await;
        place.clock.advance(Duration::from_hours(6));
        gate.open();
        until(async || host.status(&id).await.unwrap().current_steps == ["limited"]).await;
        place.clock.advance(Duration::from_hours(5));
        assert!(matches!(ended(&host, &id).await, Outcome::Failed(_)));
    }
}
