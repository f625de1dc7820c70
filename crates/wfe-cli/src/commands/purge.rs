use wfe::traits::{InstanceState, PurgeFilter, PurgeReport, Query, TimeRange};

use super::list;
use crate::{
    app::{App, Session},
    args::{Purge, PurgeEvents},
    confirm::{self, Question, counted},
    failure::{Exit, Failure, Result},
    output::note,
    progress::Bar,
};

pub(crate) async fn purge(app: &App, args: &Purge) -> Result<Exit> {
    let before = before(app, args.older)?;
    let states = args.ending.iter().flat_map(|word| word.0.iter().copied()).collect();
    let filter = PurgeFilter { states, definition: args.definition.clone(), ..PurgeFilter::before(before) };
    filter.check()?;
    let session = if args.dry_run { app.look().await? } else { app.act(args.reason.text()).await? };
    let done = preview(app, &session, &filter, args).await;
    let done = match done {
        Ok(true) => run(app, &session, &filter).await,
        Ok(false) => Ok(Exit::Done),
        Err(failure) => Err(failure),
    };
    session.close().await;
    done
}

fn before(app: &App, older: std::time::Duration) -> Result<chrono::DateTime<chrono::Utc>> {
    crate::args::When::Distance(older).ago(app.out.now, app.out.zone).map_err(Failure::usage)
}

/// Whether it shall be done.
async fn preview(app: &App, session: &Session, filter: &PurgeFilter, args: &Purge) -> Result<bool> {
    let query = Query {
        states: if filter.states.is_empty() { InstanceState::ENDED.to_vec() } else { filter.states.clone() },
        definition: filter.definition.clone(),
        completed: TimeRange { from: None, until: Some(filter.before) },
        include_own: true,
        ..Query::default()
    };
    let count = session.operator.count(&query, 1_000_000).await?;
    let examples = session.operator.list(&query, None, 5).await?.rows;
    let what = format!("remove {}, with everything that belongs to them", counted(count, "instance"));
    if args.dry_run {
        app.out.object(&count, |out| {
            if out.is_for_people() {
                let lines: Vec<String> =
                    examples.iter().map(|example| format!("  {}\n", confirm::named(example))).collect();
                format!("This would {what}.\n{}", lines.concat())
            } else {
                out.part(&list::plain(examples))
            }
        })?;
        if !app.out.is_for_people() {
            note(&format!("this would {what}"));
        }
        return Ok(false);
    }
    confirm::ask(&Question { what, count, examples: &examples }, args.sure.yes, &app.interrupt).await?;
    Ok(true)
}

async fn run(app: &App, session: &Session, filter: &PurgeFilter) -> Result<Exit> {
    let bar = Bar::new("purge", &app.interrupt);
    let report = session.operator.purge(filter, &bar).await;
    bar.finish();
    told(app, &report.map_err(Failure::of_action)?)
}

pub(crate) async fn purge_events(app: &App, args: &PurgeEvents) -> Result<Exit> {
    let before = before(app, args.older)?;
    let what = format!("remove the events that were dealt with before {}", app.out.zone.readable(before));
    confirm::ask(&Question::one(what), args.sure.yes, &app.interrupt).await?;
    let session = app.act(args.reason.text()).await?;
    let bar = Bar::new("purge-events", &app.interrupt);
    let report = session.operator.purge_events(before, &bar).await;
    bar.finish();
    session.close().await;
    told(app, &report.map_err(Failure::of_action)?)
}

fn told(app: &App, report: &PurgeReport) -> Result<Exit> {
    let PurgeReport { instances, events, rows, more } = report;
    app.out.object(report, |out| {
        if out.is_for_people() {
            format!("removed {instances} instances and {events} events: {rows} rows\n")
        } else {
            format!("instances\t{instances}\nevents\t{events}\nrows\t{rows}\n")
        }
    })?;
    if *more {
        note("interrupted; repeat it to go on");
        return Ok(Exit::Interrupted);
    }
    Ok(Exit::Done)
}
