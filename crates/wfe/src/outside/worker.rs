use std::{future::Future, panic::AssertUnwindSafe, time::Duration};

use chrono::{DateTime, Utc};
use futures_util::{
    FutureExt, StreamExt,
    future::{Either, select},
    stream::{self, FuturesUnordered},
};
use serde::{Serialize, de::DeserializeOwned};
use wfe_core::{Advice, Result, WfeError, steps::StepError};

use super::{Activities, ActivityClaim, OpenActivity};

/// By default long enough that a busy machine does not lose a claim, short enough that the work of a worker that died is
/// taken up soon.
const LEASE: Duration = Duration::from_secs(30);
/// Heartbeats in a lease: two may be lost.
const BEATS: u32 = 3;
/// Between two tries to store an answer. Real time: a store is no faster under a virtual clock.
const PAUSE: Duration = Duration::from_millis(100);
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

impl Worker {
    pub(super) fn new(activities: Activities, name: String, worker: String) -> Self {
        Self { activities, name, who: worker, lease: LEASE, concurrent: 1 }
    }

    /// For how long an activity is claimed; by default 30 s. While it is worked on, a heartbeat comes three times as often.
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

    /// Works until the host has ended. Dropped, it gives up what it works on, which others get when the lease has run
    /// out.
    ///
    /// `work` is given the input and what else is known of the activity; what it returns is the answer. A panic, and an
    /// input of another type, are failures of the activity. Where the claim is lost meanwhile (the instance was
    /// cancelled, the heartbeats came too late), its future is dropped. All of it runs in the caller's task, so it must
    /// not block.
    ///
    /// # Errors
    /// [`Invalid`](WfeError::Invalid) and [`Unsupported`](WfeError::Unsupported): as [`Activities::claim`]. Other errors
    /// of the store are logged, and it is asked again.
    pub async fn run<I, O, W, F>(self, work: W) -> Result<()>
    where
        I: DeserializeOwned,
        O: Serialize + Sync,
        W: Fn(I, OpenActivity) -> F + Send + Sync,
        F: Future<Output = std::result::Result<O, StepError>> + Send,
    {
        let host = self.activities.host().clone();
        let mut signs = host.shared().post.work();
        let mut news = host.shared().store.news().chain(stream::pending());
        let mut busy = FuturesUnordered::new();
        while !host.has_ended() {
            signs.mark_unchanged();
            let mut again = None;
            while busy.len() < self.concurrent {
                match self.activities.claim(&self.name, &self.who, self.lease).await {
                    Ok(Some(claim)) => busy.push(self.work_on(claim, &work)),
                    Ok(None) => {
                        again = self.next_free().await;
                        break;
                    }
                    Err(error @ (WfeError::Invalid(_) | WfeError::Unsupported(_))) => return Err(error),
                    Err(error) => {
                        tracing::warn!(activity = self.name, %error, "no activity could be claimed; it is tried again");
                        break;
                    }
                }
            }
            let has_room = busy.len() < self.concurrent;
            let clock = &host.shared().options.clock;
            tokio::select! {
                Some(()) = busy.next() => {}
                // An error: the host is gone, but this has it.
                _ = signs.changed() => {}
                Some(()) = news.next(), if has_room => {}
                () = async { clock.sleep_until(again.unwrap_or_default()).await }, if again.is_some() => {}
                () = clock.sleep(host.shared().options.poll_interval), if has_room => {}
            }
        }
        Ok(())
    }

    /// When the first lease runs out. Not at once: the store's clock may be a little behind.
    async fn next_free(&self) -> Option<DateTime<Utc>> {
        let open = self.activities.open(&self.name, None, LOOKS).await.ok()?; // the poll looks again
        let first = open.rows.into_iter().filter_map(|open| open.held?.until).min()?;
        Some(first.max(self.activities.host().shared().now() + BEHIND))
    }

    async fn work_on<I, O, W, F>(&self, mut claim: ActivityClaim, work: &W)
    where
        I: DeserializeOwned,
        O: Serialize + Sync,
        W: Fn(I, OpenActivity) -> F + Send + Sync,
        F: Future<Output = std::result::Result<O, StepError>> + Send,
    {
        let body = AssertUnwindSafe(async {
            let input = claim.input().map_err(|e| StepError::fatal(e).with_code(StepError::UNREADABLE))?;
            work(input, claim.activity().clone()).await
        });
        let body = body
            .catch_unwind()
            .map(|ended| ended.unwrap_or_else(|payload| Err(StepError::from_panic("the worker", payload))));
        let host = self.activities.host();
        let mut expiry = claim.expiry();
        let answer = {
            let beats = self.beat(&claim, &mut expiry);
            match select(std::pin::pin!(body), std::pin::pin!(beats)).await {
                Either::Left((answer, _)) => answer,
                Either::Right((lost, _)) => {
                    tracing::warn!(activity = self.name, error = %lost, "a claim is lost; what was done for it is void");
                    return;
                }
            }
        };
        claim.set_expiry(expiry);
        loop {
            let stored = match &answer {
                Ok(result) => claim.succeed(result).await,
                Err(error) => claim.fail(error).await,
            };
            match stored {
                Ok(()) => return,
                Err(error) if error.advice() == Advice::GiveUp || claim.expiry() <= host.shared().now() => {
                    tracing::warn!(activity = self.name, %error, "an answer was refused");
                    return;
                }
                Err(error) => {
                    tracing::debug!(activity = self.name, %error, "an answer is stored again");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Renews the claim; ends when it is lost.
    async fn beat(&self, claim: &ActivityClaim, expiry: &mut DateTime<Utc>) -> WfeError {
        let shared = self.activities.host().shared();
        loop {
            shared.options.clock.sleep(self.lease / BEATS).await;
            match claim.renew().await {
                Ok(later) => *expiry = later,
                Err(error @ WfeError::SubscriptionNotFound(_)) => return error,
                Err(error) => tracing::warn!(activity = self.name, %error, "a heartbeat failed"),
            }
        }
    }
}
