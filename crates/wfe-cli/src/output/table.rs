//! Lists: aligned for people, tab-separated for programs.

use std::fmt::Write as _;

use anstyle::Style;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::safe;

/// What stands in one column of a row.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cell {
    /// For people.
    pub(crate) text: String,
    /// For programs: nothing is shortened or rounded.
    pub(crate) full: String,
    pub(crate) style: Option<Style>,
}

impl Cell {
    /// The same text for people and programs, in one line.
    pub(crate) fn text(text: impl AsRef<str>) -> Self {
        let text = safe::one_line(text.as_ref());
        Self { full: text.clone(), text, style: None }
    }

    /// A text for people, and the full one.
    pub(crate) fn both(text: impl AsRef<str>, full: impl AsRef<str>) -> Self {
        Self { text: safe::one_line(text.as_ref()), full: safe::one_line(full.as_ref()), style: None }
    }

    /// An empty cell if there is nothing to show.
    pub(crate) fn maybe(text: Option<impl AsRef<str>>) -> Self {
        text.map(Self::text).unwrap_or_default()
    }

    pub(crate) fn number(number: impl std::fmt::Display) -> Self {
        Self::text(format!("{number}"))
    }

    pub(crate) fn styled(self, style: Style) -> Self {
        Self { style: Some(style), ..self }
    }
}

/// The text with this style, if colours are on.
pub(crate) fn painted(text: &str, style: Option<Style>, colour: bool) -> String {
    match style {
        Some(style) if colour && !text.is_empty() => format!("{style}{text}{style:#}"),
        _ => text.to_owned(),
    }
}

/// The gap between two columns.
const GAP: usize = 2;
/// The columns whose texts are of no use if they are cut: words, and what is typed into the next command.
const WHOLE: [&str; 4] = ["id", "instance", "reference", "code"];
/// A column is cut down to this width at the least, unless the terminal is too narrow for all of them.
const NARROW: usize = 8;

/// The rows as lines of at most `width` columns. A text that does not fit is cut, and ends with `…`. The widest columns are
/// cut first, so that short ones, such as states, stay whole.
pub(crate) fn aligned(titles: &[&str], rows: &[Vec<Cell>], width: u16, colour: bool) -> String {
    let width = usize::from(width);
    let title = |text: &&str| Cell {
        style: Some(Style::new().bold()),
        ..Cell::text(text.to_uppercase().replace('_', " "))
    };
    let header: Vec<Cell> = titles.iter().map(title).collect();
    let lines = || std::iter::once(&header).chain(rows);
    let column = |at: usize| lines().filter_map(move |line| line.get(at)).map(|cell| &*cell.text);
    let mut widths: Vec<usize> = (0..titles.len()).map(|at| widest(column(at)).min(width)).collect();
    let ranks: Vec<u8> = titles
        .iter()
        .map(|title| match *title {
            "state" | "weight" => 2,
            title => u8::from(WHOLE.contains(&title)),
        })
        .collect();
    fit(&mut widths, &ranks, width.saturating_sub(GAP * titles.len().saturating_sub(1)));
    let mut text = String::new();
    for line in lines() {
        let mut gap = 0;
        for (cell, width) in line.iter().zip(&widths) {
            let shown = cut(&cell.text, *width);
            if !shown.is_empty() {
                text.extend(std::iter::repeat_n(' ', gap));
                text.push_str(&painted(&shown, cell.style, colour));
                gap = 0;
            }
            gap += width.saturating_sub(shown.width()) + GAP;
        }
        text.push('\n');
    }
    text
}

/// Makes the widest columns narrower, until all fit: those of a low rank first.
fn fit(widths: &mut [usize], ranks: &[u8], width: usize) {
    let mut excess = widths.iter().sum::<usize>().saturating_sub(width);
    for (rank, narrow) in [(0, NARROW), (1, NARROW), (1, 1), (2, 1)] {
        while excess > 0 {
            let columns = widths.iter_mut().zip(ranks);
            let shrinking = columns.filter(|(width, of)| **width > narrow && **of <= rank);
            let Some((widest, _)) = shrinking.max_by_key(|(width, _)| **width) else { break };
            *widest -= 1;
            excess -= 1;
        }
    }
}

/// The beginning of the text that takes at most `width` columns, with `…` if that is not all of it.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut rest = width.saturating_sub(1);
    let mut shown: String = text
        .chars()
        .take_while(|c| {
            let wide = c.width().unwrap_or_default();
            let fits = wide <= rest;
            rest = rest.saturating_sub(wide);
            fits
        })
        .collect();
    shown.push('…');
    shown
}

/// The rows as tab-separated lines.
pub(crate) fn separated(rows: &[Vec<Cell>], colour: bool) -> String {
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row.iter().map(|cell| painted(&cell.full, cell.style, colour)).collect();
        // Writing to a text cannot fail.
        let _ = writeln!(text, "{}", cells.join("\t"));
    }
    text
}

/// The width of the longest text.
pub(crate) fn widest<'a>(texts: impl Iterator<Item = &'a str>) -> usize {
    texts.map(UnicodeWidthStr::width).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use anstyle::AnsiColor;

    use super::*;

    fn row(cells: &[&str]) -> Vec<Cell> {
        cells.iter().map(Cell::text).collect()
    }

    #[test]
    fn a_row_is_one_line_that_fits() {
        let long = "the bank is closed, and nobody answers the telephone either";
        let rows = [row(&["✕ failed", "0199f3", long]), row(&["■ suspended", "表", "b"])];
        for width in [20, 40, 80] {
            let text = aligned(&["state", "id", "cause"], &rows, width, false);
            assert_eq!(text.lines().count(), 3, "{text}");
            assert!(text.lines().all(|line| line.width() <= usize::from(width)), "{text}");
        }
        let narrow = aligned(&["state", "id", "cause"], &rows, 40, false);
        assert!(narrow.contains('…') && narrow.contains("■ suspended  表      b\n"), "{narrow}");
        assert!(aligned(&["state", "id", "cause"], &rows, 120, false).contains(long));
    }

    #[test]
    fn colours_do_not_move_columns() {
        let mut cells = row(&["✕ failed", "a", "failed"]);
        cells[0] = cells[0].clone().styled(AnsiColor::Red.on_default());
        let rows = [cells, row(&["✓ completed", "b", "c"])];
        let plain = aligned(&["state", "id", "cause"], &rows, 60, false);
        let bright = aligned(&["state", "id", "cause"], &rows, 60, true);
        assert!(bright.contains("\u{1b}[31m✕ failed\u{1b}[0m"), "{bright:?}");
        assert_eq!(anstream::adapter::strip_str(&bright).to_string(), plain);
    }

    #[test]
    fn nothing_is_cut_in_a_pipe() {
        let rows = [vec![Cell::both("0199…", "0199f3"), Cell::text("a\tb"), Cell::default()]];
        assert_eq!(separated(&rows, false), "0199f3\ta\\tb\t\n");
    }
}
