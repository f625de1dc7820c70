//! Converts columns to models and back. A value that does not decode is reported as [`WfeError::Corrupt`], with
//! table, column and row.

pub(crate) mod attributes;
pub(crate) mod command;
pub(crate) mod event;
pub(crate) mod failure;
pub(crate) mod hexadecimal;
pub(crate) mod json;
pub(crate) mod names;
pub(crate) mod pointer;
pub(crate) mod prefix;
pub(crate) mod subscription;
pub(crate) mod time;
pub(crate) mod workflow;

use std::ops::RangeInclusive;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use wfe_core::{BoxError, Result, WfeError, redact};

use crate::{
    error,
    row::{self, Row},
};

/// Reads a row's columns from left to right. The column names are used only in errors.
pub(crate) struct Fields<'r> {
    row: Row<'r>,
    table: &'static str,
    id: &'r str,
    next: usize,
    /// The number of bytes of text that have been read so far.
    text_bytes: usize,
}

impl<'r> Fields<'r> {
    /// Begins with the first column. Errors name the row by `table` and `id`.
    pub(crate) fn new(row: Row<'r>, table: &'static str, id: &'r str) -> Self {
        Self { row, table, id, next: 0, text_bytes: 0 }
    }

    /// Skips a column.
    pub(crate) fn skip(&mut self) {
        self.next += 1;
    }

    /// Reads the column whose value names the row in all later errors. If the column does not decode, the error
    /// names the row by the readable part of the column.
    pub(crate) fn key(&mut self, column: &'static str) -> Result<&'r str> {
        let at = self.next;
        match self.text(column) {
            Ok(id) => {
                self.id = id;
                Ok(id)
            }
            Err(WfeError::Corrupt { table, column, message, source, .. }) => {
                let row = String::from_utf8_lossy(self.row.bytes(at)).into_owned();
                Err(WfeError::Corrupt { table, column, row, message, source })
            }
            Err(error) => Err(error),
        }
    }

    fn get<T: row::Value<'r>>(&mut self, column: &'static str) -> Result<T> {
        let at = self.next;
        self.next += 1;
        self.row.get(at).map_err(|source| {
            self.corrupt(column, "it does not have the type that the schema requires", Some(Box::new(source)))
        })
    }

    pub(crate) fn text(&mut self, column: &'static str) -> Result<&'r str> {
        let text: &str = self.get(column)?;
        self.text_bytes += text.len();
        Ok(text)
    }

    pub(crate) fn optional_text(&mut self, column: &'static str) -> Result<Option<&'r str>> {
        let text: Option<&str> = self.get(column)?;
        self.text_bytes += text.map_or(0, str::len);
        Ok(text)
    }

    /// The number of bytes of text that have been read so far.
    pub(crate) fn text_bytes(&self) -> usize {
        self.text_bytes
    }

    pub(crate) fn string(&mut self, column: &'static str) -> Result<String> {
        self.text(column).map(str::to_owned)
    }

    pub(crate) fn optional_string(&mut self, column: &'static str) -> Result<Option<String>> {
        Ok(self.optional_text(column)?.map(str::to_owned))
    }

    pub(crate) fn int(&mut self, column: &'static str) -> Result<i64> {
        self.get(column)
    }

    pub(crate) fn optional_int(&mut self, column: &'static str) -> Result<Option<i64>> {
        self.get(column)
    }

    pub(crate) fn flag(&mut self, column: &'static str) -> Result<bool> {
        Ok(self.within(column, 0..=1)? == 1)
    }

    /// An integer that must fit into a smaller or unsigned type.
    pub(crate) fn number<T: TryFrom<i64>>(&mut self, column: &'static str) -> Result<T> {
        let value = self.int(column)?;
        T::try_from(value).map_err(|_| self.corrupt(column, format!("{value} is out of range"), None))
    }

    /// An integer within bounds.
    pub(crate) fn within(&mut self, column: &'static str, bounds: RangeInclusive<i64>) -> Result<i64> {
        let value = self.int(column)?;
        if bounds.contains(&value) {
            return Ok(value);
        }
        Err(self.corrupt(column, format!("{value} is out of range"), None))
    }

    /// A nullable integer that must fit into a smaller or unsigned type.
    pub(crate) fn optional_number<T: TryFrom<i64>>(&mut self, column: &'static str) -> Result<Option<T>> {
        let Some(value) = self.optional_int(column)? else { return Ok(None) };
        T::try_from(value)
            .map(Some)
            .map_err(|_| self.corrupt(column, format!("{value} is out of range"), None))
    }

    pub(crate) fn time(&mut self, column: &'static str) -> Result<DateTime<Utc>> {
        self.int(column).map(DateTime::from_timestamp_nanos)
    }

    pub(crate) fn optional_time(&mut self, column: &'static str) -> Result<Option<DateTime<Utc>>> {
        Ok(self.optional_int(column)?.map(DateTime::from_timestamp_nanos))
    }

    pub(crate) fn json<T: DeserializeOwned>(&mut self, column: &'static str) -> Result<T> {
        let text = self.text(column)?;
        self.parse(column, text)
    }

    pub(crate) fn optional_json<T: DeserializeOwned>(&mut self, column: &'static str) -> Result<Option<T>> {
        match self.optional_text(column)? {
            None => Ok(None),
            Some(text) => self.parse(column, text).map(Some),
        }
    }

    fn parse<T: DeserializeOwned>(&self, column: &'static str, text: &str) -> Result<T> {
        serde_json::from_str(text).map_err(|source| self.not_json(column, source))
    }

    /// A column whose value must be one of the allowed names. `of` decodes the name.
    pub(crate) fn name<T>(&mut self, column: &'static str, of: impl Fn(&str) -> Option<T>) -> Result<T> {
        let text = self.text(column)?;
        of(text).ok_or_else(|| self.corrupt(column, "it is not one of the allowed names", None))
    }

    /// A nullable column whose value must be one of the allowed names. `of` decodes the name.
    pub(crate) fn optional_name<T>(
        &mut self,
        column: &'static str,
        of: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(text) = self.optional_text(column)? else { return Ok(None) };
        of(text).map(Some).ok_or_else(|| self.corrupt(column, "it is not one of the allowed names", None))
    }

    pub(crate) fn not_json(&self, column: &'static str, source: serde_json::Error) -> WfeError {
        let source = redact(source);
        self.corrupt(
            column,
            format!("it is not valid JSON of the expected type: {source}"),
            Some(Box::new(source)),
        )
    }

    pub(crate) fn corrupt(
        &self,
        column: &'static str,
        message: impl Into<String>,
        source: Option<BoxError>,
    ) -> WfeError {
        error::corrupt(self.table, column, self.id, message, source)
    }
}

/// Converts an unsigned number to the signed integer that its column stores.
///
/// # Errors
/// [`WfeError::Unstorable`]: the number is too large for the column.
pub(crate) fn to_integer<N>(what: &str, number: N) -> Result<i64>
where
    N: Copy + std::fmt::Display + TryInto<i64>,
{
    number.try_into().map_err(|_| WfeError::Unstorable {
        what: what.to_owned(),
        reason: format!("{number} is above {}", i64::MAX),
        source: None,
    })
}

/// The integer in the first column of the first row, or `None` if there is no row. (The column cannot have
/// another type, because the tables are STRICT.)
pub(crate) fn single_int(done: Option<&crate::request::Done>) -> Option<i64> {
    done?.rows.first()?.get(0).ok()
}
