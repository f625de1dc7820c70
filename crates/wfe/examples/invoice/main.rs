//! An invoice pipeline: retries, an approval that goes on to the director, a saga, a worker in another process, and an
//! operator who takes up a failed invoice again.
//!
//! ```text
//! cargo run -p wfe --example invoice -- [--db FILE]
//! ```
//!
//! It processes three invoices. The first one is paid at once. The second one is large and needs an approval. The third
//! one cannot be booked: its payment is compensated and its instance fails, until an operator retries it. The program
//! may be killed at any moment. After a restart with the same file, it continues where it stopped.

#[path = "../common/attend.rs"]
mod attend;
#[path = "../common/calendar.rs"]
mod calendar;
#[path = "../common/mod.rs"]
mod common;
mod office;
mod worker_process;
mod workflow;

use std::{path::Path, process::ExitCode};

use wfe::{prelude::*, status::Waits};

use crate::{
    attend::attend,
    calendar::Calendar,
    common::{Options, Result},
    office::{LEDGER_CLOSED, Office},
    worker_process::Worker,
    workflow::{APPROVE, DIRECTOR, Invoice},
};

const USAGE: &str = "\
usage: invoice [--db FILE] [--work transfers]

Pays three invoices: one at once, one after an approval, one after an operator has taken it up again.

  --db FILE          the database, created if missing; by default one that is removed at the end
  --work transfers   runs as the worker that transfers money until the standard input ends";

#[tokio::main]
async fn main() -> ExitCode {
    common::main("invoice", USAGE, &["db", "work"], run).await
}

async fn run(options: Options) -> Result {
    let temporary = tempfile::tempdir()?;
    let db = options.path("db").unwrap_or_else(|| temporary.path().join("invoices.db"));
    if options.path("work").is_some() {
        return worker_process::work(&db).await;
    }
    let calendar = Calendar::open(Some(&db))?;
    let store = common::open(Some(&db), calendar.clock()).await?;
    let host = WorkflowHost::builder_shared(store).clock(calendar.clock()).build();
    let workflow = host.register(workflow::invoice(Office::new(calendar.clock()))?)?;
    host.start().await?;
    for invoice in invoices() {
        println!("{} arrives: {} cents, from {}", invoice.id, invoice.cents, invoice.supplier);
        let instance = workflow.start(&invoice).reference(&invoice.id).name(&invoice.id).await?;
        process(&host, &instance, &invoice.id, &db, &calendar).await?;
        if let Outcome::Failed(failure) = instance.outcome().await? {
            println!("{} {}", invoice.id, Outcome::<Invoice>::Failed(failure.clone()));
            if failure.code == LEDGER_CLOSED {
                // An operator removes the cause of the failure, and takes up the instance again: the saga, which was
                // compensated, begins another round.
                calendar.turn_to(Office::ledger_opens())?;
                println!("  the accountant opens the ledger; an operator retries {}", invoice.id);
                instance.retry().await?;
                process(&host, &instance, &invoice.id, &db, &calendar).await?;
            }
        }
        let invoice = instance.outcome().await?.completed()?;
        println!("{}: {}", invoice.id, invoice.log.join(", "));
    }
    host.stop().await?;
    Ok(())
}

/// Does the work of everybody else until the instance has ended: the clerk, the director and the bank.
async fn process(
    host: &WorkflowHost,
    instance: &Instance<Invoice>,
    name: &str,
    db: &Path,
    calendar: &Calendar,
) -> Result {
    let mut worker = None;
    attend(instance, name, async |position| {
        match &position.waits {
            Waits::Retry { at, .. } => calendar.turn_to(*at)?,
            Waits::UserTask { id, task: Some(task), until, .. } => match (task.assignee.as_deref(), until) {
                (Some(DIRECTOR), _) => {
                    println!("  {DIRECTOR} approves");
                    host.user_tasks().answer(id, &UserAnswer::new(APPROVE).by(DIRECTOR)).await?;
                }
                // The clerk is on holiday.
                (_, Some(until)) => calendar.turn_to(*until)?,
                _ => {}
            },
            Waits::Activity { .. } => worker = Some(Worker::start(db)?),
            _ => {}
        }
        Ok(())
    })
    .await?;
    worker.map_or(Ok(()), Worker::end)
}

fn invoices() -> [Invoice; 3] {
    let invoice = |id: &str, supplier: &str, cents| Invoice {
        id: id.into(),
        supplier: supplier.into(),
        cents,
        clerk: "Mr Away".into(),
        ..Invoice::default()
    };
    [
        invoice("invoice-1", "Elm and Sons", 4_200),
        invoice("invoice-2", "Oak Ltd", 99_900),
        invoice("invoice-3", "Ash Brothers", 8_000),
    ]
}
