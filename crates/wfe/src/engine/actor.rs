use std::{collections::HashMap, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};
use wfe_core::{
    Result, WfeError,
    executor::{Effects, Job, Lifecycle, Run, Want},
    models::WorkflowStatus,
    steps::StepError,
    traits::{Claimed, Loaded},
};

use super::{
    Mail, Phase,
    ahead::Due,
    parking::Parked,
    storing::{self, Stored},
};
use crate::{
    bodies::Bodies,
    middleware::{self, WorkflowEnd},
    outcome::End,
    shared::{AtWork, Shared},
};

/// Claimed this often in a row without a commit, an instance is suspended: it seems to kill its process each time.
const POISONED_AFTER: u32 = 10;

/// Waits are rarely closed behind the engine's back: this often in a row, something else is wrong.
const STALE_AT_MOST: u32 = 5;

/// Works on one instance from its claim until nothing is left to run now: one pass after the other, at most one commit
/// under way. Results that come while it is go into the next one together.
pub(super) struct Actor {
    pub(super) shared: Arc<Shared>,
    pub(super) bodies: Bodies,
    pub(super) claimed: Claimed,
    pub(super) work: AtWork,
    mail: mpsc::UnboundedSender<Mail>,
    pub(super) mailbox: mpsc::UnboundedReceiver<Mail>,
    /// Bodies that run or wait for a free slot, by the numbers of their jobs.
    spawned: HashMap<u64, CancellationToken>,
    /// How often in a row the store had other waits than this host.
    stale: u32,
    /// Something was stored since the instance was last opened.
    has_stored: bool,
    /// When this host was last seen to own the instance, by the monotonic clock.
    pub(super) seen: Duration,
}

/// Where the state of an instance is when work on it begins.
pub(super) enum State {
    /// Here, with whoever has just stored it.
    Here(Box<Loaded>),
    /// It is being read, together with others.
    Coming(oneshot::Receiver<Loaded>),
    /// In the store only.
    Stored,
}

/// Whether the actor's work is over.
enum Worked {
    Over(Option<i64>),
    /// What is in memory is out of date: from the store, once more.
    Again,
}

/// Whether a turn of the actor's work is over.
enum Turn {
    Goes,
    /// With the time to look at the instance again.
    Over(Option<i64>),
}

impl Actor {
    pub fn new(
        shared: Arc<Shared>,
        bodies: Bodies,
        claimed: Claimed,
        work: AtWork,
        mail: mpsc::UnboundedSender<Mail>,
        mailbox: mpsc::UnboundedReceiver<Mail>,
    ) -> Self {
        let (spawned, stale, has_stored) = (HashMap::new(), 0, false);
        let seen = shared.options.clock.monotonic();
        Self { shared, bodies, claimed, work, mail, mailbox, spawned, stale, has_stored, seen }
    }

