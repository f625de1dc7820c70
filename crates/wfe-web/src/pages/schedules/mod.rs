//! What will start next?

mod act;
mod words;

use maud::{Markup, html};
use wfe::{
    WfeError,
    operator::{Role, ScheduleView},
    traits::Page as Rows,
};

use self::words::catch_up;
use super::audit::cursor;
use crate::{
    ask::{Ask, Fields, segment},
    html::{Page, Pager, ago, button, empty, icon, moment, num, since, symbol, text},
    reply::{Failure, Reply},
    routes::{Group, Nav, Route},
};

pub(crate) const GROUP: Group = Group {
    nav: Some(Nav { title: "Schedules", path: "schedules", key: 's' }),
    routes: &[
        Route::page("/schedules", |ask| Box::pin(schedules(ask))),
        Route::action("/schedules/act", Role::Operator, |ask| Box::pin(act::act(ask))),
    ],
};

/// Rows of a page.
const ROWS: usize = 50;
/// From so many seconds on, a tick that no host has processed is late: from then on it counts as missed.
const LATE: i64 = 10;

async fn schedules(ask: Ask) -> Result<Reply, Failure> {
    let after = cursor(&ask.query)?;
    let page = ask.operator.schedules(after, ROWS).await?;
    // One that is open is shown even if it is on another page.
    let (open, lost) = match ask.query.get("open") {
        Some(id) => match ask.operator.schedule(id).await {
            Err(WfeError::ScheduleNotFound(_)) => (None, Some(id)),
            view => (Some(view?), None),
        },
        // One alone is open.
        None if page.rows.len() == 1 => (page.rows.first().cloned(), None),
        None => (None, None),
    };
    let first = page
        .rows
        .iter()
        .filter(|view| !view.status.is_paused)
        .filter_map(|view| Some((view.status.next?, view)))
        .min_by_key(|(next, _)| *next);
    let title = match &first {
        _ if page.rows.is_empty() || after.is_some() => "Schedules".to_owned(),
        Some((_, view)) => format!("Next is {}", crate::html::cut(&view.status.id, 60)),
        None => "No schedule will start anything".to_owned(),
    };
    let lead = html! {
        @if let Some((next, view)) = &first { (text(&view.status.definition)) " starts " (since(ask.now, *next)) ". " }
        (counted(&ask, &page))
    };
    let link = |after: Option<String>| {
        format!("schedules{}", Fields::default().with("after", after.as_deref()).link())
    };
    let pager = Pager {
        says: format!(
            "{} shown, in the order in which they were made or changed.",
            num(page.rows.len() as u64)
        ),
        first: after.is_some().then(|| (link(None), "First page")),
        next: page.next.map(|next| (link(Some(next.0.to_string())), "Go on")),
    };
    Ok(Page::new(title)
        .lead(lead)
        .body(html! {
            @if let Some(id) = lost {
                div.note.due role="status" {
                    (icon("warn"))
                    p { "No schedule " (text(id)) " is here: it was deleted, or never was." }
                    a.b href="schedules" { "All schedules" }
                }
            }
            @if let Some(view) = open.as_ref().filter(|open| page.rows.iter().all(|row| row.status.id != open.status.id)) {
                (table(&ask, std::slice::from_ref(view), Some(&view.status.id), "The schedule"))
            }
            @if page.rows.is_empty() { (nothing(after.is_some())) } @else {
                (table(&ask, &page.rows, open.as_ref().map(|view| &*view.status.id), "Schedules"))
            }
            (pager.markup())
        })
        .into())
}

fn counted(ask: &Ask, page: &Rows<ScheduleView>) -> Markup {
    let count = |wanted: &str| page.rows.iter().filter(|view| state(ask, view).0 == wanted).count();
    let more = if page.next.is_some() { "On this page, " } else { "" };
    let said: Vec<String> = [("susp", "stand"), ("retry", "try again"), ("due", "late"), ("wait", "paused")]
        .into_iter()
        .filter_map(|(class, word)| Some((count(class), word)).filter(|(count, _)| *count > 0))
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    html! { @if !said.is_empty() { (more) (said.join(", ")) "." } }
}

/// The class and the word for how a schedule stands.
fn state(ask: &Ask, view: &ScheduleView) -> (&'static str, &'static str) {
    let it = &view.status;
    let is_late = it.next.is_some_and(|next| (ask.now - next).num_seconds() > LATE);
    match (it.is_paused, it.last_failure.is_some()) {
        (true, true) => ("susp", "Stands"),
        (true, false) => ("wait", "Paused"),
        (false, true) => ("retry", "Retrying"),
        (false, false) if is_late => ("due", "Late"),
        (false, false) if it.next.is_none() && view.ticks.is_empty() => ("done", "Over"),
        (false, false) => ("sleep", "Active"),
    }
}

