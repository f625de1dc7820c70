//! Activities: whether the workers keep up.

use chrono::{DateTime, Utc};
use maud::{Markup, html};
use wfe::{
    WfeError,
    operator::{ActivityView, Role},
    status::Held,
    traits::{Cursor, OWN_NAMES, Page as Rows},
};
use wfe_core::executor::view::activity_name;

use super::parts::{cursor, gone, instance};
use crate::{
    ask::{Ask, Fields},
    html::{Page, Pager, Sure, ago, empty, icon, json, num, since, span, symbol, text},
    reply::{Failure, Reply},
    routes::{Group, Nav, Route},
};

pub(crate) const GROUP: Group = Group {
    nav: Some(Nav { title: "Activities", path: "activities", key: 'a' }),
    routes: &[
        Route::page("/activities", |ask| Box::pin(page(ask))),
        Route::action("/activities/release", Role::Operator, |ask| Box::pin(release(ask))),
    ],
};

/// The number of activities on the page of one name.
const ROWS: usize = 50;
/// The most names for which the oldest activities are read.
const NAMES: usize = 50;
/// The number of the oldest activities of a name that are looked at.
const OLDEST: usize = 100;

async fn page(ask: Ask) -> Result<Reply, Failure> {
    match ask.query.get("name") {
        Some(name) => {
            let page = ask.operator.activities(Some(name), cursor(&ask)?, ROWS).await?;
            Ok(show_one(&ask, name, &page).into())
        }
        None => Ok(show_all(&ask, &Queue::all(&ask).await?).into()),
    }
}

/// The open activities with one name.
struct Queue {
    name: String,
    open: u64,
    /// When the oldest of those that were looked at was opened.
    oldest: Option<DateTime<Utc>>,
    looked_at: u64,
    held: u64,
    /// Those whose lease is over.
    over: u64,
    /// The claim that is over first.
    first: Option<Held>,
}

impl Queue {
    async fn all(ask: &Ask) -> Result<Vec<Self>, WfeError> {
        let mut queues = Vec::new();
        for count in ask.operator.task_counts().await? {
            // The engine has activities of its own, such as those of schedules.
            let Some(name) = activity_name(&count.event_name).filter(|name| !name.starts_with(OWN_NAMES))
            else {
                continue;
            };
            let mut queue = Self {
                name: name.to_owned(),
                open: count.open,
                oldest: None,
                looked_at: 0,
                held: 0,
                over: 0,
                first: None,
            };
            if queues.len() < NAMES {
                queue.add(ask.operator.activities(Some(name), None, OLDEST).await?.rows, ask.now);
            }
            queues.push(queue);
        }
        // Those that wait without a worker for longest come first.
        queues.sort_by(|a, b| {
            let free = |queue: &Self| queue.free() == 0;
            (free(a), a.oldest, &a.name).cmp(&(free(b), b.oldest, &b.name))
        });
        Ok(queues)
    }

    fn add(&mut self, rows: Vec<ActivityView>, now: DateTime<Utc>) {
        self.looked_at = rows.len() as u64;
        self.oldest = rows.iter().filter_map(|row| row.since).min();
        for held in rows.into_iter().filter_map(|row| row.held) {
            if is_over(&held, now) {
                self.over += 1;
            } else {
                self.held += 1;
            }
            let until = |held: &Held| (held.until.is_none(), held.until);
            if self.first.as_ref().is_none_or(|first| until(&held) < until(first)) {
                self.first = Some(held);
            }
        }
    }

    /// How many of those that were looked at are held by no worker.
    fn free(&self) -> u64 {
        self.looked_at.saturating_sub(self.held)
    }

    fn is_whole(&self) -> bool {
        self.looked_at >= self.open
    }
}

fn is_over(held: &Held, now: DateTime<Utc>) -> bool {
    held.until.is_some_and(|until| until < now)
}

fn here(ask: &Ask, fields: &Fields) -> String {
    format!("{}{}", ask.to("activities"), fields.link())
}

fn of_name(name: &str) -> Fields {
    Fields::default().with("name", Some(name))
}

