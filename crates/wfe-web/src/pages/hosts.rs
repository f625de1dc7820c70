//! Who is alive, and what will it do next?

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use maud::{Markup, html};
use wfe::traits::{Host, HostCard, InstanceState, InstanceSummary, OWN_NAMES, OpenCount, Order, Query};

use super::instances::called;
use crate::{
    ask::{Ask, segment},
    filter::Filter,
    html::{Page, ago, empty, id, num, section, since, span, state, symbol, table, text},
    reply::{Failure, Reply},
    routes::{Group, Nav, Route},
};

pub(crate) const GROUP: Group = Group {
    nav: Some(Nav { title: "Hosts", path: "hosts", key: 'h' }),
    routes: &[Route::page("/hosts", |ask| Box::pin(hosts(ask)))],
};

/// So many due instances are shown.
const NEXT: usize = 20;
/// So many hosts are shown whole, and so many definitions of each.
const SHOWN: usize = 50;

async fn hosts(ask: Ask) -> Result<Reply, Failure> {
    let mut hosts = ask.operator.hosts().await?;
    // What has died needs somebody, so it comes first.
    hosts.sort_by_key(|host| (host.is_alive != Some(false), host.owner));
    let open = ask.operator.open_counts().await?;
    let query = Query {
        states: vec![InstanceState::Due, InstanceState::Asleep],
        order: Order::FirstDue,
        ..Query::default()
    };
    let next = ask.operator.list(&query, None, NEXT).await?.rows;
    let missing = missing(&hosts, &open);
    let dead = hosts.iter().filter(|host| host.is_alive == Some(false)).count();
    let alive = hosts.len() - dead;
    let title = match (alive, dead) {
        (0, _) => "No host is alive".to_owned(),
        (1, 0) => "1 host is alive".to_owned(),
        (n, 0) => format!("{n} hosts are alive"),
        (n, dead) => format!("{n} alive, {dead} died"),
    };
    Ok(Page::new(title)
        .lead(lead(&ask, &hosts, &next, missing.len()))
        .body(html! {
            @if dead > 0 {
                div.note.due role="status" {
                    (crate::html::icon("warn"))
                    p {
                        (dead) " died with instances that nobody has taken over yet. "
                        @if alive > 0 { "A living host that has their definitions does so within a second." }
                        @else { "Start a program that has their definitions." }
                    }
                }
            }
            div.cols {
                div {
                    @if hosts.is_empty() {
                        (section("h-hosts", "Hosts", None, None, &empty(
                            "No host works on this store.",
                            &html! { "Instances go on when a program with their definitions starts its host. What is stored waits until then." },
                        )))
                    }
                    @for host in hosts.iter().take(SHOWN) { (self::host(&ask, host)) }
                    @if hosts.len() > SHOWN { p.q { "And " (hosts.len() - SHOWN) " more: " code { "wfe hosts" } } }
                }
                div {
                    @if !missing.is_empty() { (without_host(&ask, &missing)) }
                    (self::next(&ask, &next))
                }
            }
        })
        .into())
}

fn lead(ask: &Ask, hosts: &[Host], next: &[InstanceSummary], missing: usize) -> Markup {
    let cards =
        || hosts.iter().filter(|host| host.is_alive != Some(false)).filter_map(|host| host.card.as_ref());
    let busy: u64 = cards().map(|card| card.instances_busy).sum();
    let limit: u64 = cards().map(|card| card.instances_limit).sum();
    html! {
        @if limit > 0 { (num(busy)) " of " (num(limit)) " places are used. " }
        @match next.first().and_then(|row| row.due) {
            Some(due) if due > ask.now => { "The next instance is due " (since(ask.now, due)) ". " }
            Some(due) => { "The first due instance has waited for " (span(ask.now - due)) ". " }
            None => "Nothing is due. ",
        }
        @if missing == 1 { "No living host has one definition that is needed." }
        @if missing > 1 { "No living host has " (missing) " definitions that are needed." }
    }
}

/// What open instances need and no living host has: how many need it, by definition and version. Nothing is missing if no
/// host has said what it has.
fn missing(hosts: &[Host], open: &[OpenCount]) -> BTreeMap<(String, u32), u64> {
    let cards: Vec<&HostCard> = hosts
        .iter()
        .filter(|host| host.is_alive != Some(false))
        .filter_map(|host| host.card.as_ref())
        .collect();
    let mut missing = BTreeMap::new();
    if cards.is_empty() {
        return missing;
    }
    for count in open.iter().filter(|count| count.state != InstanceState::Suspended) {
        let is_there = |card: &&HostCard| {
            card.definitions.iter().any(|(id, version)| *id == count.definition && *version == count.version)
        };
        if !cards.iter().any(is_there) {
            *missing.entry((count.definition.clone(), count.version)).or_default() += count.count;
        }
    }
    missing
}

/// The address of the instances of a version of a definition.
fn instances_of(ask: &Ask, definition: &str, version: u32) -> String {
    let filter = Filter(vec![format!("definition:{definition}@{version}"), "status:open".to_owned()]);
    ask.to(&format!("instances{}", filter.fields().link()))
}

