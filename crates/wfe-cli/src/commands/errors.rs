use std::collections::BTreeMap;

use serde::Serialize;
use wfe::traits::{ErrorRecord, FailureGroup, InstanceState, Query};

use crate::{
    app::{self, App, Session},
    args::{Errors, Group},
    failure::{Exit, Failure, Result},
    output::{Cell, Listed, Out, note},
};

/// A group of failures, by what was asked for. Its JSON leaves out what does not make the group.
#[derive(Serialize)]
struct Failures {
    #[serde(skip_serializing_if = "Option::is_none")]
    definition: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(flatten)]
    group: Numbers,
}

#[derive(Serialize)]
struct Numbers {
    count: u64,
    suspended: u64,
    first: chrono::DateTime<chrono::Utc>,
    last: chrono::DateTime<chrono::Utc>,
    example: String,
    message: String,
}

impl Listed for Failures {
    const COLUMNS: &'static [&'static str] =
        &["count", "suspended", "definition", "step", "code", "last", "message", "first", "example"];
    const SHOWN: usize = 9;

    fn cell(&self, column: &str, out: &Out) -> Cell {
        match column {
            "count" => Cell::number(self.group.count),
            "suspended" => Cell::number(self.group.suspended),
            "definition" => Cell::maybe(self.definition.as_deref()),
            "step" => Cell::maybe(self.step.as_deref()),
            "code" => Cell::maybe(self.code.as_deref()),
            "last" => out.time(Some(self.group.last)),
            "message" => Cell::text(&self.group.message),
            "first" => out.time(Some(self.group.first)),
            "example" => Cell::text(&self.group.example),
            _ => Cell::default(),
        }
    }
}

/// A failed attempt.
#[derive(Serialize)]
#[serde(transparent)]
pub(crate) struct Attempt {
    record: ErrorRecord,
    /// Whether all rows are of one instance, which need not be named in each.
    #[serde(skip)]
    of_one: bool,
}

impl Attempt {
    pub(crate) fn of_one(record: ErrorRecord) -> Self {
        Self { record, of_one: true }
    }
}

impl Listed for Attempt {
    const COLUMNS: &'static [&'static str] =
        &["time", "step", "attempt", "code", "message", "instance", "pointer", "cursor"];
    const SHOWN: usize = 6;

    fn cell(&self, column: &str, out: &Out) -> Cell {
        let failure = &self.record.failure;
        match column {
            "time" => out.time(Some(failure.error.error_time)),
            "step" => Cell::text(&failure.step),
            "attempt" => Cell::number(failure.attempt),
            "code" => Cell::text(&failure.code),
            "message" => Cell::text(failure.message()),
            "instance" if self.of_one && out.is_for_people() => Cell::default(),
            "instance" => Cell::text(&failure.error.workflow_id),
            "pointer" => Cell::text(&failure.error.execution_pointer_id),
            "cursor" => Cell::number(self.record.cursor.0),
            _ => Cell::default(),
        }
    }
}

pub(crate) async fn errors(app: &App, args: &Errors) -> Result<Exit> {
    let query = args.filter.query(&app.out, false)?;
    if let Some(id) = &args.each {
        if query != Query::default() {
            return Err(Failure::usage(
                "--each lists attempts of all instances, or of one; it has no filter",
            ));
        }
        app.out.chosen::<Attempt>()?;
        let session = app.look().await?;
        let done = each(app, &session, id, args).await;
        session.close().await;
        return done;
    }
    if args.paging.after.is_some() {
        return Err(Failure::usage(
            "only --each goes on --after a page; groups are all shown, up to --limit",
        ));
    }
    app.out.chosen::<Failures>()?;
    let is_filtered = query != Query::default();
    // Only what has failed and was not dealt with is broken now.
    let states = match &*query.states {
        [] => vec![InstanceState::Suspended, InstanceState::Failed],
        states => states.to_vec(),
    };
    let query = Query { states, acknowledged: query.acknowledged.or(Some(false)), ..query };
    let session = app.look().await?;
    let window = session.operator.failure_groups(&query).await;
    session.close().await;
    let window = window?;
    let groups = grouped(window.rows, &args.by);
    let (shown, rest) = groups.split_at(groups.len().min(args.paging.limit()));
    app.out.list(shown)?;
    if !rest.is_empty() {
        note(&format!("and {} more; --limit shows more", rest.len()));
    }
    if !window.is_whole {
        note(&format!("only the newest {} instances were looked at", window.looked_at));
    }
    if groups.is_empty() {
        note("no open failures");
        return Ok(if is_filtered { Exit::Nothing } else { Exit::Done });
    }
    Ok(Exit::Done)
}

async fn each(app: &App, session: &Session, id: &str, args: &Errors) -> Result<Exit> {
    let id = if id.is_empty() { None } else { Some(session.operator.resolve(id).await?) };
    let after = app::cursor(args.paging.after.as_deref())?;
    let page = session.operator.errors(id.as_deref(), after, args.paging.limit()).await?;
    let rows: Vec<Attempt> =
        page.rows.into_iter().map(|record| Attempt { record, of_one: id.is_some() }).collect();
    app.out.page(&rows, page.next)?;
    if rows.is_empty() {
        note("no failed attempts");
    }
    Ok(Exit::Done)
}

/// Puts groups together that differ only in what was not asked for.
fn grouped(groups: Vec<FailureGroup>, by: &[Group]) -> Vec<Failures> {
    let has = |group| by.contains(&group);
    let mut merged: BTreeMap<[Option<String>; 3], Numbers> = BTreeMap::new();
    for FailureGroup { definition, step, code, count, suspended, first, last, example, message } in groups {
        let key = [
            Some(definition).filter(|_| has(Group::Definition)),
            Some(step).filter(|_| has(Group::Step)),
            Some(code).filter(|_| has(Group::Code)),
        ];
        let new = Numbers { count, suspended, first, last, example, message };
        match merged.get_mut(&key) {
            None => {
                merged.insert(key, new);
            }
            Some(old) => {
                old.count += new.count;
                old.suspended += new.suspended;
                old.first = old.first.min(new.first);
                if new.last > old.last {
                    (old.last, old.example, old.message) = (new.last, new.example, new.message);
                }
            }
        }
    }
    let mut rows: Vec<Failures> = merged
        .into_iter()
        .map(|([definition, step, code], group)| Failures { definition, step, code, group })
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.group.count));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_that_differ_only_in_what_was_not_asked_for_are_one() {
        let group = |step: &str, code: &str, count, last: &str| FailureGroup {
            definition: "order".to_owned(),
            step: step.to_owned(),
            code: code.to_owned(),
            count,
            suspended: 1,
            first: last.parse().unwrap(),
            last: last.parse().unwrap(),
            example: step.to_owned(),
            message: code.to_owned(),
        };
        let all = || {
            vec![
                group("charge", "declined", 2, "2026-11-30T12:00:00Z"),
                group("refund", "declined", 3, "2026-11-30T13:00:00Z"),
                group("charge", "timeout", 1, "2026-11-30T11:00:00Z"),
            ]
        };
        let by_code = grouped(all(), &[Group::Code]);
        assert_eq!(by_code.len(), 2);
        let (first, numbers) = (&by_code[0], &by_code[0].group);
        assert_eq!((first.step.as_deref(), first.code.as_deref()), (None, Some("declined")));
        assert_eq!((numbers.count, numbers.suspended, &*numbers.example), (5, 2, "refund"));
        assert_eq!(grouped(all(), &[Group::Definition, Group::Step, Group::Code]).len(), 3);
    }
}
