use std::{collections::BTreeMap, time::Duration};

use wfe_core::{
    Result, WfeError,
    executor::{USER_TASK, view},
    metrics::{
        ACTIVITIES_OPEN, BODIES_LIMIT, BODIES_RUNNING, DUE_INSTANCES, DUE_LAG, EVENTS_UNPROCESSED, Family,
        Gauge, GaugeHandle, HOST_INFO, INSTANCES, OWNERS, STORE_SIZE, TASKS_OPEN, is_on,
    },
    traits::{InstanceState, Management, OWN_NAMES, OpenCount},
};

use super::workflow_host::WorkflowHost;
use crate::engine::PROGRAM;

static INFO: Family<GaugeHandle> = Family::new(HOST_INFO);
static RUNNING: Gauge = Gauge::new(BODIES_RUNNING);
static LIMIT: Gauge = Gauge::new(BODIES_LIMIT);
static LIVING: Gauge = Gauge::new(OWNERS);
static OPEN: Family<GaugeHandle> = Family::new(INSTANCES);
static DUE: Family<GaugeHandle> = Family::new(DUE_INSTANCES);
static LAG: Family<GaugeHandle> = Family::new(DUE_LAG);
static UNPROCESSED: Gauge = Gauge::new(EVENTS_UNPROCESSED);
static SIZE: Family<GaugeHandle> = Family::new(STORE_SIZE);
static ACTIVITIES: Family<GaugeHandle> = Family::new(ACTIVITIES_OPEN);
static TASKS: Gauge = Gauge::new(TASKS_OPEN);

/// Sets the gauges to the present state of a host and its store.
///
/// Counters and histograms are recorded when something happens. Gauges are computed only when they are read: call
/// [`sample`](Self::sample) just before an exporter reads the recorder, or, for an exporter that pushes, at its interval. The
/// endpoint of `wfe-web` does so. A gauge has the value of the last call.
///
/// The gauges of a store concern all of its instances, whichever process runs them. So each of several processes on one
/// store reports the same numbers: take the maximum of these, not the sum. A process with hosts on several stores samples
/// one of them, because no label tells stores apart.
///
/// A sampler keeps its host alive, like a clone of the host.
///
/// ```
/// use wfe::{metrics::Sampler, prelude::*};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> wfe::Result<()> {
/// let host = WorkflowHost::new(SqliteStore::new(":memory:").await?);
/// let sampler = Sampler::new(&host);
/// sampler.sample().await?;
/// # host.stop().await
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Sampler(WorkflowHost);

impl Sampler {
    /// Creates a sampler for this host and its store.
    #[must_use]
    pub fn new(host: &WorkflowHost) -> Self {
        Self(host.clone())
    }

    /// Sets the gauges. Does nothing if the program has installed no recorder.
    ///
    /// The gauges of the store cost a few reads. The cost grows with the number of instances that have not ended, and is
    /// about 15 ms for a million. A store without a management interface has none of them.
    ///
    /// # Errors
    /// The errors of the store. All gauges that do not depend on the failed read are set.
    pub async fn sample(&self) -> Result<()> {
        if !is_on() {
            return Ok(());
        }
        let host = self.0.engine();
        let (running, limit) = host.bodies();
        RUNNING.set(number(running as u64));
        LIMIT.set(number(limit as u64));
        INFO.set_all([([env!("CARGO_PKG_VERSION"), &PROGRAM], 1.0)]);
        crate::metrics::begin_at_zero();
        #[cfg(feature = "sqlite")]
        wfe_sqlite::metrics::sample();
        let owners = self.0.store().living_owners().await.map(|living| {
            if let Some(living) = living {
                LIVING.set(number(living as u64));
            }
        });
        let mut results = vec![owners];
        if let Some(management) = self.0.store().provider.clone().management() {
            results.push(self.sample_instances(&*management).await);
            results.push(sample_tasks(&*management).await);
            results.push(sample_size(&*management).await);
        }
        let is_there = |result: &Result<()>| !matches!(result, Err(WfeError::Unsupported(_)));
        results.into_iter().filter(is_there).collect()
    }

    async fn sample_instances(&self, management: &dyn Management) -> Result<()> {
        let now = self.0.engine().now();
        let counts = management.open_counts(now).await?;
        let by_state =
            counts.iter().map(|count| ([&*count.definition, count.state.name()], number(count.count)));
        OPEN.set_all(by_state);
        let (mut due, mut lag) = (BTreeMap::<&str, u64>::new(), BTreeMap::<&str, Duration>::new());
        for OpenCount { definition, state, count, oldest_due, .. } in &counts {
            let (due, lag) = (due.entry(definition).or_default(), lag.entry(definition).or_default());
            if *state == InstanceState::Due {
                *due += count;
                let passed = oldest_due.and_then(|since| (now - since).to_std().ok());
                *lag = passed.unwrap_or_default().max(*lag);
            }
        }
        DUE.set_all(due.into_iter().map(|(definition, count)| ([definition], number(count))));
        LAG.set_all(lag.into_iter().map(|(definition, lag)| ([definition], lag.as_secs_f64())));
        Ok(())
    }
}

async fn sample_tasks(management: &dyn Management) -> Result<()> {
    let counts = management.task_counts().await?;
    let activity = |name| view::activity_name(name).filter(|activity| !activity.starts_with(OWN_NAMES));
    let activities =
        counts.iter().filter_map(|count| Some(([activity(&count.event_name)?], number(count.open))));
    ACTIVITIES.set_all(activities);
    let tasks = counts.iter().filter(|count| count.event_name == USER_TASK).map(|count| count.open).sum();
    TASKS.set(number(tasks));
    Ok(())
}

async fn sample_size(management: &dyn Management) -> Result<()> {
    let statistics = management.statistics().await?;
    UNPROCESSED.set(number(statistics.unprocessed_events));
    let (file, wal, free) = (statistics.bytes, statistics.log_bytes, statistics.free_bytes);
    let known = [("file", file), ("wal", wal), ("free", free)].map(|(part, bytes)| ([part], number(bytes)));
    let disk = statistics.disk_free_bytes.map(|bytes| (["disk"], number(bytes)));
    SIZE.set_all(known.into_iter().chain(disk));
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "gauges are floating-point numbers")]
fn number(count: u64) -> f64 {
    count as f64
}
