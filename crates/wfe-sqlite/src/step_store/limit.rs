//! How many rows a statement may return.

/// Converts a number of rows to SQLite's type of integer. A number that is too large for this type means all
/// rows.
pub(super) fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
