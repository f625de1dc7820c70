//! Numbers of instances.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use wfe_core::{
    Result, WfeError,
    executor::view::step_of,
    traits::{
        Count, EndedCount, Ending, InstanceState, MAX_ROWS, OpenCount, Query, StepCount, TimeRange, Window,
    },
};

use super::{
    filter::{Filter, bounds},
    scan::{Detail, from_millis, scan},
};
use crate::{
    SqlitePersistenceProvider,
    codec::{Fields, names, time},
    request::{Done, Script},
    row::Row,
    sql,
};

pub(super) async fn count(
    store: &SqlitePersistenceProvider,
    query: &Query,
    as_at: DateTime<Utc>,
    cap: u64,
) -> Result<Count> {
    let Some(filter) = Filter::new(query, as_at, false)? else { return Ok(Count { n: 0, is_exact: true }) };
    // One more than the cap shows whether there are more.
    let found = scan(store, &filter, None, cap.saturating_add(1), Detail::Nothing, |_| Ok(())).await?;
    Ok(Count { n: found.selected.min(cap), is_exact: found.selected <= cap && found.next.is_none() })
}

/// A definition, a version and a state.
type Key = (String, u32, InstanceState);

/// The numbers of open instances, and the earliest due time of each group.
#[derive(Default)]
struct Open {
    counts: BTreeMap<Key, (u64, Option<DateTime<Utc>>)>,
}

impl Open {
    fn add(&mut self, key: (String, u32), state: InstanceState, count: u64, oldest: Option<DateTime<Utc>>) {
        self.counts.entry((key.0, key.1, state)).or_insert((0, oldest)).0 += count;
    }

    /// Adds instances that are among the waiting ones so far.
    fn are(&mut self, key: (String, u32), state: InstanceState, count: u64, oldest: Option<DateTime<Utc>>) {
        if let Some((waiting, _)) = self.counts.get_mut(&(key.0.clone(), key.1, InstanceState::Waiting)) {
            *waiting = waiting.saturating_sub(count);
        }
        self.add(key, state, count, oldest);
    }
}

pub(super) async fn open_counts(
    store: &SqlitePersistenceProvider,
    as_at: DateTime<Utc>,
) -> Result<Vec<OpenCount>> {
    let mut script = Script::default();
    let open = script.add(&sql::reports::OPEN, []);
    let owned = script.add(&sql::reports::OWNED, []);
    let scheduled = script.add(&sql::reports::SCHEDULED, [time::millis_bound(as_at).into()]);
    let done = store.read(script).await?;
    let rows = |at: usize| done.get(at).into_iter().flat_map(|done: &Done| &done.rows);
    let mut counts = Open::default();
    let mut each = |row: Row<'_>, at: usize| {
        let mut fields = Fields::new(row, "workflows", "");
        let key = (fields.string("workflow_definition_id")?, fields.number("version")?);
        if at == open {
            let is_suspended = fields.text("status")? == "Suspended";
            let state = if is_suspended { InstanceState::Suspended } else { InstanceState::Waiting };
            counts.add(key, state, fields.number("seq")?, None);
        } else if at == owned {
            counts.are(key, InstanceState::Running, fields.number("seq")?, None);
        } else {
            let (is_due, count) = (fields.flag("next_execution")?, fields.number("seq")?);
            let oldest = from_millis(fields.int("next_execution")?);
            let (state, oldest) =
                if is_due { (InstanceState::Due, Some(oldest)) } else { (InstanceState::Asleep, None) };
            counts.are(key, state, count, oldest);
        }
        Ok(())
    };
    for at in [open, owned, scheduled] {
        for row in rows(at) {
            // A row of the group has a corrupt version; it is left out, as in listings.
            store.sound_one(each(row, at))?;
        }
    }
    let counts = counts.counts.into_iter().filter(|(_, (count, _))| *count > 0);
    let counts = counts.map(|((definition, version, state), (count, oldest_due))| OpenCount {
        definition,
        version,
        state,
        count,
        oldest_due,
    });
    Ok(counts.collect())
}

/// The highest number of intervals.
const MAX_INTERVALS: i128 = 1_000;

