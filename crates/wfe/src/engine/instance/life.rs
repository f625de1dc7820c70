//! The work on one instance, from its claim on: one pass after the other.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;
use wfe_core::{
    Result, WfeError,
    executor::{Effects, ItemRequest, Job, Lifecycle, Run, RunningBodies},
    logging::{self, Span},
    steps::StepError,
    traits::Loaded,
};

use super::{
    actor::{Actor, Flow, Parting, Spawned, State},
    commit::{self, Stored},
    mail::Mail,
    mailbox::Listen,
    prefetch::Due,
    quarantine::Quarantine,
    suspect,
};
use crate::{
    engine::{
        isolation::PROCESS,
        log,
        state::{notifications::Notifications, outcome::End},
        steps::{
            in_flight::InFlight,
            middleware::{self, WorkflowEnd},
        },
        task,
    },
    metrics,
};

/// Callers rarely close subscriptions of a running instance. If stored subscriptions have changed this many times in a
/// row, the cause must be a different one.
const STALE_AT_MOST: u32 = 5;

/// Whether the actor's work is over.
enum Worked {
    Over(Option<i64>),
    /// The state in memory is out of date, and must be read from the store again. Holds the bodies that continue to
    /// run.
    Again(RunningBodies),
    /// A row of the instance accepts no write.
    Corrupt(WfeError),
}

impl Actor {
    /// Works on the instance until the work is over. No mail is lost: after the last read of the mailbox, sending mail
    /// to this actor fails.
    pub async fn live(mut self, state: State) -> Parting {
        let next = self.work_through(state).await;
        let mut is_look_due = self.put_off;
        while let Some(mail) = self.mailbox.try_recv() {
            is_look_due |= matches!(mail, Mail::Look);
        }
        // An instance that has ended does not react to requests or events.
        Parting { next, is_look_due: is_look_due && self.work.end.is_none() }
    }

    /// Works on the instance until the work is over, and returns the time at which the instance is due next.
    async fn work_through(&mut self, state: State) -> Option<i64> {
        let mut quarantine = suspect::poisoned(&self.work.id, self.claimed.deaths);
        self.ticket = (self.is_suspect && quarantine.is_none()).then(|| PROCESS.request());
        let mut here = match state {
            State::Here(loaded) => Some(*loaded),
            State::Claimed(loaded, began) => match *loaded {
                Ok(loaded) if self.shared.is_sound(&loaded) => {
                    self.await_start(&loaded).await;
                    self.seen = began;
                    Some(loaded)
                }
                Ok(_) | Err(_) => None, // the instance is read again, with a further check, or until the store responds
            },
        };
        let mut at_work = RunningBodies::default();
        self.others.extend(InFlight::in_process(&self.work.id, &self.mail, 1));
        self.last_job = self.others.keys().copied().max().unwrap_or(0);
        loop {
            let loaded = match here.take() {
                Some(loaded) => loaded,
                None => self.read_instance().await?,
            };
            if loaded.fence != self.claimed.fence {
                metrics::fence_lost();
                logging::warn!(wfe.instance.id = self.work.id, "another process owns the instance now");
                return None;
            }
            let keeps_bodies = quarantine.as_ref().is_some_and(Quarantine::keeps_bodies);
            // With running bodies, their mail would arrive here, where it must not be read.
            if !keeps_bodies && self.spawned.is_empty() && self.others.is_empty() {
                match self.await_due(&loaded).await {
                    Due::Now => {}
                    Due::Look => continue,
                    Due::Never => return None,
                }
            }
            if self.is_suspect && self.trial.is_none() && quarantine.is_none() {
                let is_requested = loaded.control.is_some();
                drop(loaded); // the instance may wait for long
                self.trial = Some(self.await_trial(is_requested).await?);
                continue;
            }
            self.has_stored = false;
            match self.work_on(loaded, std::mem::take(&mut at_work), quarantine.as_mut()).await {
                Ok(Worked::Over(next)) => return next,
                Ok(Worked::Corrupt(error)) => {
                    let (shared, phase, id) = (&self.shared, &self.bodies.phase, &self.work.id);
                    commit::suspend_corrupt(shared, phase, self.claimed.fence, id, error).await;
                    return None;
                }
                Ok(Worked::Again(left)) => {
                    if self.has_stored {
                        quarantine = None; // the quarantine is stored
                    }
                    self.stale += 1;
                    if self.stale == STALE_AT_MOST && quarantine.is_none() {
                        let reason = StepError::fatal(format!(
                            "stored subscriptions do not match the instance's pointers ({STALE_AT_MOST} attempts)"
                        ));
                        quarantine = Some(Quarantine::whole(reason));
                    }
                    if quarantine.is_some() {
                        self.cancel_bodies();
                    } else {
                        at_work = left;
                    }
                }
                Err(next) if quarantine.is_none() || self.has_stored => quarantine = Some(next),
                Err(next) if keeps_bodies => {
                    self.cancel_bodies();
                    quarantine = Some(next.without_bodies());
                }
                Err(next) => {
                    // The store refused even the commit of the quarantine. The instance stays owned, so that this host
                    // does not retry it in a loop. Other hosts may try the instance, each after a lease, until it
                    // counts as poison.
                    let error = next.reason();
                    logging::error!(wfe.instance.id = self.work.id, %error, "the instance cannot be quarantined");
                    return None;
                }
            }
        }
    }

