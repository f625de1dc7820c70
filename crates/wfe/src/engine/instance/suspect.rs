//! Instances that may crash their process: each of them runs alone in the process until its next commit.

use std::time::Duration;

use tokio::time::Instant;
use wfe_core::{
    logging,
    steps::StepError,
    traits::{Deaths, Fence, Isolation},
};

use super::{actor::Actor, commit, isolated_run::Trial, mail::Mail, quarantine::Quarantine};
use crate::engine::{
    isolation::{self, PROCESS, Ticket},
    message::{Phase, PhaseWatch},
    state::shared::Shared,
    task,
};

/// An instance is suspended after its process has crashed this many times while the instance ran alone. The number is
/// large, so that occasional power failures, or deployments that kill the process, hardly ever hit the same instance
/// that often in a row.
const POISONED_AFTER: u32 = 10;

/// Returns the quarantine of an instance that has crashed its process too often. Returns `None` if the limit is not
/// reached.
pub(in crate::engine) fn poisoned(id: &str, deaths: Deaths) -> Option<Quarantine> {
    if deaths.alone < POISONED_AFTER {
        return None;
    }
    let reason = format!(
        "its process crashed {} times in a row while only this instance ran in it, without a commit: it kills its \
         process, or the process was killed from outside each time; resume it to have it try again",
        deaths.alone
    );
    logging::debug!(
        wfe.instance.id = id,
        code = StepError::POISON,
        "the instance will be quarantined: {reason}"
    );
    Some(Quarantine::whole(StepError::fatal(reason).with_code(StepError::POISON)))
}

impl Actor {
    /// Waits until this suspect may run, alone if possible, and records in the store whether it runs alone. Returns
    /// `None` if the host stops, or if another host owns the instance.
    pub(in crate::engine) async fn await_trial(&mut self, is_requested: bool) -> Option<Trial> {
        let (shared, id, fence) = (self.shared.clone(), self.work.id.clone(), self.claimed.fence);
        let deaths = self.claimed.deaths;
        logging::info!(
            wfe.instance.id = id,
            deaths = deaths.in_a_row,
            alone = deaths.alone,
            "the instance runs alone until its next commit: its process has crashed repeatedly since the last commit"
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
                    let watch = task::spawn(async move {
                        tokio::time::sleep_until(began + allowance).await;
                        PROCESS.keeps_others_waiting().await;
                        if is_noted(&shared, phase, &id, fence, Isolation::Over).await {
                            PROCESS.end_trial(number);
                        }
                    });
                    return Some(Trial { ticket, watch });
                }
                Ok(false) => {
                    logging::warn!(wfe.instance.id = id, "another process owns the instance now");
                    return None;
                }
                Err(error) => {
                    drop(ticket); // other instances may run meanwhile
                    commit::report(&shared.store.loss, &id, &error);
                    if !pause.rest().await {
                        return None;
                    }
                }
            }
        }
    }

    /// Waits for the trial to begin. Returns whether the instance runs alone, or `None` if the host stops.
    async fn await_ticket(&mut self, ticket: &mut Ticket, patience: Duration) -> Option<bool> {
        // The state of the instance is not in memory during the wait, so it does not occupy capacity that other
        // instances could use.
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
                    // A body that another actor has started has ended. This is mailed only once.
                    Mail::NotRun(job) => drop(self.others.remove(&job)),
                    // A request takes effect when the instance is read again, so the instance comes before all other
                    // suspects that wait.
                    _ => PROCESS.prioritize(number),
                },
                is_alone = &mut begin => return Some(is_alone),
                changed = phase.changed() => changed.ok()?, // an error means that the dispatcher has ended
            }
        }
    }
}

/// Records the isolation of the instance in the store. Returns `false` if the host closes.
async fn is_noted(shared: &Shared, phase: PhaseWatch, id: &str, fence: Fence, way: Isolation) -> bool {
    let mut pause = commit::Pause::new(phase);
    loop {
        match shared.store.isolate(id, fence, way).await {
            // `Ok(false)` means that another host owns the instance now. Nothing needs to be recorded then, because a
            // crash of this process no longer counts for the instance.
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
