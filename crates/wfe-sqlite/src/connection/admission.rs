//! How much of the program's work waits for the database at once.
//!
//! What a program asks of the store (starts, events, requests, queries) it can ask faster than a disk takes it, and each
//! request that waits in a queue is memory. So a request of the program's enters a queue only with a permit of that queue,
//! and gives the permit back when it is done. Who finds none waits outside, as long as calls may wait at all
//! ([`busy_timeout`](crate::SqliteOptions::busy_timeout)), and is then refused as `Busy`, with nothing written.
//!
//! What workers say of their claims (heartbeats, answers, what they give back) needs permits of their own. There are as many,
//! and the program's other requests cannot take them: a program that floods its store would make its workers lose claims.
//!
//! What the engine asks (commits, claims, loads, the sweep of events) needs no permit. There is one such call under way at
//! most for each instance in memory, and a few for the host, so it is bounded without one; and if it waited for the program,
//! the program's queue could never empty that waits for the engine.

use std::{sync::Arc, time::Instant};

use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError},
    task::JoinHandle,
    time::Duration,
};
use wfe_core::{Result, WfeError};

/// Permits of a queue: that many small requests. Four of the writer's transactions, so that it never waits for the next
/// ones to come in, and less than a tenth of a second of its work.
const PERMITS: u32 = 1024;
/// A request takes a permit for each so many bytes of its arguments that it has or begins. So all of the program's requests
/// in a queue have 64 MiB at most; a larger one enters when it is the only one.
const BYTES: usize = 64 << 10;

/// Who asks something of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// The program. It may have to wait.
    Program,
    /// A worker of the program's, about what it has claimed. It may have to wait, but for other workers alone.
    Worker,
    /// The engine. It never has to.
    Engine,
}

/// What lets a request into a queue; given back when dropped. `None`: the engine's.
pub(crate) type Permit = Option<OwnedSemaphorePermit>;

/// The way into one queue.
pub(crate) struct Admission {
    permits: Arc<Semaphore>,
    workers: Arc<Semaphore>,
    /// Where waits are timed: the caller's own runtime need have no clock.
    timer: Handle,
    /// How long a call may wait, from its beginning.
    longest: Duration,
    /// How the database is named in errors.
    location: String,
}

impl Admission {
    pub(crate) fn new(timer: Handle, longest: Duration, location: String) -> Self {
        let permits = || Arc::new(Semaphore::new(PERMITS as usize));
        Self { permits: permits(), workers: permits(), timer, longest, location }
    }

    /// Times waits there instead: on a runtime whose thread never blocks.
    pub(crate) fn time_on(&mut self, timer: Handle) {
        self.timer = timer;
    }

    /// Lets in a request with so many bytes of arguments, made by a call that began then. A dropped future leaves no
    /// permit taken.
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
        // Made there, not here, where there may be no clock.
        let mut timer = Timer(self.timer.spawn(async move { tokio::time::sleep(rest).await }));
        tokio::select! {
            biased;
            permit = free.clone().acquire_many_owned(wanted) => match permit {
                Ok(permit) => Ok(Some(permit)),
                Err(_) => Err(WfeError::Closed("store")),
            },
            of_writer = &mut timer.0 => Err(match of_writer {
                Ok(()) => self.busy(since.elapsed()),
                // The thread has ended.
                Err(_) => WfeError::Closed("store"),
            }),
        }
    }

    /// Nobody is let in any more; who waits is told that the store is closed.
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

/// So that a wait which was dropped leaves nothing behind.
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

    /// On a runtime without a clock, as any program may have.
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
