//! User tasks: what waits for the answer of a person.

mod answer;

use std::{cmp::Reverse, collections::BTreeMap};

use chrono::{DateTime, Utc};
use maud::{Markup, html};
use wfe::{
    operator::{Role, TaskView},
    traits::{Cursor, MAX_PAGE, Page as Rows},
};
use wfe_core::executor::USER_TASK;

use super::parts::{cursor, instance, short};
use crate::{
    ask::{Ask, Fields},
    html::{Page, Pager, ago, empty, icon, num, since, span, symbol, text},
    reply::{Failure, Reply},
    routes::{Group, Nav, Route},
};

pub(crate) const GROUP: Group = Group {
    nav: Some(Nav { title: "Tasks", path: "tasks", key: 't' }),
    routes: &[
        // The id of a task has slashes, which proxies do not leave as they are in a path: it stands in the query.
        Route::page("/tasks", |ask| Box::pin(page(ask))),
        Route::page("/tasks/task", |ask| Box::pin(answer::page(ask))).still(),
        Route::action("/tasks/task", Role::Operator, |ask| Box::pin(answer::act(ask))),
    ],
};

/// The number of tasks on a page. They are ordered by their urgency, so a page has many.
const ROWS: usize = 200;

async fn page(ask: Ask) -> Result<Reply, Failure> {
    let assignee = ask.query.get("for");
    let page = ask.operator.tasks(assignee, cursor(&ask)?, ROWS.min(MAX_PAGE)).await?;
    let counts = ask.operator.task_counts().await?;
    let open = counts.iter().filter(|count| count.event_name == USER_TASK).map(|count| count.open).sum();
    Ok(show(&ask, page, open).into())
}

/// The tasks of one person, the most urgent first.
type Inbox = (Option<String>, Vec<TaskView>);

/// The tasks by assignee: those who have the most urgent one come first.
fn inboxes(rows: Vec<TaskView>, now: DateTime<Utc>) -> Vec<Inbox> {
    let mut inboxes = BTreeMap::<Option<String>, Vec<TaskView>>::new();
    for task in rows {
        inboxes.entry(task.task.assignee.clone()).or_default().push(task);
    }
    let mut inboxes: Vec<Inbox> = inboxes.into_iter().collect();
    for (_, tasks) in &mut inboxes {
        tasks.sort_by_key(|task| urgency(task.until, task.since, now));
    }
    inboxes.sort_by_key(|(_, tasks)| tasks.first().map(|task| urgency(task.until, task.since, now)));
    inboxes
}

/// By what tasks are ordered: overdue first, then what has a time, then the oldest.
type Urgency = (Reverse<bool>, bool, Option<DateTime<Utc>>, Option<DateTime<Utc>>);

