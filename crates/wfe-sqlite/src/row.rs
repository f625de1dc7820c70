//! The rows that a statement has returned. SQLite overwrites a row when it computes the next one, so rows are copied: all rows
//! of a statement into one buffer.

use std::fmt;

use wfe_sqlite_handle::{self as handle, ValueRef};

use crate::request::Taken;

/// Rows of one statement, in the order in which SQLite returned them.
#[derive(Default)]
pub(crate) struct Rows {
    /// The number of columns. Zero as long as there is no row.
    columns: usize,
    cells: Vec<Cell>,
    /// The text of all cells.
    bytes: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Cell {
    Null,
    Integer(i64),
    Real,
    Text { start: usize, length: usize },
    Blob { start: usize, length: usize },
}

impl Rows {
    /// Copies a row, and keeps the copy if `keep` says so. Returns what `keep` has returned.
    pub(crate) fn push(
        &mut self,
        row: &handle::Row<'_>,
        columns: usize,
        keep: impl FnOnce(Row<'_>) -> Taken,
    ) -> Result<Taken, handle::Error> {
        self.columns = columns;
        let (first_cell, first_byte) = (self.cells.len(), self.bytes.len());
        for column in 0..columns {
            let cell = match row.get_ref(column)? {
                ValueRef::Null => Cell::Null,
                ValueRef::Integer(value) => Cell::Integer(value),
                ValueRef::Real(_) => Cell::Real,
                ValueRef::Text(text) => Cell::Text { start: self.keep(text), length: text.len() },
                ValueRef::Blob(blob) => Cell::Blob { start: self.keep(blob), length: blob.len() },
            };
            self.cells.push(cell);
        }
        let taken = keep(Row { cells: &self.cells[first_cell..], bytes: &self.bytes });
        if taken != Taken::Collect {
            self.cells.truncate(first_cell);
            self.bytes.truncate(first_byte);
        }
        Ok(taken)
    }

    fn keep(&mut self, bytes: &[u8]) -> usize {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    pub(crate) fn first(&self) -> Option<Row<'_>> {
        self.iter().next()
    }

    pub(crate) fn iter(&self) -> Iter<'_> {
        Iter { cells: self.cells.chunks_exact(self.columns.max(1)), bytes: &self.bytes }
    }
}

/// The rows of a statement, one after the other.
pub(crate) struct Iter<'r> {
    cells: std::slice::ChunksExact<'r, Cell>,
    bytes: &'r [u8],
}

impl<'r> Iterator for Iter<'r> {
    type Item = Row<'r>;

    fn next(&mut self) -> Option<Row<'r>> {
        self.cells.next().map(|cells| Row { cells, bytes: self.bytes })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.cells.size_hint()
    }
}

impl<'r> IntoIterator for &'r Rows {
    type Item = Row<'r>;
    type IntoIter = Iter<'r>;

    fn into_iter(self) -> Iter<'r> {
        self.iter()
    }
}

/// One row.
#[derive(Clone, Copy)]
pub(crate) struct Row<'r> {
    cells: &'r [Cell],
    bytes: &'r [u8],
}

impl<'r> Row<'r> {
    /// The value in the column with this index, counted from 0.
    pub(crate) fn get<T: Value<'r>>(self, column: usize) -> Result<T, Mismatch> {
        T::of(self, column)
    }

    /// The bytes of a text or a blob, even if the text is not valid UTF-8. Empty for any other value.
    pub(crate) fn bytes(self, column: usize) -> &'r [u8] {
        match self.cells.get(column) {
            Some(&(Cell::Text { start, length } | Cell::Blob { start, length })) => self.range(start, length),
            _ => &[],
        }
    }

    fn range(self, start: usize, length: usize) -> &'r [u8] {
        self.bytes.get(start..start + length).unwrap_or_default()
    }

    fn mismatch(self, column: usize, expected: &'static str) -> Mismatch {
        let found = match self.cells.get(column) {
            None => "no such column",
            Some(Cell::Null) => "NULL",
            Some(Cell::Integer(_)) => INTEGER,
            Some(Cell::Real) => "a REAL",
            Some(Cell::Text { .. }) if expected == TEXT => "a TEXT that is not valid UTF-8",
            Some(Cell::Text { .. }) => TEXT,
            Some(Cell::Blob { .. }) => "a BLOB",
        };
        Mismatch { column, expected, found }
    }
}

