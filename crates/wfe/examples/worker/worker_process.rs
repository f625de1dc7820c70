//! The process of a worker. A worker needs only the store and the name of the activity, not the workflow.

use std::{
    io::{self, Read},
    path::Path,
    process,
    str::FromStr,
    thread,
    time::Duration,
};

use tokio::sync::oneshot;
use wfe::{ActivityClaim, WfeError, WorkflowHost, steps::StepError};
use wfe_sqlite::SqlitePersistenceProvider;

use crate::{
    common::Failure,
    workflow::{THUMBNAIL, Thumbnail},
};

/// The lease of the hasty worker and of the slow worker. The lease is short, so that the next worker need not wait
/// long. The steady worker has the default lease of 30 s.
const LEASE: Duration = Duration::from_millis(300);
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// How many times a worker tries to claim an activity before it gives up.
const ATTEMPTS: usize = 500;

/// How a worker behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Claims an activity, does the work, and reports the result.
    Steady,
    /// Claims an activity, and then crashes.
    Hasty,
    /// Claims an activity, and reports the result after the lease has expired.
    Slow,
}

impl Manner {
    pub fn name(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Hasty => "hasty",
            Self::Slow => "slow",
        }
    }
}

impl FromStr for Manner {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let all = [Self::Steady, Self::Hasty, Self::Slow];
        let found = all.into_iter().find(|manner| manner.name() == name);
        found.ok_or_else(|| format!("no worker is {name:?}; choose steady, hasty or slow"))
    }
}

pub async fn work(db: &Path, manner: Manner) -> Result<(), Failure> {
    // The host is not started, because it runs no workflows.
    let host = WorkflowHost::new(SqlitePersistenceProvider::file(db).open().await?);
    let input = input_end();
    match manner {
        Manner::Steady => steady(&host, input).await,
        Manner::Hasty => {
            if let Some(claim) = claim(&host, manner).await? {
                println!("hasty: claims {}, and dies", claim.input::<String>()?);
                process::exit(1);
            }
            Ok(())
        }
        Manner::Slow => {
            let Some(mut claim) = claim(&host, manner).await? else { return Ok(()) };
            claim.heartbeat().await?; // renews the lease
            let file: String = claim.input()?;
            println!("slow: claims {file}, and sends one heartbeat");
            if !input.await.unwrap_or_default() {
                return Ok(());
            }
            match claim.succeed(&thumbnail(&file, manner)).await {
                Ok(()) => println!("slow: answers for {file}"),
                Err(WfeError::TaskCompleted(_) | WfeError::LeaseExpired(_)) => {
                    println!("slow: answers for {file}, too late: refused");
                }
                Err(error) => return Err(error.into()),
            }
            Ok(())
        }
    }
}

/// Does activities until the standard input ends, and then finishes the activities that are running. Heartbeats renew
/// the lease of an activity for as long as it runs.
async fn steady(host: &WorkflowHost, input: oneshot::Receiver<bool>) -> Result<(), Failure> {
    let worker = host.activities().worker(THUMBNAIL, Manner::Steady.name());
    let work = worker.run_until(input, |file: String, _ctx| async move {
        println!("steady: makes a thumbnail of {file}");
        Ok::<_, StepError>(thumbnail(&file, Manner::Steady))
    });
    Ok(work.await?)
}

/// Claims the next activity that no other worker has claimed. Tries again as long as there is no such activity.
async fn claim(host: &WorkflowHost, manner: Manner) -> Result<Option<ActivityClaim>, Failure> {
    for _ in 0..ATTEMPTS {
        if let Some(claim) = host.activities().claim(THUMBNAIL, manner.name(), LEASE).await? {
            return Ok(Some(claim));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(None)
}

fn thumbnail(file: &str, manner: Manner) -> Thumbnail {
    Thumbnail { file: file.replace(".jpg", "-small.jpg"), by: manner.name().to_owned() }
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
