use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{
    scenario::{Builder, Line, begin, built, everywhere, line, mark, world},
    world::{World, advanced},
};
use crate::{
    WfeError,
    definition::{self, Activity, After, Awaits, OfEvent, OnFailure, Retry, WorkflowBuilder},
    executor::Run,
    models::{Event, PointerStatus, WorkflowStatus},
    steps::StepError,
    traits::{Control, Ending},
};

const HOUR: Duration = Duration::from_hours(1);

const SAID: definition::Event<String> = definition::Event::new("said");

/// A wait that writes the word that was said. As a step, it gets another id.
fn said() -> Builder<Awaits<String, OfEvent>> {
    begin().wait_for("w", SAID, |_| "k").output(|word, line| line.push(word))
}

#[test]
fn a_wait_takes_an_event_that_comes_and_one_that_was_there() {
    for early in [false, true] {
        let make = move || {
            let mut world =
                world(begin().delay("d", |_| HOUR).step("w", said()).step("after", mark("after")));
            world.plan(if early { HOUR / 2 } else { 2 * HOUR }, "said", "k", "hello");
            world
        };
        let whole = everywhere(make);
        assert_eq!(line(&whole), "hello after");
        assert_eq!(whole.now, make().now + if early { HOUR } else { 2 * HOUR });
        let pointer = whole.pointer("w");
        assert_eq!((pointer.event_name.as_deref(), pointer.event_key.as_deref()), (Some("said"), Some("k")));
        assert_eq!((pointer.event_published, &pointer.event_data), (true, &Some(json!("hello"))));
        assert!(whole.waits.is_empty());
    }
}

#[test]
fn an_event_is_consumed_in_the_commit_that_stores_its_effect() {
    let mut world = world(said().step("after", mark("after")));
    world.plan(HOUR, "said", "k", "hello");
    world.play();
    let taking: Vec<_> = world.commits.iter().filter(|c| !c.consumed.is_empty()).collect();
    assert_eq!(taking.len(), 1);
    assert_eq!(taking[0].data, Some(json!(["hello"])));
    assert!(taking[0].upserted.iter().any(|p| p.id == "after"));
}

#[test]
fn a_waiting_instance_has_no_owner_and_wakes_for_nothing() {
    let mut world = world(said());
    world.open();
    assert!(world.run.is_none());
    assert_eq!(world.instance.next_execution, None);
    assert_eq!(world.pointer("w").status, PointerStatus::WaitingForEvent);
    assert_eq!(world.commits.len(), 1);
    let wait = &world.waits[0];
    assert_eq!((wait.id.as_str(), wait.subscribe_as_of), ("it//w//1", world.instance.create_time));
}

#[test]
fn a_loop_of_waits_takes_one_event_after_the_other_in_order() {
    let whole = everywhere(|| {
        let mut world = world(begin().while_("loop", |line| line.len() < 3, |b| b.step("w", said())));
        for (at, word) in [(1, "one"), (1, "two"), (5, "three"), (6, "four")] {
            world.plan(at * HOUR, "said", "k", word);
        }
        world
    });
    assert_eq!(line(&whole), "one two three");
    let ids: Vec<_> = whole.commits.iter().flat_map(|c| &c.subscribed).map(|w| w.id.as_str()).collect();
    assert_eq!(ids, ["it//loop/0/w//1", "it//loop/1/w//1", "it//loop/2/w//1"]);
}

#[test]
fn waits_that_are_open_together_share_an_event_and_keys_come_from_data_and_item() {
    let whole = everywhere(|| {
        let mut world = world(
            begin()
                .parallel("both", |all| all.branch(|b| b.step("w1", said())).branch(|b| b.step("w2", said())))
                .for_each(
                    "each",
                    |_| vec!["x".to_owned(), "y".to_owned()],
                    |b| {
                        b.wait_for("w3", definition::Event::<String>::new("item"), |line, item| {
                            format!("{}-{item}", line[0])
                        })
                        .output(|word, line, _| line.push(word))
                    },
                )
                .concurrent(2),
        );
        world.plan(HOUR, "said", "k", "shared");
        world.plan(2 * HOUR, "item", "shared-y", "for-y");
        world.plan(3 * HOUR, "item", "shared-x", "for-x");
        world
    });
    assert_eq!(line(&whole), "shared shared for-y for-x");
}

