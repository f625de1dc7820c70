//! Sends the outcome of a batch to each of its requests.

use std::time::Instant;

use tokio::sync::oneshot;
use wfe_core::WfeError;

use crate::{
    connection::{
        admission::Permit,
        group_commit::{Answer, Batch},
    },
    error,
    file::Watch,
    request::{Script, Written},
};

/// A script that runs in a transaction, and the channel for its result.
pub(crate) struct Request {
    pub(crate) script: Script,
    /// When the call began. The time limit of the call counts from this instant, over all attempts.
    pub(crate) since: Instant,
    /// Whether the request runs in a transaction of its own, because a batch with it has ended early.
    pub(crate) is_alone: bool,
    pub(crate) permit: Permit,
    pub(crate) reply: oneshot::Sender<Reply>,
}

/// What a caller receives: the result, and its script. The caller drops the script, because it has allocated the
/// arguments: a thread that frees the memory of others waits for their allocator. `None` if the request was refused before
/// it was in a batch.
pub(crate) type Reply = (Answer, Option<Script>);

/// The requests of one batch.
pub(crate) type Waiting = Vec<Request>;

/// Checks that the database is still in place, and returns the outcome of the batch after this check.
pub(crate) fn guarded(watch: &Watch, outcome: Batch) -> Batch {
    match outcome {
        Batch::Answered(answers) => match watch.check() {
            Ok(()) => Batch::Answered(answers),
            Err(loss) => Batch::LostSince(loss),
        },
        Batch::NotBegun(ref error) | Batch::Ended(ref error) => {
            watch.judge(error).map_or_else(Batch::Lost, |()| outcome)
        }
        Batch::Unknown(ref error) => watch.judge(error).map_or_else(Batch::LostSince, |()| outcome),
        Batch::Lost(_) | Batch::LostSince(_) => outcome,
    }
}

/// Whether the batch may have stored a change of which other hosts must be notified.
pub(crate) fn is_news(batch: &Waiting, outcome: &Batch) -> bool {
    match outcome {
        Batch::Answered(answers) => {
            let stored = |answer: &Answer| matches!(answer, Ok(Written::Done(_)));
            batch.iter().zip(answers).any(|(request, answer)| request.script.notifies && stored(answer))
        }
        Batch::Unknown(_) => batch.iter().any(|request| request.script.notifies),
        Batch::NotBegun(_) | Batch::Ended(_) | Batch::Lost(_) | Batch::LostSince(_) => false,
    }
}

/// Sends each request its result; `named` adds the name of the database to an error.
pub(crate) fn answer(batch: Waiting, outcome: Batch, named: impl Fn(WfeError) -> WfeError) {
    match outcome {
        Batch::Answered(answers) => {
            for (request, answer) in batch.into_iter().zip(answers) {
                send(request, answer.map_err(&named));
            }
        }
        Batch::NotBegun(error) | Batch::Ended(error) => {
            fail(batch, || named(error::storage("writing", &error)));
        }
        Batch::Unknown(error) => fail(batch, || named(error::commit_unknown(&error))),
        Batch::Lost(loss) => fail(batch, || loss.unusable()),
        Batch::LostSince(loss) => fail(batch, || loss.commit_unknown()),
    }
}

fn fail(batch: Waiting, error: impl Fn() -> WfeError) {
    for request in batch {
        send(request, Err(error()));
    }
}

fn send(Request { script, permit, reply, .. }: Request, answer: Answer) {
    // Release the permit first: a caller that receives its result may send its next request at once.
    drop(permit);
    // The send fails if the caller no longer waits.
    let _ = reply.send((answer, Some(script)));
}
