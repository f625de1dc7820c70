//! Records which actor works on which instance. An actor can start while the main loop waits for the store.

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
    task,
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

/// The message that reports the end of an actor.
pub(super) struct Gone {
    pub id: String,
    pub number: u64,
    pub parting: Parting,
}

/// When this value is dropped, it reports that the actor has ended, even if the actor panicked.
struct Farewell {
    gone: mpsc::UnboundedSender<Gone>,
    id: String,
    number: u64,
    /// `None` means that the actor did not finish normally.
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
                wfe.instance.id = self.id,
                "the engine panicked while it worked on this instance; the instance is blocked until another host takes it over, or until the next start"
            );
        }
        // After a panic, the instance may have a request that its actor has not read.
        let parting = self.parting.take().unwrap_or(Parting { next: None, is_look_due: true });
        // Sending fails only if the dispatcher has ended.
        let _over = self.gone.send(Gone { id: std::mem::take(&mut self.id), number: self.number, parting });
    }
}

impl Actors {
    pub fn new(shared: Arc<Shared>, bodies: Bodies, gone: mpsc::UnboundedSender<Gone>) -> Self {
        Self { shared, bodies, gone, known: Mutex::default() }
    }

    /// Starts an actor for a claimed instance. Must be called on the engine's runtime.
    pub fn begin(&self, claimed: Claimed, state: State, work: AtWork) {
        let (mail, mailbox) = mailbox();
        let id = claimed.id.clone();
        let mut known = self.lock();
        known.made += 1;
        let number = known.made;
        // An earlier actor of the same instance may still run. Either it has released the instance, or another process
        // has taken the instance over. In both cases the earlier actor reads the store and ends. The number
        // distinguishes the two actors.
        if let Some(before) = known.entries.insert(id.clone(), Entry { number, mail: mail.clone() }) {
            before.mail.send(Mail::Look);
        }
        drop(known);
        let actor = Actor::new(self.shared.clone(), self.bodies.clone(), claimed, work, mail, mailbox);
        let farewell = Farewell { gone: self.gone.clone(), id: id.clone(), number, parting: None };
        // The definition and the version are recorded in the span once the instance is read.
        let span = logging::info_span!(
            parent: None,
            "workflow",
            wfe.instance.id = id,
            wfe.definition.id = logging::tracing::field::Empty,
            wfe.definition.version = logging::tracing::field::Empty,
        );
        let work = async move {
            let parting = actor.live(state).await;
            farewell.say(parting);
        };
        task::spawn(span.instrument(work));
    }

    /// Requests the instance's actor to read the store again. Returns `false` if the instance has no actor here.
    pub fn look(&self, id: &str) -> bool {
        self.lock().entries.get(id).is_some_and(|entry| entry.mail.send(Mail::Look))
    }

    /// Forgets an actor that has ended. Returns `false` if another actor already works on the instance.
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

    /// How many actors have been started so far.
    pub fn made(&self) -> u64 {
        self.lock().made
    }

    /// The ids of the instances that have an actor.
    pub fn ids(&self) -> HashSet<String> {
        self.lock().entries.keys().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        lock(&self.known)
    }
}
