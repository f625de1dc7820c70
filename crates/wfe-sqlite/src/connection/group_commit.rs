//! Runs the requests of one batch as one transaction.
//!
//! The requests run one after the other, in their order. A request whose guard does not hold before the request has
//! written anything is refused, and nothing has to be taken back. If a request fails later, the whole transaction is
//! rolled back and runs again, with a savepoint for each request: so the failure affects no other request. Failures are
//! rare, and a savepoint for each request from the start would cost two statements and a copy of each page that the
//! request changes.

use std::sync::Arc;

use wfe_core::WfeError;

use crate::{
    connection::execute::Lent,
    error::{self, SqliteError},
    file::Loss,
    metrics::Timer,
    request::{Done, Role, Script, Written},
};

/// Takes the write lock at once, because a transaction that begins with a read cannot wait for the lock later.
const BEGIN: &str = "BEGIN IMMEDIATE";
const COMMIT: &str = "COMMIT";
const ROLLBACK: &str = "ROLLBACK";

/// The result of one request.
pub(crate) type Answer = Result<Written, WfeError>;

/// The outcome of a batch.
pub(crate) enum Batch {
    /// One result for each request. Everything that was written is durable.
    Answered(Vec<Answer>),
    /// Nothing was written: the write lock was not available.
    NotBegun(Arc<SqliteError>),
    /// Nothing was written: a statement's error, or a full disk in the COMMIT, ended the whole transaction.
    Ended(Arc<SqliteError>),
    /// The COMMIT failed: the outcome is unknown.
    Unknown(Arc<SqliteError>),
    /// Nothing was written: the database is lost.
    Lost(Loss),
    /// The loss of the database was found after the COMMIT: the changes may be in the previous file.
    LostSince(Loss),
}

/// Why the work on a batch ends early.
enum Stop {
    NotBegun(Arc<SqliteError>),
    Ended(Arc<SqliteError>),
    Unknown(Arc<SqliteError>),
}

impl Stop {
    fn ended(error: impl Into<SqliteError>) -> Self {
        Self::Ended(Arc::new(error.into()))
    }
}

/// The result of one request within the transaction.
enum One {
    /// The result. A request that was refused, or that has failed, has written nothing.
    Answer(Answer),
    /// The request has failed after it had written something, which must be taken back.
    Spoilt(Answer),
}

/// Runs these requests in one transaction.
pub(crate) fn run(lent: &Lent<'_>, scripts: &[&Script]) -> Batch {
    let outcome = match together(lent, scripts) {
        Ok(Some(answers)) => Ok(answers),
        Ok(None) => apart(lent, scripts),
        Err(stop) => Err(stop),
    };
    if lent.is_in_transaction() {
        // If the ROLLBACK fails, the transaction ends with its connection, which is then replaced.
        let _ = lent.plain(ROLLBACK);
    }
    match outcome {
        Ok(answers) => Batch::Answered(answers),
        Err(Stop::NotBegun(error)) => Batch::NotBegun(error),
        Err(Stop::Ended(error)) => Batch::Ended(error),
        Err(Stop::Unknown(error)) => Batch::Unknown(error),
    }
}

/// Runs the requests without savepoints. `None` means that nothing was written: one of several requests has failed.
fn together(lent: &Lent<'_>, scripts: &[&Script]) -> Result<Option<Vec<Answer>>, Stop> {
    let before = begin(lent)?;
    let mut answers = Vec::with_capacity(scripts.len());
    for script in scripts {
        match one(lent, script)? {
            One::Answer(answer) => answers.push(answer),
            One::Spoilt(answer) => {
                lent.plain(ROLLBACK).map_err(Stop::ended)?;
                return Ok((scripts.len() == 1).then(|| vec![answer]));
            }
        }
    }
    commit(lent, before)?;
    Ok(Some(answers))
}

/// Runs the requests, each with a savepoint.
fn apart(lent: &Lent<'_>, scripts: &[&Script]) -> Result<Vec<Answer>, Stop> {
    let before = begin(lent)?;
    let mut answers = Vec::with_capacity(scripts.len());
    for script in scripts {
        lent.plain("SAVEPOINT r").map_err(Stop::ended)?;
        answers.push(match one(lent, script)? {
            One::Answer(answer) => answer,
            One::Spoilt(answer) => {
                lent.plain("ROLLBACK TO r").map_err(Stop::ended)?;
                answer
            }
        });
        lent.plain("RELEASE r").map_err(Stop::ended)?;
    }
    commit(lent, before)?;
    Ok(answers)
}

/// Begins the transaction. Returns the number of changes before it.
fn begin(lent: &Lent<'_>) -> Result<u64, Stop> {
    lent.plain(BEGIN).map_err(|error| Stop::NotBegun(Arc::new(error.into())))?;
    Ok(lent.total_changes())
}

/// A COMMIT that failed because of a full disk, or because of the lock, certainly wrote nothing: a transaction is valid
/// only if its last WAL frame was written.
fn commit(lent: &Lent<'_>, before: u64) -> Result<(), Stop> {
    let timer = Timer::start();
    lent.plain(COMMIT).map(|()| lent.has_committed(before, timer)).map_err(|error| {
        let error = Arc::new(SqliteError::from(error));
        let is_certain = error::is_full(&error) || error::is_busy(&error);
        if is_certain { Stop::Ended(error) } else { Stop::Unknown(error) }
    })
}

/// Runs one request.
fn one(lent: &Lent<'_>, script: &Script) -> Result<One, Stop> {
    let before = lent.total_changes();
    let (mut values, mut done) = (&script.values[..], Vec::<Done>::with_capacity(script.statements.len()));
    for (at, statement) in script.statements.iter().enumerate() {
        let (own, rest) = values.split_at(statement.parameters);
        values = rest;
        let has_changed = done.last().is_some_and(|done| done.changes > 0);
        if statement.role == Role::IfChanged && !has_changed
            || statement.role == Role::IfUnchanged && has_changed
        {
            done.push(Done::default());
            continue;
        }
        let answer = match lent.run(statement, own) {
            Ok(ended)
                if statement.role == Role::Guard && !ended.rows.is_empty()
                    || statement.role == Role::MustChange && ended.changes == 0 =>
            {
                Ok(Written::Refused(at))
            }
            Ok(ended) => {
                done.push(ended);
                continue;
            }
            Err(error) => Err(failed(lent, script, at, error.into())?),
        };
        // A failed statement takes back its own changes.
        let has_written = lent.total_changes() != before;
        return Ok(if has_written { One::Spoilt(answer) } else { One::Answer(answer) });
    }
    Ok(One::Answer(Ok(Written::Done(done))))
}

/// The error of a request in which the statement with this index has failed. Ends the batch if the other results of the
/// batch are doubtful too.
fn failed(lent: &Lent<'_>, script: &Script, at: usize, error: SqliteError) -> Result<WfeError, Stop> {
    if !lent.is_in_transaction() || !error::concerns_request(&error) {
        return Err(Stop::ended(error));
    }
    let error = Arc::new(error);
    Ok(if error::is_constraint_violation(&error) {
        error::broken_rule(script, at, &error)
    } else {
        error::storage("writing", &error)
    })
}

#[cfg(test)]
mod tests;
