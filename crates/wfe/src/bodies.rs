use std::sync::Arc;

use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, mpsc::UnboundedSender},
};
use tracing::{Instrument, Span};
use wfe_core::{
    definition::BodyEnd,
    executor::{Job, Lifecycle, LifecycleEvent},
};

use crate::{
    engine::{Mail, Phase, PhaseWatch},
    shared::Shared,
};

/// Runs step bodies on the program's runtime, apart from the engine's thread.
#[derive(Clone)]
pub(crate) struct Bodies {
    pub shared: Arc<Shared>,
    pub runtime: Handle,
    pub phase: PhaseWatch,
}

impl Bodies {
    /// Runs the body as soon as one may, and mails its end. Called on the engine's runtime. `like` is any event of the
    /// instance: the one that tells of the begin is made from it.
    pub fn spawn(&self, job: Job, like: LifecycleEvent, mail: UnboundedSender<Mail>) {
        let report = Report { pointer: job.pointer().to_owned(), job: job.number(), mail: Some(mail) };
        if *self.phase.borrow() != Phase::Running {
            return; // the report says that it did not run
        }
        if let Ok(permit) = self.shared.steps.clone().try_acquire_owned() {
            return self.begin(job, like, report, permit);
        }
        let (this, mut phase) = (self.clone(), self.phase.clone());
        tokio::spawn(async move {
            let permit = tokio::select! {
                biased;
                // An error: the engine has ended.
                _ = phase.wait_for(|phase| *phase != Phase::Running) => return,
                () = job.token().cancelled() => return,
                permit = this.shared.steps.clone().acquire_owned() => permit,
            };
            // An error: the semaphore was closed, which nobody does.
            if let Ok(permit) = permit {
                this.begin(job, like, report, permit);
            }
        });
    }

    fn begin(&self, job: Job, like: LifecycleEvent, report: Report, permit: OwnedSemaphorePermit) {
        let shared = &self.shared;
        if job.is_limited() {
            report.begins();
        }
        let instance = like.instance_id.clone();
        let span = span_of(&job, &like);
        let (step, pointer, attempt) = (job.step_id().to_owned(), job.pointer().to_owned(), job.attempt());
        let watchdog = shared.watchdog.clone();
        let what = Lifecycle::StepStarted { step: step.clone(), pointer, attempt };
        shared.publish(LifecycleEvent { time: shared.now(), what, ..like });
        let store = Some(shared.store.clone());
        if job.is_blocking() {
            self.runtime.spawn_blocking(move || {
                let end = span.in_scope(|| job.run_blocking(store));
                drop(permit);
                report.ended(end);
            });
        } else {
            self.runtime.spawn(async move {
                let end = watchdog.watch(instance, &step, job.run(store)).instrument(span).await;
                drop(permit);
                report.ended(end);
            });
        }
    }
}

fn span_of(job: &Job, event: &LifecycleEvent) -> Span {
    tracing::info_span!(
        "step",
        instance = &*event.instance_id,
        definition = &*event.definition_id,
        version = event.version,
        step = job.step_id(),
        attempt = job.attempt(),
    )
}

/// Mails how a body ended; dropped without that (the host drains, or the program's runtime shuts down), that it did not
/// run.
struct Report {
    pointer: String,
    job: u64,
    mail: Option<UnboundedSender<Mail>>,
}

impl Report {
    fn begins(&self) {
        if let Some(mail) = &self.mail {
            // As below.
            let _void = mail.send(Mail::Begun(self.pointer.clone(), self.job));
        }
    }

    fn ended(mut self, end: BodyEnd) {
        let pointer = std::mem::take(&mut self.pointer);
        if let Some(mail) = self.mail.take() {
            // Nobody is there if the instance ended meanwhile, or the host is gone: the result is void then.
            let _void = mail.send(Mail::Ended(pointer, end));
        }
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        if let Some(mail) = self.mail.take() {
            // As above.
            let _void = mail.send(Mail::NotRun(self.job));
        }
    }
}
