//! Queries as the arguments of statements.

use chrono::{DateTime, Timelike, Utc};
use wfe_core::{
    Result, WfeError,
    executor::{ACTIVITY, CHILD_ENDED, USER_TASK},
    traits::{InstanceState, MAX_ROWS, Order, Query, TextMatch, TimeRange, WaitFilter},
};

use crate::{
    codec::{prefix::behind, time},
    request::Value,
    sql::listings::FILTER,
};

/// A query, prepared for the statements of `sql::listings`.
pub(super) struct Filter {
    /// The arguments of the filter.
    pub(super) values: [Value; FILTER],
    /// The same without the event that is waited for: for leaders that yield only instances that wait for it. `None` if the
    /// query has no such event.
    pub(super) values_of_waiting: Option<[Value; FILTER]>,
    /// Finds the selected instances, the best one first. The last one can always be used; each other one is useless if it
    /// has too many rows.
    pub(super) leaders: Vec<Leader>,
    pub(super) order: Order,
    /// The size of a window: how many rows a leader yields at most.
    pub(super) max_rows: u64,
    /// Whether the query looks into the data, which may be large.
    pub(super) reads_data: bool,
}

/// Which instances a listing looks at (see `sql::listings`).
pub(super) enum Leader {
    All,
    Definition(Value),
    Attribute(Value),
    /// The definition and the version, and whether runnable and suspended instances are looked for.
    Open(Value, Value, [bool; 2]),
    /// The definition, the endings, and the bounds of the time.
    Ended(Value, [Value; 4], [i64; 2]),
    Due,
    Name(Value),
    Id([Value; 2]),
    Reference([Value; 2]),
    Parent(Value),
    Requested,
    EventName(Value),
    Event([Value; 2]),
    States(Box<[Value; 19]>),
}

/// The size of a window of a query about what instances wait for.
const MAX_WAITING: u64 = MAX_ROWS / 4;

/// The names of the endings, in the order of [`InstanceState::ENDED`].
const ENDINGS: [&str; 4] = ["Completed", "Failed", "Cancelled", "Terminated"];

fn bit(state: InstanceState) -> i64 {
    InstanceState::ALL.iter().position(|known| *known == state).map_or(0, |at| 1 << at)
}

fn bits(states: &[InstanceState]) -> i64 {
    states.iter().map(|state| bit(*state)).fold(0, |all, bit| all | bit)
}

/// Times in this range, both bounds included.
pub(super) fn bounds(range: TimeRange) -> [i64; 2] {
    let is_leap = |time: DateTime<Utc>| time.nanosecond() >= 1_000_000_000;
    let from = range.from.map_or(i64::MIN, |from| match time::bound(from) {
        None => i64::MIN,
        Some(bound) => bound.saturating_add(is_leap(from).into()),
    });
    let until = match range.until {
        None => i64::MAX,
        Some(until) => match time::bound(until) {
            // No stored time is earlier.
            None | Some(i64::MIN) => return [1, 0],
            Some(bound) if is_leap(until) || bound == i64::MAX => bound,
            Some(bound) => bound - 1,
        },
    };
    [from, until]
}

/// The name and the key of the event for which a subscription waits. `None`: the filter is about no event.
pub(super) fn event_of(waits: &WaitFilter) -> Option<(String, Option<&str>)> {
    match waits {
        WaitFilter::Event { name, key } => Some((name.clone(), key.as_deref())),
        WaitFilter::Activity { name } => Some((format!("{ACTIVITY}{name}"), None)),
        WaitFilter::Task => Some((USER_TASK.to_owned(), None)),
        WaitFilter::Child => Some((CHILD_ENDED.to_owned(), None)),
        _ => None,
    }
}

/// The attributes as they stand in a list of attributes, with a comma before and behind.
fn needles(query: &Query) -> Result<Vec<String>> {
    let needle = |(key, value): &(String, serde_json::Value)| {
        Ok(format!(",{}:{},", serde_json::to_string(key)?, serde_json::to_string(value)?))
    };
    query.attributes.iter().map(needle).collect()
}

/// A pattern of LIKE for texts that contain this one.
fn pattern(text: &str) -> String {
    let mut pattern = String::from("%");
    for character in text.chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}

