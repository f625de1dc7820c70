//! How large is the store, what grows, is it safe?

mod act;
mod jobs;
mod purge;

use maud::{Markup, html};
use wfe::{
    WfeError,
    operator::{ActionKind, Finding, Role, Weight},
    traits::{AuditFilter, AuditRecord, InstanceState, InstanceSummary, Order, Query, StoreStatistics},
};

pub(crate) use self::jobs::Jobs;
use self::purge::{DISTANCES, ENDINGS};
use crate::{
    ask::{Ask, segment},
    html::{Page, ago, button, empty, icon, num, section, since, size, symbol, table, text},
    reply::{Failure, Reply},
    routes::{Group, Nav, Route},
};

pub(crate) const GROUP: Group = Group {
    nav: Some(Nav { title: "Storage", path: "storage", key: 'b' }),
    routes: &[
        Route::page("/storage", |ask| Box::pin(storage(ask))).pace(std::time::Duration::from_secs(5)),
        Route {
            needs: Some(Role::Admin),
            ..Route::page("/storage/purge", |ask| Box::pin(purge::preview(ask))).still()
        },
        Route::page("/storage/jobs/{number}", |ask| Box::pin(async move { jobs::job(&ask) })),
        Route::action("/storage/check", Role::Viewer, |ask| Box::pin(act::check(ask))),
        Route::action("/storage/act", Role::Admin, |ask| Box::pin(act::act(ask))),
        Route::action("/storage/jobs/{number}/stop", Role::Viewer, |ask| {
            Box::pin(async move { jobs::stop(&ask) })
        }),
    ],
};

/// What the doctor finds about instances and hosts has pages of its own.
const ELSEWHERE: [&str; 8] = [
    "no_host",
    "no_definition",
    "dead_owner",
    "overdue",
    "suspended",
    "undelivered_event",
    "stale_claim",
    "definition_changed",
];

async fn storage(ask: Ask) -> Result<Reply, Failure> {
    let statistics = match ask.operator.statistics().await {
        Err(WfeError::Unsupported(_)) => None,
        statistics => Some(statistics?),
    };
    let mut findings = ask.operator.doctor().await?;
    findings.retain(|finding| !ELSEWHERE.contains(&finding.code));
    let ended = Query {
        states: InstanceState::ENDED.to_vec(),
        order: Order::Oldest,
        include_own: true,
        ..Query::default()
    };
    let oldest = ask.operator.list(&ended, None, 1).await?.rows.into_iter().next();
    let last = |kind: ActionKind| {
        let filter = AuditFilter { action: Some(kind.name().to_owned()), ..AuditFilter::default() };
        let operator = ask.operator.clone();
        async move { operator.audit(&filter, None, 1).await }
    };
    let backup = last(ActionKind::Backup).await?.rows.into_iter().next();
    let purged = last(ActionKind::Purge).await?.rows.into_iter().next();
    let is_admin = ask.visitor.role() >= Role::Admin;
    Ok(Page::new(title(statistics.as_ref(), &findings))
        .lead(lead(&ask, statistics.as_ref(), backup.as_ref()))
        .tools(tools(is_admin))
        .body(html! {
            div.cols {
                @match &statistics {
                    Some(statistics) => (parts(statistics)),
                    None => (section("h-size", "What fills it", None, None, &empty("This store does not tell.", &html! { "Its size is known to whoever runs it." }))),
                }
                (safe(&ask, statistics.as_ref(), &findings, backup.as_ref()))
            }
            div.cols {
                (purging(&ask, is_admin, oldest.as_ref(), purged.as_ref()))
                (jobs::section(&ask))
            }
        })
        .into())
}

fn title(statistics: Option<&StoreStatistics>, findings: &[Finding]) -> String {
    let size = statistics.map_or_else(|| "The store".to_owned(), |of| size(of.bytes));
    let count = findings.iter().filter(|finding| finding.weight > Weight::Note).count();
    match count {
        0 => format!("{size}, nothing is wrong"),
        1 => format!("{size}, 1 thing to look at"),
        n => format!("{size}, {n} things to look at"),
    }
}

fn lead(ask: &Ask, statistics: Option<&StoreStatistics>, backup: Option<&AuditRecord>) -> Markup {
    html! {
        @if let Some(of) = statistics { (text(&of.location)) ". " (num(of.open_instances)) " instances are open. " }
        @match backup {
            Some(backup) => { "Backed up from here " (ago(ask.now, backup.time)) "." },
            None => "No backup is recorded.",
        }
    }
}

fn tools(is_admin: bool) -> Markup {
    html! {
        @if is_admin {
            form.bs method="post" action="storage/act" {
                (button("", "backup", "Backup…"))
                (button("", "compact", "Compact…"))
                (button("", "checkpoint", "Checkpoint…"))
            }
        }
        form method="post" action="storage/check" { (button("", "check", "Check…")) }
    }
}

/// A part of the file as a rectangle of a picture, `x` and `width` in per cent.
fn per_cent(of: u64, all: u64) -> String {
    let parts = u128::from(of) * 10_000 / u128::from(all.max(1));
    format!("{}.{:02}%", parts / 100, parts % 100)
}

