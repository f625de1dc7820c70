//! Publishes an event: a form, a question, and then the event.

use chrono::{DateTime, Utc};
use maud::{Markup, html};
use serde_json::Value;
use wfe::operator::{EventView, NewEvent};

use super::{ROWS, Stream, Tab};
use crate::{
    ask::{Ask, Fields},
    html::{Page, Sure, icon, json, num, text},
    pages::parts::instance,
    reply::{Failure, Reply},
};

/// How many of those who wait are linked.
const LINKED: usize = 5;

pub(super) fn page(ask: &Ask) -> Reply {
    form(ask, &ask.query, None).into()
}

/// Asks, and publishes once it is sure. What is wrong in the form is said above it, and what was typed stays.
pub(super) async fn act(ask: Ask) -> Result<Reply, Failure> {
    let typed = match Typed::read(&ask.form) {
        Ok(typed) => typed,
        Err(wrong) => return Ok(form(&ask, &ask.form, Some(&wrong)).into()),
    };
    if ask.form.get("sure").is_none() {
        let view = ask.operator.waiting_for(&typed.name, &typed.key, ROWS).await?;
        return Ok(question(&ask, &typed, &view).into());
    }
    let operator = ask.acting();
    let stream = typed.stream();
    let published = operator.publish(typed.event()).await?;
    let did = if published.is_new { "published" } else { "known" };
    let fields = stream.fields().with("did", Some(did)).with("met", Some(&published.waits.to_string()));
    Ok(Reply::See(format!("{}{}", ask.to("events"), fields.link())))
}

/// What was typed into the form.
struct Typed {
    name: String,
    key: String,
    data: Value,
    id: Option<String>,
    effective: Option<DateTime<Utc>>,
}

impl Typed {
    fn read(form: &Fields) -> Result<Self, String> {
        let field = |name: &'static str| form.get(name).map(str::trim).filter(|value| !value.is_empty());
        let name = form.get("name").ok_or("Name the event.")?.to_owned();
        let data = match field("data") {
            None => Value::Null,
            Some(data) => serde_json::from_str(data).map_err(|error| {
                format!("The data are no JSON: {error}. A text stands in quotation marks.")
            })?,
        };
        let effective = match field("effective") {
            None => None,
            Some(time) => {
                let time = DateTime::parse_from_rfc3339(time);
                Some(time.map_err(|_| "The time is not like 2026-11-30T12:00:00Z.")?.to_utc())
            }
        };
        Ok(Self {
            name,
            key: form.get("key").unwrap_or("").to_owned(),
            data,
            id: field("id").map(str::to_owned),
            effective,
        })
    }

    fn stream(&self) -> Stream {
        Stream { name: Some(self.name.clone()), key: Some(self.key.clone()).filter(|key| !key.is_empty()) }
    }

    fn event(self) -> NewEvent {
        let mut event = NewEvent::new(self.name, self.key).data(self.data);
        if let Some(id) = self.id {
            event = event.id(id);
        }
        if let Some(time) = self.effective {
            event = event.effective(time);
        }
        event
    }
}

fn form(ask: &Ask, typed: &Fields, wrong: Option<&str>) -> Page {
    let value = |name: &'static str| typed.get(name).unwrap_or("");
    Page::new("Publish an event").lead(html! { a href=(ask.to("events")) { "All events" } }).body(html! {
        @if let Some(wrong) = wrong { div.note.fail role="alert" { (icon("warn")) p { b { "Nothing was published." } " " (text(wrong)) } } }
        form.sec.sure method="post" action=(ask.to("events/publish")) {
            div.form {
                label.f { "Name" input name="name" required value=(value("name")) autocomplete="off" placeholder="approved"; }
                label.f { "Key" input name="key" value=(value("key")) autocomplete="off" placeholder="order-17"; }
                label.f { "Id, so that it counts once" input name="id" value=(value("id")) autocomplete="off" placeholder="one is made"; }
                label.f { "Happened, or will happen" input name="effective" value=(value("effective")) autocomplete="off" placeholder="now, or 2026-11-30T12:00:00Z"; }
            }
            label.f { "Data, as JSON" textarea name="data" rows="6" spellcheck="false" placeholder="null" { (value("data")) } }
            div.bs { button.b.go { "Publish…" } a.b href=(ask.to("events")) { "Back" } }
            p.q { "Who waits for this name and key takes it. It is kept for those who will wait later. The next page shows who waits now." }
        }
    })
}

fn question(ask: &Ask, typed: &Typed, EventView { waits, stored, .. }: &EventView) -> Page {
    let stream = typed.stream();
    let n = waits.len() as u64;
    let plus = if waits.len() >= ROWS { "+" } else { "" };
    let examples =
        waits.iter().take(LINKED).map(|wait| instance(ask, &wait.subscription.workflow_id)).collect();
    let what = html! {
        @match n {
            0 => b { "Nobody waits for it now." },
            1 => b { "1 instance waits for it." },
            _ => b { (num(n)) (plus) " wait for it." },
        }
        @if n == 0 { " It is kept, and an instance that waits later takes it. Is the key right? " a href=(Stream { key: None, ..stream.clone() }.link(ask, Tab::Waits)) { "Who waits for this name" } "." }
        @if let Some(time) = typed.effective { " It happens at " (time.to_rfc3339()) ": it meets only who waits at that time." }
        @if !stored.is_empty() { " " (num(stored.len() as u64)) " with this name and key are stored already." }
    };
    Sure {
        verb: format!("Publish {}", stream.called().unwrap_or_default()),
        what,
        examples,
        fields: &ask.form,
        action: ask.to("events/publish"),
        back: format!("{}{}", ask.to("events/publish"), stream.fields().link()),
        more: html! { div { (json(&typed.data)) } },
        ..Sure::default()
    }
    .page()
}

/// What was done, after the browser was sent back.
pub(super) fn done(ask: &Ask) -> Markup {
    let met: u64 = ask.query.get("met").and_then(|met| met.parse().ok()).unwrap_or(0);
    match ask.query.get("did") {
        Some("published") => html! {
            div.note.done role="status" {
                (icon("done"))
                p { b { "Published." } " " @if met == 0 { "Nobody waits for it now." } @else if met == 1 { "It meets 1 open wait." } @else { "It meets " (num(met)) " open waits." } }
                a href=(ask.to("audit")) { "Audit" }
            }
        },
        Some("known") => html! {
            div.note.due role="status" { (icon("warn")) p { b { "Nothing was stored." } " An event with this id was published before." } }
        },
        _ => html! {},
    }
}