const INTEGER: &str = "an INTEGER";
const TEXT: &str = "a TEXT";

/// A type of the values that the columns of the tables have.
pub(crate) trait Value<'r>: Sized {
    fn of(row: Row<'r>, column: usize) -> Result<Self, Mismatch>;
}

impl<'r> Value<'r> for i64 {
    fn of(row: Row<'r>, column: usize) -> Result<Self, Mismatch> {
        match row.cells.get(column) {
            Some(Cell::Integer(value)) => Ok(*value),
            _ => Err(row.mismatch(column, INTEGER)),
        }
    }
}

impl<'r> Value<'r> for &'r str {
    fn of(row: Row<'r>, column: usize) -> Result<Self, Mismatch> {
        match row.cells.get(column) {
            Some(&Cell::Text { start, length }) => {
                std::str::from_utf8(row.range(start, length)).map_err(|_| row.mismatch(column, TEXT))
            }
            _ => Err(row.mismatch(column, TEXT)),
        }
    }
}

impl<'r, T: Value<'r>> Value<'r> for Option<T> {
    fn of(row: Row<'r>, column: usize) -> Result<Self, Mismatch> {
        match row.cells.get(column) {
            Some(Cell::Null) => Ok(None),
            _ => T::of(row, column).map(Some),
        }
    }
}

/// A value has another type than expected.
#[derive(Debug)]
pub(crate) struct Mismatch {
    column: usize,
    expected: &'static str,
    found: &'static str,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { column, expected, found } = self;
        write!(f, "column {column} of the result: expected {expected}, found {found}")
    }
}

impl std::error::Error for Mismatch {}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::{
        connection::execute::{Lent, lend},
        file::open,
        request::{Script, Sql},
    };

    #[tokio::test]
    async fn values_are_copied_and_those_of_another_type_are_told() {
        const SQL: &str = "SELECT 7, 'a' || char(0) || 'ä', NULL, 1.5, x'ff', CAST(x'61ff' AS TEXT), '' \
            UNION ALL SELECT 8, '', NULL, 1.5, x'', '', ''";
        let mut connection = open::memory().await.unwrap();
        let handle = lend(&mut connection).await.unwrap();
        let lent = Lent::new(&handle, &Arc::default());
        let mut script = Script::default();
        script.add(&Sql::<0>::new(SQL), []);
        let done = lent.read(&mut script).unwrap();
        let mut rows = done[0].rows.iter();
        let (row, second) = (rows.next().unwrap(), rows.next().unwrap());
        assert!(rows.next().is_none() && !done[0].rows.is_empty());
        assert_eq!((row.get::<i64>(0).unwrap(), second.get::<i64>(0).unwrap()), (7, 8));
        assert_eq!(row.get::<&str>(1).unwrap(), "a\0ä");
        assert_eq!(row.get::<Option<&str>>(6).unwrap(), Some(""));
        assert_eq!((row.get::<Option<i64>>(2).unwrap(), row.get::<Option<&str>>(2).unwrap()), (None, None));
        assert_eq!((row.bytes(5), row.bytes(4), row.bytes(0)), (&b"a\xff"[..], &b"\xff"[..], &b""[..]));
        let text = |at| row.get::<&str>(at).unwrap_err().to_string();
        let int = |at| row.get::<Option<i64>>(at).unwrap_err().to_string();
        assert!(text(5).ends_with("expected a TEXT, found a TEXT that is not valid UTF-8"), "{}", text(5));
        assert!(text(2).ends_with("found NULL") && text(0).ends_with("found an INTEGER"));
        assert!(text(7).ends_with("found no such column") && text(4).ends_with("found a BLOB"));
        assert!(int(3).ends_with("expected an INTEGER, found a REAL") && int(1).ends_with("found a TEXT"));
    }
}
