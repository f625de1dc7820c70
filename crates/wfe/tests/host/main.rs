//! The host on every kind of store: in memory, on a file, and on a provider that has only the plain traits.

mod control;
mod failures;
mod idle;
mod loops;
mod recovery;
mod shutdown;
mod starting;
mod support;
mod threads;
