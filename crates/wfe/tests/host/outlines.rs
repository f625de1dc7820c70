//! The outlines of definitions, which hosts store as data.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use wfe::{
    Result, WfeError, WorkflowHost,
    definition::{Definition, Outline, WorkflowBuilder},
    models::Event,
    traits::{DEFINITION, EventRepository, PersistenceProvider},
};
use wfe_sqlite::SqlitePersistenceProvider;
use wfe_testkit::{Layer, Layered};

use crate::support::until;

/// A store that records which events are asked for and stored, and that fails at first if it shall.
struct Recording {
    below: Arc<dyn PersistenceProvider>,
    calls: Calls,
    has_step_store: bool,
}

#[derive(Clone, Default)]
struct Calls {
    read: Arc<Mutex<Vec<String>>>,
    stored: Arc<Mutex<Vec<String>>>,
    failures_left: Arc<Mutex<usize>>,
}

impl Calls {
    /// The ids that were read and stored since the last call.
    fn take(&self) -> (Vec<String>, Vec<String>) {
        let taken = |of: &Mutex<Vec<String>>| {
            let mut ids = std::mem::take(&mut *of.lock().unwrap());
            ids.sort();
            ids
        };
        (taken(&self.read), taken(&self.stored))
    }
}

#[async_trait]
impl Layer for Recording {
    fn inner(&self) -> &Arc<dyn PersistenceProvider> {
        &self.below
    }

    fn has_step_store(&self) -> bool {
        self.has_step_store
    }

    async fn get_event(&self, id: &str) -> Result<Event> {
        self.calls.read.lock().unwrap().push(id.to_owned());
        self.below.get_event(id).await
    }

    async fn create_event_now(&self, event: &Event) -> Result<String> {
        {
            let mut left = self.calls.failures_left.lock().unwrap();
            if let Some(one_less) = left.checked_sub(1) {
                *left = one_less;
                return Err(WfeError::Full { message: "outlines".to_owned(), source: None });
            }
        }
        let id = self.below.create_event_now(event).await?;
        self.calls.stored.lock().unwrap().push(id.clone());
        Ok(id)
    }
}

struct Place {
    store: Arc<SqlitePersistenceProvider>,
    calls: Calls,
}

impl Place {
    async fn new() -> Self {
        Self {
            store: Arc::new(SqlitePersistenceProvider::new(":memory:").await.unwrap()),
            calls: Calls::default(),
        }
    }

    async fn host(&self, has_step_store: bool, definitions: &[Definition<u32>]) -> WorkflowHost {
        let calls = self.calls.clone();
        let host = WorkflowHost::new(Layered(Recording { below: self.store.clone(), calls, has_step_store }));
        for definition in definitions {
            host.register(definition.clone()).unwrap();
        }
        host.start().await.unwrap();
        host
    }

    /// The stored outlines of a definition, oldest first.
    async fn stored(&self, definition: &str) -> Vec<Event> {
        let mut events = Vec::new();
        for id in self.store.get_events(DEFINITION, definition, DateTime::<Utc>::MAX_UTC).await.unwrap() {
            events.push(self.store.get_event(&id).await.unwrap());
        }
        events
    }

    /// Waits until so many outlines were read and stored since the calls were last taken, and returns the sorted ids.
    async fn calls(&self, read: usize, stored: usize) -> (Vec<String>, Vec<String>) {
        let count = |ids: &Mutex<Vec<String>>| ids.lock().unwrap().len();
        until(async || count(&self.calls.read) >= read && count(&self.calls.stored) >= stored).await;
        self.calls.take()
    }

    async fn unprocessed(&self) -> Vec<String> {
        self.store.get_runnable_events(DateTime::<Utc>::MAX_UTC).await.unwrap()
    }
}

fn definition(id: &str, version: u32, steps: &[&str]) -> Definition<u32> {
    let mut builder = WorkflowBuilder::<u32>::new(id, version).then("first", async |_, _| Ok(()));
    for step in steps {
        builder = builder.then(*step, async |_, _| Ok(()));
    }
    builder.build().unwrap()
}

#[tokio::test]
async fn an_outline_is_stored_once_for_each_content_by_whichever_host_has_it_first() {
    for has_step_store in [true, false] {
        let place = Place::new().await;
        let all = [definition("a", 1, &[]), definition("a", 2, &["second"]), definition("b", 1, &[])];
        let host = place.host(has_step_store, &all).await;
        let (read, stored) = place.calls(3, 3).await;
        assert_eq!((read.len(), &read), (3, &stored), "one read and one write for each");
        host.stop().await.unwrap();
        let mut outlines = Vec::new();
        for event in [place.stored("a").await, place.stored("b").await].concat() {
            assert!(event.is_processed && event.event_name == DEFINITION);
            let outline: Outline = serde_json::from_value(event.event_data).unwrap();
            assert!(event.id.starts_with(&format!("wfe.definition:{}:{}:", outline.id, outline.version)));
            assert_eq!(event.event_key, outline.id);
            outlines.push(outline);
        }
        outlines.sort_by_key(|outline| (outline.id.clone(), outline.version));
        assert_eq!(outlines, all.each_ref().map(|definition| definition.outline()));
        assert!(place.unprocessed().await.is_empty());

        // Later hosts read each once, and write what has another content.
        let changed = [definition("a", 1, &[]), definition("a", 2, &["another"])];
        let host = place.host(has_step_store, &changed).await;
        let (read, stored) = place.calls(2, 1).await;
        assert_eq!((read.len(), stored.len()), (2, 1));
        assert!(stored[0].starts_with("wfe.definition:a:2:"));
        host.register(definition("c", 1, &[])).unwrap();
        let (read, stored) = place.calls(1, 1).await;
        assert_eq!((read.len(), stored.len()), (1, 1));
        assert!(stored[0].starts_with("wfe.definition:c:1:"));
        host.stop().await.unwrap();
        assert_eq!(place.calls.take(), (vec![], vec![]));
    }
}

#[tokio::test]
async fn a_host_without_definitions_and_the_engine_s_own_definitions_store_nothing() {
    let place = Place::new().await;
    let host = place.host(true, &[]).await;
    // The definition brings those of its schedules with it.
    host.register(definition("a", 1, &[])).unwrap();
    let (read, stored) = place.calls(1, 1).await;
    assert_eq!((read.len(), stored.len()), (1, 1), "{stored:?}");
    host.stop().await.unwrap();
    assert_eq!(place.calls.take(), (vec![], vec![]));
}

#[tokio::test]
async fn an_outline_that_could_not_be_stored_is_stored_later_and_the_host_goes_on() {
    let place = Place::new().await;
    *place.calls.failures_left.lock().unwrap() = 1;
    let host = place.host(true, &[definition("a", 1, &[])]).await;
    let id = host.start_workflow("a", &1_u32).await.unwrap();
    host.outcome::<u32>(&id).await.unwrap();
    assert_eq!(place.calls(2, 1).await.0.len(), 2);
    host.stop().await.unwrap();
    assert_eq!(place.stored("a").await.len(), 1);
}

#[tokio::test]
async fn two_hosts_that_start_at_once_store_one_outline() {
    let place = Place::new().await;
    let all: Vec<_> = (1..=100).map(|version| definition("a", version, &[])).collect();
    let (one, other) = tokio::join!(place.host(true, &all), place.host(true, &all));
    let (read, stored) = place.calls(200, 100).await;
    assert_eq!((read.len(), stored.len()), (200, 100));
    tokio::try_join!(one.stop(), other.stop()).unwrap();
    assert_eq!(place.stored("a").await.len(), 100);
}
