//! Follows what happens; waits for the end of an instance.

use serde::Serialize;
use wfe::{
    clock::{Clock, SystemClock},
    operator::{Follow, News},
    traits::{InstanceState, InstanceSummary, Query},
};

use crate::{
    app::{App, Session},
    args::{Tail, WaitArgs},
    failure::{Exit, Failure, Result},
    output::{Cell, Form, Listed, Out, note, print, safe, versioned},
};

pub(crate) async fn tail(app: &App, args: &Tail) -> Result<Exit> {
    let query = args.filter.query(&app.out, false)?;
    if !args.ids.is_empty() && query != Query::default() {
        return Err(Failure::usage("follow instances by their ids, or by a filter, not by both"));
    }
    app.out.chosen::<Line>()?;
    let session = app.look().await?;
    let done = follow(app, &session, args, query).await;
    session.close().await;
    done
}

async fn follow(app: &App, session: &Session, args: &Tail, query: Query) -> Result<Exit> {
    let scope = if args.ids.is_empty() {
        Follow::Query(query)
    } else {
        Follow::Instances(session.resolve(&args.ids).await?)
    };
    let mut following = session.operator.follow(scope);
    let over = async {
        match args.time {
            Some(time) => tokio::time::sleep(time).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(over);
    if app.out.is_for_people() {
        note("following; Ctrl-C ends it");
    }
    loop {
        let news = tokio::select! {
            () = app.interrupt.wait() => return Ok(Exit::Interrupted),
            () = &mut over => return Ok(Exit::Done),
            news = following.next() => news?,
        };
        if news.is_empty() {
            return Ok(Exit::Done);
        }
        // What has no time of its own is as old as its arrival.
        let out = Out { now: SystemClock.now(), ..app.out.clone() };
        for news in news {
            show(&out, news)?;
        }
    }
}

fn show(out: &Out, news: News) -> Result<()> {
    if out.form == Form::Json {
        return print(&(versioned(&news)? + "\n"));
    }
    let line = Line(news);
    let columns = out.chosen::<Line>()?;
    let cells: Vec<String> = columns
        .iter()
        .map(|column| {
            let cell = line.cell(column, out);
            let text = if out.is_for_people() { &cell.text } else { &cell.full };
            cell.style.map_or_else(|| text.clone(), |style| out.painted(text, style))
        })
        .collect();
    print(&(cells.join(if out.is_for_people() { "  " } else { "\t" }).trim_end().to_owned() + "\n"))
}

/// One piece of news, in a line.
#[derive(Serialize)]
#[serde(transparent)]
struct Line(News);

impl Listed for Line {
    const COLUMNS: &'static [&'static str] = &["time", "news", "instance", "text"];
    const SHOWN: usize = 4;

    fn cell(&self, column: &str, out: &Out) -> Cell {
        let Self(news) = self;
        match column {
            "time" => {
                let time = match news {
                    News::Started { instance } => Some(instance.create_time),
                    News::Ended { instance } => instance.complete_time,
                    News::Failed { failure } => Some(failure.failure.error.error_time),
                    News::Acted { record } => Some(record.time),
                    News::Step { step, .. } => step.end,
                    _ => None,
                };
                let time = time.unwrap_or(out.now);
                Cell::both(out.zone.readable(time), out.zone.exact(time))
            }
            "news" => match news {
                News::Started { .. } => Cell::text("started"),
                News::Ended { instance } | News::Changed { instance } => Out::state(instance.state),
                News::Failed { .. } => Cell::text("attempt failed"),
                News::Acted { record } => Cell::text(&record.audit.action),
                News::Step { .. } => Cell::text("step"),
                _ => Cell::text("missed"),
            },
            "instance" => match news {
                News::Started { instance } | News::Ended { instance } | News::Changed { instance } => {
                    Cell::both(named(instance), &instance.id)
                }
                News::Failed { failure } => Cell::text(&failure.failure.error.workflow_id),
                News::Acted { record } => Cell::maybe(record.audit.instance.as_deref()),
                News::Step { instance, .. } => Cell::text(instance),
                _ => Cell::default(),
            },
            "text" => Cell::text(text(news)),
            _ => Cell::default(),
        }
    }
}

fn named(instance: &InstanceSummary) -> String {
    match &instance.reference {
        Some(reference) => format!("{}/{reference}", instance.definition),
        None => instance.id.clone(),
    }
}

fn text(news: &News) -> String {
    match news {
        News::Started { instance } => format!("{} v{}", instance.definition, instance.version),
        News::Ended { instance } | News::Changed { instance } => match &instance.cause {
            Some(cause) if instance.state != InstanceState::Completed => {
                format!("{}: {}: {} (attempt {})", cause.step, cause.code, cause.message, cause.attempt)
            }
            _ => format!("{} v{}", instance.definition, instance.version),
        },
        News::Failed { failure } => failure.failure.to_string(),
        News::Acted { record } => {
            let reason = record.audit.reason.as_ref();
            let actor = &record.audit.actor;
            reason.map_or_else(|| actor.clone(), |reason| format!("{actor}: {reason}"))
        }
        News::Step { step, .. } => {
            let name = step.step.as_deref().unwrap_or(&step.pointer);
            format!("{name} {}", format!("{:?}", step.status).to_lowercase())
        }
        News::Missed { kind } => format!("more was {kind} than can be shown"),
        _ => String::new(),
    }
}

pub(crate) async fn wait(app: &App, args: &WaitArgs) -> Result<Exit> {
    let session = app.look().await?;
    let done = async {
        let id = session.operator.resolve(&args.id).await?;
        if app.out.is_for_people() && !session.operator.status(&id).await?.state.is_final() {
            note("waiting; Ctrl-C ends it");
        }
        tokio::select! {
            () = app.interrupt.wait() => Err(Failure::silent(Exit::Interrupted)),
            status = session.operator.outcome(&id, args.timeout) => Ok(status?),
        }
    };
    let done = done.await;
    session.close().await;
    let Some(status) = done? else {
        note(&format!("{} has not ended yet", args.id));
        return Ok(Exit::Busy);
    };
    app.out.object(&status, |out| {
        if out.is_for_people() {
            safe::one_line(&status.to_string()) + "\n"
        } else {
            format!("{}\t{}\n", status.id, status.state)
        }
    })?;
    let is_completed = status.state == wfe::status::State::Completed;
    Ok(if is_completed { Exit::Done } else { Exit::Nothing })
}
