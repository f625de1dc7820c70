//! The host on every kind of store: in memory, on a file, and on a provider that has only the plain traits.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "all of this is test code: it says what it expects by unwrapping it"
)]

mod answer_races;
mod attempts;
mod attributes;
mod blocking_steps;
mod busy_store;
mod children;
mod clock_range;
mod concurrency_limits;
mod control;
mod corrupt;
mod engine_thread;
mod event_positions;
mod events;
mod external_tasks;
mod failures;
mod idle;
mod interventions;
mod lifecycle;
mod long_waits;
mod loops;
#[cfg(unix)]
mod lost_store;
mod mailbox;
mod middleware;
mod notifications;
mod outlines;
mod panics;
mod prefetch;
mod recovery;
mod schedule_changes;
mod schedules;
mod setting_ranges;
mod several_hosts;
mod shutdown;
mod start_barrier;
mod start_order;
mod starts;
mod status;
mod step_results;
mod store_calls;
mod support;
mod verbs_on_stores;
mod versions;
mod workers;