fn without_host(ask: &Ask, missing: &BTreeMap<(String, u32), u64>) -> Markup {
    let rows = html! {
        @for ((definition, version), count) in missing {
            tr {
                th scope="row" { a href=(instances_of(ask, definition, *version)) { (text(definition)) " " span.q { "v" (version) } } }
                td.main { (symbol("due", "wait for a program that has it")) }
                td.n { (num(*count)) }
            }
        }
    };
    let table = table("Definitions that no host has", false, &["Definition", "Its instances", "Open"], &rows);
    section("h-missing", "No host has", Some(&num(missing.len() as u64)), None, &table)
}

fn host(ask: &Ask, host: &Host) -> Markup {
    let (class, word) = match host.is_alive {
        Some(true) => ("done", "Alive"),
        Some(false) => ("fail", "Died"),
        None => ("wait", "Unknown"),
    };
    let heading = format!("h-host-{}", host.owner);
    let Some(card) = &host.card else {
        let body = html! {
            div.empty { b { "It has said nothing about itself." } "It has just started, or runs an earlier version of WFE." }
        };
        return html! {
            section.sec aria-labelledby=(heading) {
                div.sh { h2 id=(heading) { "Host " (host.owner) } span.sp {} (symbol(class, word)) }
                (body)
            }
        };
    };
    html! {
        section.sec aria-labelledby=(heading) {
            div.sh {
                h2 id=(heading) { (text(&card.program)) }
                span.num { "pid " (card.pid) @if let Some(machine) = &card.machine { " on " (text(machine)) } }
                span.sp {}
                (symbol(class, word))
            }
            dl.kv {
                dt { "Started" } dd { (ago(ask.now, card.started)) ", WFE " (text(&card.wfe_version)) ", owner " (host.owner) }
                dt { "Places" } dd { (meter("places", card.instances_busy, card.instances_limit)) }
                dt { "Bodies" } dd { (meter("bodies", card.bodies_running, card.bodies_limit)) }
                dt { "Next due" }
                dd { @match card.next_due { Some(due) => (since(ask.now, due)), None => span.q { "nothing that it knows of" } } }
                dt { "Has" } dd { (definitions(ask, card)) }
                @if card.has_retention { dt { "Retention" } dd { "removes what ended long ago, unless a host with a lower owner does" } }
                dt { "Said so" } dd { (ago(ask.now, card.written)) }
            }
            @if !card.running.is_empty() { (running(ask.now, ask, card)) }
        }
    }
}

/// How many of a limited number are used, and how many are free.
fn meter(what: &str, used: u64, limit: u64) -> Markup {
    let of = limit.max(1);
    html! {
        (num(used)) " of " (num(limit)) " used, " (num(limit.saturating_sub(used))) " free"
        svg.meter height="6" role="img" aria-label={ (used) " of " (limit) " " (what) " used" } {
            rect.track width="100%" height="6" {}
            rect.c2 width={ (used.min(of) * 100 / of) "%" } height="6" {}
        }
    }
}

fn definitions(ask: &Ask, card: &HostCard) -> Markup {
    let own: Vec<&(String, u32)> =
        card.definitions.iter().filter(|(id, _)| !id.starts_with(OWN_NAMES)).collect();
    html! {
        @if own.is_empty() { span.q { "no definition" } }
        @for (at, (definition, version)) in own.iter().take(SHOWN).enumerate() {
            @if at > 0 { ", " }
            a.nw href=(instances_of(ask, definition, *version)) { (text(definition)) " v" (version) }
        }
        @if own.len() > SHOWN { ", and " (own.len() - SHOWN) " more" }
    }
}

fn running(now: DateTime<Utc>, ask: &Ask, card: &HostCard) -> Markup {
    let rows = html! {
        @for body in &card.running {
            tr {
                th scope="row" { a href=(ask.to(&format!("instances/{}", segment(&body.instance)))) { (id(&body.instance)) } }
                td.main { span.clip title=(body.step) { (text(&body.step)) } }
                td.n.q { (since(now, body.since)) }
            }
        }
    };
    let name = format!("Bodies that run in {}, longest first", card.program);
    table(&name, false, &["Instance", "Step that runs", "For"], &rows)
}

fn next(ask: &Ask, next: &[InstanceSummary]) -> Markup {
    let rows = html! {
        @for row in next {
            tr {
                td { (state(row.state)) }
                th.main scope="row" {
                    a.clip href=(ask.to(&format!("instances/{}", segment(&row.id)))) title=(called(row)) {
                        (text(&called(row))) span.q { " " (text(&row.definition)) " v" (row.version) }
                    }
                }
                td.n.q { @if let Some(due) = row.due { (since(ask.now, due)) } }
            }
        }
    };
    let body = if next.is_empty() {
        empty("Nothing is due, and nothing sleeps.", &html! { "What a host takes up next would stand here." })
    } else {
        table("Next due", false, &["State", "Instance", "Due"], &rows)
    };
    let link = format!("{}?order=first-due", ask.to("instances"));
    section("h-next", "Next", Some(&format!("the first {NEXT} due")), Some((&link, "List")), &body)
}
