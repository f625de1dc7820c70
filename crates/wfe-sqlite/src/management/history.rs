//! The history of an instance.

use wfe_core::{
    Result, WfeError,
    traits::{Cursor, Finished, MAX_PAGE, Page},
};

use crate::{
    SqlitePersistenceProvider,
    codec::{self, Fields},
    request::{Done, Script},
    row::Row,
    sql,
};

pub(super) async fn history(
    store: &SqlitePersistenceProvider,
    id: &str,
    after: Option<Cursor>,
    limit: usize,
) -> Result<Page<Finished>> {
    let limit = limit.min(MAX_PAGE);
    // No row has a number beyond that of the column.
    let after = i64::try_from(after.map_or(0, |cursor| cursor.0)).unwrap_or(i64::MAX);
    let mut script = Script::default();
    script.add(&sql::reports::EXISTS, [id.into()]);
    let rows = i64::try_from(limit).unwrap_or(i64::MAX);
    script.add(&sql::pointers::WHOLE_HISTORY, [id.into(), after.into(), rows.into()]);
    let done = store.read(script).await?;
    let rows = |at: usize| done.get(at).into_iter().flat_map(|done: &Done| &done.rows);
    if rows(0).next().is_none() {
        return Err(WfeError::WorkflowNotFound(id.to_owned()));
    }
    let number = |row: Row<'_>| Fields::new(row, "execution_pointers", id).number("number");
    let last = rows(1).last().filter(|_| rows(1).count() == limit);
    let next = last.map(number).transpose()?.map(Cursor);
    let finished = rows(1).map(|row| {
        let number = number(row)?;
        Ok(Finished { number, pointer: codec::pointer::decode(row, 0, id)?.1 })
    });
    Ok(Page { rows: store.sound(finished)?, next })
}
