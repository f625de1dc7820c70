use chrono::{DateTime, Utc};
use serde::Deserialize;
use wfe_core::{
    Result, WfeError,
    executor::view,
    models::{ExecutionPointer, WorkflowInstance, WorkflowStatus},
    redact,
    traits::{Control, Loaded, StepFailure},
};

use crate::engine::{CatchUp, Spec, TICK, Ticked, Timetable};

/// The status of a schedule. [`Schedules::get`](super::Schedules::get) and [`Schedules::list`](super::Schedules::list)
/// return this type.
///
/// Its text is one line: `schedule "nightly" starts report at "0 3 * * *" in Europe/Berlin, next at 2026-01-05 02:00:00 UTC`.
/// Its JSON is flat. Intervals are in seconds, times are in RFC 3339, and what is `None` is left out:
///
/// ```json
/// {
///   "id": "nightly", "definition": "report", "version": 2,
///   "cron": "0 3 * * *", "zone": "Europe/Berlin",
///   "catch_up": "all", "catch_up_limit": 5, "is_paused": false,
///   "last": "2026-01-04T02:00:00Z", "next": "2026-01-05T02:00:00Z",
///   "last_failure": { "step": "tick", "attempt": 1, … },
///   "instance_id": "0193…", "first_instance_id": "0192…"
/// }
/// ```
///
/// In place of `cron`, a timetable with an interval has `interval`. `catch_up` is `one`, `all` or `none`; only `all` has a
/// `catch_up_limit`. `last_failure` is a [`StepFailure`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScheduleStatus {
    /// The id of the schedule.
    pub id: String,
    /// The id of the definition whose instances the schedule starts.
    pub definition: String,
    /// The version of the definition. `None` means the newest version that is registered at each tick.
    pub version: Option<u32>,
    /// When the schedule starts instances.
    pub timetable: Timetable,
    /// How the schedule handles missed ticks.
    pub catch_up: CatchUp,
    /// Whether the schedule is paused. It is also paused if the engine has suspended the instance that runs it, because
    /// of the `last_failure`.
    pub is_paused: bool,
    /// The last tick. `None` means that there was no tick yet. A change of the schedule keeps the last tick.
    pub last: Option<DateTime<Utc>>,
    /// The next tick. For a paused schedule, this is the tick that was next when the schedule was paused. A time in
    /// the past means that no host has processed this tick yet. `None` means that a host is processing the tick now,
    /// or that no further tick follows.
    pub next: Option<DateTime<Utc>>,
    /// Why the last attempt to start an instance failed: an error of the store, a middleware that refused the start,
    /// a definition that was not registered, or data that the definition cannot read. The start is retried with a
    /// backoff of up to 5 min. `None` means that the last attempt did not fail, or that the schedule was changed since.
    pub last_failure: Option<Box<StepFailure>>,
    /// The id of the engine's own instance that runs the schedule. If the schedule is changed, another instance runs
    /// it.
    pub instance_id: String,
    /// The id of the engine's own instance that ran the schedule first. It stays the same if the schedule is changed,
    /// and equals [`Tick::schedule_instance_id`](crate::schedules::Tick::schedule_instance_id).
    pub first_instance_id: String,
}

/// The stored state of a schedule that exists.
pub(crate) struct Stored {
    pub loaded: Loaded,
    pub spec: Spec,
    /// The last tick.
    pub last: Option<DateTime<Utc>>,
}

impl Stored {
    /// # Errors
    /// [`Corrupt`](WfeError::Corrupt): this version of the program cannot read the state.
    pub fn read(loaded: Loaded) -> Result<Self> {
        let instance = &loaded.instance;
        let spec = Spec::deserialize(&instance.data)
            .map_err(|source| unreadable("workflows", "data", instance.id.clone(), source))?;
        let tick = tick_of(instance);
        let ticked = tick.map(view::kept_state::<Ticked>).transpose().map(Option::flatten);
        let ticked = ticked.map_err(|source| {
            let row = format!("{} of {}", tick.map_or(TICK, |tick| &tick.id), instance.id);
            unreadable("execution_pointers", "persistence_data", row, source)
        })?;
        // Before the first tick, the last one is stored as the time at which the schedule was created.
        let last = ticked.map_or_else(|| spec.began(), |ticked| ticked.last);
        let last = Some(last).filter(|last| *last != spec.created);
        Ok(Self { loaded, spec, last })
    }

    /// Whether the schedule is paused, or will be as soon as a host has applied the pending request.
    pub fn is_paused(&self) -> bool {
        match self.loaded.control.as_ref().map(|request| request.control) {
            Some(Control::Suspend) => true,
            Some(Control::Resume) => false,
            Some(Control::Cancel | Control::Terminate) | None => {
                self.loaded.instance.status == WorkflowStatus::Suspended
            }
        }
    }

    /// Whether a change must leave the schedule paused. A schedule that the engine suspended because of a failure is
    /// not kept suspended: the change may have repaired it.
    pub fn stays_paused(&self) -> bool {
        self.is_paused() && self.loaded.cause.is_none()
    }

    /// The pointer whose last attempt failed.
    pub fn failing(&self) -> Option<String> {
        let tick = tick_of(&self.loaded.instance)?;
        view::has_failed_attempt(tick).then(|| tick.id.clone())
    }

    /// The next ticks after this time, the earliest first, as if no further change came and the schedule were not
    /// paused.
    pub fn ticks(&self, now: DateTime<Utc>, count: usize) -> Vec<DateTime<Utc>> {
        let first = self.spec.tick_from(self.last.unwrap_or(self.spec.created), now);
        std::iter::successors(first, |tick| self.spec.tick_after(*tick)).take(count).collect()
    }

    pub fn into_status(self, now: DateTime<Utc>) -> ScheduleStatus {
        let next = self.spec.tick_after(self.last.unwrap_or(self.spec.created));
        let is_paused = self.is_paused();
        let Self { loaded: Loaded { instance, owner, cause, .. }, spec, last } = self;
        let is_processed = owner.is_some() && !is_paused && next.is_some_and(|next| next <= now);
        let last_failure = cause.filter(|_| instance.status == WorkflowStatus::Suspended).map(Box::new);
        ScheduleStatus {
            first_instance_id: spec.first_instance(&instance.id).to_owned(),
            id: spec.id,
            definition: spec.definition,
            version: spec.version,
            timetable: spec.timetable,
            catch_up: spec.catch_up,
            is_paused,
            last,
            next: next.filter(|_| !is_processed),
            last_failure,
            instance_id: instance.id,
        }
    }
}

/// Whether the instance has ended, or ends as soon as a host has applied the pending request: the schedule was deleted.
pub(crate) fn is_over(loaded: &Loaded) -> bool {
    let control = loaded.control.as_ref().map(|request| request.control);
    loaded.instance.status.is_final() || matches!(control, Some(Control::Cancel | Control::Terminate))
}

/// The execution pointer at which a schedule's instance sleeps until the next tick.
fn tick_of(instance: &WorkflowInstance) -> Option<&ExecutionPointer> {
    instance.execution_pointers.iter().find(|pointer| pointer.step_name.as_deref() == Some(TICK))
}

fn unreadable(table: &'static str, column: &'static str, row: String, source: serde_json::Error) -> WfeError {
    let message = "not a schedule that this version of the program can read".to_owned();
    WfeError::Corrupt { table, column, row, message, source: Some(Box::new(redact(source))) }
}
