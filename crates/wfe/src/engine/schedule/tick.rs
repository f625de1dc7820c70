//! Which tick an instance stands for: kept in its reference, which makes its start idempotent.

use chrono::{DateTime, SecondsFormat, Utc};
use wfe_core::steps::Ctx;

/// The tick of a schedule that an instance was started for.
///
/// A step that is about a day or an hour takes it from here and not from the clock: a catch-up comes late, and so may an
/// attempt after a failure or a crash.
///
/// ```
/// use wfe::{Tick, definition::{Definition, WorkflowBuilder, inline}, steps::{Ctx, StepError}};
///
/// # fn report() -> wfe::Result<Definition> {
/// WorkflowBuilder::<String>::new("report", 1)
///     .then("write", inline(|ctx: Ctx, _| async move {
///         let tick = Tick::of(&ctx).ok_or_else(|| StepError::fatal("start me by a schedule"))?;
///         Ok(format!("report of {}", tick.time.date_naive()))
///     }))
///     .build()
/// # }
/// # report().unwrap();
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tick {
    /// When it was due, by the schedule's timetable. It is the same for all steps and attempts of the instance.
    pub time: DateTime<Utc>,
    /// The engine's own instance behind the schedule, as in
    /// [`ScheduleStatus::instance_id`](crate::ScheduleStatus::instance_id).
    pub schedule_instance_id: String,
}

impl Tick {
    /// The tick that this step's instance was started for. `None`: no tick of a schedule started it, but a program, a
    /// parent, or [`trigger`](crate::Schedules::trigger).
    ///
    /// It is read from the instance's [reference](Ctx::reference); one of the form *id, slash, time* that a program gave
    /// itself is taken for a tick.
    #[must_use]
    pub fn of(ctx: &Ctx) -> Option<Self> {
        Self::parse(ctx.reference()?)
    }

    pub(crate) fn new(schedule_instance_id: &str, time: DateTime<Utc>) -> Self {
        Self { time, schedule_instance_id: schedule_instance_id.to_owned() }
    }

    /// What makes the start for this tick idempotent. Stored: its form never changes.
    pub(crate) fn reference(&self) -> String {
        let time = self.time.to_rfc3339_opts(SecondsFormat::AutoSi, true);
        format!("{}/{time}", self.schedule_instance_id)
    }

    fn parse(reference: &str) -> Option<Self> {
        let (schedule, time) = reference.rsplit_once('/')?;
        // Whatever does not parse is the reference of something else.
        let tick = Self::new(schedule, time.parse().ok()?);
        (tick.reference() == reference && !schedule.is_empty()).then_some(tick)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_is_read_from_its_reference_and_from_no_other() {
        for time in ["2030-01-02T06:00:00Z", "2030-01-02T06:00:00.5Z", "2030-01-02T06:00:00.000000001Z"] {
            let tick = Tick::new("an/id", time.parse().unwrap());
            assert_eq!(Tick::parse(&tick.reference()), Some(tick));
        }
        for other in [
            "",
            "order-17",
            "id/trigger/0af3",
            "/2030-01-02T06:00:00Z",
            "id/2030-01-02",
            "id/2030-01-02T06:00:00+00:00",
            "id/2030-01-02T06:00:00Z/",
            "2030-01-02T06:00:00Z",
        ] {
            assert_eq!(Tick::parse(other), None, "{other:?}");
        }
    }
}
