//! The list of instances: where is one, and which are like it?

use maud::{Markup, html};
use wfe::{
    status::{ACTIVITY, CHILD_ENDED, USER_TASK},
    traits::{InstanceState, InstanceSummary, Order, Window},
};

use crate::{
    ask::{Ask, Fields, segment},
    filter::{self, Filter},
    html::{Page, Pager, button, empty, icon, id, num, since, state, text},
    reply::{Failure, Reply},
    routes::{Group, Nav, Route},
};

pub(crate) const GROUP: Group = Group {
    nav: Some(Nav { title: "Instances", path: "instances", key: 'i' }),
    routes: &[Route::page("/instances", |ask| Box::pin(list(ask)))],
};

/// Rows of a page.
const ROWS: usize = 50;
/// Up to which number instances are counted.
const COUNTED: u64 = 10_000;

/// Views that are often wanted, as words of the filter.
const VIEWS: [(&str, &str); 5] = [
    ("All", ""),
    ("Open", "status:open"),
    ("Suspended", "status:suspended"),
    ("Failed, not dealt with", "status:failed acknowledged:false"),
    ("Waits for nobody", "waits:nobody"),
];

async fn list(ask: Ask) -> Result<Reply, Failure> {
    let filter = Filter::of(&ask.query);
    let (order, after) = (filter::order(&ask.query), ask.query.get("after"));
    let mut query = filter.query(ask.now)?;
    query.order = order;
    query.check()?;
    let cursor = after
        .map(str::parse)
        .transpose()
        .map_err(|error: wfe::WfeError| Failure::wrong(error.to_string()))?;
    let window = ask.operator.list(&query, cursor, ROWS).await?;
    // A search through data is not counted: it would read what the pages read anyway.
    let count = if query.text.is_none() { Some(ask.operator.count(&query, COUNTED).await?) } else { None };
    let says = match count {
        Some(count) if count.is_exact => format!("{} match", num(count.n)),
        Some(count) => format!("{}+ match", num(count.n)),
        None => "searched in windows".to_owned(),
    };
    let says = format!("{says}, {}", in_words(order));
    Ok(Page::new("Instances")
        .head(html! { div.ttl { h1 { "Instances" } span.q { (says) } } })
        .body(html! {
            (views(&filter))
            (line(&filter, order))
            @if window.rows.is_empty() { (nothing(&filter, &window)) } @else { (rows(&ask, &filter, &window.rows)) }
            (pager(&filter, &ask.query, &window, after.is_some()).markup())
        })
        .into())
}

fn in_words(order: Order) -> &'static str {
    match order {
        Order::Oldest => "oldest start first",
        Order::LastEnded => "last ended first",
        Order::FirstDue => "first due first",
        _ => "newest start first",
    }
}

fn views(filter: &Filter) -> Markup {
    html! {
        ul.tabs aria-label="Views" {
            @for (label, words) in VIEWS {
                @let view = Filter::of(&Fields(vec![("f".to_owned(), words.to_owned())]));
                li { a href={ "instances" (view.fields().link()) } aria-current=[(view == *filter).then_some("page")] { (label) } }
            }
        }
    }
}

/// The filter line: a chip for each word, and a field for another one.
fn line(filter: &Filter, order: Order) -> Markup {
    let orders = [
        ("newest", "Newest start", Order::Newest),
        ("oldest", "Oldest start", Order::Oldest),
        ("last-ended", "Last ended", Order::LastEnded),
        ("first-due", "First due", Order::FirstDue),
    ];
    html! {
        form.filter role="search" aria-label="Filter" action="instances" {
            (icon("search"))
            @for word in &filter.0 {
                @let (name, value) = word.split_once(':').unwrap_or(("text", word));
                span.chip {
                    span { (name) ":" } (text(value))
                    a href={ "instances" (filter.without(word).fields().link()) } title={ "Take off " (name) } {
                        (icon("x")) span.vh { "Take off " (word) }
                    }
                }
            }
            @for (name, value) in &filter.fields().0 { input type="hidden" name=(name) value=(value); }
            label.vh for="filter" { "Add a filter" }
            input id="filter" name="f" maxlength="512" autocomplete="off" placeholder={ "Add a filter: " (filter::NAMES) " …" };
            label.vh for="order" { "Order" }
            select id="order" name="order" data-send {
                @for (value, label, of) in orders { option value=(value) selected[of == order] { (label) } }
            }
            button.b.bare.tiny { "Filter" }
        }
    }
}

