use std::{future::Future, panic::AssertUnwindSafe, pin::pin, time::Duration};

use chrono::{DateTime, Utc};
use futures_util::{
    FutureExt, StreamExt,
    future::pending,
    stream::{self, FuturesUnordered},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wfe_core::{
    Advice, Family, Result, WfeError, definition::to_value, limits::later, logging, steps::StepError,
};

use super::{Activities, ActivityClaim, ActivityCtx, claims::Held};
use crate::store::loss::warn_unless_lost;

/// By default long enough that a busy machine does not lose a claim, short enough that the work of a worker that died is
/// taken up soon.
const LEASE: Duration = Duration::from_secs(30);
/// Heartbeats in a lease: two may be lost.
const BEATS: u32 = 3;
/// A timer is no more exact than a millisecond: heartbeats of a shorter lease would come without a pause, and too late.
const SHORTEST_LEASE: Duration = Duration::from_millis(BEATS as u64);
/// Between two tries to store an answer. Real time: a store is no faster under a virtual clock.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest one, if the store says of its error that it does not pass by itself.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// By how much the store's clock may be behind the host's.
const BEHIND: Duration = Duration::from_millis(10);
/// Claimed activities looked at for the next one whose lease runs out.
const LOOKS: usize = 256;

/// Does the activities of one name in this process; from [`Activities::worker`]. It hears of new ones and does not poll
/// for them; the host's [`poll_interval`](crate::HostBuilder::poll_interval) is its safety net.
#[derive(Debug, Clone)]
pub struct Worker {
    activities: Activities,
    name: String,
    who: String,
    lease: Duration,
    concurrent: usize,
}

/// How far a worker is on its way to the end.
#[derive(Default)]
struct End {
    /// It claims nothing any more. What it works on may end.
    stopping: CancellationToken,
    /// The grace time is over.
    over: CancellationToken,
}

/// What came of looking for an activity.
enum Found {
    One(Held),
    /// With the time at which the first lease of another worker runs out.
    None(Option<DateTime<Utc>>),
}

/// What a body has answered, as it is stored.
type Answer = std::result::Result<Value, StepError>;

/// What became of an activity that was worked on.
enum Worked {
    Answer(Answer),
    /// Another worker has it, or nobody waits for it any more.
    Lost(WfeError),
    /// The grace time was over.
    NoTime,
}

impl Worker {
    pub(in crate::external_tasks) fn new(activities: Activities, name: String, worker: String) -> Self {
        Self { activities, name, who: worker, lease: LEASE, concurrent: 1 }
    }

    /// For how long an activity is claimed; by default 30 s. While it is worked on, a heartbeat comes three times as often.
    /// Less than 3 ms is refused when it is [run](Self::run).
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// How many activities are worked on at once; by default, and at least, one.
    #[must_use]
    pub fn concurrent(mut self, limit: usize) -> Self {
        self.concurrent = limit.max(1);
        self
    }

    /// Works until the host ends, as [`run_until`](Self::run_until) does.
    ///
    /// # Errors
    /// As [`run_until`](Self::run_until).
    pub async fn run<I, O, W, F>(self, work: W) -> Result<()>
    where
        I: DeserializeOwned,
        O: Serialize + Sync,
        W: Fn(I, ActivityCtx) -> F + Send + Sync,
        F: Future<Output = std::result::Result<O, StepError>> + Send,
    {
        self.run_until(pending::<()>(), work).await
    }

    /// Works until `stop` resolves or the host ends ([`stop`](crate::WorkflowHost::stop)), whichever comes first. Then it
    /// claims nothing any more, finishes what it works on, stores the answers and returns. What is not finished within the
    /// host's [`grace`](crate::HostBuilder::grace) time is dropped and given back, so that another worker gets it at once.
    /// Dropping this future gives everything back at once.
    ///
    /// `work` is given the input and what else is known of the activity; what it returns is the answer. A panic (also one
    /// of the answer's `Serialize`), and an input of another type, are failures of the activity. An answer that the store
    /// does not take for an error of its own is stored again, after pauses that grow up to 5 s, until the lease has run out;
    /// one that it refuses is given up, and nobody gets the activity again before the lease has run out. Where the claim is
    /// lost meanwhile (the instance was cancelled, the heartbeats came too late), its future is dropped. An activity begins as soon as it is claimed, and
    /// neither it nor its heartbeats wait for the next claim; a claim whose lease has run out before the store has answered
    /// is given back, not begun. All of it runs in the caller's task, so it must not block.
    ///
    /// ```
    /// # use wfe::{WorkflowHost, steps::StepError};
    /// # async fn make_thumbnail(_: String) -> Result<String, StepError> { Ok(String::new()) }
    /// async fn work(host: &WorkflowHost, signal: tokio::sync::oneshot::Receiver<()>) -> wfe::Result<()> {
    ///     let worker = host.activities().worker("make-thumbnail", "worker 1");
    ///     worker.run_until(signal, async |file: String, _| make_thumbnail(file).await).await
    /// }
    /// ```
    ///
    /// # Errors
    /// * [`Invalid`](WfeError::Invalid) and [`Unsupported`](WfeError::Unsupported): as [`Activities::claim`]; also a
    ///   [lease](Self::lease) of less than 3 ms.
    /// * [`Unusable`](WfeError::Unusable): the store is lost. What was worked on is dropped.
    ///
    /// Other errors of the store are logged, and it is asked again.
    pub async fn run_until<I, O, W, F>(self, stop: impl Future, work: W) -> Result<()>
    where
        I: DeserializeOwned,
        O: Serialize + Sync,
        W: Fn(I, ActivityCtx) -> F + Send + Sync,
        F: Future<Output = std::result::Result<O, StepError>> + Send,
    {
        if self.lease < SHORTEST_LEASE {
            return Err(WfeError::Invalid(format!(
                "the lease of the worker {:?} is {:?}, it must be {SHORTEST_LEASE:?} or longer",
                self.who, self.lease
            )));
        }
        let host = self.activities.host().clone();
        let (shared, clock) = (host.shared(), &host.shared().options.clock);
        let mut signs = shared.post.work();
        let mut news = shared.store.news().chain(stream::pending());
        let (mut stop, end, mut grace) = (pin!(stop), End::default(), None);
        let (mut busy, mut looking) = (FuturesUnordered::new(), None);
        // Whether something may be there that this has not looked for, and when a lease of another worker runs out.
        let (mut may_be, mut again, mut failed) = (true, None, None);
        loop {
            if host.has_ended() {
                end.stopping.cancel();
            }
            let stops = end.stopping.is_cancelled();
            if stops && busy.is_empty() && looking.is_none() {
                return failed.map_or(Ok(()), Err);
            }
            let grace = stops.then(|| {
                // Real time, as that of the host.
                grace.get_or_insert_with(|| Box::pin(tokio::time::sleep(shared.options.grace)))
            });
            let has_room = !stops && busy.len() < self.concurrent;
            if has_room && looking.is_none() && may_be {
                (may_be, again) = (false, None);
                looking = Some(self.look(&end));
            }
            let is_idle = has_room && looking.is_none();
            tokio::select! {
                // What was claimed begins before the next claim is looked at.
                biased;
                () = shared.loss.comes() => return Err(shared.loss.or_closed()),
                _ = &mut stop, if !stops => end.stopping.cancel(),
                () = of(grace), if !end.over.is_cancelled() => end.over.cancel(),
                Some(()) = busy.next() => may_be = true,
                found = of(looking.as_mut()) => {
                    looking = None;
                    // An error of the task: it panicked, in the store.
                    match found.unwrap_or_else(|panicked| Err(WfeError::Other(panicked.into()))) {
                        Ok(Found::One(held)) => {
                            busy.push(self.work_on(held, &work, &end));
                            may_be = true;
                        }
                        Ok(Found::None(at)) => again = at,
                        Err(error @ (WfeError::Invalid(_) | WfeError::Unsupported(_) | WfeError::Unusable { .. })) => {
                            failed = Some(error);
                            end.stopping.cancel();
                        }
                        Err(error) => {
                            warn_unless_lost!(shared.loss, activity = self.name, %error, "no activity could be claimed; it is tried again");
                        }
                    }
                }
                // An error: the host is gone, but this has it.
                _ = signs.changed() => may_be = true,
                Some(()) = news.next(), if has_room => may_be = true,
                () = async { clock.sleep_until(again.unwrap_or_default()).await }, if is_idle && again.is_some() => {
                    may_be = true;
                }
                () = clock.sleep(shared.options.poll_interval), if is_idle => may_be = true,
            }
        }
    }

    /// Claims the next activity, in a task of its own: it may wait for a busy store for long, and what was claimed is known
    /// even if nobody waits for this any more.
    fn look(&self, end: &End) -> JoinHandle<Result<Found>> {
        let (this, stopping) = (self.clone(), end.stopping.clone());
        tokio::spawn(async move {
            let shared = this.activities.host().shared();
            let Some(counted) = shared.claims.begin() else { return Ok(Found::None(None)) };
            let since = shared.options.clock.monotonic();
            let Some(claim) = this.activities.claim(&this.name, &this.who, this.lease).await? else {
                drop(counted);
                return Ok(Found::None(this.next_free().await));
            };
            let held = Held::new(claim, since, counted);
            if stopping.is_cancelled() || shared.claims.is_closed() {
                held.give_back().await;
                return Ok(Found::None(None));
            }
            Ok(Found::One(held))
        })
    }

    /// When the first lease runs out. Not at once: the store's clock may be a little behind.
    async fn next_free(&self) -> Option<DateTime<Utc>> {
        let open = self.activities.open(&self.name, None, LOOKS).await.ok()?; // the poll looks again
        let first = open.rows.into_iter().filter_map(|open| open.held?.until).min()?;
        Some(first.max(later(self.activities.host().shared().now(), BEHIND)))
    }

    async fn work_on<I, O, W, F>(&self, held: Held, work: &W, end: &End)
    where
        I: DeserializeOwned,
        O: Serialize + Sync,
        W: Fn(I, ActivityCtx) -> F + Send + Sync,
        F: Future<Output = std::result::Result<O, StepError>> + Send,
    {
        if end.stopping.is_cancelled() {
            return held.give_back().await;
        }
        let mut expiry = held.claim.expiry();
        if expiry <= self.activities.host().shared().now() {
            logging::warn!(
                activity = self.name,
                lease = ?self.lease,
                "the store has answered a claim when its lease had run out; it is given back"
            );
            return held.give_back().await;
        }
        // The body's future is gone before the claim is anybody else's.
        match self.body(&held, work, end, &mut expiry).await {
            Worked::Answer(Err(error)) if error.code() == StepError::GIVEN_BACK => held.give_back().await,
            Worked::Answer(answer) => {
                if self.answer(&held.claim, answer, expiry, end).await {
                    held.forget();
                } else {
                    held.give_back().await;
                }
            }
            Worked::Lost(error) => {
                let loss = &self.activities.host().shared().loss;
                warn_unless_lost!(loss, activity = self.name, %error, "a claim is lost; what was done for it is void");
                held.forget();
            }
            Worked::NoTime => {
                logging::warn!(
                    activity = self.name,
                    "the grace time is over; what is still worked on is given back"
                );
                held.give_back().await;
            }
        }
    }

    /// Lets the body work, and renews the claim meanwhile.
    async fn body<I, O, W, F>(&self, held: &Held, work: &W, end: &End, expiry: &mut DateTime<Utc>) -> Worked
    where
        I: DeserializeOwned,
        O: Serialize,
        W: Fn(I, ActivityCtx) -> F + Send + Sync,
        F: Future<Output = std::result::Result<O, StepError>> + Send,
    {
        let body = AssertUnwindSafe(async {
            let input =
                held.claim.input().map_err(|e| StepError::fatal(e).with_code(StepError::UNREADABLE))?;
            let result =
                work(input, ActivityCtx::new(held.claim.activity().clone(), end.stopping.clone())).await?;
            // Here, because the answer's own code may panic as well.
            to_value(&result)
                .map_err(|e| StepError::fatal(WfeError::from(e)).with_code(StepError::UNSTORABLE))
        });
        tokio::select! {
            biased;
            ended = body.catch_unwind() => Worked::Answer(
                ended.unwrap_or_else(|payload| Err(StepError::from_panic("the worker", payload))),
            ),
            lost = self.beat(held, expiry) => Worked::Lost(lost),
            () = end.over.cancelled() => Worked::NoTime,
        }
    }

    /// Renews the claim; ends when it is lost. The lease counts from when its renewal was asked for, so that one for which
    /// the store took long is followed by the next one at once.
    async fn beat(&self, held: &Held, expiry: &mut DateTime<Utc>) -> WfeError {
        let clock = &self.activities.host().shared().options.clock;
        let mut since = held.since;
        loop {
            let passed = clock.monotonic().saturating_sub(since);
            clock.sleep((self.lease / BEATS).saturating_sub(passed)).await;
            since = clock.monotonic();
            match held.claim.renew().await {
                Ok(renewed) => *expiry = renewed,
                Err(error @ WfeError::Unusable { .. }) => return error,
                Err(error) if error.family() == Family::Worker => return error,
                Err(error) => {
                    let loss = &self.activities.host().shared().loss;
                    warn_unless_lost!(loss, activity = self.name, %error, "a heartbeat failed");
                }
            }
        }
    }

    /// Stores the answer, again and again if the store fails. `false`: it is not
    /// stored, and the claim is to be given back; one whose answer was refused is not.
    async fn answer(
        &self,
        claim: &ActivityClaim,
        mut answer: Answer,
        mut expiry: DateTime<Utc>,
        end: &End,
    ) -> bool {
        let shared = self.activities.host().shared();
        let mut pause = PAUSE;
        loop {
            let stored = match &answer {
                Ok(result) => claim.succeed(result).await,
                Err(error) => claim.fail(error).await,
            };
            let Err(error) = stored else { return true };
            let error = match error {
                // It would be so each time.
                WfeError::Serialization(_) | WfeError::Unstorable { .. } if answer.is_ok() => {
                    answer = Err(StepError::fatal(error).with_code(StepError::UNSTORABLE));
                    continue;
                }
                // The lease ran out while the store was busy, but nobody else need have the claim.
                WfeError::LeaseExpired(_) if expiry <= later(shared.now(), BEHIND) => {
                    match claim.renew().await {
                        Ok(later) => {
                            expiry = later;
                            continue;
                        }
                        Err(error) => error,
                    }
                }
                error => error,
            };
            let lasts = error.advice() == Advice::GiveUp || error.family() == Family::Worker;
            if lasts && (is_final(&error) || expiry <= shared.now()) {
                // Given back, it would be done at once anew, only to be refused again: the lease is the pause.
                warn_unless_lost!(
                    shared.loss,
                    activity = self.name,
                    %error,
                    "an answer was refused; the activity is free again when the lease has run out"
                );
                return true;
            }
            if end.over.is_cancelled() {
                warn_unless_lost!(shared.loss, activity = self.name, %error, "the grace time is over; an answer could not be stored");
                return false;
            }
            logging::debug!(activity = self.name, %error, "an answer is stored again");
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = end.over.cancelled() => {}
            }
            if lasts {
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Whether the store has refused the answer itself. Any other error tells that it failed.
fn is_final(error: &WfeError) -> bool {
    !matches!(error, WfeError::Storage { .. } | WfeError::Persistence(_) | WfeError::Other(_))
}

/// What comes of it; for ever nothing, if it is not there.
async fn of<F: Future + Unpin>(future: Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => pending().await,
    }
}
