//! The engine's own workflow behind a schedule.
//!
//! Its one working step sleeps until the next tick, starts an instance for it, and sleeps again. The step's state is
//! the last tick, so that a schedule leaves no history however long it runs. In parallel to this step, an activity
//! waits that no worker does: its open wait is how schedules are listed.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wfe_core::{
    Result,
    definition::{Definition, Retry, WorkflowBuilder, activity, inline},
    steps::{Ctx, Next, StepError, StepResult},
};

use super::{
    tick::Tick,
    timetable::{CatchUp, Due, Timetable, due, next_tick},
};

/// Starts instances for ticks.
pub(crate) trait Starter: Send + Sync {
    /// The time now; `None`: the host has ended.
    fn now(&self) -> Option<DateTime<Utc>>;

    /// Starts an instance for the tick of this reference, or finds the one that was started for it.
    fn start<'a>(
        &'a self,
        spec: &'a Spec,
        reference: String,
    ) -> BoxFuture<'a, std::result::Result<(), StepError>>;
}

/// The prefix of these definitions' ids. The id of the definition whose instances are started follows, so that a
/// schedule runs only on hosts on which that definition is registered.
const ANY_VERSION: &str = "wfe.schedule:";
/// The prefix for schedules that name a version. That version is the version of this definition too, so that a
/// schedule runs only on hosts on which it is registered. Earlier programs stored such schedules with the prefix
/// above; these continue under it.
const ONE_VERSION: &str = "wfe.schedule.pinned:";
/// The activity that lists all schedules.
pub(crate) const LISTED: &str = "wfe.schedule";
/// The step that sleeps until the next tick.
pub(crate) const TICK: &str = "tick";

/// The data of a schedule's own instance.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Spec {
    pub id: String,
    pub definition: String,
    pub version: Option<u32>,
    pub data: Value,
    pub timetable: Timetable,
    pub catch_up: CatchUp,
    pub created: DateTime<Utc>,
}

/// The state of the step: the last tick.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ticked {
    pub last: DateTime<Utc>,
}

/// The id and version of the workflow behind a schedule for this definition: for its newest version (`None`), or for
/// the given one.
pub(crate) fn own_definition(id: &str, version: Option<u32>) -> (String, u32) {
    match version {
        None => (format!("{ANY_VERSION}{id}"), 1),
        Some(version) => (format!("{ONE_VERSION}{id}"), version),
    }
}

/// The workflows behind the schedules for this definition: one for the schedules that start its newest version, and
/// one for those that name its version.
pub(crate) fn definitions_for(of: &Definition, starter: &Arc<dyn Starter>) -> Result<[Definition; 2]> {
    Ok([
        build(own_definition(of.id(), None), starter)?,
        build(own_definition(of.id(), Some(of.version())), starter)?,
    ])
}

fn build((id, version): (String, u32), starter: &Arc<dyn Starter>) -> Result<Definition> {
    let starter = starter.clone();
    // The store may fail, or a middleware may refuse the start: the start is retried until it succeeds or the
    // schedule is deleted. Ticks that are due meanwhile count as missed.
    let retry = Retry::up_to(u32::MAX).max(Duration::from_mins(5));
    let tick = inline(move |ctx: Ctx, spec: Arc<Spec>| {
        let starter = starter.clone();
        async move { tick(&*starter, &ctx, &spec).await }
    });
    WorkflowBuilder::<Spec>::new(id, version)
        .parallel("schedule", |both| {
            both.branch(|branch| branch.then(TICK, tick).retry(retry).end("over"))
                .branch(|branch| branch.activity("listed", activity(LISTED, |_: &Spec, ()| ())))
        })
        .build()
}

async fn tick(starter: &dyn Starter, ctx: &Ctx, spec: &Spec) -> StepResult {
    let now = starter.now().ok_or_else(|| StepError::retryable("the host has ended"))?;
    let every = spec.timetable.every();
    let last = ctx.state::<Ticked>()?.map_or(spec.created, |ticked| ticked.last);
    let Due { ticks, newest } = due(&every, last, now, spec.catch_up);
    for tick in ticks {
        starter.start(spec, Tick::new(ctx.instance_id(), tick).reference()).await?;
    }
    let last = newest.unwrap_or(last);
    match next_tick(&every, last, now) {
        // Until a time and not for a duration: the clock may be set before this is stored.
        Some(next) => Next::sleep_until(next).keeping(&Ticked { last }),
        None => Ok(Next::Done),
    }
}
