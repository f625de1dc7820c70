//! Handles the mail and the stored requests of an instance while its actor has nothing else to do.

use wfe_core::{Result, WfeError, executor::Run, models::WorkflowStatus};

use super::{
    actor::{Actor, Flow},
    commit,
    mail::Mail,
};
use crate::{
    engine::{message::Phase, state::shared::Shared},
    metrics,
};

/// The subscriptions for which events may already be stored.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::engine) enum Listen {
    #[default]
    No,
    /// The subscriptions with these ids.
    To(Vec<String>),
    All,
}

impl Actor {
    /// Reads what is stored for the instance: a request, and events for the subscriptions in `waits`. If `waits` is
    /// `None`, the events for all subscriptions of the instance are read. Returns whether anything has changed.
    pub(in crate::engine) async fn look(&mut self, run: &mut Run, waits: Option<&[String]>) -> Result<bool> {
        // An event that became due in time counts even for a subscription whose time limit has passed. The event may
        // not have its position yet, so positions are assigned first.
        if run.has_overdue()
            && !commit::position_events(&self.shared, &self.bodies.phase, &self.work.id).await
        {
            return Ok(false);
        }
        let before = self.shared.options.clock.monotonic();
        let (shared, phase, id) = (&self.shared, &self.bodies.phase, &self.work.id);
        let pending = match commit::pending(shared, phase, id, waits).await {
            Some(pending) => pending?,
            None if *self.bodies.phase.borrow() == Phase::Closing => return Ok(false),
            // The instance was removed from the store. Without this error, a subscription whose time limit has passed
            // would be checked for ever.
            None => return Err(WfeError::LostOwnership(self.work.id.clone())),
        };
        if pending.fence != self.claimed.fence {
            // Another host owns the instance now. The bodies can be cancelled without loss, because none of their
            // results would be stored.
            self.cancel_bodies();
            metrics::fence_lost();
            return Err(WfeError::LostOwnership(self.work.id.clone()));
        }
        self.seen = before;
        // The request is applied first, because it may have been stored before the events.
        let is_requested = pending.control.is_some();
        if let Some(request) = pending.control {
            self.shared.with_env(|env| run.control(request, env))?;
        }
        // The claim limits come first: a wait that a worker has claimed in time must not time out.
        let claims_changed = self.look_for_claims(run).await?;
        self.deliveries.read(&pending.deliveries);
        let delivered = self.shared.with_env(|env| run.deliver(pending.deliveries, env))?;
        Ok(delivered || is_requested || claims_changed)
    }

    /// Reads which waits the last commit has closed, because no worker had claimed them in time. Returns whether anything
    /// has changed.
    async fn look_for_claims(&mut self, run: &mut Run) -> Result<bool> {
        let undecided = run.undecided();
        if undecided.is_empty() {
            return Ok(false);
        }
        match commit::unanswerable(&self.shared, &self.bodies.phase, &self.work.id, &undecided).await {
            Some(closed) => self.shared.with_env(|env| run.decided(&closed?, env)),
            None => Ok(false), // the host closes, and the limits take effect at the next start
        }
    }

    /// Waits until something happens to the instance, and passes everything that has happened to the executor. If
    /// `again` is set, this does not wait, because more work can be done at once. `listen` says for which subscriptions
    /// events may already be stored.
    ///
    /// The store is read after all other mail has been handled, so that the read sees everything that was stored before
    /// the mail was sent. Results of bodies are stored before the store is read, in a separate commit. If another
    /// caller has closed a subscription, only the effects of the event are then discarded; the results of bodies are
    /// kept. A read that was postponed for this reason is done before newer mail is handled, so that mail cannot delay
    /// the read again.
    pub(in crate::engine) async fn wait(
        &mut self,
        run: &mut Run,
        again: bool,
        listen: Listen,
    ) -> Result<Flow> {
        let mut look = listen;
        loop {
            let phase = *self.bodies.phase.borrow_and_update();
            if phase == Phase::Closing || (phase == Phase::Draining && !self.has_wanted_bodies()) {
                // The remaining work stays in the store until the next start. Because the instance is released, it does
                // not count as one that crashed its process. If a request prevents the release, the instance becomes
                // available when this host has ended.
                let due = run.status() == WorkflowStatus::Runnable;
                let fence = self.claimed.fence;
                commit::release(&self.shared, &self.bodies.phase, fence, &self.work.id, due).await;
                return Ok(Flow::Over(None));
            }
            if std::mem::take(&mut self.put_off) {
                look = Listen::No;
                if self.look(run, None).await? {
                    return Ok(Flow::Goes);
                }
            }
            let mut next = tokio::select! {
                biased;
                mail = self.mailbox.recv() => Some(mail),
                () = std::future::ready(()), if again || look != Listen::No => None,
                () = sleep(&self.shared, run) => return Ok(Flow::Goes),
                changed = self.bodies.phase.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return Ok(Flow::Over(None)), // the dispatcher has ended
                },
            };
            let mut changed = false;
            while let Some(mail) = next {
                match mail {
                    Mail::Look => look = Listen::All,
                    mail => changed |= self.read(run, mail)?,
                }
                next = self.mailbox.try_recv();
            }
            match std::mem::take(&mut look) {
                Listen::No => {}
                _ if changed => self.put_off = true,
                Listen::All => changed = self.look(run, None).await?,
                Listen::To(waits) => changed = self.look(run, Some(&waits)).await?,
            }
            if changed || again {
                return Ok(Flow::Goes);
            }
        }
    }

    /// Handles a message. Returns whether the message has changed anything.
    fn read(&mut self, run: &mut Run, mail: Mail) -> Result<bool> {
        match mail {
            Mail::Begun(execution, job, time) => {
                self.shared.with_env(|env| {
                    env.now = time; // the time of the start, not of the message
                    run.begun(execution.pointer(), job, env);
                });
                return Ok(false);
            }
            Mail::Ended { execution, end, goes_on } => {
                let job = end.job();
                self.shared.with_env(|env| run.ended(execution.pointer(), end, env))?;
                match self.spawned.get(&job).filter(|_| goes_on) {
                    Some(body) => run.still_at_work(job, &body.execution),
                    None => drop(self.spawned.remove(&job)),
                }
            }
            Mail::NotRun(job) => {
                self.spawned.remove(&job);
                self.others.remove(&job);
                return run.body_over(job);
            }
            Mail::Items { asker, container, from, read } if asker == self.opened => {
                let values = read?;
                self.shared.with_env(|env| run.items(&container, from, values, env))?;
            }
            // The store is read after all other mail. Items that an earlier `Run` requested are ignored.
            Mail::Look | Mail::Items { .. } => return Ok(false),
        }
        Ok(true)
    }
}

/// Waits until the next timer of the instance is due.
async fn sleep(shared: &Shared, run: &Run) {
    match run.next_wake() {
        Some(at) => {
            shared.options.clock.sleep_until(at).await;
            metrics::moves_on(Some(at), || shared.now());
        }
        None => std::future::pending().await,
    }
}