    /// Works until the work is over; gives the time to look at the instance again.
    pub async fn live(mut self, state: State) -> Option<i64> {
        let mut parked = (self.claimed.claims >= POISONED_AFTER).then(|| {
            let claims = self.claimed.claims;
            let reason = format!("it was claimed {claims} times in a row and never came to a commit");
            Parked::whole(StepError::fatal(reason).with_code(StepError::POISON))
        });
        let mut here = match state {
            State::Here(loaded) => Some(*loaded),
            State::Coming(loaded) => match loaded.await {
                Ok(loaded) => {
                    self.await_start(&loaded).await;
                    Some(loaded)
                }
                Err(_) => None, // it does not come this way
            },
            State::Stored => None,
        };
        loop {
            let before = self.shared.options.clock.monotonic();
            let is_read = here.is_none();
            let at_hand = match here.take() {
                Some(loaded) => loaded,
                None => match storing::load_or_corrupt(&self.shared, &self.bodies.phase, &self.work.id).await
                {
                    None => return None,
                    Some(Ok(loaded)) => {
                        self.await_start(&loaded).await;
                        loaded
                    }
                    Some(Err(corrupt)) => {
                        storing::suspend_unread(
                            &self.shared,
                            &self.bodies.phase,
                            self.claimed.fence,
                            &self.work.id,
                            &corrupt,
                        )
                        .await;
                        return None;
                    }
                },
            };
            if at_hand.fence != self.claimed.fence {
                tracing::warn!(instance = self.work.id, "another process goes on with the instance");
                return None;
            }
            if is_read {
                self.seen = before;
            }
            let keeps_bodies = parked.as_ref().is_some_and(Parked::keeps_bodies);
            // What its bodies mail is not to be read here.
            if !keeps_bodies {
                match self.await_due(&at_hand).await {
                    Due::Now => {}
                    Due::Look => continue,
                    Due::Never => return None,
                }
            }
            self.has_stored = false;
            match self.work_on(at_hand, parked.as_mut()).await {
                Ok(Worked::Over(next)) => return next,
                Ok(Worked::Again) => {
                    if self.has_stored {
                        parked = None; // the store knows
                    }
                    self.stale += 1;
                    if self.stale == STALE_AT_MOST && parked.is_none() {
                        let reason = StepError::fatal("its waits in the store are not those that it opens");
                        parked = Some(Parked::whole(reason));
                    }
                }
                Err(next) if parked.is_none() || self.has_stored => parked = Some(next),
                Err(next) if keeps_bodies => {
                    self.cancel_bodies();
                    parked = Some(next.without_bodies());
                }
                Err(next) => {
                    // Even the note that it is parked was refused. It stays owned, so that nothing loops here; other
                    // hosts may try it, a lease each, until it counts as poison.
                    let error = next.reason();
                    tracing::error!(instance = self.work.id, %error, "the instance cannot be parked");
                    return None;
                }
            }
        }
    }

    /// `Err`: the instance has to be parked.
    async fn work_on(
        &mut self,
        loaded: Loaded,
        parked: Option<&mut Parked>,
    ) -> std::result::Result<Worked, Parked> {
        // What runs here of the user's (data types, errors, predicates) may panic.
        let worked = AssertUnwindSafe(self.passes(loaded, parked)).catch_unwind().await;
        if !matches!(&worked, Ok(Ok(Err(parked))) if parked.keeps_bodies()) {
            self.cancel_bodies();
        }
        match worked {
            Ok(Ok(worked)) => worked,
            Ok(Err(error @ WfeError::LostOwnership(_))) => {
                tracing::warn!(%error, "another process goes on with the instance");
                Ok(Worked::Over(None))
            }
            Ok(Err(error)) => {
                tracing::error!(instance = self.work.id, %error, "the instance's state contradicts itself");
                Err(Parked::whole(StepError::fatal(error).with_code(StepError::DEFINITION)))
            }
            Err(payload) => {
                let error = StepError::from_panic("working on the instance", payload);
                tracing::error!(instance = self.work.id, %error, "the instance is suspended");
                Err(Parked::whole(error))
            }
        }
    }

    /// Whatever still runs is not wanted any more; a body that was to end by itself has ended.
    fn cancel_bodies(&mut self) {
        self.spawned.drain().for_each(|(_, token)| token.cancel());
    }

