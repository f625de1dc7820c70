//! The table of all metrics.

pub use metrics::Unit;

/// A metric, as the table has it.
#[derive(Debug, PartialEq)]
#[non_exhaustive]
pub struct Metric {
    /// The name, in the form of Prometheus: with the unit, and with `_total` for counters.
    pub name: &'static str,
    /// What kind of metric it is.
    pub kind: Kind,
    /// The unit. `None` for a number of things.
    pub unit: Option<Unit>,
    /// The names of the labels. Each series has all of them.
    pub labels: &'static [&'static str],
    /// What the metric measures, in one sentence.
    pub help: &'static str,
}

/// The kind of a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// A number that only grows.
    Counter,
    /// A number at one moment.
    Gauge,
    /// Counts values by size. Holds the upper bounds of the buckets, for exporters that need them.
    Histogram(&'static [f64]),
}

/// The labels whose values come from the program and may be many: each has at most [`MANY`](super::MANY) values, and then
/// [`OTHER`](super::OTHER). The other labels have the ids of definitions and steps, or words of WFE. No label holds an id
/// of an instance, a key or a reference.
pub const BOUNDED: [&str; 3] = ["activity", "code", "event"];

/// Bodies of steps, from 5 ms to 10 s: the buckets that OpenTelemetry's conventions give for requests.
const STEP: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
/// Commits and what they consist of, from 1 ms to 1 s, and two buckets below, for fast disks.
const COMMIT_BUCKETS: &[f64] =
    &[0.000_25, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
/// Instances, from 1 s to 30 days.
const INSTANCE: &[f64] =
    &[1.0, 10.0, 60.0, 300.0, 900.0, 3_600.0, 21_600.0, 86_400.0, 259_200.0, 604_800.0, 2_592_000.0];
/// Delays of what should begin at once, from 5 ms to an hour.
const DELAY: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0];
/// Waits for external workers, from 50 ms to a day.
const WORKER: &[f64] =
    &[0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 150.0, 300.0, 600.0, 1_800.0, 3_600.0, 14_400.0, 86_400.0];
/// Requests in a transaction, up to its limit.
const BATCH: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// Writes each row as a constant, and the list of all.
macro_rules! table {
    ($($constant:ident = $name:literal, $kind:expr, $unit:expr, [$($label:literal),*], $help:literal;)*) => {
        $(
            #[doc = concat!("`", $name, "`: ", $help)]
            pub const $constant: &Metric = &Metric {
                name: $name,
                kind: $kind,
                unit: $unit,
                labels: &[$($label),*],
                help: $help,
            };
        )*

        /// All metrics of WFE.
        pub const ALL: &[&Metric] = &[$($constant),*];
    };
}

use Kind::{Counter, Gauge, Histogram};

const SECONDS: Option<Unit> = Some(Unit::Seconds);
const BYTES: Option<Unit> = Some(Unit::Bytes);
const COUNT: Option<Unit> = Some(Unit::Count);

