//! Decisions by a text, and by what the step before gave; keys and names that depend on the instance.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    definitions::problem,
    scenario::{Builder, Line, begin, everywhere, line, mark, world},
    world::World,
};
use crate::{
    definition::{Activity, Block, Event, OnFailure, Retry, WorkflowBuilder},
    executor::ACTIVITY,
    models::{PointerStatus, WorkflowStatus},
    steps::StepError,
    traits::{Control, Ending, Intervention},
};

const HOUR: Duration = Duration::from_hours(1);
const SAID: Event<String> = Event::new("said");

#[derive(Debug, Clone, Copy, Serialize)]
enum Risk {
    Low,
    High(u32),
}

#[derive(Debug, Serialize, Deserialize)]
struct Size {
    width: u32,
}

fn by_risk(risk: Risk) -> Builder<Block> {
    begin()
        .then("check", async move |_, _| Ok(risk))
        .output(|risk, line| line.push(format!("{risk:?}")))
        .retry(Retry::exponential())
        .then_decide("by-risk", |by| {
            by.when(Risk::Low, |low| low.step("low", mark("low")))
                .when(Risk::High(2), |high| high.step("high", mark("high")))
                .otherwise(|rest| rest.step("rest", mark("rest")))
        })
        .step("after", mark("after"))
        .block("end", |b| b.step("ended", mark("ended")))
}

#[test]
fn a_decision_takes_the_branch_of_the_value_that_the_step_before_it_gave() {
    for (risk, expected) in [
        (Risk::Low, "Low low after ended"),
        (Risk::High(2), "High(2) high after ended"),
        (Risk::High(3), "High(3) rest after ended"),
    ] {
        assert_eq!(line(&everywhere(|| world(by_risk(risk)))), expected);
    }
    let labels: Vec<_> = by_risk(Risk::Low)
        .build()
        .unwrap()
        .outline()
        .step("by-risk")
        .unwrap()
        .branches
        .iter()
        .map(|branch| branch.label.clone())
        .collect();
    assert_eq!(labels, ["Low", "High(2)", "otherwise"]);
}

#[test]
fn no_value_is_a_value_and_texts_are_compared_without_an_allocation() {
    let none = || {
        world(begin().call("find", |_, line| Ok(line.first().cloned())).then_decide("by", |by| {
            by.when(None, |none| none.step("none", mark("none")))
                .when(Some("x".to_owned()), |x| x.step("x", mark("x")))
        }))
    };
    assert_eq!(line(&everywhere(none)), "none");
    let text = || {
        world(begin().call("say", |_, _| Ok("b")).then_decide("by", |by| {
            by.when("a", |a| a.step("a", mark("a"))).when("b", |b| b.step("b", mark("b")))
        }))
    };
    assert_eq!(line(&everywhere(text)), "b");
}

#[test]
fn without_a_value_the_otherwise_branch_runs() {
    let failed = || {
        world(
            begin()
                .call("break", |_, _| Err::<u32, _>(StepError::fatal("no")))
                .on_failure(OnFailure::Continue)
                .then_decide("by", |by| {
                    by.when(1, |one| one.step("one", mark("one")))
                        .otherwise(|rest| rest.step("rest", mark("rest")))
                }),
        )
    };
    assert_eq!(line(&everywhere(failed)), "rest");
    let cancelled = || {
        world(
            begin()
                .call("never", |_, _| Ok(1))
                .cancel_when(|_| true)
                .then_decide("by", |by| by.when(1, |one| one.step("one", mark("one"))))
                .step("after", mark("after")),
        )
    };
    assert_eq!(line(&everywhere(cancelled)), "after");
    let make = || {
        let mut world = world(
            begin()
                .call("break", |_, _| Err::<u32, _>(StepError::fatal("no")))
                .on_failure(OnFailure::Suspend)
                .then_decide("by", |by| {
                    by.when(1, |one| one.step("one", mark("one")))
                        .otherwise(|rest| rest.step("rest", mark("rest")))
                }),
        );
        world.plan_intervention(HOUR, Intervention::Skip);
        world
    };
    assert_eq!(line(&everywhere(make)), "rest", "a skipped step gives nothing");
}

