//! One instance: where does it stand, why, what happened, and what can be done?

use std::time::Duration;

use maud::{Markup, html};
use wfe::{
    WfeError,
    operator::{Explanation, HistoryRow, InstanceView},
    status::Waits,
    traits::{AuditFilter, Cursor, InstanceState, Order, Query},
};

use super::instances::{about, called};
use crate::{
    ask::{Ask, segment},
    filter::Filter,
    html::{
        Page, Pager, ago, button, class, empty, icon, id, json, num, section, since, span, state, table,
        text, word,
    },
    picture::Timeline,
    reply::{Failure, Reply},
    routes::{Group, Route},
};

pub(crate) const GROUP: Group = Group {
    nav: None,
    routes: &[Route::page("/instances/{id}", |ask| Box::pin(instance(ask))).pace(Duration::from_millis(500))],
};

/// Rows of a list.
const ROWS: usize = 50;

/// The parts of the page: their words in the address, and their titles.
const TABS: [(&str, &str); 7] = [
    ("now", "Now"),
    ("timeline", "Timeline"),
    ("steps", "Steps"),
    ("data", "Data"),
    ("failures", "Failures"),
    ("children", "Children"),
    ("audit", "Audit"),
];

async fn instance(ask: Ask) -> Result<Reply, Failure> {
    let id = ask.param("id")?.to_owned();
    let view = ask.operator.show(&id).await?;
    let tab = ask.query.get("tab").unwrap_or("now");
    let body = match tab {
        "timeline" => timeline(&ask, &view).await?,
        "steps" => steps(&ask, &id).await?,
        "data" => data(&ask, &id).await?,
        "failures" => failures(&ask, &id).await?,
        "children" => children(&ask, &id).await?,
        "audit" => audit(&ask, &id).await?,
        _ => now(&ask, &view),
    };
    Ok(Page::new(called(&view.summary))
        .head(head(&ask, &view))
        .tools(tools(&ask, &view))
        .body(html! {
            (why(&view))
            ul.tabs aria-label="Parts of this instance" {
                @for (name, label) in TABS {
                    @let is_this = name == tab || (name == "now" && TABS.iter().all(|(of, _)| *of != tab));
                    li { a href={ "?tab=" (name) } aria-current=[is_this.then_some("page")] { (label) } }
                }
            }
            (body)
        })
        .into())
}

fn head(ask: &Ask, view: &InstanceView) -> Markup {
    let (of, status) = (&view.summary, &view.status);
    let list = Filter(vec![format!("definition:{}", of.definition)]).fields().link();
    html! {
        p.crumb {
            a href=(ask.to("instances")) { "Instances" } " › "
            a href={ (ask.to("instances")) (list) } { (text(&of.definition)) }
            @if let Some(parent) = &of.parent { " › child of " a href=(segment(parent)) { (id(parent)) } }
        }
        div.ttl {
            h1 { (text(&called(of))) }
            span class={ "st pill " (class(of.state)) } { (icon(class(of.state))) (word(of.state)) }
            @if of.is_acknowledged { span.tag { "dealt with" } }
        }
        p.meta {
            span { b { (text(&of.definition)) " v" (of.version) } }
            span { "started " (ago(ask.now, of.create_time)) }
            @if let Some(end) = of.complete_time { span { "ended " (ago(ask.now, end)) } }
            @if let Some(ended) = &status.restart_of { span { "in place of " a href=(segment(ended)) { (id(ended)) } } }
            @for (key, value) in &of.attributes {
                span { (text(key)) " " b { (text(&value.as_str().map_or_else(|| value.to_string(), str::to_owned))) } }
            }
            @if let Some(request) = of.request { span { (request) " requested" } }
            span.idc {
                (id(&of.id)) " "
                button.b.bare.tiny type="button" title="Copy the id" data-copy=(of.id) { (icon("copy")) span.vh { "Copy the id" } }
            }
        }
    }
}

