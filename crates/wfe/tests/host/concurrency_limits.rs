//! How much may go on at once, and for how long.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::sync::Semaphore;
use wfe::{
    Outcome,
    clock::Clock,
    definition::{Definition, Retry, WorkflowBuilder},
    steps::StepError,
};

use crate::support::{
    Count, Store, Tally, Timed, completed, ended, in_time, nothing, on_every_store, started, until,
};

/// Bodies that run until they are let go, one for each permit.
#[derive(Clone)]
struct Gate {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    runs: Count,
    go: Arc<Semaphore>,
}

impl Default for Gate {
    fn default() -> Self {
        let go = Arc::new(Semaphore::new(0));
        Self { now: Arc::default(), most: Arc::default(), runs: Count::default(), go }
    }
}

impl Gate {
    fn definition(&self, id: &str) -> Definition<Tally> {
        let this = self.clone();
        WorkflowBuilder::<Tally>::new(id, 1)
            .then("hold", async move |_, _| {
                let now = this.now.fetch_add(1, SeqCst) + 1;
                this.most.fetch_max(now, SeqCst);
                this.runs.up();
                this.go.acquire().await.unwrap().forget();
                this.now.fetch_sub(1, SeqCst);
                Ok(())
            })
            .build()
            .unwrap()
    }
}

/// Counts up when it is dropped.
struct Dropped(Count);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.up();
    }
}

/// A step that never ends, whatever its token says.
#[derive(Clone, Default)]
struct Deaf {
    begun: Count,
    dropped: Count,
}

impl Deaf {
    fn definition(&self) -> Definition<Tally> {
        let this = self.clone();
        WorkflowBuilder::<Tally>::new("deaf", 1)
            .then("call", async move |_, _| {
                this.begun.up();
                let _dropped = Dropped(this.dropped);
                std::future::pending::<Result<(), StepError>>().await
            })
            .timeout(Duration::from_mins(1))
            .retry(Retry::every(Duration::ZERO).attempts(2))
            .build()
            .unwrap()
    }
}

fn other() -> Definition<Tally> {
    WorkflowBuilder::<Tally>::new("other", 1).step("a", nothing()).build().unwrap()
}

on_every_store! {
    async fn a_body_that_goes_on_after_its_instance_was_terminated_is_dropped_and_its_place_is_free(store: Store) {
        let deaf = Deaf::default();
        let builder = store.builder().await.concurrent_steps(1);
        let host = started(builder.build(), &[&deaf.definition(), &other()]).await;
        let id = host.start_workflow("deaf", &Tally::default()).await.unwrap();
        until(async || deaf.begun.get() == 1).await;
        host.terminate(&id).await.unwrap();
        assert_eq!(ended(&host, &id).await, Outcome::Terminated);
        assert_eq!(deaf.dropped.get(), 0, "it may do what is left to be done");
        let id = host.start_workflow("other", &Tally::default()).await.unwrap();
        completed(&host, &id).await;
        assert_eq!((deaf.begun.get(), deaf.dropped.get()), (1, 1));
    }

    async fn no_more_instances_of_a_definition_are_worked_on_than_it_may_have(store: Store) {
        let gate = Gate::default();
        let builder = store.builder().await.poll_interval(Duration::from_hours(1)).concurrent_instances_of("few", 2);
        let host = started(builder.build(), &[&gate.definition("few"), &other()]).await;
        let mut ids = Vec::new();
        for _ in 0..7 {
            ids.push(host.start_workflow("few", &Tally::default()).await.unwrap());
        }
        until(async || gate.runs.get() == 2).await;
        // Others are not held up by it.
        let id = host.start_workflow("other", &Tally::default()).await.unwrap();
        completed(&host, &id).await;
        // What is asked of one that waits takes effect.
        host.terminate(&ids[6]).await.unwrap();
        assert_eq!(ended(&host, &ids[6]).await, Outcome::Terminated);
        assert_eq!(gate.runs.get(), 2);
        for done in 3..=6 {
            gate.go.add_permits(1);
            until(async || gate.runs.get() == done).await;
        }
        gate.go.add_permits(2);
        for id in &ids[..6] {
            completed(&host, id).await;
        }
        assert_eq!(gate.most.load(SeqCst), 2);
    }

    async fn no_more_bodies_of_a_step_run_than_it_may_have_and_the_waiting_ones_take_no_place(store: Store) {
        let (few, many) = (Gate::default(), Gate::default());
        let builder = store.builder().await.concurrent_steps(3).concurrent_bodies_of("few", "hold", 1);
        let host = started(builder.build(), &[&few.definition("few"), &many.definition("many")]).await;
        let mut ids = Vec::new();
        for _ in 0..4 {
            ids.push(host.start_workflow("few", &Tally::default()).await.unwrap());
        }
        until(async || few.runs.get() == 1).await;
        for _ in 0..2 {
            ids.push(host.start_workflow("many", &Tally::default()).await.unwrap());
        }
        until(async || many.runs.get() == 2).await;
        assert_eq!(few.runs.get(), 1);
        for done in 2..=4 {
            few.go.add_permits(1);
            until(async || few.runs.get() == done).await;
        }
        few.go.add_permits(1);
        many.go.add_permits(2);
        for id in &ids {
            completed(&host, id).await;
        }
        assert_eq!(few.most.load(SeqCst), 1);
    }
}