fn heard() -> World {
    world(
        begin()
            .wait_for("hear", SAID, |_| "k")
            .on_timeout(|_| HOUR, |late| late.step("late", mark("late")))
            .then_decide("by", |by| {
                by.when("yes".to_owned(), |yes| yes.step("yes", mark("yes")))
                    .otherwise(|rest| rest.step("rest", mark("rest")))
            }),
    )
}

#[test]
fn a_decision_takes_the_branch_of_what_the_wait_before_it_received() {
    let in_time = |word: &'static str| {
        move || {
            let mut world = heard();
            world.plan(HOUR / 2, "said", "k", word);
            world
        }
    };
    assert_eq!(line(&everywhere(in_time("yes"))), "yes");
    assert_eq!(line(&everywhere(in_time("no"))), "rest");
    assert_eq!(line(&everywhere(heard)), "late rest", "a wait without its event gives nothing");
    let measured = || {
        let work = begin().activity("measure", Activity::<(), Size>::new("measure"), |_| ());
        let mut world =
            world(work.then_decide("by", |by| {
                by.when(Size { width: 7 }, |seven| seven.step("seven", mark("seven")))
            }));
        let answer = json!({"Success": {"width": 7, "height": 9}});
        world.plan(HOUR, "wfe.activity:measure", "it//measure//1", answer);
        world
    };
    assert_eq!(line(&everywhere(measured)), "seven", "a field that the type does not have is no difference");
    let mut unreadable = heard();
    unreadable.plan(HOUR / 2, "said", "k", 7);
    unreadable.play();
    assert_eq!((unreadable.ending, &*unreadable.failures[0].step), (Some(Ending::Failed), "by"));
    unreadable.plan_retry(HOUR);
    unreadable.play();
    let failed: Vec<_> = unreadable.failures.iter().map(|failure| &*failure.step).collect();
    assert_eq!(
        (unreadable.ending, failed),
        (Some(Ending::Failed), vec!["by", "by"]),
        "the value is still there"
    );
}

#[test]
fn a_decision_from_which_an_operator_resumes_has_the_value_that_it_had() {
    let make = |from: &'static str| {
        move || {
            let builder = begin()
                .call("count", |_, _| Ok(1))
                .then_decide("by", |by| by.when(1, |one| one.step("one", mark("one"))))
                .call("stop", |_, line| if line.len() > 1 { Ok(()) } else { Err("not yet".into()) })
                .on_failure(OnFailure::Suspend)
                .call("count-again", |_, _| Ok(2))
                .then_decide("by-again", |by| by.when(2, |two| two.step("two", mark("two"))));
            let mut world = world(builder);
            world.plan_intervention(HOUR, Intervention::ResumeFrom(from.to_owned()));
            world
        }
    };
    assert_eq!(line(&everywhere(make("by"))), "one one two");
    let mut early = make("by-again")();
    early.play();
    assert_eq!(early.instance.status, WorkflowStatus::Suspended);
    let why = &early.failures.last().unwrap().error.message;
    assert!(why.ends_with("has no such value; name the step before it"), "{why}");
}

#[test]
fn a_decision_is_retried_with_the_same_value_and_each_round_of_a_loop_has_its_own() {
    let make = || {
        world(
            begin()
                .while_(
                    "three",
                    |line| line.len() < 3,
                    |round| {
                        round.call("count", |_, line| Ok(line.len())).then_decide("by", |by| {
                            by.when(0, |b| b.step("zero", mark("zero")))
                                .when(1, |b| b.step("one", mark("one")))
                                .otherwise(|b| b.step("more", mark("more")))
                        })
                    },
                )
                .step("after", mark("after")),
        )
    };
    assert_eq!(line(&everywhere(make)), "zero one more after");
}

