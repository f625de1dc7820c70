//! Limits how much of the program's work waits for the database at the same time.
//!
//! A program can send requests (starts, events, control requests, queries) faster than a disk serves them, and
//! each request that waits in a queue takes memory. So a request of the program enters a queue only with a
//! permit of that queue, and returns the permit when it is done. A request without a permit waits outside the
//! queue for at most [`busy_timeout`](crate::SqliteOptions::busy_timeout). Then the request is refused as
//! `Busy`, and nothing is written.
//!
//! Requests of workers about their claims (heartbeats, answers, releases) have their own permits, as many as
//! the program's other requests have. The other requests cannot take the workers' permits. Otherwise a program
//! that floods its store would make its workers lose their claims.
//!
//! Requests of the engine (commits, claims, loads, the sweep of events) need no permit. For each instance in
//! memory there is at most one such request at a time, and for the host there are a few. So the number of these
//! requests is bounded without permits. If the engine's requests had to wait for the program's requests, both
//! could wait for each other for ever, because requests of the program may wait for the engine.

use std::{sync::Arc, time::Instant};

use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError},
    task::JoinHandle,
    time::Duration,
};
use wfe_core::{Result, WfeError};

/// The number of permits of a queue. This many small requests can be in the queue at the same time. These
/// requests fill four of the writer's transactions, so the writer never has to wait for the next requests. The
/// writer needs less than a tenth of a second for all of them.
const PERMITS: u32 = 1024;
/// A request takes one permit, and one more permit for each full block of this many bytes of its arguments. So
/// all arguments of the program's requests in a queue take at most 64 MiB together. A larger request enters
/// only when no other request holds a permit.
const BYTES: usize = 64 << 10;

/// The caller of a request to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// The program. A request of the program may have to wait for a permit.
    Program,
    /// A worker of the program, with a request about its claims. Such a request may have to wait for a permit,
    /// but only until requests of other workers are done.
    Worker,
    /// The engine. A request of the engine never has to wait for a permit.
    Engine,
}

/// Admits a request to a queue. A permit is released when it is dropped. A request of the engine has `None`
/// instead of a permit.
pub(crate) type Permit = Option<OwnedSemaphorePermit>;

/// The admission control of one queue.
pub(crate) struct Admission {
    permits: Arc<Semaphore>,
    workers: Arc<Semaphore>,
    /// The runtime whose timer limits the waits, because the caller's runtime may have no timer. The thread of this
    /// runtime never blocks.
    timer: Handle,
    /// How long a call may wait, counted from the beginning of the call.
    longest: Duration,
    /// The name by which errors refer to the database.
    location: String,
}

impl Admission {
    pub(crate) fn new(timer: Handle, longest: Duration, location: String) -> Self {
        let permits = || Arc::new(Semaphore::new(PERMITS as usize));
        Self { permits: permits(), workers: permits(), timer, longest, location }
    }

    /// The name by which errors refer to the database.
    pub(crate) fn location(&self) -> &str {
        &self.location
    }

    /// Waits until a request may enter the queue. The request has `bytes` bytes of arguments, and its call began at
    /// `since`. A dropped future keeps no permit.
    pub(crate) async fn enter(&self, caller: Caller, bytes: usize, since: Instant) -> Result<Permit> {
        let free = match caller {
            Caller::Program => &self.permits,
            Caller::Worker => &self.workers,
            Caller::Engine => return Ok(None),
        };
        let wanted = permits(bytes);
        match free.clone().try_acquire_many_owned(wanted) {
            Ok(permit) => return Ok(Some(permit)),
            Err(TryAcquireError::NoPermits) => {}
            Err(TryAcquireError::Closed) => return Err(WfeError::Closed("store")),
        }
        let rest = self.longest.saturating_sub(since.elapsed());
        // The sleep is created on the other runtime, because this runtime may have no timer.
        let mut timer = Timer(self.timer.spawn(async move { tokio::time::sleep(rest).await }));
        tokio::select! {
            biased;
            permit = free.clone().acquire_many_owned(wanted) => match permit {
                Ok(permit) => Ok(Some(permit)),
                Err(_) => Err(WfeError::Closed("store")),
            },
            of_writer = &mut timer.0 => Err(match of_writer {
                Ok(()) => self.busy(since.elapsed()),
                // The thread of the timer's runtime has ended.
                Err(_) => WfeError::Closed("store"),
            }),
        }
    }