    async fn passes(
        &mut self,
        loaded: Loaded,
        parked: Option<&mut Parked>,
    ) -> Result<std::result::Result<Worked, Parked>> {
        let instance = &loaded.instance;
        let Some(definition) = self.shared.definition(&instance.workflow_definition_id, instance.version)
        else {
            // Only registered definitions are claimed, and none is ever taken away.
            let (id, version) = (instance.workflow_definition_id.clone(), instance.version);
            return Err(WfeError::DefinitionNotFound { id, version });
        };
        Span::current()
            .record("definition", &*instance.workflow_definition_id)
            .record("version", instance.version);
        let control = loaded.control.clone();
        let mut run = self.shared.with_env(|env| match parked {
            None => Run::open(&definition, loaded, env),
            Some(parked) => parked.open(&definition, loaded, env),
        })?;
        if let Some(request) = control {
            self.shared.with_env(|env| run.control(request, env))?;
        }
        loop {
            let before = self.shared.options.clock.monotonic();
            match storing::store(&self.shared, &self.bodies.phase, self.claimed.fence, &mut run).await? {
                Stored::Done => {
                    self.stale = 0;
                    self.work.beating.committed();
                    self.has_stored = true;
                    self.seen = before;
                }
                Stored::Kept => {
                    self.has_stored = true;
                    self.seen = before;
                    run.kept();
                    // Cannot fail: this actor has the other end.
                    let _own = self.mail.send(Mail::Look);
                }
                Stored::Unchanged => {}
                Stored::Void => return Ok(Ok(Worked::Over(None))),
                Stored::Stale => return Ok(Ok(Worked::Again)),
                Stored::Refused(reason) => {
                    tracing::warn!(instance = self.work.id, error = %reason, "the store refuses a commit");
                    if self.shared.with_env(|env| run.refused(&reason, env))? {
                        continue;
                    }
                    return Ok(Err(Parked::refused(reason, run.leave_bodies())));
                }
            }
            let mut effects = self.shared.with_env(|env| run.committed(env))?;
            let (listen, mut again) = (effects.listen, effects.again);
            let jobs = std::mem::take(&mut effects.jobs);
            if let Turn::Over(next) = self.take_up(&mut run, effects) {
                return Ok(Ok(Worked::Over(next)));
            }
            // There may have been nothing to store, which would have told.
            let in_doubt = !jobs.is_empty() && self.hold().may_be_lost(&self.shared);
            if in_doubt {
                again |= self.look(&mut run).await?;
            }
            self.begin(&run, jobs);
            if listen && !in_doubt {
                again |= self.look(&mut run).await?;
            }
            if let Turn::Over(next) = self.wait(&mut run, again).await? {
                return Ok(Ok(Worked::Over(next)));
            }
        }
    }

    /// Does what a commit has made possible, but for bodies to run.
    fn take_up(&mut self, run: &mut Run, effects: Effects) -> Turn {
        effects.cancelled.iter().for_each(CancellationToken::cancel);
        self.shared.post.woken(effects.wakes);
        if run.status().is_final()
            && let Some(ending) = run.ending()
        {
            let end = End { ending, data: run.value().clone(), cause: run.cause().cloned() };
            self.tell_of_end(run, &end);
            self.work.end = Some(end);
        }
        effects.events.into_iter().for_each(|event| self.shared.publish(event));
        if let Some(next) = effects.released {
            // Events may be there already for the waits that were opened: the instance is looked at once more.
            let soon = effects.listen.then(|| self.shared.now().timestamp_millis());
            return Turn::Over(next.into_iter().chain(soon).min());
        }
        for Want { container, from, limit } in effects.wants {
            let (store, phase) = (self.shared.store.clone(), self.bodies.phase.clone());
            let (id, mail) = (self.work.id.clone(), self.mail.clone());
            tokio::spawn(async move {
                let items = storing::items(&*store, phase, &id, &container, from, limit).await;
                if let Some(read) = items {
                    // Nobody is there if the instance ended meanwhile.
                    let _void = mail.send(Mail::Items(container, from, read));
                }
            });
        }
        Turn::Goes
    }

    fn begin(&mut self, run: &Run, jobs: Vec<Job>) {
        for job in jobs {
            let begun = run.event(Lifecycle::Started, self.shared.now());
            self.spawned.insert(job.number(), job.token().clone());
            self.bodies.spawn(job, begun, self.hold(), self.mail.clone());
        }
    }

    /// Once: not again for a commit that only gives the instance back.
    fn tell_of_end(&self, run: &Run, end: &End) {
        if self.work.end.is_some() || self.shared.options.workflow_middleware.is_empty() {
            return;
        }
        let (shared, definition) = (self.shared.clone(), run.definition());
        let end = WorkflowEnd {
            instance_id: self.work.id.clone(),
            definition_id: definition.id().to_owned(),
            version: definition.version(),
            ending: end.ending,
            cause: end.cause.clone(),
            data: end.data.clone(),
        };
        let told = async move { middleware::ended(&shared.options.workflow_middleware, &end).await };
        self.bodies.runtime.spawn(told.in_current_span());
    }

