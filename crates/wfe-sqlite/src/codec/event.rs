//! `events`.

use chrono::{DateTime, Utc};
use sqlx::sqlite::SqliteRow;
use wfe_core::{Result, models::Event};

use super::{Fields, json, time};
use crate::request::Value;

/// The columns of an event, as `sql::events::INSERT` wants them: first what it is as seen from now. Without a date it
/// happens now.
pub(crate) fn encode(
    event: &Event,
    id: &str,
    date: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<[Value; 9]> {
    let is_undated = date.is_none();
    let date = date.unwrap_or(now);
    Ok([
        (date <= now).into(),
        (date >= now).into(),
        is_undated.into(),
        id.into(),
        (&event.event_name).into(),
        (&event.event_key).into(),
        json::text("an event's data", &event.event_data)?.into(),
        time::nanos("an event's time", date)?.into(),
        event.is_processed.into(),
    ])
}

/// An event, after `skip` other columns.
pub(crate) fn decode(row: &SqliteRow, skip: usize) -> Result<Event> {
    let mut fields = Fields::new(row, "events", "");
    for _ in 0..skip {
        fields.skip();
    }
    let id = fields.key("id")?;
    Ok(Event {
        id: id.to_owned(),
        event_name: fields.string("event_name")?,
        event_key: fields.string("event_key")?,
        event_data: fields.json("event_data")?,
        event_time: fields.time("event_time")?,
        is_processed: fields.flag("is_processed")?,
    })
}