#[test]
fn a_go_to_that_leads_to_a_decision_and_a_value_that_is_no_json_are_refused() {
    let jump = begin()
        .call("a", |_, _| Ok(1))
        .then_decide("by", |by| by.when(1, |one| one.step("one", mark("one"))))
        .if_("again", |_| false, |then| then.go_to("back", "by"));
    assert_eq!(
        problem(jump),
        "step \"back\" goes to \"by\", which decides by the value that the step before it gave; go to that step"
    );
    let nan = begin()
        .call("a", |_, _| Ok(f64::NAN))
        .then_decide("by", |by| by.when(f64::NAN, |one| one.step("one", mark("one"))));
    assert!(problem(nan).starts_with("step \"by\": NaN is not a value of JSON: "));
    let none = begin().call("a", |_, _| Ok(1)).then_decide("by", |by| by);
    assert_eq!(problem(none), "step \"by\": it has no `when` branch; add at least one");
}

#[test]
fn a_decision_by_a_text_borrows_it() {
    let make = |word: &'static str| {
        move || {
            world(
                begin()
                    .step("say", mark(word))
                    .decide_text(
                        "by",
                        |line| &line[0],
                        |by| {
                            by.when("a", |a| a.step("a", mark("first")))
                                .otherwise(|rest| rest.step("rest", mark("rest")))
                        },
                    )
                    .for_each("each", Clone::clone, |each| {
                        each.decide_text(
                            "item",
                            |_, item| item,
                            |by| by.when("a", |a| a.step("b", mark("again"))),
                        )
                    }),
            )
        }
    };
    assert_eq!(line(&everywhere(make("a"))), "a first again");
    assert_eq!(line(&everywhere(make("x"))), "x rest");
}

#[test]
fn a_key_and_a_name_can_depend_on_the_instance_and_its_step() {
    let keyed = || {
        let key = |step: &crate::steps::StepInfo, line: &Line| {
            assert_eq!(
                (step.definition_id(), step.definition_version(), step.reference()),
                ("w".into(), 1, None)
            );
            format!("{} {} {}", step.instance_id(), step.step_id(), line.len())
        };
        let mut world = world(begin().wait_for_keyed("hear", SAID, key).output(|word, line| line.push(word)));
        world.plan(HOUR, "said", "it hear 0", "yes");
        world
    };
    assert_eq!(line(&everywhere(keyed)), "yes");
    let named = || {
        let mut world = world(begin().for_each(
            "each",
            |_| vec!["a".to_owned()],
            |each| {
                each.activity_named(
                    "work",
                    |step, _, item| {
                        Activity::<usize, String>::named(format!("{}-{item}", step.instance_id()))
                    },
                    |line, _| line.len(),
                )
                .output(|word, line, _| line.push(word))
            },
        ));
        world.plan(HOUR, "wfe.activity:it-a", "it//each/0/work//1", json!({"Success": "done"}));
        world
    };
    assert_eq!(line(&everywhere(named)), "done");
    for (name, what) in [("", "no name"), ("wfe.x", "reserved")] {
        let mut world =
            world(begin().activity_named("work", move |_, _| Activity::<(), ()>::named(name), |_| ()));
        world.play();
        assert_eq!((world.ending, &*world.failures[0].code), (Some(Ending::Failed), StepError::DEFINITION));
        assert!(world.failures[0].causes[0].contains(what));
    }
    let mut open = named();
    open.planned.clear();
    open.play();
    assert_eq!(open.waits[0].event_name, format!("{ACTIVITY}it-a"));
    assert_eq!(open.pointer("each/0/work").status, PointerStatus::WaitingForEvent);
    open.ask(Control::Cancel);
    open.play();
    assert_eq!(open.ending, Some(Ending::Cancelled));
}

#[test]
fn the_label_of_an_option_belongs_to_the_last_one() {
    let early =
        WorkflowBuilder::<Line>::new("w", 1).user_task("ask", |_| "?").label("Yes").plain_option("yes");
    assert!(problem(early).starts_with("step \"ask\": the label \"Yes\" comes before the first option"));
    let twice = begin().user_task("ask", |_| "?").plain_option("yes").label("Yes").label("Oh yes");
    assert_eq!(problem(twice), "step \"ask\": its option \"yes\" has `label` twice; keep one of them");
}
