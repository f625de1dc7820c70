//! Fan-out and fan-in with child workflows: one child per item, their results in the parent's data, a child that
//! fails and is retried, and children that are cancelled with their parent.
//!
//! ```text
//! cargo run -p wfe --example fan_out -- [--db FILE]
//! ```
//!
//! With a database file, the program may be killed at any moment. After a restart, the program continues where it
//! stopped.

#[path = "../common/mod.rs"]
mod common;
mod workflow;

use std::{fs::File, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use wfe::{Outcome, StartOptions, Waits, WorkflowHost, clock::SystemClock, steps::StepError};

use crate::{
    common::{Failure, Options},
    workflow::{CENSUS, Census, Region, Registry},
};

const USAGE: &str = "\
usage: fan_out [--db FILE]

Counts regions, each in a child workflow: one census completes, one is cancelled.

  --db FILE    the database, created if missing; by default in memory";

/// The interval at which the program reads the status of an instance. A person does not notice a delay this short.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

#[tokio::main]
async fn main() -> ExitCode {
    common::main("fan_out", USAGE, &["db"], run).await
}

async fn run(options: Options) -> Result<(), Failure> {
    let (db, temporary) = (options.path("db"), tempfile::tempdir()?);
    let store = common::open(db.as_deref(), Arc::new(SystemClock)).await?;
    let host = WorkflowHost::builder_shared(store).build();
    let registry: Arc<dyn Registry> = Arc::new(Books {
        woken: db.map_or_else(|| temporary.path().join("woken"), |db| db.with_added_extension("woken")),
    });
    host.register(workflow::region(&registry)?)?;
    host.register(workflow::census()?)?;
    host.start().await?;
    count(&host).await?;
    cancel(&host).await?;
    host.stop().await?;
    Ok(())
}

/// The registry of this example. Its first call for the south fails.
struct Books {
    /// A file that the first call for the south creates. The file lets the registry remember this call after a crash of
    /// the program, as a real registry would.
    woken: PathBuf,
}

impl Registry for Books {
    fn count(&self, region: &str) -> Result<Option<u64>, StepError> {
        match region {
            "north" => Ok(Some(1_200)),
            "east" => Ok(Some(340)),
            "south" if File::create_new(&self.woken).is_ok() => {
                Err(StepError::retryable("the registry does not answer").with_code("asleep"))
            }
            "south" => Ok(Some(5_600)),
            _ => Ok(None),
        }
    }
}

async fn count(host: &WorkflowHost) -> Result<(), Failure> {
    let id = start(host, "census-1", &["north", "east", "south"]).await?;
    match host.outcome::<Census>(&id).await? {
        Outcome::Completed(census) => {
            for (region, count) in &census.counts {
                println!("  {region}: {count}");
            }
            println!("census-1: {} in all", census.total);
        }
        other => println!("census-1: {other:?}"),
    }
    for failure in host.failures(&id).all().await? {
        println!(
            "  attempt {} of {} failed ({}): {}",
            failure.attempt,
            failure.step,
            failure.code,
            failure.causes.join(": ")
        );
    }
    Ok(())
}

async fn cancel(host: &WorkflowHost) -> Result<(), Failure> {
    let id = start(host, "census-2", &["west", "islands"]).await?;
    // The registry does not know the children's regions, so each child waits for an event.
    let mut children = Vec::new();
    while !host.status(&id).await?.status.is_final() {
        children = waiting_children(host, &id).await?;
        if children.len() == 2 {
            println!("census-2 waits for 2 children, and each of them for an event; it is cancelled");
            host.cancel(&id).await?;
            break;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    println!("census-2: {}", end(&host.outcome::<Census>(&id).await?));
    for child in children {
        println!("  its child: {}", end(&host.outcome::<Region>(&child).await?));
    }
    Ok(())
}

async fn start(host: &WorkflowHost, name: &str, regions: &[&str]) -> Result<String, Failure> {
    let census =
        Census { regions: regions.iter().map(|region| (*region).to_owned()).collect(), ..Census::default() };
    println!("{name} is started: {}", regions.join(", "));
    let options = StartOptions {
        reference: Some(name.to_owned()),
        name: Some(name.to_owned()),
        ..StartOptions::default()
    };
    Ok(host.start_workflow_with(CENSUS, &census, options).await?)
}

/// Returns the ids of the children of this instance that wait for an event.
async fn waiting_children(host: &WorkflowHost, id: &str) -> Result<Vec<String>, Failure> {
    let mut waiting = Vec::new();
    for position in host.status(id).await?.positions {
        let Waits::Child { id: child, .. } = position.waits else { continue };
        let stands = host.status(&child).await?.positions;
        if stands.iter().any(|position| matches!(position.waits, Waits::Event { .. })) {
            waiting.push(child);
        }
    }
    Ok(waiting)
}

fn end<D>(outcome: &Outcome<D>) -> &'static str {
    match outcome {
        Outcome::Completed(_) => "completed",
        Outcome::Failed(_) => "failed",
        Outcome::Cancelled => "cancelled",
        Outcome::Terminated => "terminated",
    }
}
