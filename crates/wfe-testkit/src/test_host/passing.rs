//! How time passes.

use std::{future::Future, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use serde::de::DeserializeOwned;
use wfe::{Outcome, Result, WfeError, clock::Clock};

use super::TestHost;

/// In real time: a body that has not ended by then waits for something that does not come.
const PATIENCE: Duration = Duration::from_secs(50);

/// A workflow that is not over after so many due times recurs for ever.
const DUE_TIMES: usize = 100_000;

impl TestHost {
    /// Lets the host run until nothing can happen any more before time passes or something comes from outside; gives the
    /// time at which something may become due, at the earliest. See [`WorkflowHost::idle`](wfe::WorkflowHost::idle).
    ///
    /// # Errors
    /// [`Invalid`](WfeError::Invalid): a body has run for 50 s of real time. One that waits for something from outside,
    /// or sleeps on the clock, is awaited with [`until`](Self::until).
    pub async fn idle(&self) -> Result<Option<DateTime<Utc>>> {
        let idle = tokio::time::timeout(PATIENCE, self.all_idle()).await;
        drop(self.gather());
        idle.unwrap_or_else(|_| {
            let secs = PATIENCE.as_secs();
            Err(WfeError::Invalid(format!(
                "the host is not idle after {secs} s: a step's body does not end, or the store hangs or fails"
            )))
        })
    }

    /// All of them are idle at once if none has worked between two times that each was.
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

    /// Lets so much time pass, and everything in it happen that becomes due: each at its own time, and whatever follows
    /// from it as well. The host is idle then.
    ///
    /// # Errors
    /// Those of [`idle`](Self::idle).
    pub async fn advance(&self, time: Duration) -> Result<()> {
        let end = TimeDelta::from_std(time).ok().and_then(|time| self.clock.now().checked_add_signed(time));
        self.advance_to(end.unwrap_or(DateTime::<Utc>::MAX_UTC)).await
    }

    /// As [`advance`](Self::advance), until this time.
    ///
    /// # Errors
    /// Those of [`idle`](Self::idle).
    pub async fn advance_to(&self, end: DateTime<Utc>) -> Result<()> {
        while let Some(next) = self.idle().await?.filter(|next| *next <= end) {
            self.pass_until(next);
        }
        self.pass_until(end);
        self.idle().await?;
        Ok(())
    }

    fn pass_until(&self, time: DateTime<Utc>) {
        let pause = (time - self.clock.now()).to_std().unwrap_or_default(); // not back in time
        self.clock.advance(pause);
    }

    /// Lets time pass from one due time to the next one until the instance has ended; tells how. Nothing passes
    /// unnecessarily: afterwards the clock shows when it ended.
    ///
    /// # Errors
    /// * [`Invalid`](WfeError::Invalid): it waits for something other than time, or it does not come to an end.
    /// * Those of [`idle`](Self::idle) and [`outcome`](Self::outcome).
    pub async fn run_to_end<D: DeserializeOwned>(&self, id: &str) -> Result<Outcome<D>> {
        for _ in 0..DUE_TIMES {
            let next = self.idle().await?;
            if let Some(outcome) = self.outcome(id).await? {
                return Ok(outcome);
            }
            let Some(next) = next else {
                let waits = self.status(id).await?.positions;
                return Err(WfeError::Invalid(format!("it waits for something other than time: {waits:?}")));
            };
            self.pass_until(next);
        }
        Err(WfeError::Invalid(format!("it has not ended after {DUE_TIMES} due times")))
    }

    /// Resolves once this holds: asked now, and after each lifecycle event. For what is stored while a body still runs,
    /// in which the host is not idle; of what a body does by itself, the body has to tell.
    ///
    /// # Errors
    /// [`Invalid`](WfeError::Invalid): it did not come about within 50 s of real time.
    pub async fn until<F>(&self, mut holds: impl FnMut() -> F) -> Result<()>
    where
        F: Future<Output = bool>,
    {
        let mut receivers: Vec<_> = self.hosts.iter().map(wfe::WorkflowHost::lifecycle).collect();
        let all = async {
            while !holds().await {
                let any = receivers.iter_mut().map(|receiver| Box::pin(receiver.recv()));
                // Whichever event comes, or whether some were missed: it is asked again.
                let _what = futures_util::future::select_all(any).await;
            }
        };
        tokio::time::timeout(PATIENCE, all)
            .await
            .map_err(|_| WfeError::Invalid(format!("it did not come about within {} s", PATIENCE.as_secs())))
    }
}
