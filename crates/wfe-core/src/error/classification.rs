use std::fmt;

use super::WfeError;

/// What a caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Advice {
    /// Nothing was written; the same call may succeed later.
    Retry,
    /// The caller's information is, or may be, out of date. Read the stored state again before deciding.
    Reload,
    /// The same call will fail again until the cause is removed.
    GiveUp,
}

/// The part of WFE that an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Family {
    /// A workflow definition, or a step of it.
    Definition,
    /// The store: its file, its rows, its commits.
    Store,
    /// The host: a request to it, or its ownership of instances.
    Host,
    /// An activity or a user task that the caller can no longer complete.
    Worker,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Definition => "definition",
            Self::Store => "store",
            Self::Host => "host",
            Self::Worker => "worker",
        })
    }
}

impl WfeError {
    /// The part of WFE that the error is about.
    #[must_use]
    pub fn family(&self) -> Family {
        self.classification().0
    }

    /// A stable name of the variant, unique among all families, for logs, metrics and programs in other languages:
    /// `busy`, `lease-expired`, …
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.classification().1
    }

    /// What the caller can do: retry, reload or give up. The advice is [`Advice::GiveUp`] unless a retry or a reload is
    /// known to help.
    #[must_use]
    pub fn advice(&self) -> Advice {
        self.classification().2
    }

    fn classification(&self) -> (Family, &'static str, Advice) {
        use Advice::{GiveUp, Reload, Retry};
        use Family::{Definition, Host, Store, Worker};
        match self {
            Self::DefinitionNotFound { .. } => (Definition, "definition-not-found", GiveUp),
            Self::InvalidDefinition { .. } => (Definition, "invalid-definition", GiveUp),
            Self::StepNotFound(_) => (Definition, "step-not-found", GiveUp),
            Self::StepExecution(_) => (Definition, "step-execution", GiveUp),
            Self::Serialization(_) => (Definition, "serialization", GiveUp),

            Self::WorkflowNotFound(_) => (Store, "workflow-not-found", GiveUp),
            Self::Ambiguous { .. } => (Store, "ambiguous", GiveUp),
            Self::OutlineNotFound { .. } => (Definition, "outline-not-found", GiveUp),
            Self::ScheduleNotFound(_) => (Store, "schedule-not-found", GiveUp),
            Self::EventNotFound(_) => (Store, "event-not-found", GiveUp),
            Self::SubscriptionNotFound(_) => (Store, "subscription-not-found", GiveUp),
            Self::AlreadyExists { .. } => (Store, "already-exists", Reload),
            Self::AlreadyStarted { .. } => (Host, "already-started", Reload),
            Self::CannotRetry { reason, .. } => (Host, "cannot-retry", reason.advice()),
            Self::LockFailed(_) => (Store, "lock-failed", Retry),
            Self::Busy { .. } => (Store, "busy", Retry),
            Self::Full { .. } => (Store, "full", Retry),
            Self::CommitUnknown { .. } => (Store, "commit-unknown", Reload),
            Self::Corrupt { .. } => (Store, "corrupt", GiveUp),
            Self::SchemaTooNew { .. } => (Store, "schema-too-new", GiveUp),
            Self::SchemaTooOld { .. } => (Store, "schema-too-old", GiveUp),
            Self::ReadOnly { .. } => (Store, "read-only", GiveUp),
            Self::Unusable { .. } => (Store, "unusable", GiveUp),
            Self::Unstorable { .. } => (Store, "unstorable", GiveUp),
            Self::Unsupported(_) => (Store, "unsupported", GiveUp),
            Self::Storage { .. } => (Store, "storage", GiveUp),
            Self::Persistence(_) => (Store, "persistence", GiveUp),

            Self::Invalid(_) => (Host, "invalid", GiveUp),
            Self::Forbidden { .. } => (Host, "forbidden", GiveUp),
            Self::IllegalTransition { .. } => (Host, "illegal-transition", GiveUp),
            Self::LostOwnership(_) => (Host, "lost-ownership", Reload),
            Self::OwnerLost { .. } => (Host, "owner-lost", Reload),
            Self::Cancelled => (Host, "cancelled", GiveUp),
            Self::Closed(_) => (Host, "closed", GiveUp),
            Self::NotCompleted { .. } => (Host, "not-completed", GiveUp),
            Self::NoEffect { .. } => (Host, "no-effect", Reload),
            Self::Other(_) => (Host, "other", GiveUp),

            Self::TaskCompleted(_) => (Worker, "task-completed", GiveUp),
            Self::TaskCancelled(_) => (Worker, "task-cancelled", GiveUp),
            Self::LeaseExpired(_) => (Worker, "lease-expired", Reload),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, path::PathBuf};

    use super::*;
    use crate::{Kind, NoEffectReason, RetryRefusal, error::Ending};

    /// One error of each variant, all with the same text.
    fn all() -> Vec<WfeError> {
        let (text, source) = (|| "x".to_owned(), || None);
        let json = serde_json::from_str::<u8>("x").unwrap_err();
        vec![
            WfeError::DefinitionNotFound { id: text(), version: 1 },
            WfeError::InvalidDefinition { definition: text(), problem: text() },
            WfeError::StepNotFound(1),
            WfeError::NotCompleted { ending: Ending::Failed, failure: None },
            WfeError::NoEffect { id: text(), request: "x", reason: NoEffectReason::NotSuspended },
            WfeError::StepExecution(text()),
            WfeError::Serialization(json),
            WfeError::WorkflowNotFound(text()),
            WfeError::ScheduleNotFound(text()),
            WfeError::Ambiguous { text: text(), candidates: vec![text()] },
            WfeError::OutlineNotFound { id: text(), version: 1 },
            WfeError::EventNotFound(text()),
            WfeError::SubscriptionNotFound(text()),
            WfeError::AlreadyExists { kind: Kind::Event, id: text() },
            WfeError::AlreadyStarted { reference: text(), id: text() },
            WfeError::CannotRetry { id: text(), reason: RetryRefusal::NotEnded },
            WfeError::LockFailed(text()),
            WfeError::Busy { message: text(), source: source() },
            WfeError::Full { message: text(), source: source() },
            WfeError::CommitUnknown { message: text(), source: source() },
            WfeError::Corrupt { table: "x", column: "x", row: text(), message: text(), source: source() },
            WfeError::SchemaTooNew { location: text(), found: 1, supported: 1 },
            WfeError::SchemaTooOld { location: text(), found: 1, needed: 1 },
            WfeError::ReadOnly { location: text() },
            WfeError::Unusable { path: PathBuf::from("x"), reason: text(), source: source() },
            WfeError::Unstorable { what: text(), reason: text(), source: source() },
            WfeError::Unsupported("x"),
            WfeError::Storage { message: text(), source: source() },
            WfeError::Persistence(text()),
            WfeError::Invalid(text()),
            WfeError::Forbidden { actor: text(), action: text(), role: text() },
            WfeError::IllegalTransition { from: text(), change: text() },
            WfeError::LostOwnership(text()),
            WfeError::OwnerLost { owner: 1, reason: text() },
            WfeError::Cancelled,
            WfeError::Closed("x"),
            WfeError::Other("x".into()),
            WfeError::TaskCompleted(text()),
            WfeError::TaskCancelled(text()),
            WfeError::LeaseExpired(text()),
        ]
    }

    #[test]
    fn no_two_variants_have_the_same_code_or_print_the_same_words() {
        let (all, mut codes, mut texts) = (all(), HashSet::new(), HashSet::new());
        for error in &all {
            assert!(codes.insert(error.code()), "{} twice", error.code());
            assert!(texts.insert(error.to_string()), "{error} twice");
        }
        // The compiler demands a match arm for each variant, so the number of arms shows whether `all` contains every
        // variant.
        let arms = include_str!("classification.rs")
            .lines()
            .filter(|line| line.trim_start().starts_with("Self::") && line.contains(" => ("));
        assert_eq!(all.len(), arms.count());
    }

    #[test]
    fn an_error_names_its_family_and_what_to_do() {
        let late = WfeError::LeaseExpired("a".to_owned());
        assert_eq!(
            (late.family(), late.code(), late.advice()),
            (Family::Worker, "lease-expired", Advice::Reload)
        );
        let busy = WfeError::Busy { message: String::new(), source: None };
        assert_eq!((busy.family(), busy.advice()), (Family::Store, Advice::Retry));
        assert_eq!(Family::Definition.to_string(), "definition");
    }
}
