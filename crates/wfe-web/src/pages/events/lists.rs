//! The lists of events and of those who wait.

use maud::{Markup, html};
use wfe::traits::{OpenWait, StoredEvent};
use wfe_core::executor::view::step_of;

use super::{Stream, Tab};
use crate::{
    ask::Ask,
    html::{ago, id, json, num, since, symbol, text},
    pages::parts::instance,
};

/// The number of columns of the list of events.
const COLUMNS: usize = 5;

pub(super) fn events(ask: &Ask, stream: &Stream, tab: Tab, rows: &[StoredEvent]) -> Markup {
    html! {
        div.tw tabindex="0" role="region" aria-label="Events" {
            table.t {
                thead {
                    tr {
                        th scope="col" { "State" }
                        th scope="col" { div.two.w11 { "Event" span.p2 { "Data" } } }
                        th.n.p2 scope="col" { "Place" }
                        th.n.p2 scope="col" { "Id" }
                        th.n scope="col" { "Happened" }
                    }
                }
                tbody { @for row in rows { (event(ask, stream, tab, row)) } }
            }
        }
    }
}

fn event(ask: &Ask, stream: &Stream, tab: Tab, row: &StoredEvent) -> Markup {
    let of = &row.event;
    let own = Stream {
        name: Some(of.event_name.clone()),
        key: Some(of.event_key.clone()).filter(|key| !key.is_empty()),
    };
    let is_open = ask.query.get("show") == Some(&of.id);
    // The same page, with this event open or closed.
    let mut fields = ask.query.with("did", None);
    fields = fields.with("show", Some(of.id.as_str()).filter(|_| !is_open));
    let link = format!("{}{}", ask.to("events"), fields.link());
    html! {
        tr.open[is_open] {
            td { (state(row)) }
            td.main {
                div.two.w11 {
                    @if own == *stream && tab == Tab::Stream {
                        span.nw.strong.clip { (called(&own)) }
                    } @else {
                        a.nw.strong.clip href=(own.link(ask, Tab::Stream)) { (called(&own)) }
                    }
                    a.clip href=(link) aria-expanded=(if is_open { "true" } else { "false" }) {
                        code.q { (text(&brief(row))) }
                    }
                }
            }
            td.n.q.p2 { @if let Some(position) = row.position { (num(position)) } }
            td.n.q.p2 { (id(&of.id)) }
            td.n.q { (since(ask.now, of.event_time)) }
        }
        @if is_open {
            tr.more { td colspan=(COLUMNS) { div.box { h2 { "Data of " (text(&of.id)) } (json(&of.event_data)) } } }
        }
    }
}

/// What became of the event.
fn state(row: &StoredEvent) -> Markup {
    if row.is_consumed {
        symbol("done", "Taken")
    } else if row.position.is_none() {
        symbol("sleep", "Not due yet")
    } else {
        symbol("wait", "Not taken")
    }
}

/// The beginning of the data, in one line.
fn brief(row: &StoredEvent) -> String {
    const LONGEST: usize = 160;
    let data = row.event.event_data.to_string();
    match data.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", data.get(..at).unwrap_or(&data)),
        None => data,
    }
}

fn called(stream: &Stream) -> Markup {
    html! {
        (text(stream.name.as_deref().unwrap_or("")))
        @if let Some(key) = &stream.key { span.arrow { "/" } (text(key)) }
    }
}

pub(super) fn waits(ask: &Ask, rows: &[OpenWait]) -> Markup {
    html! {
        div.tw tabindex="0" role="region" aria-label="Open waits" {
            table.t {
                thead {
                    tr {
                        th scope="col" { "Waits for" }
                        th scope="col" { "Instance" }
                        th.p2 scope="col" { "Definition" }
                        th.p2 scope="col" { "Step" }
                        th.n scope="col" { "Since" }
                    }
                }
                tbody { @for row in rows { (wait(ask, row)) } }
            }
        }
    }
}

fn wait(ask: &Ask, OpenWait { subscription, definition, version, .. }: &OpenWait) -> Markup {
    let of = Stream {
        name: Some(subscription.event_name.clone()),
        key: Some(subscription.event_key.clone()).filter(|key| !key.is_empty()),
    };
    html! {
        tr {
            td.main { a.strong.clip href=(of.link(ask, Tab::Stream)) { (called(&of)) } }
            td { (instance(ask, &subscription.workflow_id)) }
            td.q.p2 { (text(definition)) " v" (version) }
            td.q.p2 { (text(step_of(&subscription.execution_pointer_id))) }
            td.n.q { (ago(ask.now, subscription.subscribe_as_of)) }
        }
    }
}
