//! How many rows a statement may return.

/// A number of rows as SQLite takes it; a larger number means all rows.
pub(super) fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
