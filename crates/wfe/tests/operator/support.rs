use std::{path::PathBuf, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use wfe::{
    Operator, WorkflowHost,
    definition::{AnyDefinition, Definition, Event, WorkflowBuilder},
    operator::Face,
    traits::PersistenceProvider,
};
use wfe_sqlite::SqlitePersistenceProvider;
use wfe_testkit::{TestHost, VirtualClock};

pub const HOUR: Duration = Duration::from_hours(1);
pub const APPROVED: Event<String> = Event::new("approved");

/// The data of the workflows in these tests.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Order {
    pub name: String,
    pub secret: String,
    pub lines: Vec<u32>,
}

pub fn order() -> Order {
    Order { name: "chairs".to_owned(), secret: "4711".to_owned(), lines: vec![1, 2, 3] }
}

/// A store that outlives the hosts on it, with one virtual clock for all.
pub struct World {
    pub clock: Arc<VirtualClock>,
    place: Place,
}

enum Place {
    Memory(Arc<dyn PersistenceProvider>),
    File(TempDir),
}

impl World {
    pub async fn memory() -> Self {
        let clock = Arc::new(VirtualClock::default());
        let provider = SqlitePersistenceProvider::builder(":memory:").clock(clock.clone()).open().await;
        Self { clock, place: Place::Memory(Arc::new(provider.unwrap())) }
    }

    pub fn file() -> Self {
        Self { clock: Arc::new(VirtualClock::default()), place: Place::File(tempfile::tempdir().unwrap()) }
    }

    /// The store, opened once more as another process would open it, if it is a file.
    pub async fn store(&self) -> Arc<dyn PersistenceProvider> {
        match &self.place {
            Place::Memory(provider) => provider.clone(),
            Place::File(_) => {
                let file = SqlitePersistenceProvider::file(self.path().unwrap()).clock(self.clock.clone());
                Arc::new(file.open().await.unwrap())
            }
        }
    }

    /// `None`: in memory.
    pub fn path(&self) -> Option<PathBuf> {
        match &self.place {
            Place::Memory(_) => None,
            Place::File(folder) => Some(folder.path().join("state.db")),
        }
    }

    /// A host that runs.
    pub async fn host(&self, definitions: &[&Definition<Order>]) -> TestHost {
        let mut builder = TestHost::builder_shared(self.store().await, self.clock.clone());
        for definition in definitions {
            builder = builder.define((*definition).clone());
        }
        builder.start().await.unwrap()
    }

    /// A host that is not started: what it stores waits.
    pub async fn idle_host(&self, definitions: &[&AnyDefinition]) -> WorkflowHost {
        let host = WorkflowHost::builder_shared(self.store().await).clock(self.clock.clone()).build();
        for definition in definitions {
            host.register_any((*definition).clone()).unwrap();
        }
        host
    }

    pub async fn operator(&self) -> Operator {
        let operator = Operator::shared(self.store().await).unwrap();
        operator.clock(self.clock.clone()).acting_as("ann", Face::Program)
    }
}

/// Makes a test of each case for each kind of store.
macro_rules! on_both_stores {
    ($($(#[$meta:meta])* async fn $name:ident($world:ident: World) $body:block)*) => {$(
        mod $name {
            use super::*;

            $(#[$meta])*
            async fn case($world: World) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn in_memory() {
                case(World::memory().await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_a_file() {
                case(World::file()).await;
            }
        }
    )*};
}
pub(crate) use on_both_stores;

pub fn builder(id: &str) -> WorkflowBuilder<Order> {
    WorkflowBuilder::new(id, 1)
}

/// Waits for an event, then completes.
pub fn waits() -> Definition<Order> {
    builder("waits")
        .wait_for("approval", APPROVED, |order: &Order| order.name.clone())
        .then("ship", async |_, _| Ok(()))
        .build()
        .unwrap()
}

/// Waits in real time for what another thread or process does.
pub async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let patience = tokio::time::Instant::now() + Duration::from_secs(30);
    while !holds().await {
        assert!(tokio::time::Instant::now() < patience, "it does not come");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
