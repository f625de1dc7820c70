//! Log lines about corrupt rows.

use std::{
    fmt::Debug,
    sync::{Arc, Mutex},
};

use tracing::{
    Event as Said, Id, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};
use wfe_core::{
    clock::Clock,
    traits::{EventRepository, StepStore, SubscriptionRepository, WorkflowRepository},
};

use crate::support::{Place, event, instance, texts, wait};

/// Keeps the errors that were logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::ERROR
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Said<'_>) {
        struct Fields(Vec<String>);
        impl Visit for Fields {
            fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
                self.0.push(format!("{field}={value:?}"));
            }
        }
        let mut fields = Fields(Vec::new());
        event.record(&mut fields);
        self.0.lock().unwrap().push(fields.0.join(" "));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn a_value_that_does_not_decode_is_reported_once_with_table_column_and_row() {
    let mut place = Place::new().await;
    for id in ["a", "b"] {
        place.store.create_new_workflow(&instance(id)).await.unwrap();
    }
    place.spoil("UPDATE execution_pointers SET scope = '{\"secret\"' WHERE workflow = 1").await;
    let log = Log::default();
    let _listens = tracing::subscriber::set_default(log.clone());
    for _ in 0..3 {
        let found = place.store.get_workflow_instances(&texts(&["a", "b"])).await.unwrap();
        assert_eq!(found.len(), 1);
    }
    let said = log.0.lock().unwrap().clone();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].contains("execution_pointers.scope, row p of a,") && !said[0].contains("secret"),
        "{said:?}"
    );
    place.spoil("UPDATE workflows SET data = '' WHERE id = 'a'").await;
    place.store.get_workflow_instances(&texts(&["a"])).await.unwrap();
    assert_eq!(log.0.lock().unwrap().len(), 2, "another column");
}

#[tokio::test]
async fn a_wait_of_an_unknown_kind_and_an_event_at_an_invalid_position_are_reported_once_each() {
    let mut place = Place::new().await;
    place.store.create_new_workflow(&instance("a")).await.unwrap();
    place.store.create_event_subscription(&wait("w", "a", "wfe.x")).await.unwrap();
    place.store.create_event(&event("e", 0)).await.unwrap();
    place.spoil("UPDATE event_subscriptions SET kind = ''").await;
    place.spoil("UPDATE events SET position = 0").await;
    let log = Log::default();
    let _listens = tracing::subscriber::set_default(log.clone());
    for _ in 0..3 {
        let expiry = place.clock.now() + chrono::TimeDelta::seconds(1);
        assert_eq!(place.store.open_waits("wfe.x", None, 9).await.unwrap().rows, []);
        assert_eq!(place.store.claim_wait("wfe.x", "t", "w", expiry).await.unwrap(), None);
        assert_eq!(place.store.finish_events(None, 9).await.unwrap().finished, 0);
        place.clock.advance(std::time::Duration::from_secs(2));
    }
    let said = log.0.lock().unwrap().clone();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].contains("event_subscriptions.kind, row w,"), "{said:?}");
    assert!(said[1].contains("events.position, row e,"), "{said:?}");
}
