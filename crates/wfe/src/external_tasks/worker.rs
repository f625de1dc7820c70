use std::{fmt, future::Future, marker::PhantomData, panic::AssertUnwindSafe, pin::pin, time::Duration};

use chrono::{DateTime, Utc};
use futures_util::{
    FutureExt, StreamExt,
    future::pending,
    stream::{self, FuturesUnordered},
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wfe_core::{Family, Result, WfeError, definition::to_value, limits::later, logging, steps::StepError};

use super::{
    Activities, ActivityCtx,
    answer::{self, Answer, CLOCK_SKEW},
    claims::HeldClaim,
};
use crate::store::loss::{warn_unless_fault, warn_unless_lost};

/// The default lease. It is long enough that a worker on a busy machine does not lose its claim, and short enough
/// that the activity of a crashed worker is soon available again.
const LEASE: Duration = Duration::from_secs(30);
/// How many heartbeats are sent per lease. Two heartbeats per lease may be lost.
const HEARTBEATS: u32 = 3;
/// The minimum lease. Timers have a resolution of 1 ms: with a shorter lease, the heartbeats would follow each other
/// without a break, and would still be late.
const MIN_LEASE: Duration = Duration::from_millis(HEARTBEATS as u64);
/// How many claimed activities are read to find the lease that expires first.
const SCANNED_ACTIVITIES: usize = 256;

/// Does the activities with one name in this process. [`Activities::worker`] creates a worker. The worker is notified
/// of new activities and need not poll for them; it polls at the host's
/// [`poll_interval`](crate::host::HostBuilder::poll_interval) in case a notification was lost.
///
/// `I` is the type of the activities' input, and `O` is the type of their results.
pub struct Worker<I, O> {
    activities: Activities,
    name: String,
    claimant: String,
    lease: Duration,
    concurrent: usize,
    types: PhantomData<fn(I) -> O>,
}

// Derived, `Clone` would ask the same of the input and the result.
impl<I, O> Clone for Worker<I, O> {
    fn clone(&self) -> Self {
        let Self { activities, name, claimant, lease, concurrent, types } = self;
        let (activities, name, claimant) = (activities.clone(), name.clone(), claimant.clone());
        Self { activities, name, claimant, lease: *lease, concurrent: *concurrent, types: *types }
    }
}

impl<I, O> fmt::Debug for Worker<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("name", &self.name)
            .field("claimant", &self.claimant)
            .field("lease", &self.lease)
            .field("concurrent", &self.concurrent)
            .finish_non_exhaustive()
    }
}

/// The progress of a worker's shutdown.
#[derive(Default)]
struct Shutdown {
    /// The worker claims nothing further. Running bodies may finish.
    stopping: CancellationToken,
    /// The grace time is over.
    over: CancellationToken,
}

/// The result of an attempt to claim an activity.
enum Found {
    One(HeldClaim),
    /// No activity is available. Holds the time at which the first lease of another worker expires.
    None(Option<DateTime<Utc>>),
}

/// How the work on an activity ended.
enum Worked {
    Answer(Answer),
    /// Another worker has the activity, or the instance does not wait for it any more.
    Lost(WfeError),
    /// The grace time was over.
    GraceOver,
}

