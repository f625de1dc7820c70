//! The tick for which an instance was started. The tick is stored in the instance's reference, which makes the start
//! idempotent.

use chrono::{DateTime, SecondsFormat, Utc};
use wfe_core::{steps::Ctx, traits::OWN_NAMES};

/// The tick of a schedule for which an instance was started.
///
/// A step whose work concerns a certain day or hour should take the day or hour from the tick, not from the clock. The
/// instance for a missed tick starts late, and an attempt after a failure or a crash may also run late.
///
/// ```
/// use wfe::{prelude::*, schedules::Tick};
///
/// # fn report() -> Result<Definition<String>, Error> {
/// WorkflowBuilder::<String>::new("report", 1)
///     .call("write", |ctx, _| {
///         let tick = Tick::of(ctx).ok_or("not started by a schedule").fatal()?;
///         Ok(format!("report of {}", tick.time.date_naive()))
///     })
///     .build()
/// # }
/// # report().unwrap();
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tick {
    /// When the tick was due according to the schedule's timetable. The time is the same for all steps and attempts of
    /// the instance.
    pub time: DateTime<Utc>,
    /// The id of the engine's own instance that ran the schedule first. It stays the same when the schedule is changed.
    /// It equals [`ScheduleStatus::first_instance_id`](crate::schedules::ScheduleStatus::first_instance_id).
    pub schedule_instance_id: String,
}

impl Tick {
    /// Returns the tick for which this step's instance was started. Returns `None` if the instance was started by a
    /// program, by a parent workflow, or by [`trigger`](crate::schedules::Schedules::trigger).
    ///
    /// The tick is read from the instance's [reference](Ctx::reference). A reference that a program has set is also
    /// read as a tick if it has the form *id, slash, time*.
    #[must_use]
    pub fn of<A>(ctx: &Ctx<A>) -> Option<Self> {
        Self::parse(ctx.reference()?)
    }

    pub(crate) fn new(schedule_instance_id: &str, time: DateTime<Utc>) -> Self {
        Self { time, schedule_instance_id: schedule_instance_id.to_owned() }
    }

    /// The reference that makes the start for this tick idempotent. Its form must never change, because it is stored.
    pub(crate) fn reference(&self) -> String {
        let time = self.time.to_rfc3339_opts(SecondsFormat::AutoSi, true);
        format!("{}/{time}", self.schedule_instance_id)
    }

    /// The name of the instance that is started for this tick. Names are unique among the instances of all definitions:
    /// if a schedule is changed to another definition while a host starts an instance for the tick, no second instance
    /// is started.
    pub(crate) fn instance_name(&self) -> String {
        format!("{OWN_NAMES}tick:{}", self.reference())
    }

    fn parse(reference: &str) -> Option<Self> {
        let (schedule, time) = reference.rsplit_once('/')?;
        // A reference that does not parse is not the reference of a tick.
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
