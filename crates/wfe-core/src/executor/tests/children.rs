use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    instances::{self, Instances},
    scenario::{Builder, Line, begin, broken, built, line, mark, world},
    world::World,
};
use crate::{
    definition::{
        AnyDefinition, Awaits, IntoStep, OfChild, OnFailure, Retry, WorkflowBuilder, WorkflowName, task,
    },
    executor::CHILD_ENDED,
    models::Event,
    steps::StepError,
    traits::{Control, Ending},
};

const HOUR: Duration = Duration::from_hours(1);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Part {
    number: u32,
    result: Option<String>,
}

const PART: WorkflowName<Part> = WorkflowName::new("part");

fn part(version: u32) -> AnyDefinition {
    built(
        PART.define(version)
            .delay("work", |part| HOUR * part.number)
            .call("write", move |_, part| match part.number {
                13 => Err(StepError::retryable("unlucky").with_code("thirteen")),
                14 => Err(StepError::fatal("hopeless").with_code("fourteen")),
                number => Ok(format!("v{version}-{number}")),
            })
            .output(|text, part| part.result = Some(text)),
    )
}

/// A step that starts a child workflow with this number, and writes the child's result.
fn begins(number: u32) -> Builder<Awaits<Part, OfChild>> {
    begin()
        .sub_workflow("sub", PART, move |_| Part { number, result: None })
        .output(|part, line| line.extend(part.result))
}

/// A parent that writes `after` after its child has ended.
fn parent(child: impl IntoStep<Line>) -> AnyDefinition {
    built(begin().step("sub", child).step("after", mark("after")))
}

#[test]
fn a_child_runs_as_an_instance_of_its_own_and_its_end_reaches_the_parent() {
    let make = |version: Option<u32>| {
        move || {
            let child = version.map_or(begins(1), |version| begins(1).version(version));
            Instances::new(&[parent(child), part(1), part(2)], &Line::new())
        }
    };
    let mut whole = instances::everywhere(make(None));
    assert_eq!(line(whole.parent()), "v2-1 after", "the newest version by default");
    let child = &whole.worlds["it//sub//1"];
    assert_eq!((child.ending, child.instance.version), (Some(Ending::Completed), 2));
    assert_eq!(child.instance.root_workflow_id.as_deref(), Some("it"));
    let first = &whole.worlds["it"].commits[0];
    assert_eq!((first.created.len(), first.subscribed.len()), (1, 1), "in one commit");
    let last = child.commits.last().unwrap();
    assert_eq!(last.published.len(), 1, "told in the commit that ends it");
    assert_eq!(
        (&child.woken, &whole.worlds["it"].woken),
        (&vec!["it".to_owned()], &vec!["it//sub//1".to_owned()])
    );
    assert!(last.status.is_some());
    let mut old = instances::everywhere(make(Some(1)));
    assert_eq!(line(old.parent()), "v1-1 after");
}

#[test]
fn a_child_whose_data_its_definition_cannot_read_is_not_begun_and_the_step_fails() {
    let typed = begin().sub_workflow("sub", WorkflowName::new("part"), |_| 42_u32);
    let definitions = [parent(typed), part(1)];
    let mut whole = instances::everywhere(|| Instances::new(&definitions, &Line::new()));
    let parent = whole.parent();
    assert_eq!((parent.ending, parent.failures.len()), (Some(Ending::Failed), 1));
    assert_eq!(parent.failures[0].code, StepError::DEFINITION);
    let message = &parent.failures[0].causes[0];
    assert!(message.contains("\"part\"") && message.contains("data of type u32"), "{message}");
    assert_eq!(whole.worlds.len(), 1, "no child stands at data that nobody can read");
}

#[test]
fn a_child_takes_data_of_another_type_that_reads_as_its_own() {
    let untyped =
        begin().sub_workflow("sub", WorkflowName::new("part"), |_| json!({"number": 1, "result": null}));
    let definitions = [parent(untyped), part(1)];
    let mut whole = instances::everywhere(|| Instances::new(&definitions, &Line::new()));
    assert_eq!(line(whole.parent()), "after");
}

