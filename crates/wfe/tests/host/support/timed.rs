use std::{path::PathBuf, sync::Arc, time::Duration};

use futures_util::stream::{self, BoxStream, StreamExt};
use tempfile::TempDir;
use wfe::{WorkflowHost, definition::AnyDefinition, host::HostBuilder, traits::PersistenceProvider};
use wfe_sqlite::{BUSY_TIMEOUT, SqlitePersistenceProvider};
use wfe_testkit::{Layer, Layered, VirtualClock};

use super::started;

/// Makes a test of each case for each kind of store on which instances can wait for events. Store and host have one
/// virtual clock; nothing is polled, and no news comes from the store: what a host does it does at once and by itself.
macro_rules! in_time {
    ($($(#[$meta:meta])* async fn $name:ident($place:ident: Timed) $body:block)*) => {$(
        mod $name {
            use super::*;

            $(#[$meta])*
            async fn case($place: Timed) $body

            $crate::support::on!(in_memory, Timed::memory().await);
            $crate::support::on!(on_a_file, Timed::file());
        }
    )*};
}
pub(crate) use in_time;

/// A place for instances and events that outlives the hosts on it.
pub struct Timed {
    pub clock: Arc<VirtualClock>,
    place: Place,
}

enum Place {
    Memory(Arc<dyn PersistenceProvider>),
    File(TempDir),
}

impl Timed {
    pub async fn memory() -> Self {
        let clock = Arc::new(VirtualClock::default());
        let provider = SqlitePersistenceProvider::builder(":memory:").clock(clock.clone()).open().await;
        Self { clock, place: Place::Memory(Arc::new(Layered(Silent(Arc::new(provider.unwrap()))))) }
    }

    pub fn file() -> Self {
        Self { clock: Arc::new(VirtualClock::default()), place: Place::File(tempfile::tempdir().unwrap()) }
    }

    pub async fn provider(&self) -> Arc<dyn PersistenceProvider> {
        self.patient(BUSY_TIMEOUT).await
    }

    /// A provider that waits so long for others that hold the file.
    pub async fn patient(&self, busy: Duration) -> Arc<dyn PersistenceProvider> {
        match (&self.place, self.path()) {
            (Place::Memory(provider), _) => provider.clone(),
            (Place::File(_), path) => {
                let file = SqlitePersistenceProvider::file(path.unwrap()).clock(self.clock.clone());
                let provider = file.busy_timeout(busy).open().await;
                Arc::new(Layered(Silent(Arc::new(provider.unwrap()))))
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

    pub async fn builder(&self) -> HostBuilder {
        WorkflowHost::builder_shared(self.provider().await)
            .clock(self.clock.clone())
            .poll_interval(Duration::from_hours(100_000))
    }

    pub async fn host(&self, definitions: &[&AnyDefinition]) -> WorkflowHost {
        started(self.builder().await.build(), definitions).await
    }
}

struct Silent(Arc<dyn PersistenceProvider>);

impl Layer for Silent {
    fn inner(&self) -> &Arc<dyn PersistenceProvider> {
        &self.0
    }

    fn news(&self) -> BoxStream<'static, ()> {
        stream::pending().boxed()
    }
}
