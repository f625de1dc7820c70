mod faulty;
mod holding;
mod logged;
mod timed;

pub use faulty::{Fault, after_claims, choosing, faulty, plain, refusing, unreadable};
pub use holding::{
    Gate, after_child_starts, after_loads, after_releases, after_starts, before_ends, before_events,
    before_requests, before_results, before_starts, before_status, crossing, holding_claims,
};
pub use logged::Missed;
pub use timed::Timed;
pub(crate) use timed::in_time;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use wfe::{
    Outcome, Result, WfeError, WorkflowHost,
    definition::{AnyDefinition, IntoStep},
    error::NoEffectReason,
    host::{HostBuilder, Requested},
    traits::PersistenceProvider,
};
use wfe_sqlite::SqlitePersistenceProvider;
use wfe_testkit::steps;

/// Makes a test of `case` on this place.
macro_rules! on {
    ($name:ident, $place:expr) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            case($place).await;
        }
    };
}
pub(crate) use on;

/// Makes a test of each case for each kind of store.
macro_rules! on_every_store {
    ($($(#[$meta:meta])* async fn $name:ident($store:ident: Store) $body:block)*) => {$(
        mod $name {
            use super::*;

            $(#[$meta])*
            async fn case($store: Store) $body

            $crate::support::on!(in_memory, Store::memory().await);
            $crate::support::on!(on_a_file, Store::file());
            $crate::support::on!(on_the_plain_traits_alone, Store::plain());
        }
    )*};
}
pub(crate) use on_every_store;

/// Makes a test of each case for each kind of store with a `StepStore`.
macro_rules! on_every_native_store {
    ($($(#[$meta:meta])* async fn $name:ident($store:ident: Store) $body:block)*) => {$(
        mod $name {
            use super::*;

            $(#[$meta])*
            async fn case($store: Store) $body

            $crate::support::on!(in_memory, Store::memory().await);
            $crate::support::on!(on_a_file, Store::file());
        }
    )*};
}
pub(crate) use on_every_native_store;

/// A place for instances that outlives the hosts on it.
pub enum Store {
    Memory(Arc<dyn PersistenceProvider>),
    File(TempDir),
    Plain(TempDir),
}

impl Store {
    pub async fn memory() -> Self {
        Self::Memory(Arc::new(SqlitePersistenceProvider::new(":memory:").await.unwrap()))
    }

    pub fn file() -> Self {
        Self::File(tempfile::tempdir().unwrap())
    }

    pub fn plain() -> Self {
        Self::Plain(tempfile::tempdir().unwrap())
    }

    pub fn path(&self) -> Option<PathBuf> {
        match self {
            Self::Memory(_) => None,
            Self::File(folder) | Self::Plain(folder) => Some(folder.path().join("state.db")),
        }
    }

    /// A provider on this place; on a file, one of its own each time, as in another process.
    pub async fn provider(&self) -> Arc<dyn PersistenceProvider> {
        let Some(path) = self.path() else {
            let Self::Memory(provider) = self else { unreachable!() };
            return provider.clone();
        };
        let provider = Arc::new(SqlitePersistenceProvider::file(path).open().await.unwrap());
        match self {
            Self::Plain(_) => plain(provider),
            Self::Memory(_) | Self::File(_) => provider,
        }
    }

    /// Settings for a host on this place that looks often enough for tests.
    pub async fn builder(&self) -> HostBuilder {
        WorkflowHost::builder_shared(self.provider().await)
            .poll_interval(Duration::from_millis(20))
            .grace(Duration::from_secs(20))
    }

    /// A started host with these definitions.
    pub async fn host(&self, definitions: &[&AnyDefinition]) -> WorkflowHost {
        started(self.builder().await.build(), definitions).await
    }
}

pub async fn started(host: WorkflowHost, definitions: &[&AnyDefinition]) -> WorkflowHost {
    for definition in definitions {
        host.register_any((*definition).clone()).unwrap();
    }
    host.start().await.unwrap();
    host
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    pub numbers: Vec<u32>,
    pub sum: u32,
}

impl Tally {
    pub fn of(numbers: impl IntoIterator<Item = u32>) -> Self {
        Self { numbers: numbers.into_iter().collect(), sum: 0 }
    }
}

/// A step that does nothing, on this data.
pub fn nothing() -> impl IntoStep<Tally> {
    steps::nothing()
}

/// Counts how often something happened.
#[derive(Clone, Default)]
pub struct Count(Arc<AtomicUsize>);

impl Count {
    pub fn up(&self) -> usize {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// Waits for a condition that another task brings about; far longer than it takes, so that a busy machine fails no test.
pub async fn until(mut condition: impl AsyncFnMut() -> bool) {
    let all = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), all).await.expect("the condition came about");
}

/// Keeps the thread until the condition has come about. If it never does, the test fails by a panic in the body, and not
/// by hanging.
pub fn keep_thread(condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < Duration::from_secs(30), "the condition came about");
        std::thread::yield_now();
    }
}

/// Why a request cannot have an effect, as the host says.
pub fn no_effect(told: Result<Requested>) -> NoEffectReason {
    match told {
        Err(WfeError::NoEffect { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

pub async fn completed(host: &WorkflowHost, id: &str) -> Tally {
    match ended(host, id).await {
        Outcome::Completed(tally) => tally,
        other => panic!("it ended as {other:?}"),
    }
}

pub async fn ended(host: &WorkflowHost, id: &str) -> Outcome<Tally> {
    let end = host.outcome::<Tally>(id);
    tokio::time::timeout(Duration::from_secs(20), end).await.expect("it ended in time").unwrap()
}
