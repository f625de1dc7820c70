//! Decides races.
//!
//! A race is decided at the end of a pass, when everything has ended that ends in this commit. Of the branches that have
//! ended, the first in the definition wins. The others are cancelled.
//!
//! An external worker or a user may be answering a branch that is about to be cancelled. So the race is decided in two
//! steps if such a wait is open. First, a commit makes the store refuse further answers. Then the store is checked once
//! more: an answer that was accepted before still counts. Otherwise, an accepted answer could be dropped.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use super::{Env, Run};
use crate::{
    Result, WfeError,
    executor::{USER_TASK, events},
    models::{ExecutionPointer, PointerStatus, WorkflowStatus, attributes, pointer_id},
};

/// The races of which a branch has ended, and which are not decided yet.
#[derive(Default)]
pub(in crate::executor) struct Races {
    /// The races to decide, the innermost first: the end of an inner race may end a branch of an outer one.
    due: BTreeSet<(Reverse<usize>, String)>,
    /// The races whose branches may still get an accepted answer, each with the open subscriptions.
    closing: BTreeMap<String, Vec<String>>,
}

impl Races {
    /// Whether no race is to be decided.
    pub fn is_idle(&self) -> bool {
        self.due.is_empty() && self.closing.is_empty()
    }

    /// Whether the store must be checked for accepted answers before a race is decided.
    pub fn are_closing(&self) -> bool {
        !self.closing.is_empty()
    }

    /// Forgets all races.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Run {
    /// Notes the end of a branch of the race `at`. The race is decided at the end of the pass.
    pub(in crate::executor) fn race_branch_ended(&mut self, at: &str, key: &str) -> Result<()> {
        let key: u64 = key
            .parse()
            .map_err(|_| WfeError::Invalid(format!("the race {at:?} has no branch with the key {key:?}")))?;
        let pointer = self.pointers.edit(at)?;
        let first = pointer.number(attributes::WINNER).unwrap_or(key).min(key);
        pointer.set(attributes::WINNER, first);
        let depth = pointer.scope.len();
        if !self.races.closing.contains_key(at) {
            self.races.due.insert((Reverse(depth), at.to_owned()));
        }
        Ok(())
    }

    /// Continues a race that was read from the store.
    pub(in crate::executor) fn reopen_race(&mut self, pointer: &ExecutionPointer) {
        if pointer.has(attributes::WINNER) {
            self.races.due.insert((Reverse(pointer.scope.len()), pointer.id.clone()));
        }
    }

    /// Decides one race, the innermost one. Returns `false` if there is no race to decide now.
    pub(super) fn decide_races(&mut self, env: &mut Env<'_>) -> Result<bool> {
        // If nothing waits for an answer any more, there is no answer to check for.
        let waits = &self.waits;
        let is_over = |_: &String, open: &mut Vec<String>| !open.iter().any(|wait| waits.is_open(wait));
        let over: Vec<String> = self.races.closing.extract_if(.., is_over).map(|(at, _)| at).collect();
        for at in over {
            self.race_closed(at);
        }
        while let Some((_, at)) = self.races.due.pop_first() {
            let Some(winner) = self.winner_of(&at) else { continue };
            let answerable = self.answerable_below(&at)?;
            if !answerable.is_empty() {
                for wait in &answerable {
                    self.pending.accept_no_answer(wait.clone());
                }
                self.races.closing.insert(at, answerable);
                continue;
            }
            self.cancel_inside(&at, env)?;
            self.edit(&at)?.unset(attributes::WINNER);
            // Outlines number the branches from 1.
            self.complete(&at, Some((winner + 1).into()), env)?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Called after a delivery. The races whose branches cannot get an answer any more are decided in the next pass.
    /// Returns whether there is something to store.
    pub(super) fn answers_counted(&mut self) -> bool {
        // While the instance is suspended, no answer is delivered.
        if !self.races.are_closing() || self.status != WorkflowStatus::Runnable {
            return false;
        }
        for (at, open) in std::mem::take(&mut self.races.closing) {
            let still: Vec<String> = open
                .iter()
                .filter(|wait| self.waits.is_open(wait) && self.waits.is_answerable(wait))
                .cloned()
                .collect();
            if still.is_empty() {
                self.race_closed(at);
            } else {
                for wait in still {
                    self.pending.accept_no_answer(wait);
                }
                self.races.closing.insert(at, open);
            }
        }
        true
    }

    fn race_closed(&mut self, at: String) {
        if let Ok(pointer) = self.pointers.get(&at) {
            self.races.due.insert((Reverse(pointer.scope.len()), at));
        }
    }

    /// The branch that wins the race. `None` if the race has nothing to decide any more: it was cancelled, or it has
    /// failed.
    fn winner_of(&self, at: &str) -> Option<u64> {
        let pointer = self.pointers.get(at).ok()?;
        let is_running = pointer.active && pointer.status == PointerStatus::Running;
        pointer.number(attributes::WINNER).filter(|_| is_running)
    }

    /// The open subscriptions inside the race that a worker or a user may be answering.
    fn answerable_below(&self, at: &str) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for id in self.pointers.below(&pointer_id::inside(at)) {
            let pointer = self.pointers.get(&id)?;
            let name = pointer.event_name.as_deref().unwrap_or_default();
            if pointer.active && (name == USER_TASK || events::activity_name(name).is_some()) {
                let wait = self.subscription_of(&id)?;
                // What is not stored yet cannot have an answer.
                found.extend(
                    wait.filter(|wait| self.waits.is_answerable(wait) && !self.pending.is_new_wait(wait)),
                );
            }
        }
        Ok(found)
    }
}