#[test]
fn an_event_before_the_instance_counts_only_with_an_effective_date() {
    let run = |wait| {
        let mut world = world(wait);
        let before = world.now - HOUR;
        world.publish(Event { event_time: before, ..Event::new("said", "k", json!("old")) });
        world.plan(HOUR, "said", "k", "new");
        world.play();
        line(&world)
    };
    assert_eq!(run(said()), "new");
    assert_eq!(run(said().effective(|_| DateTime::<Utc>::UNIX_EPOCH)), "old");
}

#[test]
fn only_a_date_given_by_hand_that_is_that_of_the_start_has_to_be_told_from_it() {
    let told = |wait| {
        let mut world = world(wait);
        let start = world.now;
        world.plan(HOUR, "said", "k", "hello");
        world.play();
        let subscribed = world.commits.iter().find(|commit| !commit.subscribed.is_empty()).unwrap();
        assert_eq!(line(&world), "hello");
        (subscribed.subscribed[0].subscribe_as_of == start, subscribed.dated.clone())
    };
    let start = world(said()).now;
    assert_eq!(told(said()), (true, vec![]));
    assert_eq!(told(said().effective(move |_| start)), (true, vec!["it//w//1".to_owned()]));
    assert_eq!(told(said().effective(move |_| start - HOUR)), (false, vec![]));
}

#[test]
fn a_wait_that_takes_too_long_runs_its_branch_and_takes_nothing_any_more() {
    let make = || {
        let wait = said().on_timeout(|_| HOUR, |late| late.step("late", mark("late")).delay("d", |_| HOUR));
        let mut world = world(wait.step("after", mark("after")));
        world.plan(HOUR + HOUR / 2, "said", "k", "hello");
        world
    };
    let whole = everywhere(make);
    assert_eq!(line(&whole), "late after");
    assert_eq!(whole.pointer("w").status, PointerStatus::Complete);
    let closed: Vec<_> = whole.commits.iter().flat_map(|c| &c.unsubscribed).collect();
    assert_eq!(closed, ["it//w//1"]);
}

#[test]
fn an_event_in_time_ends_the_limit() {
    let make = || {
        let wait = said().on_timeout(|_| 2 * HOUR, |late| late.step("late", mark("late")));
        let mut world = world(wait.delay("d", |_| 9 * HOUR).step("after", mark("after")));
        world.plan(HOUR, "said", "k", "hello");
        world
    };
    assert_eq!(line(&everywhere(make)), "hello after");
}

#[test]
fn a_busy_instance_forgets_the_limit_of_a_wait_that_has_ended() {
    let mut world = world(begin().parallel("both", |all| {
        all.branch(|b| b.step("slow", mark("slow"))).branch(|b| {
            b.step("w", said())
                .on_timeout(|_| HOUR, |late| late.step("late", mark("late")))
                .step("after", mark("after"))
        })
    }));
    world.open();
    let now = world.now;
    world.publish(Event { event_time: now, ..Event::new("said", "k", json!("hello")) });
    assert_eq!(world.run.as_ref().and_then(Run::next_wake), None);
    world.now += 2 * HOUR;
    world.settle();
    world.play();
    assert_eq!(line(&world), "hello slow after");
}

#[test]
fn an_event_that_is_there_when_the_limit_passes_wins() {
    let mut world = world(said().fail_after(|_| HOUR));
    world.open();
    let at = world.now + HOUR / 2;
    world
        .stream
        .borrow_mut()
        .publish(Event { event_time: at, ..Event::new("said", "k", json!("hello")) }, at);
    world.now += 2 * HOUR; // no host ran in between
    world.play();
    assert_eq!((line(&world).as_str(), world.failures.len()), ("hello", 0));
}