    /// Looks at the stored instance: somebody may have asked something of it, or an event may be there. Whether it changed
    /// anything.
    async fn look(&mut self, run: &mut Run) -> Result<bool> {
        let before = self.shared.options.clock.monotonic();
        let loaded = match storing::load_or_corrupt(&self.shared, &self.bodies.phase, &self.work.id).await {
            Some(loaded) => loaded?,
            None if *self.bodies.phase.borrow() == Phase::Closing => return Ok(false),
            // Somebody has taken it out of the store. A wait whose limit has passed would be looked after for ever.
            None => return Err(WfeError::LostOwnership(self.work.id.clone())),
        };
        if loaded.fence != self.claimed.fence {
            // Somebody else owns it now. Nothing is lost by ending the bodies: none of it would be stored.
            self.cancel_bodies();
            return Err(WfeError::LostOwnership(self.work.id.clone()));
        }
        self.seen = before;
        // The request first: it may have been there before the events.
        let is_asked = loaded.control.is_some();
        if let Some(request) = loaded.control {
            self.shared.with_env(|env| run.control(request, env))?;
        }
        let delivered = self.shared.with_env(|env| run.deliver(loaded.deliveries, env))?;
        Ok(delivered || is_asked)
    }

    /// Waits until something happens (not if there is more to do at once: `again`), and tells the executor all that has.
    async fn wait(&mut self, run: &mut Run, again: bool) -> Result<Turn> {
        loop {
            let phase = *self.bodies.phase.borrow_and_update();
            if phase == Phase::Closing || (phase == Phase::Draining && self.spawned.is_empty()) {
                // What is left stays as it is stored, for the next start. Given back, the instance is not taken for
                // one that killed its process. If a request waits, it is free when this host is gone.
                let due = run.status() == WorkflowStatus::Runnable;
                let fence = self.claimed.fence;
                storing::release(&self.shared, &self.bodies.phase, fence, &self.work.id, due).await;
                return Ok(Turn::Over(None));
            }
            let mail = tokio::select! {
                biased;
                mail = self.mailbox.recv() => mail,
                () = std::future::ready(()), if again => return Ok(Turn::Goes),
                () = sleep(&self.shared, run) => return Ok(Turn::Goes),
                changed = self.bodies.phase.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return Ok(Turn::Over(None)), // the dispatcher has ended
                },
            };
            let mut changed = false;
            let mut next = mail;
            while let Some(mail) = next {
                changed |= self.read(run, mail).await?;
                next = self.mailbox.try_recv().ok(); // an error: no more mail for now
            }
            if changed || again {
                return Ok(Turn::Goes);
            }
        }
    }

    /// Whether it changed anything.
    async fn read(&mut self, run: &mut Run, mail: Mail) -> Result<bool> {
        match mail {
            Mail::Begun(pointer, job, time) => {
                self.shared.with_env(|env| {
                    env.now = time; // not when this is read
                    run.begun(&pointer, job, env);
                });
                return Ok(false);
            }
            Mail::Ended(pointer, end) => {
                self.spawned.remove(&end.job());
                self.shared.with_env(|env| run.ended(&pointer, end, env))?;
            }
            Mail::NotRun(job) => {
                self.spawned.remove(&job);
                return Ok(false);
            }
            Mail::Items(container, from, read) => {
                let values = read?;
                self.shared.with_env(|env| run.items(&container, from, values, env))?;
            }
            Mail::Look => return self.look(run).await,
        }
        Ok(true)
    }
}

impl Drop for Actor {
    /// The host was dropped: its steps are nobody's.
    fn drop(&mut self) {
        self.cancel_bodies();
    }
}

/// Until something happens at the instance by itself.
async fn sleep(shared: &Shared, run: &Run) {
    match run.next_wake() {
        Some(at) => shared.options.clock.sleep_until(at).await,
        None => std::future::pending().await,
    }
}
