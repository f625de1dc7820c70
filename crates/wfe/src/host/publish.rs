use chrono::{DateTime, Utc};
use serde::Serialize;
use wfe_core::{Result, WfeError, definition::to_value, logging, models::Event};

use super::workflow_host::{RESERVED, WorkflowHost};
use crate::{engine::state::shared::Shared, store::Guarantees};

/// What the publisher of an event may say beside its data.
///
/// ```
/// use chrono::{TimeDelta, Utc};
/// use wfe::{PublishOptions, WorkflowHost};
///
/// async fn open_tomorrow(host: &WorkflowHost) -> wfe::Result<String> {
///     let options = PublishOptions {
///         id: Some("opening of branch 7".to_owned()), // published again, it has no effect
///         effective: Some(Utc::now() + TimeDelta::days(1)), // nobody gets it before
///     };
///     host.publish_event_with("opened", "branch 7", &(), options).await
/// }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PublishOptions {
    /// The caller's own id. It makes publishing idempotent: with the same name and key it is accepted a second time, whatever
    /// it carries, and has no effect; with another name or key it is refused. It does not begin with `wfe.`, as the ids of
    /// the engine's own events do. `None`: the store makes one.
    pub id: Option<String>,
    /// When the event happened, or will. One dated ahead reaches nobody before; one dated before the start of an instance is
    /// passed over by its first wait, unless that has an earlier effective date. `None`: now, which comes after each start that
    /// was stored before, and before each one that is stored later, whatever the clock shows: also if it was set back in
    /// between, or stands still.
    pub effective: Option<DateTime<Utc>>,
}

impl WorkflowHost {
    /// Publishes an event: each instance that waits for one of this name and key takes it, once; so does one that comes
    /// to wait later, but existed by now. Returns the event's id once it is stored, from when on it is neither lost nor
    /// delivered twice, whatever process dies.
    ///
    /// An instance that is started later, or a child workflow that its parent begins later, takes it only if its wait
    /// says so ([`effective`](wfe_core::definition::Await::effective)).
    ///
    /// It needs no started host: hosts on the same store hear of it.
    ///
    /// # Errors
    /// * [`Invalid`](WfeError::Invalid): the name begins with `wfe.`, which is the engine's.
    /// * [`Unsupported`](WfeError::Unsupported): the store has only the plain traits, on which nothing can wait.
    /// * [`Serialization`](WfeError::Serialization): the data does not fit JSON.
    /// * Those of the store. After [`CommitUnknown`](WfeError::CommitUnknown) the event may be stored: an id of the
    ///   caller's ([`PublishOptions`]) makes it safe to try again.
    pub async fn publish_event(
        &self,
        name: &str,
        key: &str,
        data: &(impl Serialize + ?Sized + Sync),
    ) -> Result<String> {
        self.publish_event_with(name, key, data, PublishOptions::default()).await
    }

    /// As [`publish_event`](Self::publish_event), with options.
    ///
    /// # Errors
    /// Those of [`publish_event`](Self::publish_event), and:
    /// * [`Invalid`](WfeError::Invalid): the id is empty, or begins with `wfe.`, which is the engine's. Nothing is written.
    /// * [`AlreadyExists`](WfeError::AlreadyExists): the id was first published with another name or key. Nothing is written:
    ///   choose another id.
    pub async fn publish_event_with(
        &self,
        name: &str,
        key: &str,
        data: &(impl Serialize + ?Sized + Sync),
        options: PublishOptions,
    ) -> Result<String> {
        if name.starts_with(RESERVED) {
            return Err(WfeError::Invalid(format!(
                "the event's name {name:?} begins with {RESERVED:?}, as those of the engine's own events do"
            )));
        }
        if let Some(id) = options.id.as_ref().filter(|id| id.starts_with(RESERVED)) {
            return Err(WfeError::Invalid(format!(
                "the event's id {id:?} begins with {RESERVED:?}, as those of the engine's own events do; choose another one"
            )));
        }
        let (shared, is_own_id) = (&self.0.shared, options.id.is_some());
        if options.id.as_ref().is_some_and(String::is_empty) {
            return Err(WfeError::Invalid("the event's id is empty; leave it out, or give one".to_owned()));
        }
        let event = Event {
            id: options.id.unwrap_or_default(),
            event_name: name.to_owned(),
            event_key: key.to_owned(),
            event_data: to_value(data)?,
            event_time: options.effective.unwrap_or_else(|| shared.now()),
            is_processed: false,
        };
        self.require_events()?;
        loop {
            match store_event(shared, &event, options.effective.is_some()).await {
                Ok(id) => {
                    self.event_was_stored(&id, options.effective).await;
                    return Ok(id);
                }
                Err(taken @ WfeError::AlreadyExists { .. }) if is_own_id => {
                    match shared.loss.seen(shared.provider.get_event(&event.id).await) {
                        Ok(first)
                            if (&first.event_name, &first.event_key)
                                == (&event.event_name, &event.event_key) =>
                        {
                            return Ok(event.id);
                        }
                        Ok(_) => return Err(taken),
                        // Somebody has removed it since.
                        Err(WfeError::EventNotFound(_)) => {}
                        Err(error) => return Err(error),
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Refuses what cannot be done on a store with the plain traits alone.
    pub(crate) fn require_events(&self) -> Result<()> {
        match self.guarantees() {
            Guarantees::OneTransactionPerStep => Ok(()),
            Guarantees::SingleProcess => Err(WfeError::Unsupported("waits for events")),
        }
    }

    /// Sees to it that the answer to a wait reaches it.
    pub(crate) fn answer_was_stored(&self) {
        if self.engine().is_some() {
            self.0.shared.post.answered();
        }
    }

    /// Sees to it that the event reaches whoever waits for it, and is marked as processed when nobody does.
    async fn event_was_stored(&self, id: &str, effective: Option<DateTime<Utc>>) {
        let shared = &self.0.shared;
        let now = shared.now();
        let time = effective.unwrap_or(now);
        if self.engine().is_some() {
            shared.post.stored(id, time, now);
        } else if time <= now
            && let Err(error) = shared.store.finish_event(id).await
        {
            // It stays unprocessed, which the next host that starts mends.
            logging::debug!(event = id, %error, "the event could not be marked as processed");
        }
    }
}

async fn store_event(shared: &Shared, event: &Event, is_dated: bool) -> Result<String> {
    let mut unsure = Unsure(Some(shared));
    let created = if is_dated {
        shared.provider.create_event(event).await
    } else {
        shared.provider.create_event_now(event).await
    };
    if !matches!(created, Err(WfeError::CommitUnknown { .. })) {
        unsure.0 = None;
    }
    shared.loss.seen(created)
}

/// An event may have been stored of which nobody here knows the id: the call was dropped, or its outcome is unknown.
struct Unsure<'a>(Option<&'a Shared>);

impl Drop for Unsure<'_> {
    fn drop(&mut self) {
        if let Some(shared) = self.0 {
            shared.post.sweep();
        }
    }
}