    /// Reads the instance from the store. Returns `None` if the instance no longer exists, if the host closes, or if
    /// the instance cannot be read and was suspended.
    async fn read_instance(&mut self) -> Option<Loaded> {
        let (shared, phase, id) = (&self.shared, &self.bodies.phase, &self.work.id);
        let before = shared.options.clock.monotonic();
        match commit::read_or_corrupt(shared, phase, id).await? {
            Ok(loaded) => {
                self.await_start(&loaded).await;
                self.seen = before;
                Some(loaded)
            }
            Err(corrupt) => {
                commit::suspend_corrupt(shared, phase, self.claimed.fence, id, corrupt).await;
                None
            }
        }
    }

    /// Works on a loaded instance. An error means that the instance must be quarantined.
    async fn work_on(
        &mut self,
        loaded: Loaded,
        at_work: RunningBodies,
        quarantine: Option<&mut Quarantine>,
    ) -> std::result::Result<Worked, Quarantine> {
        // User code that runs here (of data types, errors and predicates) may panic.
        let worked = AssertUnwindSafe(self.passes(loaded, at_work, quarantine)).catch_unwind().await;
        let keeps_bodies = match &worked {
            Ok(Ok(Ok(worked))) => matches!(worked, Worked::Again(_)),
            Ok(Ok(Err(quarantine))) => quarantine.keeps_bodies(),
            Ok(Err(_)) | Err(_) => false,
        };
        if !keeps_bodies {
            self.cancel_bodies();
        }
        match worked {
            Ok(Ok(worked)) => worked,
            Ok(Err(error @ WfeError::LostOwnership(_))) => {
                logging::warn!(%error, "another process owns the instance now");
                Ok(Worked::Over(None))
            }
            Ok(Err(error)) => {
                logging::debug!(wfe.instance.id = self.work.id, %error, "the instance's state contradicts itself");
                let is_corrupt = matches!(error, WfeError::Corrupt { .. });
                let code = if is_corrupt { StepError::CORRUPT } else { StepError::DEFINITION };
                Err(Quarantine::whole(StepError::fatal(error).with_code(code)))
            }
            Err(payload) => {
                let error = StepError::from_panic("working on the instance", payload);
                logging::debug!(wfe.instance.id = self.work.id, %error, "the instance will be quarantined");
                Err(Quarantine::whole(error))
            }
        }
    }

