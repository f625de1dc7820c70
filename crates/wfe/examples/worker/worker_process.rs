//! The process of a worker. A worker needs only the store and the activity, not the workflow.

use std::{
    io::{self, Read},
    path::Path,
    process, thread,
    time::Duration,
};

use tokio::sync::oneshot;
use wfe::{external_tasks::Claim, prelude::*};

use crate::{
    common::Result,
    workflow::{THUMBNAIL, Thumbnail},
};

/// The lease of the hasty worker and of the slow worker. The lease is short, so that the next worker need not wait
/// long. The steady worker has the default lease of 30 s.
const LEASE: Duration = Duration::from_millis(300);
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// How many times a worker tries to claim an activity before it gives up.
const ATTEMPTS: usize = 500;

/// Runs a worker: one that works as it should, one that crashes, or one that is too slow.
pub async fn work(db: &Path, manner: &str) -> Result {
    // The host is not started, because it runs no workflows.
    let host = WorkflowHost::new(SqliteStore::file(db).open().await?);
    let input = input_end();
    match manner {
        "steady" => steady(&host, input).await,
        "hasty" => hasty(&host).await,
        "slow" => slow(&host, input).await,
        other => Err(format!("no worker is {other:?}; choose steady, hasty or slow").into()),
    }
}

/// Does activities until the standard input ends, and then finishes the activities that are running. Heartbeats renew
/// the lease of an activity for as long as it runs.
async fn steady(host: &WorkflowHost, input: oneshot::Receiver<bool>) -> Result {
    let worker = host.activities().worker(THUMBNAIL, "steady");
    let work = worker.run_until(input, async |file, _| {
        println!("steady: makes a thumbnail of {file}");
        Ok(thumbnail(&file, "steady"))
    });
    Ok(work.await?)
}

/// Claims an activity, and then crashes.
async fn hasty(host: &WorkflowHost) -> Result {
    if let Some(claim) = claim(host, "hasty").await? {
        println!("hasty: claims {}, and dies", claim.input()?);
        process::exit(1);
    }
    Ok(())
}

/// Claims an activity, and reports the result after the lease has expired.
async fn slow(host: &WorkflowHost, input: oneshot::Receiver<bool>) -> Result {
    let Some(mut claim) = claim(host, "slow").await? else { return Ok(()) };
    claim.heartbeat().await?; // renews the lease
    let file = claim.input()?;
    println!("slow: claims {file}, and sends one heartbeat");
    if !input.await.unwrap_or_default() {
        return Ok(());
    }
    match claim.succeed(&thumbnail(&file, "slow")).await {
        Ok(()) => println!("slow: answers for {file}"),
        Err(Error::TaskCompleted(_) | Error::LeaseExpired(_)) => {
            println!("slow: answers for {file}, too late: refused");
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// Claims the next activity that no other worker has claimed. Tries again as long as there is no such activity.
async fn claim(host: &WorkflowHost, worker: &str) -> Result<Option<Claim<String, Thumbnail>>> {
    for _ in 0..ATTEMPTS {
        if let Some(claim) = host.activities().claim(THUMBNAIL, worker, LEASE).await? {
            return Ok(Some(claim));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(None)
}

fn thumbnail(file: &str, worker: &str) -> Thumbnail {
    Thumbnail { file: file.replace(".jpg", "-small.jpg"), by: worker.into() }
}

/// Resolves when the standard input ends. The value says whether the input had any content. The input has no content if
/// the parent process has died.
fn input_end() -> oneshot::Receiver<bool> {
    let (sender, receiver) = oneshot::channel();
    // This runs on a separate thread and not on the runtime, because the runtime would wait for the read when the
    // process ends.
    thread::spawn(move || {
        let mut input = String::new();
        let has_content = io::stdin().read_to_string(&mut input).is_ok() && !input.is_empty();
        // Sending fails if the receiver was dropped.
        sender.send(has_content).ok();
    });
    receiver
}
