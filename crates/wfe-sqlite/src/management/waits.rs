//! Open subscriptions.

use wfe_core::{
    Result,
    traits::{Cursor, MAX_PAGE, OpenWait, Page, TaskCount, WaitFilter},
};

use super::{
    filter::event_of,
    scan::{BEFORE, Bounds, run},
};
use crate::{
    SqlitePersistenceProvider,
    codec::{self, Fields},
    request::{Script, Value},
    row::Row,
    sql::reports,
};

fn decode(row: Row<'_>) -> Result<OpenWait> {
    let mut fields = Fields::new(row, "event_subscriptions", "");
    (0..BEFORE).for_each(|_| fields.skip());
    let subscription = codec::subscription::model(&mut fields)?;
    let is_answerable = fields.flag("answer")?;
    let (definition, version) = (fields.string("workflow_definition_id")?, fields.number("version")?);
    Ok(OpenWait { subscription, definition, version, is_answerable })
}

pub(super) async fn waits(
    store: &SqlitePersistenceProvider,
    filter: Option<&WaitFilter>,
    after: Option<Cursor>,
    limit: usize,
) -> Result<Page<OpenWait>> {
    let limit = limit.min(MAX_PAGE);
    let nothing = || Page { rows: Vec::new(), next: None };
    if limit == 0 {
        return Ok(Page { next: after, ..nothing() });
    }
    let event = filter.map(event_of);
    if let Some(None) = event {
        return Ok(nothing());
    }
    let (name, key) = match event.flatten() {
        Some((name, key)) => (Value::from(name), Value::from(key)),
        None => (Value::Null, Value::Null),
    };
    let Ok(after) = after.map_or(Ok(i64::MIN), |after| i64::try_from(after.0)) else { return Ok(nothing()) };
    let (after, values) = (Value::from(after), [name.clone(), name.clone(), key.clone(), key.clone()]);
    let mut sets = Script::default();
    match (&name, &key) {
        (Value::Null, _) => sets.add_with(&reports::WAITS_OPEN, [], &values, [after.clone()]),
        (_, Value::Null) => sets.add_with(&reports::WAITS_NAMED, [], &values, [name, after.clone()]),
        _ => sets.add_with(&reports::WAITS_OF_STREAM, [], &values, [name, key, after.clone()]),
    };
    let mut walk = Script::default();
    walk.add_with(&reports::WAITS, [], &values, [after]);
    for (is_set, script) in [(true, sets), (false, walk)] {
        if let Some(found) = run(store, script, Bounds::of_page(limit, is_set), decode).await? {
            let next = found.next.map(|cursor| Cursor(cursor.seq));
            return Ok(Page { rows: store.sound(found.rows)?, next });
        }
    }
    Ok(nothing())
}

pub(super) async fn task_counts(store: &SqlitePersistenceProvider) -> Result<Vec<TaskCount>> {
    let mut script = Script::default();
    script.add(&reports::TASKS, []);
    let done = store.read(script).await?;
    let rows = done.iter().flat_map(|done| &done.rows);
    rows.map(|row| {
        let mut fields = Fields::new(row, "event_subscriptions", "");
        Ok(TaskCount { event_name: fields.string("event_name")?, open: fields.number("seq")? })
    })
    .collect()
}
