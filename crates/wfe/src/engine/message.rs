//! What the actors of the engine are told, and how far the host is.

use chrono::{DateTime, Utc};
use tokio::sync::watch;
use wfe_core::{Result, definition::BodyEnd};

/// What an actor is told.
pub(crate) enum Mail {
    /// The body of this pointer, and the job of this number, began then; its time is limited.
    Begun(String, u64, DateTime<Utc>),
    /// The body of this pointer ended. If it `goes_on`, that is said of its attempt only: a blocking one, for which the
    /// middleware around it has not waited.
    Ended { pointer: String, end: BodyEnd, goes_on: bool },
    /// The body of the job of this number is over without a result: it never began, or was dropped, with the program's
    /// runtime, or because it went on for too long after nobody wanted it any more; or it has gone on after its attempt.
    NotRun(u64),
    /// Items that were asked for by the `Run` that was opened as the `asker`-th: they, or why they cannot be read, from the one
    /// at the position `from` on.
    Items { asker: u64, container: String, from: u64, read: Result<Vec<serde_json::Value>> },
    /// Look at the stored instance: somebody asked something of it.
    Look,
}

/// How far the host is on its way to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It runs.
    Running,
    /// No body begins any more; those that run may end.
    Draining,
    /// The grace time is over.
    Closing,
}

pub(crate) type PhaseWatch = watch::Receiver<Phase>;
