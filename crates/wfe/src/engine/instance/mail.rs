//! Messages to the actor of an instance.
//!
//! The size of a mailbox is bounded without permits, so sending mail never waits. The number of bodies is limited by
//! [slots](crate::engine::steps::slots). Each body sends at most three messages: for its start, for the end of its
//! attempt, and for the end of its thread. Items arrive once for each request of the actor. Requests to read the store
//! merge into one.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Mutex, MutexGuard},
};

use chrono::{DateTime, Utc};
use tokio::sync::Notify;
use wfe_core::{Result, definition::BodyEnd, executor::StepExecution, sync::lock};

/// A message to an actor.
pub(in crate::engine) enum Mail {
    /// A body has started. Holds the body's execution, the number of its job, and the time at which the body started.
    /// This message is sent only if the body has a time limit.
    Begun(StepExecution, u64, DateTime<Utc>),
    /// The body of this execution has ended. If `goes_on` is set, only the attempt has ended: the body still blocks a
    /// thread, because the enclosing middleware did not wait for the body.
    Ended { execution: StepExecution, end: BodyEnd, goes_on: bool },
    /// The body of the job with this number has ended without a result. Either the body never started, or it was
    /// dropped, or it ran on after its attempt and has now ended. A body is dropped when the program's runtime is
    /// dropped, or when the body runs for too long after its cancellation.
    NotRun(u64),
    /// The items that the `Run` with the number `asker` has requested, from the position `from` on. `read` is an error
    /// if the items cannot be read.
    Items { asker: u64, container: String, from: u64, read: Result<Vec<serde_json::Value>> },
    /// Requests the actor to read the store, where the instance may have a request or an event. This message is
    /// delivered after all other messages in the mailbox.
    Look,
}

struct Mailbox {
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Default)]
struct State {
    mail: VecDeque<Mail>,
    is_look_due: bool,
    /// The actor has ended.
    is_closed: bool,
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// The sending end of a mailbox. Sending never waits.
#[derive(Clone)]
pub(in crate::engine) struct MailSender(Arc<Mailbox>);

/// The receiving end of a mailbox. The actor holds this end; the mailbox closes when the end is dropped.
pub(in crate::engine) struct MailReceiver(Arc<Mailbox>);

pub(in crate::engine) fn mailbox() -> (MailSender, MailReceiver) {
    let mailbox = Arc::new(Mailbox { state: Mutex::default(), arrived: Notify::new() });
    (MailSender(mailbox.clone()), MailReceiver(mailbox))
}

impl MailSender {
    /// Sends mail. Returns `false` if the actor has ended and does not receive the mail.
    pub fn send(&self, mail: Mail) -> bool {
        let mut state = self.0.lock();
        if state.is_closed {
            return false;
        }
        match mail {
            Mail::Look => state.is_look_due = true,
            mail => state.mail.push_back(mail),
        }
        drop(state);
        self.0.arrived.notify_one();
        true
    }
}

impl MailReceiver {
    /// Returns the next mail, or `None` if the mailbox is empty at the moment.
    pub fn try_recv(&mut self) -> Option<Mail> {
        let mut state = self.0.lock();
        let next = state.mail.pop_front();
        next.or_else(|| mem::take(&mut state.is_look_due).then_some(Mail::Look))
    }

    /// Waits for the next mail.
    pub async fn recv(&mut self) -> Mail {
        loop {
            if let Some(mail) = self.try_recv() {
                return mail;
            }
            self.0.arrived.notified().await;
        }
    }
}

impl Drop for MailReceiver {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_closed = true;
        let void = mem::take(&mut state.mail);
        drop(state);
        drop(void); // drops user values outside the lock, because their `Drop` may do anything
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn however_often_an_actor_is_to_look_it_is_mailed_once_and_after_all_else() {
        let (mail, mut mailbox) = mailbox();
        assert!(mailbox.recv().now_or_never().is_none());
        for job in 1..=3 {
            assert!(mail.send(Mail::Look));
            assert!(mail.send(Mail::NotRun(job)));
        }
        for job in 1..=3 {
            assert!(matches!(mailbox.recv().now_or_never(), Some(Mail::NotRun(number)) if number == job));
        }
        assert!(matches!(mailbox.try_recv(), Some(Mail::Look)));
        assert!(mailbox.recv().now_or_never().is_none());
        assert!(mail.send(Mail::Look));
        assert!(matches!(mailbox.recv().now_or_never(), Some(Mail::Look)));
    }

    #[test]
    fn mail_to_an_actor_that_has_ended_is_refused() {
        let (mail, mailbox) = mailbox();
        assert!(mail.send(Mail::Look));
        drop(mailbox);
        assert!(!mail.send(Mail::Look) && !mail.send(Mail::NotRun(1)));
    }
}
