//! Failures: those that have suspended or ended instances, and those of each attempt.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, btree_map::Entry},
};

use chrono::{DateTime, Utc};
use wfe_core::{
    Result,
    models::WorkflowStatus,
    traits::{Cursor, ErrorRecord, FailureGroup, MAX_PAGE, Page, Query, Window},
};

use super::{
    filter::Filter,
    list::StoredCause,
    scan::{self, Detail, scan},
};
use crate::{
    SqlitePersistenceProvider,
    codec::{self, Fields, names},
    request::Script,
    row::Row,
    sql,
};

/// An instance that a failure has suspended or ended.
struct Failed {
    id: String,
    definition: String,
    is_suspended: bool,
    cause: StoredCause,
}

fn decode(row: Row<'_>) -> Result<Failed> {
    let mut fields = scan::columns(row);
    let id = fields.key("id")?.to_owned();
    fields.skip();
    let definition = fields.string("workflow_definition_id")?;
    (0..2).for_each(|_| fields.skip());
    let is_suspended = fields.name("status", names::as_status)? == WorkflowStatus::Suspended;
    (0..2).for_each(|_| fields.skip());
    Ok(Failed { id, definition, is_suspended, cause: fields.json("cause")? })
}

pub(super) async fn failure_groups(
    store: &SqlitePersistenceProvider,
    query: &Query,
    as_at: DateTime<Utc>,
) -> Result<Window<FailureGroup>> {
    let Some(filter) = Filter::new(query, as_at, true)? else {
        return Ok(Window { rows: Vec::new(), next: None, looked_at: 0, is_whole: true });
    };
    let found = scan(store, &filter, None, u64::MAX, Detail::Row, decode).await?;
    let mut groups = BTreeMap::new();
    for failed in store.sound(found.rows)? {
        let Failed { id, definition, is_suspended, cause } = failed;
        let time = cause.error.error_time;
        match groups.entry((definition, cause.step.clone(), cause.code.clone())) {
            Entry::Vacant(entry) => {
                let (definition, step, code) = entry.key().clone();
                entry.insert(FailureGroup {
                    definition,
                    step,
                    code,
                    count: 1,
                    suspended: is_suspended.into(),
                    first: time,
                    last: time,
                    message: cause.first_line(),
                    example: id,
                });
            }
            Entry::Occupied(mut entry) => {
                let group = entry.get_mut();
                group.count += 1;
                group.suspended += u64::from(is_suspended);
                group.first = group.first.min(time);
                if time > group.last {
                    (group.last, group.message, group.example) = (time, cause.first_line(), id);
                }
            }
        }
    }
    let mut rows: Vec<FailureGroup> = groups.into_values().collect();
    rows.sort_by_key(|group| Reverse(group.count));
    Ok(Window { rows, next: None, looked_at: found.looked_at, is_whole: found.next.is_none() })
}

pub(super) async fn errors(
    store: &SqlitePersistenceProvider,
    id: Option<&str>,
    after: Option<Cursor>,
    limit: usize,
) -> Result<Page<ErrorRecord>> {
    let (rows, cursor) = (limit.min(MAX_PAGE), after.map(|after| i64::try_from(after.0)));
    let rows_value = i64::try_from(rows).unwrap_or(i64::MAX);
    let mut script = Script::default();
    match (id, cursor) {
        (Some(id), None) => {
            script.add(&sql::errors::OF_INSTANCE, [id.into(), 0_i64.into(), rows_value.into()])
        }
        (Some(id), Some(Ok(after))) => {
            script.add(&sql::errors::OF_INSTANCE, [id.into(), after.into(), rows_value.into()])
        }
        // No failure has such a number.
        (Some(_), Some(Err(_))) => return Ok(Page { rows: Vec::new(), next: None }),
        (None, None | Some(Err(_))) => {
            script.add(&sql::reports::FAILURES, [i64::MAX.into(), rows_value.into()])
        }
        (None, Some(Ok(after))) => script.add(&sql::reports::FAILURES, [after.into(), rows_value.into()]),
    };
    let cursor = |row: Row<'_>| Fields::new(row, "execution_errors", "").number("seq").map(Cursor);
    let (rows, next) = store.page(script, rows, cursor, codec::failure::decode).await?;
    Ok(Page { rows, next })
}
