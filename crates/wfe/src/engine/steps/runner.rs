use std::{sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio::{
    runtime::Handle,
    sync::{
        OwnedSemaphorePermit, Semaphore,
        oneshot::{self, error::TryRecvError},
    },
};
use tokio_util::sync::CancellationToken;
use wfe_core::{
    definition::BodyEnd,
    executor::{Job, Lifecycle, LifecycleEvent},
    logging::{self, Span},
    steps::StepError,
};

use crate::engine::{
    instance::{
        mail::{Mail, MailSender},
        ownership::Ownership,
    },
    isolation::{PROCESS, Running},
    message::{Phase, PhaseWatch},
    state::shared::Shared,
    steps::middleware,
};

/// How long an asynchronous body may go on after its token was fired: long enough to close a connection or to write down how
/// far it came, short enough for those that wait for its slot. Real time, for it is about slots, not about workflows.
/// Many docs name it: where [`Ctx::cancellation`](wfe_core::steps::Ctx::cancellation) is, and in the README.
const PARTING: Duration = Duration::from_secs(1);

/// Runs step bodies on the program's runtime, apart from the engine's thread.
#[derive(Clone)]
pub(in crate::engine) struct Bodies {
    pub shared: Arc<Shared>,
    pub runtime: Handle,
    pub phase: PhaseWatch,
}

/// The slots that a body takes while it runs: one of those of its step, if these are limited, one of the host's, and one
/// in the process.
struct Slots {
    _step: Option<OwnedSemaphorePermit>,
    _host: OwnedSemaphorePermit,
    _process: Running,
}

impl Bodies {
    /// Runs the body as soon as one may, and mails its end. Called on the engine's runtime. `like` is any event of the
    /// instance: the one of the begin is made from it. If the body has to wait until the instance may be another process's
    /// (`ownership`), the store is read before it begins.
    pub fn spawn(&self, job: Job, like: LifecycleEvent, ownership: Ownership, mail: MailSender) {
        let report = Report::new(&self.shared, &job, &like, mail);
        if *self.phase.borrow() != Phase::Running || self.shared.store.loss.has_come() {
            return; // the report says that it did not run
        }
        let of_step = self.shared.options.limits.bodies(&like.definition_id, job.step_id()).cloned();
        if let Some(slots) = self.free_slots(of_step.as_ref(), ownership.suspect) {
            return self.begin(job, like, report, slots);
        }
        let (this, mut phase, span) = (self.clone(), self.phase.clone(), Span::current());
        let waiting = async move {
            let taken = async {
                let slots = this.slots(of_step, ownership.suspect).await?;
                let lasts = ownership.lasts(&this.shared, &this.phase, &like.instance_id).await;
                lasts.then_some(slots)
            };
            let slots = tokio::select! {
                biased;
                // An error: the engine has ended.
                _ = phase.wait_for(|phase| *phase != Phase::Running) => return,
                () = this.shared.store.loss.comes() => return,
                () = job.token().cancelled() => return,
                slots = taken => slots,
            };
            match slots {
                Some(slots) => this.begin(job, like, report, slots),
                None => report.in_doubt(),
            }
        };
        tokio::spawn(span.instrument(waiting));
    }

    /// Ends with an error, as soon as the program's runtime is gone: no body runs any more, and none ever will.
    pub fn runtime_gone(&self) -> oneshot::Receiver<()> {
        let (mut kept, gone) = oneshot::channel();
        // Dropped with the runtime; over when the receiver is dropped.
        self.runtime.spawn(async move { kept.closed().await });
        gone
    }

    fn free_slots(&self, of_step: Option<&Arc<Semaphore>>, suspect: Option<u64>) -> Option<Slots> {
        let step = of_step.map(|slots| slots.clone().try_acquire_owned()).transpose().ok()?;
        let host = self.shared.steps.clone().try_acquire_owned().ok()?;
        Some(Slots { _step: step, _host: host, _process: PROCESS.enter(suspect)? })
    }

    /// First that of the step: a body that waits for it must not take one from steps that could run. While a suspect runs
    /// alone in the process, no body waits with a slot that it may need. `None`: the semaphores were closed, which never
    /// happens.
    async fn slots(&self, of_step: Option<Arc<Semaphore>>, suspect: Option<u64>) -> Option<Slots> {
        let mut waiting = None;
        loop {
            let step = match of_step.clone() {
                Some(slots) => Some(slots.acquire_owned().await.ok()?),
                None => None,
            };
            let host = self.shared.steps.clone().acquire_owned().await.ok()?;
            if let Some(process) = PROCESS.enter(suspect) {
                return Some(Slots { _step: step, _host: host, _process: process });
            }
            drop((step, host));
            waiting = Some(PROCESS.opened(waiting.take()).await);
        }
    }

    fn begin(&self, job: Job, like: LifecycleEvent, report: Report, slots: Slots) {
        let shared = self.shared.clone();
        if job.is_limited() {
            report.begins();
        }
        let instance = like.instance_id.clone();
        let span = span_of(&job, &like);
        let (step, pointer, attempt) = (job.step_id().to_owned(), job.pointer().to_owned(), job.attempt());
        let time = shared.now();
        shared.in_flight.begins(&instance, report.number, time);
        let what = Lifecycle::StepStarted { step: step.clone(), pointer, attempt };
        shared.publish(LifecycleEvent { time, what, ..like });
        let store = Some(shared.store.steps.clone());
        let has_middleware = !shared.options.step_middleware.is_empty();
        let (watchdog, token) = (shared.watchdog.clone(), job.token().clone());
        if job.is_blocking() && !has_middleware {
            let watch = watchdog.watch_blocking(instance, &step, token);
            self.runtime.spawn_blocking(move || {
                let end = span.in_scope(|| job.run_blocking(store));
                drop((slots, watch));
                report.ended(end);
            });
            return;
        }
        // A thread that blocks keeps its slot, and its step from being run again, whatever the middleware around it does
        // meanwhile.
        let slots = Arc::new(slots);
        let (blocks, mut thread) = if job.is_blocking() {
            let (thread, ended) = oneshot::channel::<()>();
            let watch = watchdog.watch_blocking(instance.clone(), &step, token.clone());
            (Some((thread, slots.clone(), watch)), Some(ended))
        } else {
            (None, None)
        };
        let body = async move {
            if !has_middleware {
                return job.run(store).await;
            }
            let (ctx, number) = (job.context(store.clone()), job.number());
            let body = if job.is_blocking() {
                let (span, store) = (Span::current(), store);
                async move {
                    let body = move || {
                        let end = span.in_scope(|| job.run_blocking(store));
                        drop(blocks);
                        end
                    };
                    let ended = tokio::task::spawn_blocking(body).await;
                    ended.unwrap_or_else(|gone| BodyEnd::failed(number, StepError::retryable(gone)))
                }
                .boxed()
            } else {
                job.run(store).boxed()
            };
            middleware::run_inside(&shared.options.step_middleware, &ctx, number, body).await
        };
        self.runtime.spawn(async move {
            let body = span.instrument(watchdog.watch(instance.clone(), &step, body));
            let end = tokio::select! {
                biased;
                end = body => Some(end),
                () = parted(&token) => None,
            };
            drop(slots);
            // The middleware has not waited for it, or was dropped.
            let goes_on = thread.take_if(|thread| thread.try_recv() == Err(TryRecvError::Empty));
            match (end, &goes_on) {
                (Some(end), None) => return report.ended(end),
                (Some(end), Some(_)) => {
                    report.ended_before_its_thread(end);
                    token.cancel();
                }
                (None, _) => logging::info!(
                    instance = &*instance,
                    step,
                    "the step went on for a second after its cancellation token had fired, and was dropped"
                ),
            }
            if let Some(thread) = goes_on {
                // An error: it is dropped, not sent.
                let _over = thread.await;
            }
            drop(report);
        });
    }
}

/// Until a body whose token this is has gone on for long enough after it fired.
async fn parted(token: &CancellationToken) {
    token.cancelled().await;
    tokio::time::sleep(PARTING).await;
}

fn span_of(job: &Job, event: &LifecycleEvent) -> Span {
    logging::info_span!(
        "step",
        instance = &*event.instance_id,
        definition = &*event.definition_id,
        version = event.version,
        step = job.step_id(),
        attempt = job.attempt(),
    )
}

/// Mails how a body ended; dropped without that (the host drains, the program's runtime shuts down, or the body was
/// cancelled, and went on for too long), that it did not run to its end. Nothing of the body runs any more then.
struct Report {
    shared: Arc<Shared>,
    instance: Arc<str>,
    /// The number under which the body is registered as [in flight](crate::engine::steps::in_flight::InFlight).
    number: u64,
    pointer: String,
    job: u64,
    mail: Option<MailSender>,
}

impl Report {
    fn new(shared: &Arc<Shared>, job: &Job, like: &LifecycleEvent, mail: MailSender) -> Self {
        let (instance, pointer) = (like.instance_id.clone(), job.pointer().to_owned());
        let number = shared.in_flight.add(&instance, job);
        Self { shared: shared.clone(), instance, number, pointer, job: job.number(), mail: Some(mail) }
    }

    fn begins(&self) {
        if let Some(mail) = &self.mail {
            mail.send(Mail::Begun(self.pointer.clone(), self.job, self.shared.now()));
        }
    }

    /// The instance seems to be another process's: its actor here is to look.
    fn in_doubt(self) {
        if let Some(mail) = &self.mail {
            mail.send(Mail::Look);
        }
    }

    fn ended(mut self, end: BodyEnd) {
        // Before that is stored which follows from it: a query must not see both.
        self.shared.in_flight.remove(&self.instance, self.number);
        if let Some(mail) = self.mail.take() {
            // Void if the actor has ended meanwhile, or the host is gone.
            mail.send(Mail::Ended { pointer: self.pointer.clone(), end, goes_on: false });
        }
    }

    /// The attempt has ended, but not the thread on which the body blocks.
    fn ended_before_its_thread(&self, end: BodyEnd) {
        if let Some(mail) = &self.mail {
            mail.send(Mail::Ended { pointer: self.pointer.clone(), end, goes_on: true });
        }
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        let Some(mail) = self.mail.take() else { return };
        self.shared.in_flight.remove(&self.instance, self.number);
        mail.send(Mail::NotRun(self.job));
    }
}
