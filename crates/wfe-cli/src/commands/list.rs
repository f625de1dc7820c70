use serde::Serialize;
use wfe::{
    Operator,
    status::{ACTIVITY, CHILD_ENDED, USER_TASK},
    traits::{InstanceState, InstanceSummary, Order, Query},
};

use crate::{
    app::{self, App, Session},
    args::List,
    failure::{Exit, Failure, Result},
    output::{Cell, Form, Listed, Out, note},
};

/// An instance in a list.
#[derive(Serialize)]
#[serde(transparent)]
pub(crate) struct Row {
    pub(crate) summary: InstanceSummary,
    /// The beginning of the id, if no other instance has it. It is shown to people.
    #[serde(skip)]
    pub(crate) short: String,
}

impl Listed for Row {
    const COLUMNS: &'static [&'static str] = &[
        "state",
        "id",
        "reference",
        "definition",
        "started",
        "about",
        "version",
        "name",
        "step",
        "code",
        "message",
        "attempt",
        "failed",
        "waits",
        "due",
        "ended",
        "parent",
        "request",
        "owner",
        "attributes",
    ];
    const SHOWN: usize = 6;

    fn cell(&self, column: &str, out: &Out) -> Cell {
        let it = &self.summary;
        let cause = it.cause.as_ref();
        match column {
            "state" => Out::state(it.state),
            "id" => Cell::both(&self.short, &it.id),
            "reference" => Cell::maybe(it.reference.as_deref()),
            "definition" => Cell::both(
                format!("{} v{}", it.definition, it.version),
                format!("{}@{}", it.definition, it.version),
            ),
            "started" => out.time(Some(it.create_time)),
            "about" => about(it, out),
            "version" => Cell::number(it.version),
            "name" => Cell::text(&it.name),
            "step" => Cell::maybe(cause.map(|cause| &cause.step)),
            "code" => Cell::maybe(cause.map(|cause| &cause.code)),
            "message" => Cell::maybe(cause.map(|cause| &cause.message)),
            "attempt" => cause.map(|cause| Cell::number(cause.attempt)).unwrap_or_default(),
            "failed" => out.time(cause.map(|cause| cause.time)),
            "waits" => Cell::maybe(waits(it)),
            "due" => out.time(it.due),
            "ended" => out.time(it.complete_time),
            "parent" => Cell::maybe(it.parent.as_deref()),
            "request" => Cell::maybe(it.request.map(|request| request.to_string())),
            "owner" => it.owner.map(Cell::number).unwrap_or_default(),
            "attributes" => Cell::text(attributes(it)),
            _ => Cell::default(),
        }
    }
}

/// What there is to know about the state: the failure, what is waited for, or when something happens.
fn about(it: &InstanceSummary, out: &Out) -> Cell {
    let prefixed = |prefix: &str, cell: Cell| {
        Cell::both(format!("{prefix}{}", cell.text), format!("{prefix}{}", cell.full))
    };
    if let Some(cause) = &it.cause
        && (it.state == InstanceState::Suspended || it.state.is_final())
    {
        let text = format!("{}: {}: {} (attempt {})", cause.step, cause.code, cause.message, cause.attempt);
        return Cell::text(text.trim_start_matches(": "));
    }
    if it.state.is_final() {
        return it.complete_time.map(|end| prefixed("ended ", out.time(Some(end)))).unwrap_or_default();
    }
    match (it.state, it.due) {
        (InstanceState::Asleep | InstanceState::Due, Some(due)) => prefixed("due ", out.time(Some(due))),
        _ => Cell::maybe(waits(it)),
    }
}

/// What the instance waits for, in short.
fn waits(it: &InstanceSummary) -> Option<String> {
    let waits = it.waits.as_ref()?;
    let more = if waits.count > 1 { format!(" (and {} more)", waits.count - 1) } else { String::new() };
    let what = match &*waits.name {
        USER_TASK => "user task".to_owned(),
        CHILD_ENDED => format!("child {}", waits.key),
        name => match name.strip_prefix(ACTIVITY) {
            Some(activity) => format!("activity {activity}"),
            None => format!("event {name}/{}", waits.key),
        },
    };
    Some(what + &more)
}

