//! Extreme numbers in settings. For each number, building the definition returns an error that names the setting, or
//! the setting works as documented.

use std::time::Duration;

use chrono::DateTime;
use proptest::{prelude::*, sample::select};

use super::scenario::{Builder, Line, begin, mark};
use super::world::{Step, World};
use crate::{
    WfeError,
    definition::{Event, Every, OnFailure, Retry, Returns},
    steps::{Next, StepError},
};

fn times() -> impl Strategy<Value = Duration> {
    prop_oneof![
        4 => select(vec![
            Duration::ZERO,
            Duration::from_nanos(1),
            Duration::from_nanos(999_999),
            Duration::from_millis(1),
            Duration::from_secs(1),
            Duration::from_hours(24 * 365 * 290),
            Duration::from_nanos(i64::MAX as u64),
            Duration::from_millis(i64::MAX as u64),
            Duration::from_secs(u64::MAX),
            Duration::MAX,
        ]),
        1 => (any::<u64>(), 0_u32..1_000_000_000).prop_map(|(seconds, nanos)| Duration::new(seconds, nanos)),
    ]
}

fn factors() -> impl Strategy<Value = f64> {
    prop_oneof![
        1 => select(vec![f64::NAN, f64::NEG_INFINITY, 0.0, f64::INFINITY]),
        9 => select(vec![1.0, 1.0 + f64::EPSILON, 2.0, 1e300, f64::MAX]),
    ]
}

fn parts() -> impl Strategy<Value = f64> {
    prop_oneof![
        1 => select(vec![f64::NAN, -f64::MIN_POSITIVE, 1.0 + f64::EPSILON, f64::INFINITY]),
        9 => select(vec![0.0, f64::MIN_POSITIVE, 0.5, 1.0]),
    ]
}

/// A step that fails twice, then sleeps for the duration `pause`, and then completes.
fn troubled(retry: Retry, timeout: Duration, pause: Duration) -> Builder<Returns<Next>> {
    begin()
        .call("body", move |ctx, _| {
            if ctx.attempt() < 3 {
                return Err(StepError::retryable("not yet"));
            }
            if ctx.state::<bool>()?.is_some() { Ok(Next::Done) } else { Next::sleep(pause).keeping(&true) }
        })
        .retry(retry)
        .timeout(timeout)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn every_time_of_a_definition_is_refused_or_kept(
        (timeout, deadline) in (times(), times()),
        (first, longest) in (times(), times()),
        (factor, jitter) in (factors(), parts()),
        random in select(vec![0.0, f64::MIN_POSITIVE, 0.5, 1.0 - f64::EPSILON]),
        (sleep, delay, limit) in (times(), times(), times()),
        (escalate, reassign) in (times(), times()),
        (later, interval) in (times(), times()),
    ) {
        let retry = Retry::exponential().attempts(3).initial(first).max(longest).factor(factor).jitter(jitter);
        let built = troubled(retry, timeout, sleep)
            .deadline(deadline)
            .after("later", move |_| later, |b| b.step("late", mark("late")))
            .recur("tick", Every::interval(interval), |line| line.len() > 3, |b| b.step("t", mark("t")))
            .delay("delay", move |_| delay)
            .wait_for("event", Event::<()>::new("e"), |_| "k")
            .fail_after(move |_| limit)
            .on_failure(OnFailure::Continue)
            .user_task("task", |_| "well?")
            .plain_option("yes")
            .escalate(move |_| escalate, |b| b.step("escalated", mark("escalated")))
            .reassign(move |_| reassign, |_| "bo")
            .build();
        let definition = match built {
            Ok(definition) => definition,
            Err(WfeError::InvalidDefinition { problem, .. }) => {
                let names = ["deadline", "timeout", "factor", "jitter", "interval"];
                prop_assert!(names.iter().any(|name| problem.contains(name)), "{}", problem);
                return Ok(());
            }
            Err(other) => panic!("{other}"),
        };
        prop_assert!(!timeout.is_zero() && !deadline.is_zero() && !interval.is_zero());
        let mut world = World::new(&definition, &Line::new());
        world.random = Box::new(move || random);
        let (start, last) = (world.now, DateTime::from_timestamp_nanos(i64::MAX));
        for _ in 0..200 {
            while world.act(&mut |_| Step::Finish(1)) {}
            match world.next_time() {
                // What never comes waits until then.
                Some(at) if at < last => world.now = world.now.max(at),
                _ => break,
            }
        }
        let due = |pause: Duration| chrono::TimeDelta::from_std(pause).ok().and_then(|p| start.checked_add_signed(p));
        if let Some(at) = due(deadline).filter(|at| *at < last) {
            prop_assert!(world.now < at || world.instance.status.is_final() || world.now == at);
        }
        if let Some(delay) = world.instance.execution_pointers.iter().find(|p| p.id == "delay" && p.active) {
            prop_assert!(delay.sleep_until.is_none_or(|until| until <= last));
        }
    }
}
