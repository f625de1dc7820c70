use std::time::Duration;

use chrono::{DateTime, Utc};

use super::scenario::{Builder, Line, begin, everywhere, line, mark, world};
use crate::{
    WfeError,
    definition::{Block, Event, Every, OnFailure, Retry},
    models::PointerStatus,
    traits::{Control, Ending},
};

const HOUR: Duration = Duration::from_hours(1);

#[test]
fn a_delay_sleeps_once_and_costs_nothing_meanwhile() {
    let make = || world(begin().step("a", mark("a")).delay("pause", |_| HOUR).step("b", mark("b")));
    let whole = everywhere(make);
    assert_eq!(line(&whole), "a b");
    assert_eq!(whole.now, make().now + HOUR);
    assert_eq!(whole.commits.len(), 3);
    assert!(whole.commits[0].release);
}

#[test]
fn a_delay_of_nothing_and_one_until_a_time_that_has_passed_go_on_at_once() {
    let make = || {
        world(
            begin()
                .delay("zero", |_| Duration::ZERO)
                .delay_until("past", |_| DateTime::<Utc>::MIN_UTC)
                .step("a", mark("a")),
        )
    };
    let whole = everywhere(make);
    assert_eq!((line(&whole).as_str(), whole.now), ("a", make().now));
}

#[test]
fn a_delay_beyond_the_calendar_sleeps_until_its_end() {
    for builder in
        [begin().delay("d", |_| Duration::MAX), begin().delay_until("d", |_| DateTime::<Utc>::MAX_UTC)]
    {
        let mut world = world(builder);
        world.open();
        let until = world.pointer("d").sleep_until.unwrap();
        assert_eq!(until, DateTime::from_timestamp_nanos(i64::MAX), "what a store can hold");
        assert_eq!(world.pointer("d").status, PointerStatus::Sleeping);
    }
}

#[test]
fn a_delay_is_computed_once_and_tried_again_if_that_fails() {
    let mut world = world(
        begin()
            .delay("d", |line| {
                assert!(!line.is_empty(), "no line yet");
                HOUR
            })
            .on_failure(OnFailure::Suspend),
    );
    world.play();
    assert_eq!(world.failures[0].code, "panic");
    world.instance.data = serde_json::json!(["x"]);
    let start = world.now;
    world.ask(Control::Resume);
    world.play();
    assert_eq!((world.ending, world.now), (Some(Ending::Completed), start + HOUR));
}

#[test]
fn several_pauses_of_one_instance_end_each_at_its_time() {
    let make = || {
        world(begin().parallel("all", |all| {
            all.branch(|b| b.delay("d3", |_| 3 * HOUR).step("c", mark("c")))
                .branch(|b| b.delay("d1", |_| HOUR).step("a", mark("a")))
                .branch(|b| b.delay("d2", |_| 2 * HOUR).step("b", mark("b")))
        }))
    };
    let whole = everywhere(make);
    assert_eq!((line(&whole).as_str(), whole.now), ("a b c", make().now + 3 * HOUR));
}

#[test]
fn a_scheduled_branch_runs_beside_the_main_path_which_goes_on_at_once() {
    let make = || {
        world(
            begin()
                .after("later", |_| HOUR, |b| b.step("s1", mark("s1")).step("s2", mark("s2")))
                .step("a", mark("a"))
                .delay("pause", |_| HOUR / 2)
                .step("b", mark("b")),
        )
    };
    let whole = everywhere(make);
    assert_eq!(line(&whole), "a b s1 s2");
    assert_eq!((whole.ending, whole.now), (Some(Ending::Completed), make().now + HOUR));
    assert_eq!(whole.pointer("later").status, PointerStatus::Complete);
}

#[test]
fn whatever_is_around_a_side_branch_ends_with_it() {
    let whole = everywhere(|| {
        world(
            begin()
                .for_each(
                    "all",
                    |_| vec![1, 2],
                    |b| {
                        b.step("a", mark("a"))
                            .after("later", |_, _| HOUR, |b| b.step("s", mark("s")))
                            .step("b", mark("b"))
                    },
                )
                .step("after", mark("after")),
        )
    });
    assert_eq!(line(&whole), "a b s a b s after");
    let last: Vec<_> = whole
        .history
        .iter()
        .filter(|row| row.pointer.has(crate::models::attributes::LAST))
        .filter(|row| row.pointer.scope == ["all"])
        .map(|row| row.pointer.id.as_str())
        .collect();
    assert_eq!(last, ["all/0/b", "all/1/b"], "an iteration's outcome is that of its main path");
}

