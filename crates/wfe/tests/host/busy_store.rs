//! What goes on in a host while it waits for the store.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::sync::{Notify, Semaphore};
use wfe::{
    Outcome, Result, WorkflowHost,
    definition::{Definition, Event, WorkflowBuilder, WorkflowName},
    host::{HostBuilder, Lifecycle},
    traits::{Claimed, Owner, PersistenceProvider, StepStore},
};
use wfe_testkit::{Layer, Layered};

use crate::support::{Count, Tally, Timed, completed, ended, in_time, nothing, started, until};

/// Holds the claims, or the next but so many of the calls that acquire an instance, until they are let go.
#[derive(Clone)]
struct Held {
    claims: Arc<AtomicUsize>,
    acquires: Arc<AtomicUsize>,
    came: Count,
    go: Arc<Semaphore>,
}

const NEVER: usize = usize::MAX;

impl Held {
    fn new() -> Self {
        Self {
            claims: Arc::new(AtomicUsize::new(NEVER)),
            acquires: Arc::new(AtomicUsize::new(NEVER)),
            came: Count::default(),
            go: Arc::new(Semaphore::new(0)),
        }
    }

    async fn pass(&self, which: &AtomicUsize) {
        let counts_down =
            |left| if left == NEVER { None } else { Some(if left == 0 { NEVER } else { left - 1 }) };
        if which.fetch_update(SeqCst, SeqCst, counts_down) == Ok(0) {
            self.came.up();
            self.go.acquire().await.unwrap().forget();
        }
    }

    async fn provider(&self, place: &Timed) -> Arc<dyn PersistenceProvider> {
        Arc::new(Layered(Holding { inner: place.provider().await, held: self.clone() }))
    }

    async fn builder(&self, place: &Timed) -> HostBuilder {
        WorkflowHost::builder_shared(self.provider(place).await)
            .clock(place.clock.clone())
            .poll_interval(Duration::from_hours(100_000))
    }

    /// The host looks for what is due, and is held in that.
    async fn hold_a_claim(&self, host: &WorkflowHost) {
        host.idle().await.unwrap();
        self.claims.store(0, SeqCst);
        host.register(WorkflowBuilder::<Tally>::new("another", 1).step("only", nothing()).build().unwrap())
            .unwrap();
        until(async || self.came.get() == 1).await;
    }
}

struct Holding {
    inner: Arc<dyn PersistenceProvider>,
    held: Held,
}

impl Holding {
    fn steps(&self) -> Arc<dyn StepStore> {
        self.inner.clone().step_store().unwrap()
    }
}

#[async_trait]
impl Layer for Holding {
    fn inner(&self) -> &Arc<dyn PersistenceProvider> {
        &self.inner
    }

    async fn claim(
        &self,
        owner: &Owner,
        definitions: &[(String, u32)],
        as_at: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<Claimed>> {
        self.held.pass(&self.held.claims).await;
        self.steps().claim(owner, definitions, as_at, limit).await
    }

    async fn acquire(
        &self,
        owner: &Owner,
        definitions: &[(String, u32)],
        id: &str,
        as_at: DateTime<Utc>,
    ) -> Result<Option<Claimed>> {
        self.held.pass(&self.held.acquires).await;
        self.steps().acquire(owner, definitions, id, as_at).await
    }
}

const WAITS: WorkflowName<Tally> = WorkflowName::new("waits");

fn quick() -> Definition<Tally> {
    WorkflowBuilder::<Tally>::new("quick", 1).change("only", |tally| tally.sum += 1).build().unwrap()
}

/// A body that goes on when it is let go, or when it is told to.
fn waits(version: u32, go: &Arc<Notify>, begun: &Count, cancelled: &Count) -> Definition<Tally> {
    let (go, begun, cancelled) = (go.clone(), begun.clone(), cancelled.clone());
    WorkflowBuilder::<Tally>::new("waits", version)
        .then("only", async move |ctx, _| {
            begun.up();
            tokio::select! {
                () = go.notified() => {}
                () = ctx.cancellation().cancelled() => { cancelled.up(); }
            }
            Ok(())
        })
        .build()
        .unwrap()
}

in_time! {
    async fn an_instance_that_was_started_runs_to_its_end_while_the_host_waits_for_a_claim(place: Timed) {
        let held = Held::new();
        let host = started(held.builder(&place).await.build(), &[&quick()]).await;
        held.hold_a_claim(&host).await;
        let id = host.start_workflow("quick", &Tally::default()).await.unwrap();
        assert_eq!(completed(&host, &id).await.sum, 1);
        held.go.add_permits(1);
        host.stop().await.unwrap();
    }

    async fn the_grace_time_of_a_host_runs_while_it_waits_for_a_claim(place: Timed) {
        let (go, begun, cancelled) = (Arc::new(Notify::new()), Count::default(), Count::default());
        let held = Held::new();
        let builder = held.builder(&place).await.grace(Duration::from_millis(10));
        let host = started(builder.build(), &[&waits(1, &go, &begun, &cancelled)]).await;
        host.start_workflow("waits", &Tally::default()).await.unwrap();
        until(async || begun.get() == 1).await;
        held.claims.store(0, SeqCst);
        host.register(quick()).unwrap();
        until(async || held.came.get() == 1).await;
        let stopping = host.clone();
        let stop = tokio::spawn(async move { stopping.stop().await });
        until(async || cancelled.get() == 1).await;
        held.go.add_permits(1);
        stop.await.unwrap().unwrap();
    }

    async fn a_request_to_one_instance_does_not_wait_until_another_is_acquired(place: Timed) {
        let waiting = WorkflowBuilder::<Tally>::new("waits", 1)
            .wait_for("wait", Event::<()>::new("never"), |_| "key")
            .build()
            .unwrap();
        let parent = WorkflowBuilder::<Tally>::new("parent", 1)
            .parallel("both", |both| {
                both.branch(|one| one.sub_workflow("a", WAITS, |_| Tally::default()).version(1))
                    .branch(|two| two.sub_workflow("b", WAITS, |_| Tally::default()).version(1))
            })
            .build()
            .unwrap();
        let held = Held::new();
        let (go, begun) = (Arc::new(Notify::new()), Count::default());
        let busy = waits(2, &go, &begun, &Count::default());
        // With no place for them, the children are acquired one by one, because something is asked of them.
        let builder = held.builder(&place).await.concurrent_instances_of("waits", 1);
        let host = started(builder.build(), &[&waiting, &parent, &busy]).await;
        let id = host.start_workflow("parent", &Tally::default()).await.unwrap();
        host.idle().await.unwrap();
        let takes_the_place = host.start_workflow("waits", &Tally::default()).await.unwrap();
        until(async || begun.get() == 1).await;
        let mut events = host.lifecycle();
        held.acquires.store(2, SeqCst); // that of the parent and that of one child pass
        host.cancel(&id).await.unwrap();
        until(async || held.came.get() == 1).await;
        let mut ended_children = Vec::new();
        until(async || {
            while let Ok(event) = events.try_recv() {
                if let Lifecycle::Terminated { .. } = event.what && &*event.definition_id == "waits" {
                    ended_children.push(event.instance_id);
                }
            }
            ended_children.len() == 1
        }).await;
        held.go.add_permits(1);
        assert!(matches!(ended(&host, &id).await, Outcome::Cancelled));
        go.notify_one();
        completed(&host, &takes_the_place).await;
        host.stop().await.unwrap();
    }
}
