//! What the commands print: data to standard output, all else to standard error.

mod pager;
pub(crate) mod safe;
mod sheet;
pub(crate) mod state;
mod table;
pub(crate) mod time;

use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use chrono::{DateTime, Utc};
use serde::Serialize;
use wfe::traits::{Cursor, InstanceState};

pub(crate) use sheet::Sheet;
pub(crate) use table::Cell;
pub(crate) use time::Zone;

use crate::failure::{Failure, Result};

/// The form of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// For people, on a terminal: aligned, relative times.
    Table,
    /// For programs, in a pipe: tab-separated, complete.
    Tabs,
    /// One JSON object a line.
    Json,
}

/// How the commands print.
#[derive(Debug, Clone)]
pub(crate) struct Out {
    pub(crate) form: Form,
    pub(crate) colour: bool,
    /// The width of the terminal in columns.
    pub(crate) width: u16,
    pub(crate) zone: Zone,
    /// The time to which relative times refer.
    pub(crate) now: DateTime<Utc>,
    /// The columns that were asked for.
    pub(crate) columns: Vec<String>,
}

/// One row of a list.
pub(crate) trait Listed: Serialize {
    /// The names of all columns. Those after the first [`SHOWN`](Self::SHOWN) are shown on demand only.
    const COLUMNS: &'static [&'static str];
    /// The number of columns that are shown unless others were asked for.
    const SHOWN: usize;

    /// The columns that are shown to people unless others were asked for, if they differ.
    const PEOPLE: Option<&'static [&'static str]> = None;

    /// What stands in the column with this name.
    fn cell(&self, column: &str, out: &Out) -> Cell;
}

impl Out {
    /// How to print: the form, and for people the width.
    pub(crate) fn new(json: bool, zone: Option<Zone>, columns: Vec<String>, now: DateTime<Utc>) -> Self {
        let out = io::stdout();
        let form = match (json, out.is_terminal()) {
            (true, _) => Form::Json,
            (false, true) => Form::Table,
            (false, false) => Form::Tabs,
        };
        let width = rustix::termios::tcgetwinsize(&out).map_or(0, |size| size.ws_col);
        Self {
            form,
            colour: form != Form::Json && anstream::AutoStream::choice(&out) != anstream::ColorChoice::Never,
            width: if width == 0 { 80 } else { width.max(20) },
            zone: zone.unwrap_or(if form == Form::Table { Zone::Local } else { Zone::Utc }),
            now,
            columns,
        }
    }

    pub(crate) fn is_for_people(&self) -> bool {
        self.form == Form::Table
    }

    /// Prints rows in one of the three forms.
    pub(crate) fn list<T: Listed>(&self, rows: &[T]) -> Result<()> {
        if self.form == Form::Json {
            return Self::json_lines(rows);
        }
        let columns = self.chosen::<T>()?;
        let cells: Vec<Vec<Cell>> =
            rows.iter().map(|row| columns.iter().map(|column| row.cell(column, self)).collect()).collect();
        if self.form == Form::Tabs {
            return print(&table::separated(&cells, self.colour));
        }
        if rows.is_empty() {
            return Ok(());
        }
        self.show(&table::aligned(&columns, &cells, self.width, self.colour))
    }

    /// Prints the rows of a page, and how to get the next one.
    pub(crate) fn page<T: Listed>(&self, rows: &[T], next: Option<Cursor>) -> Result<()> {
        self.list(rows)?;
        if let Some(next) = next {
            note(&format!("more: --after {}", next.0));
        }
        Ok(())
    }

    /// The rows as aligned lines, for a part of a larger text.
    pub(crate) fn part<T: Listed>(&self, rows: &[T]) -> String {
        let columns = self.shown::<T>();
        let cells: Vec<Vec<Cell>> =
            rows.iter().map(|row| columns.iter().map(|column| row.cell(column, self)).collect()).collect();
        match self.form {
            Form::Table => table::aligned(&columns, &cells, self.width, self.colour),
            _ => table::separated(&cells, self.colour),
        }
    }

