//! Events: whether one was published, who took it, and who waits.

mod lists;
mod publish;

use maud::{Markup, html};
use wfe::{
    WfeError,
    operator::Role,
    traits::{Cursor, EventFilter, OWN_NAMES, OpenWait, Page as Rows, StoredEvent, WaitFilter},
};

use super::parts::cursor;
use crate::{
    ask::{Ask, Fields},
    html::{Page, Pager, empty, icon, num, text},
    reply::{Failure, Reply},
    routes::{Group, Nav, Route},
};

pub(crate) const GROUP: Group = Group {
    nav: Some(Nav { title: "Events", path: "events", key: 'e' }),
    routes: &[
        Route::page("/events", |ask| Box::pin(page(ask))),
        Route {
            needs: Some(Role::Operator),
            ..Route::page("/events/publish", |ask| Box::pin(async move { Ok(publish::page(&ask)) })).still()
        },
        Route::action("/events/publish", Role::Operator, |ask| Box::pin(publish::act(ask))),
    ],
};

/// The number of rows on a page.
const ROWS: usize = 50;
/// How many rows are read at once when some of them are searched, and how often.
const SCANNED: usize = 200;
const SCANS: usize = 10;

/// What the page shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tab {
    Stream,
    Waits,
    Untaken,
}

impl Tab {
    const ALL: [(Self, &'static str, &'static str); 3] = [
        (Self::Stream, "", "Published"),
        (Self::Waits, "waits", "Open waits"),
        (Self::Untaken, "untaken", "Taken by nobody"),
    ];

    fn of(query: &Fields) -> Self {
        let tab = query.get("tab").unwrap_or("");
        Self::ALL.into_iter().find(|(_, name, _)| *name == tab).map_or(Self::Stream, |(tab, ..)| tab)
    }
}

/// The stream that is looked at: all events, those of a name, or those of a name and a key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Stream {
    name: Option<String>,
    key: Option<String>,
}

impl Stream {
    fn of(query: &Fields) -> Result<Self, Failure> {
        let name = query.get("name").map(str::to_owned);
        // A key may be empty: then the form has sent none.
        let key = query.get("key").map(str::to_owned);
        if name.is_none() && key.is_some() {
            return Err(Failure::wrong("A key needs the name of its events."));
        }
        Ok(Self { name, key })
    }

    fn fields(&self) -> Fields {
        Fields::default().with("name", self.name.as_deref()).with("key", self.key.as_deref())
    }

    fn link(&self, ask: &Ask, tab: Tab) -> String {
        let tab = Tab::ALL
            .into_iter()
            .find(|(of, ..)| *of == tab)
            .map(|(_, name, _)| name)
            .filter(|tab| !tab.is_empty());
        format!("{}{}", ask.to("events"), self.fields().with("tab", tab).link())
    }

    fn filter(&self) -> EventFilter {
        EventFilter { name: self.name.clone(), key: self.key.clone(), unprocessed: false }
    }

    fn waits(&self) -> Option<WaitFilter> {
        self.name.clone().map(|name| WaitFilter::Event { name, key: self.key.clone() })
    }

    /// What people call it.
    fn called(&self) -> Option<String> {
        let name = self.name.as_ref()?;
        Some(match &self.key {
            Some(key) => format!("{name}/{key}"),
            None => name.clone(),
        })
    }
}

async fn page(ask: Ask) -> Result<Reply, Failure> {
    let (tab, stream) = (Tab::of(&ask.query), Stream::of(&ask.query)?);
    let after = cursor(&ask)?;
    let (list, next, says) = match tab {
        Tab::Stream => {
            let page = ask.operator.events(&stream.filter(), after, ROWS).await?;
            let says = format!("{} shown, newest first.", num(page.rows.len() as u64));
            let list = if page.rows.is_empty() {
                unpublished(&ask, &stream).await?
            } else {
                lists::events(&ask, &stream, tab, &page.rows)
            };
            (list, page.next, says)
        }
        Tab::Untaken => {
            let (page, looked_at) = untaken(&ask, &stream, after).await?;
            let says = format!(
                "{} found among {} events, newest first.",
                num(page.rows.len() as u64),
                num(looked_at)
            );
            let list = match (page.rows.is_empty(), page.next) {
                (false, _) => lists::events(&ask, &stream, tab, &page.rows),
                (true, Some(_)) => empty(
                    "None among those that were searched.",
                    &html! { b { "Go on" } " below searches the next ones." },
                ),
                (true, None) => empty(
                    "Every event was taken.",
                    &html! { "An event that no instance has taken stands here: one that was published too early, or under a wrong key." },
                ),
            };
            (list, page.next, says)
        }
        Tab::Waits => {
            let page = waits(&ask, &stream, after).await?;
            let says = format!("{} shown, the oldest first.", num(page.rows.len() as u64));
            let list = match (page.rows.is_empty(), page.next) {
                (false, _) => lists::waits(&ask, &page.rows),
                (true, Some(_)) => empty(
                    "None among those that were searched.",
                    &html! { b { "Go on" } " below searches the next ones." },
                ),
                (true, None) => nobody_waits(&ask, &stream),
            };
            (list, page.next, says)
        }
    };
    let here = stream.link(&ask, tab);
    let more = if here.contains('?') { "&" } else { "?" };
    let is_later = ask.query.get("after").is_some();
    let pager = Pager {
        says,
        first: is_later.then(|| (here.clone(), "First page")),
        next: next.map(|Cursor(next)| (format!("{here}{more}after={next}"), "Go on")),
    };
    Ok(frame(&ask, tab, &stream)
        .body(html! {
            (publish::done(&ask))
            (tabs(&ask, tab, &stream))
            (line(&ask, tab, &stream))
            (list)
            (pager.markup())
        })
        .into())
}