fn urgency(until: Option<DateTime<Utc>>, since: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Urgency {
    (Reverse(until.is_some_and(|until| until < now)), until.is_none(), until, since)
}

fn is_overdue(task: &TaskView, now: DateTime<Utc>) -> bool {
    task.until.is_some_and(|until| until < now)
}

fn show(ask: &Ask, Rows { rows, next }: Rows<TaskView>, open: u64) -> Page {
    let assignee = ask.query.get("for");
    let is_first = ask.query.get("after").is_none();
    let shown = rows.len() as u64;
    let overdue = rows.iter().filter(|task| is_overdue(task, ask.now)).count() as u64;
    let inboxes = inboxes(rows, ask.now);
    let (s, wait) = if open == 1 { ("", "waits") } else { ("s", "wait") };
    let title = match open {
        0 => "No task waits for an answer".to_owned(),
        _ => format!("{} task{s} {wait} for an answer", num(open)),
    };
    let worst = inboxes.first().and_then(|(_, tasks)| tasks.first()).filter(|task| is_overdue(task, ask.now));
    let here = |fields: &Fields| format!("{}{}", ask.to("tasks"), fields.link());
    let whose = Fields::default().with("for", assignee);
    Page::new(title)
        .lead(html! {
            @if let Some(worst) = worst {
                (num(overdue)) @if overdue == 1 { " is" } @else { " are" } " overdue; most of all that of "
                (text(worst.task.assignee.as_deref().unwrap_or("anyone")))
                @if let Some(until) = worst.until { ", by " (span(ask.now - until)) }
                "."
            } @else if open > 0 {
                "None of those shown is overdue."
            }
        })
        .body(html! {
            (answer::done(ask))
            (line(ask, assignee))
            @if inboxes.is_empty() { (nothing(ask, assignee, next.is_some())) }
            @for (at, (whom, tasks)) in inboxes.iter().enumerate() { (inbox(ask, at, whom.as_deref(), tasks)) }
            @if shown > 0 || next.is_some() || !is_first {
                (Pager {
                    says: format!("{} shown, the most urgent of these first.", num(shown)),
                    first: (!is_first).then(|| (here(&whose), "Oldest")),
                    next: next.map(|Cursor(next)| (here(&whose.with("after", Some(&next.to_string()))), "Later")),
                }.markup())
            }
        })
}

fn line(ask: &Ask, assignee: Option<&str>) -> Markup {
    html! {
        form.filter role="search" aria-label="Filter" action=(ask.to("tasks")) {
            (icon("search"))
            @if let Some(assignee) = assignee {
                span.chip {
                    span { "for:" } (text(assignee))
                    a href=(ask.to("tasks")) title="Take off for" { (icon("x")) span.vh { "Take off for:" (assignee) } }
                }
            }
            label.vh for="filter" { "Whose tasks" }
            input id="filter" name="for" placeholder="Whose tasks: the name of an assignee" autocomplete="off" maxlength="512";
            button.b.bare { "Show" }
        }
    }
}

fn nothing(ask: &Ask, assignee: Option<&str>, more: bool) -> Markup {
    match assignee {
        Some(assignee) if more => empty(
            &format!("No task of {assignee} among the oldest ones."),
            &html! { "Later ones were not looked at yet." },
        ),
        Some(assignee) => empty(
            &format!("No open task is assigned to {assignee}."),
            &html! { "Names are compared letter by letter. " a href=(ask.to("tasks")) { "Everybody's tasks" } },
        ),
        None => empty(
            "Nothing waits for a person.",
            &html! {
                "A step made with " code { "user_task" } " opens a task, and it stands here until somebody answers it or its time is over."
            },
        ),
    }
}

fn inbox(ask: &Ask, at: usize, whom: Option<&str>, tasks: &[TaskView]) -> Markup {
    let heading = format!("h-{at}");
    html! {
        section.sec {
            div.sh {
                h2 id=(heading) { @match whom { Some(whom) => (text(whom)), None => "Anyone" } }
                span.num { (num(tasks.len() as u64)) }
                span.sp {}
                @if let Some(whom) = whom.filter(|whom| ask.query.get("for") != Some(whom)) {
                    a href={ (ask.to("tasks")) (Fields::default().with("for", Some(whom)).link()) } { "Only these" }
                }
            }
            div.tw tabindex="0" role="region" aria-labelledby=(heading) {
                table.t {
                    thead {
                        tr {
                            th scope="col" { "State" }
                            th scope="col" { "Question" }
                            th.p2 scope="col" { "Instance" }
                            th.n.p2 scope="col" { "Since" }
                            th.n scope="col" { "Time left" }
                            th.n scope="col" { "Do" }
                        }
                    }
                    tbody { @for task in tasks { (row(ask, task)) } }
                }
            }
        }
    }
}

fn row(ask: &Ask, task: &TaskView) -> Markup {
    let link = format!("{}{}", ask.to("tasks/task"), Fields::default().with("id", Some(&task.id)).link());
    let prompt = short(&task.task.prompt);
    let overdue = is_overdue(task, ask.now);
    html! {
        tr {
            td {
                @if overdue { (symbol("due", "Overdue")) } @else if task.held.is_some() { (symbol("run", "Taken")) } @else { (symbol("wait", "Waiting")) }
            }
            td.main { a.clip.strong href=(link) title=(prompt) { (text(&prompt)) } }
            td.nw.p2 { (instance(ask, &task.instance)) " " span.q { (text(&task.definition)) " v" (task.version) } }
            td.n.q.p2 { @if let Some(time) = task.since { (since(ask.now, time)) } }
            td.n.q {
                @match task.until {
                    Some(until) if overdue => { "over since " (since(ask.now, until)) },
                    Some(until) => (since(ask.now, until)),
                    None => "no limit",
                }
            }
            td.n { a.do href=(link) { @if ask.visitor.role() >= Role::Operator { "Answer…" } @else { "Look" } span.vh { " " (prompt) } } }
        }
    }
}

/// What is known about a task, besides its question.
fn facts(ask: &Ask, task: &TaskView) -> Markup {
    html! {
        dl.kv {
            dt { "For" } dd { (text(task.task.assignee.as_deref().unwrap_or("anyone"))) }
            dt { "Instance" } dd { (instance(ask, &task.instance)) " " span.q { (text(&task.definition)) " v" (task.version) ", step " (text(&task.task.step)) } }
            @if let Some(since) = task.since { dt { "Asked" } dd { (ago(ask.now, since)) } }
            dt { "Until" }
            dd {
                @match task.until {
                    Some(until) if until < ask.now => { (symbol("due", "Overdue")) " " (ago(ask.now, until)) },
                    Some(until) => { (since(ask.now, until)) ": then it is escalated, reassigned or given up" },
                    None => "No time limit",
                }
            }
            @if let Some(held) = &task.held {
                dt { "Taken by" }
                dd {
                    (text(held.worker.as_deref().unwrap_or("somebody without a name")))
                    @if let Some(until) = held.until { ", until " (since(ask.now, until)) }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_overdue_comes_first_then_what_has_a_limit() {
        let now: DateTime<Utc> = "2026-11-30T12:00:00Z".parse().unwrap();
        let at = |hours: i64| Some(now + chrono::TimeDelta::hours(hours));
        // (limit, asked)
        let times = [(None, at(-9)), (at(5), at(-1)), (at(-1), at(-3)), (None, at(-2)), (at(-7), at(-8))];
        let mut order: Vec<usize> = (0..times.len()).collect();
        order.sort_by_key(|at| urgency(times[*at].0, times[*at].1, now));
        assert_eq!(order, [4, 2, 1, 0, 3]);
    }
}
