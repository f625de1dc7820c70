//! What the pointer of a saga keeps: its round, its log, and how far it has compensated.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    Result,
    executor::{Kept, Spoilt, run::Run},
    models::{PointerStatus, pointer_id},
    traits::{Ending, StepFailure},
};

/// What the pointer of a saga keeps.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(in crate::executor) struct SagaState {
    /// Which round this is, from 1.
    pub round: u32,
    /// How long the log was when the round began.
    pub from: u64,
    /// Of an outermost saga: how long the log is.
    pub log: u64,
    /// Of an outermost saga: entries whose compensation was cut short, and the step at which it stood.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cut_short: BTreeMap<u64, String>,
    /// It is being undone.
    #[serde(rename = "undoing")]
    pub compensating: Option<Compensating>,
}

impl SagaState {
    /// While entries of its log are still to be undone, no pointer of its need be at work.
    pub fn check(&self) -> std::result::Result<Kept, Spoilt> {
        match &self.compensating {
            None => Ok(Kept::Waits),
            Some(compensating) if compensating.next < self.from => Err(Spoilt::Impossible),
            Some(compensating) => Ok(Kept::goes_on_if(compensating.next > self.from)),
        }
    }
}

/// How far a saga is undone.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::executor) struct Compensating {
    /// The entries below this number are still to be looked at.
    pub next: u64,
    /// What is being undone now: the pointer, and whether it stands for what is below it.
    pub current: Option<(String, Option<u64>)>,
    /// Entries below these paths and not below these numbers are undone by the container that stands for them.
    pub covered: Vec<(String, u64)>,
    /// Why. `None`: the saga was cancelled, by its condition or with the instance.
    pub why: Option<Why>,
    /// How the instance ends when all is undone; `None`: it goes on.
    pub end: Option<(Ending, Option<StepFailure>)>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(in crate::executor) struct Why {
    pub failure: StepFailure,
    pub retryable: bool,
    /// The pause before the next round; `None`: there is none.
    pub pause: Option<Duration>,
}

impl Run {
    /// The sagas around a pointer, innermost first: those that undo what it does. One that is just being undone, and of
    /// whose undoing the pointer is a part, is none of them, nor is one that was undone and in whose fallback it is.
    pub(in crate::executor) fn sagas_around(&self, at: &str) -> Result<Vec<String>> {
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

    /// The saga whose log holds what is done inside of `saga`.
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

    /// Whether there is anything that could be undone.
    pub(in crate::executor::run) fn is_open_saga(&self, at: &str) -> Result<bool> {
        Ok(self.pointers.get(at)?.status == PointerStatus::Running
            && self.saga_state(at)?.compensating.is_none()
            && !self.is_in_fallback(at)?)
    }

    /// A further round of the saga begins; gives its state.
    pub(in crate::executor) fn next_round(&mut self, saga: &str) -> Result<SagaState> {
        let mut state = self.saga_state(saga)?;
        let root = self.root_of(saga)?;
        state.round += 1;
        state.from = if root == saga { state.log } else { self.saga_state(&root)?.log };
        state.compensating = None;
        Ok(state)
    }

    /// Whether the pointer is a saga that is just being undone.
    pub(in crate::executor::run) fn is_compensating(&self, at: &str) -> Result<bool> {
        let pointer = self.pointers.get(at)?;
        Ok(pointer.active && self.node_of(at)?.verb.is_saga() && self.saga_state(at)?.compensating.is_some())
    }
}
