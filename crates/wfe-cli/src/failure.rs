//! How a command ends other than well, and the exit codes.

use std::io;

use wfe::WfeError;

pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// The exit codes of the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    Done = 0,
    /// A filter was given and nothing matched; the store is unsound; what was waited for ended badly.
    Nothing = 1,
    Usage = 2,
    NotFound = 3,
    Refused = 4,
    Busy = 5,
    Unusable = 6,
    Partly = 7,
    Interrupted = 130,
}

/// Why a command ended.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// What is printed to standard error. `None` means that the output has said it.
    pub(crate) message: Option<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: Some(message.into()) }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Ends with this code; the output has said why.
    pub(crate) fn silent(exit: Exit) -> Self {
        Self { exit, message: None }
    }

    /// The error of an action. An argument that an action refuses is a refusal: the command line itself was sound.
    pub(crate) fn of_action(error: WfeError) -> Self {
        let is_invalid = matches!(error, WfeError::Invalid(_));
        let failure = Self::from(error);
        if is_invalid { Self { exit: Exit::Refused, ..failure } } else { failure }
    }
}

impl From<WfeError> for Failure {
    fn from(error: WfeError) -> Self {
        let message = match &error {
            WfeError::SchemaTooOld { .. } => {
                format!("{error}: `wfe upgrade` does it, and asks first; questions need no upgrade")
            }
            WfeError::Invalid(message) => message.clone(),
            _ => error.to_string(),
        };
        Self::new(exit_of(&error), message)
    }
}

fn exit_of(error: &WfeError) -> Exit {
    match error {
        WfeError::WorkflowNotFound(_)
        | WfeError::ScheduleNotFound(_)
        | WfeError::DefinitionNotFound { .. }
        | WfeError::OutlineNotFound { .. }
        | WfeError::EventNotFound(_)
        | WfeError::SubscriptionNotFound(_) => Exit::NotFound,
        WfeError::Invalid(_)
        | WfeError::Ambiguous { .. }
        | WfeError::Serialization(_)
        | WfeError::Unstorable { .. } => Exit::Usage,
        WfeError::Busy { .. } => Exit::Busy,
        WfeError::Cancelled => Exit::Interrupted,
        WfeError::Unusable { .. }
        | WfeError::SchemaTooNew { .. }
        | WfeError::Corrupt { .. }
        | WfeError::Full { .. }
        | WfeError::CommitUnknown { .. }
        | WfeError::Storage { .. }
        | WfeError::Persistence(_)
        | WfeError::Closed(_) => Exit::Unusable,
        // The store or a rule says no: a state, a right, a store that may not be written.
        _ => Exit::Refused,
    }
}

/// Writing to standard output failed. A reader that has seen enough closes the pipe, which is a quiet end.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::silent(Exit::Done)
        } else {
            Self::new(Exit::Unusable, format!("cannot write the output: {error}"))
        }
    }
}