#[test]
fn a_side_branch_as_the_only_step_and_without_a_pause_runs_too() {
    let whole = everywhere(|| world(begin().after("now", |_| Duration::ZERO, |b| b.step("s", mark("s")))));
    assert_eq!((line(&whole).as_str(), whole.ending), ("s", Some(Ending::Completed)));
}

#[test]
fn a_schedule_that_cannot_be_computed_fails_like_any_step_and_goes_on_once() {
    let whole = everywhere(|| {
        world(
            begin()
                .after("later", |_| panic!("no"), |b| b.step("s", mark("s")))
                .on_failure(OnFailure::Continue)
                .step("a", mark("a")),
        )
    });
    assert_eq!((line(&whole).as_str(), whole.ending), ("a", Some(Ending::Completed)));
}

fn ticking(every: Every, until: usize) -> Builder<Block> {
    begin().recur("tick", every, move |line| line.len() >= until, |b| b.step("t", mark("t")))
}

#[test]
fn a_recurring_branch_runs_at_its_interval_until_its_condition_holds() {
    let make = || world(ticking(Every::interval(HOUR), 4).step("a", mark("a")));
    let whole = everywhere(make);
    assert_eq!(line(&whole), "a t t t");
    assert_eq!(whole.now, make().now + 3 * HOUR, "the condition is asked when the data has changed");
    assert_eq!(whole.history_ids(), ["tick/0/t", "tick/1/t", "tick/2/t"]);
    assert_eq!(whole.instance.execution_pointers.len(), 2);
}

#[test]
fn a_recurring_branch_follows_a_cron_expression() {
    let make = || world(ticking(Every::cron("0 9 * * *").in_zone("Europe/Berlin"), 2));
    let whole = everywhere(make);
    assert_eq!(line(&whole), "t t");
    // The world begins on 2033-05-18 at 03:33:20 UTC.
    assert_eq!(whole.now, "2033-05-19T07:00:00Z".parse::<DateTime<Utc>>().unwrap());
}

#[test]
fn a_condition_that_holds_from_the_beginning_leaves_nothing_to_recur() {
    let make = || world(ticking(Every::interval(HOUR), 0).step("a", mark("a")));
    let whole = everywhere(make);
    assert_eq!((line(&whole).as_str(), whole.now, whole.ending), ("a", make().now, Some(Ending::Completed)));
}

#[test]
fn the_next_tick_comes_although_earlier_ones_still_live() {
    let whole = everywhere(|| {
        world(begin().recur(
            "tick",
            Every::interval(HOUR),
            |line| line.len() >= 3,
            |b| b.step("begin", mark("begin")).delay("long", |_| 5 * HOUR / 2).step("end", mark("end")),
        ))
    });
    assert_eq!(line(&whole), "begin begin begin end end end");
    assert_eq!(whole.ending, Some(Ending::Completed));
}

#[test]
fn after_a_time_without_a_host_one_tick_catches_up_and_the_grid_stays() {
    let mut world = world(ticking(Every::interval(HOUR), 3));
    let start = world.now;
    world.open();
    world.crash();
    world.now = start + 7 * HOUR + HOUR / 2;
    world.open();
    assert_eq!(world.waiting(), ["tick/0/t"], "one for seven");
    assert_eq!(world.pointer("tick").sleep_until, Some(start + 8 * HOUR));
    world.play();
    assert_eq!(world.now, start + 9 * HOUR);
}

#[test]
fn a_recurring_condition_or_a_rhythm_that_makes_no_sense_is_found() {
    let problem = |builder: Builder<Block>| match builder.build() {
        Err(WfeError::InvalidDefinition { problem, .. }) => problem,
        other => panic!("built: {other:?}"),
    };
    assert!(
        problem(ticking(Every::interval(Duration::ZERO), 1)).starts_with("step \"tick\": its interval is 0")
    );
    assert!(problem(ticking(Every::cron("x"), 1)).contains("\"x\" is invalid"));
    for never in [Every::cron("0 0 30 2 *"), Every::interval(Duration::MAX)] {
        assert!(problem(ticking(never, 1)).contains("never comes"));
    }
    ticking(Every::cron("0 0 29 2 *"), 1).build().expect("now and then");
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let panics = move |_: &Line| {
        assert!(asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) != 1, "the second time");
        false
    };
    let mut world = world(
        begin()
            .recur("tick", Every::interval(HOUR), panics, |b| b.step("t", mark("t")))
            .retry(Retry::exponential().attempts(2).initial(Duration::from_mins(1)).jitter(0.0))
            .wait_for("stop", Event::<()>::new("stop"), |_| "k")
            .end("end"),
    );
    world.plan(HOUR * 5 / 2, "stop", "k", ());
    world.play();
    assert_eq!(world.failures.len(), 1);
    assert_eq!(line(&world), "t t", "the tick at which it panicked is made up for, and the grid stays");
}