table! {
    INSTANCES_STARTED = "wfe_instances_started_total", Counter, COUNT, ["definition"],
        "Instances that this process has started.";
    INSTANCES_ENDED = "wfe_instances_ended_total", Counter, COUNT, ["definition", "ending"],
        "Instances that have ended in this process, by ending: completed, failed, cancelled or terminated.";
    INSTANCE_DURATION = "wfe_instance_duration_seconds", Histogram(INSTANCE), SECONDS, ["definition", "ending"],
        "Time from the start of an instance to its end.";
    INSTANCES = "wfe_instances", Gauge, COUNT, ["definition", "state"],
        "Instances in the store that have not ended, by state: running, due, asleep, waiting or suspended.";
    DUE_INSTANCES = "wfe_due_instances", Gauge, COUNT, ["definition"],
        "Instances in the store that are due and that no host runs.";
    DUE_LAG = "wfe_due_lag_seconds", Gauge, SECONDS, ["definition"],
        "How long the instance that has waited longest has been due without being run by a host; 0 if none is due.";
    START_DELAY = "wfe_start_delay_seconds", Histogram(DELAY), SECONDS, ["definition"],
        "Time from the moment when a step could begin to the beginning of its body.";
    STEP_DURATION = "wfe_step_duration_seconds", Histogram(STEP), SECONDS, ["definition", "step", "outcome"],
        "Run time of the body of a step, by outcome: success, failure or cancelled.";
    STEP_FAILURES = "wfe_step_failures_total", Counter, COUNT, ["definition", "step", "code", "kind"],
        "Failed attempts of steps. The kind says what followed: retry, fallback, continue, compensate, suspend or fail.";
    STEP_RETRIES = "wfe_step_retries_total", Counter, COUNT, ["definition", "step"],
        "Failed attempts of steps that another attempt follows.";
    BODIES_RUNNING = "wfe_bodies_running", Gauge, COUNT, [],
        "Bodies of steps that run now.";
    BODIES_LIMIT = "wfe_bodies_limit", Gauge, COUNT, [],
        "How many bodies of steps may run at the same time.";
    TIMER_LATENESS = "wfe_timer_lateness_seconds", Histogram(DELAY), SECONDS, [],
        "Time from the moment when a timer was due to the moment when its instance was moved on.";
    EVENTS_PUBLISHED = "wfe_events_published_total", Counter, COUNT, ["event"],
        "Events that this process has published.";
    EVENT_DELIVERY = "wfe_event_delivery_seconds", Histogram(DELAY), SECONDS, [],
        "Time from the moment when an event was due and its wait was open, to the commit that has consumed the event.";
    EVENTS_UNPROCESSED = "wfe_events_unprocessed", Gauge, COUNT, [],
        "Events in the store that are not marked as processed.";
    ACTIVITIES_OPEN = "wfe_activities_open", Gauge, COUNT, ["activity"],
        "Activities that wait for an external worker, claimed or not.";
    ACTIVITIES_CLAIM_DELAY = "wfe_activities_claim_delay_seconds", Histogram(WORKER), SECONDS, ["activity"],
        "Time from the opening of an activity to its first claim by a worker, if both happened in this process.";
    ACTIVITIES_LEASES_EXPIRED = "wfe_activities_leases_expired_total", Counter, COUNT, ["activity"],
        "Activities that were claimed again because the lease of the earlier claim had expired.";
    TASKS_OPEN = "wfe_tasks_open", Gauge, COUNT, [],
        "User tasks that wait for an answer.";
    HOST_INFO = "wfe_host_info", Gauge, None, ["version", "program"],
        "1 for the host of this process, with the version of WFE and the name of the program.";
    COMMIT = "wfe_commit_seconds", Histogram(COMMIT_BUCKETS), SECONDS, [],
        "Time from the moment when a request entered the queue of the writer to its answer.";
    COMMIT_BATCH = "wfe_commit_batch_requests", Histogram(BATCH), COUNT, [],
        "Requests in one transaction.";
    COMMIT_SYNC = "wfe_commit_sync_seconds", Histogram(COMMIT_BUCKETS), SECONDS, [],
        "Run time of the COMMIT of a transaction that has written, which is nearly all fsync.";
    COMMIT_FAILURES = "wfe_commit_failures_total", Counter, COUNT, ["kind"],
        "Requests that failed because their transaction was not committed, by kind: busy, full, io or unknown.";
    STORE_TURN_WAIT = "wfe_store_turn_wait_seconds", Histogram(COMMIT_BUCKETS), SECONDS, [],
        "Time that the writer has waited for its turn among the writers of all processes.";
    STORE_BUSY = "wfe_store_busy_seconds_total", Counter, SECONDS, [],
        "Time in which the writer has worked on transactions, in whole seconds.";
    STORE_QUEUE = "wfe_store_queue_requests", Gauge, COUNT, [],
        "Requests that wait for the writer.";
    STORE_SIZE = "wfe_store_bytes", Gauge, BYTES, ["part"],
        "Size of the store by part: file, wal, free, which the file can reuse, and disk, which is free in its file system.";
    STORE_CHECKPOINT = "wfe_store_checkpoint_seconds", Histogram(COMMIT_BUCKETS), SECONDS, ["mode"],
        "Run time of a checkpoint, by mode: passive, truncate, or auto, which is a COMMIT that SQLite has followed by one.";
    STORE_CACHE_HITS = "wfe_store_cache_hits_total", Counter, COUNT, [],
        "Reads of instances that a copy in memory has answered.";
    STORE_CACHE_MISSES = "wfe_store_cache_misses_total", Counter, COUNT, [],
        "Reads of instances for which no copy in memory was up to date.";
    STORE_READER = "wfe_store_reader_seconds", Histogram(COMMIT_BUCKETS), SECONDS, [],
        "How long a read has held its snapshot of the store.";
    OWNERS = "wfe_owners", Gauge, COUNT, [],
        "Owners of the store that are alive: hosts and other writers, of all processes.";
    TAKEOVERS = "wfe_takeovers_total", Counter, COUNT, ["reason"],
        "Owners whose instances this process has freed for others, by reason: dead or frozen.";
    FENCES_LOST = "wfe_fences_lost_total", Counter, COUNT, [],
        "Instances that another host has taken over while this process worked on them.";
    REQUESTS = "wfe_requests_total", Counter, COUNT, ["action", "face"],
        "Actions of operators and programs on instances that had an effect, by face: program, cli, api or dashboard.";
    SCHEDULE_TICKS = "wfe_schedule_ticks_total", Counter, COUNT, ["result"],
        "Ticks of schedules that this process has handled: started, failed, or missed, which counts once for several in a row.";
    HTTP_REQUEST_DURATION = "http_server_request_duration_seconds", Histogram(STEP), SECONDS, ["route", "status"],
        "Duration of a request to the router of wfe-web.";
}
