//! Times as integers since the Unix epoch. A time in the model is stored in nanoseconds. A number of
//! milliseconds in the model is stored as it is.

use chrono::{DateTime, Timelike, Utc};
use wfe_core::Result;
pub(crate) use wfe_core::limits::nanos;

/// An optional time in nanoseconds, for storing.
pub(crate) fn optional_nanos(what: &str, time: Option<DateTime<Utc>>) -> Result<Option<i64>> {
    time.map(|time| nanos(what, time)).transpose()
}

/// The bound of a query `stored <= bound`. A time that is too late to be stored becomes the largest bound.
/// `None` means that the time is earlier than every time that can be stored.
pub(crate) fn bound(time: DateTime<Utc>) -> Option<i64> {
    match before_leap(time).timestamp_nanos_opt() {
        Some(nanos) => Some(nanos),
        None if time.timestamp() < 0 => None,
        None => Some(i64::MAX),
    }
}

/// The bound of a query `stored milliseconds <= bound`, rounded down so that nothing is due early.
pub(crate) fn millis_bound(time: DateTime<Utc>) -> i64 {
    if time == DateTime::<Utc>::MAX_UTC { i64::MAX } else { before_leap(time).timestamp_millis() }
}

/// Replaces a time within a leap second by the last nanosecond before the leap second. No stored time can be
/// within a leap second, and the second after the leap second is not due yet.
fn before_leap(time: DateTime<Utc>) -> DateTime<Utc> {
    if time.nanosecond() < 1_000_000_000 { time } else { time.with_nanosecond(999_999_999).unwrap_or(time) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{TimeDelta, TimeZone};
    use proptest::prelude::*;
    use wfe_core::WfeError;

    #[test]
    fn what_does_not_come_back_is_refused() {
        for time in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
            assert!(matches!(nanos("t", time), Err(WfeError::Unstorable { .. })));
        }
        let leap = DateTime::from_timestamp(59, 1_500_000_000).unwrap();
        assert!(matches!(nanos("t", leap), Err(WfeError::Unstorable { .. })));
        let first = DateTime::from_timestamp_nanos(i64::MIN);
        let last = DateTime::from_timestamp_nanos(i64::MAX);
        assert_eq!((nanos("t", first).unwrap(), nanos("t", last).unwrap()), (i64::MIN, i64::MAX));
        assert!(nanos("t", last + TimeDelta::nanoseconds(1)).is_err());
    }

    #[test]
    fn bounds_saturate() {
        assert_eq!(bound(DateTime::<Utc>::MIN_UTC), None);
        assert_eq!(bound(DateTime::<Utc>::MAX_UTC), Some(i64::MAX));
        assert_eq!(millis_bound(DateTime::<Utc>::MAX_UTC), i64::MAX);
        let leap = DateTime::from_timestamp(59, 1_500_000_000).unwrap();
        assert_eq!((bound(leap), millis_bound(leap)), (Some(59_999_999_999), 59_999));
    }

    #[test]
    fn a_bound_in_milliseconds_rounds_down() {
        for nanos in [-1, -999_999, -1_000_000] {
            assert_eq!(millis_bound(Utc.timestamp_nanos(nanos)), -1);
        }
        assert_eq!(millis_bound(Utc.timestamp_nanos(999_999)), 0);
    }

    proptest! {
        #[test]
        fn times_come_back_to_the_nanosecond(value: i64) {
            let time = DateTime::from_timestamp_nanos(value);
            prop_assert_eq!(nanos("t", time).unwrap(), value);
        }
    }
}