#[test]
fn an_event_that_came_in_time_beats_a_limit_that_passed_while_the_instance_stood_still() {
    for busy in [false, true] {
        let mut world = world(begin().parallel("both", |all| {
            let all = all.branch(|b| b.step("w", said()).fail_after(|_| 2 * HOUR));
            if busy { all.branch(|b| b.step("slow", mark("slow"))) } else { all }
        }));
        world.open();
        world.ask(Control::Suspend);
        world.plan(HOUR, "said", "k", "hello");
        world.plan_ask(3 * HOUR, Control::Resume);
        let slow = std::mem::take(&mut world.jobs);
        world.play();
        world.jobs = slow;
        world.play();
        assert_eq!(world.failures, [], "busy: {busy}");
        assert_eq!(line(&world), if busy { "hello slow" } else { "hello" });
    }
}

#[test]
fn an_event_that_was_stored_but_not_told_of_yet_beats_the_limit_of_a_busy_instance() {
    let mut world = world(begin().parallel("both", |all| {
        all.branch(|b| b.step("slow", mark("slow")))
            .branch(|b| b.step("w", said()).fail_after(|_| HOUR).step("after", mark("after")))
    }));
    world.open();
    world.now += HOUR;
    let event = Event { event_time: world.now, ..Event::new("said", "k", json!("hello")) };
    world.stream.borrow_mut().publish(event, world.now);
    world.settle();
    assert_eq!((line(&world).as_str(), world.failures.len()), ("hello", 0));
    assert_eq!(world.waiting(), ["both/0/slow", "both/1/after"]);
}

#[test]
fn an_event_dated_after_the_limit_is_too_late_whenever_the_limit_takes_effect() {
    // A host is there at the limit; none is, till after the event; the instance is suspended till after the event.
    for (down, suspended) in [(false, false), (true, false), (false, true)] {
        let wait = said().on_timeout(|_| HOUR, |late| late.step("late", mark("late")));
        let mut world = world(wait.step("after", mark("after")).step("w2", said()));
        world.open();
        if suspended {
            world.ask(Control::Suspend);
            world.plan_ask(3 * HOUR, Control::Resume);
        }
        if down {
            let at = world.now + 2 * HOUR;
            let event = Event { event_time: at, ..Event::new("said", "k", json!("hello")) };
            world.stream.borrow_mut().publish(event, at);
            world.now += 3 * HOUR;
        } else {
            world.plan(2 * HOUR, "said", "k", "hello");
        }
        world.play();
        assert_eq!(line(&world), "late after hello", "down: {down}, suspended: {suspended}");
    }
}

#[test]
fn a_limit_that_is_gone_from_the_definition_keeps_no_event_out() {
    let mut world = world(said().fail_after(|_| HOUR));
    world.open();
    world.definition = built(said());
    let at = world.now + 2 * HOUR;
    world
        .stream
        .borrow_mut()
        .publish(Event { event_time: at, ..Event::new("said", "k", json!("hello")) }, at);
    world.now += 3 * HOUR;
    world.play();
    assert_eq!((line(&world).as_str(), world.failures.len()), ("hello", 0));
}

#[test]
fn a_wait_without_a_branch_for_it_fails_by_its_limit_and_is_tried_again() {
    let make = || {
        let mut world = world(
            said()
                .fail_after(|_| HOUR)
                .retry(Retry::exponential().attempts(3).initial(HOUR).max(HOUR).jitter(0.0)),
        );
        world.plan(2 * HOUR + HOUR / 2, "said", "k", "hello");
        world
    };
    let whole = everywhere(make);
    assert_eq!(line(&whole), "hello");
    assert_eq!((whole.failures.len(), whole.failures[0].code.as_str()), (1, StepError::TIMEOUT));
    let ids: Vec<_> = whole.commits.iter().flat_map(|c| &c.subscribed).map(|w| w.id.as_str()).collect();
    assert_eq!(ids, ["it//w//1", "it//w//2"]);
}

