use std::{
    fmt,
    future::{Future, IntoFuture},
    pin::Pin,
};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use wfe_core::{
    Kind, NoEffectReason, Result, WfeError,
    definition::{self, to_value},
    logging,
    models::Event,
    traits::{Ending, Published},
};

use super::workflow_host::{WorkflowHost, refuse_reserved};
use crate::{
    engine::Handle,
    metrics,
    store::{Guarantees, StoreAccess},
};

/// An event with its options. It is published when it is awaited. [`WorkflowHost::publish`] returns it.
#[must_use = "nothing is published before it is awaited"]
pub struct Publish {
    host: WorkflowHost,
    name: String,
    key: String,
    data: Result<Value>,
    id: Option<String>,
    effective: Option<DateTime<Utc>>,
    receiver: Option<String>,
}

impl Publish {
    /// Sets the caller's own id for the event. It makes publishing idempotent: a second call with the same id, name and
    /// key succeeds and has no effect, even if its data differs, and says so ([`Published::is_new`]). A second call with
    /// the same id, but another name or key, is refused. The id must not begin with `wfe.`, which is reserved for the
    /// engine's own events. By default, the store generates an id.
    ///
    /// The id is used up even if no instance receives the event, for example because the event is published before the
    /// instance is started. Publishing the event again does not help then. So let the wait accept earlier events
    /// ([`effective`](wfe_core::definition::Sequence::effective)), or publish through the instance
    /// ([`Instance::publish`](crate::host::Instance::publish)), which refuses an instance that does not exist.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Sets when the event happened, or will happen. No instance receives an event before its effective time. If the
    /// effective time is before the start of an instance, the instance's first wait does not receive the event,
    /// unless that wait has an earlier effective time.
    ///
    /// The default is now. An event without an effective time comes after every start that was stored before it, and
    /// before every start that is stored later. The order does not depend on the clock, which may be set back in
    /// between, or not move at all.
    pub fn effective(mut self, time: DateTime<Utc>) -> Self {
        self.effective = Some(time);
        self
    }

    /// Publishes the event only if this instance exists and has not ended.
    pub(crate) fn receiver(mut self, id: impl Into<String>) -> Self {
        self.receiver = Some(id.into());
        self
    }

    async fn run(self) -> Result<Published> {
        let Self { host, name, key, data, id, effective, receiver } = self;
        refuse_reserved("event", "name", &name)?;
        if let Some(id) = &id {
            refuse_reserved("event", "id", id)?;
            if id.is_empty() {
                return Err(WfeError::Invalid(
                    "the event id is empty; leave it out or choose one".to_owned(),
                ));
            }
        }
        let event = Event {
            id: id.unwrap_or_default(),
            event_name: name,
            event_key: key,
            event_data: data?,
            event_time: effective.unwrap_or_else(|| host.engine().now()),
            is_processed: false,
        };
        host.require_events()?;
        let published = store_event(host.engine(), &event, effective.is_some(), receiver.as_deref()).await?;
        if published.is_new {
            metrics::published(&event.event_name);
            host.event_was_stored(&published.id, effective).await;
        }
        Ok(published)
    }
}

impl IntoFuture for Publish {
    type Output = Result<Published>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl fmt::Debug for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, key, id, effective, .. } = self;
        f.debug_struct("Publish")
            .field("name", name)
            .field("key", key)
            .field("id", id)
            .field("effective", effective)
            .finish_non_exhaustive()
    }
}

