//! What a saga has done, and how it is undone.
//!
//! Each completed step that has a compensation gets an entry in the log of the outermost saga around it: the order of
//! completion over everything inside, however deep and however parallel. The log is as long as it wants: an entry is
//! stored like an item, and read when its turn comes, the last one first. A saga inside another one is undone by the
//! entries that lie below it.
//!
//! Only what is below the saga in the same round is in its part of the log; what was undone is marked so in the commit in
//! which its compensation ended, and is never undone again.
//!
//! A compensation that has begun is not cut short by a saga around it: that one waits until it has ended, and goes on with
//! what is left then. So it does for children in it, which are asked to cancel, and undo what they have done themselves. Where something else takes the inner saga away (a go-to, a cancel condition), it is noted at which step
//! the compensation stood, and a saga around it that is undone later goes on from there.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Env, Run, Want,
    moves::{FALLBACK, FORKED, UNDOES, branch_key},
};
use crate::{
    Result, WfeError,
    definition::Branch,
    models::{ExecutionPointer, PointerChange, PointerStatus},
    steps::{StepError, Undone},
    traits::{Control, Ending, Items, StepFailure},
};

/// What the names of the branches that undo something begin with; the number of the log entry follows.
pub(super) const UNDO: &str = "undo";
/// Attribute of a pointer whose child was cancelled, because a saga around it is undone: that waits for the child's end.
const LEAVING: &str = "leaving";
/// Attribute of a container with a compensation of its own: how long the log was when it began.
const SINCE: &str = "since";

/// What the pointer of a saga keeps.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct SagaState {
    /// Which round this is, from 1.
    pub round: u32,
    /// How long the log was when the round began.
    from: u64,
    /// Of an outermost saga: how long the log is.
    log: u64,
    /// Of an outermost saga: entries whose compensation was cut short, and the step at which it stood.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    cut_short: BTreeMap<u64, String>,
    /// It is being undone.
    pub undoing: Option<Undoing>,
}

/// How far a saga is undone.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Undoing {
    /// The entries below this number are still to be looked at.
    next: u64,
    /// What is being undone now: the pointer, and whether it stands for what is below it.
    current: Option<(String, Option<u64>)>,
    /// Entries below these paths and not below these numbers are undone by the container that stands for them.
    covered: Vec<(String, u64)>,
    /// Why. `None`: the saga was cancelled, by its condition or with the instance.
    why: Option<Why>,
    /// How the instance ends when all is undone; `None`: it goes on.
    end: Option<(Ending, Option<StepFailure>)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Why {
    failure: StepFailure,
    retryable: bool,
    /// The pause before the next round; `None`: there is none.
    pause: Option<Duration>,
}

/// One completed step.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    #[serde(flatten)]
    step: Undone,
    #[serde(default, with = "crate::limits::inside::optional")]
    item: Option<Value>,
    /// Of a container: how long the log was when it began. It stands for what is below it.
    since: Option<u64>,
    /// It has been undone.
    undone: bool,
}

/// An entry that is being read. Of each there is one read under way at most, however many sagas look at it.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Those that look at it; those that were taken away meanwhile do no longer.
    sagas: BTreeSet<String>,
    /// It was undone since it was asked for: what comes may be older than that.
    is_stale: bool,
}

