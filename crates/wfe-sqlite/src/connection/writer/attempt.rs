//! The attempts to commit one batch on the lent connection, and the reads of a database in memory.

use std::sync::Arc;

use wfe_core::logging;

use super::{BATCH, Held, Job, Thread};
use crate::{
    connection::{
        execute::Lent,
        group_commit::{self, Batch},
        outcome::{Waiting, guarded},
    },
    error::{self, SqliteError},
    file::{Hold, LastCommit},
    metrics,
    request::{NewCopy, Script, Written},
};

/// What came of one turn.
#[derive(Default)]
pub(super) struct Turn {
    /// The batch that is done. Its results are sent after the fair lock was released.
    pub(super) answered: Option<(Waiting, Batch)>,
    /// Another process holds the database. The requests wait again.
    pub(super) held: Option<Held>,
    /// The connection must be replaced.
    pub(super) reopens: bool,
}

impl Thread {
    /// Runs the first waiting requests, at most [`BATCH`], in one transaction.
    pub(super) fn write(&mut self, lent: &Lent<'_>) -> Turn {
        let batch = self.batch();
        if let Err(loss) = self.check() {
            return Turn { answered: Some((batch, Batch::Lost(loss))), ..Turn::default() };
        }
        let scripts: Vec<&Script> = batch.iter().map(|request| &request.script).collect();
        let checkpoint = || self.hold.as_ref().and_then(|hold| hold.watch().checkpoint());
        let before = metrics::state(checkpoint);
        let outcome = group_commit::run(lent, &scripts);
        metrics::checkpointed(before, checkpoint, lent.take_commit_time());
        let mut turn = self.conclude(batch, outcome);
        self.update_copies(lent, &mut turn);
        turn
    }

    /// Makes the changes of a batch known to the cache.
    fn update_copies(&mut self, lent: &Lent<'_>, turn: &mut Turn) {
        let cache = Arc::clone(&self.recovery.cache);
        let Some((batch, Batch::Answered(answers))) = &mut turn.answered else { return cache.invalidate() };
        let done = || answers.iter().map(|answer| answer.as_ref().ok().and_then(Written::done));
        // Nothing was written, so all copies are as good as before.
        if done().all(|done| done.is_none()) {
            return;
        }
        let changes_others = batch
            .iter()
            .zip(done())
            .any(|(request, done)| done.is_some() && request.script.may_change_others());
        let commit = if changes_others { None } else { self.last_commit(lent) };
        let copies = batch.iter_mut().zip(done()).filter_map(|(request, done)| {
            let (done, NewCopy { mut stored, inserted }) = (done?, request.script.copy.take()?);
            if let Some(inserted) = inserted {
                stored.seq = done.get(inserted)?.inserted;
            }
            Some(Arc::new(stored))
        });
        if let Some((commit, others_committed)) = commit {
            cache.committed(commit, others_committed, copies);
        } else {
            cache.invalidate();
            // They are not known to be up to date, but the next write can begin from them.
            copies.for_each(|copy| cache.put(copy, None));
        }
    }

    /// The last commit in the WAL index, and whether another connection has committed since this method was last called.
    /// `None` if they cannot be read.
    fn last_commit(&mut self, lent: &Lent<'_>) -> Option<(LastCommit, bool)> {
        let Some(hold) = &self.hold else { return Some((LastCommit::default(), false)) };
        // First the WAL index, then the number. A foreign commit after the first read makes the WAL index differ from what
        // was read; a foreign commit before it changes the number. In the other order, a foreign commit in between would
        // be in the WAL index, and not in the number.
        let commit = hold.watch().last_commit()?;
        let version = lent.data_version().inspect_err(|error| {
            logging::debug!(%error, store = self.recovery.location, "cannot read whether others have committed");
        });
        let version = version.ok()?;
        let others_committed = self.data_version.replace(version) != Some(version);
        Some((commit, others_committed))
    }

    /// Takes the requests of the next batch.
    fn batch(&mut self) -> Waiting {
        let mut batch = Waiting::new();
        while batch.len() < BATCH
            && !batch.last().is_some_and(|request| request.is_alone)
            && let Some(Job::Write(request)) = self.waiting.pop_front_if(
                |job| matches!(job, Job::Write(request) if batch.is_empty() || !request.is_alone),
            )
        {
            batch.push(request);
        }
        batch
    }

    /// Decides what becomes of the requests of a batch.
    fn conclude(&mut self, mut batch: Waiting, outcome: Batch) -> Turn {
        let outcome = match self.hold.as_ref().map(Hold::watch) {
            Some(watch) => guarded(watch, outcome),
            None => outcome,
        };
        if let Batch::Unknown(error) = &outcome {
            logging::error!(%error, store = self.recovery.location, "the outcome of a commit is unknown");
            self.recovery.cache.clear();
        }
        let mut turn = Turn::default();
        if let Batch::NotBegun(error) | Batch::Ended(error) | Batch::Unknown(error) = &outcome {
            turn.reopens = !error::is_busy(error) && !error::is_full(error);
        }
        match outcome {
            Batch::NotBegun(error) | Batch::Ended(error) if error::is_busy(&error) => {
                self.wait_again(batch);
                turn.held = Some(error);
            }
            Batch::Ended(_) if batch.len() > 1 => {
                // One request can end the whole transaction, for example on a full disk. Each request now runs
                // in its own transaction, so that it cannot affect the others.
                for request in &mut batch {
                    request.is_alone = true;
                }
                self.wait_again(batch);
            }
            outcome => turn.answered = Some((batch, outcome)),
        }
        turn
    }

    /// Puts requests back to the front of the queue.
    fn wait_again(&mut self, batch: Waiting) {
        for request in batch.into_iter().rev() {
            self.waiting.push_front(Job::Write(request));
        }
    }

    /// Fails the next jobs, because there is no connection.
    pub(super) fn without(&mut self) -> Turn {
        let (batch, crash) = (self.batch(), Batch::NotBegun(error::crash()));
        self.conclude(batch, crash)
    }

    /// Does the next read of a database in memory.
    pub(super) fn read(&mut self, lent: Option<&Lent<'_>>) {
        let Some(Job::Read(mut script, permit, reply)) =
            self.waiting.pop_front_if(|job| matches!(job, Job::Read(..)))
        else {
            return;
        };
        let result = match lent {
            Some(lent) => lent.read(&mut script).map_err(|error| Arc::new(SqliteError::from(error))),
            None => Err(error::crash()),
        };
        // Release the permit first: a caller that receives its result may send its next request at once.
        drop(permit);
        // The send fails if the caller no longer waits.
        let _ = reply.send(result.map_err(|error| self.recovery.named(error::storage("reading", &error))));
    }
}
