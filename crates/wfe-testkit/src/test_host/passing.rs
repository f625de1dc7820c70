//! The methods by which a test lets time pass.

use std::{future::Future, pin::pin, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use serde::de::DeserializeOwned;
use wfe::{Outcome, Result, WfeError, clock::Clock};

use super::TestHost;
use crate::virtual_clock::Asleep;

/// How long to wait in real time. A body that has not ended within this time probably waits for something that never
/// happens.
const PATIENCE: Duration = Duration::from_secs(50);

/// How often `idle` looks within its patience whether a body sleeps on the clock.
const LOOKS: u32 = 10;

/// If a workflow has not ended after this many due times, it is assumed to recur for ever.
const DUE_TIMES: usize = 100_000;

impl TestHost {
    /// Lets the host run until it is idle. An idle host does nothing until time passes, or until an external call,
    /// event or answer arrives. Returns the earliest due time, or `None` if nothing is scheduled. See
    /// [`WorkflowHost::idle`](wfe::WorkflowHost::idle).
    ///
    /// # Errors
    /// [`Invalid`](WfeError::Invalid), in these cases:
    ///
    /// * A body has slept on the clock for 5 s to 10 s of real time, and nobody has moved the clock meanwhile. The
    ///   error names the step. Wait for such a body with [`asleep`](Self::asleep), then advance the
    ///   [clock](super::TestHost::clock).
    /// * The host was not idle within 50 s of real time, for example because a body still runs. While a body waits for
    ///   something external, use [`until`](Self::until) instead.
    pub async fn idle(&self) -> Result<Option<DateTime<Utc>>> {
        self.idle_within(PATIENCE).await
    }

    async fn idle_within(&self, patience: Duration) -> Result<Option<DateTime<Utc>>> {
        let (mut idle, mut before) = (pin!(self.all_idle()), None::<Asleep>);
        for _ in 0..LOOKS {
            let ended = tokio::time::timeout(patience / LOOKS, idle.as_mut()).await;
            drop(self.gather());
            if let Ok(idle) = ended {
                return idle;
            }
            // One sleeper is enough: until it wakes, the host cannot be idle, whatever else goes on.
            let asleep = self.clock.all_asleep();
            if before.is_some_and(|before| asleep.is_stuck_since(&before)) {
                break;
            }
            before = Some(asleep);
        }
        let asleep = self.clock.all_asleep();
        let steps = asleep.steps();
        let Some((first, _)) = steps.first_key_value() else {
            let secs = patience.as_secs();
            return Err(WfeError::Invalid(format!(
                "the host is not idle after {secs} s: a step's body does not end, or the store hangs or fails"
            )));
        };
        let all: Vec<_> =
            steps.iter().map(|(step, until)| format!("of step {step:?} until {until}")).collect();
        Err(WfeError::Invalid(format!(
            "the host is not idle, because a body sleeps on the virtual clock: {}; wait for the body with \
             `asleep({first:?})`, then wake it with `clock().advance(…)`",
            all.join(", ")
        )))
    }

    /// Waits until all hosts are idle at the same time. If there are several hosts, this is so when each host was idle
    /// twice and no host has worked in between.
    async fn all_idle(&self) -> Result<Option<DateTime<Utc>>> {
        let mut before = Vec::new();
        loop {
            let (mut works, mut next) = (Vec::new(), None::<DateTime<Utc>>);
            for host in &self.hosts {
                let idle = host.idle().await?;
                works.push(idle.works);
                next = next.into_iter().chain(idle.next).min();
            }
            if works == before || works.len() == 1 {
                return Ok(next);
            }
            before = works;
        }
    }

    /// Waits until a body of this step sleeps on the [clock](super::TestHost::clock). Returns the time until which it
    /// sleeps, or the earliest of these times if several bodies of the step sleep. Then [`VirtualClock::advance`](crate::VirtualClock::advance) wakes
    /// it.
    ///
    /// A body that sleeps in an `await` still runs, so the host is not [idle](Self::idle) meanwhile, and
    /// [`advance`](Self::advance), which waits until the host is idle, cannot be used to wake it. Sleepers of the engine
    /// and of the test are left out. [`VirtualClock::wait_for_asleep`](crate::VirtualClock::wait_for_asleep) waits for
    /// several bodies.
    ///
    /// # Errors
    /// [`Invalid`](WfeError::Invalid): no body of the step slept within 50 s of real time.
    pub async fn asleep(&self, step: &str) -> Result<DateTime<Utc>> {
        let asleep = tokio::time::timeout(PATIENCE, self.clock.wait_for_asleep(step, 1)).await;
        asleep.ok().and_then(|until| until.first().copied()).ok_or_else(|| {
            let secs = PATIENCE.as_secs();
            WfeError::Invalid(format!("no body of step {step:?} slept on the virtual clock within {secs} s"))
        })
    }

    /// Lets this much time pass. Everything that becomes due in this time happens at its own due time, and so does
    /// everything that follows from it at once. Afterwards the host is idle.
    ///
    /// # Errors
    /// The errors of [`idle`](Self::idle).
    pub async fn advance(&self, time: Duration) -> Result<()> {
        let end = TimeDelta::from_std(time).ok().and_then(|time| self.clock.now().checked_add_signed(time));
        self.advance_to(end.unwrap_or(DateTime::<Utc>::MAX_UTC)).await
    }

    /// Like [`advance`](Self::advance), but lets time pass until this point in time.
    ///
    /// # Errors
    /// The errors of [`idle`](Self::idle).
    pub async fn advance_to(&self, end: DateTime<Utc>) -> Result<()> {
        while let Some(next) = self.idle().await?.filter(|next| *next <= end) {
            self.pass_until(next);
        }
        self.pass_until(end);
        self.idle().await?;
        Ok(())
    }

    fn pass_until(&self, time: DateTime<Utc>) {
        let step = (time - self.clock.now()).to_std().unwrap_or_default(); // not back in time
        self.clock.advance(step);
    }

    /// Lets time pass, from one due time to the next, until the instance has ended. Returns how it ended. Afterwards
    /// the clock shows the time at which the instance ended.
    ///
    /// # Errors
    /// * [`Invalid`](WfeError::Invalid): the instance waits for something other than time, or has not ended after
    ///   100,000 due times.
    /// * The errors of [`idle`](Self::idle) and [`outcome`](Self::outcome).
    pub async fn run_to_end<D: DeserializeOwned>(&self, id: &str) -> Result<Outcome<D>> {
        for _ in 0..DUE_TIMES {
            let next = self.idle().await?;
            if let Some(outcome) = self.outcome(id).await? {
                return Ok(outcome);
            }
            let Some(next) = next else {
                let positions = self.status(id).await?.positions;
                let waits: Vec<_> = positions.iter().map(ToString::to_string).collect();
                return Err(WfeError::Invalid(format!(
                    "instance {id:?} waits for something other than time: {}",
                    waits.join("; ")
                )));
            };
            self.pass_until(next);
        }
        Err(WfeError::Invalid(format!("instance {id:?} has not ended after {DUE_TIMES} due times")))
    }

    /// Waits until `holds` returns true. `holds` is called now, and again after each lifecycle event. Use this method
    /// to wait for a stored change while a body still runs, because the host is not idle then. The method does not
    /// notice a change that a body makes without a lifecycle event; the body itself must signal such a change to the
    /// test.
    ///
    /// # Errors
    /// [`Invalid`](WfeError::Invalid): `holds` did not return true within 50 s of real time.
    pub async fn until<F>(&self, mut holds: impl FnMut() -> F) -> Result<()>
    where
        F: Future<Output = bool>,
    {
        let mut receivers: Vec<_> = self.hosts.iter().map(wfe::WorkflowHost::lifecycle).collect();
        let all = async {
            while !holds().await {
                let any = receivers.iter_mut().map(|receiver| Box::pin(receiver.recv()));
                // After any event, and even if events were missed, the condition is checked again.
                let _what = futures_util::future::select_all(any).await;
            }
        };
        tokio::time::timeout(PATIENCE, all).await.map_err(|_| {
            WfeError::Invalid(format!("the condition did not hold within {} s", PATIENCE.as_secs()))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use wfe::definition::{Data, Event, WorkflowBuilder};
    use wfe_sqlite::SqlitePersistenceProvider;

    use super::*;
    use crate::VirtualClock;

    const HOUR: Duration = Duration::from_hours(1);

    async fn host<D: Data>(
        build: impl FnOnce(Arc<VirtualClock>) -> Result<wfe::definition::Definition<D>>,
    ) -> TestHost {
        let clock = Arc::new(VirtualClock::default());
        let store = SqlitePersistenceProvider::builder(":memory:").clock(clock.clone()).open().await.unwrap();
        let definition = build(clock.clone()).unwrap();
        TestHost::builder(store, clock).define(definition).start().await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_body_that_sleeps_on_the_clock_is_named_long_before_the_patience_ends() {
        let naps = |clock: Arc<VirtualClock>| {
            WorkflowBuilder::<u32>::new("naps", 1)
                .with(clock)
                .then("nap", async |ctx, _| {
                    ctx.app.sleep(HOUR).await;
                    Ok(())
                })
                .build()
        };
        let host = host(naps).await;
        let id = host.start_workflow("naps", &0_u32).await.unwrap();
        host.asleep("nap").await.unwrap();
        let real = std::time::Instant::now();
        let told = host.idle_within(Duration::from_secs(1)).await.unwrap_err().to_string();
        assert!(real.elapsed() < Duration::from_secs(1), "after two looks");
        let expected = "the host is not idle, because a body sleeps on the virtual clock: of step \"nap\" until \
                        2030-01-01 01:00:00 UTC; wait for the body with `asleep(\"nap\")`, then wake it with \
                        `clock().advance(…)`";
        assert!(told.ends_with(expected), "{told}");
        host.clock().advance(HOUR);
        assert_eq!(host.run_to_end::<u32>(&id).await.unwrap(), Outcome::Completed(0));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_does_not_end_with_time_is_told_in_words() {
        const PAID: Event<String> = Event::new("paid");
        let waits = |_| WorkflowBuilder::<u32>::new("waits", 1).wait_for("paid", PAID, |_| "order-7").build();
        let host = host(waits).await;
        let id = host.start_workflow("waits", &0_u32).await.unwrap();
        let told = host.run_to_end::<u32>(&id).await.unwrap_err().to_string();
        assert!(
            told.ends_with(
                "waits for something other than time: paid waits for event \"paid\" with key \"order-7\""
            ),
            "{told}"
        );
    }
}