fn show_all(ask: &Ask, queues: &[Queue]) -> Page {
    let open: u64 = queues.iter().map(|queue| queue.open).sum();
    let free: u64 = queues.iter().map(Queue::free).sum();
    let (s, wait) = if free == 1 { ("y", "waits") } else { ("ies", "wait") };
    let title = match (open, free) {
        (0, _) => "No activity is open".to_owned(),
        (_, 0) => "Every open activity has a worker".to_owned(),
        _ => format!("{} activit{s} {wait} for a worker", num(free)),
    };
    let oldest = queues
        .iter()
        .filter(|queue| queue.free() > 0)
        .filter_map(|queue| Some((queue.oldest?, queue)))
        .min_by_key(|it| it.0);
    Page::new(title)
        .lead(html! {
            @if open > 0 {
                (num(open)) " open, of " (num(queues.len() as u64)) @if queues.len() == 1 { " name." } @else { " names." }
                @if let Some((time, queue)) = oldest { " The oldest, " (text(&queue.name)) ", was opened " (ago(ask.now, time)) "." }
            }
        })
        .body(html! {
            (done(ask))
            @if queues.is_empty() {
                (empty("No worker is waited for.", &html! {
                    "A step made with " code { "activity" } " stands here until a worker, in any process, has claimed and answered it."
                }))
            } @else {
                div.tw tabindex="0" role="region" aria-label="Activities by name" {
                    table.t {
                        thead {
                            tr {
                                th scope="col" { "State" }
                                th scope="col" { "Activity" }
                                th.n scope="col" { "Open" }
                                th.n scope="col" { "Oldest" }
                                th.n.p2 scope="col" { "Held" }
                                th.n.p2 scope="col" { "Lease over" }
                                th.p2 scope="col" { "Next claim to end" }
                            }
                        }
                        tbody { @for queue in queues { (queue_row(ask, queue)) } }
                    }
                }
            }
        })
}

fn queue_row(ask: &Ask, queue: &Queue) -> Markup {
    let part =
        if queue.is_whole() { String::new() } else { format!(" of the oldest {}", num(queue.looked_at)) };
    html! {
        tr {
            td {
                @if queue.over > 0 { (symbol("due", "Lease over")) }
                @else if queue.free() > 0 { (symbol("wait", "Waiting")) }
                @else if queue.looked_at > 0 { (symbol("run", "Held")) }
            }
            td.main { a.clip.strong href=(here(ask, &of_name(&queue.name))) { (text(&queue.name)) } }
            td.n { (num(queue.open)) }
            td.n.q { @if let Some(time) = queue.oldest { (since(ask.now, time)) } }
            td.n.p2 { (num(queue.held)) span.q { (part) } }
            td.n.p2 { (num(queue.over)) }
            td.nw.p2.q { @if let Some(held) = &queue.first { (held_by(ask, held)) } }
        }
    }
}

/// Who holds it, and until when.
fn held_by(ask: &Ask, held: &Held) -> Markup {
    html! {
        (text(held.worker.as_deref().unwrap_or("a worker without a name")))
        @match held.until {
            Some(until) if is_over(held, ask.now) => { ", lease over for " (span(ask.now - until)) },
            Some(until) => { ", " (since(ask.now, until)) },
            None => ", until it gives it back",
        }
    }
}

fn show_one(ask: &Ask, name: &str, Rows { rows, next }: &Rows<ActivityView>) -> Page {
    let is_first = ask.query.get("after").is_none();
    let held =
        rows.iter().filter(|row| row.held.as_ref().is_some_and(|held| !is_over(held, ask.now))).count();
    Page::new(format!("Activity {name}"))
        .lead(html! {
            a href=(ask.to("activities")) { "All activities" } ". Oldest first; "
            (num(held as u64)) " of the " (num(rows.len() as u64)) " shown are held by a worker."
        })
        .body(html! {
            (done(ask))
            @if rows.is_empty() && next.is_none() {
                (empty(&format!("No activity {name} is open."), &html! {
                    "Workers have answered all of them, or no step waits for one. " a href=(ask.to("activities")) { "All activities" }
                }))
            } @else {
                div.tw tabindex="0" role="region" aria-label={ "Open activities " (name) } {
                    table.t {
                        thead {
                            tr {
                                th scope="col" { "State" }
                                th scope="col" { div.two.w11 { "Held by" span.p2 { "Step and input" } } }
                                th.p2 scope="col" { "Instance" }
                                th.n scope="col" { "Opened" }
                                th.n.p2 scope="col" { "Given up" }
                                th.n scope="col" { "Do" }
                            }
                        }
                        tbody { @for row in rows { (activity_row(ask, row)) } }
                    }
                }
            }
            (Pager {
                says: format!("{} shown.", num(rows.len() as u64)),
                first: (!is_first).then(|| (here(ask, &of_name(name)), "Oldest")),
                next: next.map(|Cursor(next)| (here(ask, &of_name(name).with("after", Some(&next.to_string()))), "Later")),
            }.markup())
        })
}

