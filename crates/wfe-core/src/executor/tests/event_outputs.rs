//! Events that arrived, but whose output closure failed, so that they were not written into the data.

use super::scenario::{Body, Builder, HOUR, begin, everywhere, line, mark, world};
use crate::{
    definition::{Awaits, Event, Main, OfEvent, OnFailure, Retry},
    steps::StepError,
    traits::Control,
};

const SAID: Event<String> = Event::new("said");

/// A wait whose output closure panics as long as no word was written.
fn said() -> Builder<Awaits<String, OfEvent>> {
    begin().wait_for("w", SAID, |_| "k").output(|word, line| {
        assert!(!line.is_empty(), "too early");
        line.push(word);
    })
}

#[test]
fn an_event_whose_output_fails_is_read_again_by_the_next_attempt() {
    let make = || {
        let mut world = world(
            begin()
                .parallel("both", |both| {
                    both.branch(|b| {
                        b.step("w", said())
                            .retry(Retry::exponential().attempts(2).initial(HOUR).max(HOUR).jitter(0.0))
                    })
                    .branch(|b| b.delay("later", |_| HOUR).step("x", mark("x")))
                })
                .step("next", said()),
        );
        world.plan(HOUR / 4, "said", "k", "first");
        world.plan(HOUR / 2, "said", "k", "second");
        world
    };
    let whole = everywhere(make);
    assert_eq!(line(&whole), "x first second");
    assert_eq!((whole.failures.len(), whole.failures[0].code.as_str()), (1, StepError::PANIC));
    let consumed: Vec<_> = whole.commits.iter().flat_map(|c| &c.consumed).collect();
    assert_eq!(consumed.len(), 2, "each event reaches the instance once");
}

#[test]
fn waits_that_share_it_have_it_whatever_the_first_of_them_does_with_it() {
    for first in [0, 1, 2] {
        let whole = everywhere(|| {
            let mut world = world(begin().parallel("all", |mut all| {
                for at in 0..3 {
                    all = all.branch(|b| {
                        if at == first {
                            fails_once(b).on_failure(OnFailure::Suspend)
                        } else {
                            b.wait_for(format!("good-{at}"), SAID, |_| "k")
                                .output(|word, line| line.push(word))
                        }
                    });
                }
                all
            }));
            world.plan(HOUR, "said", "k", "it");
            world.plan(2 * HOUR, "said", "k", "another");
            world.plan_ask(3 * HOUR, Control::Resume);
            world
        });
        let taken: Vec<_> = whole.commits.iter().flat_map(|c| &c.consumed).map(|c| &c.event_id).collect();
        assert_eq!(taken.len(), 3, "{taken:?}");
        assert!(taken.iter().all(|id| *id == taken[0]), "{taken:?}");
        assert_eq!(line(&whole), "it it it", "the bad one is number {first}");
    }
}

/// A wait whose output closure panics unless exactly two words were written.
fn fails_once(b: Body) -> Body<Main, Awaits<String, OfEvent>> {
    b.wait_for("bad", SAID, |_| "k").output(|word, line| {
        assert!(line.len() == 2, "too early");
        line.push(word);
    })
}

#[test]
fn a_resume_reads_it_again_and_so_does_not_lose_it() {
    let make = || {
        let mut world = world(said().on_failure(OnFailure::Suspend));
        world.plan(HOUR, "said", "k", "first");
        world.plan(2 * HOUR, "said", "k", "second");
        world.plan_ask(3 * HOUR, Control::Resume);
        world
    };
    let mut world = make();
    world.play();
    // As if the definition had been mended.
    world.instance.data = serde_json::json!(["mended"]);
    world.ask(Control::Resume);
    world.play();
    assert_eq!(line(&world), "mended first");
    everywhere(make);
}
