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
    executor::{Job, Lifecycle, LifecycleEvent, StepExecution},
    logging::{self, Span},
    steps::StepError,
};

use crate::{
    engine::{
        instance::{
            mail::{Mail, MailSender},
            ownership::Ownership,
        },
        isolation::{PROCESS, Running},
        message::{Phase, PhaseWatch},
        state::shared::Shared,
        steps::{launcher::Launcher, middleware},
        task,
    },
    metrics,
};

/// How long an asynchronous body may continue after its token is cancelled. This is long enough to close a connection
/// or to record progress, and short enough for the bodies that wait for a slot. The duration is in real time, because
/// it concerns slots, not workflows. The docs of [`Ctx::cancellation`](wfe_core::steps::Ctx::cancellation), many other
/// docs and the README state this duration.
const PARTING: Duration = Duration::from_secs(1);

/// Runs step bodies on the program's runtime, not on the engine's thread.
#[derive(Clone)]
pub(in crate::engine) struct Bodies {
    pub shared: Arc<Shared>,
    pub runtime: Handle,
    pub launcher: Arc<Launcher>,
    pub phase: PhaseWatch,
}

/// The slots that a body holds while it runs: one slot of its step (if the step has a limit), one slot of the host, and
/// one slot of the process.
struct Slots {
    _step: Option<OwnedSemaphorePermit>,
    _host: OwnedSemaphorePermit,
    _process: Running,
}

impl Bodies {
    /// Runs the body as soon as it gets its slots, and mails its end to the instance's actor. This is called on the
    /// engine's runtime. `like` is any lifecycle event of the instance. The event `StepStarted` is a copy of `like`
    /// with another time and other contents. If the body waits so long that another process may own the instance
    /// meanwhile, the store is read before the body begins; `ownership` decides this.
    pub fn spawn(
        &self,
        job: Job,
        like: LifecycleEvent,
        ownership: Ownership,
        mail: MailSender,
        measured: metrics::Body,
    ) {
        let report = Report::new(&self.shared, &job, &like, mail, measured);
        if *self.phase.borrow() != Phase::Running || self.shared.store.loss.has_come() {
            return; // dropping the report mails that the body did not run
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
                // `wait_for` fails if the engine has ended.
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
        task::spawn(span.instrument(waiting));
    }

    /// Starts the task that starts the bodies. Returns a receiver that fails as soon as the program's runtime has shut
    /// down. From then on, no body runs. The receiver's drop ends the task.
    pub fn start_launcher(&self) -> oneshot::Receiver<()> {
        let (mut kept, gone) = oneshot::channel();
        let (launcher, runtime) = (self.launcher.clone(), self.runtime.clone());
        // The runtime drops this task when it shuts down.
        task::spawn_on(&self.runtime, async move {
            tokio::select! {
                () = kept.closed() => {}
                never = launcher.run(&runtime) => match never {},
            }
        });
        gone
    }

    fn free_slots(&self, of_step: Option<&Arc<Semaphore>>, suspect: Option<u64>) -> Option<Slots> {
        let step = of_step.map(|slots| slots.clone().try_acquire_owned()).transpose().ok()?;
        let host = self.shared.steps.clone().try_acquire_owned().ok()?;
        Some(Slots { _step: step, _host: host, _process: PROCESS.enter(suspect)? })
    }

    /// Waits for the slots. The slot of the step comes first, because a body that waits for it must not hold a slot of
    /// the host, which other steps could use. While a suspect runs alone in the process, no waiting body holds a slot
    /// that the suspect may need. `None` means that the semaphores were closed, which never happens.
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
        let shared = &self.shared;
        if job.is_limited() {
            report.begins();
        }
        let instance = like.instance_id.clone();
        let span = span_of(&job, &like);
        let time = shared.now();
        shared.in_flight.begins(&instance, report.number, time);
        if shared.has_subscribers() {
            let (step, pointer) = (job.step_id().to_owned(), job.pointer().to_owned());
            let what = Lifecycle::StepStarted { step, pointer, attempt: job.attempt() };
            shared.publish(LifecycleEvent { time, what, ..like });
        }
        let needs_thread = job.is_blocking() && shared.options.step_middleware.is_empty();
        let body = AdmittedBody { shared: shared.clone(), job, instance, span, report, slots };
        if needs_thread {
            // It gets a thread of its own, even if asynchronous bodies that never yield keep all others.
            body.start(&self.runtime);
        } else {
            self.launcher.launch(body);
        }
    }
}

/// A body that has its slots, and counts as running.
pub(in crate::engine) struct AdmittedBody {
    shared: Arc<Shared>,
    job: Job,
    instance: Arc<str>,
    span: Span,
    report: Report,
    slots: Slots,
}

