//! Implements [`EventRepository`].

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use wfe_core::{Kind, Result, WfeError, models::Event, traits::EventRepository};

use super::id_or_fresh;
use crate::{
    SqlitePersistenceProvider,
    codec::{self, time},
    request::{Role, Script},
    sql,
};

#[async_trait]
impl EventRepository for SqlitePersistenceProvider {
    async fn create_event(&self, event: &Event) -> Result<String> {
        self.store_event(event, Some(event.event_time)).await
    }

    async fn create_event_now(&self, event: &Event) -> Result<String> {
        self.store_event(event, None).await
    }

    async fn get_event(&self, event_id: &str) -> Result<Event> {
        let mut script = Script::default();
        script.add(&sql::events::LOAD, [event_id.into()]);
        let done = self.read(script).await?;
        match done.first().and_then(|done| done.rows.first()) {
            Some(row) => self.named(codec::event::decode(row, 0)),
            None => Err(WfeError::EventNotFound(event_id.to_owned())),
        }
    }

    async fn get_runnable_events(&self, as_at: DateTime<Utc>) -> Result<Vec<String>> {
        let mut script = Script::default();
        script.add(&sql::events::UNPROCESSED, [time::bound(as_at).into()]);
        self.event_ids(script).await
    }

    async fn get_events(
        &self,
        event_name: &str,
        event_key: &str,
        as_of: DateTime<Utc>,
    ) -> Result<Vec<String>> {
        let mut script = Script::default();
        script.add(&sql::events::OF_STREAM, [event_name.into(), event_key.into(), time::bound(as_of).into()]);
        self.event_ids(script).await
    }

    async fn mark_event_processed(&self, event_id: &str) -> Result<()> {
        self.mark(event_id, true).await
    }

    async fn mark_event_unprocessed(&self, event_id: &str) -> Result<()> {
        self.mark(event_id, false).await
    }
}

impl SqlitePersistenceProvider {
    async fn event_ids(&self, script: Script) -> Result<Vec<String>> {
        let done = self.read(script).await?;
        self.sound(done.iter().flat_map(|done| &done.rows).map(codec::event::id))
    }

    /// Stores an event. If `date` is `None`, the event happens now.
    async fn store_event(&self, event: &Event, date: Option<DateTime<Utc>>) -> Result<String> {
        let (id, now) = (id_or_fresh(&event.id), self.clock.now());
        let columns = codec::event::encode(event, &id, date, now)?;
        let mut script = Script::about(&id).notifying();
        script.guard_or(
            &sql::events::ID_IS_FREE,
            [id.as_str().into()],
            WfeError::AlreadyExists { kind: Kind::Event, id: id.clone() },
        );
        add_positions(&mut script, now);
        script.add(&sql::events::INSERT, columns);
        self.writer.run(script).await?;
        Ok(id)
    }

    async fn mark(&self, event_id: &str, is_processed: bool) -> Result<()> {
        let mut script = Script::about(event_id);
        script.notifies = !is_processed;
        add_event_existence(&mut script, event_id);
        let mark = is_processed.into();
        script.add(&sql::events::MARK, [mark, event_id.into(), is_processed.into()]);
        self.writer.run(script).await?;
        Ok(())
    }
}

/// Adds a guard, which refuses the script if the event does not exist.
pub(crate) fn add_event_existence(script: &mut Script, event_id: &str) {
    let missing = WfeError::EventNotFound(event_id.to_owned());
    script.guard_or(&sql::events::EXISTS, [event_id.into()], missing);
}

/// Adds statements that give positions to the events that have become due by now.
pub(crate) fn add_positions(script: &mut Script, now: DateTime<Utc>) {
    let now = time::bound(now);
    script.add(&sql::events::DRAW_POSITIONS, [now.into(), now.into()]);
    script.add_as(Role::IfChanged, &sql::events::GIVE_POSITIONS, [now.into()]);
}
