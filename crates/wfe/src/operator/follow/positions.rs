//! Positions of what is stored last, and what is stored behind a position.

use wfe_core::{
    Result,
    traits::{AuditFilter, AuditRecord, Cursor, ErrorRecord, MAX_PAGE, Page},
};

use crate::operator::Operator;

/// How many pages of one kind are read in one look. What comes behind them is not shown.
pub(super) const PAGES: usize = 20;
/// The last position that a store can have.
const LAST: u64 = i64::MAX.unsigned_abs();

pub(super) async fn newest_failure(operator: &Operator) -> Result<Cursor> {
    let page = operator.errors(None, None, 1).await?;
    Ok(page.rows.first().map_or(Cursor(0), |failure| failure.cursor))
}

pub(super) async fn newest_record(operator: &Operator, instance: Option<&str>) -> Result<Cursor> {
    let page = operator.audit(&records_of(instance), None, 1).await?;
    Ok(page.rows.first().map_or(Cursor(0), |record| record.cursor))
}

fn records_of(instance: Option<&str>) -> AuditFilter {
    AuditFilter { instance: instance.map(str::to_owned), ..AuditFilter::default() }
}

/// The failures behind this position, oldest first, and whether these are all.
pub(super) async fn failures_after(operator: &Operator, last: Cursor) -> Result<(Vec<ErrorRecord>, bool)> {
    let read = async |after| operator.errors(None, after, MAX_PAGE).await;
    newer(last, |failure: &ErrorRecord| failure.cursor, read).await
}

/// The records of actions behind this position, oldest first, and whether these are all.
pub(super) async fn records_after(
    operator: &Operator,
    instance: Option<&str>,
    last: Cursor,
) -> Result<(Vec<AuditRecord>, bool)> {
    let filter = records_of(instance);
    let read = async |after| operator.audit(&filter, after, MAX_PAGE).await;
    newer(last, |record: &AuditRecord| record.cursor, read).await
}

/// The rows behind this position of what is read newest first. The rows are returned oldest first, with whether these are
/// all.
async fn newer<T>(
    last: Cursor,
    cursor: impl Fn(&T) -> Cursor,
    read: impl AsyncFn(Option<Cursor>) -> Result<Page<T>>,
) -> Result<(Vec<T>, bool)> {
    let (mut found, mut after, mut is_all) = (Vec::new(), None, false);
    for _ in 0..PAGES {
        let page = read(after).await?;
        let is_old = page.rows.iter().any(|row| cursor(row) <= last);
        found.extend(page.rows.into_iter().filter(|row| cursor(row) > last));
        after = page.next;
        if is_old || after.is_none() {
            is_all = true;
            break;
        }
    }
    found.reverse();
    Ok((found, is_all))
}

/// The first position, at or behind this one, behind which nothing follows. It is found without reading what lies before.
pub(super) async fn last(from: u64, is_end: impl AsyncFn(u64) -> Result<bool>) -> Result<u64> {
    if is_end(from).await? {
        return Ok(from);
    }
    // Something follows behind `low`, and nothing behind `high`.
    let (mut low, mut step) = (from, 1_u64);
    let mut high = loop {
        let high = low.saturating_add(step).min(LAST);
        if high == LAST || is_end(high).await? {
            break high;
        }
        (low, step) = (high, step.saturating_mul(2));
    };
    while low + 1 < high {
        let middle = low + (high - low) / 2;
        if is_end(middle).await? {
            high = middle;
        } else {
            low = middle;
        }
    }
    Ok(high)
}