/// The attributes in one line: `customer=Ann level=3`.
pub(crate) fn attributes(it: &InstanceSummary) -> String {
    let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let pairs: Vec<String> =
        it.attributes.iter().map(|(key, value)| format!("{key}={}", text(value))).collect();
    pairs.join(" ")
}

pub(crate) async fn list(app: &App, args: &List) -> Result<Exit> {
    app.out.chosen::<Row>()?;
    let order = match args {
        List { oldest: true, .. } => Order::Oldest,
        List { last_ended: true, .. } => Order::LastEnded,
        List { first_due: true, .. } => Order::FirstDue,
        _ => Order::Newest,
    };
    let query = args.filter.query(&app.out, args.own)?;
    let is_filtered = query != Query { include_own: args.own, ..Query::default() };
    let query = Query { order, ..query };
    query.check()?;
    let session = app.look().await?;
    let found =
        if args.count { count(app, &session, &query).await } else { rows(app, &session, &query, args).await };
    session.close().await;
    let any = found?;
    if any || !is_filtered { Ok(Exit::Done) } else { Ok(Exit::Nothing) }
}

async fn count(app: &App, session: &Session, query: &Query) -> Result<bool> {
    let count = session.operator.count(query, u64::MAX).await?;
    app.out.object(&count, |_| format!("{}{}\n", count.n, if count.is_exact { "" } else { "+" }))?;
    Ok(count.n > 0)
}

/// Prints the rows, and returns whether there are any.
async fn rows(app: &App, session: &Session, query: &Query, args: &List) -> Result<bool> {
    let limit = args.paging.limit();
    let mut after = app::list_cursor(args.paging.after.as_deref())?;
    let (mut found, mut looked_at) = (0, 0);
    let mut kept = Vec::new();
    loop {
        let window = session.operator.list(query, after, limit - found).await?;
        after = window.next;
        looked_at += window.looked_at;
        found += window.rows.len();
        if app.out.form == Form::Table {
            kept.extend(window.rows);
        } else {
            app.out.list(&plain(window.rows))?;
        }
        if found >= limit || after.is_none() || app.interrupt.is_set() {
            break;
        }
    }
    if app.out.form == Form::Table {
        app.out.list(&shortened(&session.operator, kept).await?)?;
    }
    if found == 0 && after.is_none() {
        note("no instances");
    }
    if let Some(next) = after {
        note(&format!("more: --after {next}"));
    }
    if app.interrupt.is_set() {
        note(&format!("interrupted after {looked_at} instances"));
        return Err(Failure::silent(Exit::Interrupted));
    }
    Ok(found > 0)
}

/// The rows with their full ids.
pub(crate) fn plain(rows: Vec<InstanceSummary>) -> Vec<Row> {
    rows.into_iter().map(|summary| Row { short: summary.id.clone(), summary }).collect()
}

/// The rows, each with the beginning of its id that no other instance of the store has. Ids begin with the time of the
/// start, so that instances of one moment differ late.
pub(crate) async fn shortened(operator: &Operator, rows: Vec<InstanceSummary>) -> Result<Vec<Row>> {
    const LENGTHS: [usize; 4] = [8, 13, 18, 23];
    let mut shortened = Vec::with_capacity(rows.len());
    for summary in rows {
        let mut short = summary.id.clone();
        for beginning in LENGTHS.iter().filter_map(|length| summary.id.get(..*length)) {
            let query =
                Query { id_prefix: Some(beginning.to_owned()), include_own: true, ..Query::default() };
            let count = operator.count(&query, 2).await?;
            if count.n == 1 && count.is_exact {
                beginning.clone_into(&mut short);
                break;
            }
        }
        shortened.push(Row { summary, short });
    }
    Ok(shortened)
}
