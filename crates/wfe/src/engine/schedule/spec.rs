//! The data of a schedule's own instance, and how the instance of a changed schedule succeeds the one before.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    periods::{Period, count_due, next_tick},
    timetable::{CatchUp, Timetable},
};

/// The data of a schedule's own instance.
///
/// The data never changes. If the schedule is changed, another instance with other data takes the place of this one, in
/// one transaction.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Spec {
    pub id: String,
    pub definition: String,
    pub version: Option<u32>,
    pub data: Value,
    pub timetable: Timetable,
    pub catch_up: CatchUp,
    /// When the schedule was created. A change of the schedule keeps this time.
    pub created: DateTime<Utc>,
    /// What the schedule keeps of its time before the last change. `None`: the schedule was never changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Before>,
}

/// What a changed schedule keeps of its time before the change.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Before {
    /// The id of the first instance of this schedule. It is part of the reference of every instance that the schedule
    /// starts. A tick that was started just before a change is therefore not started again after the change.
    pub first_instance: String,
    /// The last tick.
    pub last: Option<DateTime<Utc>>,
    /// The timetable counts after this time. `None`: it counts since the creation of the schedule.
    pub after: Option<DateTime<Utc>>,
    /// The former timetables that had due ticks when they were changed, oldest first. Instances may still have to be
    /// started for these ticks: no host was running, the schedule was paused, or a host is just about to start them.
    pub timetables: Vec<Former>,
}

/// A former timetable, and the period in which it counts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Former {
    pub timetable: Timetable,
    pub after: DateTime<Utc>,
    pub until: DateTime<Utc>,
}

impl Former {
    fn period(&self) -> Period {
        Period { every: self.timetable.every(), after: self.after, until: Some(self.until) }
    }
}

impl Spec {
    /// The periods of all timetables, oldest first.
    pub fn periods(&self) -> Vec<Period> {
        let former = self.before.iter().flat_map(|before| &before.timetables).map(Former::period);
        let current = Period { every: self.timetable.every(), after: self.after(), until: None };
        former.chain([current]).collect()
    }

    fn after(&self) -> DateTime<Utc> {
        self.before.as_ref().and_then(|before| before.after).unwrap_or(self.created)
    }

    /// The last tick before the schedule's instance began, or the time at which the schedule was created.
    pub fn began(&self) -> DateTime<Utc> {
        self.before.as_ref().and_then(|before| before.last).unwrap_or(self.created)
    }

    /// The id of the first instance of this schedule. `own` is the id of the instance with this data.
    pub fn first_instance<'a>(&'a self, own: &'a str) -> &'a str {
        self.before.as_ref().map_or(own, |before| &before.first_instance)
    }

    /// The first tick after `last`, which may be due already. `last` is the last tick, or the time at which the
    /// schedule was created.
    pub fn tick_after(&self, last: DateTime<Utc>) -> Option<DateTime<Utc>> {
        next_tick(&self.periods(), last, last)
    }

    /// The first tick that is later than `last` and later than `from`. Intervals are counted from `last`.
    pub fn tick_from(&self, last: DateTime<Utc>, from: DateTime<Utc>) -> Option<DateTime<Utc>> {
        next_tick(&self.periods(), last, from)
    }

    /// Whether both start the same instances at the same times.
    pub fn is_like(&self, other: &Self) -> bool {
        let settings = |spec: &Self| {
            (spec.definition.clone(), spec.version, spec.data.clone(), spec.timetable.clone(), spec.catch_up)
        };
        settings(self) == settings(other)
    }