fn activity_row(ask: &Ask, row: &ActivityView) -> Markup {
    let over = row.held.as_ref().is_some_and(|held| is_over(held, ask.now));
    html! {
        tr {
            td { @if over { (symbol("due", "Lease over")) } @else if row.held.is_some() { (symbol("run", "Held")) } @else { (symbol("wait", "Waiting")) } }
            td.main {
                div.two.w11 {
                    span.clip { @match &row.held { Some(held) => (held_by(ask, held)), None => span.q { "nobody" } } }
                    details {
                        summary.clip { (text(&row.step)) " " span.q { "input" } }
                        (json(&row.input))
                    }
                }
            }
            td.nw.p2 { (instance(ask, &row.instance)) " " span.q { (text(&row.definition)) " v" (row.version) } }
            td.n.q { @if let Some(time) = row.since { (since(ask.now, time)) } }
            td.n.q.p2 { @if let Some(time) = row.until { (since(ask.now, time)) } }
            td.n {
                @if row.held.is_some() && ask.visitor.role() >= Role::Operator {
                    form method="post" action=(ask.to("activities/release")) {
                        input type="hidden" name="id" value=(row.id);
                        input type="hidden" name="name" value=(row.name);
                        input type="hidden" name="worker" value=(row.held.as_ref().and_then(|held| held.worker.as_deref()).unwrap_or(""));
                        button.b.bare.tiny { "Release…" }
                    }
                }
            }
        }
    }
}

/// Ends the claim of an activity. Asks first.
async fn release(ask: Ask) -> Result<Reply, Failure> {
    let id = ask
        .form
        .get("id")
        .ok_or_else(|| Failure::wrong("The form does not say which activity to release."))?;
    let back = ask.form.get("name").map(of_name).unwrap_or_default();
    if ask.form.get("sure").is_none() {
        let name = ask.form.get("name").unwrap_or("").to_owned();
        let worker = ask.form.get("worker").unwrap_or("its worker");
        let sure = Sure {
            verb: format!("Release this activity {name}"),
            what: html! {
                "The claim of " b { (text(worker)) } " ends now, and the next worker gets the activity. What "
                (text(worker)) " answers afterwards is refused; what it has already done may be done twice."
            },
            fields: &ask.form,
            action: ask.to("activities/release"),
            back: here(&ask, &back),
            ..Sure::default()
        };
        return Ok(sure.page().into());
    }
    let operator = ask.acting();
    let was_held = operator.release(id).await.map_err(|error| gone(error, "activity"))?;
    let did = if was_held { "released" } else { "free" };
    Ok(Reply::See(here(&ask, &back.with("did", Some(did)))))
}

/// What was done, after the browser was sent back.
fn done(ask: &Ask) -> Markup {
    let (class, says, more) = match ask.query.get("did") {
        Some("released") => ("done", "Released.", "The next worker gets it."),
        Some("free") => ("due", "Nothing was changed.", "No worker held it any more."),
        _ => return html! {},
    };
    html! { div class={ "note " (class) } role="status" { (icon(class)) p { b { (says) } " " (more) } } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_that_is_over_counts_as_free() {
        let now: DateTime<Utc> = "2026-11-30T12:00:00Z".parse().unwrap();
        let mut queue = Queue {
            name: "pack".to_owned(),
            open: 0,
            oldest: None,
            looked_at: 3,
            held: 1,
            over: 1,
            first: None,
        };
        assert_eq!((queue.free(), queue.is_whole()), (2, true));
        queue.open = 4;
        assert!(!queue.is_whole());
        queue.add(Vec::new(), now);
        assert_eq!((queue.looked_at, queue.oldest), (0, None));
    }
}