fn parts(of: &StoreStatistics) -> Markup {
    let used = of.bytes.saturating_sub(of.free_bytes);
    let all = (of.bytes + of.log_bytes).max(1);
    let sizes = [
        ("c1", "Data and indexes", used),
        ("c6", "Free pages", of.free_bytes),
        ("c4", "Log (WAL)", of.log_bytes),
    ];
    let picture = html! {
        svg.stack role="img" aria-label="Parts of the store; the table below has the numbers" {
            @for (at, (class, name, bytes)) in sizes.into_iter().enumerate() {
                @let x = sizes.iter().take(at).map(|(.., before)| before).sum();
                rect class=(class) x=(per_cent(x, all)) width=(per_cent(bytes, all)) height="14" { title { (name) ", " (size(bytes)) } }
            }
        }
    };
    let rows = html! {
        @for (class, name, bytes) in sizes {
            tr { th.nw scope="row" { span class={ "sw " (class) } {} (name) } td.n { (size(bytes)) } td.n.q {} }
        }
        @for (name, count) in [
            ("Instances", of.instances),
            ("of them open", of.open_instances),
            ("Steps, live and done", of.pointers),
            ("Events", of.events),
            ("of them not taken up", of.unprocessed_events),
            ("Waits", of.subscriptions),
            ("Scheduled commands", of.commands),
            ("Failures", of.errors),
        ] {
            tr { th.nw scope="row" { (name) } td.n.q {} td.n { (num(count)) } }
        }
    };
    html! {
        section.sec aria-labelledby="h-size" {
            div.sh { h2 #h-size { "What fills it" } span.num { (size(of.bytes)) ", schema " (of.schema_version) } }
            (picture)
            div.tw tabindex="0" role="region" aria-label="Parts of the store, and rows" {
                table.t {
                    thead { tr { th scope="col" { "Part" } th.n scope="col" { "Size" } th.n scope="col" { "Rows, at most" } } }
                    tbody { (rows) }
                }
            }
        }
    }
}

fn safe(
    ask: &Ask,
    statistics: Option<&StoreStatistics>,
    findings: &[Finding],
    backup: Option<&AuditRecord>,
) -> Markup {
    let fine = |name: &str, says: Markup| html! { tr { th.nw scope="row" { (name) } td.main { span.st.done { (icon("done")) (says) } } } };
    let has = |code: &str| findings.iter().any(|finding| finding.code == code);
    let rows = html! {
        @for finding in findings {
            @let (class, word) = match finding.weight { Weight::Error => ("fail", "Fault"), Weight::Warning => ("due", "Warning"), Weight::Note => ("wait", "Note") };
            tr {
                th.nw scope="row" { (symbol(class, word)) }
                td.main { span.clip title=(format!("{}: {}", finding.text, finding.advice)) { (text(&finding.text)) ": " span.q { (text(&finding.advice)) } } }
            }
        }
        @match backup {
            Some(record) => tr { th.nw scope="row" { "Backup" } td.main { span.st.done { (icon("done")) "checked copy, " (ago(ask.now, record.time)) ", by " (text(&record.audit.actor)) } } },
            None => tr { th.nw scope="row" { "Backup" } td.main { (symbol("wait", "none is recorded")) } },
        }
        @if let Some(of) = statistics {
            @if !has("wal_large") { (fine("Log", html! { (size(of.log_bytes)) @if let Some(pages) = of.log_pages { ", " (num(pages)) " pages to move" } })) }
            @if !has("reader_old") && !has("wal_large") {
                (fine("Longest reader", html! { @match of.oldest_reader { Some(age) => { (num(age.as_secs())) " s, in this process" }, None => "none in this process" } }))
            }
            @if !has("disk_full") { @if let Some(free) = of.disk_free_bytes { (fine("Disk", html! { (size(free)) " free" })) } }
            @if !has("free_space") { (fine("Free pages", html! { (size(of.free_bytes)) ", for reuse" })) }
        }
    };
    let number =
        if findings.is_empty() { "no finding".to_owned() } else { format!("{} found", findings.len()) };
    section(
        "h-safe",
        "Is it safe",
        Some(&number),
        None,
        &table("Is it safe", true, &["What", "Finding"], &rows),
    )
}

fn purging(
    ask: &Ask,
    is_admin: bool,
    oldest: Option<&InstanceSummary>,
    last: Option<&AuditRecord>,
) -> Markup {
    let body = html! {
        p.empty {
            @match oldest {
                Some(row) => {
                    "Of what has ended, "
                    a href=(ask.to(&format!("instances/{}", segment(&row.id)))) { (text(&super::instances::called(row))) }
                    " started first, " (ago(ask.now, row.create_time))
                    @if let Some(end) = row.complete_time { ", and ended " (ago(ask.now, end)) }
                    "."
                },
                None => { b { "Nothing has ended yet." } "What has ended is removed from here when it is old enough." },
            }
            @if let Some(last) = last { " The last purge was " (ago(ask.now, last.time)) ", by " (text(&last.audit.actor)) "." }
        }
        @if is_admin {
            form.form action="storage/purge" {
                label.f { "Ended before" select name="older" { @for (value, label, _) in DISTANCES { option value=(value) selected[value == "90d"] { (label) } } } }
                label.f { "Ending" select name="ending" { option value="" { "any" } @for ending in ENDINGS { option value=(ending.name()) { (ending.name()) } } } }
                label.f { "Definition" input name="definition" maxlength="512" placeholder="all" autocomplete="off"; }
                button.b { "Preview…" }
            }
            form.form action="storage/purge" {
                input type="hidden" name="what" value="events";
                label.f { "Events taken up before" select name="older" { @for (value, label, _) in DISTANCES { option value=(value) selected[value == "90d"] { (label) } } } }
                button.b { "Preview…" }
            }
        } @else {
            p.q { "Removing needs the role admin; yours is " (ask.visitor.role()) "." }
        }
    };
    section("h-purge", "Purge", Some("what ended long ago"), None, &body)
}

/// How long ago something was, in a list.
fn when(ask: &Ask, time: chrono::DateTime<chrono::Utc>) -> Markup {
    html! { td.n.q { (since(ask.now, time)) } }
}
