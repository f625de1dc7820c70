//! What an actor takes up while it has nothing to do itself.

use wfe_core::{Result, WfeError, executor::Run, models::WorkflowStatus};

use super::{
    actor::{Actor, Flow},
    commit,
    mail::Mail,
};
use crate::engine::{message::Phase, state::shared::Shared};

/// For which waits events may be there.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::engine) enum Listen {
    #[default]
    No,
    /// For those with these ids.
    To(Vec<String>),
    All,
}

impl Actor {
    /// Looks at the stored instance: it may have a request, or an event for any of its subscriptions, or for these. Whether
    /// it changed anything.
    pub(in crate::engine) async fn look(&mut self, run: &mut Run, waits: Option<&[String]>) -> Result<bool> {
        // An event that has become due counts for a subscription whose time is over, though it may not have its position yet.
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
            // It was removed from the store. A subscription whose limit has passed would be looked after for ever.
            None => return Err(WfeError::LostOwnership(self.work.id.clone())),
        };
        if pending.fence != self.claimed.fence {
            // Another host owns it now. Nothing is lost by ending the bodies: none of it would be stored.
            self.cancel_bodies();
            return Err(WfeError::LostOwnership(self.work.id.clone()));
        }
        self.seen = before;
        // The request first: it may have been there before the events.
        let is_requested = pending.control.is_some();
        if let Some(request) = pending.control {
            self.shared.with_env(|env| run.control(request, env))?;
        }
        let delivered = self.shared.with_env(|env| run.deliver(pending.deliveries, env))?;
        Ok(delivered || is_requested)
    }

    /// Waits until something happens (not if there is more to do at once: `again`), and hands all of it to the executor. With
    /// `listen`, events may be there for these subscriptions.
    ///
    /// The look at the store comes after all other mail: it sees what was stored before it. Results of bodies are stored
    /// before the look, in a commit of their own: if a subscription was closed behind the engine's back, only what follows
    /// from the event is void, and no step that has finished. The look that was put off for them then comes before the mail
    /// that has come meanwhile, so that neither keeps the other waiting.
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
                // What is left stays as it is stored, for the next start. Given back, the instance is not taken for
                // one that killed its process. If a request waits, it is free when this host is gone.
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

    /// Whether it changed anything.
    fn read(&mut self, run: &mut Run, mail: Mail) -> Result<bool> {
        match mail {
            Mail::Begun(pointer, job, time) => {
                self.shared.with_env(|env| {
                    env.now = time; // not when this is read
                    run.begun(&pointer, job, env);
                });
                return Ok(false);
            }
            Mail::Ended { pointer, end, goes_on } => {
                let job = end.job();
                self.shared.with_env(|env| run.ended(&pointer, end, env))?;
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
            // It looks when all else is read; an earlier `Run` has requested the items.
            Mail::Look | Mail::Items { .. } => return Ok(false),
        }
        Ok(true)
    }
}

/// Until something happens at the instance by itself.
async fn sleep(shared: &Shared, run: &Run) {
    match run.next_wake() {
        Some(at) => shared.options.clock.sleep_until(at).await,
        None => std::future::pending().await,
    }
}
