//! A human approval with user tasks: lists of tasks, answers, and what happens when no answer comes in time.
//!
//! ```text
//! cargo run -p wfe --example approval -- [--db FILE]
//! ```
//!
//! With a database file, the program may be killed at any moment. After a restart, the program continues where it
//! stopped.

#[path = "../common/attend.rs"]
mod attend;
#[path = "../common/calendar.rs"]
mod calendar;
#[path = "../common/mod.rs"]
mod common;
mod workflow;

use std::process::ExitCode;

use wfe::{OpenTask, Outcome, StartOptions, Waits, WfeError, WorkflowHost, steps::UserAnswer};

use crate::{
    attend::{LOOK_AGAIN, attend},
    calendar::Calendar,
    common::{Failure, Options},
    workflow::{APPROVE, DIRECTOR, EXPENSE, Expense, REJECT},
};

const USAGE: &str = "\
usage: approval [--db FILE]

Gets decisions on two expenses: one is approved by the boss, for the other the boss has no time.

  --db FILE    the database, created if missing; by default in memory";

#[tokio::main]
async fn main() -> ExitCode {
    common::main("approval", USAGE, &["db"], run).await
}

async fn run(options: Options) -> Result<(), Failure> {
    let db = options.path("db");
    let calendar = Calendar::open(db.as_deref())?;
    let store = common::open(db.as_deref(), calendar.clock()).await?;
    let host = WorkflowHost::builder_shared(store).clock(calendar.clock()).build();
    host.register(workflow::expense()?)?;
    host.start().await?;
    let expense = |id: &str, who: &str, cents, boss: &str| Expense {
        id: id.to_owned(),
        who: who.to_owned(),
        cents,
        boss: boss.to_owned(),
        ..Expense::default()
    };
    decide(&host, &calendar, &expense("expense-1", "Ann", 4_200, "Mr Bell")).await?;
    decide(&host, &calendar, &expense("expense-2", "Tom", 99_900, "Mr Away")).await?;
    host.stop().await?;
    Ok(())
}

async fn decide(host: &WorkflowHost, calendar: &Calendar, expense: &Expense) -> Result<(), Failure> {
    let options = StartOptions {
        reference: Some(expense.id.clone()),
        name: Some(expense.id.clone()),
        ..StartOptions::default()
    };
    let id = host.start_workflow_with(EXPENSE, expense, options).await?;

    let mut reassigned = None::<String>;
    attend(host, &id, &expense.id, async |position| {
        let Waits::UserTask { id: task, task: Some(asked), until, .. } = &position.waits else {
            return Ok(());
        };
        let assignee = asked.assignee.as_deref().unwrap_or_default();
        show(assignee, &open_tasks(host, assignee).await?);
        match (assignee, until) {
            ("Mr Bell", _) => {
                refuse_nonsense(host, task).await?;
                answer(host, task, assignee, APPROVE, "have a good trip").await?;
            }
            (DIRECTOR, _) => {
                reminded(host, &id).await?;
                show(&expense.boss, &open_tasks(host, &expense.boss).await?);
                if let Some(old) = reassigned.take() {
                    // The first assignee's task no longer exists.
                    answer(host, &old, &expense.boss, APPROVE, "sorry, I was away").await?;
                }
                answer(host, task, assignee, REJECT, "too much").await?;
            }
            (_, Some(until)) => {
                reassigned = Some(task.clone());
                calendar.turn_to(*until)?;
            }
            (_, None) => {}
        }
        Ok(())
    })
    .await?;

    match host.outcome::<Expense>(&id).await? {
        Outcome::Completed(end) => {
            let (by, comment) = (end.decided_by.unwrap_or_default(), end.comment.unwrap_or_default());
            let decision = if end.paid { "paid" } else { "rejected" };
            println!("{}: {decision} by {by} ({comment})", end.id);
            if let Some(late) = end.reminded {
                println!("{}: {late} was reminded", end.id);
            }
        }
        other => println!("{}: {other:?}", expense.id),
    }
    Ok(())
}

/// Waits until the boss was reminded, because an answer would cancel the rest of the escalation.
async fn reminded(host: &WorkflowHost, id: &str) -> Result<(), Failure> {
    while host.data::<Expense>(id).await?.reminded.is_none() {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

/// Reads the open tasks of an assignee, page by page.
async fn open_tasks(host: &WorkflowHost, assignee: &str) -> Result<Vec<OpenTask>, Failure> {
    let (mut tasks, mut after) = (Vec::new(), None);
    loop {
        let page = host.user_tasks().open(Some(assignee), after, 100).await?;
        tasks.extend(page.rows);
        after = page.next;
        if after.is_none() {
            return Ok(tasks);
        }
    }
}

fn show(assignee: &str, tasks: &[OpenTask]) {
    println!("  tasks of {assignee}: {}", tasks.len());
    for OpenTask { task, .. } in tasks {
        println!("    {} ({})", task.prompt, task.options.join(" or "));
    }
}

async fn answer(
    host: &WorkflowHost,
    task: &str,
    user: &str,
    option: &str,
    comment: &str,
) -> Result<(), Failure> {
    let answer = UserAnswer { option: option.to_owned(), user: Some(user.to_owned()), data: comment.into() };
    match host.user_tasks().answer(task, &answer).await {
        Ok(()) => println!("  {user} answers {option}"),
        Err(WfeError::TaskCompleted(_) | WfeError::TaskCancelled(_)) => {
            println!("  {user} answers {option}, too late");
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

async fn refuse_nonsense(host: &WorkflowHost, task: &str) -> Result<(), Failure> {
    let answer = UserAnswer { option: "maybe".to_owned(), user: None, data: serde_json::Value::Null };
    match host.user_tasks().answer(task, &answer).await {
        Err(WfeError::Invalid(why)) => println!("  refused: {why}"),
        other => println!("  maybe: {other:?}"),
    }
    Ok(())
}
