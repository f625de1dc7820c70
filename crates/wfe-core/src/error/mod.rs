mod step;

use std::{error::Error, fmt, path::PathBuf};

use crate::redact::{Redacted, redact, redact_boxed};

pub use step::StepError;
pub(crate) use step::{drop_contained, drop_payload};

/// A source error of any kind.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// What every fallible function of WFE returns.
pub type Result<T> = std::result::Result<T, WfeError>;

/// What a caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Advice {
    /// Nothing was written; the same call may succeed later.
    Retry,
    /// What the caller knows is out of date, or may be: read the stored state again before deciding.
    Reload,
    /// The same call will fail again until somebody changes something.
    GiveUp,
}

/// A kind of stored thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A workflow instance, by its id.
    Workflow,
    /// A workflow instance, by its name.
    WorkflowName,
    /// An event.
    Event,
    /// An event subscription.
    Subscription,
    /// An execution pointer within its instance.
    Pointer,
    /// A schedule that starts workflows.
    Schedule,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Workflow => "workflow",
            Self::WorkflowName => "workflow name",
            Self::Event => "event",
            Self::Subscription => "subscription",
            Self::Pointer => "execution pointer",
            Self::Schedule => "schedule",
        })
    }
}

/// Everything that can go wrong with a store or an engine.
///
/// Unless a variant says otherwise, an error leaves the store as it was before the call. [`advice`](Self::advice)
/// tells what to do without reading text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WfeError {
    /// No instance has this id (or name).
    #[error("no workflow {0:?} in this store")]
    WorkflowNotFound(String),
    /// No schedule has this id.
    #[error("no schedule {0:?} in this store")]
    ScheduleNotFound(String),
    /// No definition of this id and version is registered here.
    #[error("{} of workflow definition {id:?} is registered with this host", no_version(*version))]
    DefinitionNotFound {
        /// The definition's id.
        id: String,
        /// The version asked for; 0: any would have done.
        version: u32,
    },
    /// No event has this id.
    #[error("no event {0:?} in this store")]
    EventNotFound(String),
    /// No subscription has this id, or none with this token, or it is no longer open. To a worker, or a person who
    /// answers: the lease has run out, or what they work on was answered already, given to somebody else or taken away.
    #[error(
        "{0:?} is not open any more, or not for this caller: it was answered or taken away, its lease has run out, \
         or it never was"
    )]
    SubscriptionNotFound(String),
    /// The definition has no step in this position.
    #[error("the definition has no step {0}")]
    StepNotFound(usize),
    /// A lock could not be taken.
    #[error("could not take the lock {0:?}")]
    LockFailed(String),
    /// The store failed in a way that no other variant describes.
    #[error("the store failed: {0}")]
    Persistence(String),
    /// A value could not be turned into JSON or back. Told without the text of the error, which can quote the value: made by
    /// `?`, it holds none ([`redact`](crate::redact())).
    #[error("a value does not fit its type: {}", Redacted(.0))]
    Serialization(#[source] serde_json::Error),
    /// A step's body failed.
    #[error("the step failed: {0}")]
    StepExecution(String),
    /// The work was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// An error from elsewhere.
    #[error(transparent)]
    Other(BoxError),

    /// The id or name is taken.
    #[error("{kind} {id:?} exists already; choose another id, or read the stored one")]
    AlreadyExists {
        /// What there is already.
        kind: Kind,
        /// Its id or name.
        id: String,
    },
    /// Somebody else held the store for longer than the configured wait, or more was asked of it than it could take in that
    /// time. Nothing was written.
    #[error("the store is busy ({message}); try again")]
    Busy {
        /// What was waited for.
        message: String,
        /// The store's own error.
        #[source]
        source: Option<BoxError>,
    },
    /// An I/O error or a deadline struck the commit itself, or the store was found to be lost right after it: the change
    /// **may or may not** become durable, even after a later crash. Reload before deciding; of a store that is lost, the
    /// reload says so ([`Unusable`](Self::Unusable)), and there is nothing left to decide.
    #[error("the outcome of the commit is unknown ({message}); read the stored state before deciding")]
    CommitUnknown {
        /// What struck.
        message: String,
        /// The store's own error.
        #[source]
        source: Option<BoxError>,
    },
    /// The store has no room left.
    #[error("the store is full ({message}); free some space and try again")]
    Full {
        /// What is full.
        message: String,
        /// The store's own error.
        #[source]
        source: Option<BoxError>,
    },
    /// A stored value does not decode, contradicts another one, or lets no write through. Nothing else of the store is affected.
    #[error(
        "the stored value in {table}.{column}, row {row}, is corrupt ({message}); mend or remove that row"
    )]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The column; `*`: which one, the store cannot tell.
        column: &'static str,
        /// The row: its id, or its row number. Of the column `*`: the instance (or, of waits, the wait) that could not be written,
        /// by its id, to which rows of that table belong.
        row: String,
        /// What is wrong with it.
        message: String,
        /// The decoder's own error.
        #[source]
        source: Option<BoxError>,
    },
    /// A newer version of WFE wrote this store; it was left untouched.
    #[error("{location} has schema version {found}, this program knows up to {supported}; use a newer WFE")]
    SchemaTooNew {
        /// Which store.
        location: String,
        /// The version found.
        found: i64,
        /// The newest version that this program knows.
        supported: i64,
    },
    /// The store cannot be opened: missing folder, not a database, another program's database, read-only, … Or it was
    /// open, and is lost: its file was removed, renamed, replaced or damaged under it.
    ///
    /// From a store that was open it is final: nothing was written, nothing is any more, and every later call says the same,
    /// until the store is opened anew. A host whose store says so ends, so a store must not give it for what may pass by
    /// itself. Only an owner's own file may be meant by [`register`](crate::traits::StepStore::register) and
    /// [`heartbeat`](crate::traits::StepStore::heartbeat), which end no host.
    #[error("cannot use {}: {reason}", path.display())]
    Unusable {
        /// Which file or address.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
        /// The underlying error.
        #[source]
        source: Option<BoxError>,
    },
    /// A value cannot be stored exactly, and was refused rather than rounded.
    #[error("{what} cannot be stored: {reason}")]
    Unstorable {
        /// Which value.
        what: String,
        /// Why not.
        reason: String,
        /// The underlying error.
        #[source]
        source: Option<BoxError>,
    },
    /// An argument makes no sense.
    #[error("invalid argument: {0}")]
    Invalid(String),
    /// The store does not offer what was asked for; it need not.
    #[error("this store does not offer {0}; use one that does")]
    Unsupported(&'static str),
    /// Somebody else owns the instance now: what this owner computed is void.
    #[error("workflow {0:?} has another owner now; what was computed here is void")]
    LostOwnership(String),
    /// Others cannot see any more that this owner lives, or could not at some time: they may take over whatever it has.
    /// Nothing was written. What it has under way goes on until a commit says otherwise; for what is to come, register a new
    /// owner. The store logs it once, as an error, when it finds it; a host, which goes on as another owner, logs nothing
    /// more.
    #[error("owner {owner} may be dead to others ({reason}); register a new one")]
    OwnerLost {
        /// Which owner.
        owner: u64,
        /// What became of its sign of life.
        reason: String,
    },
    /// A status change that makes no sense.
    #[error("{change} is not possible in status {from}")]
    IllegalTransition {
        /// The current status.
        from: String,
        /// The change asked for.
        change: String,
    },
    /// The definition contradicts itself.
    #[error("workflow definition {definition:?}: {problem}")]
    InvalidDefinition {
        /// The definition's id.
        definition: String,
        /// What is wrong, naming the step.
        problem: String,
    },
    /// The store or host was closed.
    #[error("{0} is closed")]
    Closed(&'static str),
    /// The store failed, and says how: an I/O error, a damaged file, a full memory, …
    #[error("the store failed: {message}")]
    Storage {
        /// What it was doing.
        message: String,
        /// The store's own error.
        #[source]
        source: Option<BoxError>,
    },
}

fn no_version(version: u32) -> String {
    if version == 0 { "no version".to_owned() } else { format!("no version {version}") }
}

impl From<serde_json::Error> for WfeError {
    fn from(error: serde_json::Error) -> Self {
        Self::Serialization(redact(error))
    }
}

impl From<BoxError> for WfeError {
    fn from(error: BoxError) -> Self {
        Self::Other(redact_boxed(error))
    }
}

impl WfeError {
    /// What the caller can do. Whatever is not known to pass is [`Advice::GiveUp`].
    #[must_use]
    pub fn advice(&self) -> Advice {
        match self {
            Self::Busy { .. } | Self::LockFailed(_) | Self::Full { .. } => Advice::Retry,
            Self::CommitUnknown { .. }
            | Self::LostOwnership(_)
            | Self::OwnerLost { .. }
            | Self::AlreadyExists { .. } => Advice::Reload,
            _ => Advice::GiveUp,
        }
    }
}
