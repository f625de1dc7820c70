//! Records the metrics of the store. Without the feature `metrics`, `metrics_off.rs` stands in for this file: its functions
//! are empty.

use std::{
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use wfe_core::{
    WfeError,
    executor::view,
    metrics::{
        ACTIVITIES_LEASES_EXPIRED, COMMIT, COMMIT_BATCH, COMMIT_FAILURES, COMMIT_SYNC, Counter, Family,
        Gauge, Histogram, STORE_BUSY, STORE_CACHE_HITS, STORE_CACHE_MISSES, STORE_CHECKPOINT, STORE_QUEUE,
        STORE_READER, STORE_TURN_WAIT, TAKEOVERS, is_on,
    },
    sync::lock,
};

use crate::{
    codec::Fields,
    connection::{group_commit::Batch, outcome::Waiting, queue::Length},
    error,
    request::Script,
    row::Row,
    sql,
};

static COMMITS: Histogram = Histogram::new(COMMIT);
static BATCHES: Histogram = Histogram::new(COMMIT_BATCH);
static SYNCS: Histogram = Histogram::new(COMMIT_SYNC);
static FAILURES: Family<Counted> = Family::new(COMMIT_FAILURES);
static TURN_WAITS: Histogram = Histogram::new(STORE_TURN_WAIT);
static BUSY: Counter = Counter::new(STORE_BUSY);
static QUEUE: Gauge = Gauge::new(STORE_QUEUE);
static CHECKPOINTS: Family<Measured> = Family::new(STORE_CHECKPOINT);
static HITS: Counter = Counter::new(STORE_CACHE_HITS);
static MISSES: Counter = Counter::new(STORE_CACHE_MISSES);
static READS: Histogram = Histogram::new(STORE_READER);
static TAKEN_OVER: Family<Counted> = Family::new(TAKEOVERS);
static EXPIRED_LEASES: Family<Counted> = Family::new(ACTIVITIES_LEASES_EXPIRED);

type Counted = wfe_core::metrics::CounterHandle;
type Measured = wfe_core::metrics::HistogramHandle;

/// The nanoseconds for which the writers have worked and that do not fill a second yet.
static REST: AtomicU64 = AtomicU64::new(0);

/// The queues of the writers of all open stores.
static QUEUES: Mutex<Vec<Weak<dyn Length>>> = Mutex::new(Vec::new());

/// Sets the gauges that only the store knows: the number of requests that wait for the writers of all stores that are
/// open in this process. Also makes the counters of what hardly ever happens begin at 0, so that the first time is an
/// increase. The sampler of the host calls this; a program that uses a store without a host calls it before its
/// recorder is read.
pub fn sample() {
    for kind in ["busy", "full", "io", "unknown"] {
        FAILURES.add(&[kind], 0);
    }
    for reason in ["dead", "frozen"] {
        TAKEN_OVER.add(&[reason], 0);
    }
    let mut queues = lock(&QUEUES);
    queues.retain(|queue| queue.strong_count() > 0);
    let waiting: usize = queues.iter().filter_map(Weak::upgrade).map(|queue| queue.len()).sum();
    drop(queues);
    #[expect(clippy::cast_precision_loss, reason = "gauges are floating-point numbers")]
    QUEUE.set(waiting as f64);
}

/// Makes [`sample`] count the jobs in this queue too.
pub(crate) fn add_queue<Q: Length + 'static>(queue: &Arc<Q>) {
    let queue: Weak<Q> = Arc::downgrade(queue);
    lock(&QUEUES).push(queue);
}

/// The beginning of something whose duration is recorded. `None` if metrics are not recorded.
#[derive(Clone, Copy)]
pub(crate) struct Timer(Option<Instant>);

impl Timer {
    pub(crate) fn start() -> Self {
        Self(is_on().then(Instant::now))
    }

    fn time(self) -> Option<Duration> {
        self.0.map(|since| since.elapsed())
    }
}

/// How long something took, if metrics are recorded.
pub(crate) type Time = Option<Duration>;

/// The writer has waited for its turn.
pub(crate) fn waited_for_turn(timer: Timer) {
    timer.time().into_iter().for_each(|time| TURN_WAITS.record_time(time));
}

/// The writer has worked on a transaction. Counters are whole numbers, so the rest of a second is kept for the next call.
pub(crate) fn worked(timer: Timer) {
    const SECOND: u64 = 1_000_000_000;
    let Some(time) = timer.time() else { return };
    let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let sum = REST.fetch_add(nanos, Relaxed).saturating_add(nanos);
    let seconds = sum / SECOND;
    if seconds > 0 {
        REST.fetch_sub(seconds * SECOND, Relaxed);
    }
    BUSY.add(seconds);
}

/// A COMMIT has succeeded. `has_written` is false if the transaction was empty: it then wrote nothing to the disk.
pub(crate) fn synced(timer: Timer, has_written: bool) -> Time {
    let time = timer.time().filter(|_| has_written)?;
    SYNCS.record_time(time);
    Some(time)
}

