//! The engine's own workflow behind a schedule.
//!
//! One step does all the work: it sleeps until the next tick, starts an instance for the tick, and sleeps again. The
//! step keeps the last tick as its state, so that a schedule leaves no history, however long it runs. In a parallel
//! branch, the workflow waits for an activity that no worker ever completes: by the open subscription of this activity,
//! programs of earlier versions list schedules.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use wfe_core::{
    Result,
    definition::{Activity, AnyDefinition, Retry, WorkflowBuilder},
    logging,
    steps::{Ctx, Next, StepError, StepResult},
};

use super::{
    periods::{Due, due, missed, next_tick},
    spec::Spec,
    tick::Tick,
};
use crate::metrics;

/// Starts instances for ticks.
pub(crate) trait Starter: Send + Sync {
    /// Returns the current time, or `None` if the host has ended.
    fn now(&self) -> Option<DateTime<Utc>>;

    /// Starts an instance for this tick, or finds the instance that was already started for this tick. Returns whether
    /// this call has started it.
    fn start<'a>(&'a self, spec: &'a Spec, tick: Tick)
    -> BoxFuture<'a, std::result::Result<bool, StepError>>;
}

/// The prefix of the ids of the engine's own definitions for schedules. The prefix is followed by the id of the
/// definition whose instances are started. A schedule therefore runs only on hosts with which that definition is
/// registered.
const ANY_VERSION: &str = "wfe.schedule:";
/// The prefix for schedules that name a version. The engine's own definition has the version that the schedule names,
/// so the schedule runs only on hosts with which that version is registered. Earlier programs stored such schedules
/// with the prefix `wfe.schedule:`; these schedules keep that prefix.
const ONE_VERSION: &str = "wfe.schedule.pinned:";
/// The activity for which every schedule waits.
const LISTED: &str = "wfe.schedule";
/// The step that sleeps until the next tick.
pub(crate) const TICK: &str = "tick";

/// The state of the step [`TICK`]: the time of the last tick.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ticked {
    pub last: DateTime<Utc>,
}

/// The id and version of the engine's own workflow for a schedule of this definition. The schedule starts the given
/// version, or the newest version if `version` is `None`.
pub(crate) fn own_definition(id: &str, version: Option<u32>) -> (String, u32) {
    match version {
        None => (format!("{ANY_VERSION}{id}"), 1),
        Some(version) => (format!("{ONE_VERSION}{id}"), version),
    }
}

/// The engine's own workflows for schedules of this definition. The first is for schedules that start the newest
/// version of the definition. The second is for schedules that name the version of `of`.
pub(crate) fn definitions_for(of: &AnyDefinition, starter: &Arc<dyn Starter>) -> Result<[AnyDefinition; 2]> {
    Ok([
        build(own_definition(of.id(), None), starter)?,
        build(own_definition(of.id(), Some(of.version())), starter)?,
    ])
}

fn build((id, version): (String, u32), starter: &Arc<dyn Starter>) -> Result<AnyDefinition> {
    let starter = starter.clone();
    // The store may fail, or a middleware may refuse the start: the start is retried until it succeeds or the
    // schedule is deleted. Ticks that are due meanwhile count as missed.
    let retry = Retry::exponential().attempts(u32::MAX);
    WorkflowBuilder::<Spec>::new(id, version)
        .with(starter)
        .parallel("schedule", |both| {
            both.branch(|branch| {
                branch
                    .then(TICK, async |ctx, spec| tick(&*ctx.app, &ctx, &spec).await)
                    .retry(retry)
                    .end("over")
            })
            .branch(|branch| branch.activity("listed", Activity::<(), ()>::new(LISTED), |_| ()))
        })
        .build_own()
}

async fn tick(starter: &dyn Starter, ctx: &Ctx<Arc<dyn Starter>>, spec: &Spec) -> StepResult {
    let now = starter.now().ok_or_else(|| StepError::retryable("the host has ended"))?;
    let last = ctx.state::<Ticked>()?.map_or_else(|| spec.began(), |ticked| ticked.last);
    let periods = spec.periods();
    let Due { ticks, newest } = due(&periods, last, now, spec.catch_up);
    let schedule = spec.first_instance(ctx.instance_id());
    let mut instances = 0_u32;
    for time in ticks {
        instances = instances.saturating_add(1);
        let is_new = starter.start(spec, Tick::new(schedule, time)).await;
        if let Ok(true) = is_new {
            metrics::ticked("started");
        }
        if let Err(error) = is_new {
            metrics::ticked("failed");
            logging::warn!(wfe.schedule.id = spec.id, tick = ?time, %error, "a schedule cannot start its workflow; it tries again");
            return Err(error);
        }
    }
    if let Some((first, newest)) = missed(&periods, last, newest, now) {
        metrics::ticked("missed");
        logging::warn!(
            wfe.schedule.id = spec.id,
            ?first,
            ?newest,
            started = instances,
            "a schedule has missed ticks: no host ran it, or it was paused, when they were due"
        );
    }
    let last = newest.unwrap_or(last);
    match next_tick(&periods, last, now) {
        // The step sleeps until a time and not for a duration, because the clock may be set before this result is
        // stored.
        Some(next) => Next::sleep_until(next).keeping(&Ticked { last }),
        None => Ok(Next::Done),
    }
}