#[test]
fn a_child_that_ended_while_its_parent_stood_still_is_not_begun_again_for_its_limit() {
    let builder = begin()
        .step("sub", begins(1).fail_after(|_| 2 * HOUR))
        .retry(Retry::exponential().attempts(4))
        .step("after", mark("after"));
    let mut instances = Instances::new(&[built(builder), part(1)], &Line::new());
    instances.parent().open();
    instances.parent().ask(Control::Suspend);
    instances.parent().plan_ask(9 * HOUR, Control::Resume);
    instances.play();
    assert_eq!((line(instances.parent()).as_str(), instances.worlds.len()), ("v1-1 after", 2));
}

#[test]
fn a_child_that_fails_is_a_failure_of_the_step_and_a_retry_begins_a_new_one() {
    let make = || {
        let builder = begin().parallel("p", |all| {
            all.branch(|b| {
                b.sub_workflow("sub", PART, |line| Part {
                    number: if line.is_empty() { 13 } else { 1 },
                    result: None,
                })
                .output(|part, line| line.extend(part.result))
                .retry(Retry::exponential().attempts(2).initial(HOUR).jitter(0.0))
            })
            .branch(|b| b.delay("d", |_| 13 * HOUR).step("m", mark("m")))
        });
        Instances::new(&[built(builder), part(1)], &Line::new())
    };
    let mut whole = instances::everywhere(make);
    assert_eq!(line(whole.parent()), "m v1-1");
    let failed = &whole.parent().failures[0];
    assert_eq!((failed.code.as_str(), failed.causes[0].as_str()), ("thirteen", "unlucky"));
    assert_eq!(whole.worlds["it//p/0/sub//1"].ending, Some(Ending::Failed));
    assert_eq!(whole.worlds["it//p/0/sub//2"].ending, Some(Ending::Completed));
}

/// A parent that starts its child again as often as the retry policy allows.
fn persistent(number: u32, retry: Retry) -> impl Fn() -> Instances {
    move || {
        let retry = retry.clone().initial(HOUR);
        let builder = begin().step("sub", begins(number)).retry(retry);
        Instances::new(&[built(builder), part(1)], &Line::new())
    }
}

#[test]
fn a_fatal_failure_of_a_child_is_fatal_for_its_parent_whose_parent_it_is_fatal_for_too() {
    let mut whole = instances::everywhere(persistent(14, Retry::exponential().attempts(4).only_if(|_| true)));
    assert_eq!((whole.parent().ending, whole.parent().failures.len()), (Some(Ending::Failed), 1));
    assert_eq!(whole.parent().failures[0].code, "fourteen");
    assert!(!whole.worlds.contains_key("it//sub//2"), "no new child");
    // Of a child's child, through a saga of the child between them.
    let middle = WorkflowBuilder::<Part>::new("middle", 1)
        .saga("saga", |saga| {
            saga.sub_workflow("inner", PART, Part::clone).retry(Retry::exponential().attempts(2))
        })
        .retry(Retry::exponential().attempts(2))
        .on_failure(OnFailure::Fail);
    let middle = built(middle);
    let make = |number: u32| {
        let middle = middle.clone();
        move || {
            let builder = begin()
                .sub_workflow("sub", WorkflowName::new("middle"), move |_| Part { number, result: None })
                .retry(Retry::exponential().attempts(2));
            Instances::new(&[built(builder), middle.clone(), part(1)], &Line::new())
        }
    };
    for (number, children) in [(13, 2), (14, 1)] {
        let mut whole = instances::everywhere(make(number));
        assert_eq!(whole.parent().ending, Some(Ending::Failed));
        assert_eq!(whole.parent().failures.len(), children, "one for each child");
    }
}

#[test]
fn a_retry_policy_may_say_expressly_that_a_child_is_begun_anew_after_a_fatal_failure() {
    let retry = Retry::exponential().attempts(2).even_if_fatal(|error| error.code() == "fourteen");
    let mut whole = instances::everywhere(persistent(14, retry));
    assert_eq!((whole.parent().ending, whole.parent().failures.len()), (Some(Ending::Failed), 2));
    assert_eq!(whole.worlds["it//sub//2"].ending, Some(Ending::Failed));
}

