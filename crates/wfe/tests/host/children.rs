//! Children and their parents on stores: nobody has to look for them, and none outlives its parent's cancellation.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::sync::{Barrier, Notify};
use wfe::{
    Outcome, Result, WorkflowHost,
    definition::{Definition, Event, WorkflowBuilder, WorkflowName},
    status::State,
    steps::StepError,
    traits::{Claimed, Committed, Fence, Owner, PersistenceProvider, StepCommit},
};
use wfe_testkit::{Layer, Layered};

use crate::support::{Count, Store, Tally, Timed, ended, in_time, started, until};

const HOUR: Duration = Duration::from_hours(1);
const PART: WorkflowName<Tally> = WorkflowName::new("part");

/// Begins a child of the definition `part`, whose version it names, and adds up what it comes to.
fn parent() -> Definition<Tally> {
    WorkflowBuilder::<Tally>::new("parent", 1)
        .for_each(
            "all",
            |tally| tally.numbers.clone(),
            |one| {
                one.sub_workflow("sub", PART, |_, n| Tally { numbers: vec![], sum: *n })
                    .version(1)
                    .output(|part, tally, _| tally.sum += part.sum)
            },
        )
        .build()
        .unwrap()
}

fn child_of(id: &str) -> String {
    format!("{id}//all/0/sub//1")
}

fn doubling() -> Definition<Tally> {
    PART.define(1).change("double", |tally| tally.sum *= 2).build().unwrap()
}

/// A parent with a step that ends only when what follows its child has run.
fn busy_parent() -> Definition<Tally> {
    WorkflowBuilder::<Tally>::new("parent", 1)
        .with(Arc::new(Notify::new()))
        .parallel("both", |both| {
            both.branch(|b| {
                b.sub_workflow("sub", PART, |_| Tally::default()).call("after", |ctx, _| {
                    ctx.app.notify_one();
                    Ok(())
                })
            })
            .branch(|b| {
                b.then("held", async |ctx, _| {
                    ctx.app.notified().await;
                    Ok(())
                })
            })
        })
        .build()
        .unwrap()
}

/// Children that do not end by themselves: at work, asleep, waiting for an event.
fn endless(cancelled: &Count) -> [Definition<Tally>; 3] {
    let cancelled = cancelled.clone();
    let works = PART.define(1).then("held", async move |ctx, _| {
        ctx.cancellation().cancelled().await;
        cancelled.up();
        Ok(())
    });
    [
        works.closed(),
        PART.define(1).delay("held", |_| HOUR).closed(),
        PART.define(1).wait_for("held", Event::<()>::new("never"), |_| "k").closed(),
    ]
    .map(|part| part.build().unwrap())
}

async fn stands(host: &WorkflowHost, id: &str) {
    until(async || host.status(id).await.is_ok_and(|status| status.current_steps == ["held"])).await;
}

/// One that does not tell of what is asked of busy instances.
struct Deaf(Arc<dyn PersistenceProvider>);

#[async_trait]
impl Layer for Deaf {
    fn inner(&self) -> &Arc<dyn PersistenceProvider> {
        &self.0
    }

    async fn requested(&self, _: &Owner) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
}

/// One that stores the ends of children as versions did that gave them other ids, and told nothing of the kind of a failure.
struct Earlier(Arc<dyn PersistenceProvider>);

#[async_trait]
impl Layer for Earlier {
    fn inner(&self) -> &Arc<dyn PersistenceProvider> {
        &self.0
    }

    async fn commit_step(&self, fence: Fence, step: &StepCommit) -> Result<Committed> {
        let mut step = step.clone();
        for end in &mut step.published {
            end.id = format!("{}//end", step.instance_id);
            end.event_data.as_object_mut().unwrap().remove("retryable");
        }
        self.0.clone().step_store().unwrap().commit_step(fence, &step).await
    }
}

/// How many children a parent has at most whose children are counted.
const CHILDREN: u32 = 20;

/// One that counts how often a child is acquired by itself, from some time on. At a barrier, if there is one, the first ones
/// have to come together.
struct Acquiring {
    inner: Arc<dyn PersistenceProvider>,
    counts: Arc<AtomicBool>,
    acquired: Count,
    barrier: Option<Barrier>,
}

#[async_trait]
impl Layer for Acquiring {
    fn inner(&self) -> &Arc<dyn PersistenceProvider> {
        &self.inner
    }

    async fn acquire(
        &self,
        owner: &Owner,
        definitions: &[(String, u32)],
        id: &str,
        as_at: DateTime<Utc>,
    ) -> Result<Option<Claimed>> {
        if self.counts.load(Ordering::SeqCst)
            && id.contains("//")
            && self.acquired.up() <= CHILDREN as usize
            && let Some(barrier) = &self.barrier
        {
            barrier.wait().await;
        }
        self.inner.clone().step_store().unwrap().acquire(owner, definitions, id, as_at).await
    }
}

