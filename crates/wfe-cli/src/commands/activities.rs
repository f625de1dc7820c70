use serde::Serialize;
use wfe::{
    WfeError,
    operator::ActivityView,
    traits::{Cursor, OWN_NAMES},
};

use crate::{
    app::{self, App, Session},
    args::ActivitiesCommand,
    confirm::{self, Question},
    failure::{Exit, Failure, Result},
    output::{Cell, Listed, Out, note},
};

impl Listed for ActivityView {
    const COLUMNS: &'static [&'static str] =
        &["id", "name", "since", "worker", "lease", "definition", "instance", "step", "input", "version"];
    const SHOWN: usize = 7;
    /// An activity is released by its instance, too, which is shorter.
    const PEOPLE: Option<&'static [&'static str]> =
        Some(&["instance", "name", "since", "worker", "lease", "definition"]);

    fn cell(&self, column: &str, out: &Out) -> Cell {
        let held = self.held.as_ref();
        match column {
            "id" => Cell::text(&self.id),
            "name" => Cell::text(&self.name),
            "since" => out.time(self.since),
            "worker" => match held {
                Some(held) => Cell::text(held.worker.as_deref().unwrap_or("unknown")),
                None => Cell::default(),
            },
            "lease" => out.time(held.and_then(|held| held.until)),
            "definition" => Cell::text(format!("{}@{}", self.definition, self.version)),
            "instance" => Cell::text(&self.instance),
            "step" => Cell::text(&self.step),
            "input" => Cell::text(self.input.to_string()),
            "version" => Cell::number(self.version),
            _ => Cell::default(),
        }
    }
}

pub(crate) async fn activities(app: &App, command: ActivitiesCommand) -> Result<Exit> {
    match command {
        ActivitiesCommand::List { name, paging } => {
            app.out.chosen::<ActivityView>()?;
            let after = app::cursor(paging.after.as_deref())?;
            let session = app.look().await?;
            let found = some(&session, name.as_deref(), after, paging.limit()).await;
            session.close().await;
            let (rows, next) = found?;
            app.out.page(&rows, next)?;
            if rows.is_empty() {
                note("no open activities");
                return Ok(if name.is_some() { Exit::Nothing } else { Exit::Done });
            }
            Ok(Exit::Done)
        }
        ActivitiesCommand::Release { id, reason, sure } => {
            let session = app.act(reason.text()).await?;
            let done = release(app, &session, &id, sure.yes).await;
            session.close().await;
            let released = done?;
            app.out.object(&released, |out| match (out.is_for_people(), released.was_held) {
                (true, true) => format!("{}: released; the next worker gets it\n", released.id),
                (true, false) => format!("{}: nobody held it\n", released.id),
                (false, was_held) => {
                    format!("{}\t{}\n", released.id, if was_held { "released" } else { "free" })
                }
            })?;
            Ok(Exit::Done)
        }
    }
}

/// So many activities, and where the list goes on.
async fn some(
    session: &Session,
    name: Option<&str>,
    mut after: Option<Cursor>,
    limit: usize,
) -> Result<(Vec<ActivityView>, Option<Cursor>)> {
    let mut rows = Vec::new();
    loop {
        let page = session.operator.activities(name, after, limit - rows.len()).await?;
        // Schedules are activities of the engine. They fill no page.
        let is_shown = |activity: &ActivityView| name.is_some() || !activity.name.starts_with(OWN_NAMES);
        rows.extend(page.rows.into_iter().filter(is_shown));
        after = page.next;
        if rows.len() >= limit || after.is_none() {
            return Ok((rows, after));
        }
    }
}

/// What became of a release.
#[derive(Serialize)]
struct Released {
    id: String,
    was_held: bool,
}

async fn release(app: &App, session: &Session, text: &str, yes: bool) -> Result<Released> {
    let id = find(session, text).await?;
    let what = format!("release activity {id}: the answer of its worker is then refused");
    confirm::ask(&Question::one(what), yes, &app.interrupt).await?;
    let was_held = session.operator.release(&id).await.map_err(Failure::of_action)?;
    Ok(Released { id, was_held })
}

/// The id of the only open activity of the instance that the text names; otherwise the text, as the id of an activity.
async fn find(session: &Session, text: &str) -> Result<String> {
    let instance = match session.operator.resolve(text).await {
        Err(WfeError::WorkflowNotFound(_)) => return Ok(text.to_owned()),
        id => id?,
    };
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = session.operator.activities(None, after, wfe::traits::MAX_PAGE).await?;
        found.extend(page.rows.into_iter().filter(|activity| activity.instance == instance));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    match &*found {
        [activity] => Ok(activity.id.clone()),
        [] => Err(Failure::new(Exit::NotFound, format!("instance {instance} has no open activity"))),
        many => {
            let ids: Vec<String> =
                many.iter().map(|activity| format!("\n  {} {}", activity.id, activity.step)).collect();
            Err(Failure::usage(format!("instance {instance} has several open activities:{}", ids.concat())))
        }
    }
}