#[test]
fn a_child_that_was_not_over_at_its_deadline_may_be_begun_anew() {
    let fatal = || task::<Part>().call(|_, _| Err::<(), _>(StepError::fatal("no matter")));
    // A failure behind which it goes on, before and during its compensation, is not the failure that ends it.
    let late = WorkflowBuilder::<Part>::new("part", 1)
        .deadline(HOUR)
        .step("passed-over", fatal())
        .on_failure(OnFailure::Continue)
        .saga("saga", |saga| {
            saga.change("do", |_| ())
                .compensate_with(|undo| undo.step("undo", fatal()))
                .delay("work", |_| 2 * HOUR)
        });
    let parent = begin().step("sub", begins(1)).retry(Retry::exponential().attempts(2));
    let definitions = [built(parent), built(late)];
    let mut whole = instances::everywhere(|| Instances::new(&definitions, &Line::new()));
    assert_eq!(whole.parent().failures.len(), 2);
    assert_eq!(whole.parent().failures[1].code, StepError::DEADLINE);
}

#[test]
fn a_child_that_somebody_ended_is_not_begun_anew() {
    for control in [Control::Cancel, Control::Terminate] {
        let mut instances = persistent(9, Retry::exponential().attempts(4))();
        instances.parent().open();
        instances.look_around();
        instances.worlds.get_mut("it//sub//1").unwrap().ask(control);
        instances.play();
        assert_eq!((instances.parent().ending, instances.parent().failures.len()), (Some(Ending::Failed), 1));
        assert_eq!(instances.parent().failures[0].code, StepError::CHILD_ENDED);
    }
}

#[test]
fn the_end_of_a_child_that_an_earlier_version_stored_may_be_followed_by_a_new_one() {
    let mut instances = persistent(14, Retry::exponential().attempts(2))();
    instances.parent().open();
    let failure = json!({"error": {"error_time": "2033-01-01T00:00:00Z", "workflow_id": "it//sub//1",
        "execution_pointer_id": "write", "message": "no"}, "step": "write", "attempt": 1, "code": "x",
        "causes": ["no"]});
    let end = json!({"ending": "Failed", "data": null, "cause": failure});
    let now = instances.parent().now;
    instances.parent().publish(Event { event_time: now, ..Event::new(CHILD_ENDED, "it//sub//1", end) });
    instances.parent().play();
    assert_eq!(instances.parent().failures[0].code, "x");
    assert_eq!(instances.parent().waits[0].event_key, "it//sub//2");
}

#[test]
fn whatever_takes_the_parents_step_away_cancels_the_child() {
    let cancels = |build: &dyn Fn() -> Instances, why: &str| {
        let mut whole = instances::everywhere(build);
        assert_eq!(whole.worlds["it//sub//1"].ending, Some(Ending::Cancelled), "{why}");
        assert_eq!(whole.worlds["it"].woken, ["it//sub//1", "it//sub//1"], "to begin, and to end");
        line(whole.parent())
    };
    let asked = || {
        let mut instances = Instances::new(&[parent(begins(9)), part(1)], &Line::new());
        instances.parent().plan_ask(HOUR, Control::Cancel);
        instances
    };
    assert_eq!(cancels(&asked, "its parent was cancelled"), "");
    let limited = || {
        let child = begins(9).on_timeout(|_| HOUR, |late| late.step("late", mark("late")));
        Instances::new(&[parent(child), part(1)], &Line::new())
    };
    assert_eq!(cancels(&limited, "it took too long"), "late after");
    let condition = || {
        let builder = begin()
            .after("soon", |_| HOUR, |b| b.step("stop", mark("stop")))
            .step("sub", begins(9))
            .cancel_when(|line| !line.is_empty())
            .step("after", mark("after"));
        Instances::new(&[built(builder), part(1)], &Line::new())
    };
    assert_eq!(cancels(&condition, "its step was cancelled"), "stop after");
    let late = || {
        let builder = begin().deadline(HOUR).step("sub", begins(9)).step("after", mark("after"));
        Instances::new(&[built(builder), part(1)], &Line::new())
    };
    assert_eq!(cancels(&late, "the parent met its deadline"), "");
}

