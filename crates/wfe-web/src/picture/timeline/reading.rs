//! Reads what an operator knows about an instance.

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, Utc};
use wfe::{
    operator::{HistoryRow, InstanceView},
    status::{Position, State as InstanceState},
    traits::ErrorRecord,
};
use wfe_core::{
    definition::{Outline, OutlineStep},
    models::PointerStatus,
};

use super::{Item, Mark, Row, Timeline};
use crate::picture::{State, clean, took};

/// What is known about one step.
#[derive(Default)]
struct Known<'v> {
    ended: Vec<&'v HistoryRow>,
    positions: Vec<&'v Position>,
    failures: Vec<&'v ErrorRecord>,
    /// When the first of the steps inside began.
    inside: Option<DateTime<Utc>>,
    /// Whether the instance stands at one of the steps inside.
    is_open: bool,
}

impl Timeline {
    /// The timeline of an instance. `history` has its steps that have ended, `failures` its failed attempts. Without an
    /// outline, the rows are in the order of the history, and containers are not told from other steps.
    #[must_use]
    pub fn of(
        outline: Option<&Outline>,
        view: &InstanceView,
        history: &[HistoryRow],
        failures: &[ErrorRecord],
        now: DateTime<Utc>,
    ) -> Self {
        let mut order: Vec<&str> =
            outline.map_or(vec![], |it| it.steps.iter().map(|step| &*step.id).collect());
        let mut known: HashMap<&str, Known<'_>> = order.iter().map(|id| (*id, Known::default())).collect();
        let mut of = |id| {
            if !known.contains_key(id) {
                order.push(id);
            }
        };
        history.iter().filter_map(|row| row.step.as_deref()).for_each(&mut of);
        view.status.positions.iter().for_each(|it| of(&it.step));
        for row in history {
            if let Some(step) = &row.step {
                known.entry(step).or_default().ended.push(row);
            }
        }
        for position in &view.status.positions {
            known.entry(&position.step).or_default().positions.push(position);
        }
        for failure in failures {
            if let Some(known) = known.get_mut(&*failure.failure.step) {
                known.failures.push(failure);
            }
        }
        let steps: HashMap<&str, &OutlineStep> =
            outline.map_or(HashMap::new(), |it| it.steps.iter().map(|step| (&*step.id, step)).collect());
        around(&order, &steps, &mut known);
        let until = view.status.complete_time.unwrap_or(now);
        let reader =
            Reader { view, steps: &steps, until, last: history.iter().filter_map(|it| it.end).max() };
        let mut seen = std::collections::HashSet::new();
        let rows = order.iter().filter(|id| seen.insert(**id));
        let rows = rows.map(|id| reader.row(id, &known[id])).collect();
        Self { rows, until: Some(until) }
    }
}

/// The containers around a step, innermost first.
fn containers<'s>(id: &str, steps: &HashMap<&str, &'s OutlineStep>) -> Vec<&'s OutlineStep> {
    let mut found = vec![];
    let mut at = steps.get(id).and_then(|it| it.container.as_deref());
    while let Some(step) = at.and_then(|id| steps.get(id))
        && found.len() < 64
    {
        found.push(*step);
        at = step.container.as_deref();
    }
    found
}

/// Notes at containers when the first step inside began, and whether one is still there.
fn around<'s>(
    order: &[&'s str],
    steps: &HashMap<&'s str, &'s OutlineStep>,
    known: &mut HashMap<&'s str, Known<'_>>,
) {
    for id in order {
        let Some(of) = known.get(id) else { continue };
        let begun = of
            .ended
            .iter()
            .filter_map(|it| it.start)
            .chain(of.failures.iter().map(|it| it.failure.error.error_time));
        let (begun, is_open) = (begun.min(), !of.positions.is_empty());
        for container in containers(id, steps) {
            if let Some(outer) = known.get_mut(&*container.id) {
                outer.inside = outer.inside.into_iter().chain(begun).min();
                outer.is_open |= is_open;
            }
        }
    }
}

struct Reader<'v> {
    view: &'v InstanceView,
    steps: &'v HashMap<&'v str, &'v OutlineStep>,
    until: DateTime<Utc>,
    /// When the last step ended.
    last: Option<DateTime<Utc>>,
}