impl WorkflowHost {
    /// Publishes an event, once the result is awaited. Every instance that waits for an event with this name and key
    /// receives the event once. An instance that already exists and starts to wait later also receives it once. When
    /// the event is stored, it is neither lost nor delivered twice, even if processes crash.
    ///
    /// An instance that is started after the event was published receives it only if its wait requests earlier events
    /// ([`effective`](wfe_core::definition::Sequence::effective)). The same holds for a child workflow that its parent
    /// starts after the event was published.
    ///
    /// The answer tells whether the event is new, whether an instance has consumed it (if it is known), and how many open
    /// waits it met in the transaction that stored it. No waits mean that it waits in the store for an instance that
    /// begins to wait later, or that no instance will receive it.
    ///
    /// The host need not be started. Running hosts on the same store are notified of the event. If the future is
    /// dropped, the event may still be stored.
    ///
    /// ```
    /// use chrono::{TimeDelta, Utc};
    /// use wfe::prelude::*;
    ///
    /// const OPENED: Event<()> = Event::new("opened");
    ///
    /// async fn open_tomorrow(host: &WorkflowHost) -> Result<(), Error> {
    ///     let tomorrow = Utc::now() + TimeDelta::days(1); // no instance receives the event before
    ///     let opening = host.publish(OPENED, "branch 7", ()).id("opening of branch 7").effective(tomorrow).await?;
    ///     if !opening.is_new {
    ///         println!("it was published before; this call had no effect");
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// A payload of another type does not compile:
    ///
    /// ```compile_fail,E0308
    /// use wfe::prelude::*;
    ///
    /// const COUNTED: Event<u32> = Event::new("counted");
    ///
    /// async fn publish(host: &WorkflowHost) {
    ///     let _ = host.publish(COUNTED, "k", "one").await;
    /// }
    /// ```
    ///
    /// # Errors
    /// The awaited result is an error in these cases:
    ///
    /// * [`Invalid`](WfeError::Invalid): the name, or the event's own id, begins with `wfe.`, which is reserved for the
    ///   engine; or the id is empty. Nothing is written.
    /// * [`AlreadyExists`](WfeError::AlreadyExists): an event with this id, but another name or key, was published
    ///   before. Nothing is written. Choose another id.
    /// * [`Unsupported`](WfeError::Unsupported): the store implements only the base traits (those of
    ///   `PersistenceProvider`), which do not support waiting for events.
    /// * [`Serialization`](WfeError::Serialization): the data cannot be represented as JSON.
    /// * The errors of the store. After [`CommitUnknown`](WfeError::CommitUnknown) the event may or may not be
    ///   stored. If the caller gave an [id](Publish::id), it is safe to publish the event again.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "callers write a constant: `host.publish(APPROVED, …)`"
    )]
    pub fn publish<V: Serialize>(
        &self,
        event: definition::Event<V>,
        key: impl Into<String>,
        payload: V,
    ) -> Publish {
        self.publication(event.name(), key.into(), to_value(&payload))
    }

    /// Publishes an event, and returns its id once the event is stored. It is another form of
    /// [`publish`](Self::publish), whose documentation has the rules.
    ///
    /// # Errors
    /// The errors of [`publish`](Self::publish).
    pub async fn publish_event(
        &self,
        name: &str,
        key: &str,
        data: &(impl Serialize + ?Sized + Sync),
    ) -> Result<String> {
        Ok(self.publication(name, key.to_owned(), to_value(data)).await?.id)
    }

    fn publication(&self, name: &str, key: String, data: serde_json::Result<Value>) -> Publish {
        let (name, data) = (name.to_owned(), data.map_err(WfeError::from));
        Publish { host: self.clone(), name, key, data, id: None, effective: None, receiver: None }
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

async fn store_event(
    engine: &Handle,
    event: &Event,
    is_dated: bool,
    receiver: Option<&str>,
) -> Result<Published> {
    let mut in_doubt = InDoubt(Some(engine));
    let published = match engine.store().publish(event, is_dated, receiver).await {
        Err(WfeError::Unsupported(_)) => store_in_parts(engine.store(), event, is_dated, receiver).await,
        published => published,
    };
    if !matches!(published, Err(WfeError::CommitUnknown { .. })) {
        in_doubt.0 = None;
    }
    published
}

/// Stores an event for a step store that cannot tell what the event met. The waits are counted after the event was
/// stored, so an instance may have consumed the event already.
async fn store_in_parts(
    StoreAccess { provider, loss, steps, .. }: &StoreAccess,
    event: &Event,
    is_dated: bool,
    receiver: Option<&str>,
) -> Result<Published> {
    let is_own_id = !event.id.is_empty();
    let known = async || match loss.seen(provider.get_event(&event.id).await) {
        Ok(first) => Ok(Some(first)),
        Err(WfeError::EventNotFound(_)) => Ok(None),
        Err(error) => Err(error),
    };
    let mut published = loop {
        let first = if is_own_id { known().await? } else { None };
        match first {
            Some(first) if (&first.event_name, &first.event_key) == (&event.event_name, &event.event_key) => {
                let mut published = Published::new(first.id);
                published.is_new = false;
                break published;
            }
            Some(first) => return Err(WfeError::AlreadyExists { kind: Kind::Event, id: first.id }),
            None => {}
        }
        if let Some(id) = receiver {
            let loaded = steps.inspect(id).await?;
            if let Some(ending) = Ending::of(loaded.instance.status, loaded.ending) {
                let reason = NoEffectReason::Ended(ending);
                return Err(WfeError::NoEffect { id: id.to_owned(), request: "publish", reason });
            }
        }
        let stored = if is_dated {
            provider.create_event(event).await
        } else {
            provider.create_event_now(event).await
        };
        match loss.seen(stored) {
            // Another caller was faster: the event is known now.
            Err(WfeError::AlreadyExists { .. }) if is_own_id => {}
            stored => break Published::new(stored?),
        }
    };
    let open = provider.get_subscriptions(&event.event_name, &event.event_key, event.event_time).await;
    published.waits = loss.seen(open)?.len().min(Published::MANY);
    Ok(published)
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
