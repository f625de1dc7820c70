//! Is all well, what needs attention, and what failed since yesterday?

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use maud::{Markup, html};
use wfe::{
    WfeError,
    operator::{Code, Stuck},
    traits::{
        AuditFilter, AuditRecord, EndedCount, Ending, FailureGroup, Host, InstanceState, OpenCount, Order,
        Query, StoreStatistics, TimeRange,
    },
};

use crate::{
    ask::{Ask, segment},
    filter::Filter,
    html::{Page, class, empty, num, section, since, size, span, symbol, table, text},
    picture::{self, Hour},
    reply::{Failure, Reply},
    routes::{Group, Nav, Route},
};

pub(crate) const GROUP: Group = Group {
    nav: Some(Nav { title: "Overview", path: "overview", key: 'o' }),
    routes: &[
        Route::page("/", |ask| Box::pin(async move { Ok(begin(&ask)) })).still(),
        Route::page("/overview", |ask| Box::pin(overview(ask))),
    ],
};

/// The dashboard's own path, with a slash at its end or without: links are relative, and would lead elsewhere.
fn begin(ask: &Ask) -> Reply {
    let last = ask.path.rsplit('/').next().unwrap_or("");
    let slash = if last.is_empty() { "" } else { "/" };
    Reply::See(format!("{last}{slash}overview{}", ask.query.link()))
}

/// So many stuck instances are looked for.
const STUCK: usize = 50;
/// So many hours the bars show.
const HOURS: i64 = 24;
/// So many rows each list has.
const ROWS: usize = 8;

async fn overview(ask: Ask) -> Result<Reply, Failure> {
    let (now, operator) = (ask.now, &ask.operator);
    let day = TimeRange { from: Some(now - TimeDelta::days(1)), until: Some(now) };
    // Whole hours, and the one that runs.
    let hours = now.timestamp().div_euclid(3_600) - (HOURS - 1);
    let begin = DateTime::from_timestamp(hours * 3_600, 0).unwrap_or(now);
    let stuck = operator.stuck(STUCK).await?;
    let open = operator.open_counts().await?;
    let ended =
        operator.ended_counts(TimeRange { from: Some(begin), ..day }, Duration::from_hours(1)).await?;
    let failed_since = Query {
        states: vec![InstanceState::Failed],
        completed: TimeRange { until: None, ..day },
        order: Order::LastEnded,
        ..Query::default()
    };
    let mut groups = operator.failure_groups(&failed_since).await?.rows;
    groups.sort_by_key(|group| std::cmp::Reverse(group.count));
    let hosts = supported(operator.hosts().await)?.unwrap_or_default();
    let statistics = supported(operator.statistics().await)?;
    let records =
        operator.audit(&AuditFilter { time: day, ..AuditFilter::default() }, None, ROWS).await?.rows;

    let count = |ending| ended.iter().filter(|of| of.ending == ending).map(|of| of.count).sum::<u64>();
    let endings = [Ending::Completed, Ending::Failed, Ending::Cancelled, Ending::Terminated].map(count);
    let title = match stuck.len() {
        0 => "All is well".to_owned(),
        1 => "1 needs attention".to_owned(),
        n if n >= STUCK => format!("{n}+ need attention"),
        n => format!("{n} need attention"),
    };
    Ok(Page::new(title)
        .lead(lead(now, endings[1], &groups, &open))
        .body(html! {
            (figures(&ask, &open, endings))
            div.cols {
                div {
                    (attention(&ask, &stuck))
                    (failed(&ask, &groups, endings[1]))
                    (acted(&ask, &records))
                }
                div {
                    (per_hour(&ask, begin, &ended))
                    (self::hosts(now, &hosts))
                    @if let Some(statistics) = &statistics { (store(statistics)) }
                }
            }
        })
        .into())
}

