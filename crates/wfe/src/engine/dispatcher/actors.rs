//! Who works on which instance. One can begin while the main loop waits for the store.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::sync::mpsc;
use wfe_core::{logging, sync::lock, traits::Claimed};

use crate::engine::{
    instance::{
        actor::{Actor, Parting, State},
        mail::{Mail, MailSender, mailbox},
    },
    state::shared::{AtWork, Shared},
    steps::runner::Bodies,
};

/// The actors of the instances that this host works on.
pub(super) struct Actors {
    shared: Arc<Shared>,
    bodies: Bodies,
    gone: mpsc::UnboundedSender<Gone>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    entries: HashMap<String, Entry>,
    made: u64,
}

struct Entry {
    number: u64,
    mail: MailSender,
}

/// An actor has ended.
pub(super) struct Gone {
    pub id: String,
    pub number: u64,
    pub parting: Parting,
}

/// Tells that an actor has ended, however it ended.
struct Farewell {
    gone: mpsc::UnboundedSender<Gone>,
    id: String,
    number: u64,
    /// `None`: it did not come to its end.
    parting: Option<Parting>,
}

impl Farewell {
    fn say(mut self, parting: Parting) {
        self.parting = Some(parting);
    }
}

impl Drop for Farewell {
    fn drop(&mut self) {
        if std::thread::panicking() {
            logging::error!(
                instance = self.id,
                "the engine panicked at this instance, which is blocked until another host takes it over, or the next start"
            );
        }
        // It may have a request.
        let parting = self.parting.take().unwrap_or(Parting { next: None, is_look_due: true });
        // It fails only if the dispatcher has ended.
        let _over = self.gone.send(Gone { id: std::mem::take(&mut self.id), number: self.number, parting });
    }
}

impl Actors {
    pub fn new(shared: Arc<Shared>, bodies: Bodies, gone: mpsc::UnboundedSender<Gone>) -> Self {
        Self { shared, bodies, gone, known: Mutex::default() }
    }

    /// To be called on the engine's runtime.
    pub fn begin(&self, claimed: Claimed, state: State, work: AtWork) {
        let (mail, mailbox) = mailbox();
        let id = claimed.id.clone();
        let mut known = self.lock();
        known.made += 1;
        let number = known.made;
        // An actor of the same id that is still there has given the instance back, or another process has taken it over;
        // then it looks, and ends. Its number tells it apart.
        if let Some(before) = known.entries.insert(id.clone(), Entry { number, mail: mail.clone() }) {
            before.mail.send(Mail::Look);
        }
        drop(known);
        let actor = Actor::new(self.shared.clone(), self.bodies.clone(), claimed, work, mail, mailbox);
        let farewell = Farewell { gone: self.gone.clone(), id: id.clone(), number, parting: None };
        // Its definition is recorded once the instance is read.
        let span = logging::info_span!(
            parent: None,
            "workflow",
            instance = id,
            definition = logging::tracing::field::Empty,
            version = logging::tracing::field::Empty,
        );
        let work = async move {
            let parting = actor.live(state).await;
            farewell.say(parting);
        };
        tokio::spawn(span.instrument(work));
    }

    /// Mails the instance's actor to look at the store; `false`: it has none here.
    pub fn look(&self, id: &str) -> bool {
        self.lock().entries.get(id).is_some_and(|entry| entry.mail.send(Mail::Look))
    }

    /// `false`: another actor works on that instance by now.
    pub fn forget(&self, gone: &Gone) -> bool {
        let mut known = self.lock();
        let is_last = known.entries.get(&gone.id).is_some_and(|entry| entry.number == gone.number);
        if is_last {
            known.entries.remove(&gone.id);
        }
        is_last
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn len(&self) -> usize {
        self.lock().entries.len()
    }

    /// How many there have been.
    pub fn made(&self) -> u64 {
        self.lock().made
    }

    /// The instances that have one.
    pub fn ids(&self) -> HashSet<String> {
        self.lock().entries.keys().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        lock(&self.known)
    }
}