fn tools(ask: &Ask, view: &InstanceView) -> Markup {
    let of = &view.summary;
    html! {
        form.bs method="post" action=(ask.to("act")) {
            input type="hidden" name="id" value=(of.id);
            @match of.state {
                InstanceState::Suspended => {
                    (button("go", "resume", "Resume…"))
                    (button("", "skip", "Skip…"))
                    (button("end apart", "cancel", "Cancel…"))
                    (button("end", "terminate", "Terminate…"))
                }
                state if !state.is_final() => {
                    (button("", "suspend", "Suspend…"))
                    (button("end apart", "cancel", "Cancel…"))
                    (button("end", "terminate", "Terminate…"))
                }
                state => {
                    @if state == InstanceState::Failed { (button("go", "retry", "Retry…")) }
                    (button("", "restart", "Restart…"))
                }
            }
            @if of.cause.is_some() {
                @if of.is_acknowledged { (button("", "unack", "Not dealt with…")) } @else { (button("", "ack", "Ack…")) }
            }
            @if of.state.is_final() { (button("end apart", "delete", "Delete…")) }
        }
    }
}

/// The sentence, and the ways on with their commands.
fn why(view: &InstanceView) -> Markup {
    let why = &view.why;
    html! {
        section class={ "whybox " (class(view.summary.state)) } aria-label="Why it stands, and what can be done" {
            p { (text(&why.headline)) }
            @if !why.hints.is_empty() {
                dl.ways {
                    @for hint in &why.hints {
                        @let verb = hint.command.as_deref().and_then(|command| command.split(' ').nth(1));
                        dt { (verb.map_or_else(|| "Note".to_owned(), capital)) }
                        dd { (text(&hint.text)) }
                        dd { @if let Some(command) = &hint.command { code { (command) } } }
                    }
                }
            }
            @if !why.chain.is_empty() { ol.chain { @for of in &why.chain { (link(of, &view.summary.id)) } } }
        }
    }
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

fn link(why: &Explanation, parent: &str) -> Markup {
    html! {
        li {
            @if why.instance == parent { (text(&why.headline)) } @else { a href=(segment(&why.instance)) { (text(&why.headline)) } }
            @if !why.chain.is_empty() { ol.chain { @for of in &why.chain { (link(of, &why.instance)) } } }
        }
    }
}

/// Where it stands: its positions, and how far for-eaches are.
fn now(ask: &Ask, view: &InstanceView) -> Markup {
    let status = &view.status;
    let rows = html! {
        @for position in status.positions.iter().take(ROWS) {
            @let step = if position.step.is_empty() { &position.pointer } else { &position.step };
            tr {
                th scope="row" { (text(step)) }
                td.main { (waits(ask, &position.waits)) }
                td { @if let Some(item) = &position.item { (json(item)) } }
            }
        }
    };
    let number = num(status.positions.len() as u64);
    let positions = if status.positions.is_empty() {
        let way = html! { "An instance that has ended stands nowhere, and one that has not begun has no step yet." };
        empty("It stands at no step.", &way)
    } else {
        table("Positions", false, &["Step", "Waits for", "Item"], &rows)
    };
    html! {
        (section("h-now", "Stands at", Some(&number), None, &positions))
        @if status.positions.len() > ROWS { p.q { "The first " (ROWS) " of " (number) "." } }
    }
}

fn waits(ask: &Ask, waits: &Waits) -> Markup {
    let until = |until: &Option<chrono::DateTime<chrono::Utc>>| {
        html! { @if let Some(until) = until { span.q { ", at the latest " (since(ask.now, *until)) } } }
    };
    html! {
        @match waits {
            Waits::Running { since: Some(time) } => { "runs, " (since(ask.now, *time)) },
            Waits::Running { .. } => "runs",
            Waits::Slot => "waits for a free place of its host",
            Waits::AttemptBefore => "waits for the end of its attempt before",
            Waits::Due => "is due",
            Waits::Timer { until } => { "sleeps, " (since(ask.now, *until)) },
            Waits::Tick { next } => { "next tick " (since(ask.now, *next)) },
            Waits::Retry { at, attempt, last_failure } => {
                "is tried again " (since(ask.now, *at)) ", " (attempt) " attempts so far"
                @if let Some(last) = last_failure { ": " code { (text(&last.code)) } " " span.q { (text(&last.message())) } }
            },
            Waits::Event { name, key, until: last } => { "event " (text(name)) "/" (text(key)) (until(last)) },
            Waits::Activity { name, held, until: last, .. } => {
                "activity " (text(name))
                @if let Some(held) = held {
                    ", held by " (text(held.worker.as_deref().unwrap_or("a worker")))
                    @if let Some(until) = held.until { ", " (since(ask.now, until)) }
                }
                (until(last))
            },
            Waits::UserTask { task, until: last, .. } => {
                "answer of " @match task {
                    Some(task) => { (text(task.assignee.as_deref().unwrap_or("a person"))) ": " (text(&task.prompt)) },
                    None => "a person",
                }
                (until(last))
            },
            Waits::Child { id: child, until: last } => { "child " a href=(segment(child)) { (id(child)) } (until(last)) },
            _ => "a resume",
        }
    }
}

/// A position in a list that is read page by page.
fn after(ask: &Ask) -> Result<Option<Cursor>, Failure> {
    ask.query
        .get("after")
        .map(|after| {
            after.parse().map(Cursor).map_err(|_| Failure::wrong("The address has no position that is one."))
        })
        .transpose()
}

fn pager(ask: &Ask, shown: usize, next: Option<Cursor>) -> Markup {
    let link = |after: Option<String>| ask.query.with("after", after.as_deref()).link();
    Pager {
        says: format!("{} shown.", num(shown as u64)),
        first: ask.query.get("after").is_some().then(|| (link(None), "First page")),
        next: next.map(|Cursor(next)| (link(Some(next.to_string())), "Go on")),
    }
    .markup()
}

/// So many steps and failures are drawn.
const DRAWN: usize = 500;

async fn timeline(ask: &Ask, view: &InstanceView) -> Result<Markup, Failure> {
    let of = &view.summary;
    let outline = match ask.operator.outline(&of.definition, Some(of.version)).await {
        Ok(outline) => Some(outline),
        // Without one, the steps are drawn in the order in which they ended.
        Err(WfeError::OutlineNotFound { .. } | WfeError::Unsupported(_)) => None,
        Err(error) => return Err(error.into()),
    };
    let history = ask.operator.history(&of.id, None, DRAWN).await?;
    let failures = ask.operator.errors(Some(&of.id), None, DRAWN).await?;
    let drawn = Timeline::of(outline.as_ref(), view, &history.rows, &failures.rows, ask.now);
    Ok(html! {
        div.tw tabindex="0" role="region" aria-label="Timeline, step by step" { (drawn.markup(&|_| None)) }
        @if history.next.is_some() || failures.next.is_some() {
            p.q { "The first " (DRAWN) " are drawn. " a href="?tab=steps" { "All steps" } " · " a href="?tab=failures" { "all failures" } }
        }
    })
}

async fn steps(ask: &Ask, id: &str) -> Result<Markup, Failure> {
    let page = ask.operator.history(id, after(ask)?, ROWS).await?;
    let rows = html! {
        @for row in &page.rows {
            tr {
                th scope="row" { (text(row.step.as_deref().unwrap_or(&row.pointer))) }
                td { (ended(row)) }
                td.n.q { @if let (Some(start), Some(end)) = (row.start, row.end) { (span(end - start)) } }
                td.n.q { @if let Some(end) = row.end { (since(ask.now, end)) } }
                td.n { @if row.attempts > 1 { (row.attempts) } }
                td.main { (outcome(row)) }
            }
        }
    };
    let body = if page.rows.is_empty() {
        empty("No step has ended yet.", &html! { a href="?tab=now" { "Where it stands now" } })
    } else {
        table(
            "Steps that have ended",
            false,
            &["Step", "Ended", "Took", "When", "Attempts", "Outcome"],
            &rows,
        )
    };
    Ok(html! { (body) (pager(ask, page.rows.len(), page.next)) })
}

fn ended(row: &HistoryRow) -> Markup {
    let name = format!("{:?}", row.status);
    let class = match &*name {
        "Complete" | "Compensated" => "done",
        "Failed" => "fail",
        "Cancelled" => "cancel",
        _ => "wait",
    };
    crate::html::symbol(class, &name)
}

fn outcome(row: &HistoryRow) -> Markup {
    html! {
        @if let Some(event) = &row.event { span { "event " (text(&event.name)) "/" (text(&event.key)) " " } }
        @if let Some(outcome) = &row.outcome { details { summary { "outcome" } (json(outcome)) } }
        @if let Some(item) = &row.item { details { summary { "item" } (json(item)) } }
    }
}

async fn data(ask: &Ask, id: &str) -> Result<Markup, Failure> {
    let data = ask.operator.data(id).await?;
    Ok(html! { div.box { h2 { "Data now" } (json(&data)) } })
}

async fn failures(ask: &Ask, id: &str) -> Result<Markup, Failure> {
    let page = ask.operator.errors(Some(id), after(ask)?, ROWS).await?;
    let rows = html! {
        @for record in &page.rows {
            @let failure = &record.failure;
            tr {
                th scope="row" { (text(&failure.step)) }
                td.n { (failure.attempt) }
                td { code { (text(&failure.code)) } }
                td.main {
                    details {
                        summary { (text(&failure.error.message)) }
                        @if !failure.causes.is_empty() { ol.chain { @for cause in &failure.causes { li { (text(cause)) } } } }
                    }
                }
                td.n.q { (since(ask.now, failure.error.error_time)) }
            }
        }
    };
    let body = if page.rows.is_empty() {
        empty("No attempt has failed.", &html! { a href="?tab=steps" { "Steps that have ended" } })
    } else {
        table(
            "Attempts that have failed",
            false,
            &["Step", "Attempt", "Code", "Message and causes", "When"],
            &rows,
        )
    };
    Ok(html! { (body) (pager(ask, page.rows.len(), page.next)) })
}

async fn children(ask: &Ask, id: &str) -> Result<Markup, Failure> {
    let query = Query { parent: Some(id.to_owned()), order: Order::Oldest, ..Query::default() };
    let cursor = ask.query.get("after").map(str::parse).transpose();
    let window = ask
        .operator
        .list(&query, cursor.map_err(|error: wfe::WfeError| Failure::wrong(error.to_string()))?, ROWS)
        .await?;
    let rows = html! {
        @for row in &window.rows {
            tr {
                td { (state(row.state)) }
                th scope="row" { a href=(segment(&row.id)) { (text(&called(row))) } }
                td.main { (about(row)) }
                td.n.q { (since(ask.now, row.create_time)) }
            }
        }
    };
    let body = if window.rows.is_empty() {
        empty("It has no children.", &html! { "Steps that start other workflows would have theirs here." })
    } else {
        table("Children", false, &["Status", "Instance", "Stands at, and why", "Started"], &rows)
    };
    let link = |after: Option<String>| ask.query.with("after", after.as_deref()).link();
    let pager = Pager {
        says: format!("{} shown.", window.rows.len()),
        first: ask.query.get("after").is_some().then(|| (link(None), "First page")),
        next: window.next.map(|next| (link(Some(next.to_string())), "Go on")),
    };
    Ok(html! { (body) (pager.markup()) })
}

async fn audit(ask: &Ask, id: &str) -> Result<Markup, Failure> {
    let filter = AuditFilter { instance: Some(id.to_owned()), ..AuditFilter::default() };
    let page = ask.operator.audit(&filter, after(ask)?, ROWS).await?;
    let rows = html! {
        @for record in &page.rows {
            @let audit = &record.audit;
            tr {
                th scope="row" { (text(&audit.actor)) }
                td { (audit.action.replace('_', " ")) }
                td.main { @if let Some(reason) = &audit.reason { span.clip title=(reason) { (text(reason)) } } }
                td.q { (audit.face) }
                td.n.q { (since(ask.now, record.time)) }
            }
        }
    };
    let body = if page.rows.is_empty() {
        empty(
            "Nobody has acted on it.",
            &html! { "What people do here or with the command line is recorded with its reason." },
        )
    } else {
        table("Actions", false, &["Who", "What", "Reason", "Through", "When"], &rows)
    };
    Ok(html! { (body) (pager(ask, page.rows.len(), page.next)) })
}