impl AdmittedBody {
    /// Starts the body on the program's runtime.
    pub fn start(self, runtime: &Handle) {
        let Self { shared, job, instance, span, mut report, slots } = self;
        let step = job.shared_step_id();
        let store = Some(shared.store.steps.clone());
        let has_middleware = !shared.options.step_middleware.is_empty();
        let (watchdog, token) = (shared.watchdog.clone(), job.token().clone());
        if job.is_blocking() && !has_middleware {
            let watch = watchdog.watch_blocking(instance, step, token);
            runtime.spawn_blocking(move || {
                report.runs();
                let end = span.in_scope(|| job.run_blocking(store));
                drop((slots, watch));
                report.ended(end);
            });
            return;
        }
        // Until a blocking thread ends, its slot stays occupied and its step is not run again, whatever the enclosing
        // middleware does meanwhile.
        let slots = Arc::new(slots);
        let (blocks, mut thread) = if job.is_blocking() {
            let (thread, ended) = oneshot::channel::<()>();
            let watch = watchdog.watch_blocking(instance.clone(), step.clone(), token.clone());
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
        task::spawn_on(runtime, async move {
            report.runs();
            let body = span.instrument(watchdog.watch(instance.clone(), step.clone(), body));
            let end = tokio::select! {
                biased;
                end = body => Some(end),
                () = parted(&token) => None,
            };
            drop(slots);
            // The thread still runs if the middleware has not waited for it or was dropped.
            let goes_on = thread.take_if(|thread| thread.try_recv() == Err(TryRecvError::Empty));
            match (end, &goes_on) {
                (Some(end), None) => return report.ended(end),
                (Some(end), Some(_)) => {
                    report.ended_before_its_thread(end);
                    token.cancel();
                }
                (None, _) => logging::info!(
                    wfe.instance.id = &*instance,
                    wfe.step.id = &*step,
                    "the step continued for a second after its cancellation token was cancelled, and was dropped"
                ),
            }
            if let Some(thread) = goes_on {
                // The receiver fails when the thread ends: the sender is dropped without a value.
                let _over = thread.await;
            }
            drop(report);
        });
    }
}

/// Waits until this token is cancelled, and then waits for the time for which a body may continue ([`PARTING`]).
async fn parted(token: &CancellationToken) {
    token.cancelled().await;
    tokio::time::sleep(PARTING).await;
}

fn span_of(job: &Job, event: &LifecycleEvent) -> Span {
    logging::info_span!(
        "step",
        wfe.instance.id = &*event.instance_id,
        wfe.definition.id = &*event.definition_id,
        wfe.definition.version = event.version,
        wfe.step.id = job.step_id(),
        wfe.step.attempt = job.attempt(),
    )
}

/// Mails how a body ended to the instance's actor. If the report is dropped before it has mailed how the body ended, it
/// mails that the body did not run to its end. This happens if the host drains, if the program's runtime shuts down, or
/// if the body was cancelled and continued for too long. If the thread of a blocking body outlives its attempt, the
/// same mail reports the end of that thread. When the report is dropped, no code of the body runs any more.
struct Report {
    shared: Arc<Shared>,
    instance: Arc<str>,
    /// The number under which the body is registered as [in flight](crate::engine::steps::in_flight::InFlight).
    number: u64,
    execution: StepExecution,
    job: u64,
    mail: Option<MailSender>,
    measured: metrics::Body,
}

impl Report {
    fn new(
        shared: &Arc<Shared>,
        job: &Job,
        like: &LifecycleEvent,
        mail: MailSender,
        measured: metrics::Body,
    ) -> Self {
        let (instance, execution) = (like.instance_id.clone(), job.execution());
        let number = shared.in_flight.add(&instance, job);
        let (shared, job, mail) = (shared.clone(), job.number(), Some(mail));
        Self { shared, instance, number, execution, job, mail, measured }
    }

    /// The body gets its first turn on its thread.
    fn runs(&mut self) {
        self.measured.begins(&*self.shared.options.clock);
    }

    fn begins(&self) {
        if let Some(mail) = &self.mail {
            mail.send(Mail::Begun(self.execution.clone(), self.job, self.shared.now()));
        }
    }

    /// Makes the actor of the instance read the store, because another process seems to own the instance.
    fn in_doubt(self) {
        if let Some(mail) = &self.mail {
            mail.send(Mail::Look);
        }
    }

    fn ended(mut self, end: BodyEnd) {
        self.measured.ended(end.is_ok(), &*self.shared.options.clock);
        // The body is removed before its result is stored: a query must not see both.
        self.shared.in_flight.remove(&self.instance, self.number);
        if let Some(mail) = self.mail.take() {
            // The mail has no effect if the actor or the host has ended meanwhile.
            mail.send(Mail::Ended { execution: self.execution.clone(), end, goes_on: false });
        }
    }

    /// Mails that the attempt has ended, although the thread of the blocking body still runs.
    fn ended_before_its_thread(&mut self, end: BodyEnd) {
        self.measured.ended(end.is_ok(), &*self.shared.options.clock);
        if let Some(mail) = &self.mail {
            mail.send(Mail::Ended { execution: self.execution.clone(), end, goes_on: true });
        }
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        self.measured.dropped(&*self.shared.options.clock);
        let Some(mail) = self.mail.take() else { return };
        self.shared.in_flight.remove(&self.instance, self.number);
        mail.send(Mail::NotRun(self.job));
    }
}
