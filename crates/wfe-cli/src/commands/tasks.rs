use serde::Serialize;
use wfe::{WfeError, operator::TaskView, traits::Cursor};

use crate::{
    app::{self, App, Session},
    args::{Answer, TasksCommand},
    failure::{Exit, Failure, Result},
    input,
    output::{Cell, Listed, Out, Sheet, note},
};

impl Listed for TaskView {
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "assignee",
        "prompt",
        "options",
        "since",
        "definition",
        "instance",
        "step",
        "held",
        "until",
        "version",
    ];
    const SHOWN: usize = 7;
    /// A task is answered by its instance, too, which is shorter.
    const PEOPLE: Option<&'static [&'static str]> =
        Some(&["instance", "assignee", "prompt", "options", "since", "definition"]);

    fn cell(&self, column: &str, out: &Out) -> Cell {
        match column {
            "id" => Cell::text(&self.id),
            "assignee" => Cell::maybe(self.task.assignee.as_deref()),
            "prompt" => Cell::text(&self.task.prompt),
            "options" => Cell::text(self.task.options.join(", ")),
            "since" => out.time(self.since),
            "definition" => Cell::text(format!("{}@{}", self.definition, self.version)),
            "instance" => Cell::text(&self.instance),
            "step" => Cell::text(&self.task.step),
            "held" => Cell::maybe(self.held.as_ref().and_then(|held| held.worker.as_deref())),
            "until" => out.time(self.until),
            "version" => Cell::number(self.version),
            _ => Cell::default(),
        }
    }
}

pub(crate) async fn tasks(app: &App, command: TasksCommand) -> Result<Exit> {
    match command {
        TasksCommand::List { assignee, paging } => {
            app.out.chosen::<TaskView>()?;
            let after = app::cursor(paging.after.as_deref())?;
            let session = app.look().await?;
            let page = session.operator.tasks(assignee.as_deref(), after, paging.limit()).await;
            session.close().await;
            let page = page?;
            app.out.page(&page.rows, page.next)?;
            if page.rows.is_empty() {
                note("no open tasks");
                return Ok(if assignee.is_some() { Exit::Nothing } else { Exit::Done });
            }
            Ok(Exit::Done)
        }
        TasksCommand::Show { id } => {
            let session = app.look().await?;
            let task = find(&session, &id).await;
            session.close().await;
            let task = task?;
            app.out.object(&task, |out| sheet(&task, out).text(out))?;
            Ok(Exit::Done)
        }
        TasksCommand::Answer(args) => answer(app, &args).await,
    }
}

/// The task with this id, or the only open task of this instance.
async fn find(session: &Session, text: &str) -> Result<TaskView> {
    match session.operator.task(text).await {
        Err(WfeError::SubscriptionNotFound(_)) => {}
        task => return Ok(task?),
    }
    let instance = match session.operator.resolve(text).await {
        Err(WfeError::WorkflowNotFound(_)) => {
            return Err(Failure::new(
                Exit::NotFound,
                format!("no open task, and no instance {text:?}; `wfe tasks list` has the open tasks"),
            ));
        }
        id => id?,
    };
    let mut found: Vec<TaskView> = Vec::new();
    let mut after: Option<Cursor> = None;
    loop {
        let page = session.operator.tasks(None, after, wfe::traits::MAX_PAGE).await?;
        found.extend(page.rows.into_iter().filter(|task| task.instance == instance));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    match &*found {
        [task] => Ok(session.operator.task(&task.id).await?),
        [] => Err(Failure::new(Exit::NotFound, format!("instance {instance} has no open task"))),
        many => {
            let ids: Vec<String> =
                many.iter().map(|task| format!("\n  {} {}", task.id, task.task.step)).collect();
            Err(Failure::usage(format!("instance {instance} has several open tasks:{}", ids.concat())))
        }
    }
}

fn sheet(task: &TaskView, out: &Out) -> Sheet {
    let mut sheet = Sheet::default();
    sheet.field("id", Cell::text(&task.id));
    sheet.field("prompt", Cell::text(&task.task.prompt));
    sheet.maybe("assignee", task.task.assignee.as_deref());
    for option in &task.task.options {
        let label = task.task.label(option);
        let text = if label == option { option.clone() } else { format!("{option} ({label})") };
        sheet.field("option", Cell::text(text));
    }
    sheet.field("instance", Cell::text(&task.instance));
    sheet.field("definition", Cell::text(format!("{}@{}", task.definition, task.version)));
    sheet.field("step", Cell::text(&task.task.step));
    sheet.maybe("held by", task.held.as_ref().and_then(|held| held.worker.as_deref()));
    for (label, time) in [("since", task.since), ("until", task.until)] {
        if let Some(time) = time {
            sheet.field(label, out.long_time(time));
        }
    }
    sheet
}

/// What became of an answer.
#[derive(Serialize)]
struct Answered<'a> {
    id: &'a str,
    option: &'a str,
    is_new: bool,
}

async fn answer(app: &App, args: &Answer) -> Result<Exit> {
    let data = match &args.data {
        Some(data) => Some(input::data(data, &app.interrupt).await?),
        None => None,
    };
    let session = app.act(args.reason.text()).await?;
    let done = async {
        let task = find(&session, &args.id).await?;
        let is_new =
            session.operator.answer_task(&task.id, &args.option, data).await.map_err(Failure::of_action)?;
        Ok((task.id, is_new))
    };
    let done: Result<_> = done.await;
    session.close().await;
    let (id, is_new) = done?;
    let told = Answered { id: &id, option: &args.option, is_new };
    app.out.object(&told, |out| match (out.is_for_people(), is_new) {
        (true, true) => format!("answered {id}: {}\n", args.option),
        (true, false) => format!("{id} was answered so before\n"),
        (false, _) => format!("{id}\t{}\t{}\n", args.option, if is_new { "new" } else { "known" }),
    })?;
    Ok(Exit::Done)
}
