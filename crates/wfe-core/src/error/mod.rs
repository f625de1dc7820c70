mod classification;
mod control;
mod execution_error;
mod failure;
mod no_effect;
mod retry_refusal;
mod step;

use std::{error::Error, fmt, path::PathBuf};

use crate::redact::{Redacted, redact, redact_boxed};

pub use classification::{Advice, Family};
pub use control::Control;
pub use execution_error::ExecutionError;
pub use failure::{Ending, StepFailure, StoredFailure};
pub use no_effect::NoEffectReason;
pub use retry_refusal::RetryRefusal;
pub use step::{StepError, StepResultExt};
pub(crate) use step::{drop_contained, drop_payload};

/// A source error of any kind.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// The result of every fallible function of WFE.
pub type Result<T, E = WfeError> = std::result::Result<T, E>;

/// A kind of stored object.
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

impl Kind {
    /// What a caller can do if the id or name is in use.
    fn advice(self) -> &'static str {
        match self {
            Self::Workflow | Self::Subscription | Self::Pointer => {
                "choose another id, or read the stored one"
            }
            Self::WorkflowName => "choose another name, or start the instance without a name",
            Self::Event => {
                "`publish` accepts a known id only with the same name and key; choose another id for another event"
            }
            Self::Schedule => "change it with `create_or_replace` or `update`, or choose another id",
        }
    }
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