fn rows(ask: &Ask, filter: &Filter, rows: &[InstanceSummary]) -> Markup {
    html! {
        form method="post" action="act" {
            @for (name, value) in &filter.fields().0 { input type="hidden" name=(name) value=(value); }
            div.bulk role="group" aria-label="With the marked ones" {
                p {
                    b #marked { "With the marked ones:" } " "
                    label { input type="checkbox" name="all" value="1"; " all that match the filter, not only this page" }
                }
                div.bs {
                    (button("", "resume", "Resume…"))
                    (button("", "skip", "Skip…"))
                    (button("", "retry", "Retry…"))
                    (button("", "ack", "Ack…"))
                    (button("", "suspend", "Suspend…"))
                    (button("end apart", "cancel", "Cancel…"))
                    (button("end", "terminate", "Terminate…"))
                }
            }
            div.tw tabindex="0" role="region" aria-label="Instances" {
                table.t.list {
                    thead {
                        tr {
                            td.ck { input #mark-all type="checkbox" aria-label="Mark this page"; }
                            th scope="col" { div.two { "Status" span.p2 { "Since" } } }
                            th scope="col" { div.two.w11 { "Instance" span.p2 { "Definition" } } }
                            th scope="col" { "Stands at, and why" }
                            th.n.p2.p3 scope="col" { "Started" }
                            th.n.p2.p3 scope="col" { "Id" }
                        }
                    }
                    tbody { @for row in rows { (self::row(ask, row)) } }
                }
            }
        }
    }
}

/// What people call the instance: its reference, else its name, else the middle of its id.
pub(crate) fn called(row: &InstanceSummary) -> String {
    let name = Some(&row.name).filter(|name| **name != row.id && !name.is_empty());
    row.reference.as_ref().or(name).cloned().unwrap_or_else(|| crate::html::middle(&row.id))
}

fn row(ask: &Ask, row: &InstanceSummary) -> Markup {
    let name = called(row);
    html! {
        tr id={ "i-" (segment(&row.id)) } {
            td.ck { input type="checkbox" name="id" value=(row.id) aria-label={ "Mark " (name) }; }
            td { div.two { (state(row.state)) span.q { @if let Some(at) = at(row) { (since(ask.now, at)) } } } }
            th scope="row" {
                div.two.w11.ref {
                    a href={ "instances/" (segment(&row.id)) } { (text(&name)) }
                    span.q.nw { (text(&row.definition)) " v" (row.version) }
                }
            }
            td.main { (about(row)) }
            td.n.q.p2.p3 { (since(ask.now, row.create_time)) }
            td.n.q.p2.p3 { (id(&row.id)) }
        }
    }
}

/// The time that goes with the state.
fn at(row: &InstanceSummary) -> Option<chrono::DateTime<chrono::Utc>> {
    let failed = row.cause.as_ref().map(|cause| cause.time);
    match row.state {
        InstanceState::Suspended => failed,
        InstanceState::Due | InstanceState::Asleep => row.due,
        state if state.is_final() => row.complete_time.or(failed),
        _ => None,
    }
}

/// Where the instance stands and why, in short.
pub(crate) fn about(row: &InstanceSummary) -> Markup {
    let stands = row.state == InstanceState::Suspended || row.state.is_final();
    if let Some(cause) = row.cause.as_ref().filter(|_| stands) {
        let title = format!("{}: {}: {}", cause.step, cause.code, cause.message);
        return html! {
            span.clip title=(title) {
                (text(&cause.step)) span.q { ": " } code { (text(&cause.code)) } " "
                span.q { (text(&cause.message)) @if cause.attempt > 1 { ", " (cause.attempt) " attempts" } }
                @if row.is_acknowledged { " " span.tag { "dealt with" } }
            }
        };
    }
    let Some(waits) = row.waits.as_ref().filter(|_| !row.state.is_final()) else {
        return html! { span.clip.q { @if let Some(request) = row.request { (request) " requested" } } };
    };
    let what = match &*waits.name {
        USER_TASK => "answer of a person".to_owned(),
        CHILD_ENDED => format!("child {}", waits.key),
        name => match name.strip_prefix(ACTIVITY) {
            Some(activity) => format!("activity {activity}"),
            None => format!("event {name}/{}", waits.key),
        },
    };
    html! {
        span.clip title=(what) { span.q { "waits for " } (text(&what)) @if waits.count > 1 { span.q { " and " (waits.count - 1) " more" } } }
    }
}

fn nothing(filter: &Filter, window: &Window<InstanceSummary>) -> Markup {
    if window.next.is_some() {
        let way = html! { "Looked at " (num(window.looked_at)) " instances. " b { "Go on" } " below looks at the next ones." };
        return empty("Nothing found so far.", &way);
    }
    if filter.0.is_empty() {
        return empty(
            "No instance is here yet.",
            &html! { "A program starts one, or " code { "wfe start DEFINITION" } "." },
        );
    }
    let way = html! {
        "Take off a filter: "
        @for (at, word) in filter.0.iter().enumerate() {
            @if at > 0 { ", " }
            a href={ "instances" (filter.without(word).fields().link()) } { (text(word)) }
        }
        ", or " a href="instances" { "see all" } "."
    };
    empty("No instance matches.", &way)
}

fn pager<'p>(filter: &Filter, query: &Fields, window: &Window<InstanceSummary>, is_later: bool) -> Pager<'p> {
    let mut fields = filter.fields();
    fields.0.extend(query.get("order").map(|order| ("order".to_owned(), order.to_owned())));
    let link = |after: Option<String>| format!("instances{}", fields.with("after", after.as_deref()).link());
    Pager {
        says: format!("{} shown, {} looked at.", window.rows.len(), num(window.looked_at)),
        first: is_later.then(|| (link(None), "First page")),
        next: window.next.map(|next| (link(Some(next.to_string())), "Go on")),
    }
}
