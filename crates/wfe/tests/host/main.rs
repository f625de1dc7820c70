//! The host on every kind of store: in memory, on a file, and on a provider that has only the plain traits.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "all of this is test code: it says what it expects by unwrapping it"
)]

mod ahead;
mod around;
mod attempts;
mod blocking;
mod busy_store;
mod by_hand;
mod children;
mod clock_range;
mod control;
mod corrupt;
mod events;
mod failures;
mod idle;
mod late_answers;
mod lifecycle;
mod limits;
mod loops;
#[cfg(unix)]
mod lost;
mod mailbox;
mod notifications;
mod numbers;
mod outside;
mod panicking;
mod positions;
mod recovery;
mod schedules;
mod sharing;
mod shutdown;
mod standing;
mod start_barrier;
mod start_order;
mod starting;
mod storing;
mod support;
mod threads;
mod verbs;
mod versions;
mod workers;