/// Calls `read` if metrics are recorded. Used for a state that is compared before and after a COMMIT.
pub(crate) fn state<T>(read: impl FnOnce() -> Option<T>) -> Option<T> {
    if is_on() { read() } else { None }
}

/// Records a COMMIT of this duration if a checkpoint has followed it, which shows in the state of the log.
pub(crate) fn checkpointed<T: PartialEq>(before: Option<T>, after: impl FnOnce() -> Option<T>, commit: Time) {
    if let (Some(before), Some(time)) = (before, commit)
        && after().is_some_and(|after| after != before)
    {
        CHECKPOINTS.record_time(&["auto"], time);
    }
}

/// A checkpoint that was asked for has ended.
pub(crate) fn checkpoint_ended(mode: &'static str, timer: Timer) {
    if let Some(time) = timer.time() {
        CHECKPOINTS.record_time(&[mode], time);
    }
}

/// The results of a batch are about to be sent.
pub(crate) fn answered(batch: &Waiting, outcome: &Batch) {
    if !is_on() {
        return;
    }
    let now = Instant::now();
    for request in batch {
        COMMITS.record_time(now.saturating_duration_since(request.since));
    }
    #[expect(clippy::cast_precision_loss, reason = "a batch has at most 256 requests")]
    let requests = batch.len() as f64;
    match kind_of(outcome) {
        None => BATCHES.record(requests),
        Some(kind) => FAILURES.add(&[kind], batch.len() as u64),
    }
}

/// A request was refused because the database was held by others, or is lost.
pub(crate) fn refused(error: &WfeError) {
    match error {
        WfeError::Busy { .. } => FAILURES.add(&["busy"], 1),
        WfeError::Unusable { .. } => FAILURES.add(&["io"], 1),
        _ => {}
    }
}

/// Why a batch was not committed, in one word. `None` if it was.
fn kind_of(outcome: &Batch) -> Option<&'static str> {
    match outcome {
        Batch::Answered(_) => None,
        Batch::NotBegun(error) | Batch::Ended(error) if error::is_busy(error) => Some("busy"),
        Batch::NotBegun(error) | Batch::Ended(error) if error::is_full(error) => Some("full"),
        Batch::NotBegun(_) | Batch::Ended(_) | Batch::Lost(_) => Some("io"),
        Batch::Unknown(_) | Batch::LostSince(_) => Some("unknown"),
    }
}

/// A read has ended.
pub(crate) fn read(timer: Timer) {
    timer.time().into_iter().for_each(|time| READS.record_time(time));
}

/// An instance was read. `is_hit` says whether a copy answered the read.
pub(crate) fn looked_up(is_hit: bool) {
    if is_hit { HITS.add(1) } else { MISSES.add(1) }
}

/// The instances of an owner were freed.
pub(crate) fn took_over(reason: &'static str) {
    TAKEN_OVER.add(&[reason], 1);
}

/// Adds the statement that reads what [`claimed`] needs, and returns its index, if metrics are recorded. The arguments are
/// those of the claim that follows.
pub(crate) fn add_expired(
    script: &mut Script,
    event_name: &str,
    after: i64,
    now: Option<i64>,
) -> Option<usize> {
    is_on().then(|| script.add(&sql::external_tasks::EXPIRED, [event_name.into(), after.into(), now.into()]))
}

/// An external worker has claimed a subscription with this name. `expired` is the row of [`add_expired`].
pub(crate) fn claimed(event_name: &str, expired: Option<Row<'_>>) {
    let expiry =
        expired.map(|row| Fields::new(row, "event_subscriptions", "").optional_int("external_token_expiry"));
    // A value that does not decode is reported by the claim.
    if let (Some(activity), Some(Ok(Some(_)))) = (view::activity_name(event_name), expiry) {
        EXPIRED_LEASES.add(&[activity], 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        connection::execute::{Lent, lend},
        error::SqliteError,
        file::open,
        sqlx::{Executor, SqliteConnection},
    };

    async fn full(connection: &mut SqliteConnection) -> Arc<SqliteError> {
        connection.execute("CREATE TABLE t (a); PRAGMA max_page_count = 2").await.unwrap();
        let handle = lend(connection).await.unwrap();
        Arc::new(Lent::new(&handle, &Arc::default()).plain("CREATE TABLE u (a)").unwrap_err().into())
    }

    #[tokio::test]
    async fn each_failure_of_a_commit_has_a_kind() {
        let full = full(&mut open::memory().await.unwrap()).await;
        assert_eq!(kind_of(&Batch::Ended(full.clone())), Some("full"));
        assert_eq!(kind_of(&Batch::NotBegun(error::crash())), Some("io"));
        assert_eq!(kind_of(&Batch::Unknown(full)), Some("unknown"));
        assert_eq!(kind_of(&Batch::Answered(Vec::new())), None);
    }
}
