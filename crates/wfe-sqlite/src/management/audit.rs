//! Records of what operators did.

use std::sync::{Arc, Mutex};

use wfe_core::{
    Result,
    sync::lock,
    traits::{AuditFilter, AuditRecord, Cursor, MAX_PAGE, MAX_ROWS, Page},
};

use crate::{
    SqlitePersistenceProvider,
    codec::Fields,
    request::{Script, Taken},
    row::Row,
    sql::reports,
};

/// What a listing has found so far.
#[derive(Default)]
struct Found {
    rows: Vec<Result<AuditRecord>>,
    selected: usize,
    looked_at: u64,
    last: Option<i64>,
}

pub(super) async fn audit(
    store: &SqlitePersistenceProvider,
    filter: &AuditFilter,
    after: Option<Cursor>,
    limit: usize,
) -> Result<Page<AuditRecord>> {
    let limit = limit.min(MAX_PAGE);
    if limit == 0 {
        return Ok(Page { rows: Vec::new(), next: after });
    }
    let after = after.and_then(|after| i64::try_from(after.0).ok()).unwrap_or(i64::MAX);
    let mut script = Script::default();
    match &filter.instance {
        Some(instance) => script.add(&reports::AUDIT_OF, [instance.into(), after.into()]),
        None => script.add(&reports::AUDIT, [after.into()]),
    };
    let found = Arc::new(Mutex::new(Found::default()));
    let (taking, filter) = (Arc::clone(&found), filter.clone());
    script.take = Some(Box::new(move |_, row| {
        let found = &mut *lock(&taking);
        found.looked_at += 1;
        found.last = row.get(0).ok();
        let record = decode(row);
        if !record.as_ref().is_ok_and(|record| !selects(&filter, record)) {
            found.rows.push(record);
            found.selected += 1;
        }
        if found.selected == limit { Taken::End } else { Taken::Skip }
    }));
    store.read(script).await?;
    let Found { rows, selected, looked_at, last } = std::mem::take(&mut *lock(&found));
    let may_follow = selected == limit || looked_at == MAX_ROWS;
    let next = last.filter(|_| may_follow).and_then(|seq| u64::try_from(seq).ok()).map(Cursor);
    Ok(Page { rows: store.sound(rows)?, next })
}

fn selects(filter: &AuditFilter, record: &AuditRecord) -> bool {
    let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
    is(&filter.actor, &record.audit.actor)
        && is(&filter.action, &record.audit.action)
        && filter.time.contains(record.time)
}

fn decode(row: Row<'_>) -> Result<AuditRecord> {
    let name = Fields::new(row, "events", "").int("seq")?.to_string();
    let mut fields = Fields::new(row, "events", &name);
    let cursor = Cursor(fields.number("seq")?);
    Ok(AuditRecord { cursor, time: fields.time("event_time")?, audit: fields.json("event_data")? })
}