    /// Records which pointers wait until earlier bodies have ended, so that the status of the instance shows them.
    fn note_held(&mut self, run: &mut Run) -> Result<()> {
        let held = run.held()?;
        if self.has_held || !held.is_empty() {
            self.has_held = !held.is_empty();
            self.shared.in_flight.hold(&self.work.id.as_str().into(), held);
        }
        Ok(())
    }

    async fn passes(
        &mut self,
        loaded: Loaded,
        at_work: RunningBodies,
        quarantine: Option<&mut Quarantine>,
    ) -> Result<std::result::Result<Worked, Quarantine>> {
        let instance = &loaded.instance;
        let Some(definition) = self.shared.definition(&instance.workflow_definition_id, instance.version)
        else {
            // Only instances of registered definitions are claimed, and definitions are never unregistered.
            let (id, version) = (instance.workflow_definition_id.clone(), instance.version);
            return Err(WfeError::DefinitionNotFound { id, version });
        };
        Span::current()
            .record("wfe.definition.id", &*instance.workflow_definition_id)
            .record("wfe.definition.version", instance.version);
        let control = loaded.control.clone();
        self.measured = std::mem::take(&mut self.measured).or_of(definition.id());
        self.deliveries.loaded(&loaded);
        if self.opened == 0 {
            self.due = metrics::Due::of(&loaded, &self.claimed);
        }
        (self.opened, self.put_off) = (self.opened + 1, false);
        let at_work = at_work.numbered_after(self.last_job);
        let mut run = self.shared.with_env(|env| match quarantine {
            None => Run::open_again(&definition, loaded, at_work, env),
            Some(quarantine) => quarantine.open(&definition, loaded, env),
        })?;
        let spawned = self.spawned.iter().map(|(job, body)| (job, &body.execution));
        spawned.chain(&self.others).for_each(|(job, execution)| run.still_at_work(*job, execution));
        if let Some(request) = control {
            self.shared.with_env(|env| run.control(request, env))?;
        }
        if self.opened == 1 {
            metrics::moves_on(run.next_wake(), || self.shared.now());
            log::taken_over(&run, self.claimed.deaths);
        }
        loop {
            let before = self.shared.options.clock.monotonic();
            let (shared, phase, fence) = (&self.shared, &self.bodies.phase, self.claimed.fence);
            match commit::store(shared, phase, fence, &mut run, &mut self.deliveries).await? {
                Stored::Done => {
                    self.stale = 0;
                    self.work.ongoing.committed();
                    self.stored(before);
                }
                Stored::Kept => {
                    self.stored(before);
                    run.kept();
                    self.mail.send(Mail::Look);
                }
                Stored::Unchanged => {}
                Stored::Void => return Ok(Ok(Worked::Over(None))),
                Stored::Corrupt(error) => return Ok(Ok(Worked::Corrupt(error))),
                Stored::Stale => return Ok(Ok(Worked::Again(run.leave_bodies()))),
                Stored::Refused(reason) => {
                    logging::warn!(wfe.instance.id = self.work.id, error = %reason, "the store refuses a commit");
                    if self.shared.with_env(|env| run.refused(&reason, env))? {
                        continue;
                    }
                    return Ok(Err(Quarantine::refused(reason, run.leave_bodies())));
                }
            }
            let mut effects = self.shared.with_env(|env| run.committed(env))?;
            let mut again = effects.again;
            let mut listen = match effects.waits.take() {
                _ if !effects.listen => Listen::No,
                Some(waits) => Listen::To(waits),
                None => Listen::All,
            };
            let jobs = std::mem::take(&mut effects.jobs);
            self.last_job = jobs.iter().map(Job::number).fold(self.last_job, u64::max);
            if let Flow::Over(next) = self.take_up(&mut run, effects) {
                return Ok(Ok(Worked::Over(next)));
            }
            // If the pass had nothing to store, no commit has confirmed that this host still owns the instance. So the
            // store is checked before new bodies start.
            if !jobs.is_empty() && self.ownership().may_be_lost(&self.shared) {
                again |= self.look(&mut run, None).await?;
                listen = Listen::No;
            }
            self.begin(&run, jobs);
            self.note_held(&mut run)?;
            if let Flow::Over(next) = self.wait(&mut run, again, listen).await? {
                return Ok(Ok(Worked::Over(next)));
            }
        }
    }

