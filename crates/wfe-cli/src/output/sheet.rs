use std::fmt::Write as _;

use anstyle::Style;
use unicode_width::UnicodeWidthStr;

use super::{Form, Out, table, table::Cell};

/// The fields of one thing, a label and a value a line.
#[derive(Debug, Default)]
pub(crate) struct Sheet(Vec<(&'static str, Cell)>);

impl Sheet {
    pub(crate) fn field(&mut self, label: &'static str, cell: Cell) {
        self.0.push((label, cell));
    }

    /// A field that is left out if there is nothing to show.
    pub(crate) fn maybe(&mut self, label: &'static str, text: Option<impl AsRef<str>>) {
        if let Some(text) = text {
            self.field(label, Cell::text(text));
        }
    }

    /// The lines: aligned for people, with a tab behind the label for programs.
    pub(crate) fn text(&self, out: &Out) -> String {
        let width = table::widest(self.0.iter().map(|(label, _)| *label));
        let mut text = String::new();
        for (label, cell) in &self.0 {
            // Writing to a text cannot fail.
            let _ = match out.form {
                Form::Table => {
                    let gap = " ".repeat(width.saturating_sub(label.width()) + 2);
                    let value = table::painted(&cell.text, cell.style, out.colour);
                    writeln!(text, "{}{gap}{value}", out.painted(label, Style::new().dimmed()))
                }
                _ => writeln!(text, "{label}\t{}", table::painted(&cell.full, cell.style, out.colour)),
            };
        }
        text
    }
}
