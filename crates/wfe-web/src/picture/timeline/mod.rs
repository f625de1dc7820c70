//! What an instance did, and when.

mod reading;
mod scale;
mod strip;
#[cfg(test)]
mod tests;

use std::time::Duration;

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use self::scale::{Scale, percent};
use super::{State, clean, icon, took};

/// The time of an instance as a table: each step has a row, whose last cell is a strip with what happened when. Stretches in
/// which nothing ran are folded, and say how long they were. The rows have the same in words, for those who do not see the
/// strips.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timeline {
    /// The rows, in the order of the definition.
    pub rows: Vec<Row>,
    /// When the picture ends: now, or when the instance ended. `None` means with its last mark.
    pub until: Option<DateTime<Utc>>,
}

/// A step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    /// The id of the step.
    pub step: String,
    /// The name of the step.
    pub name: String,
    /// The symbol of the row, one of the sprite. `None` means that of the state.
    pub symbol: Option<&'static str>,
    /// How the step is. `None` means that it was not reached.
    pub state: Option<State>,
    /// How many containers are around the step.
    pub depth: usize,
    /// How long it took, or another short fact.
    pub took: String,
    /// Whether the instance stands there.
    pub is_here: bool,
    /// How many items there are, for a step that ran for several.
    pub items: u64,
    /// What happened.
    pub marks: Vec<Mark>,
    /// What is written beside the last mark.
    pub note: String,
}

/// A part of a strip. Its times are those of its begin and its end, or of the moment at which it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field says what it is")]
pub enum Mark {
    /// A body ran.
    Ran { from: DateTime<Utc>, to: DateTime<Utc>, state: State },
    /// The step waited.
    Waited { from: DateTime<Utc>, to: DateTime<Utc> },
    /// A container was open. `to` is `None` as long as it is.
    Container { from: DateTime<Utc>, to: Option<DateTime<Utc>> },
    /// A decision was made.
    Decided { at: DateTime<Utc> },
    /// An attempt failed, with this text.
    Attempt { at: DateTime<Utc>, text: String },
    /// The backoff before the next attempt.
    Backoff { from: DateTime<Utc>, to: DateTime<Utc> },
    /// The instance has been standing there since.
    Here { from: DateTime<Utc>, state: State },
    /// The items of a for-each, or the rounds of a loop: one cell each, or, if there are more than 60, the numbers of each
    /// state.
    Items { from: DateTime<Utc>, to: DateTime<Utc>, items: Vec<Item> },
}

/// An item of a for-each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// How it is.
    pub state: State,
    /// The number of attempts. More than one is shown.
    pub attempts: u32,
}

impl Timeline {
    /// The table. `link` gives the relative URL of a step, or `None` if it has no link.
    #[must_use]
    pub fn markup(&self, link: &dyn Fn(&str) -> Option<String>) -> Markup {
        let scale = self.scale();
        html! {
            table.t.tl {
                thead {
                    tr {
                        th scope="col" { "Step" }
                        th.n.p2 scope="col" { "Took" }
                        th.strip.ax scope="col" { span.vh { "When" } (strip::axis(&scale)) }
                    }
                }
                tbody { @for row in &self.rows { (self.row(row, &scale, link)) } }
            }
        }
    }

    fn row(&self, row: &Row, scale: &Scale, link: &dyn Fn(&str) -> Option<String>) -> Markup {
        let class = match (row.is_here, row.state) {
            (true, _) => Some("on"),
            (false, None) => Some("todo"),
            _ => None,
        };
        let depth = (row.depth > 0).then(|| format!("d{}", row.depth.min(6)));
        let colour = row.state.map_or("", State::class);
        let symbol = row.symbol.or(row.state.map(State::class));
        let name = html! {
            (clean(&row.name))
            @if row.items > 1 { " " span.q { "× " (super::spaced(row.items)) } }
        };
        html! {
            tr class=[class] {
                th scope="row" class=[depth] {
                    span class={ "st " (colour) } {
                        @if let Some(symbol) = symbol { (icon(symbol)) } @else { span.i {} }
                        @if let Some(state) = row.state { span.vh { (state.word()) " " } }
                        @if let Some(url) = link(&row.step) { a href=(url) { (name) } } @else { span { (name) } }
                    }
                }
                td.n.q.p2 { (clean(&row.took)) }
                td.strip { (strip::write(row, scale, &self.says(row))) }
            }
        }
    }