/// `None` if the store cannot answer this question at all.
fn supported<T>(answer: wfe::Result<T>) -> Result<Option<T>, Failure> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(WfeError::Unsupported(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn lead(now: DateTime<Utc>, failed: u64, groups: &[FailureGroup], open: &[OpenCount]) -> Markup {
    let due = open.iter().filter(|of| of.state == InstanceState::Due).filter_map(|of| of.oldest_due).min();
    html! {
        @match failed {
            0 => "Nothing failed since yesterday.",
            n => { (num(n)) " failed since yesterday" @if let Some(most) = groups.first() { ", " @if n > 1 { "most of them " } "in " (text(&most.definition)) " › " (text(&most.step)) } "." }
        }
        " "
        @match due {
            Some(due) if due < now => { "The oldest due instance is " (span(now - due)) " late." }
            _ => "Nothing is late.",
        }
    }
}

fn figures(ask: &Ask, open: &[OpenCount], endings: [u64; 4]) -> Markup {
    let of = |state| open.iter().filter(|of| of.state == state).map(|of| of.count).sum::<u64>();
    let all: u64 = open.iter().map(|of| of.count).sum();
    let figure = |state: InstanceState, count: u64, more: Option<&str>| {
        let words = [format!("status:{state}")].into_iter().chain(more.map(str::to_owned));
        let filter = Filter(words.collect());
        html! { li { a href={ (ask.to("instances")) (filter.fields().link()) } { b { (num(count)) } (symbol(class(state), state.name())) } } }
    };
    html! {
        section.figs aria-label="Instances by state" {
            div {
                h2 { "Open " b { (num(all)) } }
                ul { @for state in InstanceState::OPEN { (figure(state, of(state), None)) } }
            }
            div {
                h2 { "Ended in 24 h " b { (num(endings.iter().sum())) } }
                ul {
                    @for (state, count) in InstanceState::ENDED.into_iter().zip(endings) {
                        @if count > 0 || state != InstanceState::Terminated { (figure(state, count, Some("ended-since:1d"))) }
                    }
                }
            }
        }
    }
}

/// What stands for the same reason is one row.
#[derive(Default)]
struct Cause<'s> {
    members: Vec<&'s Stuck>,
    since: Option<DateTime<Utc>>,
}

fn attention(ask: &Ask, stuck: &[Stuck]) -> Markup {
    let mut causes = BTreeMap::<(&str, Option<&str>, &str), Cause<'_>>::new();
    for one in stuck {
        let why = &one.explanation;
        let cause = causes.entry((why.code.name(), why.step.as_deref(), &one.definition)).or_default();
        cause.since = cause.since.into_iter().chain(why.since).min();
        cause.members.push(one);
    }
    let mut causes: Vec<_> = causes.into_iter().collect();
    causes.sort_by_key(|(_, cause)| std::cmp::Reverse(cause.members.len()));
    let rows = html! {
        @for ((_, step, definition), cause) in &causes {
            @if let Some(first) = cause.members.first() {
                @let (class, word) = kind(first.explanation.code);
                @let link = if cause.members.len() == 1 { format!("instances/{}", segment(&first.id)) } else {
                    let status = if class == "susp" { "suspended" } else { "open" };
                    let filter = Filter(vec![format!("status:{status}"), format!("definition:{definition}")]);
                    format!("instances{}", filter.fields().link())
                };
                tr {
                    td { (symbol(class, &format!("{} {word}", cause.members.len()))) }
                    td.main {
                        div.two.w11 {
                            a.nw href=(ask.to(&link)) { (text(definition)) @if let Some(step) = step { span.arrow { "›" } (text(step)) } }
                            span.clip title=(first.explanation.headline) { (text(&first.explanation.headline)) }
                        }
                    }
                    td.n.q { @if let Some(time) = cause.since { (since(ask.now, time)) } }
                    td.n.p2 { a.do href=(ask.to(&format!("instances/{}", segment(&first.id)))) { "Open" } }
                }
            }
        }
    };
    let body = if stuck.is_empty() {
        empty("Nothing needs anybody.", &html! { "Suspended, late and unclaimed work would stand here." })
    } else {
        table("Needs attention", true, &["What", "Where and why", "Since", "Open"], &rows)
    };
    section("h-att", "Needs attention", Some(&num(stuck.len() as u64)), None, &body)
}

/// The class and the word for a reason to stand.
fn kind(code: Code) -> (&'static str, &'static str) {
    match code {
        Code::SuspendedFailure | Code::SuspendedBy | Code::Poison => ("susp", "suspended"),
        Code::ActivityUnclaimed => ("due", "unclaimed"),
        Code::LeaseOver => ("due", "lease over"),
        Code::Task => ("due", "task overdue"),
        Code::Child => ("wait", "child stuck"),
        Code::RequestWaiting => ("due", "request waits"),
        _ => ("due", "due"),
    }
}

fn failed(ask: &Ask, groups: &[FailureGroup], all: u64) -> Markup {
    let rows = html! {
        @for group in groups.iter().take(ROWS) {
            @let filter = Filter(vec![
                "status:failed".to_owned(),
                format!("definition:{}", group.definition),
                format!("failed-at:{}", group.step),
                format!("code:{}", group.code),
            ]);
            tr {
                td.n { (num(group.count)) }
                td.main {
                    div.two.w11 {
                        a.nw href={ (ask.to("instances")) (filter.fields().link()) } { (text(&group.definition)) span.arrow { "›" } (text(&group.step)) }
                        span.clip title=(group.message) { code { (text(&group.code)) } " " span.q { (text(&group.message)) } }
                    }
                }
                td.n.q { (since(ask.now, group.last)) }
            }
        }
    };
    let body = if groups.is_empty() {
        empty("Nothing failed.", &html! { "Instances that fail stand here for a day, by what has failed." })
    } else {
        table("Failed since yesterday", true, &["How many", "Where and why", "Last"], &rows)
    };
    let link = format!("{}?f=status%3Afailed&f=ended-since%3A1d&order=last-ended", ask.to("instances"));
    section("h-fail", "Failed since yesterday", Some(&num(all)), Some((&link, "List")), &body)
}

/// How many ended in each hour.
fn per_hour(ask: &Ask, begin: DateTime<Utc>, ended: &[EndedCount]) -> Markup {
    let hour = |from: DateTime<Utc>| {
        let until = from + TimeDelta::hours(1);
        let count = |ending| {
            let of = ended.iter().filter(|of| of.ending == ending && from <= of.from && of.from < until);
            of.map(|of| of.count).sum()
        };
        let time = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Secs, true);
        let filter =
            Filter(vec![format!("ended-since:{}", time(from)), format!("ended-until:{}", time(until))]);
        Hour {
            name: from.format("%H:%M").to_string(),
            completed: count(Ending::Completed),
            failed: count(Ending::Failed),
            url: Some(format!("{}{}", ask.to("instances"), filter.fields().link())),
        }
    };
    let hours: Vec<Hour> = (0..HOURS).map(|n| hour(begin + TimeDelta::hours(n))).collect();
    let body = html! {
        figure.chart {
            (picture::bars(&hours, "Instances ended per hour, the last 24 hours, in UTC"))
            p.keyline {
                span { span.sw.c3 {} "completed" }
                span { span.sw.bad {} "failed, on a scale of its own" }
                span { "hours of UTC" }
            }
            (picture::bars_table(&hours))
        }
    };
    section("h-ended", "Ended per hour", None, None, &body)
}