#[test]
fn a_key_or_limit_that_panics_and_data_of_another_type_are_failures_of_the_step() {
    fn code<L: After>(wait: Builder<L>) -> String {
        let mut world = world(wait.on_failure(OnFailure::Continue).step("after", mark("after")));
        world.plan(HOUR, "said", "k", 7);
        world.play();
        assert_eq!(line(&world), "after");
        assert!(world.waits.is_empty(), "no wait is left behind");
        world.failures[0].code.clone()
    }
    assert_eq!(code(begin().wait_for("w", SAID, |_| -> String { panic!("no key") })), StepError::PANIC);
    assert_eq!(code(said().fail_after(|_| panic!("no limit"))), StepError::PANIC);
    assert_eq!(code(said()), StepError::UNREADABLE);
    let any = definition::Event::<Value>::new("said");
    assert_eq!(
        code(begin().wait_for("w", any, |_| "k").output(|_, _| panic!("no output"))),
        StepError::PANIC
    );
}

#[test]
fn a_suspended_instance_takes_its_events_when_it_is_resumed() {
    let mut world = world(said().step("after", mark("after")));
    world.open();
    world.ask(Control::Suspend);
    let now = world.now;
    world.publish(Event { event_time: now, ..Event::new("said", "k", json!("hello")) });
    world.play();
    assert_eq!(line(&world), "");
    world.ask(Control::Resume);
    world.play();
    assert_eq!(line(&world), "hello after");
}

#[test]
fn an_instance_that_is_busy_elsewhere_takes_an_event_at_once() {
    let mut world = world(begin().parallel("both", |all| {
        all.branch(|b| b.step("slow", mark("slow")))
            .branch(|b| b.step("w", said()).step("after", mark("after")))
    }));
    world.open();
    assert_eq!(world.waiting(), ["both/0/slow"]);
    let now = world.now;
    world.publish(Event { event_time: now, ..Event::new("said", "k", json!("hello")) });
    assert_eq!(world.waiting(), ["both/0/slow", "both/1/after"]);
    assert_eq!(line(&world), "hello");
}

/// An instance with two branches. The first branch stays busy until the test ends its body. The second branch waits for
/// an event after its first step.
fn busy() -> World {
    let mut world = world(begin().parallel("both", |all| {
        all.branch(|b| b.step("slow", mark("slow")))
            .branch(|b| b.step("quick", mark("quick")).step("w", said()).step("after", mark("after")))
    }));
    let now = world.now;
    world.publish(Event { event_time: now, ..Event::new("said", "k", json!("hello")) });
    world.open();
    world
}

#[test]
fn an_event_that_is_there_before_its_wait_reaches_a_busy_instance_at_once() {
    let mut world = busy();
    let quick = world.jobs.remove(1);
    world.finish(vec![quick]);
    assert_eq!(line(&world), "quick hello");
    assert_eq!(world.waiting(), ["both/0/slow", "both/1/after"]);
}

#[test]
fn after_an_event_was_taken_other_waits_in_its_stream_get_the_next_one_at_once() {
    let mut world = super::scenario::world(begin().parallel("all", |all| {
        all.branch(|b| b.step("slow", mark("slow")))
            .branch(|b| b.step("w1", said()))
            // Until the instance has consumed one, it is for none of these.
            .branch(|b| {
                b.step("w2", said()).effective(|_| DateTime::from_timestamp(3_000_000_000, 0).unwrap())
            })
    }));
    world.open();
    let now = world.now;
    for word in ["one", "two"] {
        let event = Event { event_time: now, ..Event::new("said", "k", json!(word)) };
        world.stream.borrow_mut().publish(event, now);
    }
    world.hear();
    assert_eq!((line(&world).as_str(), world.waiting()), ("one two", vec!["all/0/slow"]));
}

