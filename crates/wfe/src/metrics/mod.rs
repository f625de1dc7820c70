//! Metrics of the host and of its store, for Prometheus and others.
//!
//! With the feature `metrics`, the host records what it does with the facade
//! [`metrics`](https://docs.rs/metrics): the program installs any recorder of that facade, and needs to do nothing else.
//! [`ALL`] is the table of all metrics: names, labels, units and help texts. Gauges are not kept up to date all the time: a
//! [`Sampler`] sets them, just before an exporter reads them. The crate `wfe-web` has an endpoint for Prometheus. The guide
//! has a [chapter](crate::guide::metrics_and_alerts) about it.
//!
//! No label holds an id of an instance, a key or a reference. The labels in [`BOUNDED`] have at most [`MANY`] values each;
//! further ones are recorded as [`OTHER`].

mod instances;
mod waits;

use chrono::{DateTime, Utc};
use wfe_core::{
    executor::{Lifecycle, LifecycleEvent, Run},
    metrics::{
        Counter, CounterHandle, EVENTS_PUBLISHED, FENCES_LOST, Family, Histogram, REQUESTS, SCHEDULE_TICKS,
        TIMER_LATENESS, is_on,
    },
    traits::{Acted, Ending, OWN_NAMES, Reopened, Requested},
};

#[doc(inline)]
pub use crate::host::sampler::Sampler;
#[doc(inline)]
pub use wfe_core::metrics::{ALL, BOUNDED, Kind, MANY, Metric, OTHER, Unit, attach};

pub(crate) use instances::{Body, Definition, Due};
pub(crate) use waits::{Deliveries, activity_claimed};

static LATENESS: Histogram = Histogram::new(TIMER_LATENESS);
static PUBLISHED: Family<CounterHandle> = Family::new(EVENTS_PUBLISHED);
static LOST: Counter = Counter::new(FENCES_LOST);
static REQUESTED: Family<CounterHandle> = Family::new(REQUESTS);
static TICKS: Family<CounterHandle> = Family::new(SCHEDULE_TICKS);

/// An instance was started, and the start is stored.
pub(crate) fn started(event: &LifecycleEvent) {
    Definition::of(&event.definition_id).started();
}

/// A commit of the instance was stored, with these lifecycle events.
pub(crate) fn committed(run: &Run, events: &[LifecycleEvent], of: &Definition) {
    if !is_on() {
        return;
    }
    for event in events {
        match &event.what {
            // The commit of an instance also starts its children.
            Lifecycle::Started => started(event),
            Lifecycle::Error(failure) if !failure.step.is_empty() => of.failed(failure, run.follows(failure)),
            Lifecycle::Completed => {
                of.ended(Ending::Completed, since(run.created(), event.time));
            }
            Lifecycle::Terminated { ending } => of.ended(*ending, since(run.created(), event.time)),
            _ => {}
        }
    }
}

/// An instance whose stored state cannot be read was suspended or ended.
pub(crate) fn quarantined(event: &LifecycleEvent) {
    if let Lifecycle::Terminated { ending } = event.what {
        // The definition is stored with the state that cannot be read, and so is the time of the start.
        Definition::of("unknown").ended_at_unknown_age(ending);
    }
}

/// An instance is about to be moved on. `due` is the time of its next timer.
pub(crate) fn moves_on(due: Option<DateTime<Utc>>, now: impl FnOnce() -> DateTime<Utc>) {
    if let Some(due) = due
        && is_on()
    {
        let now = now();
        if due <= now {
            LATENESS.record_time(since(due, now));
        }
    }
}

/// The program has published an event.
pub(crate) fn published(event_name: &str) {
    if !event_name.starts_with(OWN_NAMES) {
        PUBLISHED.add(&[event_name], 1);
    }
}

/// Another host has taken an instance over while this host worked on it.
pub(crate) fn fence_lost() {
    LOST.add(1);
}

/// The store has accepted a request to an instance. `face` says through what it came: `program`, `cli`, `api` or
/// `dashboard`.
pub(crate) fn requested(action: &'static str, face: &'static str) {
    REQUESTED.add(&[action, face], 1);
}

/// An operator has acted. `definition` is that of the instance that was to be started, and `event` the name of the event that
/// was to be published.
pub(crate) fn acted(
    acted: &Acted,
    action: &'static str,
    face: &'static str,
    definition: Option<&str>,
    event: Option<&str>,
) {
    let has_changed = match acted {
        Acted::Requested(requested) => *requested == Requested::Accepted,
        Acted::Started(started) => started.is_new,
        Acted::Reopened(reopened) => matches!(reopened, Reopened::Done),
        Acted::Replaced(id) => id.is_some(),
        Acted::Published(published) => published.is_new,
        Acted::Answered(is_new) => *is_new,
        Acted::Released(was_held) => *was_held,
        Acted::Acknowledged(has_changed) => *has_changed,
        Acted::Deleted(_) => true,
        // The record of an action that is counted by itself, or that concerns no instance.
        _ => false,
    };
    if !has_changed {
        return;
    }
    requested(action, face);
    if let Some(definition) = definition {
        Definition::of(definition).started();
    }
    if let Some(event) = event {
        published(event);
    }
}

/// A schedule has handled a tick.
pub(crate) fn ticked(result: &'static str) {
    TICKS.add(&[result], 1);
}

/// Counters of what hardly ever happens begin at 0, so that the first time is an increase.
pub(crate) fn begin_at_zero() {
    LOST.add(0);
    for result in ["started", "missed", "failed"] {
        TICKS.add(&[result], 0);
    }
}

/// The time that has passed. 0 if the clock was set back meanwhile.
fn since(from: DateTime<Utc>, to: DateTime<Utc>) -> std::time::Duration {
    (to - from).to_std().unwrap_or_default()
}
