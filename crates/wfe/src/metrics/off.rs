//! What stands in for the metrics without the feature `metrics`: nothing is recorded, and nothing is compiled for it.

use chrono::{DateTime, Utc};
use wfe_core::{
    clock::Clock,
    executor::{Job, LifecycleEvent, Run},
    traits::{Acted, Claimed, Delivery, Loaded, StepCommit},
};

#[inline]
pub(crate) fn started(_: &LifecycleEvent) {}

#[inline]
pub(crate) fn committed(_: &Run, _: &[LifecycleEvent], _: &Definition) {}

#[inline]
pub(crate) fn quarantined(_: &LifecycleEvent) {}

#[inline]
pub(crate) fn moves_on(_: Option<DateTime<Utc>>, _: impl FnOnce() -> DateTime<Utc>) {}

#[inline]
pub(crate) fn published(_: &str) {}

#[inline]
pub(crate) fn fence_lost() {}

#[inline]
pub(crate) fn requested(_: &'static str, _: &'static str) {}

#[inline]
pub(crate) fn acted(_: &Acted, _: &'static str, _: &'static str, _: Option<&str>, _: Option<&str>) {}

#[inline]
pub(crate) fn ticked(_: &'static str) {}

#[inline]
pub(crate) fn activity_claimed(_: &str, _: &str, _: impl FnOnce() -> DateTime<Utc>) {}

#[derive(Default)]
pub(crate) struct Definition(());

impl Definition {
    #[inline]
    pub fn or_of(self, _: &str) -> Self {
        self
    }

    #[inline]
    #[expect(clippy::unused_self, reason = "so that the callers need not know whether metrics are recorded")]
    pub fn body(&self, _: &Job, _: DateTime<Utc>) -> Body {
        Body
    }
}

pub(crate) struct Body;

#[expect(clippy::unused_self, reason = "so that the callers need not know whether metrics are recorded")]
impl Body {
    #[inline]
    pub fn begins(&mut self, _: &dyn Clock) {}

    #[inline]
    pub fn ended(&mut self, _: bool, _: &dyn Clock) {}

    #[inline]
    pub fn dropped(&mut self, _: &dyn Clock) {}
}

#[derive(Default)]
pub(crate) struct Due(());

impl Due {
    #[inline]
    pub fn of(_: &Loaded, _: &Claimed) -> Self {
        Self(())
    }

    #[inline]
    #[expect(clippy::unused_self, reason = "so that the callers need not know whether metrics are recorded")]
    pub fn take(&mut self, now: DateTime<Utc>) -> DateTime<Utc> {
        now
    }
}

#[derive(Default)]
pub(crate) struct Deliveries(());

#[expect(clippy::unused_self, reason = "so that the callers need not know whether metrics are recorded")]
impl Deliveries {
    #[inline]
    pub fn loaded(&mut self, _: &Loaded) {}

    #[inline]
    pub fn read(&mut self, _: &[Delivery]) {}

    #[inline]
    pub fn committed(&mut self, _: &StepCommit, _: impl FnOnce() -> DateTime<Utc>) {}
}
