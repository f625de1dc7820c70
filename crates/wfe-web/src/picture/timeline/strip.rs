//! The strip of a row: one SVG of 32 pixels, as wide as its cell.

use std::time::Duration;

use maud::{Markup, html};

use super::{
    Item, Mark, Row, extent,
    scale::{Scale, WHOLE, percent},
};
use crate::picture::{State, clean, spaced, took};

/// From more items on, the cells are numbers of each state.
const MOST_CELLS: usize = 60;

/// The head of the strips: folded stretches, and times.
pub(super) fn axis(scale: &Scale) -> Markup {
    html! {
        svg.s aria-hidden="true" {
            g.time {
                @for piece in scale.pieces.iter().filter(|it| it.is_fold) {
                    rect.fold x=(percent(piece.x)) width=(percent(piece.w)) height="28" {}
                }
            }
            g.ticks {
                @for tick in scale.ticks() {
                    text class={ "say" @if tick.has_line { " p2" } } x=(percent(tick.x)) y="18" text-anchor=(tick.anchor) { (tick.text) }
                }
            }
        }
    }
}

pub(super) fn write(row: &Row, scale: &Scale, says: &str) -> Markup {
    let end = row.marks.iter().map(|mark| last(mark, scale)).max();
    let begin = row.marks.iter().map(|mark| scale.x(mark.times().0)).min().unwrap_or(0);
    let note = if row.marks.is_empty() { "not reached" } else { &row.note };
    let now = scale.pieces.iter().rfind(|it| !it.is_fold).map_or(0, |it| it.x);
    let (note_x, anchor) = match end {
        None => (now + 100, "start"),
        Some(end) if end > 7_200 => ((begin - 100).max(0), "end"),
        Some(end) => (end + 100, "start"),
    };
    // Nothing is written before what begins at the left edge.
    let is_shown = !note.is_empty() && (anchor == "start" || begin > 2_000);
    html! {
        svg.s role="img" aria-label=(says) {
            g.time {
                @for piece in scale.pieces.iter().filter(|it| it.is_fold) {
                    rect.fold x=(percent(piece.x)) width=(percent(piece.w)) height="32" {}
                }
                @for tick in scale.ticks().iter().filter(|it| it.has_line) {
                    @let x = if tick.anchor == "start" { tick.x - 40 } else { tick.x };
                    line.grid x1=(percent(x)) x2=(percent(x)) y2="32" {}
                }
                @for piece in scale.pieces.iter().filter(|it| it.is_fold) {
                    @for x in [piece.x, piece.x + piece.w] { line.cut x1=(percent(x)) x2=(percent(x)) y2="32" {} }
                }
            }
            // What is there now is below all that happened before.
            @for is_here in [true, false] {
                @for mark in row.marks.iter().filter(|it| matches!(it, Mark::Here { .. }) == is_here) { (self::mark(mark, scale)) }
            }
            @if is_shown { text.say x=(percent(note_x)) y="20" text-anchor=(anchor) { (crate::picture::text::cut(note, 11, 320)) } }
        }
    }
}

/// Where a mark ends, with the words that it has itself.
fn last(mark: &Mark, scale: &Scale) -> i64 {
    match mark {
        Mark::Here { .. } | Mark::Container { to: None, .. } => WHOLE,
        mark => mark.times().1.map_or(WHOLE, |to| scale.x(to)),
    }
}

fn mark(mark: &Mark, scale: &Scale) -> Markup {
    let (from, to) = mark.times();
    let (x, end) = (scale.x(from), to.map_or(WHOLE, |to| scale.x(to)));
    let long = to.map(|to| took(Duration::from_millis((to - from).unsigned_abs()))).unwrap_or_default();
    match mark {
        Mark::Ran { state, .. } => {
            let x = x.min(WHOLE - 45);
            let (x, w) = extent(x, end, 45);
            html! { rect class={ "bar " (state.class()) } x=(x) y="10" width=(w) height="12" rx="2" { title { (long) } } }
        }
        Mark::Waited { .. } => {
            let (x, w) = extent(x, end, 45);
            html! { rect fill="url(#hatch)" x=(x) y="10" width=(w) height="12" rx="2" { title { "waited " (long) } } }
        }
        Mark::Container { to, .. } => {
            let (x, w) = extent(x, end, 60);
            html! {
                svg.span x=(x) y="12" width=(w) height="9" {
                    path.span d="M.5 9V.5" {}
                    line.span x1="0" x2="100%" y1=".5" y2=".5" {}
                    @if to.is_some() { line.span x1="99.9%" x2="99.9%" y1="0" y2="9" {} }
                }
            }
        }
        Mark::Decided { .. } => glyph("branch", "branch", x, ""),
        Mark::Attempt { text, .. } => glyph("fail", "fail", x, &clean(text)),
        Mark::Backoff { .. } if end - x < 300 => html! {},
        Mark::Backoff { .. } => html! {
            line.pause x1=(percent(x + 90)) x2=(percent(end - 90)) y1="16" y2="16" {}
            @if end - x > 900 { text.say x=(percent(i64::midpoint(x, end))) y="10" text-anchor="middle" { (long) } }
        },
        Mark::Here { state, .. } => here(*state, x, from, scale),
        Mark::Items { items, .. } => cells(items, x, end),
    }
}

