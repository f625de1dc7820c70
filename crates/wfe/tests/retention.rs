//! Hosts remove what their retention policy no longer keeps.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "all of this is test code: it says what it expects by unwrapping it"
)]

use std::{sync::Arc, time::Duration};

use wfe::{
    Outcome, WfeError, WorkflowHost,
    clock::Clock,
    definition::WorkflowBuilder,
    host::Retention,
    models::Event,
    steps::StepError,
    traits::{EventRepository, Management, PersistenceProvider, PurgeFilter, StepStore},
};
use wfe_sqlite::SqlitePersistenceProvider as Store;
use wfe_testkit::VirtualClock;

const HOUR: Duration = Duration::from_hours(1);
/// Longer than any test lasts, so that no sleep of a poll is taken for the one of the policy.
const NEVER: Duration = Duration::from_hours(24 * 365 * 1000);

struct Stage {
    clock: Arc<VirtualClock>,
    store: Arc<Store>,
}

impl Stage {
    async fn new() -> Self {
        let clock = Arc::new(VirtualClock::default());
        let store = Store::builder(":memory:").clock(clock.clone()).open().await.unwrap();
        Self { clock, store: Arc::new(store) }
    }

    async fn host(&self, policy: Retention) -> WorkflowHost {
        let host = WorkflowHost::builder_shared(self.store.clone())
            .clock(self.clock.clone())
            .poll_interval(NEVER)
            .retain(policy)
            .build();
        for id in ["a", "b"] {
            let definition = WorkflowBuilder::<bool>::new(id, 1)
                .then(
                    "only",
                    async |_, fails: Arc<bool>| {
                        if *fails { Err(StepError::fatal(WfeError::Cancelled)) } else { Ok(()) }
                    },
                )
                .build()
                .unwrap();
            host.register(definition).unwrap();
        }
        host.start().await.unwrap();
        host
    }

    /// Waits until the policies of so many hosts sleep, then lets an hour pass.
    async fn pass(&self, hosts: usize) {
        let next = self.clock.now() + HOUR;
        self.clock.wait_for(|deadlines| deadlines.iter().filter(|at| **at == next).count() == hosts).await;
        self.clock.advance(HOUR);
    }

    async fn is_there(&self, id: &str) -> bool {
        match self.store.load(id).await {
            Ok(_) => true,
            Err(WfeError::WorkflowNotFound(_)) => false,
            Err(error) => panic!("{error}"),
        }
    }

    /// Waits until the instance is removed.
    async fn until_gone(&self, id: &str) {
        while self.is_there(id).await {
            tokio::task::yield_now().await;
        }
    }
}

async fn run(host: &WorkflowHost, definition: &'static str, fails: bool) -> String {
    let workflow = host.workflow(wfe::definition::WorkflowName::<bool>::new(definition));
    let instance = workflow.start(&fails).await.unwrap();
    let outcome = instance.outcome().await.unwrap();
    assert_eq!(matches!(outcome, Outcome::Completed(_)), !fails);
    instance.id().to_owned()
}

#[tokio::test]
async fn a_host_removes_what_its_policy_no_longer_keeps() {
    let stage = Stage::new().await;
    let policy = Retention::new()
        .completed(2 * HOUR)
        .definition("b", Retention::new().all(HOUR))
        .events(HOUR)
        .every(HOUR);
    let host = stage.host(policy).await;
    let [completed, failed] = [run(&host, "a", false).await, run(&host, "a", true).await];
    let [other, other_failed] = [run(&host, "b", false).await, run(&host, "b", true).await];
    let event = stage.store.create_event(&Event::new("e", "k", serde_json::json!(null))).await.unwrap();
    stage.store.mark_event_processed(&event).await.unwrap();
    stage.pass(1).await;
    // At exactly one hour nothing is older than an hour.
    stage.pass(1).await;
    for id in [&other, &other_failed] {
        stage.until_gone(id).await;
    }
    assert!(stage.is_there(&completed).await && stage.is_there(&failed).await);
    stage.pass(1).await;
    stage.until_gone(&completed).await;
    while stage.store.get_event(&event).await.is_ok() {
        tokio::task::yield_now().await;
    }
    stage.pass(1).await;
    assert!(stage.is_there(&failed).await, "no time is set for it");
    host.stop().await.unwrap();
}

#[tokio::test]
async fn only_one_of_several_hosts_removes_and_another_one_continues_after_it() {
    let stage = Stage::new().await;
    let policy = |hours: u32| Retention::new().all(HOUR * hours).every(HOUR);
    let first = stage.host(policy(1)).await;
    let second = stage.host(policy(3)).await;
    let id = run(&first, "a", false).await;
    stage.pass(2).await;
    stage.pass(2).await;
    stage.until_gone(&id).await;
    first.stop().await.unwrap();
    let id = run(&second, "a", false).await;
    for _ in 0..3 {
        stage.pass(1).await;
        assert!(stage.is_there(&id).await);
    }
    stage.pass(1).await;
    stage.until_gone(&id).await;
    second.stop().await.unwrap();
}

#[tokio::test]
async fn without_a_policy_nothing_is_removed_and_nothing_sleeps() {
    let stage = Stage::new().await;
    let host = stage.host(Retention::new()).await;
    let id = run(&host, "a", false).await;
    assert!(!stage.clock.deadlines().contains(&(stage.clock.now() + HOUR)));
    stage.clock.advance(1_000 * HOUR);
    assert!(stage.is_there(&id).await);
    assert!(stage.store.clone().management().is_some());
    host.stop().await.unwrap();
    let filter = PurgeFilter::before(stage.clock.now());
    assert_eq!(stage.store.purge(&filter, 0).await.unwrap().instances, 1);
}