#[test]
fn an_event_that_came_while_a_busy_instance_stood_still_reaches_it_when_it_is_resumed() {
    let mut world = busy();
    let quick = world.jobs.remove(1);
    world.ask(Control::Suspend);
    world.finish(vec![quick]);
    world.ask(Control::Resume);
    assert_eq!(line(&world), "quick hello", "the wait is opened and served");
    let jobs = world.jobs.drain(..).collect();
    world.finish(jobs);
    assert_eq!(line(&world), "quick hello slow after");

    let mut open = super::scenario::world(begin().parallel("both", |all| {
        all.branch(|b| b.step("slow", mark("slow"))).branch(|b| b.step("w", said()))
    }));
    open.open();
    open.ask(Control::Suspend);
    let now = open.now;
    open.publish(Event { event_time: now, ..Event::new("said", "k", json!("hello")) });
    assert_eq!(line(&open), "");
    open.ask(Control::Resume);
    assert_eq!((line(&open).as_str(), open.waiting()), ("hello", vec!["both/0/slow"]));
}

#[test]
fn an_end_a_cancel_and_a_cancel_condition_close_open_waits() {
    for control in [Control::Cancel, Control::Terminate] {
        let mut world = world(said());
        world.open();
        world.ask(control);
        assert!(world.waits.is_empty());
    }
    let whole = everywhere(|| {
        world(begin().parallel("all", |all| {
            all.branch(|b| b.step("w", said()).cancel_when(|line| !line.is_empty()).step("c", mark("c")))
                .branch(|b| b.step("a", mark("a")))
        }))
    });
    assert_eq!(line(&whole), "a c");
    assert!(whole.waits.is_empty());
}

#[test]
fn a_wait_that_was_closed_by_hand_is_opened_again() {
    let mut world = world(said());
    world.open();
    world.waits.clear();
    world.instance.next_execution = Some(0);
    world.plan(HOUR, "said", "k", "hello");
    world.play();
    assert_eq!(line(&world), "hello");
}

#[test]
fn what_was_delivered_twice_or_too_late_is_passed_over() {
    let mut world = world(begin().parallel("both", |all| {
        all.branch(|b| b.step("slow", mark("slow"))).branch(|b| b.step("w", said()))
    }));
    world.open();
    let event = Event { event_time: world.now, ..Event::new("said", "k", json!("hello")) };
    world.stream.borrow_mut().publish(event, world.now);
    let deliveries = world.loaded().deliveries;
    assert!(world.with_run(|run, env| run.deliver(deliveries.clone(), env).unwrap()));
    assert!(!world.with_run(|run, env| run.deliver(deliveries, env).unwrap()));
    world.settle();
    world.play();
    assert_eq!(line(&world), "hello slow");
}

#[test]
fn a_commit_with_waits_of_unknown_outcome_is_told_from_one_that_is_not_stored() {
    let mut world = world(said());
    let before = world.loaded();
    let definition = world.definition.clone();
    let mut run = world.with_env(|env| Run::open(&definition, before.clone(), env).unwrap());
    let commit = world.with_env(|env| advanced(&mut run, env).unwrap().unwrap());
    assert_eq!(commit.subscribed.len(), 1);
    assert!(!run.is_stored(&before));
    world.open();
    assert!(run.is_stored(&world.loaded()));
    let mut half = world.loaded();
    half.waits.clear();
    assert!(!run.is_stored(&half));

    // The same for a commit that takes an event, and one that closes a wait.
    for closes in [false, true] {
        let mut world = super::scenario::world(said());
        world.open();
        let now = world.now;
        if !closes {
            let event = Event { event_time: now, ..Event::new("said", "k", json!("x")) };
            world.stream.borrow_mut().publish(event, now);
        }
        let before = world.loaded();
        let mut run = world.with_env(|env| Run::open(&definition, before.clone(), env).unwrap());
        if closes {
            let request =
                crate::traits::ControlRequest { number: 1, control: Control::Terminate, intervention: None };
            world.with_env(|env| run.control(request, env).unwrap());
        }
        let commit = world.with_env(|env| advanced(&mut run, env).unwrap().unwrap());
        assert_eq!(
            (commit.consumed.len(), commit.unsubscribed.len()),
            (1 - usize::from(closes), usize::from(closes))
        );
        if closes {
            world.ask(Control::Terminate);
        } else {
            world.open();
        }
        let stored = world.loaded();
        assert!(run.is_stored(&stored));
        assert!(
            !run.is_stored(&crate::traits::Loaded { waits: before.waits, ..stored }),
            "the wait is still open"
        );
    }
}