/// A parent of many children that wait for an event.
fn many() -> [Definition<Tally>; 2] {
    let parent = WorkflowBuilder::<Tally>::new("parent", 1)
        .for_each(
            "all",
            |tally| tally.numbers.clone(),
            |one| one.sub_workflow("sub", PART, |_, _| Tally::default()).version(1),
        )
        .concurrent(CHILDREN as usize)
        .build();
    let [_, _, part] = endless(&Count::default());
    [parent.unwrap(), part]
}

async fn all_cancelled(host: &WorkflowHost, id: &str) {
    host.cancel(id).await.unwrap();
    assert_eq!(ended(host, id).await, Outcome::Cancelled);
    for n in 0..CHILDREN {
        assert_eq!(ended(host, &format!("{id}//all/{n}/sub//1")).await, Outcome::Cancelled);
    }
}

async fn with_many_children(host: &WorkflowHost) -> String {
    let id = host.start_workflow("parent", &Tally::of(0..CHILDREN)).await.unwrap();
    for n in 0..CHILDREN {
        stands(host, &format!("{id}//all/{n}/sub//1")).await;
    }
    host.idle().await.unwrap();
    id
}

in_time! {
    async fn many_children_that_are_asked_to_end_are_claimed_together(place: Timed) {
        let (inner, counts, acquired) = (place.provider().await, Arc::default(), Count::default());
        let layer = Acquiring { inner, counts: Arc::clone(&counts), acquired: acquired.clone(), barrier: None };
        let host = WorkflowHost::builder_shared(Arc::new(Layered(layer)));
        let host = host.clock(place.clock.clone()).poll_interval(100_000 * HOUR).build();
        let [parent, part] = many();
        let host = started(host, &[&parent, &part]).await;
        let id = with_many_children(&host).await;
        counts.store(true, Ordering::SeqCst);
        all_cancelled(&host, &id).await;
        assert_eq!(acquired.get(), 0);
    }

    async fn many_children_that_are_asked_to_end_beyond_the_limit_are_acquired_at_once(place: Timed) {
        let (inner, counts) = (place.provider().await, Arc::default());
        let barrier = Some(Barrier::new(CHILDREN as usize));
        let layer = Acquiring { inner, counts: Arc::clone(&counts), acquired: Count::default(), barrier };
        let host = WorkflowHost::builder_shared(Arc::new(Layered(layer)));
        let host = host.clock(place.clock.clone()).poll_interval(100_000 * HOUR).concurrent_instances(1).build();
        let ([parent, part], runs) = (many(), Count::default());
        let begun = runs.clone();
        let long = WorkflowBuilder::<Tally>::new("long", 1)
            .then("long", move |_, _| {
                begun.up();
                std::future::pending::<std::result::Result<(), StepError>>()
            })
            .build()
            .unwrap();
        let host = started(host, &[&parent, &part, &long]).await;
        let id = with_many_children(&host).await;
        host.start_workflow("long", &Tally::default()).await.unwrap();
        until(async || runs.get() == 1).await;
        counts.store(true, Ordering::SeqCst);
        all_cancelled(&host, &id).await;
    }

    async fn children_begin_and_their_parents_go_on_without_anybody_looking_for_them(place: Timed) {
        let host = place.host(&[&parent(), &doubling()]).await;
        let id = host.start_workflow("parent", &Tally::of([1, 2, 3])).await.unwrap();
        assert_eq!(ended(&host, &id).await, Outcome::Completed(Tally { numbers: vec![1, 2, 3], sum: 12 }));
    }

    async fn a_busy_parent_hears_of_the_end_of_its_child_at_once(place: Timed) {
        let host = place.host(&[&busy_parent(), &doubling()]).await;
        let id = host.start_workflow("parent", &Tally::default()).await.unwrap();
        assert!(matches!(ended(&host, &id).await, Outcome::Completed(_)));
    }

    async fn a_busy_parent_hears_of_it_also_on_a_store_that_does_not_tell_the_busy(place: Timed) {
        let builder = WorkflowHost::builder_shared(Arc::new(Layered(Deaf(place.provider().await))));
        let host = builder.clock(place.clock.clone()).poll_interval(100_000 * HOUR).build();
        let host = started(host, &[&busy_parent(), &doubling()]).await;
        let id = host.start_workflow("parent", &Tally::default()).await.unwrap();
        assert!(matches!(ended(&host, &id).await, Outcome::Completed(_)));
    }

    async fn no_id_of_a_caller_s_keeps_a_parent_from_hearing_of_its_child(place: Timed) {
        let host = place.host(&[&parent(), &doubling()]).await;
        let waiting = PART
            .define(2)
            .wait_for("held", Event::<u32>::new("go"), |_| "k")
            .build()
            .unwrap();
        host.register(waiting).unwrap();
        let any = WorkflowBuilder::<Tally>::new("any", 1)
            .sub_workflow("sub", PART, |_| Tally::default())
            .build()
            .unwrap();
        host.register(any).unwrap();
        let id = host.start_workflow("any", &Tally::default()).await.unwrap();
        let of = format!("{id}//sub//1");
        stands(&host, &of).await;
        let (mut accepted, store) = (0, place.provider().await);
        for own in [format!("{of}//end"), format!("wfe.child-ended:{of}")] {
            accepted += u32::from(host.publish(Event::<u32>::new("n"), "k", 1_u32).id(own).await.is_ok());
        }
        assert_eq!(accepted, 1, "one that the engine makes is refused");
        host.publish_event("go", "k", &1).await.unwrap();
        assert!(matches!(ended(&host, &id).await, Outcome::Completed(_)));
        let ends = store.get_events("wfe.child-ended", &of, DateTime::<Utc>::MAX_UTC).await.unwrap();
        assert_eq!(ends, [format!("wfe.child-ended:{of}")]);
    }

    async fn a_parent_hears_of_a_child_whose_end_an_earlier_version_has_stored(place: Timed) {
        let (parents, children) = (parent(), doubling());
        let host = place.host(&[&parents]).await;
        let id = host.start_workflow("parent", &Tally::of([1])).await.unwrap();
        until(async || host.status(&child_of(&id)).await.is_ok()).await;
        host.stop().await.unwrap();
        let old = WorkflowHost::builder_shared(Arc::new(Layered(Earlier(place.provider().await))));
        let old = started(old.clock(place.clock.clone()).poll_interval(100_000 * HOUR).build(), &[&children]).await;
        assert!(matches!(ended(&old, &child_of(&id)).await, Outcome::Completed(_)));
        old.stop().await.unwrap();
        let host = place.host(&[&parents, &children]).await;
        assert_eq!(ended(&host, &id).await, Outcome::Completed(Tally { numbers: vec![1], sum: 2 }));
        let store = place.provider().await;
        let ends = store.get_events("wfe.child-ended", &child_of(&id), DateTime::<Utc>::MAX_UTC).await.unwrap();
        assert_eq!(ends, [format!("{}//end", child_of(&id))], "it ended once");
    }

    async fn the_end_of_a_parent_before_its_time_ends_its_child_whatever_that_does(place: Timed) {
        let cancelled = Count::default();
        for terminate in [false, true] {
            for part in endless(&cancelled) {
                let host = place.host(&[&parent(), &part]).await;
                let id = host.start_workflow("parent", &Tally::of([1])).await.unwrap();
                stands(&host, &child_of(&id)).await;
                let outcome = if terminate {
                    host.terminate(&id).await.unwrap();
                    Outcome::Terminated
                } else {
                    host.cancel(&id).await.unwrap();
                    Outcome::Cancelled
                };
                assert_eq!(ended(&host, &id).await, outcome);
                assert_eq!(ended(&host, &child_of(&id)).await, outcome);
                host.stop().await.unwrap();
            }
        }
        assert_eq!(cancelled.get(), 2, "the token of the one at work was fired");
    }
}

