use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use wfe_core::{
    Result,
    executor::StepExecution,
    traits::{Claimed, Loaded},
};

use super::{
    isolated_run::Trial,
    mail::{MailReceiver, MailSender},
};
use crate::{
    engine::{
        isolation::Ticket,
        state::shared::{AtWork, Shared},
        steps::runner::Bodies,
    },
    metrics,
};

/// Works on one instance from its claim until nothing is left to run at the moment. The actor makes one pass after the
/// other, and at most one commit is in progress. Results that arrive during a commit are stored together in the next
/// commit.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, and all combinations occur")]
pub(in crate::engine) struct Actor {
    pub(in crate::engine) shared: Arc<Shared>,
    pub(in crate::engine) bodies: Bodies,
    pub(in crate::engine) claimed: Claimed,
    pub(in crate::engine) work: AtWork,
    pub(in crate::engine) mail: MailSender,
    pub(in crate::engine) mailbox: MailReceiver,
    /// The bodies that run or wait for a slot. The keys are the numbers of their jobs. Cancelled bodies are included
    /// until they have ended.
    pub(in crate::engine) spawned: HashMap<u64, Spawned>,
    /// The bodies that another actor of this process has started for this instance and that have not ended yet. The
    /// keys are the job numbers that this actor has assigned to them.
    pub(in crate::engine) others: HashMap<u64, StepExecution>,
    /// Whether this actor has recorded that some pointers wait until an earlier body has ended.
    pub(in crate::engine) has_held: bool,
    /// The highest job number so far, over all `Run`s of this actor.
    pub(in crate::engine) last_job: u64,
    /// How many `Run`s were opened. Items that were read for a `Run` are passed only to the `Run` that requested them.
    pub(in crate::engine) opened: u64,
    /// The actor has to read the store again, but only after the results of bodies are stored.
    pub(in crate::engine) put_off: bool,
    /// How many times in a row the subscriptions in the store differed from those in this host's memory.
    pub(in crate::engine) stale: u32,
    /// Whether something was stored since the instance was last opened.
    pub(in crate::engine) has_stored: bool,
    /// The reading of the monotonic clock when this host's ownership of the instance was last confirmed.
    pub(in crate::engine) seen: Duration,
    /// The instance may crash its process. Until its next commit, the instance runs only during its
    /// [`trial`](Self::trial).
    pub(in crate::engine) is_suspect: bool,
    /// The ticket is requested as soon as the instance is claimed, so that suspects run in the order in which they are
    /// due.
    pub(in crate::engine) ticket: Option<Ticket>,
    pub(in crate::engine) trial: Option<Trial>,
    /// The metrics of the definition, once the instance was read.
    pub(in crate::engine) measured: metrics::Definition,
    pub(in crate::engine) deliveries: metrics::Deliveries,
    /// Since when the first bodies could begin.
    pub(in crate::engine) due: metrics::Due,
}

/// A body that was passed to the runner.
pub(in crate::engine) struct Spawned {
    pub token: CancellationToken,
    pub execution: StepExecution,
}

/// Where the state of an instance is when work on it begins.
pub(in crate::engine) enum State {
    /// In memory, because the instance was just stored.
    Here(Box<Loaded>),
    /// In memory, because the claim has loaded it. The `Duration` is the reading of the monotonic clock when the claim
    /// began.
    Claimed(Box<Result<Loaded>>, Duration),
}

/// What an actor reports to the dispatcher when its work is over.
pub(in crate::engine) struct Parting {
    /// When the instance is due next.
    pub next: Option<i64>,
    /// The actor was requested to read the store again, and has ended without reading it.
    pub is_look_due: bool,
}

/// Whether the actor continues.
pub(in crate::engine) enum Flow {
    Goes,
    /// The work of the actor is over. Holds the time at which the instance is due next.
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
            measured: metrics::Definition::default(),
            deliveries: metrics::Deliveries::default(),
            due: metrics::Due::default(),
        }
    }

    /// Cancels the bodies that still run.
    pub(in crate::engine) fn cancel_bodies(&self) {
        self.spawned.values().for_each(|body| body.token.cancel());
    }

    /// Whether any body that was not cancelled is still waiting or running.
    pub(in crate::engine) fn has_wanted_bodies(&self) -> bool {
        self.spawned.values().any(|body| !body.token.is_cancelled())
    }
}

impl Drop for Actor {
    /// When the host is dropped, cancels the bodies of the instance.
    fn drop(&mut self) {
        self.cancel_bodies();
        if self.has_held {
            self.shared.in_flight.hold(&self.work.id.as_str().into(), Vec::new());
        }
    }
}
