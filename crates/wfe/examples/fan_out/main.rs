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

use wfe::{clock::SystemClock, prelude::*, status::Waits};

use crate::{
    common::{Options, Result},
    workflow::{Census, Region, Registry},
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

async fn run(options: Options) -> Result {
    let (db, temporary) = (options.path("db"), tempfile::tempdir()?);
    let store = common::open(db.as_deref(), Arc::new(SystemClock)).await?;
    let host = WorkflowHost::builder_shared(store).build();
    let woken = db.map_or_else(|| temporary.path().join("woken"), |db| db.with_added_extension("woken"));
    host.register(workflow::region(Arc::new(Books { woken }))?)?;
    let censuses = host.register(workflow::census()?)?;
    host.start().await?;
    count(&censuses).await?;
    cancel(&host, &censuses).await?;
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
                Err("the registry does not answer").code("asleep")
            }
            "south" => Ok(Some(5_600)),
            _ => Ok(None),
        }
    }
}

async fn count(censuses: &Workflow<Census>) -> Result {
    let instance = start(censuses, "census-1", &["north", "east", "south"]).await?;
    let census = instance.outcome().await?.completed()?;
    for (region, count) in &census.counts {
        println!("  {region}: {count}");
    }
    println!("census-1: {} in all", census.total);
    for failure in instance.failures().all().await? {
        let causes = failure.causes.join(": ");
        println!("  attempt {} of {} failed ({}): {causes}", failure.attempt, failure.step, failure.code);
    }
    Ok(())
}

async fn cancel(host: &WorkflowHost, censuses: &Workflow<Census>) -> Result {
    let census = start(censuses, "census-2", &["west", "islands"]).await?;
    // The registry does not know the children's regions, so each child waits for an event.
    let mut children = Vec::new();
    while !census.status().await?.state.is_final() {
        children = waiting_children(host, &census).await?;
        if children.len() == 2 {
            println!("census-2 waits for 2 children, and each of them for an event; it is cancelled");
            match census.cancel().await {
                // A process that was killed may have requested this already, and the census has ended by it.
                Ok(_) | Err(Error::NoEffect { .. }) => break,
                Err(error) => return Err(error.into()),
            }
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    println!("census-2: {}", census.outcome().await?);
    for child in children {
        println!("  its child: {}", child.outcome().await?);
    }
    Ok(())
}

async fn start(censuses: &Workflow<Census>, name: &str, regions: &[&str]) -> Result<Instance<Census>> {
    println!("{name} is started: {}", regions.join(", "));
    let regions = regions.iter().map(|&region| region.into()).collect();
    let census = Census { regions, ..Census::default() };
    Ok(censuses.start(&census).reference(name).name(name).await?.instance)
}

/// Returns the children of this instance that wait for an event.
async fn waiting_children(host: &WorkflowHost, census: &Instance<Census>) -> Result<Vec<Instance<Region>>> {
    let mut waiting = Vec::new();
    for position in census.status().await?.positions {
        let Waits::Child { id, .. } = position.waits else { continue };
        let child = host.instance::<Region>(id);
        let positions = child.status().await?.positions;
        if positions.iter().any(|position| matches!(position.waits, Waits::Event { .. })) {
            waiting.push(child);
        }
    }
    Ok(waiting)
}
