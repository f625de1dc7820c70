//! Stored events.

use wfe_core::{
    Result, WfeError,
    traits::{Cursor, EventFilter, MAX_PAGE, Page, StoredEvent},
};

use super::scan::{BEFORE, Bounds, run};
use crate::{
    SqlitePersistenceProvider,
    codec::{self, Fields},
    request::{Script, Value},
    row::Row,
    sql::reports,
};

/// The number of columns of an event's model, with its fault.
const MODEL: usize = 7;

fn decode(row: Row<'_>) -> Result<StoredEvent> {
    let event = codec::event::decode(row, BEFORE)?;
    let mut fields = Fields::new(row, "events", &event.id);
    (0..BEFORE + MODEL).for_each(|_| fields.skip());
    let position = fields.optional_number("position")?;
    let is_consumed = fields.optional_int("consumed")?.is_some();
    Ok(StoredEvent { event, position, is_consumed })
}

pub(super) async fn events(
    store: &SqlitePersistenceProvider,
    filter: &EventFilter,
    after: Option<Cursor>,
    limit: usize,
) -> Result<Page<StoredEvent>> {
    if filter.key.is_some() && filter.name.is_none() {
        return Err(WfeError::Invalid("the key of an event needs the event's name".to_owned()));
    }
    let limit = limit.min(MAX_PAGE);
    let nothing = || Page { rows: Vec::new(), next: None };
    if limit == 0 {
        return Ok(Page { next: after, ..nothing() });
    }
    let after = Value::from(after.and_then(|after| i64::try_from(after.0).ok()).unwrap_or(i64::MAX));
    let (name, key) = (Value::from(&filter.name), Value::from(&filter.key));
    let values = || {
        let unprocessed = Value::from(filter.unprocessed);
        [filter.name.is_some().into(), unprocessed, name.clone(), name.clone(), key.clone(), key.clone()]
    };
    let after = || [after.clone()];
    let mut scripts = Vec::new();
    let mut add = |is_set: bool, add: &dyn Fn(&mut Script)| {
        let mut script = Script::default();
        add(&mut script);
        scripts.push((is_set, script));
    };
    if filter.unprocessed {
        add(true, &|script| {
            script.add_with(&reports::EVENTS_UNPROCESSED, [], &values(), after());
        });
    }
    match (&filter.name, &filter.key) {
        (Some(_), Some(_)) => add(true, &|script| {
            let [after] = after();
            script.add_with(&reports::EVENTS_OF_STREAM, [], &values(), [name.clone(), key.clone(), after]);
        }),
        (Some(_), None) => add(true, &|script| {
            let [after] = after();
            script.add_with(&reports::EVENTS_NAMED, [], &values(), [name.clone(), after]);
        }),
        _ => {}
    }
    add(false, &|script| {
        script.add_with(&reports::EVENTS, [], &values(), after());
    });
    for (is_set, script) in scripts {
        if let Some(found) = run(store, script, Bounds::of_page(limit, is_set), decode).await? {
            let next = found.next.map(|cursor| Cursor(cursor.seq));
            return Ok(Page { rows: store.sound(found.rows)?, next });
        }
    }
    Ok(nothing())
}
