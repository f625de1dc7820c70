//! The text and the JSON of a schedule's status.

use std::fmt::{Display, Formatter, Result};

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};
use wfe_core::traits::StepFailure;

use super::status::ScheduleStatus;
use crate::engine::{CatchUp, Timetable};

impl Display for ScheduleStatus {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "schedule {:?} starts {}", self.id, self.definition.escape_debug())?;
        if let Some(version) = self.version {
            write!(f, " (version {version})")?;
        }
        match &self.timetable {
            Timetable::Interval(interval) => write!(f, " every {interval:?}")?,
            Timetable::IntervalInZone { interval, zone } => write!(f, " every {interval:?} in {zone}")?,
            Timetable::Cron { expression, zone } => {
                write!(f, " at {expression:?} in {}", zone.as_deref().unwrap_or("UTC"))?;
            }
        }
        match (self.is_paused, self.next) {
            (true, _) => f.write_str(", paused")?,
            (false, Some(next)) => write!(f, ", next at {}", next.format("%Y-%m-%d %H:%M:%S UTC"))?,
            (false, None) => {}
        }
        match &self.last_failure {
            Some(failure) => write!(f, "; its last start has failed: {failure}"),
            None => Ok(()),
        }
    }
}

impl Serialize for ScheduleStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Flat<'a> {
            id: &'a str,
            definition: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            version: Option<u32>,
            #[serde(skip_serializing_if = "Option::is_none")]
            interval: Option<f64>,
            #[serde(skip_serializing_if = "Option::is_none")]
            cron: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            zone: Option<&'a str>,
            catch_up: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            catch_up_limit: Option<u32>,
            is_paused: bool,
            #[serde(skip_serializing_if = "Option::is_none")]
            last: Option<DateTime<Utc>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            next: Option<DateTime<Utc>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            last_failure: Option<&'a StepFailure>,
            instance_id: &'a str,
            first_instance_id: &'a str,
        }
        let (interval, cron, zone) = match &self.timetable {
            Timetable::Interval(interval) => (Some(interval), None, None),
            Timetable::IntervalInZone { interval, zone } => (Some(interval), None, Some(&**zone)),
            Timetable::Cron { expression, zone } => (None, Some(&**expression), zone.as_deref()),
        };
        let (catch_up, catch_up_limit) = match self.catch_up {
            CatchUp::One => ("one", None),
            CatchUp::All(limit) => ("all", Some(limit)),
            CatchUp::None => ("none", None),
        };
        let flat = Flat {
            id: &self.id,
            definition: &self.definition,
            version: self.version,
            interval: interval.map(std::time::Duration::as_secs_f64),
            cron,
            zone,
            catch_up,
            catch_up_limit,
            is_paused: self.is_paused,
            last: self.last,
            next: self.next,
            last_failure: self.last_failure.as_deref(),
            instance_id: &self.instance_id,
            first_instance_id: &self.first_instance_id,
        };
        flat.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;
    use wfe_core::models::ExecutionError;

    use super::*;

    #[test]
    fn a_schedule_has_a_text_and_a_json() {
        let status = ScheduleStatus {
            id: "nightly".to_owned(),
            definition: "report".to_owned(),
            version: None,
            timetable: Timetable::interval(Duration::from_millis(1500)),
            catch_up: CatchUp::One,
            is_paused: true,
            last: None,
            next: None,
            last_failure: None,
            instance_id: "i".to_owned(),
            first_instance_id: "f".to_owned(),
        };
        assert_eq!(status.to_string(), "schedule \"nightly\" starts report every 1.5s, paused");
        assert_eq!(
            serde_json::to_value(&status).unwrap(),
            json!({
                "id": "nightly", "definition": "report", "interval": 1.5, "catch_up": "one", "is_paused": true,
                "instance_id": "i", "first_instance_id": "f",
            })
        );
        let error = ExecutionError {
            error_time: DateTime::UNIX_EPOCH,
            workflow_id: "i".to_owned(),
            execution_pointer_id: "tick".to_owned(),
            message: "no".to_owned(),
        };
        let (step, code) = ("tick".to_owned(), "error".to_owned());
        let failure = StepFailure { error, step, attempt: 1, code, causes: Vec::new() };
        let status = ScheduleStatus {
            version: Some(2),
            timetable: Timetable::cron("0 3 * * *").in_zone("Europe/Berlin"),
            catch_up: CatchUp::All(5),
            is_paused: false,
            last: Some(DateTime::UNIX_EPOCH),
            next: Some(DateTime::UNIX_EPOCH),
            last_failure: Some(Box::new(failure)),
            ..status
        };
        assert_eq!(
            status.to_string(),
            "schedule \"nightly\" starts report (version 2) at \"0 3 * * *\" in Europe/Berlin, next at 1970-01-01 \
             00:00:00 UTC; its last start has failed: step \"tick\" (attempt 1, code \"error\"): no"
        );
        let time = "1970-01-01T00:00:00Z";
        assert_eq!(
            serde_json::to_value(&status).unwrap(),
            json!({
                "id": "nightly", "definition": "report", "version": 2, "cron": "0 3 * * *",
                "zone": "Europe/Berlin", "catch_up": "all", "catch_up_limit": 5, "is_paused": false, "last": time,
                "next": time, "instance_id": "i", "first_instance_id": "f",
                "last_failure": {
                    "step": "tick", "attempt": 1, "code": "error", "message": "no", "time": time, "pointer": "tick",
                },
            })
        );
        let bare = ScheduleStatus {
            timetable: Timetable::cron("0 9 * * *"),
            last_failure: None,
            next: None,
            ..status
        };
        assert_eq!(
            bare.to_string(),
            "schedule \"nightly\" starts report (version 2) at \"0 9 * * *\" in UTC"
        );
    }
}