fn frame(ask: &Ask, tab: Tab, stream: &Stream) -> Page {
    let title = match stream.called() {
        Some(called) => format!("Event {called}"),
        None => "Events".to_owned(),
    };
    let lead = match tab {
        Tab::Stream => {
            "What was published, and whether an instance has taken it. Name and key together are one stream."
        }
        Tab::Waits => "Instances that stand until an event with this name and key is published.",
        Tab::Untaken => {
            "Events that no instance has taken, although they are due: nobody has waited for them yet."
        }
    };
    let publish = format!("{}{}", ask.to("events/publish"), stream.fields().link());
    Page::new(title).lead(html! { (lead) }).tools(html! {
        @if ask.visitor.role() >= Role::Operator { a.b href=(publish) { "Publish…" } }
    })
}

/// Events that are due, and that no instance has taken.
async fn untaken(
    ask: &Ask,
    stream: &Stream,
    mut after: Option<Cursor>,
) -> Result<(Rows<StoredEvent>, u64), WfeError> {
    let (mut rows, mut looked_at) = (Vec::new(), 0);
    for _ in 0..SCANS {
        let page = ask.operator.events(&stream.filter(), after, SCANNED).await?;
        looked_at += page.rows.len() as u64;
        rows.extend(page.rows.into_iter().filter(|event| !event.is_consumed && event.position.is_some()));
        after = page.next;
        if after.is_none() || rows.len() >= ROWS {
            break;
        }
    }
    Ok((Rows { rows, next: after }, looked_at))
}

/// Open waits for events of programs. What waits for workers, people and children stands on pages of its own.
async fn waits(ask: &Ask, stream: &Stream, mut after: Option<Cursor>) -> Result<Rows<OpenWait>, WfeError> {
    let filter = stream.waits();
    let mut rows = Vec::new();
    for _ in 0..SCANS {
        let page = ask.operator.waits(filter.as_ref(), after, SCANNED).await?;
        rows.extend(
            page.rows.into_iter().filter(|wait| !wait.subscription.event_name.starts_with(OWN_NAMES)),
        );
        after = page.next;
        if after.is_none() || rows.len() >= ROWS {
            break;
        }
    }
    Ok(Rows { rows, next: after })
}

fn tabs(ask: &Ask, current: Tab, stream: &Stream) -> Markup {
    html! {
        ul.tabs aria-label="Events" {
            @for (tab, _, label) in Tab::ALL {
                li { a href=(stream.link(ask, tab)) aria-current=[(tab == current).then_some("page")] { (label) } }
            }
        }
    }
}

fn line(ask: &Ask, tab: Tab, stream: &Stream) -> Markup {
    let without_key = Stream { key: None, ..stream.clone() };
    html! {
        form.filter role="search" aria-label="Filter" action=(ask.to("events")) {
            (icon("search"))
            @for (name, value, rest) in [("name", &stream.name, &Stream::default()), ("key", &stream.key, &without_key)] {
                @if let Some(value) = value {
                    span.chip {
                        span { (name) ":" } (text(value))
                        a href=(rest.link(ask, tab)) title={ "Take off " (name) } { (icon("x")) span.vh { "Take off " (name) ":" (value) } }
                    }
                }
            }
            @for (_, name, _) in Tab::ALL.into_iter().filter(|(of, name, _)| *of == tab && !name.is_empty()) {
                input type="hidden" name="tab" value=(name);
            }
            @if let Some(name) = &stream.name {
                input type="hidden" name="name" value=(name);
                label.vh for="filter" { "Key" }
                input id="filter" name="key" placeholder="Key, for one stream" autocomplete="off" maxlength="512";
            } @else {
                label.vh for="filter" { "Name" }
                input id="filter" name="name" placeholder="Name of events" autocomplete="off" maxlength="512";
            }
            button.b.bare { "Show" }
        }
    }
}

/// Nothing was published under the name and the key: the visitor wants to know who waits.
async fn unpublished(ask: &Ask, stream: &Stream) -> Result<Markup, WfeError> {
    let (Some(called), Some(filter)) = (stream.called(), stream.waits()) else {
        return Ok(empty(
            "No event was published yet.",
            &html! {
                "A program publishes one with " code { "host.publish" } ", a person with " b { "Publish…" } " or " code { "wfe publish NAME KEY" } "."
            },
        ));
    };
    let waits = ask.operator.waits(Some(&filter), None, ROWS).await?;
    let n = waits.rows.len() as u64;
    let plus = if waits.next.is_some() { "+" } else { "" };
    Ok(empty(
        &format!("No event {called} is stored."),
        &html! {
            @if n > 0 {
                a href=(stream.link(ask, Tab::Waits)) { (num(n)) (plus) @if n == 1 { " instance waits for it" } @else { " wait for it" } } "."
            } @else {
                "Nobody waits for it either. "
                @if stream.key.is_some() {
                    a href=(Stream { key: None, ..stream.clone() }.link(ask, Tab::Stream)) { "Other keys of this name" }
                } @else {
                    a href=(ask.to("events")) { "All events" }
                }
            }
        },
    ))
}

fn nobody_waits(ask: &Ask, stream: &Stream) -> Markup {
    let what = match stream.called() {
        Some(called) => format!("Nobody waits for {called}."),
        None => "Nobody waits for an event.".to_owned(),
    };
    empty(
        &what,
        &html! {
            "Names and keys are compared letter by letter. "
            @if stream.name.is_some() { a href=(Stream::default().link(ask, Tab::Waits)) { "All open waits" } }
            @else { "Workers, people and children are waited for under " a href=(ask.to("activities")) { "activities" } " and " a href=(ask.to("tasks")) { "tasks" } "." }
        },
    )
}