#[test]
fn a_suspended_instance_wakes_for_nothing_and_is_late_once() {
    let mut world = world(ticking(Every::interval(HOUR), 2));
    let start = world.now;
    world.open();
    world.ask(Control::Suspend);
    assert_eq!(world.instance.next_execution, None);
    world.now = start + 5 * HOUR;
    world.ask(Control::Resume);
    world.play();
    assert_eq!(world.now, start + 6 * HOUR);
    assert_eq!(line(&world), "t t");
}

#[test]
fn a_cancel_condition_takes_a_step_away_and_goes_on_behind_it() {
    let make = || {
        world(begin().parallel("all", |all| {
            all.branch(|b| {
                b.delay("long", |_| 9 * HOUR).cancel_when(|line| line.len() >= 2).step("c", mark("c"))
            })
            .branch(|b| {
                b.while_("w", |_| true, |b| b.delay("pause", |_| 5 * HOUR).step("x", mark("x")))
                    .cancel_when(|line| line.len() >= 2)
                    .step("d", mark("d"))
            })
            .branch(|b| b.step("a", mark("a")).delay("short", |_| HOUR).step("b", mark("b")))
        }))
    };
    let whole = everywhere(make);
    assert_eq!((line(&whole).as_str(), whole.now), ("a b c d", make().now + HOUR));
    let status = |id: &str| whole.history.iter().find(|row| row.pointer.id == id).unwrap().pointer.status;
    assert_eq!(status("all/0/long"), PointerStatus::Cancelled);
    assert_eq!(status("all/1/w/0/pause"), PointerStatus::Cancelled);
}

#[test]
fn a_cancel_condition_stops_a_running_body_and_one_that_holds_before_the_step_skips_it() {
    let whole = everywhere(|| {
        world(
            begin()
                .step("a", mark("a"))
                .step("b", mark("b"))
                .cancel_when(|line| line.len() == 1)
                .step("c", mark("c")),
        )
    });
    assert_eq!(line(&whole), "a c");
    let mut world = world(begin().parallel("all", |all| {
        all.branch(|b| b.step("slow", mark("slow")).cancel_when(|line| !line.is_empty()))
            .branch(|b| b.step("quick", mark("quick")))
    }));
    world.open();
    let slow = world.jobs.remove(0);
    let quick = world.jobs.remove(0);
    world.finish(vec![quick]);
    assert!(slow.token().is_cancelled());
    assert_eq!((line(&world).as_str(), world.ending), ("quick", Some(Ending::Completed)));
}

#[test]
fn a_cancel_condition_that_panics_is_a_failure_of_its_step() {
    let mut world = world(
        begin()
            .parallel("all", |all| {
                all.branch(|b| {
                    b.delay("long", |_| HOUR)
                        .cancel_when(|line| {
                            assert!(line.is_empty(), "no line is expected");
                            false
                        })
                        .on_failure(OnFailure::Continue)
                })
                .branch(|b| b.step("a", mark("a")))
            })
            .then("after", async |_, _| Ok(())),
    );
    world.play();
    assert_eq!(world.ending, Some(Ending::Completed));
    assert_eq!((world.failures[0].code.as_str(), world.failures[0].step.as_str()), ("panic", "long"));
}

#[test]
fn a_container_that_fails_takes_what_is_inside_it_away() {
    let whole = everywhere(|| {
        world(
            begin()
                .parallel("all", |all| {
                    all.branch(|b| b.delay("long", |_| 9 * HOUR).step("late", mark("late")))
                        .branch(|b| b.step("a", mark("a")))
                })
                .cancel_when(|line| {
                    assert!(line.is_empty(), "no line is expected");
                    false
                })
                .retry(Retry::exponential().attempts(2).initial(HOUR).max(HOUR))
                .on_failure(OnFailure::Continue)
                .then("after", async |_, _| Ok(())),
        )
    });
    assert_eq!((line(&whole).as_str(), whole.ending), ("a", Some(Ending::Completed)));
    assert_eq!(whole.failures.len(), 2, "the second time it fails before anything begins");
    assert!(whole.history.iter().any(|row| row.pointer.id == "all/0/long"));
}
