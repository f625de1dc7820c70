//! SQLite's threads log nothing, at any level: a subscriber that panics there would end them. This is a program of its own,
//! since it has one log for all of its threads.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it expects by unwrapping it")]

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use serde_json::json;
use tracing::{
    Event, Metadata, Subscriber,
    metadata::LevelFilter,
    span::{Attributes, Id, Record},
};
use wfe_core::{Result, models::WorkflowInstance, traits::PersistenceProvider, traits::WorkflowRepository};
use wfe_sqlite::SqlitePersistenceProvider;

static STRUCK: AtomicUsize = AtomicUsize::new(0);

struct Bomb;

impl Subscriber for Bomb {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        if event.metadata().target().starts_with("sqlx") {
            STRUCK.fetch_add(1, SeqCst);
        }
        panic!("a subscriber's panic");
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

async fn round(store: Result<SqlitePersistenceProvider>) {
    let store = store.unwrap();
    store.ensure_store_exists().await.unwrap();
    store.create_new_workflow(&WorkflowInstance::new("d", 1, json!(null))).await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn a_subscriber_that_panics_at_every_level_ends_no_thread_of_sqlites() {
    tracing::subscriber::set_global_default(Bomb).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    for _ in 0..2 {
        round(SqlitePersistenceProvider::new(":memory:").await).await;
        round(SqlitePersistenceProvider::file(&path).open().await).await;
    }
    assert_eq!(STRUCK.load(SeqCst), 0, "SQLite's threads log");
}
