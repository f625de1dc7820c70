use serde::Serialize;
use serde_json::Value;
use wfe::{
    operator::ScheduleView,
    schedules::{NewSchedule, Timetable},
    traits::Requested,
};

use super::start;
use crate::{
    app::{self, App},
    args::{self, SchedulesCommand},
    confirm::{self, Question},
    failure::{Exit, Failure, Result},
    input,
    output::{Cell, Listed, Out, Sheet, note, safe},
};

impl Listed for ScheduleView {
    const COLUMNS: &'static [&'static str] =
        &["id", "state", "definition", "timetable", "last", "next", "failure", "instance"];
    const SHOWN: usize = 7;

    fn cell(&self, column: &str, out: &Out) -> Cell {
        let it = &self.status;
        match column {
            "id" => Cell::text(&it.id),
            "state" => Cell::text(if it.is_paused { "paused" } else { "active" }),
            "definition" => Cell::text(definition(self)),
            "timetable" => Cell::text(it.timetable.to_string()),
            "last" => out.time(it.last),
            "next" => out.time(it.next),
            "failure" => Cell::maybe(it.last_failure.as_ref().map(ToString::to_string)),
            "instance" => Cell::text(&it.instance_id),
            _ => Cell::default(),
        }
    }
}

fn definition(view: &ScheduleView) -> String {
    let definition = &view.status.definition;
    view.status.version.map_or_else(|| definition.clone(), |version| format!("{definition}@{version}"))
}

pub(crate) async fn schedules(app: &App, command: SchedulesCommand) -> Result<Exit> {
    match command {
        SchedulesCommand::List { paging } => {
            app.out.chosen::<ScheduleView>()?;
            let after = app::cursor(paging.after.as_deref())?;
            let session = app.look().await?;
            let page = session.operator.schedules(after, paging.limit()).await;
            session.close().await;
            let page = page?;
            app.out.page(&page.rows, page.next)?;
            if page.rows.is_empty() {
                note("no schedules");
            }
            Ok(Exit::Done)
        }
        SchedulesCommand::Show { id } => {
            let session = app.look().await?;
            let view = session.operator.schedule(&id).await;
            session.close().await;
            let shown = Shown::of(view?);
            app.out.object(&shown, |out| sheet(&shown, out).text(out))?;
            Ok(Exit::Done)
        }
        SchedulesCommand::Create(args) => create(app, &args).await,
        SchedulesCommand::Pause { id, reason } => {
            let session = app.act(reason.text()).await?;
            let requested = session.operator.pause_schedule(&id).await;
            session.close().await;
            told(app, &id, "paused", requested.map_err(Failure::of_action)? == Requested::Accepted)
        }
        SchedulesCommand::Resume { id, reason } => {
            let session = app.act(reason.text()).await?;
            let requested = session.operator.resume_schedule(&id).await;
            session.close().await;
            told(app, &id, "active", requested.map_err(Failure::of_action)? == Requested::Accepted)
        }
        SchedulesCommand::Trigger { id, reason } => {
            let session = app.act(reason.text()).await?;
            let done = async {
                let definition = session.operator.schedule(&id).await?.status.definition;
                let started = session.operator.trigger_schedule(&id).await.map_err(Failure::of_action)?;
                Ok((definition, started))
            };
            let done: Result<_> = done.await;
            session.close().await;
            let (definition, started) = done?;
            start::told(app, &definition, &started)
        }
        SchedulesCommand::Delete { id, reason, sure } => {
            let session = app.act(reason.text()).await?;
            let done = async {
                session.operator.schedule(&id).await?;
                let question = Question::one(format!("delete the schedule {id}"));
                confirm::ask(&question, sure.yes, &app.interrupt).await?;
                session.operator.delete_schedule(&id).await.map_err(Failure::of_action)
            };
            let done: Result<()> = done.await;
            session.close().await;
            done?;
            told(app, &id, "deleted", true)
        }
    }
}

/// A schedule, with its timetable in words.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    view: ScheduleView,
    in_words: String,
}

impl Shown {
    fn of(view: ScheduleView) -> Self {
        Self { in_words: view.status.timetable.in_words(), view }
    }
}

fn sheet(Shown { view, in_words }: &Shown, out: &Out) -> Sheet {
    let it = &view.status;
    let mut sheet = Sheet::default();
    sheet.field("id", Cell::text(&it.id));
    sheet.field("state", Cell::text(if it.is_paused { "paused" } else { "active" }));
    sheet.field("starts", Cell::text(definition(view)));
    sheet.field("timetable", Cell::text(it.timetable.to_string()));
    sheet.field("in words", Cell::text(in_words));
    for (label, time) in [("last", it.last), ("next", it.next)] {
        if let Some(time) = time {
            sheet.field(label, out.long_time(time));
        }
    }
    for tick in &view.ticks {
        sheet.field("tick", out.long_time(*tick));
    }
    sheet.maybe("failure", it.last_failure.as_ref().map(ToString::to_string));
    sheet.field("instance", Cell::text(&it.instance_id));
    sheet
}

async fn create(app: &App, args: &args::NewSchedule) -> Result<Exit> {
    let data = match &args.data {
        Some(data) => input::data(data, &app.interrupt).await?,
        None => Value::Null,
    };
    let timetable = match (&args.cron, args.every) {
        (Some(expression), _) => Timetable::cron(expression).in_zone(&args.cron_zone),
        (None, Some(interval)) => Timetable::interval(interval),
        (None, None) => return Err(Failure::usage("say when, with --cron or --every")),
    };
    let mut schedule = NewSchedule::new(&args.id, &args.definition.id, timetable).paused(args.paused);
    if let Some(version) = args.definition.version {
        schedule = schedule.version(version);
    }
    let session = app.act(args.reason.text()).await?;
    let created = session.operator.create_schedule(schedule, data).await;
    session.close().await;
    created.map_err(Failure::of_action)?;
    told(app, &args.id, if args.paused { "paused" } else { "active" }, true)
}

/// What became of a schedule.
#[derive(Serialize)]
struct Told<'t> {
    id: &'t str,
    state: &'t str,
    is_changed: bool,
}

fn told(app: &App, id: &str, state: &str, is_changed: bool) -> Result<Exit> {
    app.out.object(&Told { id, state, is_changed }, |out| match (out.is_for_people(), is_changed) {
        (true, true) => format!("{}: {state}\n", safe::one_line(id)),
        (true, false) => format!("{}: {state} already\n", safe::one_line(id)),
        (false, _) => format!("{}\t{state}\n", safe::one_line(id)),
    })?;
    Ok(Exit::Done)
}
