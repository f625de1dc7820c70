//! The state of a saga, stored with its execution pointer: the round, the length of the log, and the progress of the
//! compensation.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize, de::IgnoredAny};

use crate::{
    Result,
    executor::{Kept, Spoilt, run::Run},
    models::{ExecutionPointer, PointerStatus, attributes, pointer_id},
    program::kind,
    traits::{Ending, StoredFailure},
};

/// The state of a saga, as its execution pointer stores it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(in crate::executor) struct SagaState {
    /// The number of the current round. The first round has number 1.
    pub round: u32,
    /// The length of the log when the round began.
    pub from: u64,
    /// The length of the log. Only an outermost saga has a log.
    pub log: u64,
    /// The entries whose compensation was cut short. Each key is the number of an entry, and its value is the step that
    /// the compensation of the entry had reached. Only an outermost saga has such entries.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cut_short: BTreeMap<u64, String>,
    /// The progress of the compensation, or `None` if the saga is not being compensated.
    #[serde(rename = "undoing")]
    pub compensating: Option<Compensating>,
}

/// For fields that are stored only if they are set.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
pub(in crate::executor) fn is_false(flag: &bool) -> bool {
    !*flag
}

impl SagaState {
    /// Checks the state. As long as a saga has entries to compensate, it continues, even if no pointer inside the saga
    /// is active.
    pub fn check(&self) -> std::result::Result<Kept, Spoilt> {
        match &self.compensating {
            None => Ok(Kept::Waits),
            Some(compensating) if compensating.next < self.from => Err(Spoilt::Impossible),
            Some(compensating) => Ok(Kept::goes_on_if(compensating.next > self.from)),
        }
    }
}

/// The progress of a saga's compensation.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::executor) struct Compensating {
    /// The entries that are still to be examined are those with numbers below this one.
    pub next: u64,
    /// The entry that is being compensated: its pointer, and its [`since`](super::log::Entry::since).
    pub current: Option<(String, Option<u64>)>,
    /// The containers that have a compensation, each as a path and an entry number. When such a container is
    /// compensated, some entries are not compensated separately: those below this path that have this number or a
    /// higher one.
    pub covered: Vec<(String, u64)>,
    /// The failure that caused the compensation. `None` means that the saga did not fail, but was cancelled: by its
    /// cancel condition, or together with the instance.
    pub why: Option<Why>,
    /// Whether the compensation of a step has begun.
    #[serde(default, skip_serializing_if = "is_false")]
    pub has_begun: bool,
    /// How the instance ends after the compensation, or `None` if the instance continues.
    pub end: Option<(Ending, Option<StoredFailure>)>,
}

/// The failure that causes the compensation of a saga.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::executor) struct Why {
    pub failure: StoredFailure,
    pub retryable: bool,
    /// The backoff before the next round, or `None` if the saga has no further round.
    #[serde(rename = "pause")]
    pub backoff: Option<Duration>,
}

/// How an instance with these pointers ends after the compensation of its open sagas. Returns `None` if the instance is
/// not closing.
pub(in crate::executor) fn closing<'p>(
    pointers: impl IntoIterator<Item = &'p ExecutionPointer>,
) -> Option<Ending> {
    pointers.into_iter().find_map(ending)
}

/// If this pointer is a saga whose compensation ends the instance, returns how the instance then ends. Only this part
/// of the saga's state is read.
fn ending(pointer: &ExecutionPointer) -> Option<Ending> {
    #[derive(Deserialize)]
    struct State {
        #[serde(rename = "undoing")]
        compensating: Option<End>,
    }
    #[derive(Deserialize)]
    struct End {
        end: Option<(Ending, IgnoredAny)>,
    }
    let is_running = pointer.active && pointer.status == PointerStatus::Running;
    if !is_running || pointer.text(attributes::KIND) != Some(kind::SAGA) {
        return None;
    }
    let state = State::deserialize(pointer.persistence_data.as_ref()?).ok()?;
    state.compensating?.end.map(|(ending, _)| ending)
}

impl Run {
    /// The enclosing sagas that would compensate the pointer's step, innermost first.
    ///
    /// If the pointer belongs to a saga's compensation, this saga and its enclosing sagas are left out. If the pointer
    /// belongs to a saga's fallback, only this saga is left out.
    pub(in crate::executor::run) fn sagas_around(&self, at: &str) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for container in self.pointers.get(at)?.scope.iter().rev() {
            let branch = pointer_id::branch_key(container, at);
            if pointer_id::is_compensation(branch) {
                break;
            }
            if branch != pointer_id::FALLBACK && self.node_of(container)?.verb.is_saga() {
                found.push(container.clone());
            }
        }
        Ok(found)
    }

    /// The outermost saga that encloses `saga`, or `saga` itself. The log of this outermost saga contains the entries
    /// of the steps inside `saga`.
    pub(super) fn root_of(&self, saga: &str) -> Result<String> {
        Ok(self.sagas_around(saga)?.pop().unwrap_or_else(|| saga.to_owned()))
    }

    pub(super) fn saga_state(&self, saga: &str) -> Result<SagaState> {
        match &self.pointers.get(saga)?.persistence_data {
            None => Ok(SagaState::default()),
            Some(kept) => Ok(SagaState::deserialize(kept)?),
        }
    }

    pub(super) fn keep_saga_state(&mut self, saga: &str, state: &SagaState) -> Result<()> {
        self.pointers.edit(saga)?.persistence_data = Some(serde_json::to_value(state)?);
        Ok(())
    }

    /// Whether the compensation of the saga can still begin: the saga is running, its compensation has not begun, and
    /// its fallback is not running.
    pub(in crate::executor::run) fn is_open_saga(&self, at: &str) -> Result<bool> {
        Ok(self.pointers.get(at)?.status == PointerStatus::Running
            && self.saga_state(at)?.compensating.is_none()
            && !self.is_in_fallback(at)?)
    }

    /// Returns the state that the saga has at the beginning of its next round.
    pub(in crate::executor) fn next_round(&mut self, saga: &str) -> Result<SagaState> {
        let mut state = self.saga_state(saga)?;
        let root = self.root_of(saga)?;
        state.round += 1;
        state.from = if root == saga { state.log } else { self.saga_state(&root)?.log };
        state.compensating = None;
        Ok(state)
    }

    /// Whether the pointer is a saga that is being compensated.
    pub(in crate::executor::run) fn is_compensating(&self, at: &str) -> Result<bool> {
        let pointer = self.pointers.get(at)?;
        Ok(pointer.active && self.node_of(at)?.verb.is_saga() && self.saga_state(at)?.compensating.is_some())
    }
}
