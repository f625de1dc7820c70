//! How long events wait to be consumed, and activities to be claimed. Neither time is stored, so the process keeps those of
//! the waits that it has opened or read.

use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex},
};

use chrono::{DateTime, Utc};
use wfe_core::{
    executor::view,
    metrics::{ACTIVITIES_CLAIM_DELAY, EVENT_DELIVERY, Family, Histogram, HistogramHandle, is_on},
    sync::lock,
    traits::{Delivery, Loaded, OWN_NAMES, StepCommit},
};

use super::since;

static DELIVERED: Histogram = Histogram::new(EVENT_DELIVERY);
static CLAIM_DELAYS: Family<HistogramHandle> = Family::new(ACTIVITIES_CLAIM_DELAY);

/// How many unclaimed activities are measured at the same time. It is some megabytes of memory at most.
const MEASURED: usize = 16_384;

/// When the activities were opened that this process has opened and that no worker has claimed since, by the id of their
/// subscription.
static OPENED: LazyLock<Mutex<HashMap<String, DateTime<Utc>>>> = LazyLock::new(Mutex::default);

/// The events that may reach an instance, as far as its actor has read them.
#[derive(Default)]
pub(crate) struct Deliveries(Option<Box<Known>>);

#[derive(Default)]
struct Known {
    /// When each subscription was opened.
    opened: HashMap<String, DateTime<Utc>>,
    /// Since when each event could have been consumed.
    due: HashMap<String, DateTime<Utc>>,
}

impl Deliveries {
    /// The instance was read.
    pub fn loaded(&mut self, loaded: &Loaded) {
        if !is_on() || loaded.waits.is_empty() {
            return;
        }
        let known = self.0.get_or_insert_default();
        let pointers = &loaded.instance.execution_pointers;
        for wait in loaded.waits.iter().filter(|wait| !wait.event_name.starts_with(OWN_NAMES)) {
            let mut pointers = pointers.iter();
            let pointer = pointers.find(|pointer| pointer.id == wait.execution_pointer_id);
            if let Some(opened) = pointer.and_then(|pointer| pointer.start_time) {
                known.opened.entry(wait.id.clone()).or_insert(opened);
            }
        }
        self.read(&loaded.deliveries);
    }

    /// These deliveries were read.
    pub fn read(&mut self, deliveries: &[Delivery]) {
        if deliveries.is_empty() || !is_on() {
            return;
        }
        let known = self.0.get_or_insert_default();
        for Delivery { subscription_id, event } in deliveries {
            if !event.event_name.starts_with(OWN_NAMES) {
                let opened = known.opened.get(subscription_id).copied();
                let due = opened.map_or(event.event_time, |opened| opened.max(event.event_time));
                known.due.entry(event.id.clone()).or_insert(due);
            }
        }
    }

    /// A commit of the instance was stored.
    pub fn committed(&mut self, commit: &StepCommit, now: impl FnOnce() -> DateTime<Utc>) {
        let is_about_waits = || {
            !commit.subscribed.is_empty() || !commit.consumed.is_empty() || !commit.unsubscribed.is_empty()
        };
        if !is_on() || !is_about_waits() {
            return;
        }
        let (known, now) = (self.0.get_or_insert_default(), now());
        let mut activities = lock(&OPENED);
        for consumed in &commit.consumed {
            known.opened.remove(&consumed.subscription_id);
            activities.remove(&consumed.subscription_id);
            if let Some(due) = known.due.remove(&consumed.event_id) {
                DELIVERED.record_time(since(due, now));
            }
        }
        for id in &commit.unsubscribed {
            known.opened.remove(id);
            activities.remove(id);
        }
        for wait in &commit.subscribed {
            if view::activity_name(&wait.event_name).is_some() {
                if activities.len() < MEASURED {
                    activities.insert(wait.id.clone(), now);
                }
            } else if !wait.event_name.starts_with(OWN_NAMES) {
                known.opened.insert(wait.id.clone(), now);
            }
        }
    }
}

/// A worker has claimed the activity with this name, for which this subscription stands. Only the first claim is measured,
/// and only of an activity that this process has opened.
pub(crate) fn activity_claimed(name: &str, wait: &str, now: impl FnOnce() -> DateTime<Utc>) {
    if is_on()
        && let Some(opened) = lock(&OPENED).remove(wait)
    {
        CLAIM_DELAYS.record_time(&[name], since(opened, now()));
    }
}
