//! What reaches the actor of an instance.
//!
//! A mailbox is bounded without permits, so that to send mail never waits: of a body it gets its begin, the end of its
//! attempt and the end of its thread, once each, and bodies have [slots](crate::engine::steps::slots); items come once for each
//! time that the actor requests some; and requests to look at the store merge into one.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Mutex, MutexGuard},
};

use chrono::{DateTime, Utc};
use tokio::sync::Notify;
use wfe_core::{Result, definition::BodyEnd, sync::lock};

/// What an actor gets.
pub(in crate::engine) enum Mail {
    /// The body of this pointer, and the job of this number, began then; its time is limited.
    Begun(String, u64, DateTime<Utc>),
    /// The body of this pointer ended. If it `goes_on`, only its attempt has ended: the body blocks a thread, and the
    /// middleware around it has not waited for that.
    Ended { pointer: String, end: BodyEnd, goes_on: bool },
    /// The body of the job of this number is over without a result: it never began, or was dropped, with the program's
    /// runtime, or because it went on for too long after its cancellation; or it has gone on after its attempt.
    NotRun(u64),
    /// Items that the `Run` requested that was opened as the `asker`-th: they, or why they cannot be read, from the one
    /// at the position `from` on.
    Items { asker: u64, container: String, from: u64, read: Result<Vec<serde_json::Value>> },
    /// Look at the stored instance: it may have a request, or an event. It comes after all else that is there.
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

/// Where mail for an actor is sent. It never waits.
#[derive(Clone)]
pub(in crate::engine) struct MailSender(Arc<Mailbox>);

/// The actor's own end. Dropped, it closes the mailbox.
pub(in crate::engine) struct MailReceiver(Arc<Mailbox>);

pub(in crate::engine) fn mailbox() -> (MailSender, MailReceiver) {
    let mailbox = Arc::new(Mailbox { state: Mutex::default(), arrived: Notify::new() });
    (MailSender(mailbox.clone()), MailReceiver(mailbox))
}

impl MailSender {
    /// `false`: the actor has ended, and does not get it.
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
    /// The next mail that is there; `None`: none is for now.
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
        drop(void); // values of the user's, whose `Drop` may do anything
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