    fn shown<T: Listed>(&self) -> Vec<&'static str> {
        match T::PEOPLE {
            Some(columns) if self.is_for_people() => columns.to_vec(),
            _ => T::COLUMNS.iter().copied().take(T::SHOWN).collect(),
        }
    }

    /// Refuses a column that the list does not have, before the store is opened.
    pub(crate) fn chosen<T: Listed>(&self) -> Result<Vec<&'static str>> {
        if self.columns.is_empty() {
            return Ok(self.shown::<T>());
        }
        let find = |name: &String| {
            let column = T::COLUMNS.iter().copied().find(|column| column == name);
            column.ok_or_else(|| {
                let names = T::COLUMNS.join(", ");
                Failure::usage(format!("no column {name:?} in this list; the columns are {names}"))
            })
        };
        self.columns.iter().map(find).collect()
    }

    /// Prints each row as a JSON object in a line of its own.
    pub(crate) fn json_lines<T: Serialize>(rows: &[T]) -> Result<()> {
        let mut text = String::new();
        for row in rows {
            text.push_str(&versioned(row)?);
            text.push('\n');
        }
        print(&text)
    }

    /// Prints one JSON object, or what `text` makes of it for people and pipes.
    pub(crate) fn object<T: Serialize>(&self, value: &T, text: impl FnOnce(&Self) -> String) -> Result<()> {
        match self.form {
            Form::Json => Self::json_lines(std::slice::from_ref(value)),
            Form::Tabs => print(&text(self)),
            Form::Table => self.show(&text(self)),
        }
    }

    /// Prints a text: on a terminal through the pager, if it is longer than the screen.
    pub(crate) fn show(&self, text: &str) -> Result<()> {
        if self.is_for_people() { Ok(pager::print(text)?) } else { print(text) }
    }

    /// The text in this style, if colours are on.
    pub(crate) fn painted(&self, text: &str, style: Style) -> String {
        table::painted(text, Some(style), self.colour)
    }

    pub(crate) fn time(&self, time: Option<DateTime<Utc>>) -> Cell {
        time.map(|time| Cell::both(time::relative(time, self.now), self.zone.exact(time))).unwrap_or_default()
    }

    /// For people: the time in their zone, and how far away it is. For programs: the exact time.
    pub(crate) fn long_time(&self, time: DateTime<Utc>) -> Cell {
        let relative = time::relative(time, self.now);
        Cell::both(format!("{} ({relative})", self.zone.readable(time)), self.zone.exact(time))
    }

    pub(crate) fn state(state: InstanceState) -> Cell {
        let text = format!("{} {state}", state::symbol(state));
        Cell::both(text, state.name()).styled(state::style(state))
    }
}

/// A JSON object with the version of its shape, in which nothing can act on a terminal.
pub(crate) fn versioned<T: Serialize>(value: &T) -> Result<String> {
    let text = serde_json::to_string(value).map_err(wfe::WfeError::from)?;
    let text = match text.strip_prefix('{') {
        Some("}") => "{\"v\":1}".to_owned(),
        Some(rest) => format!("{{\"v\":1,{rest}"),
        None => format!("{{\"v\":1,\"value\":{text}}}"),
    };
    Ok(safe::json(&text))
}

/// Prints to standard output, without a pager.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Prints a line to standard error: a hint, a warning, a question. A closed standard error is no failure of the command.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", safe::block(text));
}

/// Prints an error to standard error.
pub(crate) fn error(text: &str) {
    let red = AnsiColor::Red.on_default().bold();
    let mut err = anstream::AutoStream::auto(io::stderr());
    let _ = writeln!(err, "{red}error:{red:#} {}", safe::block(text));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_object_has_the_version_of_its_shape() {
        assert_eq!(versioned(&json!({})).unwrap(), "{\"v\":1}");
        assert_eq!(versioned(&json!({ "a": 1 })).unwrap(), "{\"v\":1,\"a\":1}");
        assert_eq!(versioned(&json!([1])).unwrap(), "{\"v\":1,\"value\":[1]}");
        assert_eq!(versioned(&json!({ "a": "\u{9b}" })).unwrap(), "{\"v\":1,\"a\":\"\\u009b\"}");
    }
}
