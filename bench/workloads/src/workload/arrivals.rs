//! When the steps of workflows begin.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time};

use super::now_ns;
use crate::{
    Done,
    ability::{Host, OnStep},
    read_back,
};

/// A step that has not begun by then never will.
const PATIENCE: Duration = Duration::from_mins(1);

/// For each number with which a step began, the nanosecond of its beginning.
#[derive(Clone, Default)]
pub struct Arrivals {
    begun: Arc<Mutex<HashMap<u64, u64>>>,
    changed: Arc<Notify>,
}

impl Arrivals {
    pub fn on_step(&self) -> OnStep {
        let own = self.clone();
        Arc::new(move |number| {
            let now = now_ns();
            own.lock().entry(number).or_insert(now);
            own.changed.notify_one();
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, u64>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// When the step with this number began.
    pub fn of(&self, number: u64) -> Option<u64> {
        self.lock().get(&number).copied()
    }

    /// Waits until so many steps have begun.
    pub async fn reach(&self, count: usize) -> Done {
        let reached = async {
            while self.count() < count {
                self.changed.notified().await;
            }
        };
        let waited = time::timeout(PATIENCE, reached).await;
        waited.map_err(|_| format!("only {} of {count} steps have begun", self.count()).into())
    }
}

/// How much later than at this nanosecond something happened. Negative differences are those of the clock's precision.
pub fn after(earlier: u64, later: u64) -> Duration {
    Duration::from_nanos(later.saturating_sub(earlier))
}

/// Checks that each workflow is stored as completed, by a step with its own number.
pub async fn check<S: Host>(host: &Arc<S>, workflows: Vec<(String, u64)>) -> Done {
    read_back::each(host, workflows, |host: Arc<S>, (id, number): (String, u64)| async move {
        if host.stored(&id).await? == Some(number) { Ok(()) } else { Err(read_back::differs(id)) }
    })
    .await
}