impl<I, O> Worker<I, O>
where
    I: DeserializeOwned + 'static,
    O: Serialize + Sync + 'static,
{
    pub(in crate::external_tasks) fn new(activities: Activities, name: String, worker: String) -> Self {
        Self { activities, name, claimant: worker, lease: LEASE, concurrent: 1, types: PhantomData }
    }

    /// Sets the lease: for how long an activity is claimed. Default: 30 s; minimum: 3 ms, which [`run`](Self::run)
    /// checks. While the body runs, the worker renews the claim three times per lease.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Sets how many activities the worker does at once. Default and minimum: 1.
    #[must_use]
    pub fn concurrent(mut self, limit: usize) -> Self {
        self.concurrent = limit.max(1);
        self
    }

    /// Does activities until the host ends. Otherwise, this is like [`run_until`](Self::run_until).
    ///
    /// # Errors
    /// The errors of [`run_until`](Self::run_until).
    pub async fn run<W, F>(self, work: W) -> Result<()>
    where
        W: FnOnce(I, ActivityCtx) -> F + Clone + Send + Sync,
        F: Future<Output = std::result::Result<O, StepError>> + Send,
    {
        self.run_until(pending::<()>(), work).await
    }

    /// Does activities until `stop` resolves or the host [ends](crate::WorkflowHost::stop), whichever comes first.
    /// Then the worker claims nothing further, finishes its running activities, stores their answers, and returns.
    /// Activities that are not finished within the host's [`grace`](crate::host::HostBuilder::grace) time are dropped
    /// and given back, so that other workers get them at once. Dropping the returned future gives all claimed
    /// activities back at once.
    ///
    /// `work` is the body of the activities. It gets the input and the [context](ActivityCtx) of an activity; what it
    /// returns is the answer. Each activity gets a clone of `work`, so an `async move` closure can move what it has
    /// captured into its future. An activity fails if `work` panics, if the input does not deserialize as `I`, or if
    /// the answer cannot be serialized. All bodies run in the caller's task, so `work` must not block.
    ///
    /// A body starts as soon as its activity is claimed. Neither the body nor the heartbeats of its claim wait for
    /// the next claim. If the claim is lost meanwhile (because the instance was cancelled, or the heartbeats came too
    /// late), the body is dropped. If the lease has already expired when the store confirms a claim, the activity is
    /// given back and its body does not start.
    ///
    /// If the store fails while an answer is stored, the worker stores the answer again, with a backoff of up to 5 s,
    /// until the lease expires. If the store refuses the answer itself, the worker gives up; other workers get the
    /// activity when the lease expires.
    ///
    /// ```
    /// # use wfe::{WorkflowHost, steps::StepError};
    /// # use wfe::definition::Activity;
    /// # const THUMBNAIL: Activity<String, String> = Activity::new("make-thumbnail");
    /// # async fn make_thumbnail(_: String) -> Result<String, StepError> { Ok(String::new()) }
    /// async fn work(host: &WorkflowHost, signal: tokio::sync::oneshot::Receiver<()>) -> wfe::Result<()> {
    ///     let worker = host.activities().worker(THUMBNAIL, "worker 1");
    ///     worker.run_until(signal, async |file, _| make_thumbnail(file).await).await
    /// }
    /// ```
    ///
    /// # Errors
    /// * [`Invalid`](WfeError::Invalid) and [`Unsupported`](WfeError::Unsupported): as for [`Activities::claim`].
    ///   `Invalid` is also returned if the [lease](Self::lease) is shorter than 3 ms.
    /// * [`Unusable`](WfeError::Unusable): the store is lost. Running bodies are dropped.
    ///
    /// Other errors of the store are logged, and the worker tries again.
    pub async fn run_until<W, F>(self, stop: impl Future, work: W) -> Result<()>
    where
        W: FnOnce(I, ActivityCtx) -> F + Clone + Send + Sync,
        F: Future<Output = std::result::Result<O, StepError>> + Send,
    {
        if self.lease < MIN_LEASE {
            return Err(WfeError::Invalid(format!(
                "the lease of worker {:?} is {:?}; it must be {MIN_LEASE:?} or longer",
                self.claimant, self.lease
            )));
        }
        let host = self.activities.host().clone();
        let (store, options) = (host.store(), host.engine().options());
        let mut tasks = host.engine().watch_tasks();
        let mut news = store.news().chain(stream::pending());
        let (mut stop, shutdown, mut grace) = (pin!(stop), Shutdown::default(), None);
        let (mut busy, mut claiming) = (FuturesUnordered::new(), None);
        // `may_be`: an activity may be available that this worker has not tried to claim. `again`: when the first
        // lease of another worker expires.
        let (mut may_be, mut again, mut failed) = (true, None, None);
        loop {
            if host.engine().has_ended() {
                shutdown.stopping.cancel();
            }
            let stops = shutdown.stopping.is_cancelled();
            if stops && busy.is_empty() && claiming.is_none() {
                return failed.map_or(Ok(()), Err);
            }
            let grace = stops.then(|| {
                // The grace time is real time, as it is for the host.
                grace.get_or_insert_with(|| Box::pin(tokio::time::sleep(options.grace)))
            });
            let has_slot = !stops && busy.len() < self.concurrent;
            if has_slot && claiming.is_none() && may_be {
                (may_be, again) = (false, None);
                claiming = Some(self.claim_next(&shutdown));
            }
            let is_idle = has_slot && claiming.is_none();
            tokio::select! {
                // A claimed activity starts before the result of the next claim is processed.
                biased;
                () = store.loss.comes() => return Err(store.loss.or_closed()),
                _ = &mut stop, if !stops => shutdown.stopping.cancel(),
                () = or_pending(grace), if !shutdown.over.is_cancelled() => shutdown.over.cancel(),
                Some(()) = busy.next() => may_be = true,
                found = or_pending(claiming.as_mut()) => {
                    claiming = None;
                    // The task fails only if the store has panicked in it.
                    match found.unwrap_or_else(|panicked| Err(WfeError::Other(panicked.into()))) {
                        Ok(Found::One(held)) => {
                            busy.push(self.work_on(held, &work, &shutdown));
                            may_be = true;
                        }
                        Ok(Found::None(at)) => again = at,
                        Err(error @ (WfeError::Invalid(_) | WfeError::Unsupported(_) | WfeError::Unusable { .. })) => {
                            failed = Some(error);
                            shutdown.stopping.cancel();
                        }
                        Err(error) => {
                            warn_unless_fault!(
                                store.loss, error,
                                activity = self.name,
                                "the worker could not claim an activity; it tries again"
                            );
                        }
                    }
                }
                // `changed` does not fail, because this worker keeps the sender alive.
                _ = tasks.changed() => may_be = true,
                Some(()) = news.next(), if has_slot => may_be = true,
                () = async { options.clock.sleep_until(again.unwrap_or_default()).await }, if is_idle && again.is_some() => {
                    may_be = true;
                }
                () = options.clock.sleep(options.poll_interval), if is_idle => may_be = true,
            }
        }
    }

    /// Claims the next activity in a separate task. A busy store may be slow, and a claim must be counted, and be
    /// given back, even if the caller's future is dropped.
    fn claim_next(&self, shutdown: &Shutdown) -> JoinHandle<Result<Found>> {
        let (this, stopping) = (self.clone(), shutdown.stopping.clone());
        tokio::spawn(async move {
            let host = this.activities.host();
            let Some(counted) = host.claims().begin() else { return Ok(Found::None(None)) };
            let since = host.engine().options().clock.monotonic();
            let Some(claim) = this.activities.claim_by_name(&this.name, &this.claimant, this.lease).await?
            else {
                drop(counted);
                return Ok(Found::None(this.first_expiry().await));
            };
            let held = HeldClaim::new(claim, since, counted);
            if stopping.is_cancelled() || host.claims().is_closed() {
                held.give_back().await;
                return Ok(Found::None(None));
            }
            Ok(Found::One(held))
        })
    }

    /// Returns when the first lease of the claimed activities expires. The time is at least [`CLOCK_SKEW`] in the
    /// future, because the store's clock may be behind the host's clock.
    async fn first_expiry(&self) -> Option<DateTime<Utc>> {
        let open = self.activities.open(&self.name, None, SCANNED_ACTIVITIES).await.ok()?; // the poll tries again
        let first = open.rows.into_iter().filter_map(|open| open.held?.until).min()?;
        Some(first.max(later(self.activities.host().engine().now(), CLOCK_SKEW)))
    }

    async fn work_on<W, F>(&self, held: HeldClaim, work: &W, shutdown: &Shutdown)
    where
        W: FnOnce(I, ActivityCtx) -> F + Clone + Send + Sync,
        F: Future<Output = std::result::Result<O, StepError>> + Send,
    {
        if shutdown.stopping.is_cancelled() {
            return held.give_back().await;
        }
        let mut expiry = held.claim.expiry();
        if expiry <= self.activities.host().engine().now() {
            logging::warn!(
                activity = self.name,
                lease = ?self.lease,
                "the store confirmed a claim after its lease had expired; the activity is released"
            );
            return held.give_back().await;
        }
        // The body's future is dropped before another worker can claim the activity.
        match self.body(&held, work, shutdown, &mut expiry).await {
            Worked::Answer(Err(error)) if error.code() == StepError::GIVEN_BACK => held.give_back().await,
            Worked::Answer(answer) => {
                if answer::store(&held.claim, answer, expiry, &shutdown.over).await {
                    held.forget();
                } else {
                    held.give_back().await;
                }
            }
            Worked::Lost(error) => {
                let loss = &self.activities.host().store().loss;
                warn_unless_lost!(
                    loss,
                    activity = self.name,
                    %error,
                    "a claim was lost; its body is dropped without an answer"
                );
                held.forget();
            }
            Worked::GraceOver => {
                logging::warn!(
                    activity = self.name,
                    "the grace time is over; an unfinished activity is released"
                );
                held.give_back().await;
            }
        }
    }

    /// Runs the body and renews the claim meanwhile.
    async fn body<W, F>(
        &self,
        held: &HeldClaim,
        work: &W,
        shutdown: &Shutdown,
        expiry: &mut DateTime<Utc>,
    ) -> Worked
    where
        W: FnOnce(I, ActivityCtx) -> F + Clone + Send + Sync,
        F: Future<Output = std::result::Result<O, StepError>> + Send,
    {
        let body = AssertUnwindSafe(async {
            let input =
                held.claim.input().map_err(|e| StepError::fatal(e).with_code(StepError::UNREADABLE))?;
            let result = work.clone()(
                input,
                ActivityCtx::new(held.claim.activity().clone(), shutdown.stopping.clone()),
            )
            .await?;
            // Inside `catch_unwind`, because the answer's own `Serialize` may panic as well.
            to_value(&result)
                .map_err(|e| StepError::fatal(WfeError::from(e)).with_code(StepError::UNSTORABLE))
        });
        tokio::select! {
            biased;
            ended = body.catch_unwind() => Worked::Answer(
                ended.unwrap_or_else(|payload| Err(StepError::from_panic("the worker", payload))),
            ),
            lost = self.heartbeats(held, expiry) => Worked::Lost(lost),
            () = shutdown.over.cancelled() => Worked::GraceOver,
        }
    }

    /// Renews the claim again and again until it is lost. The lease counts from the time at which the renewal was
    /// requested. If the store was slow to renew the claim, the next heartbeat follows sooner.
    async fn heartbeats(&self, held: &HeldClaim, expiry: &mut DateTime<Utc>) -> WfeError {
        let clock = &self.activities.host().engine().options().clock;
        let mut since = held.since;
        loop {
            let passed = clock.monotonic().saturating_sub(since);
            clock.sleep((self.lease / HEARTBEATS).saturating_sub(passed)).await;
            since = clock.monotonic();
            match held.claim.renew().await {
                Ok(renewed) => *expiry = renewed,
                Err(error @ WfeError::Unusable { .. }) => return error,
                Err(error) if error.family() == Family::Worker => return error,
                Err(error) => {
                    let loss = &self.activities.host().store().loss;
                    warn_unless_lost!(
                        loss,
                        activity = self.name,
                        %error,
                        "a claim could not be renewed; the worker tries again"
                    );
                }
            }
        }
    }
}

/// Awaits the future. If there is no future, this never resolves.
async fn or_pending<F: Future + Unpin>(future: Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => pending().await,
    }
}
