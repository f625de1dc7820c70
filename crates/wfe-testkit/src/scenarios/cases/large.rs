//! Large workflows, in sizes that take a debug build a second or two. Costs are counted and not timed: they are the
//! rows and bytes that the engine makes the store write.

use std::sync::Mutex;

use async_trait::async_trait;
use wfe::traits::{Committed, Fence, PersistenceProvider, StepCommit};

use super::prelude::*;
use crate::{Layer, Layered};
use wfe_core::sync::lock;

scenarios!("large":
    an_item_of_a_for_each_costs_the_same_however_many_came_before,
    a_round_of_a_while_costs_the_same_however_many_came_before,
    hundreds_of_branches_run_in_parallel,
    a_megabyte_of_data_comes_through,
    hundreds_of_instances_sleep_and_wake,
);

const ITEMS: u64 = 2_000;

/// How much each commit wrote: its rows and bytes, as one number.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<usize>>>);

struct Weighed {
    inner: Arc<dyn PersistenceProvider>,
    written: Written,
}

#[async_trait]
impl Layer for Weighed {
    fn inner(&self) -> &Arc<dyn PersistenceProvider> {
        &self.inner
    }

    async fn commit_step(&self, fence: Fence, step: &StepCommit) -> wfe::Result<Committed> {
        let rows = step.upserted.len() + step.finished.len() + step.subscribed.len() + step.items.len();
        let bytes = serde_json::to_string(&(&step.upserted, &step.finished)).map_or(0, |text| text.len());
        self.written.lock().push(rows * 1000 + bytes);
        match self.inner.clone().step_store() {
            Some(steps) => steps.commit_step(fence, step).await,
            None => Err(wfe::WfeError::Unsupported("commits")),
        }
    }
}

impl Written {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<usize>> {
        lock(&self.0)
    }

    fn over(&self) -> impl Fn(Arc<dyn PersistenceProvider>) -> Arc<dyn PersistenceProvider> {
        let written = self.clone();
        move |inner| Arc::new(Layered(Weighed { inner, written: written.clone() }))
    }

    /// Asserts that commits near the end wrote about as much as commits near the beginning.
    fn must_be_even(&self) {
        let written = self.lock();
        let tenth = written.len() / 10;
        let (first, last) =
            (&written[tenth..2 * tenth], &written[written.len() - 2 * tenth..written.len() - tenth]);
        let (first, last): (usize, usize) = (first.iter().sum(), last.iter().sum());
        // A quarter more is allowed, because the numbers in ids grow by a digit or two.
        assert!(
            last * 4 <= first * 5,
            "a tenth of the commits wrote {last} near the end, {first} near the beginning"
        );
    }
}

async fn an_item_of_a_for_each_costs_the_same_however_many_came_before(stage: Stage) -> Checked<()> {
    let written = Written::default();
    let all = begin("all").for_each("all", |_| (0..ITEMS).collect(), |one| one.step("count", count()));
    let host = stage.host_with([built(all)?], |builder| builder, written.over()).await?;
    let id = host.start_workflow("all", &Story::default()).await?;
    assert_eq!(completed(&host, &id).await?.n, ITEMS);
    assert!(host.pointers(&id).await?.len() < 10);
    if host.store().clone().step_store().is_some() {
        written.must_be_even();
    }
    Ok(())
}

async fn a_round_of_a_while_costs_the_same_however_many_came_before(stage: Stage) -> Checked<()> {
    let written = Written::default();
    let rounds = begin("rounds").while_("more", |s| s.n < ITEMS, |round| round.step("count", count()));
    let host = stage.host_with([built(rounds)?], |builder| builder, written.over()).await?;
    let id = host.start_workflow("rounds", &Story::default()).await?;
    assert_eq!(completed(&host, &id).await?.n, ITEMS);
    assert!(host.pointers(&id).await?.len() < 10);
    if host.store().clone().step_store().is_some() {
        written.must_be_even();
    }
    Ok(())
}

async fn hundreds_of_branches_run_in_parallel(stage: Stage) -> Checked<()> {
    let many = begin("many").parallel("all", |mut all| {
        for at in 0..300 {
            all = all.branch(|b| {
                b.step(format!("a{at}"), count())
                    .delay(format!("d{at}"), |_| HOUR)
                    .step(format!("b{at}"), count())
            });
        }
        all
    });
    let host = stage.host([built(many)?]).await?;
    let id = host.start_workflow("many", &Story::default()).await?;
    assert_eq!(completed(&host, &id).await?.n, 600);
    Ok(())
}

async fn a_megabyte_of_data_comes_through(stage: Stage) -> Checked<()> {
    const SIZE: usize = 1 << 20;
    let host = stage
        .host([built(begin("big").delay("hour", |_| HOUR).step("a", mark("a")).step("b", mark("b")))?])
        .await?;
    let text = "\u{20AC}\0".repeat(SIZE / 4);
    let id = host.start_workflow("big", &Story { text: text.clone(), ..Story::default() }).await?;
    let story = completed(&host, &id).await?;
    assert!(story.text == text, "it is another text");
    Ok(())
}

async fn hundreds_of_instances_sleep_and_wake(stage: Stage) -> Checked<()> {
    let host = stage
        .host([built(begin("sleep").delay("d", |s| Duration::from_secs(s.n % 7)).step("a", mark("a")))?])
        .await?;
    let mut ids = Vec::new();
    for n in 0..200 {
        ids.push(host.start_workflow("sleep", &Story { n, ..Story::default() }).await?);
    }
    host.advance(Duration::from_secs(7)).await?;
    for id in &ids {
        assert!(host.status(id).await?.state.is_final());
    }
    Ok(())
}