fn table(ask: &Ask, views: &[ScheduleView], open: Option<&str>, label: &str) -> Markup {
    html! {
        div.tw tabindex="0" role="region" aria-label=(label) {
            table.t.list {
                thead {
                    tr {
                        th scope="col" { "State" }
                        th scope="col" { div.two.w11 { "Schedule" span.p2 { "Starts" } } }
                        th scope="col" { "When" }
                        th.n.p2 scope="col" { "Last" }
                        th.n scope="col" { "Next" }
                    }
                }
                tbody {
                    @for view in views {
                        @let is_open = open == Some(&*view.status.id);
                        (row(ask, view, is_open))
                        @if is_open { tr.more { td colspan="5" { (details(ask, view)) } } }
                    }
                }
            }
        }
    }
}

fn row(ask: &Ask, view: &ScheduleView, is_open: bool) -> Markup {
    let it = &view.status;
    let (class, word) = state(ask, view);
    let anchor = format!("s-{}", segment(&it.instance_id));
    let open = (!is_open).then_some(&*it.id);
    let link = format!("schedules{}#{anchor}", ask.query.with("open", open).link());
    html! {
        tr.open[is_open] id=(anchor) {
            td { (symbol(class, word)) }
            th scope="row" {
                div.two.w11.ref {
                    a href=(link) aria-expanded=(is_open) title=(it.id) { (text(&crate::html::cut(&it.id, 40))) }
                    span.q.nw { (starts(view)) }
                }
            }
            td.main { span.clip title=(it.timetable) { (text(&it.timetable.in_words())) } }
            td.n.q.p2 { @match it.last { Some(last) => (since(ask.now, last)), None => "never" } }
            td.n { @match it.next { Some(next) => (since(ask.now, next)), None => span.q { "none" } } }
        }
    }
}

fn starts(view: &ScheduleView) -> Markup {
    html! { (text(&view.status.definition)) @match view.status.version { Some(version) => { " v" (version) }, None => " newest" } }
}

fn details(ask: &Ask, view: &ScheduleView) -> Markup {
    let it = &view.status;
    let late = it.next.filter(|next| (ask.now - *next).num_seconds() > LATE && !it.is_paused);
    html! {
        @if let Some(failure) = &it.last_failure {
            div.note.susp[it.is_paused].retry[!it.is_paused] role="status" {
                (icon("warn"))
                p {
                    "The last attempt to start an instance failed: "
                    code { (text(&failure.code)) } " " (text(&failure.message()))
                    @if it.is_paused { ". It stands until it is resumed." } @else { ". It is tried again." }
                }
            }
        }
        @if let Some(next) = late {
            div.note.due role="status" {
                (icon("warn"))
                p {
                    "The tick of " (moment(next)) " was due " (ago(ask.now, next)) ", and no host has processed it. "
                    a href=(ask.to("hosts")) { "Is a host alive that runs it?" }
                }
            }
        }
        dl.kv {
            dt { "Starts" } dd { (starts(view)) }
            dt { "Timetable" } dd { code { (text(&it.timetable.to_string())) } ": " (text(&it.timetable.in_words())) }
            dt { "Next five" }
            dd {
                @if view.ticks.is_empty() { span.q { "no further tick" } }
                @if it.is_paused && !view.ticks.is_empty() { span.q { "if it were not paused: " } }
                ol { @for tick in &view.ticks { li { (moment(*tick)) " " span.q { (since(ask.now, *tick)) } } } }
            }
            dt { "Last" } dd { @match it.last { Some(last) => { (moment(last)) " " span.q { (ago(ask.now, last)) } }, None => span.q { "never" } } }
            dt { "Missed ticks" } dd { (catch_up(it.catch_up)) }
            dt { "Run by" } dd { a href=(ask.to(&format!("instances/{}", segment(&it.instance_id)))) { (crate::html::id(&it.instance_id)) } }
        }
        @if ask.visitor.role() >= Role::Operator {
            form.form method="post" action="schedules/act" {
                input type="hidden" name="id" value=(it.id);
                div.bs {
                    (button("", "trigger", "Start one now…"))
                    @if it.is_paused { (button("", "resume", "Resume…")) } @else { (button("", "pause", "Pause…")) }
                    (button("end apart", "delete", "Delete…"))
                }
            }
        }
    }
}

fn nothing(is_later: bool) -> Markup {
    if is_later {
        return empty("No further schedule.", &html! { "Go back to the first page below." });
    }
    let way = html! {
        "A program makes one with " code { "host.schedules()" } ", or you do: "
        code { "wfe schedules create ID DEFINITION --cron '0 3 * * *'" } "."
    };
    empty("No schedule is here yet.", &way)
}
