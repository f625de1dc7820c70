use chrono::{DateTime, Utc};
use serde::Serialize;
use wfe_core::{Result, WfeError, definition::to_value, logging, models::Event};

use super::workflow_host::{RESERVED, WorkflowHost};
use crate::{
    engine::Handle,
    store::{Guarantees, StoreAccess},
};

/// Options for publishing an event.
///
/// ```
/// use chrono::{TimeDelta, Utc};
/// use wfe::{PublishOptions, WorkflowHost};
///
/// async fn open_tomorrow(host: &WorkflowHost) -> wfe::Result<String> {
///     let options = PublishOptions {
///         id: Some("opening of branch 7".to_owned()), // publishing it again has no effect
///         effective: Some(Utc::now() + TimeDelta::days(1)), // no instance receives it before
///     };
///     host.publish_event_with("opened", "branch 7", &(), options).await
/// }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PublishOptions {
    /// The caller's own id for the event. It makes publishing idempotent: a second call with the same id, name and
    /// key succeeds and has no effect, even if its data differs. A second call with the same id, but another name or
    /// key, is refused. The id must not begin with `wfe.`, which is reserved for the engine's own events. If it is
    /// `None`, the store generates an id.
    pub id: Option<String>,
    /// When the event happened, or will happen. No instance receives an event before its effective time. If the
    /// effective time is before the start of an instance, the instance's first wait does not receive the event,
    /// unless that wait has an earlier effective date.
    ///
    /// `None` means now. An event without an effective time comes after every start that was stored before it, and
    /// before every start that is stored later. The order does not depend on the clock, which may be set back in
    /// between, or not move at all.
    pub effective: Option<DateTime<Utc>>,
}

impl WorkflowHost {
    /// Publishes an event. Every instance that waits for an event with this name and key receives the event once. An
    /// instance that already exists and starts to wait later also receives it once. Returns the event's id once the
    /// event is stored. From then on, the event is neither lost nor delivered twice, even if processes crash.
    ///
    /// An instance that is started after the event was published receives it only if its wait requests earlier events
    /// ([`effective`](wfe_core::definition::Await::effective)). The same holds for a child workflow that its parent
    /// starts after the event was published.
    ///
    /// The host need not be started. Running hosts on the same store are notified of the event.
    ///
    /// # Errors
    /// * [`Invalid`](WfeError::Invalid): the name begins with `wfe.`, which is reserved for the engine.
    /// * [`Unsupported`](WfeError::Unsupported): the store implements only the base traits (those of
    ///   `PersistenceProvider`), which do not support waiting for events.
    /// * [`Serialization`](WfeError::Serialization): the data cannot be represented as JSON.
    /// * The errors of the store. After [`CommitUnknown`](WfeError::CommitUnknown) the event may or may not be
    ///   stored. If the caller gave an id ([`PublishOptions`]), it is safe to publish the event again.
    pub async fn publish_event(
        &self,
        name: &str,
        key: &str,
        data: &(impl Serialize + ?Sized + Sync),
    ) -> Result<String> {
        self.publish_event_with(name, key, data, PublishOptions::default()).await
    }

    /// Publishes an event with options. Otherwise, this is like [`publish_event`](Self::publish_event).
    ///
    /// # Errors
    /// The errors of [`publish_event`](Self::publish_event), and:
    /// * [`Invalid`](WfeError::Invalid): the id is empty, or begins with `wfe.`, which is reserved for the engine.
    ///   Nothing is written.
    /// * [`AlreadyExists`](WfeError::AlreadyExists): an event with this id, but another name or key, was published
    ///   before. Nothing is written. Choose another id.
    pub async fn publish_event_with(
        &self,
        name: &str,
        key: &str,
        data: &(impl Serialize + ?Sized + Sync),
        options: PublishOptions,
    ) -> Result<String> {
        if name.starts_with(RESERVED) {
            return Err(WfeError::Invalid(format!(
                "event name {name:?} begins with {RESERVED:?}, which is reserved for the engine; choose another name"
            )));
        }
        if let Some(id) = options.id.as_ref().filter(|id| id.starts_with(RESERVED)) {
            return Err(WfeError::Invalid(format!(
                "event id {id:?} begins with {RESERVED:?}, which is reserved for the engine; choose another id"
            )));
        }
        let (store, is_own_id) = (self.store(), options.id.is_some());
        if options.id.as_ref().is_some_and(String::is_empty) {
            return Err(WfeError::Invalid(
                "the event id is empty; set it to `None` or give an id".to_owned(),
            ));
        }
        let event = Event {
            id: options.id.unwrap_or_default(),
            event_name: name.to_owned(),
            event_key: key.to_owned(),
            event_data: to_value(data)?,
            event_time: options.effective.unwrap_or_else(|| self.engine().now()),
            is_processed: false,
        };
        self.require_events()?;
        loop {
            match store_event(self.engine(), &event, options.effective.is_some()).await {
                Ok(id) => {
                    self.event_was_stored(&id, options.effective).await;
                    return Ok(id);
                }
                Err(taken @ WfeError::AlreadyExists { .. }) if is_own_id => {
                    match store.loss.seen(store.provider.get_event(&event.id).await) {
                        Ok(first)
                            if (&first.event_name, &first.event_key)
                                == (&event.event_name, &event.event_key) =>
                        {
                            return Ok(event.id);
                        }
                        Ok(_) => return Err(taken),
                        // The event was removed meanwhile: storing it can succeed now.
                        Err(WfeError::EventNotFound(_)) => {}
                        Err(error) => return Err(error),
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Refuses calls that need events if the store implements only the base traits (those of `PersistenceProvider`).
    pub(crate) fn require_events(&self) -> Result<()> {
        match self.guarantees() {
            Guarantees::OneTransactionPerStep => Ok(()),
            Guarantees::SingleProcess => Err(WfeError::Unsupported("waits for events")),
        }
    }

    /// Notifies the engine that the answer to a wait was stored.
    pub(crate) fn answer_was_stored(&self) {
        self.engine().answer_stored();
    }

    /// Notifies the engine that an event was stored. The engine delivers the event to the instances that wait for it,
    /// and marks the event as processed once no instance waits for it any more.
    async fn event_was_stored(&self, id: &str, effective: Option<DateTime<Utc>>) {
        let due = effective.filter(|time| *time > self.engine().now());
        if !self.engine().event_stored(id, due)
            && due.is_none()
            && let Err(error) = self.store().finish_event(id).await
        {
            // The event stays unprocessed until the next host starts. The sweeper of that host marks it as processed.
            logging::debug!(event = id, %error, "the published event could not be marked as processed");
        }
    }
}

async fn store_event(engine: &Handle, event: &Event, is_dated: bool) -> Result<String> {
    let StoreAccess { provider, loss, .. } = &**engine.store();
    let mut in_doubt = InDoubt(Some(engine));
    let created =
        if is_dated { provider.create_event(event).await } else { provider.create_event_now(event).await };
    if !matches!(created, Err(WfeError::CommitUnknown { .. })) {
        in_doubt.0 = None;
    }
    loss.seen(created)
}

/// Makes the event sweeper check all events if an event may be stored whose id is not known here. This happens if the
/// call was dropped, or if it is unknown whether its commit succeeded.
struct InDoubt<'a>(Option<&'a Handle>);

impl Drop for InDoubt<'_> {
    fn drop(&mut self) {
        if let Some(engine) = self.0 {
            engine.event_in_doubt();
        }
    }
}