#[test]
fn the_children_of_a_terminated_instance_are_terminated_and_undo_nothing_however_deep() {
    let inner = WorkflowBuilder::<Line>::new("inner", 1).saga("saga", |saga| {
        saga.step("a", mark("a"))
            .compensate_with(|undo| undo.step("u", mark("undone")))
            .delay("held", |_| 9 * HOUR)
    });
    let of = |child| begin().sub_workflow("sub", WorkflowName::new(child), |_| Line::new());
    let middle = WorkflowBuilder::<Line>::new("middle", 1).step("sub", of("inner"));
    let definitions = [built(of("middle")), built(middle), built(inner)];
    for (control, ending, did) in
        [(Control::Terminate, Ending::Terminated, "a"), (Control::Cancel, Ending::Cancelled, "a undone")]
    {
        let whole = instances::everywhere(|| {
            let mut instances = Instances::new(&definitions, &Line::new());
            instances.parent().plan_ask(HOUR, control);
            instances
        });
        for (id, world) in &whole.worlds {
            assert_eq!(world.ending, Some(ending), "{id}");
        }
        assert_eq!(line(&whole.worlds["it//sub//1//sub//1"]), did);
    }
}

#[test]
fn a_child_that_somebody_cancels_is_a_failure_of_the_parents_step() {
    let builder = begin().step("sub", begins(9)).on_failure(OnFailure::Continue).step("after", mark("after"));
    let mut instances = Instances::new(&[built(builder), part(1)], &Line::new());
    instances.parent().open();
    instances.look_around();
    instances.worlds.get_mut("it//sub//1").unwrap().ask(Control::Terminate);
    instances.play();
    assert_eq!(line(instances.parent()), "after");
    assert_eq!(instances.parent().failures[0].code, StepError::CHILD_ENDED);
}

#[test]
fn children_fan_out_and_in_and_have_children_of_their_own() {
    let middle = WorkflowBuilder::<Part>::new("middle", 1)
        .sub_workflow("inner", PART, |part| Part { number: part.number, result: None })
        .output(|inner, part| part.result = inner.result);
    let middle = built(middle);
    let make = || {
        let builder = begin()
            .for_each(
                "each",
                |_| vec![3, 1, 2],
                |b| {
                    b.sub_workflow("sub", WorkflowName::new("middle"), |_, n| Part {
                        number: *n,
                        result: None,
                    })
                    .output(|part, line, _| line.extend(part.result))
                },
            )
            .concurrent(3)
            .step("after", mark("after"));
        Instances::new(&[built(builder), middle.clone(), part(1)], &Line::new())
    };
    let mut whole = instances::everywhere(make);
    assert_eq!(line(whole.parent()), "v1-1 v1-2 v1-3 after");
    let inner = &whole.worlds["it//each/0/sub//1//inner//1"];
    assert_eq!(inner.instance.root_workflow_id.as_deref(), Some("it"));
}

#[test]
fn a_child_in_a_failed_saga_is_cancelled_and_a_completed_one_is_undone_by_its_compensation() {
    let make = || {
        let builder = begin().saga("saga", |b| {
            b.step("done", begins(1)).compensate_with(|undo| undo.step("un-done", mark("-done"))).parallel(
                "p",
                |all| {
                    all.branch(|b| b.step("open", begins(9)))
                        .branch(|b| b.delay("d", |_| HOUR).step("x", broken()))
                },
            )
        });
        Instances::new(&[built(builder), part(1)], &Line::new())
    };
    let mut whole = instances::everywhere(make);
    assert_eq!(line(whole.parent()), "v1-1 -done");
    assert_eq!(whole.worlds["it//saga/1/p/0/open//1"].ending, Some(Ending::Cancelled));
}

#[test]
fn a_child_whose_definition_is_not_known_and_data_that_cannot_be_made_are_failures_of_the_step() {
    let mut unknown = World::new(&parent(begins(1)), &Line::new());
    unknown.play();
    assert_eq!(unknown.failures[0].code, StepError::DEFINITION);
    let panics = begin().sub_workflow("sub", PART, |_| panic!("no data"));
    let mut panicking = world(panics.on_failure(OnFailure::Continue));
    panicking.play();
    assert_eq!(
        (panicking.failures[0].code.as_str(), panicking.ending),
        (StepError::PANIC, Some(Ending::Completed))
    );
}

#[test]
fn a_child_that_was_not_stored_yet_is_never_begun_if_its_step_is_taken_away() {
    // Both branches move in one pass: the child is begun and cancelled before anything is stored.
    let builder = begin()
        .parallel("p", |all| all.branch(|b| b.step("sub", begins(1).version(1))).branch(|b| b.end("end")));
    let mut world = world(builder);
    world.play();
    assert_eq!(world.ending, Some(Ending::Completed));
    let commit = &world.commits[0];
    assert!(commit.created.is_empty() && commit.subscribed.is_empty() && commit.requested.is_empty());
}