    /// Admits no more requests. Requests that are waiting for a permit fail with the error that the store is
    /// closed.
    pub(crate) fn close(&self) {
        self.permits.close();
        self.workers.close();
    }

    #[cfg(test)]
    pub(crate) fn has_room(&self) -> bool {
        self.permits.available_permits() > 0
    }

    fn busy(&self, waited: Duration) -> WfeError {
        let message = format!(
            "waited {waited:.1?} behind other calls of this program, which arrive faster than {} serves them: send \
             fewer at once, or raise busy_timeout",
            self.location
        );
        WfeError::Busy { message, source: None }
    }
}

/// Aborts its task when this value is dropped, so that no task is left behind when the future of a wait is
/// dropped.
struct Timer(JoinHandle<()>);

impl Drop for Timer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn permits(bytes: usize) -> u32 {
    u32::try_from(bytes / BYTES).unwrap_or(u32::MAX).saturating_add(1).min(PERMITS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn admission(longest: Duration) -> (Admission, tokio::runtime::Runtime) {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
        (Admission::new(runtime.handle().clone(), longest, "x.db".to_owned()), runtime)
    }

    /// Runs the work on a runtime without a timer, because programs may have such a runtime.
    fn on_no_clock<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
    }

    #[test]
    fn a_large_request_takes_the_place_of_many_and_at_most_of_all() {
        assert_eq!((permits(0), permits(BYTES - 1), permits(BYTES)), (1, 1, 2));
        assert_eq!((permits(usize::MAX), permits(BYTES * PERMITS as usize)), (PERMITS, PERMITS));
    }

    #[test]
    fn who_finds_no_permit_waits_for_one_and_is_refused_when_its_time_is_over() {
        let (admission, _runtime) = admission(Duration::from_millis(50));
        on_no_clock(async {
            let program = Caller::Program;
            let all = admission.enter(program, usize::MAX, Instant::now()).await.unwrap();
            let began = Instant::now();
            match admission.enter(program, 1, began).await {
                Err(WfeError::Busy { message, .. }) => assert!(message.contains("x.db"), "{message}"),
                other => panic!("{other:?}"),
            }
            assert!(began.elapsed() >= Duration::from_millis(50));
            assert!(admission.enter(Caller::Engine, usize::MAX, began).await.unwrap().is_none());
            let mut next = Box::pin(admission.enter(program, 1, Instant::now()));
            assert!(next.as_mut().now_or_never().is_none());
            drop(all);
            assert!(next.await.unwrap().is_some());
            assert_eq!(admission.permits.available_permits(), PERMITS as usize);
        });
    }

    #[test]
    fn a_wait_that_is_dropped_takes_no_permit_and_a_closed_store_ends_all_waits() {
        let (admission, _runtime) = admission(Duration::from_mins(1));
        on_no_clock(async {
            let program = Caller::Program;
            let all = admission.enter(program, usize::MAX, Instant::now()).await.unwrap();
            for _ in 0..2 * PERMITS {
                assert!(admission.enter(program, 1, Instant::now()).now_or_never().is_none());
            }
            drop(all);
            assert_eq!(admission.permits.available_permits(), PERMITS as usize);
            let _all = admission.enter(program, usize::MAX, Instant::now()).await.unwrap();
            let mut waits = Box::pin(admission.enter(program, 1, Instant::now()));
            assert!(waits.as_mut().now_or_never().is_none());
            admission.close();
            assert!(matches!(waits.await, Err(WfeError::Closed(_))));
        });
    }
}