in_time! {
    async fn a_body_that_goes_on_after_its_time_is_dropped_and_its_places_are_for_others(place: Timed) {
        let deaf = Deaf::default();
        let builder = place.builder().await.concurrent_steps(1).concurrent_bodies_of("deaf", "call", 1);
        let host = started(builder.build(), &[&deaf.definition(), &other()]).await;
        let id = host.start_workflow("deaf", &Tally::default()).await.unwrap();
        until(async || deaf.begun.get() == 1).await;
        let waits = host.start_workflow("other", &Tally::default()).await.unwrap();
        let let_pass = async || {
            let limit = place.clock.now() + Duration::from_mins(1);
            place.clock.wait_for(|deadlines| deadlines.contains(&limit)).await;
            place.clock.set(limit);
        };
        let_pass().await;
        completed(&host, &waits).await;
        until(async || deaf.begun.get() == 2).await;
        let_pass().await;
        let Outcome::Failed(failure) = ended(&host, &id).await else { panic!() };
        assert_eq!((&*failure.code, failure.attempt, deaf.begun.get()), ("timeout", 2, 2));
        // The host has waited for none of it.
        host.stop().await.unwrap();
        until(async || deaf.dropped.get() == 2).await;
    }

    async fn the_last_place_is_taken_again_as_soon_as_it_is_free(place: Timed) {
        let (gate, short) = (Gate::default(), WorkflowBuilder::<Tally>::new("short", 1).step("a", nothing()));
        let builder = place.builder().await.concurrent_instances(8);
        let host = started(builder.build(), &[&gate.definition("long"), &short.build().unwrap()]).await;
        for begun in 1..=8 {
            host.start_workflow("long", &Tally::default()).await.unwrap();
            until(async || gate.runs.get() == begun).await;
        }
        let mut ids = Vec::new();
        for _ in 0..3 {
            ids.push(host.start_workflow("short", &Tally::default()).await.unwrap());
        }
        gate.go.add_permits(1);
        for id in &ids {
            completed(&host, id).await;
        }
    }

    async fn an_attempt_that_takes_too_long_has_failed_while_its_body_still_runs(place: Timed) {
        let runs = Count::default();
        let count = runs.clone();
        let definition = WorkflowBuilder::<Tally>::new("w", 1)
            .then("slow", move |_, _| {
                count.up();
                std::future::pending::<Result<(), StepError>>()
            })
            .timeout(Duration::from_mins(1))
            .build()
            .unwrap();
        let host = place.host(&[&definition]).await;
        let id = host.start_workflow("w", &Tally::default()).await.unwrap();
        let limit = place.clock.now() + Duration::from_mins(1);
        place.clock.wait_for(|deadlines| deadlines.contains(&limit)).await;
        until(async || runs.get() == 1).await;
        place.clock.set(limit);
        let Outcome::Failed(failure) = ended(&host, &id).await else { panic!() };
        assert_eq!((&*failure.code, &*failure.step), ("timeout", "slow"));
    }

    async fn a_workflow_that_is_not_over_at_its_deadline_has_failed(place: Timed) {
        let definition = WorkflowBuilder::<Tally>::new("w", 1)
            .deadline(Duration::from_hours(2))
            .delay("long", |_| Duration::from_hours(3))
            .build()
            .unwrap();
        let host = place.host(&[&definition]).await;
        let id = host.start_workflow("w", &Tally::default()).await.unwrap();
        let deadline = place.clock.now() + Duration::from_hours(2);
        place.clock.wait_for(|deadlines| deadlines.contains(&deadline)).await;
        place.clock.set(deadline);
        let Outcome::Failed(failure) = ended(&host, &id).await else { panic!() };
        assert_eq!(&*failure.code, "deadline");
    }
}
