//! What is done to a schedule. It asks first.

use maud::{Markup, html};
use wfe::traits::Requested;

use super::words::catch_up;
use crate::{
    ask::{Ask, Fields, segment},
    html::{Sure, moment, text},
    reply::{Failure, Reply},
};

pub(super) async fn act(ask: Ask) -> Result<Reply, Failure> {
    let id = ask.form.get("id").ok_or_else(|| Failure::wrong("Name the schedule."))?;
    let verb = ask.form.get("do").unwrap_or("");
    let (name, ends) = match verb {
        "pause" => ("Pause", false),
        "resume" => ("Resume", false),
        "trigger" => ("Start one of", false),
        "delete" => ("Delete", true),
        other => return Err(Failure::wrong(format!("There is no action {other:?}."))),
    };
    let back = ask.to(&format!("schedules{}", Fields(vec![("open".to_owned(), id.to_owned())]).link()));
    if ask.form.get("sure").is_none() {
        let what = what(&ask, verb, id).await?;
        return Ok(Sure {
            verb: format!("{name} {}", crate::html::cut(id, 60)),
            what,
            fields: &ask.form,
            action: ask.to("schedules/act"),
            back,
            ends,
            ..Sure::default()
        }
        .page()
        .into());
    }
    let operator = ask.acting();
    let there = match verb {
        "pause" => told(operator.pause_schedule(id).await?, "paused").map(|()| back)?,
        "resume" => told(operator.resume_schedule(id).await?, "active").map(|()| back)?,
        "delete" => {
            operator.delete_schedule(id).await?;
            ask.to("schedules")
        }
        _ => {
            let started = operator.trigger_schedule(id).await?;
            ask.to(&format!("instances/{}", segment(&started.id)))
        }
    };
    Ok(Reply::See(there))
}

/// Another caller may have been faster.
fn told(requested: Requested, state: &str) -> Result<(), Failure> {
    match requested {
        Requested::Accepted => Ok(()),
        Requested::Redundant => {
            let text = format!("The schedule is {state} already.");
            Err(Failure::new(axum::http::StatusCode::CONFLICT, "Nothing was changed", text))
        }
    }
}

/// What will happen, and what stays.
async fn what(ask: &Ask, verb: &str, id: &str) -> Result<Markup, Failure> {
    let view = match ask.operator.schedule(id).await {
        // A schedule that does not decode can still be paused and deleted.
        Err(wfe::WfeError::Corrupt { .. }) if matches!(verb, "pause" | "delete") => {
            return Ok(
                html! { "What is stored of this schedule cannot be read. " @if verb == "delete" { "It is removed." } @else { "It starts nothing until it is resumed." } },
            );
        }
        view => view?,
    };
    let definition = &view.status.definition;
    let next = view.ticks.first();
    Ok(match verb {
        "pause" => html! { "It starts nothing until it is resumed. Instances that it has started go on." },
        "resume" => html! {
            "It starts " (text(definition)) " again" @if let Some(next) = next { ", next at " (moment(*next)) } ". "
            "Ticks since the pause count as missed: " (catch_up(view.status.catch_up)) "."
        },
        "delete" => {
            html! { "The schedule is removed, and starts nothing any more. Instances that it has started go on." }
        }
        _ => html! {
            "An instance of " (text(definition)) " starts at once, in addition to the timetable"
            @if view.status.is_paused { ", although the schedule is paused" } ". The next ticks stay as they are."
        },
    })
}