fn acted(ask: &Ask, records: &[AuditRecord]) -> Markup {
    let rows = html! {
        @for AuditRecord { time, audit, .. } in records {
            tr {
                th.nw scope="row" { (text(&audit.actor)) }
                td.main {
                    div.two.w11 {
                        span {
                            (audit.action.replace('_', " "))
                            @if let Some(id) = &audit.instance { " " a href=(ask.to(&format!("instances/{}", segment(id)))) { (crate::html::id(id)) } }
                        }
                        span.clip.q { @if let Some(reason) = &audit.reason { (text(reason)) } }
                    }
                }
                td.n.q { (since(ask.now, *time)) }
            }
        }
    };
    let body = if records.is_empty() {
        empty(
            "Nobody has acted.",
            &html! { "What people do here or with the command line stands here, with their reasons." },
        )
    } else {
        table("Done by people", true, &["Who", "What and why", "When"], &rows)
    };
    section("h-aud", "Done by people", Some("last 24 h"), None, &body)
}

fn hosts(now: DateTime<Utc>, hosts: &[Host]) -> Markup {
    let alive: Vec<&Host> = hosts.iter().filter(|host| host.is_alive != Some(false)).collect();
    let rows = html! {
        @for host in &alive {
            @if let Some(card) = &host.card {
                @let of = card.instances_limit.max(1);
                tr {
                    th.nw scope="row" { (text(&card.program)) }
                    td.q.nw { "pid " (card.pid) ", up " (span(now - card.started)) }
                    td {
                        svg.meter height="6" role="img" aria-label={ (card.instances_busy) " of " (of) " places used" } {
                            rect.track width="100%" height="6" {}
                            rect.c2 width={ (card.instances_busy.min(of) * 100 / of) "%" } height="6" {}
                        }
                    }
                    td.n { (num(card.instances_busy)) " / " (num(card.instances_limit)) }
                }
            } @else {
                tr { th.nw scope="row" { "host " (host.owner) } td.q colspan="3" { "has not described itself" } }
            }
        }
    };
    let body = if alive.is_empty() {
        empty(
            "No host is alive.",
            &html! { "Instances go on when a program with their definitions starts its host." },
        )
    } else {
        table("Hosts", true, &["Host", "Process", "Places used", "Places"], &rows)
    };
    section("h-hosts", "Hosts", Some(&format!("{} alive", alive.len())), None, &body)
}

fn store(of: &StoreStatistics) -> Markup {
    let rows = html! {
        tr {
            td { (size(of.bytes)) " " span.q { "file" } }
            td { (size(of.log_bytes)) " " span.q { "WAL" } }
            td.n { @if let Some(free) = of.disk_free_bytes { (size(free)) " " span.q { "free" } } }
        }
    };
    section("h-store", "Store", None, None, &table("Store", true, &["File", "WAL", "Disk"], &rows))
}