    /// These settings, for an instance that takes the place of the instance `id` with the data `old` and the last tick
    /// `last`, now.
    #[must_use]
    pub fn in_place_of(
        mut self,
        old: &Self,
        id: &str,
        last: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Self {
        let kept = old.before.as_ref();
        let mut after = kept.and_then(|before| before.after);
        let mut timetables = kept.map(|before| before.timetables.clone()).unwrap_or_default();
        if self.timetable != old.timetable {
            timetables.push(Former { timetable: old.timetable.clone(), after: old.after(), until: now });
            // The clock may have been set back since an earlier change.
            for former in &mut timetables {
                former.until = former.until.min(now);
            }
            after = Some(now);
        }
        // No more timetables are kept than there are ticks to catch up with.
        let (since, mut most) = (last.unwrap_or(old.created), self.catch_up.most());
        timetables.reverse();
        timetables.retain(|former| {
            let count = if most == 0 { 0 } else { count_due(&former.period(), since, most) };
            most -= count;
            count > 0
        });
        timetables.reverse();
        self.created = old.created;
        self.before =
            Some(Before { first_instance: old.first_instance(id).to_owned(), last, after, timetables });
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: &str) -> DateTime<Utc> {
        format!("2030-01-01T{time}:00Z").parse().unwrap()
    }

    fn spec(cron: &str, catch_up: CatchUp) -> Spec {
        Spec {
            id: "s".to_owned(),
            definition: "d".to_owned(),
            version: None,
            data: Value::Null,
            timetable: Timetable::cron(cron),
            catch_up,
            created: at("00:00"),
            before: None,
        }
    }

    #[test]
    fn a_changed_schedule_keeps_its_last_tick_and_the_ticks_that_were_due() {
        let old = spec("0 * * * *", CatchUp::One);
        let new = spec("30 * * * *", CatchUp::All(9));
        let new = Spec { created: at("07:00"), ..new }.in_place_of(&old, "i", Some(at("01:00")), at("03:10"));
        assert_eq!((new.created, new.began(), new.first_instance("j")), (at("00:00"), at("01:00"), "i"));
        assert_eq!(new.tick_after(at("01:00")), Some(at("02:00")), "due, and not processed yet");
        assert_eq!(new.tick_after(at("03:00")), Some(at("03:30")), "not 01:30 to 02:30: these were before");
        // Another change, before anything was processed.
        let third =
            spec("45 * * * *", CatchUp::All(9)).in_place_of(&new, "j", Some(at("01:00")), at("03:40"));
        assert_eq!(third.first_instance("k"), "i");
        let mut last = at("01:00");
        let mut ticks = std::iter::from_fn(|| {
            last = third.tick_after(last)?;
            Some(last)
        });
        let expected = ["02:00", "03:00", "03:30", "03:45", "04:45"].map(at);
        assert_eq!(ticks.by_ref().take(5).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn other_data_leave_the_ticks_as_they_are() {
        let old = spec("0 * * * *", CatchUp::One);
        let new = Spec { data: Value::from(7), ..old.clone() };
        assert!(!new.is_like(&old) && old.is_like(&old.clone()));
        let new = new.in_place_of(&old, "i", None, at("03:10"));
        assert!(new.before.as_ref().unwrap().timetables.is_empty());
        assert_eq!((new.began(), new.tick_after(new.began())), (at("00:00"), Some(at("01:00"))));
    }

    #[test]
    fn no_more_former_timetables_are_kept_than_ticks_are_caught_up_with() {
        for (catch_up, expected) in [(CatchUp::One, 1), (CatchUp::None, 1), (CatchUp::All(3), 2)] {
            let mut changed = spec("0 * * * *", catch_up);
            for minute in 1..=9_u32 {
                // Paused since midnight: at ten past each hour, other minutes are chosen; two ticks each fall due.
                let cron = format!("{},{} * * * *", 10 + minute, 30 + minute);
                changed =
                    spec(&cron, catch_up).in_place_of(&changed, "i", None, at(&format!("0{minute}:10")));
            }
            assert_eq!(changed.before.as_ref().unwrap().timetables.len(), expected, "{catch_up:?}");
        }
        let processed = spec("0 * * * *", CatchUp::One).in_place_of(
            &spec("5 * * * *", CatchUp::One),
            "i",
            Some(at("03:05")),
            at("03:10"),
        );
        assert!(processed.before.unwrap().timetables.is_empty());
    }

    #[test]
    fn a_change_after_the_clock_was_set_back_leaves_no_tick_to_two_timetables() {
        let old = spec("0 * * * *", CatchUp::All(9));
        let new = spec("30 * * * *", CatchUp::All(9)).in_place_of(&old, "i", None, at("05:10"));
        let newest = spec("45 * * * *", CatchUp::All(9)).in_place_of(&new, "j", None, at("02:10"));
        let ticks: Vec<_> =
            std::iter::successors(newest.tick_after(at("00:00")), |tick| newest.tick_after(*tick))
                .take(4)
                .collect();
        assert_eq!(ticks, ["01:00", "02:00", "02:45", "03:45"].map(at));
    }
}
