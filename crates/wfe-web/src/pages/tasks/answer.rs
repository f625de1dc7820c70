//! The page of one task, with the form of its answer.

use maud::{Markup, html};
use serde_json::Value;
use wfe::operator::{Role, TaskView};

use super::facts;
use crate::{
    ask::Ask,
    html::{Page, icon, text},
    pages::parts::gone,
    reply::{Failure, Reply},
};

pub(super) async fn page(ask: Ask) -> Result<Reply, Failure> {
    let task = read(&ask).await?;
    Ok(show(&ask, &task, None).into())
}

fn id(ask: &Ask) -> Result<&str, Failure> {
    ask.query.get("id").ok_or_else(|| Failure::wrong("The address does not say which task."))
}

async fn read(ask: &Ask) -> Result<TaskView, Failure> {
    ask.operator.task(id(ask)?).await.map_err(|error| gone(error, "task"))
}

pub(super) async fn act(ask: Ask) -> Result<Reply, Failure> {
    let id = id(&ask)?;
    // The page of the task is what asks first.
    let Some(option) = ask.form.get("option").filter(|_| ask.form.get("sure").is_some()) else {
        let task = read(&ask).await?;
        return Ok(show(&ask, &task, None).into());
    };
    let data: Option<Value> = match ask.form.get("data").map(str::trim).filter(|data| !data.is_empty()) {
        None => None,
        Some(data) => match serde_json::from_str(data) {
            Ok(data) => Some(data),
            Err(error) => {
                let task = read(&ask).await?;
                let wrong = format!("Nothing was answered: the data are no JSON, {error}.");
                return Ok(show(&ask, &task, Some(&wrong)).into());
            }
        },
    };
    let operator = ask.acting();
    operator.answer_task(id, option, data).await.map_err(|error| gone(error, "task"))?;
    Ok(Reply::See(format!("{}?did=answered", ask.to("tasks"))))
}

/// What was done, after the browser was sent back to the list.
pub(super) fn done(ask: &Ask) -> Markup {
    html! {
        @if ask.query.get("did") == Some("answered") {
            div.note.done role="status" {
                (icon("done"))
                p { b { "The answer is stored." } " A host takes it up with the next commit of the instance." }
                a href=(ask.to("audit")) { "Audit" }
            }
        }
    }
}

fn show(ask: &Ask, task: &TaskView, wrong: Option<&str>) -> Page {
    Page::new("A task waits for an answer").lead(html! { a href=(ask.to("tasks")) { "All tasks" } }).body(html! {
        @if let Some(wrong) = wrong { div.note.fail role="alert" { (icon("warn")) p { (text(wrong)) } } }
        div.cols {
            section.sec.sure aria-labelledby="h-q" {
                h2 #h-q { (text(&task.task.prompt)) }
                @if ask.visitor.role() >= Role::Operator { (form(ask, task)) } @else {
                    p.q { "Your role is " (ask.visitor.role()) ": you may look at tasks, and not answer them." }
                }
            }
            section.sec aria-label="About the task" { (facts(ask, task)) }
        }
    })
}

fn form(ask: &Ask, task: &TaskView) -> Markup {
    html! {
        // The form is sent to the page itself.
        form method="post" {
            input type="hidden" name="sure" value="1";
            label.f { "Data for the step, as JSON, if it wants some" textarea name="data" rows="3" spellcheck="false" placeholder="{\"amount\": 17}" { (ask.form.get("data").unwrap_or("")) } }
            div.form {
                label.f { "Reason, for the audit" input name="reason" placeholder="Why" autocomplete="off"; }
                div.bs role="group" aria-label="Answer" {
                    @for option in &task.task.options {
                        button.b name="option" value=(option) { (text(task.task.label(option))) }
                    }
                }
            }
            p.q { "The answer is given as " b { (ask.visitor.actor()) } " and cannot be taken back." }
        }
    }
}