/// The tinted end of a strip.
fn here(state: State, x: i64, from: i64, scale: &Scale) -> Markup {
    let x = x.min(WHOLE - 120);
    let end = scale.pieces.last().map_or(from, |it| it.to);
    let long = took(Duration::from_millis((end - from).unsigned_abs()));
    let inside = WHOLE - x > 700;
    html! {
        rect class={ "zone " (state.class()) } x=(percent(x)) y="4" width=(percent(WHOLE - x)) height="24" {}
        (glyph(state.class(), state.class(), x + 90, state.word()))
        @if inside { text class={ "say loud " (state.class()) } x=(percent(x + 220)) y="20" { (long) } }
    }
}

fn glyph(class: &str, symbol: &str, x: i64, title: &str) -> Markup {
    html! {
        svg class={ "gl " (class) } x=(percent(x)) y="10" width="12" height="12" overflow="visible" {
            use href={ "#i-" (symbol) } x="-6" width="12" height="12" {}
            @if !title.is_empty() { title { (title) } }
        }
    }
}

/// How many items are in each state.
pub(super) fn counts(items: &[Item]) -> Vec<(State, usize)> {
    let count = |state: &State| items.iter().filter(|it| it.state == *state).count();
    State::ALL.iter().rev().map(|state| (*state, count(state))).filter(|it| it.1 > 0).collect()
}

/// One strip of equal cells; an item that was tried again is taller, and has the colour of a retry.
fn cells(items: &[Item], x: i64, end: i64) -> Markup {
    if items.len() > MOST_CELLS {
        return segments(items, x, end);
    }
    let many = i64::try_from(items.len()).unwrap_or(1).max(1);
    let (x, width) = (x.min(WHOLE - many * 50), (end - x).max(many * 50));
    html! {
        @for (n, item) in items.iter().enumerate() {
            @let n = i64::try_from(n).unwrap_or(0);
            @let (from, to) = (x + width * n / many, x + width * (n + 1) / many);
            @let again = item.attempts > 1;
            @let class = if again && item.state == State::Completed { State::Retrying } else { item.state }.class();
            @let gap = ((to - from) / 4).min(25);
            rect class={ "bar " (class) } x=(percent(from)) y=(if again { 9 } else { 11 })
                width=(percent(to - from - gap)) height=(if again { 14 } else { 10 }) rx="1" {
                title {
                    "item " (n + 1) ", " (item.state.word()) ", " (item.attempts)
                    (if item.attempts == 1 { " attempt" } else { " attempts" })
                }
            }
        }
    }
}

/// The numbers of each state, as wide as they are many.
fn segments(items: &[Item], x: i64, end: i64) -> Markup {
    let counts = counts(items);
    let x = x.min(WHOLE - 1_600);
    let width = (end - x).max(1_600);
    let parts = i64::try_from(counts.len()).unwrap_or(1).max(1);
    // A part is never too narrow for its number.
    let least = (width / parts / 2).min(500);
    let all = i64::try_from(items.len()).unwrap_or(1).max(1);
    let mut at = x;
    let placed: Vec<(State, usize, i64, i64)> = counts
        .iter()
        .map(|(state, n)| {
            let w = least + (width - least * parts) * i64::try_from(*n).unwrap_or(0) / all;
            at += w;
            (*state, *n, at - w, w)
        })
        .collect();
    html! {
        @for (state, n, x, w) in placed {
            rect class={ "bar " (state.class()) } x=(percent(x)) y="20" width=(percent((w - 20).max(20))) height="4" rx="1" {
                title { (spaced(n as u64)) " " (state.word()) }
            }
            text.say x=(percent(x)) y="16" { (spaced(n as u64)) " " (state.word()) }
        }
    }
}