/// Each host has one of the definitions, and its own provider on the file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_parent_before_its_time_ends_its_child_in_another_host_on_the_file() {
    let cancelled = Count::default();
    for terminate in [false, true] {
        for part in endless(&cancelled) {
            let store = Store::file();
            let parents = store.host(&[&parent()]).await;
            let children = store.host(&[&part]).await;
            let id = parents.start_workflow("parent", &Tally::of([1])).await.unwrap();
            stands(&parents, &child_of(&id)).await;
            let (state, outcome) = if terminate {
                parents.terminate(&id).await.unwrap();
                (State::Terminated, Outcome::Terminated)
            } else {
                parents.cancel(&id).await.unwrap();
                (State::Cancelled, Outcome::Cancelled)
            };
            assert_eq!(ended(&children, &child_of(&id)).await, outcome);
            assert_eq!(parents.status(&id).await.unwrap().state, state);
        }
    }
    assert_eq!(cancelled.get(), 2);
}

/// The same, with the children's host away when it is asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_whose_host_is_away_ends_when_that_comes_back() {
    for part in endless(&Count::default()) {
        let store = Store::file();
        let parents = store.host(&[&parent()]).await;
        let children = store.host(&[&part]).await;
        let id = parents.start_workflow("parent", &Tally::of([1])).await.unwrap();
        stands(&parents, &child_of(&id)).await;
        drop(children);
        parents.cancel(&id).await.unwrap();
        assert_eq!(ended(&parents, &id).await, Outcome::Cancelled);
        let children = store.host(&[&part]).await;
        assert_eq!(ended(&children, &child_of(&id)).await, Outcome::Cancelled);
    }
}