pub(super) async fn ended_counts(
    store: &SqlitePersistenceProvider,
    range: TimeRange,
    step: Duration,
) -> Result<Vec<EndedCount>> {
    let invalid = |text: &str| Err(WfeError::Invalid(text.to_owned()));
    let (Some(first), Some(end)) = (range.from, range.until) else {
        return invalid("the range has no beginning or no end");
    };
    if step < Duration::from_secs(1) {
        return invalid("an interval must be a second or longer");
    }
    let length = (end - first).num_nanoseconds().map(i128::from);
    let step_nanos = i64::try_from(step.as_nanos()).ok();
    let (Some(length), Some(step_nanos)) = (length, step_nanos) else {
        return invalid("the range or the interval is longer than 292 years");
    };
    if length > MAX_INTERVALS * i128::from(step_nanos) {
        return invalid("the range has more than 1 000 intervals");
    }
    let ([from, until], mut counts) = (bounds(range), Vec::new());
    // A time between the bounds of the range is no further from its beginning than its end, which fits.
    let Some(origin) = first.timestamp_nanos_opt() else {
        return invalid("the range begins before or after every time that can be stored");
    };
    let mut script = Script::default();
    let endings = [Ending::Completed, Ending::Failed, Ending::Cancelled, Ending::Terminated];
    for ending in endings {
        let ending = names::ending(ending);
        script
            .add(&sql::reports::ENDED, [origin.into(), step_nanos.into(), ending, from.into(), until.into()]);
    }
    for status in ["Complete", "Terminated"] {
        script.add(
            &sql::reports::ENDED_ONLY_BY_STATUS,
            [origin.into(), step_nanos.into(), status.into(), from.into(), until.into()],
        );
    }
    let done = store.read(script).await?;
    let all = endings.into_iter().chain([Ending::Completed, Ending::Terminated]).zip(&done);
    let mut found = BTreeMap::<_, u64>::new();
    for (ending, done) in all {
        for row in &done.rows {
            let mut fields = Fields::new(row, "workflows", "");
            let (interval, definition) =
                (fields.int("complete_time")?, fields.string("workflow_definition_id")?);
            *found.entry((interval, definition, place_of(ending))).or_default() +=
                fields.number::<u64>("seq")?;
        }
    }
    for ((interval, definition, ending), count) in found {
        let from = first + TimeDelta::nanoseconds(interval.saturating_mul(step_nanos));
        counts.push(EndedCount { from, definition, ending: endings[ending], count });
    }
    Ok(counts)
}

/// The place of an ending in the order of `Ending`.
fn place_of(ending: Ending) -> usize {
    match ending {
        Ending::Completed => 0,
        Ending::Failed => 1,
        Ending::Cancelled => 2,
        Ending::Terminated => 3,
    }
}

pub(super) async fn step_counts(
    store: &SqlitePersistenceProvider,
    definition: &str,
    version: u32,
) -> Result<Window<StepCount>> {
    let mut script = Script::default();
    script.add(&sql::reports::LIVE_POINTERS, [definition.into(), version.into()]);
    let done = store.read(script).await?;
    let (mut steps, mut instances, mut last) = (BTreeMap::<String, (u64, u64)>::new(), 0, None);
    for row in done.iter().flat_map(|done| &done.rows) {
        let mut fields = Fields::new(row, "execution_pointers", "");
        let seq = fields.int("workflow")?;
        if last.replace(seq) != Some(seq) {
            instances += 1;
        }
        let pointer = fields.key("id")?;
        let (Some(active), Some(failed)) =
            (store.sound_one(fields.flag("active"))?, store.sound_one(fields.flag("status"))?)
        else {
            continue;
        };
        let (all_active, all_failed) = steps.entry(step_of(pointer).to_owned()).or_default();
        (*all_active, *all_failed) = (*all_active + u64::from(active), *all_failed + u64::from(failed));
    }
    let rows = steps.into_iter().map(|(step, (active, failed))| StepCount { step, active, failed });
    Ok(Window { rows: rows.collect(), next: None, looked_at: instances, is_whole: instances < MAX_ROWS })
}
