//! What stands in for `metrics.rs` without the feature `metrics`: nothing is recorded, and nothing is compiled for it.

use std::sync::Arc;

use wfe_core::WfeError;

use crate::{
    connection::{group_commit::Batch, outcome::Waiting, queue::Length},
    request::Script,
    row::Row,
};

#[inline]
pub(crate) fn add_queue<Q: Length>(_: &Arc<Q>) {}

#[derive(Clone, Copy)]
pub(crate) struct Timer;

impl Timer {
    #[inline]
    pub(crate) fn start() -> Self {
        Self
    }
}

#[derive(Clone, Copy, Default)]
pub(crate) struct Time;

#[inline]
pub(crate) fn waited_for_turn(_: Timer) {}

#[inline]
pub(crate) fn worked(_: Timer) {}

#[inline]
pub(crate) fn synced(_: Timer, _: bool) -> Time {
    Time
}

#[inline]
pub(crate) fn state<T>(_: impl FnOnce() -> Option<T>) -> Option<T> {
    None
}

#[inline]
pub(crate) fn checkpointed<T: PartialEq>(_: Option<T>, _: impl FnOnce() -> Option<T>, _: Time) {}

#[inline]
pub(crate) fn checkpoint_ended(_: &'static str, _: Timer) {}

#[inline]
pub(crate) fn answered(_: &Waiting, _: &Batch) {}

#[inline]
pub(crate) fn refused(_: &WfeError) {}

#[inline]
pub(crate) fn read(_: Timer) {}

#[inline]
pub(crate) fn looked_up(_: bool) {}

#[inline]
pub(crate) fn took_over(_: &'static str) {}

#[inline]
pub(crate) fn add_expired(_: &mut Script, _: &str, _: i64, _: Option<i64>) -> Option<usize> {
    None
}

#[inline]
pub(crate) fn claimed(_: &str, _: Option<Row<'_>>) {}