impl Filter {
    /// Prepares a query. `has_cause` selects only instances that a failure has suspended or ended. `None` means that no
    /// instance can be selected.
    ///
    /// # Errors
    /// [`Invalid`](wfe_core::WfeError::Invalid): see [`Query::check`].
    pub(super) fn new(query: &Query, as_at: DateTime<Utc>, has_cause: bool) -> Result<Option<Self>> {
        query.check()?;
        let states = states(query, has_cause);
        // LIKE ends a pattern at a NUL, and no data contains one.
        if states == 0 || query.text.as_ref().is_some_and(|text| text.contains('\0')) {
            return Ok(None);
        }
        let now = time::millis_bound(as_at);
        let needles = needles(query)?;
        let event = query.waits.as_ref().and_then(event_of);
        let values_with = |event| values(query, states, now, has_cause, &needles, event);
        let values = values_with(event.as_ref())?;
        let values_of_waiting = event.as_ref().map(|_| values_with(None)).transpose()?;
        let leaders = leaders(query, states, now, &needles, event.as_ref());
        // For each row, the subscriptions are read, too.
        let reads_waits = event.is_some() || matches!(query.waits, Some(WaitFilter::Nobody));
        Ok(Some(Self {
            values,
            values_of_waiting,
            leaders,
            order: query.order,
            max_rows: if reads_waits { MAX_WAITING } else { MAX_ROWS },
            reads_data: query.text.is_some(),
        }))
    }

    /// Whether the order is descending, and which column is its key (see `sql::listings`).
    pub(super) fn order(&self) -> (bool, i64) {
        match self.order {
            Order::LastEnded => (true, 2),
            Order::FirstDue => (false, 3),
            Order::Oldest => (false, 0),
            _ => (true, 0),
        }
    }

    /// The size of a window, as an argument.
    pub(super) fn window(&self) -> Value {
        Value::Int(i64::try_from(self.max_rows).unwrap_or(i64::MAX))
    }

    /// One row more than a window, as an argument.
    pub(super) fn behind_window(&self) -> Value {
        Value::Int(i64::try_from(self.max_rows.saturating_add(1)).unwrap_or(i64::MAX))
    }
}

/// The states in which an instance can be selected, as bits.
fn states(query: &Query, has_cause: bool) -> i64 {
    let (all, ended) = (bits(&InstanceState::ALL), bits(&InstanceState::ENDED));
    let mut states = if query.states.is_empty() { all } else { bits(&query.states) };
    match query.order {
        Order::LastEnded => states &= ended,
        Order::FirstDue => states &= bits(&[InstanceState::Due, InstanceState::Asleep]),
        _ => {}
    }
    if !query.completed.is_unlimited() {
        states &= ended;
    }
    if query.requested {
        states &= !ended;
    }
    match query.waits {
        None => {}
        Some(WaitFilter::Timer) => states &= bit(InstanceState::Asleep),
        Some(WaitFilter::Nobody) => states &= bit(InstanceState::Waiting),
        Some(_) => states &= !ended,
    }
    if has_cause || query.failed_at.is_some() || query.code.is_some() || query.acknowledged.is_some() {
        states &= bits(&[InstanceState::Suspended, InstanceState::Failed]);
    }
    states
}

fn values(
    query: &Query,
    states: i64,
    now: i64,
    has_cause: bool,
    needles: &[String],
    event: Option<&(String, Option<&str>)>,
) -> Result<[Value; FILTER]> {
    let (exact, prefix) = match &query.reference {
        None => (Value::Null, Value::Null),
        Some(TextMatch::Exact(text)) => (text.into(), Value::Null),
        Some(TextMatch::Prefix(text)) => (Value::Null, text.into()),
    };
    let [from, until] = bounds(query.created);
    let [ended_from, ended_until] = bounds(query.completed);
    let waits_for_nobody = matches!(query.waits, Some(WaitFilter::Nobody));
    let others = needles.get(1..).filter(|others| !others.is_empty()).map(serde_json::to_string);
    // Most arguments are bound twice: NULL, or the value that is looked for.
    let twice = |value: Value| vec![value.clone(), value];
    let all = [
        vec![states.into(), now.into()],
        twice((&query.definition).into()),
        twice(query.version.into()),
        vec![query.include_own.into()],
        twice((&query.name).into()),
        twice((&query.id_prefix).into()),
        twice(exact),
        twice(prefix),
        twice((&query.parent).into()),
        vec![from.into(), until.into()],
        vec![query.completed.is_unlimited().into(), ended_from.into(), ended_until.into()],
        vec![query.requested.into(), has_cause.into()],
        twice((&query.failed_at).into()),
        twice((&query.code).into()),
        twice(event.map(|(name, _)| name).into()),
        twice(event.and_then(|(_, key)| *key).into()),
        vec![waits_for_nobody.into()],
        twice(needles.first().into()),
        twice(others.transpose()?.into()),
        twice(query.acknowledged.into()),
        twice(query.text.as_deref().map(pattern).into()),
    ];
    let all: Vec<Value> = all.into_iter().flatten().collect();
    all.try_into().map_err(|all: Vec<Value>| {
        WfeError::Persistence(format!("a listing has {} arguments: a bug in wfe-sqlite", all.len()))
    })
}

