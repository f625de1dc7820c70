//! External tasks. An external task is a subscription that is listed and claimed by its name, and is answered
//! by one event.

use chrono::{DateTime, Utc};
use wfe_core::{
    Kind, Result, WfeError,
    models::{Event, EventSubscription},
    traits::{Cursor, OWN_NAMES, Page},
};

use super::limit::rows;
use crate::{
    SqlitePersistenceProvider,
    codec::{self, Fields, hexadecimal, single_int, time},
    connection::admission::Caller,
    metrics,
    repository::{add_positions, id_or_fresh},
    request::{More, NOTHING, Script, Value, Written},
    row::Row,
    sql,
};

/// The number of columns before the column of the row number.
const MODEL: usize = 12;

pub(super) async fn open_waits(
    store: &SqlitePersistenceProvider,
    name: &str,
    after: Option<Cursor>,
    limit: usize,
) -> Result<Page<EventSubscription>> {
    check_name(name)?;
    let Ok(after) = i64::try_from(after.map_or(0, |cursor| cursor.0)) else {
        return Ok(Page { rows: Vec::new(), next: None });
    };
    let mut script = Script::default();
    script.add(&sql::external_tasks::LIST, [name.into(), after.into(), rows(limit).into()]);
    let cursor = |row: Row<'_>| seq(row).number("seq").map(Cursor);
    let (rows, next) = store.page(script, limit, cursor, codec::subscription::decode).await?;
    Ok(Page { rows, next })
}

pub(super) async fn claim_wait(
    store: &SqlitePersistenceProvider,
    name: &str,
    token: &str,
    worker: &str,
    expiry: DateTime<Utc>,
) -> Result<Option<EventSubscription>> {
    check_name(name)?;
    let expiry = time::nanos("a token's expiry", expiry)?;
    let mut script = Script::default();
    script.add(&sql::external_tasks::IS_ANY_FREE, [name.into(), store.now().into()]);
    if single_int(store.read(script).await?.first()) != Some(1) {
        return Ok(None);
    }
    let mut after = i64::MIN;
    loop {
        let (mut script, now) = (Script::about(name), store.now());
        let expired = metrics::add_expired(&mut script, name, after, now);
        let claim = script.add(
            &sql::external_tasks::CLAIM,
            [token.into(), worker.into(), expiry.into(), name.into(), after.into(), now.into()],
        );
        let done = store.writer.run(script).await?;
        let row = |at: usize| done.get(at).and_then(|done| done.rows.first());
        let expired = expired.and_then(row);
        let Some(row) = row(claim) else { return Ok(None) };
        if let Some(wait) = store.sound_one(codec::subscription::decode(row))? {
            metrics::claimed(name, expired);
            return Ok(Some(wait));
        }
        // The subscription does not decode. It keeps this token until the token expires, and the next
        // subscription after it is claimed.
        after = seq(row).int("seq")?;
    }
}

pub(super) async fn answer_wait(
    store: &SqlitePersistenceProvider,
    wait_id: &str,
    token: Option<&str>,
    event: &Event,
) -> Result<bool> {
    answer_and(store, wait_id, token, event, NOTHING).await
}

/// Answers a subscription. `more` adds statements that run only if the answer is stored.
pub(crate) async fn answer_and(
    store: &SqlitePersistenceProvider,
    wait_id: &str,
    token: Option<&str>,
    event: &Event,
    more: More<'_>,
) -> Result<bool> {
    let (id, now) = (id_or_fresh(&event.id), store.clock.now());
    // A caller without a token is not a worker.
    let caller = if token.is_some() { Caller::Worker } else { Caller::Program };
    if event.event_time > now {
        return Err(WfeError::Invalid(format!("the answer {id:?} has a timestamp in the future")));
    }
    let unprocessed = Event { is_processed: false, ..event.clone() };
    let columns = codec::event::encode(&unprocessed, &id, Some(event.event_time), now)?;
    let [_, _, _, _, name, key, _, at, _] = columns.clone();
    let (wait, id_value, token) = (Value::from(wait_id), Value::from(id.as_str()), Value::from(token));
    let misfit =
        || WfeError::Invalid(format!("the subscription {wait_id:?} does not accept the answer {id:?}"));
    let mut script = Script::about(wait_id).notifying();
    // This guard has no error of its own, because the reason is read afterwards.
    script.guard(&sql::external_tasks::MAY_ANSWER, [wait.clone(), token.clone(), token, store.now().into()]);
    script.guard_or(&sql::external_tasks::TAKES, [wait.clone(), name.clone(), key.clone(), at], misfit());
    script.guard_or(
        &sql::events::ID_IS_FREE,
        [id_value.clone()],
        WfeError::AlreadyExists { kind: Kind::Event, id: id.clone() },
    );
    add_positions(&mut script, now);
    script.add(&sql::events::INSERT, columns);
    script.add(&sql::external_tasks::ANSWER, [id_value.clone(), wait.clone()]);
    more(&mut script);
    if let Written::Done(_) = store.writer.write_for(caller, script).await? {
        return Ok(true);
    }
    // An answer is never withdrawn, so the result of this read was already true when the guard failed.
    let mut script = Script::default();
    script.add(&sql::external_tasks::IS_ANSWERED_BY, [name, key, wait, id_value]);
    match single_int(store.read_for(caller, script).await?.first()) {
        Some(1) => Ok(false),
        Some(_) => Err(misfit()),
        None => Err(WfeError::SubscriptionNotFound(wait_id.to_owned())),
    }
}

pub(super) async fn unanswerable(
    store: &SqlitePersistenceProvider,
    id: &str,
    waits: &[String],
) -> Result<Vec<String>> {
    let mut script = Script::default();
    script.add(&sql::external_tasks::UNANSWERABLE, [hexadecimal::ids(waits).into(), id.into()]);
    let done = store.read_for(Caller::Engine, script).await?;
    let rows = done.iter().flat_map(|done| &done.rows);
    rows.map(|row| Ok(Fields::new(row, "event_subscriptions", "").key("id")?.to_owned())).collect()
}

/// Returns a reader at the column of the row number, which comes after the columns of the model.
fn seq(row: Row<'_>) -> Fields<'_> {
    let mut fields = Fields::new(row, "event_subscriptions", "");
    (0..MODEL).for_each(|_| fields.skip());
    fields
}

/// Checks that this is a name of external tasks. Subscriptions to such a name have an index by name.
fn check_name(name: &str) -> Result<()> {
    if name.starts_with(OWN_NAMES) {
        return Ok(());
    }
    Err(WfeError::Invalid(format!(
        "{name:?} is not a name of external tasks: those begin with {OWN_NAMES:?}"
    )))
}