#[test]
fn names_of_the_engine_are_refused() {
    let builder = begin().wait_for("w", definition::Event::<()>::new("wfe.child-ended"), |_| "k");
    assert!(
        matches!(builder.build(), Err(WfeError::InvalidDefinition { problem, .. }) if problem.contains("wfe."))
    );
    let work =
        |id| WorkflowBuilder::<Line>::new(id, 1).activity("w", Activity::<_, ()>::new("wfe.work"), |_| 1);
    let refused = work("w").build();
    assert!(
        matches!(&refused, Err(WfeError::InvalidDefinition { problem, .. }) if problem.contains("wfe.work")),
        "{refused:?}"
    );
    assert!(work("wfe.own").build().is_err());
    work("wfe.own").build_own().expect("a definition of the engine's own, which no program can register");
}

#[test]
fn a_run_that_is_void_leaves_its_bodies_to_the_next_one() {
    let mut world = world(begin().parallel("both", |both| {
        both.branch(|b| b.step("slow", mark("slow")))
            .branch(|b| b.step("w", said()).step("after", mark("after")))
    }));
    world.open();
    let slow: Vec<_> = world.jobs.drain(..).collect();
    world.waits.clear(); // somebody has closed it by hand
    world.open_again();
    assert!(world.jobs.is_empty(), "the body that is at work is not begun again");
    assert!(!slow[0].token().is_cancelled());
    assert_eq!(world.waits[0].id, "it//both/1/w//2", "the wait is opened again");
    world.publish(Event { event_time: world.now, ..Event::new("said", "k", json!("hello")) });
    assert_ne!(world.jobs[0].number(), slow[0].number());
    world.finish(slow);
    world.play();
    assert_eq!((world.ending, &*line(&world)), (Some(Ending::Completed), "hello slow after"));
}

#[test]
fn a_body_that_a_void_run_leaves_is_still_cancelled_by_its_condition() {
    let is_said = |line: &Line| line.iter().any(|word| word == "hello");
    let mut world = world(begin().parallel("both", |both| {
        both.branch(|b| b.step("slow", mark("slow")).cancel_when(is_said)).branch(|b| b.step("w", said()))
    }));
    world.open();
    let slow: Vec<_> = world.jobs.drain(..).collect();
    world.waits.clear(); // somebody has closed it by hand
    world.open_again();
    world.publish(Event { event_time: world.now, ..Event::new("said", "k", json!("hello")) });
    assert!(slow[0].token().is_cancelled());
    assert_eq!((world.ending, &*line(&world)), (Some(Ending::Completed), "hello"));
}

#[test]
fn bodies_that_a_void_run_leaves_are_told_if_the_instance_has_no_place_for_them() {
    let mut world = world(begin().step("slow", mark("slow")));
    world.open();
    let slow: Vec<_> = world.jobs.drain(..).collect();
    let mut at_work = world.with_run(|run, _| run.leave_bodies());
    assert!(!at_work.is_empty());
    at_work = at_work.numbered_after(7);
    world.instance.status = WorkflowStatus::Terminated; // somebody has ended it by hand
    let (loaded, definition) = (world.loaded(), world.definition.clone());
    let mut run = world.with_env(|env| Run::open_again(&definition, loaded, at_work, env)).unwrap();
    let effects = world.with_env(|env| run.committed(env)).unwrap();
    effects.cancelled.iter().for_each(tokio_util::sync::CancellationToken::cancel);
    assert!(slow[0].token().is_cancelled());
}