    /// Records that a commit was stored. `began` is the time at which the commit began. The instance is no longer a
    /// suspect.
    fn stored(&mut self, began: Duration) {
        (self.has_stored, self.seen) = (true, began);
        (self.is_suspect, self.trial) = (false, None);
    }

    /// Carries out the effects of a commit, except for starting bodies.
    fn take_up(&mut self, run: &mut Run, effects: Effects) -> Flow {
        effects.cancelled.iter().for_each(CancellationToken::cancel);
        self.shared.woken(effects.wakes);
        if run.status().is_final()
            && let Some(ending) = run.ending()
        {
            let end = End { ending, data: run.value().clone(), cause: run.cause().cloned() };
            self.report_end(run, &end);
            self.work.end = Some(end);
        }
        log::committed(run, &effects.events);
        metrics::committed(run, &effects.events, &self.measured);
        effects.events.into_iter().for_each(|event| self.shared.publish(event));
        if let Some(next) = effects.released {
            // Events for the new subscriptions may already be stored, so the instance is due again at once.
            let soon = effects.listen.then(|| self.shared.now().timestamp_millis());
            return Flow::Over(next.into_iter().chain(soon).min());
        }
        for ItemRequest { container, from, limit } in effects.requests {
            let (shared, phase) = (self.shared.clone(), self.bodies.phase.clone());
            let (id, mail, asker) = (self.work.id.clone(), self.mail.clone(), self.opened);
            task::spawn(async move {
                let items = commit::items(&shared, phase, &id, &container, from, limit).await;
                if let Some(read) = items {
                    // The items are discarded if the actor has ended meanwhile.
                    mail.send(Mail::Items { asker, container, from, read });
                }
            });
        }
        Flow::Goes
    }

    fn begin(&mut self, run: &Run, jobs: Vec<Job>) {
        let now = self.shared.now();
        let due = std::mem::take(&mut self.due).take(now);
        for job in jobs {
            let begun = run.event(Lifecycle::Started, now);
            let measured = self.measured.body(&job, due);
            let body = Spawned { token: job.token().clone(), execution: job.execution() };
            self.spawned.insert(job.number(), body);
            self.bodies.spawn(job, begun, self.ownership(), self.mail.clone(), measured);
        }
    }

    /// Calls the middleware for the end of the instance. The middleware is called only once: a later commit that only
    /// releases the instance does not call it again.
    fn report_end(&self, run: &Run, end: &End) {
        if self.work.end.is_some() || self.shared.options.workflow_middleware.is_empty() {
            return;
        }
        // Only the middleware chain is cloned, not the shared state: a middleware that never returns must not keep the
        // host alive.
        let (chain, definition) = (self.shared.options.workflow_middleware.clone(), run.definition());
        let end = WorkflowEnd {
            instance_id: self.work.id.clone(),
            definition_id: definition.id().to_owned(),
            version: definition.version(),
            ending: end.ending,
            cause: end.cause.clone(),
            data: end.data.clone(),
        };
        let channel = Arc::downgrade(&self.shared.channel);
        let report = self.shared.reports.begin(move || {
            channel.upgrade().into_iter().for_each(|channel| channel.notify(Notifications::reported));
        });
        let ended = async move {
            let _report = report;
            middleware::ended(&chain, &end).await;
        };
        task::spawn_on(&self.bodies.runtime, Span::current().instrument(ended));
    }
}
