//! Activities that a worker must claim in time.

use std::time::Duration;

use serde_json::json;

use super::{
    scenario::{Builder, begin, built, everywhere, line, mark, world},
    world::World,
};
use crate::{
    definition::{Activity, Awaits, OfActivity, OnFailure, Retry},
    models::{PointerStatus, attributes},
    steps::StepError,
    traits::{Control, Ending},
};

const HOUR: Duration = Duration::from_hours(1);
const WAIT: &str = "it//act//1";

fn act() -> Builder<Awaits<String, OfActivity>> {
    begin()
        .activity("act", Activity::new("work"), Vec::len)
        .output(|word, line| line.push(word))
        .claim_within(|_| HOUR)
}

fn answers(world: &mut World, after: Duration, wait: &str) {
    world.plan(after, "wfe.activity:work", wait, json!({"Success": "done"}));
}

/// The world of this definition, with a claim and an answer, each at its time.
fn playing<L>(
    make: fn() -> Builder<L>,
    claim: Option<Duration>,
    answer: Option<Duration>,
) -> impl Fn() -> World {
    move || {
        let mut world = world(make());
        if let Some(claim) = claim {
            world.plan_claim(claim, WAIT);
        }
        if let Some(answer) = answer {
            answers(&mut world, answer, WAIT);
        }
        world
    }
}

#[test]
fn an_activity_that_nobody_claims_in_time_fails_and_a_retry_offers_it_with_a_new_limit() {
    let failed = everywhere(playing(act, None, None));
    assert_eq!(failed.ending, Some(Ending::Failed));
    let failure = &failed.failures[0];
    assert_eq!(
        (&*failure.code, &*failure.causes[0]),
        (StepError::TIMEOUT, "no worker claimed the activity within its limit")
    );
    assert_eq!(failed.commits.iter().flat_map(|it| &it.unanswerable_unless_claimed).count(), 1);
    let retried = || {
        let mut world = world(act().retry(Retry::exponential().attempts(2).initial(HOUR)));
        world.plan_claim(HOUR + HOUR / 2, "it//act//2");
        answers(&mut world, 9 * HOUR, "it//act//2");
        world
    };
    let retried = everywhere(retried);
    assert_eq!((line(&retried).as_str(), retried.failures.len()), ("done", 1));
}

#[test]
fn an_activity_that_nobody_claims_in_time_takes_its_timeout_branch() {
    let make = || {
        act().on_timeout(|_| 9 * HOUR, |late| late.step("late", mark("late"))).step("after", mark("after"))
    };
    let unclaimed = everywhere(playing(make, None, None));
    assert_eq!((line(&unclaimed).as_str(), unclaimed.now), ("late after", started(&unclaimed) + HOUR));
    let late = everywhere(playing(make, Some(HOUR + HOUR / 2), None));
    assert_eq!(line(&late), "late after", "the claim was refused");
    let answered = everywhere(playing(make, None, Some(HOUR / 2)));
    assert_eq!(line(&answered), "done after", "an answer without a claim, as an operator gives one");
}

fn started(world: &World) -> chrono::DateTime<chrono::Utc> {
    world.instance.create_time
}

#[test]
fn the_first_claim_ends_the_claim_limit_and_the_other_limit_counts_from_the_start() {
    let unlimited = everywhere(playing(act, Some(HOUR / 2), Some(99 * HOUR)));
    assert_eq!(line(&unlimited), "done");
    let make = || {
        act().on_timeout(|_| 3 * HOUR, |late| late.step("late", mark("late"))).step("after", mark("after"))
    };
    let in_time = everywhere(playing(make, Some(HOUR / 2), Some(2 * HOUR)));
    assert_eq!(line(&in_time), "done after");
    let too_late = everywhere(playing(make, Some(HOUR / 2), Some(4 * HOUR)));
    assert_eq!(line(&too_late), "late after");
    let limits: Vec<_> = too_late.commits.iter().map(|it| it.unanswerable.len()).collect();
    assert_eq!(
        limits.iter().sum::<usize>(),
        1,
        "the other limit closes the wait whether it is claimed or not"
    );
}

#[test]
fn a_claim_limit_after_the_other_limit_has_no_effect() {
    let make = || act().fail_after(|_| HOUR / 2).on_failure(OnFailure::Continue).step("after", mark("after"));
    let whole = everywhere(playing(make, None, None));
    assert_eq!(line(&whole), "after");
    assert_eq!(whole.commits.iter().flat_map(|it| &it.unanswerable_unless_claimed).count(), 0);
}

#[test]
fn a_claim_counts_if_it_is_stored_before_the_limit_takes_effect() {
    for (claim, expected) in [(2 * HOUR, "done"), (4 * HOUR, "late")] {
        let make = move || {
            let mut world = world(act().on_timeout(|_| 9 * HOUR, |late| late.step("late", mark("late"))));
            world.plan_ask(HOUR / 2, Control::Suspend);
            world.plan_ask(3 * HOUR, Control::Resume);
            world.plan_claim(claim, WAIT);
            answers(&mut world, 5 * HOUR, WAIT);
            world
        };
        assert_eq!(line(&everywhere(make)), expected, "claimed after {claim:?}");
    }
}

#[test]
fn a_claim_between_the_limit_and_the_commit_that_closes_the_wait_counts() {
    let mut world = playing(act, None, Some(9 * HOUR))();
    world.open();
    world.pass(HOUR);
    // The host has claimed the instance, and a worker claims the activity before the host stores anything.
    world.claim(WAIT);
    world.play();
    assert_eq!((line(&world).as_str(), world.failures.len()), ("done", 0));
    assert_eq!(world.commits.iter().flat_map(|it| &it.unanswerable_unless_claimed).count(), 1);
    let pointer = world.pointer("act");
    assert!(!pointer.has(attributes::CLAIM_BY) && !pointer.has(attributes::LIMIT));
}

#[test]
fn a_definition_that_has_lost_the_claim_limit_waits_on_with_its_own_limit() {
    let mut world = playing(act, None, None)();
    world.open();
    assert_eq!(world.pointer("act").status, PointerStatus::WaitingForEvent);
    world.crash();
    let without = begin()
        .activity("act", Activity::new("work"), Vec::len)
        .output(|word: String, line| line.push(word))
        .on_timeout(|_| 5 * HOUR, |late| late.step("late", mark("late")));
    world.definition = built(without);
    world.play();
    assert_eq!((line(&world).as_str(), world.now), ("late", started(&world) + 6 * HOUR));
}
