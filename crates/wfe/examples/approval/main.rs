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

use wfe::{external_tasks::OpenTask, prelude::*, status::Waits};

use crate::{
    attend::{LOOK_AGAIN, attend},
    calendar::Calendar,
    common::{Options, Result},
    workflow::{APPROVE, DIRECTOR, Expense, REJECT},
};

const USAGE: &str = "\
usage: approval [--db FILE]

Gets decisions on two expenses: one is approved by the boss, for the other the boss has no time.

  --db FILE    the database, created if missing; by default in memory";

#[tokio::main]
async fn main() -> ExitCode {
    common::main("approval", USAGE, &["db"], run).await
}

async fn run(options: Options) -> Result {
    let db = options.path("db");
    let calendar = Calendar::open(db.as_deref())?;
    let store = common::open(db.as_deref(), calendar.clock()).await?;
    let host = WorkflowHost::builder_shared(store).clock(calendar.clock()).build();
    let workflow = host.register(workflow::expense()?)?;
    host.start().await?;
    for (id, who, cents, boss) in
        [("expense-1", "Ann", 4_200, "Mr Bell"), ("expense-2", "Tom", 99_900, "Mr Away")]
    {
        let (who, boss) = (who.into(), boss.into());
        let expense = Expense { id: id.into(), who, cents, boss, ..Expense::default() };
        let instance = workflow.start(&expense).reference(id).name(id).await?;
        decide(&host, &instance, &calendar, &expense).await?;

        let Expense { decided_by, comment, paid, reminded, .. } = instance.outcome().await?.completed()?;
        let (by, comment) = (decided_by.unwrap_or_default(), comment.unwrap_or_default());
        println!("{id}: {} by {by} ({comment})", if paid { "paid" } else { "rejected" });
        if let Some(late) = reminded {
            println!("{id}: {late} was reminded");
        }
    }
    host.stop().await?;
    Ok(())
}

/// Answers the tasks of an expense until it is decided.
async fn decide(
    host: &WorkflowHost,
    instance: &Instance<Expense>,
    calendar: &Calendar,
    expense: &Expense,
) -> Result {
    let mut reassigned = None::<String>;
    attend(instance, &expense.id, async |position| {
        let Waits::UserTask { id: task, task: Some(asked), until, .. } = &position.waits else {
            return Ok(());
        };
        let assignee = asked.assignee.as_deref().unwrap_or_default();
        show_tasks(host, assignee).await?;
        match (assignee, until) {
            ("Mr Bell", _) => {
                answer(host, task, assignee, "maybe", "").await?;
                answer(host, task, assignee, APPROVE, "have a good trip").await?;
            }
            (DIRECTOR, _) => {
                // The answer cancels what is left of the escalation, so the boss is reminded first.
                while instance.data().await?.reminded.is_none() {
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                show_tasks(host, &expense.boss).await?;
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
    .await
}

/// Prints the first hundred open tasks of an assignee. `next` of a page is where the next page begins.
async fn show_tasks(host: &WorkflowHost, assignee: &str) -> Result {
    let tasks = host.user_tasks().open(Some(assignee), None, 100).await?.rows;
    println!("  tasks of {assignee}: {}", tasks.len());
    for OpenTask { task, .. } in tasks {
        println!("    {} ({})", task.prompt, task.options.join(" or "));
    }
    Ok(())
}

async fn answer(host: &WorkflowHost, task: &str, user: &str, option: &str, comment: &str) -> Result {
    let answer = UserAnswer::new(option).by(user).data(comment);
    match host.user_tasks().answer(task, &answer).await {
        Ok(()) => println!("  {user} answers {option}"),
        Err(Error::TaskCompleted(_) | Error::TaskCancelled(_)) => {
            println!("  {user} answers {option}, too late");
        }
        // The option does not exist.
        Err(Error::Invalid(why)) => println!("  refused: {why}"),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