fn leaders(
    query: &Query,
    states: i64,
    now: i64,
    needles: &[String],
    event: Option<&(String, Option<&str>)>,
) -> Vec<Leader> {
    let mut leaders = Vec::new();
    if let Some(name) = &query.name {
        leaders.push(Leader::Name(name.into()));
    }
    match &query.reference {
        Some(TextMatch::Exact(text)) => leaders.push(Leader::Reference([text.into(), text.into()])),
        Some(TextMatch::Prefix(text)) if !behind(text).is_empty() => {
            leaders.push(Leader::Reference([text.into(), behind(text).into()]));
        }
        _ => {}
    }
    if let Some(parent) = &query.parent {
        leaders.push(Leader::Parent(parent.into()));
    }
    if let Some(prefix) = query.id_prefix.as_deref().filter(|prefix| !behind(prefix).is_empty()) {
        leaders.push(Leader::Id([prefix.into(), behind(prefix).into()]));
    }
    if query.requested {
        leaders.push(Leader::Requested);
    }
    match event {
        Some((name, Some(key))) => leaders.push(Leader::Event([name.into(), (*key).into()])),
        Some((name, None)) => leaders.push(Leader::EventName(name.into())),
        None => {}
    }
    let open = bits(&InstanceState::OPEN);
    let selects = |state: InstanceState| states & bit(state) != 0;
    let [from, until] = bounds(query.completed);
    let endings = [0, 1, 2, 3]
        .map(|at| if selects(InstanceState::ENDED[at]) { Value::Fixed(ENDINGS[at]) } else { Value::Null });
    let definition = Value::from(&query.definition);
    match query.order {
        Order::LastEnded => {
            leaders.push(Leader::Ended(definition, endings, [from, until]));
            return leaders;
        }
        Order::FirstDue => {
            leaders.push(Leader::Due);
            return leaders;
        }
        _ => {}
    }
    // Completed and waiting instances are many, so a set of them would be useless.
    let many = bits(&[InstanceState::Waiting, InstanceState::Completed]);
    if states & many == 0 || (states & open == 0 && !query.completed.is_unlimited()) {
        let due = match (selects(InstanceState::Due), selects(InstanceState::Asleep)) {
            (true, true) => [i64::MIN, i64::MAX],
            (true, false) => [i64::MIN, now],
            (false, true) => [now.saturating_add(1), i64::MAX],
            (false, false) => [1, 0],
        };
        let [completed, failed, cancelled, terminated] = endings;
        let is_any_ended = states & !open != 0;
        let (from, until) = (|| Value::Int(from), || Value::Int(until));
        leaders.push(Leader::States(Box::new([
            selects(InstanceState::Running).into(),
            due[0].into(),
            due[1].into(),
            selects(InstanceState::Suspended).into(),
            completed,
            from(),
            until(),
            failed,
            from(),
            until(),
            cancelled,
            from(),
            until(),
            terminated,
            from(),
            until(),
            is_any_ended.into(),
            from(),
            until(),
        ])));
    }
    leaders.push(if let Some(needle) = needles.first() {
        Leader::Attribute(needle.into())
    } else if states & !open == 0 {
        let is_suspended = selects(InstanceState::Suspended);
        let is_runnable = states & !bit(InstanceState::Suspended) != 0;
        Leader::Open(definition, query.version.into(), [is_runnable, is_suspended])
    } else if query.definition.is_some() {
        Leader::Definition(definition)
    } else {
        Leader::All
    });
    leaders
}
