use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use wfe_core::{logging, sync::lock};

/// An asynchronous body is reported if it keeps its thread for longer than this. A blocking body is reported if it
/// continues for longer than this after its token is cancelled.
const TOO_LONG: Duration = Duration::from_secs(1);
/// The watchdog checks twice per [`TOO_LONG`], so a report is late by at most half of that time. The watchdog does not
/// check while no body runs.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Reports asynchronous bodies that do not yield, because they block a thread of the program's runtime. The watchdog
/// also reports cancelled blocking bodies that continue, because they keep a thread and a slot. The watchdog measures
/// real time instead of the host's clock, because it concerns threads, not workflows.
pub(in crate::engine) struct Watchdog {
    watched: Mutex<Vec<Weak<Watch>>>,
    began: Instant,
    work: Notify,
}

pub(in crate::engine) struct Watch {
    instance: Arc<str>,
    step: Arc<str>,
    /// For an asynchronous body, the time when its current poll began. For a blocking body, the time when the watchdog
    /// first saw that the body is cancelled. The value is the number of milliseconds after `began`, plus 1. Zero means
    /// that the body is neither being polled nor known to be cancelled.
    since: AtomicU64,
    /// The cancellation token of a blocking body. `None` for an asynchronous body.
    token: Option<CancellationToken>,
    reported: AtomicBool,
}

impl Watch {
    fn since(&self, now: u64) -> u64 {
        if self.token.as_ref().is_some_and(CancellationToken::is_cancelled) {
            // The exchange fails if the cancellation was seen before.
            let _seen = self.since.compare_exchange(0, now + 1, Ordering::Relaxed, Ordering::Relaxed);
        }
        self.since.load(Ordering::Relaxed)
    }

    fn report(&self) {
        let (instance, step) = (&*self.instance, &*self.step);
        if self.token.is_none() {
            logging::warn!(
                wfe.instance.id = instance,
                wfe.step.id = step,
                "the step has kept its thread for over a second without yielding; declare it as blocking"
            );
        } else {
            logging::warn!(
                wfe.instance.id = instance,
                wfe.step.id = step,
                "the blocking step has continued for over a second after its cancellation token was cancelled; it \
                 keeps its thread and its slot until it returns; check the token in the step"
            );
        }
    }
}

impl Watchdog {
    pub fn new() -> Self {
        Self { watched: Mutex::default(), began: Instant::now(), work: Notify::new() }
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX - 1)
    }

    /// Wraps the body in a future that the watchdog watches.
    pub fn watch<F: Future>(
        self: &Arc<Self>,
        instance: Arc<str>,
        step: Arc<str>,
        body: F,
    ) -> impl Future<Output = F::Output> + use<F> {
        let (watch, dog) = (self.begin(instance, step, None), self.clone());
        async move {
            let mut body = pin!(body);
            poll_fn(|context| {
                watch.since.store(dog.millis() + 1, Ordering::Relaxed);
                let polled = body.as_mut().poll(context);
                watch.since.store(0, Ordering::Relaxed);
                polled
            })
            .await
        }
    }

    /// Watches a blocking body that has this token, until the returned value is dropped.
    pub fn watch_blocking(&self, instance: Arc<str>, step: Arc<str>, token: CancellationToken) -> Arc<Watch> {
        self.begin(instance, step, Some(token))
    }

    fn begin(&self, instance: Arc<str>, step: Arc<str>, token: Option<CancellationToken>) -> Arc<Watch> {
        let (since, reported) = (AtomicU64::new(0), AtomicBool::new(false));
        let watch = Arc::new(Watch { instance, step, since, token, reported });
        let mut watched = lock(&self.watched);
        watched.push(Arc::downgrade(&watch));
        drop(watched);
        self.work.notify_one();
        watch
    }

    /// Checks the watched bodies, for ever.
    pub async fn run(&self) {
        loop {
            self.work.notified().await;
            while self.look() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    }

    /// Reports the bodies that are overdue. Returns `false` if no body is left to watch.
    fn look(&self) -> bool {
        let now = self.millis();
        let mut watched = lock(&self.watched);
        watched.retain(|watch| {
            let Some(watch) = watch.upgrade() else { return false };
            let since = watch.since(now);
            let overdue = since > 0 && u128::from(now.saturating_sub(since - 1)) >= TOO_LONG.as_millis();
            if overdue && !watch.reported.swap(true, Ordering::Relaxed) {
                watch.report();
            }
            true
        });
        !watched.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_that_keeps_its_thread_is_reported_once_and_a_waiting_one_is_not() {
        let mut dog = Watchdog::new();
        dog.began = Instant::now().checked_sub(2 * TOO_LONG).unwrap();
        let dog = Arc::new(dog);
        let waiting = dog.watch("one".into(), "waits".into(), std::future::pending::<()>());
        let greedy = dog.watch("two".into(), "spins".into(), std::future::ready(()));
        let watch = |at: usize| dog.watched.lock().unwrap()[at].upgrade().unwrap();
        let mut waiting = Box::pin(waiting);
        assert!(futures_util::FutureExt::now_or_never(waiting.as_mut()).is_none());
        watch(1).since.store(1, Ordering::Relaxed); // as if its poll had begun two seconds ago
        assert!(dog.look());
        assert!(!watch(0).reported.load(Ordering::Relaxed));
        assert!(watch(1).reported.load(Ordering::Relaxed));
        drop((waiting, greedy));
        assert!(!dog.look(), "bodies that have ended are forgotten");
    }
    #[test]
    fn a_blocking_body_that_outlives_its_cancellation_is_reported_once_and_a_wanted_one_is_not() {
        let mut dog = Watchdog::new();
        let (wanted, unwanted) = (CancellationToken::new(), CancellationToken::new());
        let wanted = dog.watch_blocking("one".into(), "runs".into(), wanted);
        let goes_on = dog.watch_blocking("two".into(), "runs on".into(), unwanted.clone());
        assert!(dog.look());
        unwanted.cancel();
        assert!(dog.look());
        assert!(!goes_on.reported.load(Ordering::Relaxed), "it may see it yet");
        dog.began = dog.began.checked_sub(TOO_LONG).unwrap(); // as if that was a second ago
        assert!(dog.look());
        assert!(goes_on.reported.load(Ordering::Relaxed));
        assert!(!wanted.reported.load(Ordering::Relaxed));
        drop((wanted, goes_on));
        assert!(!dog.look(), "bodies that have ended are forgotten");
    }
}
