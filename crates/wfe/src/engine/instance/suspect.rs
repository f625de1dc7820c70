//! Instances that may kill their process: each runs alone in it until its next commit.

use std::time::Duration;

use tokio::time::Instant;
use wfe_core::{
    logging,
    steps::StepError,
    traits::{Deaths, Fence, Isolation},
};

use super::{actor::Actor, commit, mail::Mail, quarantine::Quarantine, trial::Trial};
use crate::engine::{
    isolation::{self, PROCESS, Ticket},
    message::{Phase, PhaseWatch},
    state::shared::Shared,
};

/// Deaths while it ran alone after which an instance is suspended: so many that a machine which is switched off now and then,
/// or a deployment that kills instead of stopping, hardly ever meets the same instance that often in a row.
const POISONED_AFTER: u32 = 10;

/// Why an instance is suspended that has killed its process too often.
pub(in crate::engine) fn poisoned(id: &str, deaths: Deaths) -> Option<Quarantine> {
    if deaths.alone < POISONED_AFTER {
        return None;
    }
    let reason = format!(
        "its process died {} times in a row while this instance alone ran in it, and came to no commit: it kills its \
         process, or the process was killed from outside each time; resume it to have it try again",
        deaths.alone
    );
    logging::error!(instance = id, code = StepError::POISON, "the instance is suspended: {reason}");
    Some(Quarantine::whole(StepError::fatal(reason).with_code(StepError::POISON)))
}

impl Actor {
    /// Waits until the instance, a suspect, may run, alone if that is possible, and notes it. `None`: the host stops, or the
    /// instance is another's.
    pub(in crate::engine) async fn await_trial(&mut self, is_requested: bool) -> Option<Trial> {
        let (shared, id, fence) = (self.shared.clone(), self.work.id.clone(), self.claimed.fence);
        let deaths = self.claimed.deaths;
        logging::info!(
            instance = id,
            deaths = deaths.in_a_row,
            alone = deaths.alone,
            "the instance runs alone until its next commit: its process died each time since the last one"
        );
        let allowance = isolation::allowance(deaths);
        let mut pause = commit::Pause::new(self.bodies.phase.clone());
        loop {
            let mut ticket = self.ticket.take().unwrap_or_else(|| PROCESS.request());
            if is_requested {
                PROCESS.prioritize(ticket.number());
            }
            let is_alone = self.await_ticket(&mut ticket, allowance).await?;
            let way = if is_alone { Isolation::Alone } else { Isolation::Turn };
            match shared.store.isolate(&id, fence, way).await {
                Ok(true) => {
                    let number = ticket.number();
                    let (phase, began) = (self.bodies.phase.clone(), Instant::now());
                    let watch = tokio::spawn(async move {
                        tokio::time::sleep_until(began + allowance).await;
                        PROCESS.keeps_others_waiting().await;
                        if is_noted(&shared, phase, &id, fence, Isolation::Over).await {
                            PROCESS.end_trial(number);
                        }
                    });
                    return Some(Trial { ticket, watch });
                }
                Ok(false) => {
                    logging::warn!(instance = id, "another process goes on with the instance");
                    return None;
                }
                Err(error) => {
                    drop(ticket); // others may run meanwhile
                    commit::report(&shared.store.loss, &id, &error);
                    if !pause.rest().await {
                        return None;
                    }
                }
            }
        }
    }

    /// Whether it is alone. `None`: the host stops.
    async fn await_ticket(&mut self, ticket: &mut Ticket, patience: Duration) -> Option<bool> {
        // It has nothing in memory, and the others shall not wait in the store for it.
        let _aside = self.work.step_aside();
        let (number, mut phase) = (ticket.number(), self.bodies.phase.clone());
        let mut begin = std::pin::pin!(ticket.begin(patience));
        loop {
            if *phase.borrow_and_update() != Phase::Running {
                let fence = self.claimed.fence;
                commit::release(&self.shared, &self.bodies.phase, fence, &self.work.id, false).await;
                return None;
            }
            tokio::select! {
                biased;
                mail = self.mailbox.recv() => match mail {
                    // A body that another actor has begun. It is mailed once only.
                    Mail::NotRun(job) => drop(self.others.remove(&job)),
                    // A request has its effect when the instance is read again; that comes first, whatever else waits.
                    _ => PROCESS.prioritize(number),
                },
                is_alone = &mut begin => return Some(is_alone),
                changed = phase.changed() => changed.ok()?, // an error: the dispatcher has ended
            }
        }
    }
}

/// Whether the store has noted it. `false`: the host closes.
async fn is_noted(shared: &Shared, phase: PhaseWatch, id: &str, fence: Fence, way: Isolation) -> bool {
    let mut pause = commit::Pause::new(phase);
    loop {
        match shared.store.isolate(id, fence, way).await {
            // Another one goes on with it: nothing that happens here is its own.
            Ok(_) => return true,
            Err(error) => {
                commit::report(&shared.store.loss, id, &error);
                if !pause.rest().await {
                    return false;
                }
            }
        }
    }
}
