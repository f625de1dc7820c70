//! The purge of instances that have ended, and of processed events.

use chrono::{DateTime, TimeDelta, Utc};
use wfe_core::{
    Result,
    limits::nanos,
    traits::{InstanceState, MAX_ROWS, PurgeFilter, PurgeReport},
};

use super::removal::{self, Batch};
use crate::{
    SqlitePersistenceProvider,
    codec::{Fields, hexadecimal, time},
    request::{Script, Value},
    sql::removals as sql,
};

/// The number of rows of one transaction, if the caller leaves it to the store: the writer is held for a few milliseconds.
pub(super) const BATCH: usize = 500;
/// The highest number of rows of one transaction.
const LARGEST_BATCH: usize = 10_000;
/// How long records of actions are kept.
const AUDIT_DAYS: i64 = 365;

fn rows(limit: usize) -> usize {
    if limit == 0 { BATCH } else { limit.min(LARGEST_BATCH) }
}

pub(super) async fn purge(
    store: &SqlitePersistenceProvider,
    filter: &PurgeFilter,
    limit: usize,
) -> Result<PurgeReport> {
    store.writer.may_write()?;
    filter.check()?;
    let limit = rows(limit);
    // An instance has at least one row.
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut instances = removal::going(store, None, most).await?;
    for (ending, status) in endings(&filter.states) {
        if instances.len() >= limit {
            break;
        }
        let mut script = Script::default();
        let definition = || Value::from(filter.definition.as_deref());
        let before = nanos("the time before which instances are purged", filter.before)?;
        script.add(
            &sql::PURGEABLE,
            [
                ending.into(),
                status.into(),
                before.into(),
                definition(),
                definition(),
                hexadecimal::ids(&filter.except).into(),
                most.into(),
            ],
        );
        instances.extend(removal::read(store, script, false).await?);
    }
    let batch = Batch::read(store, &instances, limit).await?;
    if batch.is_empty() {
        return Ok(PurgeReport::default());
    }
    let mut report = removal::remove(store, &batch).await?;
    report.more = report.instances == 0 || batch.instances() < instances.len() || instances.len() >= limit;
    // Nothing was removed if other purges were faster, or if all of the instances run again. The next call sees that.
    Ok(report)
}

/// The endings in the table that these states stand for: the ending, and the status if a program has set it without the engine,
/// so that there is no ending.
fn endings(states: &[InstanceState]) -> Vec<(Option<&'static str>, Option<&'static str>)> {
    let states = if states.is_empty() { &InstanceState::ENDED[..] } else { states };
    let mut endings = Vec::new();
    for state in states {
        endings.extend_from_slice(match state {
            InstanceState::Completed => &[(Some("Completed"), None), (None, Some("Complete"))],
            InstanceState::Failed => &[(Some("Failed"), None)],
            InstanceState::Cancelled => &[(Some("Cancelled"), None)],
            InstanceState::Terminated => &[(Some("Terminated"), None), (None, Some("Terminated"))],
            _ => &[],
        });
    }
    endings.sort_unstable();
    endings.dedup();
    endings
}

pub(super) async fn purge_events(
    store: &SqlitePersistenceProvider,
    before: DateTime<Utc>,
    limit: usize,
) -> Result<PurgeReport> {
    store.writer.may_write()?;
    let limit = rows(limit);
    let before = nanos("the time before which events are purged", before)?;
    let audit = time::bound(store.clock.now() - TimeDelta::days(AUDIT_DAYS)).unwrap_or(i64::MIN);
    // The events before this one were looked at by an earlier call with the same time.
    let mut last = store.purged_events.resume(before);
    let (spent, is_over) = loop {
        let mut script = Script::default();
        script.add(
            &sql::EVENT_WINDOW,
            [before.into(), last.into(), i64::try_from(MAX_ROWS).unwrap_or(i64::MAX).into()],
        );
        let done = store.read(script).await?;
        let Some(row) = done.first().and_then(|done| done.rows.first()) else { break (Vec::new(), true) };
        let mut fields = Fields::new(row, "events", "");
        let count = fields.int("count")?.unsigned_abs();
        if count == 0 {
            break (Vec::new(), true);
        }
        let (end, old) = (fields.int("seq")?, fields.int("event_time")?);
        let mut script = Script::default();
        let most = i64::try_from(limit).unwrap_or(i64::MAX);
        script.add(&sql::SPENT, [last.into(), end.into(), before.into(), audit.into(), most.into()]);
        let done = store.read(script).await?;
        let rows = done.iter().flat_map(|done| &done.rows);
        let spent = store.sound(rows.map(|row| Fields::new(row, "events", "").int("seq")))?;
        if let (Some(&latest), true) = (spent.last(), spent.len() >= limit) {
            last = latest;
            break (spent, false);
        }
        // Events are stored in the order of their times, but for those that were dated. Where all are younger, all that follow
        // are younger too.
        if count < MAX_ROWS || old == 0 {
            break (spent, true);
        }
        last = end;
        if !spent.is_empty() {
            break (spent, false);
        }
    };
    store.purged_events.end(before, if is_over { None } else { Some(last) });
    let mut report = PurgeReport { more: !is_over, ..PurgeReport::default() };
    if !spent.is_empty() {
        let mut script = Script::default();
        script.add(&sql::REMOVE_EVENTS, [hexadecimal::numbers(&spent).into(), before.into(), audit.into()]);
        let done = store.writer.run(script).await?;
        report.events = done.first().map_or(0, |done| done.changes);
        report.rows = report.events;
    }
    Ok(report)
}