/// Every error of WFE, in four [families](Self::family): definition, store, host and worker.
///
/// [`code`](Self::code) identifies an error without parsing its message, and [`advice`](Self::advice) says what the
/// caller can do: retry, reload or give up. Unless a variant says otherwise, a call that returns an error has not
/// changed the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WfeError {
    /// No instance has this id or name.
    #[error("no workflow {0:?} in this store")]
    WorkflowNotFound(String),
    /// No schedule has this id.
    #[error("no schedule {0:?} in this store")]
    ScheduleNotFound(String),
    /// No definition with this id and version is registered with this host.
    #[error("{} of workflow definition {id:?} is registered with this host", no_version(*version))]
    DefinitionNotFound {
        /// The definition's id.
        id: String,
        /// The requested version; 0 means any version.
        version: u32,
    },
    /// Several instances match what an operator has written for one of them.
    #[error("{text:?} fits several instances: {}; write more of the id", candidates.join(", "))]
    Ambiguous {
        /// What the operator has written.
        text: String,
        /// The ids of instances that match, the newest first, at most five. More instances may match.
        candidates: Vec<String>,
    },
    /// No outline of this definition is stored. A host stores the outlines of its definitions when it starts.
    #[error("the store has no outline of {} of workflow definition {id:?}; start a host that has it once", any_version(*version))]
    OutlineNotFound {
        /// The definition's id.
        id: String,
        /// The version; 0 means any version.
        version: u32,
    },
    /// No event has this id.
    #[error("no event {0:?} in this store")]
    EventNotFound(String),
    /// No subscription has this id, the subscription is closed, or a caller with another token holds it. The calls of
    /// workers and people return a more specific error: [`TaskCompleted`](Self::TaskCompleted),
    /// [`TaskCancelled`](Self::TaskCancelled) or [`LeaseExpired`](Self::LeaseExpired).
    #[error("subscription {0:?} does not exist, is closed, or is held by another caller")]
    SubscriptionNotFound(String),
    /// The activity or user task was already completed, so this answer has no effect.
    #[error("task {0:?} is no longer open: already completed")]
    TaskCompleted(String),
    /// The instance no longer waits for the activity or user task, because the step was cancelled or the time limit of
    /// the task passed. The answer has no effect.
    #[error("task {0:?} is no longer open: cancelled, or past its time limit")]
    TaskCancelled(String),
    /// The worker's lease on the activity expired. Nothing was written. Claim the activity again; another worker may
    /// have claimed it meanwhile.
    #[error("the lease of task {0:?} has expired; claim it again")]
    LeaseExpired(String),
    /// The instance has ended, but it did not complete.
    #[error("the instance has not completed: {}", ending.because(failure.as_deref()))]
    NotCompleted {
        /// How the instance ended.
        ending: Ending,
        /// The failure that ended the instance. `None` means that no failure ended it: it was cancelled or
        /// terminated.
        failure: Option<Box<StepFailure>>,
    },
    /// The request cannot have an effect. Nothing was written.
    #[error("cannot {request} workflow {id:?}: {reason}; {}", reason.advice(request))]
    NoEffect {
        /// The id of the instance.
        id: String,
        /// The verb that was requested, as the host's method is named: `suspend`, `resume_from`, …
        request: &'static str,
        /// Why the request cannot have an effect.
        reason: NoEffectReason,
    },
    /// The definition has no step at this position.
    #[error("the definition has no step {0}")]
    StepNotFound(usize),
    /// A lock could not be acquired.
    #[error("could not take the lock {0:?}")]
    LockFailed(String),
    /// A fault of the store that no other variant describes. Stores use this variant if they have no source error.
    #[error("store error: {0}")]
    Persistence(String),
    /// A value could not be converted to JSON or back. The message leaves out the text of the source error, because
    /// that text can quote the value. If `?` converted the source error, the quoted value was removed from the source
    /// error too ([`redact`](crate::redact())).
    #[error("a value could not be converted to or from JSON: {}", Redacted(.0))]
    Serialization(#[source] serde_json::Error),
    /// The body of a step failed.
    #[error("the step failed: {0}")]
    StepExecution(String),
    /// The work was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// An error of the program or of another library.
    #[error(transparent)]
    Other(BoxError),

    /// An instance cannot be retried, or cannot be restarted. Nothing was written.
    #[error("instance {id:?} cannot run again: {reason}")]
    CannotRetry {
        /// The id of the instance.
        id: String,
        /// Why, and what to do.
        reason: RetryRefusal,
    },
    /// The reference is known, and the start asked to refuse it ([`Known::Refuse`](crate::traits::Known::Refuse)).
    /// Nothing was written.
    #[error(
        "reference {reference:?} was used before, by instance {id:?}; use that instance, or choose another reference"
    )]
    AlreadyStarted {
        /// The reference.
        reference: String,
        /// The id of the instance that was started with the reference.
        id: String,
    },

    /// The id or name is already in use.
    #[error("{kind} {id:?} exists already; {}", kind.advice())]
    AlreadyExists {
        /// The kind of object that already exists.
        kind: Kind,
        /// The id or name that is already in use.
        id: String,
    },
    /// The store was locked by other processes, or its queue of requests was full, for longer than the configured wait.
    /// Nothing was written.
    #[error("the store is busy ({message}); try again")]
    Busy {
        /// What the call waited for.
        message: String,
        /// The store's own error.
        #[source]
        source: Option<BoxError>,
    },
    /// An I/O error or a deadline interrupted the commit itself, or a check right after the commit found that the store
    /// is lost. The change **may or may not** become durable, even after a later crash. Reload the stored state before
    /// deciding. If the store is lost, the reload returns [`Unusable`](Self::Unusable), and there is nothing left to
    /// decide.
    #[error("the outcome of the commit is unknown ({message}); read the stored state before deciding")]
    CommitUnknown {
        /// What interrupted the commit.
        message: String,
        /// The store's own error.
        #[source]
        source: Option<BoxError>,
    },
    /// The disk, or the configured size of the store, is exhausted. Nothing was written.
    #[error("the store is full ({message}); free some space and try again")]
    Full {
        /// What is full.
        message: String,
        /// The store's own error.
        #[source]
        source: Option<BoxError>,
    },
    /// A stored value does not decode, contradicts another stored value, or makes every write fail. No other row is
    /// affected.
    #[error(
        "the stored value in {table}.{column}, row {row}, is corrupt ({message}); repair or remove that row"
    )]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The column, or `*` if the store cannot tell which column is corrupt.
        column: &'static str,
        /// The id or the row number of the row. If the column is `*`, this is the id of the instance or the
        /// subscription whose rows in the table could not be written.
        row: String,
        /// What is wrong with the stored value.
        message: String,
        /// The decoder's own error.
        #[source]
        source: Option<BoxError>,
    },
    /// A newer version of WFE wrote this store. The store was left unchanged.
    #[error(
        "{location} has schema version {found}, but this program supports up to {supported}; use a newer WFE"
    )]
    SchemaTooNew {
        /// The location of the store.
        location: String,
        /// The schema version of the store.
        found: i64,
        /// The newest version that this program knows.
        supported: i64,
    },
    /// An earlier version of WFE wrote this store, and the store was opened without permission to upgrade it. The store
    /// is unchanged.
    #[error("{location} has schema version {found}, and this call needs {needed}; upgrade the store")]
    SchemaTooOld {
        /// The file of the store.
        location: String,
        /// The schema version of the store.
        found: i64,
        /// The schema version that the call needs.
        needed: i64,
    },
    /// The store was opened for reading only.
    #[error("{location} was opened for reading only, so nothing can be changed; open it for writing")]
    ReadOnly {
        /// The file of the store.
        location: String,
    },
    /// The operator may not do this. Nothing was written.
    #[error("{actor} may not {action} ({role}); ask somebody who may")]
    Forbidden {
        /// Who acted.
        actor: String,
        /// The action, as it is called in the record of actions.
        action: String,
        /// The role of the actor, or what has refused the action.
        role: String,
    },
    /// The store cannot be opened, or an open store is lost. Reasons why a store cannot be opened include a missing
    /// folder, a file that is not a database, another program's database, and a read-only file. An open store is lost
    /// if its file was removed, renamed, replaced or damaged.
    ///
    /// The loss of an open store is final: the call wrote nothing, and every later call returns the same error until
    /// the store is opened again. A host ends when its store returns this error, so a store must not return this error
    /// for a temporary condition. [`register`](crate::traits::StepStore::register) and
    /// [`heartbeat`](crate::traits::StepStore::heartbeat) can also return this error because of the owner's lock file.
    /// In that case, the host does not end.
    #[error("cannot use {}: {reason}", path.display())]
    Unusable {
        /// The file or the address of the store.
        path: PathBuf,
        /// Why the store cannot be used, and what to do.
        reason: String,
        /// The underlying error.
        #[source]
        source: Option<BoxError>,
    },
    /// A value cannot be stored exactly. The store refuses the value instead of rounding it.
    #[error("{what} cannot be stored: {reason}")]
    Unstorable {
        /// Which value cannot be stored.
        what: String,
        /// Why the value cannot be stored.
        reason: String,
        /// The underlying error.
        #[source]
        source: Option<BoxError>,
    },
    /// An argument is not valid.
    #[error("invalid argument: {0}")]
    Invalid(String),
    /// The store does not implement an optional part of the contract.
    #[error("this store does not support {0}; use one that does")]
    Unsupported(&'static str),
    /// Another owner has taken over the instance: this owner's commit was refused, and its result is discarded.
    #[error("another owner has taken over workflow {0:?}; the result computed here was discarded")]
    LostOwnership(String),
    /// Other processes cannot see, or could not see for some time, that this owner is alive, so they may take over its
    /// instances. Nothing was written. Running instances continue until one of their commits is refused. New work needs
    /// a new owner. The store logs this once, as an error. A host registers a new owner automatically and logs nothing
    /// more.
    #[error("other processes may consider owner {owner} dead ({reason}); register a new owner")]
    OwnerLost {
        /// The owner whose lock file no longer proves that it is alive.
        owner: u64,
        /// What happened to the owner's lock file.
        reason: String,
    },
    /// The status does not permit this change.
    #[error("{change} is not possible in status {from}")]
    IllegalTransition {
        /// The current status.
        from: String,
        /// The requested change.
        change: String,
    },
    /// The definition is invalid, or its id and version are already registered.
    #[error("workflow definition {definition:?}: {problem}")]
    InvalidDefinition {
        /// The definition's id.
        definition: String,
        /// A description of what is wrong, which names the step.
        problem: String,
    },
    /// The store or host was closed.
    #[error("{0} is closed")]
    Closed(&'static str),
    /// The store failed with an error of its own, such as an I/O error, a damaged file or exhausted memory.
    #[error("the store failed: {message}")]
    Storage {
        /// What the store was doing.
        message: String,
        /// The store's own error.
        #[source]
        source: Option<BoxError>,
    },
}

fn any_version(version: u32) -> String {
    if version == 0 { "any version".to_owned() } else { format!("version {version}") }
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