impl Reader<'_> {
    fn row(&self, id: &str, known: &Known<'_>) -> Row {
        let step = self.steps.get(id).copied();
        let kind = step.map_or("step", |it| &*it.kind);
        let around = containers(id, self.steps);
        let mut row = Row {
            step: id.to_owned(),
            name: step.and_then(|it| it.name.as_deref()).unwrap_or(id).to_owned(),
            depth: around.len(),
            is_here: !known.positions.is_empty(),
            ..Row::default()
        };
        let repeats = around.iter().any(|it| matches!(&*it.kind, "for-each" | "while" | "recur"));
        let runs = known.ended.len() + known.positions.len();
        row.state = self.state(known);
        if repeats && runs > 1 {
            self.items(&mut row, known);
        } else if matches!(
            kind,
            "if" | "decide" | "for-each" | "while" | "parallel" | "race" | "saga" | "block"
        ) {
            self.container(&mut row, kind, known);
        } else {
            let waits = matches!(
                kind,
                "wait-for" | "activity" | "user-task" | "sub-workflow" | "delay" | "after" | "recur"
            );
            self.step(&mut row, waits, known);
        }
        row
    }

    fn state(&self, known: &Known<'_>) -> Option<State> {
        if let Some(position) = known.positions.first() {
            let is_suspended = self.view.status.state == InstanceState::Suspended;
            return Some(if is_suspended { State::Suspended } else { State::at(&position.waits) });
        }
        let ended = known.ended.last().map(|it| state(it.status));
        ended.or(known.is_open.then_some(State::Running)).or(known.inside.map(|_| State::Completed))
    }

    /// Since when the instance has been at a step.
    fn since(&self, id: &str, known: &Known<'_>) -> DateTime<Utc> {
        let explained = self.view.why.since.filter(|_| self.view.why.step.as_deref() == Some(id));
        let failed = known.failures.iter().map(|it| it.failure.error.error_time).max();
        let since = failed.or(explained).or(self.last).unwrap_or(self.view.status.create_time);
        since.min(self.until)
    }

    fn step(&self, row: &mut Row, waits: bool, known: &Known<'_>) {
        let failed = known.failures.iter().map(|it| it.failure.error.error_time);
        for (n, failure) in known.failures.iter().enumerate() {
            let at = failure.failure.error.error_time;
            if let Some(before) = n.checked_sub(1).map(|n| known.failures[n].failure.error.error_time) {
                row.marks.push(Mark::Backoff { from: before.min(at), to: at });
            }
            let text = format!("attempt {}: {}", failure.failure.attempt, clean(&failure.failure.code));
            row.marks.push(Mark::Attempt { at, text });
        }
        for ended in &known.ended {
            let Some(to) = ended.end else { continue };
            let from = ended.start.unwrap_or(to).min(to);
            row.took = took(between(from, to));
            let last_failed = failed.clone().filter(|at| *at >= from && *at <= to).max();
            let mark = match (waits, last_failed) {
                (true, _) => Mark::Waited { from, to },
                (false, None) => Mark::Ran { from, to, state: state(ended.status) },
                (false, Some(last)) => {
                    row.marks.push(Mark::Backoff { from: last, to });
                    Mark::Ran { from: to, to, state: state(ended.status) }
                }
            };
            row.marks.push(mark);
            if let Some(event) = ended.event.as_ref().filter(|it| it.data.is_some()) {
                row.note = format!("event {}/{}", clean(&event.name), clean(&event.key));
            }
            if ended.status == PointerStatus::Skipped {
                "skipped".clone_into(&mut row.note);
            }
            if ended.status == PointerStatus::Compensated {
                "compensated".clone_into(&mut row.note);
            }
        }
        if let (Some(_), Some(state)) = (known.positions.first(), row.state) {
            row.marks.push(Mark::Here { from: self.since(&row.step, known), state });
        }
        if known.failures.len() > 1 && row.took.is_empty() {
            row.took = format!("{} attempts", known.failures.len());
        }
    }

    fn container(&self, row: &mut Row, kind: &str, known: &Known<'_>) {
        let symbol = match kind {
            "for-each" | "while" => "loop",
            "if" | "decide" => "branch",
            "parallel" | "race" => "pause",
            _ => "saga",
        };
        row.symbol = Some(symbol);
        let ended = known.ended.last();
        let from = ended.and_then(|it| it.start).into_iter().chain(known.inside).min();
        let Some(from) = from else {
            if !known.is_open {
                row.symbol = row.state.map(|_| symbol);
                return;
            }
            let from = self.last.unwrap_or(self.view.status.create_time).min(self.until);
            row.marks.push(Mark::Container { from, to: None });
            return;
        };
        match (symbol, ended.and_then(|it| it.end)) {
            ("branch", _) => row.marks.push(Mark::Decided { at: from }),
            (_, Some(to)) if !known.is_open => {
                row.took = took(between(from, to));
                row.marks.push(Mark::Container { from, to: Some(to.max(from)) });
            }
            _ if known.is_open => {
                "open".clone_into(&mut row.took);
                row.marks.push(Mark::Container { from, to: None });
            }
            _ => {
                row.marks.push(Mark::Container { from, to: Some(self.last.unwrap_or(self.until).max(from)) });
            }
        }
    }

    fn items(&self, row: &mut Row, known: &Known<'_>) {
        let mut items: Vec<Item> =
            known.ended.iter().map(|it| Item { state: state(it.status), attempts: it.attempts }).collect();
        let suspended = self.view.status.state == InstanceState::Suspended;
        items.extend(known.positions.iter().map(|it| Item {
            state: if suspended { State::Suspended } else { State::at(&it.waits) },
            attempts: 1,
        }));
        let begun = known.ended.iter().filter_map(|it| it.start.or(it.end)).min();
        let ended = known.ended.iter().filter_map(|it| it.end).max();
        let from = begun.unwrap_or_else(|| self.since(&row.step, known));
        let to = if known.positions.is_empty() { ended.unwrap_or(from) } else { self.until };
        let mut times: Vec<Duration> =
            known.ended.iter().filter_map(|it| Some(between(it.start?, it.end?))).collect();
        times.sort_unstable();
        if let Some(middle) = times.get(times.len() / 2) {
            row.took = format!("p50 {}", took(*middle));
        }
        row.items = u64::try_from(items.len()).unwrap_or(u64::MAX);
        row.marks.push(Mark::Items { from, to: to.max(from), items });
    }
}

fn between(from: DateTime<Utc>, to: DateTime<Utc>) -> Duration {
    (to - from).to_std().unwrap_or_default()
}

fn state(status: PointerStatus) -> State {
    match status {
        PointerStatus::Complete | PointerStatus::Skipped => State::Completed,
        PointerStatus::Failed => State::Failed,
        PointerStatus::Cancelled | PointerStatus::Compensated => State::Cancelled,
        PointerStatus::Sleeping => State::Asleep,
        PointerStatus::WaitingForEvent => State::Waiting,
        PointerStatus::Running => State::Running,
        _ => State::Due,
    }
}
