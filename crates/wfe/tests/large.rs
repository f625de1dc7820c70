//! The sizes that the engine has to hold, in full. They take a release build: in a debug build the scenario suite plays
//! smaller ones.
#![cfg(not(debug_assertions))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "all of this is test code: it says what it expects by unwrapping it"
)]

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use wfe::{
    Outcome, Result,
    definition::{Definition, IntoStep, WorkflowBuilder, task},
    traits::{Committed, Fence, PersistenceProvider, StepCommit},
};
use wfe_sqlite::SqlitePersistenceProvider;
use wfe_testkit::{Layer, Layered, TestHost, VirtualClock};

const MANY: u64 = 100_000;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Size {
    n: u64,
    text: String,
}

/// When each of the steps ended.
type Times = Arc<Mutex<Vec<Instant>>>;

fn count(times: &Times) -> impl IntoStep<Size> {
    let times = times.clone();
    task::<Size>().change(move |size| {
        size.n += 1;
        times.lock().unwrap().push(Instant::now());
    })
}

/// A store that counts the live pointers of the one instance in it.
struct Counting {
    below: Arc<dyn PersistenceProvider>,
    live: Mutex<HashSet<String>>,
    most: Arc<AtomicUsize>,
}

#[async_trait::async_trait]
impl Layer for Counting {
    fn inner(&self) -> &Arc<dyn PersistenceProvider> {
        &self.below
    }

    async fn commit_step(&self, fence: Fence, step: &StepCommit) -> Result<Committed> {
        {
            let mut live = self.live.lock().unwrap();
            live.extend(step.upserted.iter().map(|pointer| pointer.id.clone()));
            live.retain(|id| step.finished.iter().all(|pointer| pointer.id != *id));
            self.most.fetch_max(live.len(), Ordering::Relaxed);
        }
        self.below.clone().step_store().unwrap().commit_step(fence, step).await
    }
}

/// A host, and how many live pointers an instance had at most.
async fn host(definition: Definition<Size>) -> Result<(TestHost, Arc<AtomicUsize>, tempfile::TempDir)> {
    let (clock, folder) = (Arc::new(VirtualClock::default()), tempfile::tempdir().unwrap());
    let below =
        SqlitePersistenceProvider::file(folder.path().join("state.db")).clock(clock.clone()).open().await?;
    let most = Arc::<AtomicUsize>::default();
    let below = Arc::new(below);
    let store = Layered(Counting { below, live: Mutex::default(), most: most.clone() });
    Ok((TestHost::builder(store, clock).define(definition).start().await?, most, folder))
}

/// The last tenth took no longer than the first one, but for what a busy machine adds.
fn assert_even(times: &Times) {
    let times = times.lock().unwrap();
    let tenth = times.len() / 10;
    let (first, last) = (times[tenth] - times[0], times[times.len() - 1] - times[times.len() - tenth]);
    println!("the first tenth took {first:?}, the last one {last:?}");
    assert!(
        last < 2 * first + Duration::from_secs(1),
        "the first tenth took {first:?}, the last one {last:?}"
    );
}

async fn finish(host: &TestHost, id: &str) -> Size {
    match host.host().outcome(id).await.unwrap() {
        Outcome::Completed(size) => size,
        other => panic!("it ended as {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_for_each_over_a_hundred_thousand_items() -> Result<()> {
    let times = Times::default();
    let all = WorkflowBuilder::<Size>::new("all", 1)
        .for_each("all", |_| (0..MANY).collect(), |one| one.step("count", count(&times)))
        .concurrent(16)
        .build()?;
    let (host, most, _folder) = host(all).await?;
    let id = host.start_workflow("all", &Size::default()).await?;
    assert_eq!(finish(&host, &id).await.n, MANY);
    // The container, and for each of those under way what has ended and what has begun.
    assert!(most.load(Ordering::Relaxed) <= 1 + 2 * 16, "{most:?} live pointers");
    assert_even(&times);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_while_of_a_hundred_thousand_rounds() -> Result<()> {
    let times = Times::default();
    let rounds = WorkflowBuilder::<Size>::new("rounds", 1)
        .while_("more", |size| size.n < MANY, |round| round.step("count", count(&times)))
        .build()?;
    let (host, most, _folder) = host(rounds).await?;
    let id = host.start_workflow("rounds", &Size::default()).await?;
    assert_eq!(finish(&host, &id).await.n, MANY);
    assert!(most.load(Ordering::Relaxed) <= 3, "{most:?} live pointers");
    assert_even(&times);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_parallel_branches_and_ten_megabytes_of_data() -> Result<()> {
    let times = Times::default();
    let many = WorkflowBuilder::<Size>::new("many", 1)
        .parallel("all", |mut all| {
            for at in 0..1_000 {
                all = all.branch(|b| b.step(format!("count-{at}"), count(&times)));
            }
            all
        })
        .build()?;
    let (host, most, _folder) = host(many).await?;
    let id = host.start_workflow("many", &Size::default()).await?;
    assert_eq!(finish(&host, &id).await.n, 1_000);
    assert!(most.load(Ordering::Relaxed) >= 1_000, "{most:?}: they were not all there at once");
    let text = "\u{20AC}\0 ".repeat(10 * 1024 * 1024 / 5);
    let big = WorkflowBuilder::<Size>::new("big", 1)
        .step("one", count(&times))
        .delay("hour", |_| Duration::from_hours(1))
        .step("two", count(&times))
        .build()?;
    host.host().register(big)?;
    let id = host.start_workflow("big", &Size { text: text.clone(), n: 0 }).await?;
    match host.run_to_end::<Size>(&id).await? {
        Outcome::Completed(size) => assert!(size.n == 2 && size.text == text),
        other => panic!("it ended as {other:?}"),
    }
    Ok(())
}
