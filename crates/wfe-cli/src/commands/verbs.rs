//! Actions on instances: one, several, or all that a filter selects.

use serde::Serialize;
use wfe::{
    operator::{Bulk, BulkReport, Effect, Over, Preview, RestartWith, Verb},
    traits::{Count, InstanceState, Query},
};

use super::list;
use crate::{
    app::{App, Session},
    args::{Acting, RestartArgs, Targets},
    confirm::{self, Question, counted},
    failure::{Exit, Failure, Result},
    input,
    output::{Out, note, safe},
    progress::Bar,
};

/// So many refusals are named.
const NAMED: usize = 10;

pub(crate) async fn restart(app: &App, args: &RestartArgs) -> Result<Exit> {
    let data = match &args.data {
        Some(data) => Some(input::data(data, &app.interrupt).await?),
        None => None,
    };
    let with = RestartWith { data, ..RestartWith::default() };
    verb(app, Verb::Restart(with), &args.targets, &args.acting).await
}

pub(crate) async fn verb(app: &App, verb: Verb, targets: &Targets, acting: &Acting) -> Result<Exit> {
    let filter = targets.filter.query(&app.out, false)?;
    let is_filtered = filter != Query::default();
    if is_filtered && !targets.all {
        return Err(Failure::usage("a filter selects instances only with --all"));
    }
    let session = if acting.dry_run { app.look().await? } else { app.act(acting.reason.text()).await? };
    let done = match over(&session, &verb, targets, filter).await {
        Err(failure) => Err(failure),
        Ok(over) => match &over {
            Over::Ids(ids) if ids.len() == 1 && !acting.dry_run && verb != Verb::Delete => {
                one(app, &session, &verb, &ids[0]).await
            }
            _ => {
                let bulk = session.operator.bulk(verb.clone(), over);
                let bulk = match acting.rate {
                    Some(rate) => bulk.rate(f64::from(rate.get())),
                    None => bulk,
                };
                many(app, &verb, &bulk, acting, is_filtered).await
            }
        },
    };
    session.close().await;
    done
}

async fn over(session: &Session, verb: &Verb, targets: &Targets, filter: Query) -> Result<Over> {
    if !targets.all {
        return Ok(Over::Ids(session.resolve(&targets.ids).await?));
    }
    if !filter.states.is_empty() {
        return Ok(Over::Query(filter));
    }
    // Without a state in the filter, only those instances are meant that the action can change.
    let states: &[InstanceState] = match verb {
        Verb::Suspend => {
            &[InstanceState::Running, InstanceState::Due, InstanceState::Asleep, InstanceState::Waiting]
        }
        Verb::Resume | Verb::Skip | Verb::ResumeFrom(_) => &[InstanceState::Suspended],
        Verb::Retry => &[InstanceState::Failed],
        Verb::Restart(_) => &[InstanceState::Failed, InstanceState::Cancelled, InstanceState::Terminated],
        Verb::Acknowledge(_) => &[InstanceState::Failed, InstanceState::Suspended],
        Verb::Delete => &InstanceState::ENDED,
        _ => &InstanceState::OPEN,
    };
    let acknowledged = match verb {
        Verb::Acknowledge(acknowledged) => Some(!acknowledged),
        _ => filter.acknowledged,
    };
    Ok(Over::Query(Query { states: states.to_vec(), acknowledged, ..filter }))
}

/// What was done to one instance.
#[derive(Serialize)]
struct Done<'d> {
    instance: &'d str,
    #[serde(flatten)]
    effect: &'d Effect,
}

async fn one(app: &App, session: &Session, verb: &Verb, id: &str) -> Result<Exit> {
    let effect = session.operator.act(verb, id).await.map_err(Failure::of_action)?;
    app.out.object(&Done { instance: id, effect: &effect }, |out| told(out, id, &effect))?;
    Ok(Exit::Done)
}

