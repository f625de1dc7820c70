//! Which instances and events are due, when, and for which owner.

use chrono::{DateTime, Utc};
use wfe_core::{Result, traits::Owner};

use super::limit::rows;
use crate::{
    SqlitePersistenceProvider,
    codec::{Fields, hexadecimal, time, to_integer},
    connection::admission::Caller,
    request::{Script, Value},
    sql,
};

pub(super) async fn upcoming(
    store: &SqlitePersistenceProvider,
    definitions: &[(String, u32)],
    after: DateTime<Utc>,
    limit: usize,
) -> Result<Vec<(i64, String)>> {
    let mut script = Script::default();
    script.add(
        &sql::ownership::UPCOMING,
        [time::millis_bound(after).into(), hexadecimal::definitions(definitions).into(), rows(limit).into()],
    );
    let done = store.read_for(Caller::Engine, script).await?;
    let rows = done.iter().flat_map(|done| &done.rows);
    store.sound(rows.map(|row| {
        let mut fields = Fields::new(row, "workflows", "");
        Ok((fields.int("next_execution")?, fields.key("id")?.to_owned()))
    }))
}

pub(super) async fn upcoming_event(
    store: &SqlitePersistenceProvider,
    after: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>> {
    let mut script = Script::default();
    // A bound before all times that can be stored counts as the earliest time that can be stored. No event has
    // a timestamp after the bound and becomes due before that earliest time.
    let after = time::bound(after).unwrap_or(i64::MIN);
    script.add(&sql::events::NEXT_UPCOMING, [after.into()]);
    let done = store.read_for(Caller::Engine, script).await?;
    let Some(row) = done.first().and_then(|done| done.rows.first()) else { return Ok(None) };
    Fields::new(row, "events", "").optional_time("event_time")
}

pub(super) async fn position_due_events(store: &SqlitePersistenceProvider) -> Result<bool> {
    let mut script = Script::default();
    script.add(&sql::events::HAS_UNPOSITIONED, [store.now().into()]);
    let done = store.read_for(Caller::Engine, script).await?;
    store.position_due(done.first()).await
}

pub(super) async fn requested(store: &SqlitePersistenceProvider, owner: &Owner) -> Result<Vec<String>> {
    let owner = Value::from(to_integer("an owner's id", owner.id())?);
    let mut script = Script::default();
    script.add(&sql::ownership::REQUESTED, [owner.clone(), owner]);
    let done = store.read_for(Caller::Engine, script).await?;
    let rows = done.iter().flat_map(|done| &done.rows);
    store.sound(rows.map(|row| Fields::new(row, "workflows", "").key("id").map(str::to_owned)))
}

pub(super) async fn ended(store: &SqlitePersistenceProvider, ids: &[String]) -> Result<Vec<String>> {
    let mut script = Script::default();
    script.add(&sql::ownership::ENDED, [hexadecimal::ids(ids).into()]);
    store.ids_for(Caller::Engine, script, "workflows").await
}
