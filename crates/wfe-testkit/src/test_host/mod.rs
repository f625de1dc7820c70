//! A host for tests of workflows: see [`TestHost`].

mod builder;
mod external_tasks;
mod inspecting;
mod passing;

pub use builder::TestHostBuilder;
pub use inspecting::FinalState;

use std::{
    ops::Deref,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::broadcast::{Receiver, error::TryRecvError};
use wfe::{Result, WfeError, WorkflowHost, host::LifecycleEvent, traits::PersistenceProvider};
use wfe_core::sync::lock;

use crate::VirtualClock;

/// A host that takes its time from a virtual clock. The test advances this clock and never waits for real time to pass.
///
/// After each action of the test, [`idle`](Self::idle) lets the host run until it has nothing left to do. The host
/// itself reports that it has nothing left to do, so that no test has to guess how long to wait.
/// [`advance`](Self::advance) lets time pass and runs everything that becomes due in that time. A delay of thirty days
/// therefore takes milliseconds:
///
/// ```
/// use std::{sync::Arc, time::Duration};
///
/// use wfe::{Outcome, definition::{Event, WorkflowBuilder}};
/// use wfe_sqlite::SqlitePersistenceProvider; // or any other store
/// use wfe_testkit::{TestHost, VirtualClock};
///
/// const PAID: Event<String> = Event::new("paid");
///
/// # #[tokio::main(flavor = "multi_thread", worker_threads = 2)]
/// # async fn main() -> wfe::Result<()> {
/// let dunning = WorkflowBuilder::<Vec<String>>::new("dunning", 1)
///     .wait_for("paid", PAID, |_| "invoice-7")
///     .output(|by, log| log.push(format!("paid by {by}")))
///     .on_timeout(
///         |_| Duration::from_hours(30 * 24),
///         |late| late.change("remind", |log| log.push("reminded".into())),
///     )
///     .build()?;
///
/// let clock = Arc::new(VirtualClock::default());
/// let store = SqlitePersistenceProvider::builder(":memory:").clock(clock.clone()).open().await?;
/// let host = TestHost::builder(store, clock).define(dunning).start().await?;
///
/// let late = host.start_workflow("dunning", &Vec::<String>::new()).await?;
/// host.idle().await?;
/// assert_eq!(host.current_steps(&late).await?, ["paid"]);
/// host.advance(Duration::from_hours(30 * 24)).await?;
/// assert_eq!(host.outcome(&late).await?, Some(Outcome::Completed(vec!["reminded".to_owned()])));
///
/// let in_time = host.start_workflow("dunning", &Vec::<String>::new()).await?;
/// host.advance(Duration::from_hours(29 * 24)).await?;
/// host.publish(PAID, "invoice-7", "ada".to_owned()).await?;
/// host.idle().await?;
/// assert_eq!(host.outcome(&in_time).await?, Some(Outcome::Completed(vec!["paid by ada".to_owned()])));
/// # Ok(())
/// # }
/// ```
///
/// A `TestHost` may consist of several hosts that use one store ([`beside`](TestHostBuilder::beside)). Each host then
/// represents a process, and the calls of the `TestHost` go to each host in turn.
pub struct TestHost {
    hosts: Vec<WorkflowHost>,
    store: Arc<dyn PersistenceProvider>,
    clock: Arc<VirtualClock>,
    turns: AtomicUsize,
    received: Mutex<Received>,
}

/// The verbs of the host. If there are several hosts, each call goes to the next of them.
impl Deref for TestHost {
    type Target = WorkflowHost;

    fn deref(&self) -> &WorkflowHost {
        self.host()
    }
}

/// The lifecycle events that were received from the hosts.
struct Received {
    receivers: Vec<Receiver<LifecycleEvent>>,
    events: Vec<LifecycleEvent>,
    missed: u64,
}

impl TestHost {
    /// Returns the clock of the host, which [`advance`](Self::advance) moves.
    #[must_use]
    pub fn clock(&self) -> &Arc<VirtualClock> {
        &self.clock
    }

    /// Returns the host. If there are several hosts, each call returns the next of them in turn.
    pub fn host(&self) -> &WorkflowHost {
        &self.hosts[self.turns.fetch_add(1, Ordering::Relaxed) % self.hosts.len()]
    }

    /// Returns all hosts.
    #[must_use]
    pub fn hosts(&self) -> &[WorkflowHost] {
        &self.hosts
    }

    /// Returns the store of the first host.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn PersistenceProvider> {
        &self.store
    }

    /// Returns all lifecycle events that the hosts have sent so far. The events of the same host are in order.
    ///
    /// # Errors
    /// [`Invalid`](WfeError::Invalid): some lifecycle events were missed, because the hosts sent too many of
    /// them between two calls to this test host.
    pub fn events(&self) -> Result<Vec<LifecycleEvent>> {
        let received = self.gather();
        match received.missed {
            0 => Ok(received.events.clone()),
            missed => Err(WfeError::Invalid(format!(
                "{missed} lifecycle events were missed; call `events` more often, or subscribe to the host's `lifecycle`"
            ))),
        }
    }

    /// Stops all hosts; see [`WorkflowHost::stop`].
    ///
    /// # Errors
    /// The errors of [`WorkflowHost::stop`].
    pub async fn stop(&self) -> Result<()> {
        for host in &self.hosts {
            host.stop().await?;
        }
        Ok(())
    }

    /// Receives the lifecycle events that the hosts have sent since the last call.
    fn gather(&self) -> MutexGuard<'_, Received> {
        // No code panics while it holds this lock.
        let mut received = lock(&self.received);
        let Received { receivers, events, missed } = &mut *received;
        for receiver in receivers {
            loop {
                match receiver.try_recv() {
                    Ok(event) => events.push(event),
                    Err(TryRecvError::Lagged(some)) => *missed += some,
                    Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                }
            }
        }
        received
    }
}