fn told(out: &Out, id: &str, effect: &Effect) -> String {
    if !out.is_for_people() {
        return match effect {
            Effect::Restarted { id: new } => format!("{id}\trestarted\t{new}\n"),
            effect => format!("{id}\t{}\n", word(effect)),
        };
    }
    match effect {
        Effect::Accepted => format!("{id}: stored; it takes effect as soon as a host has taken it up\n"),
        Effect::Redundant => format!("{id}: nothing to do, this holds already\n"),
        Effect::Retried => format!("{id}: retried; a host goes on with it\n"),
        Effect::Restarted { id: new } => format!("{id}: restarted as {new}\n"),
        effect => format!("{id}: {}\n", word(effect)),
    }
}

fn word(effect: &Effect) -> &'static str {
    match effect {
        Effect::Accepted => "accepted",
        Effect::Redundant => "redundant",
        Effect::Retried => "retried",
        Effect::Restarted { .. } => "restarted",
        Effect::Recorded => "recorded",
        Effect::Deleted(_) => "deleted",
        _ => "done",
    }
}

async fn many(app: &App, verb: &Verb, bulk: &Bulk, acting: &Acting, is_filtered: bool) -> Result<Exit> {
    let preview = bulk.preview().await.map_err(Failure::of_action)?;
    let name = verb.kind().name().replace('_', "-");
    let what = format!("{name} {}", counted(preview.count, "instance"));
    if acting.dry_run {
        return dry(app, &what, &preview, is_filtered);
    }
    if preview.count.n == 0 {
        note("no instances");
        return Ok(if is_filtered { Exit::Nothing } else { Exit::Done });
    }
    if preview.count.n > 1 || *verb == Verb::Delete {
        let question = Question { what, count: preview.count, examples: &preview.examples };
        confirm::ask(&question, acting.sure.yes, &app.interrupt).await?;
    }
    let bar = Bar::new(verb.kind().name(), &app.interrupt);
    let report = bulk.run(&bar).await;
    bar.finish();
    ended(app, &name, &report.map_err(Failure::of_action)?)
}

fn dry(app: &App, what: &str, preview: &Preview, is_filtered: bool) -> Result<Exit> {
    let Count { n, .. } = preview.count;
    app.out.object(preview, |out| {
        if out.is_for_people() {
            let mut text = format!("This would {what}.\n");
            for example in &preview.examples {
                text.extend(["  ", &confirm::named(example), "\n"]);
            }
            text
        } else {
            out.part(&list::plain(preview.examples.clone()))
        }
    })?;
    if !app.out.is_for_people() {
        note(&format!("this would {what}"));
    }
    Ok(if n == 0 && is_filtered { Exit::Nothing } else { Exit::Done })
}

/// Tells what a bulk action has done.
fn ended(app: &App, name: &str, report: &BulkReport) -> Result<Exit> {
    let BulkReport { matched, done, redundant, refused, .. } = report;
    app.out.object(report, |out| {
        if out.is_for_people() {
            format!("{name}: {matched} tried: {done} done, {redundant} held already, {refused} refused\n")
        } else {
            format!("matched\t{matched}\ndone\t{done}\nredundant\t{redundant}\nrefused\t{refused}\n")
        }
    })?;
    for refusal in report.refusals.iter().take(NAMED) {
        note(&format!("refused: {}: {}", refusal.instance, safe::one_line(&refusal.message)));
    }
    if report.refusals.len() > NAMED {
        note(&format!("and {} more refusals; --json names up to 1000", *refused - NAMED as u64));
    }
    if let Some(error) = &report.stopped_by {
        note(&format!("stopped after {matched} instances: {error}; repeat it to go on"));
        return Ok(Exit::Partly);
    }
    if !report.is_complete {
        note(&format!("interrupted after {matched} instances; repeat it to go on"));
        return Ok(Exit::Interrupted);
    }
    Ok(match (refused, done + redundant) {
        (0, _) => Exit::Done,
        (_, 0) => Exit::Refused,
        _ => Exit::Partly,
    })
}