impl Run {
    /// The sagas around a pointer, innermost first: those that undo what it does. One that is just being undone, and of
    /// whose undoing the pointer is a part, is none of them, nor is one that was undone and in whose fallback it is.
    pub(super) fn sagas_around(&self, at: &str) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for container in self.live.get(at)?.scope.iter().rev() {
            let branch = branch_key(container, at);
            if branch.starts_with(UNDO) {
                break;
            }
            if branch != FALLBACK && self.node_of(container)?.primitive.is_saga() {
                found.push(container.clone());
            }
        }
        Ok(found)
    }

    /// The saga whose log holds what is done inside of `saga`.
    fn root_of(&self, saga: &str) -> Result<String> {
        Ok(self.sagas_around(saga)?.pop().unwrap_or_else(|| saga.to_owned()))
    }

    pub(super) fn saga_state(&self, saga: &str) -> Result<SagaState> {
        match &self.live.get(saga)?.persistence_data {
            None => Ok(SagaState::default()),
            Some(kept) => Ok(SagaState::deserialize(kept)?),
        }
    }

    fn keep_saga_state(&mut self, saga: &str, state: &SagaState) -> Result<()> {
        self.live.edit(saga)?.persistence_data = Some(serde_json::to_value(state)?);
        Ok(())
    }

    /// Whether there is anything that could be undone.
    pub(super) fn is_open_saga(&self, at: &str) -> Result<bool> {
        Ok(self.live.get(at)?.status == PointerStatus::Running
            && self.saga_state(at)?.undoing.is_none()
            && !self.is_in_fallback(at)?)
    }

    /// A further round of the saga begins; gives its state.
    pub(super) fn next_round(&mut self, saga: &str) -> Result<SagaState> {
        let mut state = self.saga_state(saga)?;
        let root = self.root_of(saga)?;
        state.round += 1;
        state.from = if root == saga { state.log } else { self.saga_state(&root)?.log };
        state.undoing = None;
        Ok(state)
    }

    /// A container that has a compensation of its own begins.
    pub(super) fn note_begin(&mut self, at: &str) -> Result<()> {
        if let Some(root) = self.sagas_around(at)?.pop() {
            let log = self.saga_state(&root)?.log;
            self.live.edit(at)?.extension_attributes.entry(SINCE.to_owned()).or_insert_with(|| log.into());
        }
        Ok(())
    }

    /// A step that has a compensation has completed.
    pub(super) fn log(&mut self, at: &str) -> Result<()> {
        let Some(root) = self.sagas_around(at)?.pop() else { return Ok(()) };
        let node = self.node_of(at)?;
        let has_state = node.primitive.body().is_some() && node.branches.is_empty();
        let pointer = self.live.get(at)?;
        let entry = Entry {
            step: Undone {
                step: pointer.step_name.clone().unwrap_or_default(),
                pointer: at.to_owned(),
                outcome: pointer.outcome.clone().or_else(|| pointer.event_data.clone()),
                state: pointer.persistence_data.clone().filter(|_| has_state),
            },
            item: pointer.context_item.clone(),
            since: pointer.extension_attributes.get(SINCE).and_then(Value::as_u64),
            undone: false,
        };
        let mut state = self.saga_state(&root)?;
        self.put_entry(&root, state.log, &entry)?;
        state.log += 1;
        self.keep_saga_state(&root, &state)
    }

    fn put_entry(&mut self, root: &str, number: u64, entry: &Entry) -> Result<()> {
        let (container, values) = (log_key(root, number), vec![serde_json::to_value(entry)?]);
        if let Some(reading) = self.reading.get_mut(&container) {
            reading.is_stale = true;
        }
        self.delta.items.push(Items { container, values });
        Ok(())
    }

    /// Something in the saga has failed for good.
    pub(super) fn saga_failed(
        &mut self,
        saga: &str,
        failure: StepFailure,
        error: &StepError,
        env: &mut Env<'_>,
    ) -> Result<()> {
        let policy = self.node_of(saga)?.policy.clone();
        let in_a_row = self.count_failure(saga)?;
        let pause = policy.retry.pause(in_a_row, error, (env.random)());
        let why = Why { failure, retryable: error.is_retryable(), pause };
        self.begin_undoing(saga, Some(why), None, env)?;
        self.undo_next(saga, env)
    }

    /// The cancel condition of the saga holds: it is undone, and the instance goes on behind it.
    pub(super) fn cancel_saga(&mut self, saga: &str, env: &mut Env<'_>) -> Result<()> {
        self.begin_undoing(saga, None, None, env)?;
        self.undo_next(saga, env)
    }

    /// The saga ends the instance when it is undone.
    pub(super) fn undo_at_end(
        &mut self,
        saga: &str,
        ending: Ending,
        cause: Option<StepFailure>,
        env: &mut Env<'_>,
    ) -> Result<()> {
        let mut state = self.saga_state(saga)?;
        let end = Some((ending, cause));
        match &mut state.undoing {
            // It is on its way already: only what comes after that changes.
            Some(undoing) => undoing.end = end,
            None => return self.begin_undoing(saga, None, end, env),
        }
        self.keep_saga_state(saga, &state)
    }

    /// What is at work in the saga is taken away, but for compensations of sagas inside of it, and children, which are
    /// cancelled; [`undo_next`](Self::undo_next) begins with its last entry when those have ended.
    fn begin_undoing(
        &mut self,
        saga: &str,
        why: Option<Why>,
        end: Option<(Ending, Option<StepFailure>)>,
        env: &mut Env<'_>,
    ) -> Result<()> {
        self.cancel_children_below(saga)?;
        let awaited = self.awaited_below(saga)?;
        if awaited.is_empty() {
            self.take_away_below(saga, env)?;
        } else {
            self.leave_only(saga, &awaited, env)?;
        }
        self.clear_timer(saga)?;
        let root = self.root_of(saga)?;
        let next = self.saga_state(&root)?.log;
        let mut state = self.saga_state(saga)?;
        state.undoing = Some(Undoing { next, current: None, covered: Vec::new(), why, end });
        self.keep_saga_state(saga, &state)
    }

    /// The outermost of what is inside of `saga` and has to come to its end before that is undone: sagas in the midst of a
    /// compensation, and children that were cancelled. What is a part of a compensation of its own is none of them.
    fn awaited_below(&self, saga: &str) -> Result<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        for id in self.live.below(&format!("{saga}/")) {
            let pointer = self.live.get(&id)?;
            if !pointer.active {
                continue;
            }
            let is_awaited = pointer.extension_attributes.contains_key(LEAVING)
                || (self.node_of(&id)?.primitive.is_saga()
                    && self.saga_state(&id)?.undoing.is_some_and(|undoing| undoing.current.is_some()));
            if is_awaited && self.sagas_around(&id)?.iter().any(|around| around == saga) {
                found.insert(id);
            }
        }
        self.outermost(&found)
    }

    /// The children that are at work for steps inside of `saga` are cancelled, and their ends awaited.
    fn cancel_children_below(&mut self, saga: &str) -> Result<()> {
        for id in self.live.below(&format!("{saga}/")) {
            let Some(child) = self.child_of(&id)? else { continue };
            let is_inside = self.sagas_around(&id)?.iter().any(|around| around == saga);
            if is_inside && !self.is_leaving(&id)? && !self.delta.created.iter().any(|new| new.id == child) {
                self.clear_timer(&id)?;
                self.watching.remove(&id);
                self.live.edit(&id)?.extension_attributes.insert(LEAVING.to_owned(), true.into());
                self.delta.requested.push((child, Control::Cancel));
            }
        }
        Ok(())
    }

    /// Whether the pointer only waits for the end of its child, because a saga around it is undone.
    pub(super) fn is_leaving(&self, at: &str) -> Result<bool> {
        Ok(self.live.get(at)?.extension_attributes.contains_key(LEAVING))
    }

    /// The child of the pointer, which was cancelled, has ended; or nobody waits for it any more.
    pub(super) fn left(&mut self, at: &str, env: &mut Env<'_>) -> Result<()> {
        self.live.edit(at)?.extension_attributes.remove(LEAVING);
        self.rest(at, env)?;
        match self.undone_around(at)? {
            Some(saga) => self.pass_on(at, &saga, env),
            None => Err(WfeError::Invalid(format!("{at:?} leaves a saga that is not undone"))),
        }
    }

    /// What is inside of `at` is taken away: notes for the sagas around it where the compensations in it stand.
    pub(super) fn note_cut_short(&mut self, at: &str) -> Result<()> {
        let path = format!("{at}/");
        let sagas = self.live.below(&path).into_iter().chain([at.to_owned()]);
        for saga in sagas.collect::<Vec<_>>() {
            if !self.is_being_undone(&saga)? {
                continue;
            }
            let (state, root) = (self.saga_state(&saga)?, self.root_of(&saga)?);
            let Some(Undoing { current: Some(_), next, .. }) = state.undoing else { continue };
            if root == saga || root.starts_with(&path) || root == at {
                continue; // it goes too
            }
            let own = self.live.below(&format!("{saga}/")).into_iter();
            let mut own = own.filter_map(|id| self.live.get(&id).ok().filter(|p| p.active));
            let stands =
                own.find(|p| p.scope.last() == Some(&saga) && !p.extension_attributes.contains_key(FORKED));
            if let Some(step) = stands.and_then(|pointer| pointer.step_name.clone()) {
                let mut state = self.saga_state(&root)?;
                state.cut_short.insert(next, step);
                self.keep_saga_state(&root, &state)?;
            }
        }
        Ok(())
    }

    /// Looks at the entry before, if there is one.
    pub(super) fn undo_next(&mut self, saga: &str, env: &mut Env<'_>) -> Result<()> {
        if !self.awaited_below(saga)?.is_empty() {
            return Ok(()); // the last of them goes on here
        }
        let state = self.saga_state(saga)?;
        let next = state.undoing.as_ref().map_or(0, |undoing| undoing.next);
        if next <= state.from {
            return self.saga_undone(saga, env);
        }
        self.want_entry(saga, next - 1)
    }

    fn want_entry(&mut self, saga: &str, number: u64) -> Result<()> {
        let container = log_key(&self.root_of(saga)?, number);
        if !self.reading.contains_key(&container) {
            self.wants.push(Want { container: container.clone(), from: 0, limit: 1 });
        }
        self.reading.entry(container).or_default().sagas.insert(saga.to_owned());
        Ok(())
    }

    /// The saga looks at no entry any more.
    pub(super) fn stop_reading(&mut self, saga: &str) {
        for reading in self.reading.values_mut() {
            reading.sagas.remove(saga);
        }
    }

    /// An entry that was asked for is here.
    pub(super) fn entry_came(
        &mut self,
        container: &str,
        values: Vec<Value>,
        env: &mut Env<'_>,
    ) -> Result<()> {
        if let Some(reading) = self.reading.get_mut(container)
            && reading.is_stale
            && !reading.sagas.is_empty()
        {
            reading.is_stale = false;
            self.wants.push(Want { container: container.to_owned(), from: 0, limit: 1 });
            return Ok(());
        }
        let entry = values.into_iter().next();
        // One after the other: what follows from the first may take the others away.
        while let Some(saga) = self.reading.get_mut(container).and_then(|reading| reading.sagas.pop_first()) {
            let entry = entry
                .clone()
                .ok_or_else(|| WfeError::Invalid(format!("the log entry {container:?} is missing")))?;
            self.undo_entry(&saga, entry, env)?;
        }
        self.reading.remove(container);
        Ok(())
    }

    /// A saga that was being undone was opened from the store.
    pub(super) fn reopen_saga(&mut self, saga: &str) -> Result<()> {
        match self.saga_state(saga)?.undoing {
            // What undoes the current entry, and what is awaited, are pointers of their own.
            Some(Undoing { current: None, next, .. }) if self.awaited_below(saga)?.is_empty() => {
                self.want_entry(saga, next.saturating_sub(1))
            }
            _ => Ok(()),
        }
    }

    /// The entry that was wanted is here: it is undone, or passed over.
    fn undo_entry(&mut self, saga: &str, entry: Value, env: &mut Env<'_>) -> Result<()> {
        let entry: Entry = serde_json::from_value(entry)?;
        let mut state = self.saga_state(saga)?;
        let Some(undoing) = &mut state.undoing else { return Ok(()) };
        undoing.next -= 1;
        let number = undoing.next;
        undoing.covered.retain(|(_, since)| *since <= number);
        let path = &entry.step.pointer;
        let is_inside = path.strip_prefix(saga).is_some_and(|rest| rest.starts_with('/'));
        let is_covered = undoing.covered.iter().any(|(covered, _)| path.starts_with(covered));
        if let Some(since) = entry.since {
            undoing.covered.push((format!("{path}/"), since));
        }
        if !is_inside || is_covered || entry.undone {
            self.keep_saga_state(saga, &state)?;
            return self.undo_next(saga, env);
        }
        undoing.current = Some((entry.step.pointer.clone(), entry.since));
        self.keep_saga_state(saga, &state)?;
        let undo = self.definition.find(&entry.step.step).and_then(|node| node.undo).ok_or_else(|| {
            WfeError::Invalid(format!(
                "step {:?} is to be undone, but the definition has no compensation for it any more",
                entry.step.step
            ))
        })?;
        let root = self.root_of(saga)?;
        let mut root_state = self.saga_state(&root)?;
        let undo = match root_state.cut_short.remove(&number).and_then(|step| self.definition.find(&step)) {
            Some(node) if node.container == self.definition.node(undo.first).container => {
                Branch { first: node.index }
            }
            _ => undo,
        };
        self.keep_saga_state(&root, &root_state)?;
        let (undoes, item) = (serde_json::to_value(&entry.step)?, entry.item);
        self.begin_branch(saga, &format!("{UNDO}{number}"), undo, |pointer| {
            pointer.context_item = item;
            pointer.extension_attributes.insert(UNDOES.to_owned(), undoes);
        })
    }

    /// The compensation of the current entry has ended.
    pub(super) fn entry_undone(&mut self, saga: &str, env: &mut Env<'_>) -> Result<()> {
        let mut state = self.saga_state(saga)?;
        let Some(undoing) = &mut state.undoing else { return Ok(()) };
        let number = undoing.next;
        if let Some((pointer, since)) = undoing.current.take() {
            let step = Undone { step: String::new(), pointer, outcome: None, state: None };
            self.keep_saga_state(saga, &state)?;
            let root = self.root_of(saga)?;
            self.put_entry(&root, number, &Entry { step, item: None, since, undone: true })?;
        }
        match self.undone_around(saga)? {
            Some(around) => self.pass_on(saga, &around, env),
            None => self.undo_next(saga, env),
        }
    }

    /// The innermost saga around the pointer that is undone, and waits for what is inside of it.
    fn undone_around(&self, at: &str) -> Result<Option<String>> {
        for around in self.sagas_around(at)? {
            if self.is_being_undone(&around)? {
                return Ok(Some(around));
            }
        }
        Ok(None)
    }

    /// This has come to its end, and the saga around it is undone: what is left is undone there.
    fn pass_on(&mut self, at: &str, around: &str, env: &mut Env<'_>) -> Result<()> {
        self.take_away_below(at, env)?;
        self.take_away(at, env)?;
        if self.awaited_below(around)?.is_empty() {
            self.take_away_below(around, env)?;
            // With what has completed while it was awaited.
            let log = self.saga_state(&self.root_of(around)?)?.log;
            let mut state = self.saga_state(around)?;
            if let Some(undoing) = &mut state.undoing {
                undoing.next = log;
            }
            self.keep_saga_state(around, &state)?;
        }
        self.undo_next(around, env)
    }

    /// Everything that the saga has done is undone.
    fn saga_undone(&mut self, saga: &str, env: &mut Env<'_>) -> Result<()> {
        let mut state = self.saga_state(saga)?;
        let Some(Undoing { why, end, .. }) = state.undoing.take() else { return Ok(()) };
        self.keep_saga_state(saga, &state)?;
        if let Some((ending, cause)) = end {
            let pointer = self.live.edit(saga)?;
            let failed = pointer.status.after(PointerChange::Fail)?;
            pointer.status = failed.after(PointerChange::Compensate)?;
            self.rest(saga, env)?;
            return self.end_behind_undoing(ending, cause, env);
        }
        let Some(Why { failure, retryable, pause }) = why else {
            self.take_away(saga, env)?;
            return self.go_on(saga, env);
        };
        if let Some(pause) = pause {
            self.note_why_again(saga, &failure)?;
            return self.sleep(saga, pause, env);
        }
        let error = StepError::told(failure.code.clone(), failure.causes.clone(), retryable);
        self.fail_for_good(saga, failure, &error, env)
    }
}

/// Whether the pointer is part of what undoes a step.
pub(super) fn is_in_compensation(pointer: &ExecutionPointer) -> bool {
    pointer.scope.iter().any(|container| branch_key(container, &pointer.id).starts_with(UNDO))
}

fn log_key(root: &str, number: u64) -> String {
    format!("{root}/log/{number}")
}