    /// The strip of a row in words.
    fn says(&self, row: &Row) -> String {
        let mut says: Vec<String> = row.marks.iter().map(|mark| mark.says(self.end())).collect();
        let attempts = row.marks.iter().filter(|it| matches!(it, Mark::Attempt { .. })).count();
        if attempts > 3 {
            says.retain(|it| !it.starts_with("attempt") && !it.starts_with("paused"));
            says.insert(0, format!("{attempts} failed attempts"));
        }
        if !row.note.is_empty() {
            says.push(clean(&row.note));
        }
        if says.is_empty() { "not reached".to_owned() } else { says.join(", ") }
    }

    fn end(&self) -> i64 {
        let last = self.rows.iter().flat_map(|row| &row.marks).filter_map(|mark| mark.times().1).max();
        self.until.map(|it| it.timestamp_millis()).into_iter().chain(last).max().unwrap_or(0)
    }

    fn scale(&self) -> Scale {
        let marks = || self.rows.iter().flat_map(|row| &row.marks);
        let mut points: Vec<i64> =
            marks().flat_map(|it| [Some(it.times().0), it.times().1]).flatten().collect();
        points.extend(self.until.map(|it| it.timestamp_millis()));
        let busy = marks().filter_map(|mark| match mark {
            Mark::Ran { from, to, .. } | Mark::Items { from, to, .. } => {
                Some((from.timestamp_millis(), to.timestamp_millis()))
            }
            _ => None,
        });
        Scale::new(points, busy.collect())
    }
}

impl Mark {
    /// When it begins and ends, in milliseconds.
    fn times(&self) -> (i64, Option<i64>) {
        let (from, to) = match self {
            Self::Ran { from, to, .. }
            | Self::Waited { from, to }
            | Self::Backoff { from, to }
            | Self::Items { from, to, .. } => (from, Some(to)),
            Self::Container { from, to } => (from, to.as_ref()),
            Self::Decided { at } | Self::Attempt { at, .. } => (at, Some(at)),
            Self::Here { from, .. } => (from, None),
        };
        (from.timestamp_millis(), to.map(DateTime::timestamp_millis))
    }

    fn says(&self, end: i64) -> String {
        let (from, to) = self.times();
        let at = scale::format(from, "%Y-%m-%d %H:%M:%S UTC");
        let long = took(Duration::from_millis((to.unwrap_or(end) - from).unsigned_abs()));
        match self {
            Self::Ran { state, .. } => format!("{} at {at}, {long}", state.word()),
            Self::Waited { .. } => format!("waited {long} from {at}"),
            Self::Container { to: Some(_), .. } => format!("from {at}, {long}"),
            Self::Container { .. } => format!("open since {at}"),
            Self::Decided { .. } => format!("at {at}"),
            Self::Attempt { text, .. } => format!("attempt at {at}: {}", clean(text)),
            Self::Backoff { .. } => format!("paused {long}"),
            Self::Here { state, .. } => format!("{} for {long}", state.word()),
            Self::Items { items, .. } => {
                let counts = strip::counts(items);
                let each: Vec<String> =
                    counts.iter().map(|(state, n)| format!("{n} {}", state.word())).collect();
                let again = items.iter().filter(|it| it.attempts > 1).count();
                let again = if again > 0 { format!(", {again} tried again") } else { String::new() };
                format!("{} items: {}{again}", items.len(), each.join(", "))
            }
        }
    }
}

/// A place and a width as attributes.
fn extent(from: i64, to: i64, least: i64) -> (String, String) {
    (percent(from), percent((to - from).max(least)))
}
