//! Outlines of definitions.

use wfe_core::{
    Result,
    traits::{Cursor, MAX_PAGE, StoredOutline},
};

use crate::{SqlitePersistenceProvider, codec::Fields, request::Script, row::Row, sql::reports};

pub(super) async fn outlines(
    store: &SqlitePersistenceProvider,
    definition: Option<&str>,
) -> Result<Vec<StoredOutline>> {
    let limit = i64::try_from(MAX_PAGE).unwrap_or(i64::MAX);
    let mut script = Script::default();
    match definition {
        Some(definition) => script.add(&reports::OUTLINES_OF, [definition.into(), limit.into()]),
        None => script.add(&reports::OUTLINES, [limit.into()]),
    };
    let done = store.read(script).await?;
    store.sound(done.iter().flat_map(|done| &done.rows).map(decode))
}

fn decode(row: Row<'_>) -> Result<StoredOutline> {
    let name = Fields::new(row, "events", "").int("seq")?.to_string();
    let mut fields = Fields::new(row, "events", &name);
    let cursor = Cursor(fields.number("seq")?);
    Ok(StoredOutline { cursor, time: fields.time("event_time")?, outline: fields.json("event_data")? })
}
