use std::{fmt, time::Duration};

use wfe_core::WfeError;

use super::workflow_host::WorkflowHost;
use crate::engine::Engine;

/// How long the engine's thread has to respond. It does nothing that takes long, so a thread that takes longer is stuck.
const RESPONDS: Duration = Duration::from_secs(5);
/// How long a read of the store may take.
const READS: Duration = Duration::from_secs(1);
/// How long commits may fail. A host repeats a failed commit, and a store that is busy for a moment is not a problem.
const FAILS: Duration = Duration::from_secs(10);
/// An id that no instance has: ids of instances are made by the store.
const NO_INSTANCE: &str = "wfe.health";

/// Whether the engine of a host is alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Liveness {
    /// The host was not started yet.
    NotStarted,
    /// The engine's thread responds.
    Alive,
    /// The engine's thread has not responded for five seconds: it is blocked. Only a new process helps.
    Stuck,
    /// The host was stopped, or has ended because its runtime or its store is gone. It never runs again.
    Ended,
}

/// A reason why a host cannot do its work at the moment. Its text is one line for operators.
#[derive(Debug)]
#[non_exhaustive]
pub enum NotReady {
    /// The host was not started yet.
    NotStarted,
    /// The engine's thread has not responded for five seconds.
    Stuck,
    /// The host was stopped, or has ended.
    Ended,
    /// The store could not be read within one second. The error is `None` if the read has not ended yet.
    StoreUnreadable(Option<WfeError>),
    /// Commits of instances have failed for this long, which is more than ten seconds. The host repeats them.
    CommitsFail(Duration),
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted => f.write_str("the host was not started yet"),
            Self::Stuck => f.write_str("the engine's thread does not respond; restart the process"),
            Self::Ended => f.write_str("the host has ended; restart the process"),
            Self::StoreUnreadable(None) => f.write_str("the store could not be read within 1 s"),
            Self::StoreUnreadable(Some(error)) => write!(f, "the store cannot be read: {error}"),
            Self::CommitsFail(since) => {
                write!(f, "commits have failed for {} s; the log has the error", since.as_secs())
            }
        }
    }
}

/// The health of a host, for the probes of an orchestrator. The crate `wfe-web` has endpoints for them.
///
/// The calls use the timer of the runtime from which they are awaited.
impl WorkflowHost {
    /// Whether the engine's thread is alive and responds. Takes five seconds at most. Does not use the store.
    ///
    /// ```
    /// use wfe::{host::Liveness, prelude::*};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> wfe::Result<()> {
    /// let host = WorkflowHost::new(SqliteStore::new(":memory:").await?);
    /// assert_eq!(host.liveness().await, Liveness::NotStarted);
    /// host.start().await?;
    /// assert_eq!(host.liveness().await, Liveness::Alive);
    /// host.stop().await?;
    /// assert_eq!(host.liveness().await, Liveness::Ended);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn liveness(&self) -> Liveness {
        match self.engine().engine() {
            Engine::New => Liveness::NotStarted,
            Engine::Ended => Liveness::Ended,
            Engine::Running(runtime) => {
                // The task runs on the engine's thread.
                match tokio::time::timeout(RESPONDS, runtime.spawn(async {})).await {
                    Ok(Ok(())) => Liveness::Alive,
                    Ok(Err(_)) => Liveness::Ended,
                    Err(_) => Liveness::Stuck,
                }
            }
        }
    }

    /// The reasons why the host cannot do its work at the moment: it does not run, its store could not be read within a
    /// second, or its commits have failed for more than ten seconds. Empty if there is none. An instance that has failed is no
    /// reason.
    pub async fn not_ready(&self) -> Vec<NotReady> {
        let (liveness, read) =
            tokio::join!(self.liveness(), tokio::time::timeout(READS, self.store().inspect(NO_INSTANCE)));
        let engine = match liveness {
            Liveness::Alive => None,
            Liveness::NotStarted => Some(NotReady::NotStarted),
            Liveness::Stuck => Some(NotReady::Stuck),
            Liveness::Ended => Some(NotReady::Ended),
        };
        let store = match read {
            Ok(Ok(_) | Err(WfeError::WorkflowNotFound(_))) => None,
            Ok(Err(error)) => Some(NotReady::StoreUnreadable(Some(error))),
            Err(_) => Some(NotReady::StoreUnreadable(None)),
        };
        let fails = self.store().commits_fail_since().filter(|since| *since > FAILS);
        engine.into_iter().chain(store).chain(fails.map(NotReady::CommitsFail)).collect()
    }
}
