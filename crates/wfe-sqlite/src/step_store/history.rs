//! Pages of history, items and failures.

use serde_json::{Value, value::RawValue};
use wfe_core::{
    Result,
    traits::{Cursor, ErrorRecord, Finished, Page, StepFailure},
};

use super::limit::rows;
use crate::{
    SqlitePersistenceProvider,
    codec::{self, Fields},
    connection::admission::Caller,
    request::Script,
    row::Row,
    sql,
};

/// The maximum number of chunks that one read of items returns. Each chunk has up to 64 KiB, unless one item
/// is larger.
const CHUNKS: i64 = 16;

pub(super) async fn finished(
    store: &SqlitePersistenceProvider,
    id: &str,
    container: &str,
    after: u64,
    limit: usize,
) -> Result<Vec<(u64, Result<Finished>)>> {
    let Ok(after) = i64::try_from(after) else { return Ok(Vec::new()) };
    let mut script = Script::default();
    script.add(&sql::pointers::HISTORY, [id.into(), container.into(), after.into(), rows(limit).into()]);
    let done = store.read(script).await?;
    let rows = done.iter().flat_map(|done| &done.rows);
    rows.map(|row| {
        // The number is greater than `after`, which is not negative.
        let number = Fields::new(row, "execution_pointers", id).number("number")?;
        let pointer = codec::pointer::decode(row, 0, id).map(|(_, pointer, _)| pointer);
        Ok((number, store.named(pointer.map(|pointer| Finished { number, pointer }))))
    })
    .collect()
}

pub(super) async fn items(
    store: &SqlitePersistenceProvider,
    id: &str,
    container: &str,
    from: u64,
    limit: usize,
) -> Result<Vec<Value>> {
    let Ok(from) = i64::try_from(from) else { return Ok(Vec::new()) };
    let until = from.saturating_add(rows(limit));
    let mut script = Script::default();
    script.add(
        &sql::pointers::ITEMS,
        [
            id.into(),
            container.into(),
            from.into(),
            id.into(),
            container.into(),
            from.into(),
            until.into(),
            CHUNKS.into(),
        ],
    );
    let done = store.read_for(Caller::Engine, script).await?;
    let row_name = format!("{container} of {id}");
    let mut items = Vec::new();
    for row in done.iter().flat_map(|done| &done.rows) {
        let mut fields = Fields::new(row, "execution_pointers", &row_name);
        let first = fields.int("number")?;
        let chunk: Vec<Box<RawValue>> = fields.json("item_values")?;
        let wanted = (first..).zip(chunk).filter(|(index, _)| (from..until).contains(index));
        for (_, item) in wanted {
            items.push(
                serde_json::from_str(item.get()).map_err(|source| fields.not_json("item_values", source))?,
            );
        }
    }
    Ok(items)
}

pub(super) async fn failures(
    store: &SqlitePersistenceProvider,
    id: &str,
    after: Option<Cursor>,
    limit: usize,
) -> Result<Page<ErrorRecord>> {
    let Ok(after) = i64::try_from(after.map_or(0, |cursor| cursor.0)) else {
        return Ok(Page { rows: Vec::new(), next: None });
    };
    let mut script = Script::default();
    script.add(&sql::errors::OF_INSTANCE, [id.into(), after.into(), rows(limit).into()]);
    let cursor = |row: Row<'_>| Fields::new(row, "execution_errors", id).number("seq").map(Cursor);
    let (rows, next) = store.page(script, limit, cursor, codec::failure::decode).await?;
    Ok(Page { rows, next })
}

pub(super) async fn last_failures(
    store: &SqlitePersistenceProvider,
    id: &str,
    pointers: &[String],
) -> Result<Vec<StepFailure>> {
    if pointers.is_empty() {
        return Ok(Vec::new());
    }
    let mut script = Script::default();
    for pointer in pointers {
        script.add(&sql::errors::LAST_OF_POINTER, [id.into(), pointer.as_str().into()]);
    }
    let done = store.read(script).await?;
    let rows = done.iter().flat_map(|done| &done.rows).map(codec::failure::decode);
    Ok(store.sound(rows)?.into_iter().map(|record| record.failure).collect())
}
