//! The process of a worker. It needs the store and the name of the activity, nothing else of the workflow.

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

/// For how long the hasty and the slow worker have what they claim. Short, so that nobody waits long for the next one;
/// that of the steady one is the default, 30 s.
const LEASE: Duration = Duration::from_millis(300);
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// How often a worker looks that finds nothing, before it goes.
const LOOKS: usize = 500;

/// How a worker works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// As it should.
    Steady,
    /// Claims, and dies.
    Hasty,
    /// Claims, and answers when its lease has run out.
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
        found.ok_or_else(|| format!("no worker is {name:?}: it is steady, hasty or slow"))
    }
}

pub async fn work(db: &Path, manner: Manner) -> Result<(), Failure> {
    // Not started: it runs no workflows.
    let host = WorkflowHost::new(SqlitePersistenceProvider::file(db).open().await?);
    let told = told();
    match manner {
        Manner::Steady => steady(&host, told).await,
        Manner::Hasty => {
            if let Some(claim) = claim(&host, manner).await? {
                println!("hasty: claims {}, and dies", claim.input::<String>()?);
                process::exit(1);
            }
            Ok(())
        }
        Manner::Slow => {
            let Some(mut claim) = claim(&host, manner).await? else { return Ok(()) };
            claim.heartbeat().await?; // the lease begins anew
            let file: String = claim.input()?;
            println!("slow: claims {file}, and gives one sign of life");
            if !told.await.unwrap_or_default() {
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

/// Works on what comes until it is told to end, and finishes what it works on then. However long the work takes, a heartbeat
/// renews the lease meanwhile.
async fn steady(host: &WorkflowHost, told: oneshot::Receiver<bool>) -> Result<(), Failure> {
    let worker = host.activities().worker(THUMBNAIL, Manner::Steady.name());
    let work = worker.run_until(told, |file: String, _ctx| async move {
        println!("steady: makes a thumbnail of {file}");
        Ok::<_, StepError>(thumbnail(&file, Manner::Steady))
    });
    Ok(work.await?)
}

/// The next activity that nobody has, or whose lease has run out.
async fn claim(host: &WorkflowHost, manner: Manner) -> Result<Option<ActivityClaim>, Failure> {
    for _ in 0..LOOKS {
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

/// Resolves when the standard input ends: to whether something was said before. It ends without a word if whoever
/// started this process has died.
fn told() -> oneshot::Receiver<bool> {
    let (tell, told) = oneshot::channel();
    // Not on the runtime, which would wait for it at the end of the process.
    thread::spawn(move || {
        let mut said = String::new();
        let is_said = io::stdin().read_to_string(&mut said).is_ok() && !said.is_empty();
        // Nobody may want to know any more.
        tell.send(is_said).ok();
    });
    told
}
