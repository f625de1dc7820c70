//! Conversion of rows of the table `events`.

use chrono::{DateTime, Utc};
use wfe_core::{Result, models::Event};

use super::{Fields, json, time};
use crate::{request::Value, row::Row};

/// The values of the columns of an event, in the order of `sql::events::INSERT`. The first three values say
/// whether the event is due at `now`, whether it is not backdated, and whether its timestamp comes from the
/// store's clock. Without a `date`, the event happens now.
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

/// Checks an event's column `fault`. It must be the next column of the row.
pub(crate) fn check(fields: &mut Fields<'_>) -> Result<()> {
    match fields.optional_text("fault")? {
        None => Ok(()),
        Some("position") => {
            let message = "it is not a position that the store has assigned: subscriptions would miss this event, or all after it";
            Err(fields.corrupt("position", message, None))
        }
        Some(_) => Err(fields.corrupt("timely", "it is neither 0 nor 1", None)),
    }
}

/// The id of an event.
pub(crate) fn id(row: Row<'_>) -> Result<String> {
    let mut fields = Fields::new(row, "events", "");
    let id = fields.key("id")?;
    check(&mut fields)?;
    Ok(id.to_owned())
}

/// Decodes an event from a row that begins with `skip` other columns.
pub(crate) fn decode(row: Row<'_>, skip: usize) -> Result<Event> {
    let mut fields = Fields::new(row, "events", "");
    for _ in 0..skip {
        fields.skip();
    }
    let id = fields.key("id")?;
    let event = Event {
        id: id.to_owned(),
        event_name: fields.string("event_name")?,
        event_key: fields.string("event_key")?,
        event_data: fields.json("event_data")?,
        event_time: fields.time("event_time")?,
        is_processed: fields.flag("is_processed")?,
    };
    check(&mut fields)?;
    Ok(event)
}
