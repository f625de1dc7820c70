use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use wfe_core::{
    Result,
    executor::StepExecution,
    traits::{Claimed, Loaded},
};

use super::{
    mail::{MailReceiver, MailSender},
    trial::Trial,
};
use crate::engine::{
    isolation::Ticket,
    state::shared::{AtWork, Shared},
    steps::runner::Bodies,
};

/// Works on one instance from its claim until nothing is left to run now: one pass after the other, at most one commit
/// under way. Results that come while it is go into the next one together.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, and all combinations occur")]
pub(in crate::engine) struct Actor {
    pub(in crate::engine) shared: Arc<Shared>,
    pub(in crate::engine) bodies: Bodies,
    pub(in crate::engine) claimed: Claimed,
    pub(in crate::engine) work: AtWork,
    pub(in crate::engine) mail: MailSender,
    pub(in crate::engine) mailbox: MailReceiver,
    /// Bodies that run or wait for a free slot, by the numbers of their jobs; cancelled ones too, until they have ended.
    pub(in crate::engine) spawned: HashMap<u64, Spawned>,
    /// Bodies of the instance that have not ended in this process, but that another actor has begun, by numbers of jobs
    /// that they got here.
    pub(in crate::engine) others: HashMap<u64, StepExecution>,
    /// Whether it was noted that pointers wait for the end of an earlier body.
    pub(in crate::engine) has_held: bool,
    /// The number of the last job there was, whichever `Run` gave it.
    pub(in crate::engine) last_job: u64,
    /// How many `Run`s were opened. Items are for the one that asked for them.
    pub(in crate::engine) opened: u64,
    /// A look at the store is due that was put off until what bodies left is stored.
    pub(in crate::engine) put_off: bool,
    /// How often in a row the store had other waits than this host.
    pub(in crate::engine) stale: u32,
    /// Something was stored since the instance was last opened.
    pub(in crate::engine) has_stored: bool,
    /// When this host was last seen to own the instance, by the monotonic clock.
    pub(in crate::engine) seen: Duration,
    /// It may be what kills its process: until its next commit it runs only on [`trial`](Self::trial).
    pub(in crate::engine) is_suspect: bool,
    /// Asked for as soon as it was claimed: suspects come in the order in which they are due.
    pub(in crate::engine) ticket: Option<Ticket>,
    pub(in crate::engine) trial: Option<Trial>,
}

/// A body that was handed out.
pub(in crate::engine) struct Spawned {
    pub token: CancellationToken,
    pub execution: StepExecution,
}

/// Where the state of an instance is when work on it begins.
pub(in crate::engine) enum State {
    /// Here: it was just stored.
    Here(Box<Loaded>),
    /// Here, as it was loaded with its claim, which began then by the monotonic clock.
    Claimed(Box<Result<Loaded>>, Duration),
}

/// What an actor leaves when its work is over.
pub(in crate::engine) struct Parting {
    /// When to look at the instance again.
    pub next: Option<i64>,
    /// It was mailed to look, and has ended without doing so.
    pub is_look_due: bool,
}

/// Whether the actor goes on.
pub(in crate::engine) enum Flow {
    Goes,
    /// Its work is over, with the time to look at the instance again.
    Over(Option<i64>),
}

impl Actor {
    pub fn new(
        shared: Arc<Shared>,
        bodies: Bodies,
        claimed: Claimed,
        work: AtWork,
        mail: MailSender,
        mailbox: MailReceiver,
    ) -> Self {
        let (seen, is_suspect) = (shared.options.clock.monotonic(), claimed.deaths.is_suspect());
        Self {
            shared,
            bodies,
            claimed,
            work,
            mail,
            mailbox,
            spawned: HashMap::new(),
            others: HashMap::new(),
            has_held: false,
            last_job: 0,
            opened: 0,
            put_off: false,
            stale: 0,
            has_stored: false,
            seen,
            is_suspect,
            ticket: None,
            trial: None,
        }
    }

    /// Cancels the bodies that still run.
    pub(in crate::engine) fn cancel_bodies(&self) {
        self.spawned.values().for_each(|body| body.token.cancel());
    }

    /// Whether a body goes on that was not cancelled.
    pub(in crate::engine) fn has_wanted_bodies(&self) -> bool {
        self.spawned.values().any(|body| !body.token.is_cancelled())
    }
}

impl Drop for Actor {
    /// The host was dropped, and its bodies with it.
    fn drop(&mut self) {
        self.cancel_bodies();
        if self.has_held {
            self.shared.in_flight.hold(&self.work.id.as_str().into(), Vec::new());
        }
    }
}
