//! What is known about the steps of a definition.

use std::{collections::HashMap, time::Duration};

use chrono::TimeDelta;
use wfe::{
    definition::Outline,
    traits::{InstanceState, Query, TimeRange},
};

use crate::{
    ask::Ask,
    picture::{Facts, State},
    reply::Failure,
};

/// From so many instances, the newest ones, times are taken. Their histories are read one by one.
const SAMPLE: usize = 20;
/// Rows of each history.
const ROWS: usize = 200;

/// What stands where, what failed in the last 24 hours, and how long steps took, with the number of instances from which
/// the times are.
pub(super) async fn facts(ask: &Ask, outline: &Outline) -> Result<(Facts, usize), Failure> {
    let mut facts = Facts { failed_when: "in 24 hours", ..Facts::default() };
    for count in ask.operator.step_counts(&outline.id, outline.version).await?.rows {
        let kind = outline.step(&count.step).map_or("", |step| &step.kind);
        let here = vec![(State::active(kind), count.active), (State::Suspended, count.failed)];
        facts.steps.entry(count.step).or_default().here = here;
    }
    let of =
        Query { definition: Some(outline.id.clone()), version: Some(outline.version), ..Query::default() };
    let failed = Query {
        states: vec![InstanceState::Failed],
        completed: TimeRange { from: Some(ask.now - TimeDelta::hours(24)), until: None },
        ..of.clone()
    };
    for group in ask.operator.failure_groups(&failed).await?.rows {
        facts.steps.entry(group.step).or_default().failed += group.count;
    }
    let newest = ask.operator.list(&of, None, SAMPLE).await?.rows;
    let mut times: HashMap<String, Vec<Duration>> = HashMap::new();
    for instance in &newest {
        for row in ask.operator.history(&instance.id, None, ROWS).await?.rows {
            if let (Some(step), Some(start), Some(end)) = (row.step, row.start, row.end) {
                times.entry(step).or_default().push((end - start).to_std().unwrap_or_default());
            }
        }
    }
    for (step, mut times) in times {
        times.sort_unstable();
        let of = facts.steps.entry(step).or_default();
        of.p50 = times.get((times.len() - 1) / 2).copied();
        of.p95 = times.get((times.len() * 95).div_ceil(100) - 1).copied();
    }
    Ok((facts, newest.len()))
}
