use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    scenario::{Line, begin, broken, everywhere, line, mark, world},
    town::{self, Town},
    world::World,
};
use crate::{
    WfeError,
    definition::{
        Activity, Child, Definition, OnFailure, Retry, UserTask, WorkflowBuilder, activity, child, each,
        inline, user_task,
    },
    executor::{ACTIVITY, USER_TASK},
    models::{Event, PointerStatus},
    steps::{StepError, UserAnswer, UserTaskView, WorkerAnswer},
    traits::{Control, Ending},
};

const HOUR: Duration = Duration::from_hours(1);

/// A worker answers the wait that is open then.
fn plan_answer(world: &mut World, after: Duration, wait: &str, name: &str, answer: &WorkerAnswer) {
    world.plan(after, name, wait, answer);
}

fn resize() -> Activity<Line, ()> {
    activity("resize", |line: &Line, _| line.len())
        .output(|path: &String, line: &mut Line| line.push(path.clone()))
}

fn success(value: Value) -> WorkerAnswer {
    WorkerAnswer::Success(value)
}

fn failure(retryable: bool) -> WorkerAnswer {
    WorkerAnswer::Failure {
        code: "full".to_owned(),
        causes: vec!["no room".to_owned(), "disk".to_owned()],
        retryable,
    }
}

#[test]
fn an_activity_is_an_open_wait_that_a_worker_finds_by_its_name_and_ends() {
    let make = || {
        let mut world =
            world(begin().then("a", mark("a")).activity("act", resize()).then("after", mark("after")));
        plan_answer(&mut world, HOUR, "it//act//1", "wfe.activity:resize", &success(json!("small.png")));
        world
    };
    let mut waiting = make();
    waiting.planned.clear();
    waiting.play();
    let wait = &waiting.waits[0];
    assert_eq!(wait.event_name, format!("{ACTIVITY}resize"));
    assert_eq!((wait.event_key.as_str(), &wait.subscription_data), (wait.id.as_str(), &Some(json!(1))));
    let whole = everywhere(make);
    assert_eq!(line(&whole), "a small.png after");
    assert_eq!(whole.pointer("act").outcome, Some(json!("small.png")));
}

#[test]
fn the_answer_of_a_worker_whose_clock_is_behind_counts_too() {
    let mut world = world(begin().activity("act", resize()));
    world.open();
    let answer = serde_json::to_value(success(json!("x"))).unwrap();
    let dated = world.now - 9 * HOUR;
    world.publish(Event { event_time: dated, ..Event::new("wfe.activity:resize", "it//act//1", answer) });
    world.play();
    assert_eq!(line(&world), "x");
}

#[test]
fn a_worker_that_fails_is_a_failure_of_the_step_and_a_retry_offers_the_work_again() {
    let make = |retryable| {
        move || {
            let mut world = world(begin().activity("act", resize()).retry(Retry::up_to(1).first_pause(HOUR)));
            plan_answer(&mut world, HOUR, "it//act//1", "wfe.activity:resize", &failure(retryable));
            plan_answer(&mut world, 9 * HOUR, "it//act//2", "wfe.activity:resize", &success(json!("done")));
            world
        }
    };
    let again = everywhere(make(true));
    assert_eq!(line(&again), "done");
    assert_eq!((again.failures[0].code.as_str(), again.failures[0].causes.len()), ("full", 2));
    let ended = everywhere(make(false));
    assert_eq!(ended.ending, Some(Ending::Failed));
    assert_eq!(ended.cause.as_ref().unwrap().causes, ["no room", "disk"]);
}

#[test]
fn an_answer_that_makes_no_sense_or_comes_after_the_limit_changes_nothing() {
    let mut world = world(
        begin()
            .activity("act", resize().timeout(|_, _| HOUR, |late| late.then("late", mark("late"))))
            .then("after", mark("after")),
    );
    plan_answer(&mut world, 2 * HOUR, "it//act//1", "wfe.activity:resize", &success(json!("x")));
    world.play();
    assert_eq!(line(&world), "late after");

    let mut odd = super::scenario::world(begin().activity("act", resize()).on_failure(OnFailure::Continue));
    odd.plan(HOUR, "wfe.activity:resize", "it//act//1", "neither success nor failure");
    odd.play();
    assert_eq!(odd.failures[0].code, StepError::UNREADABLE);
    assert_eq!(odd.pointer("act").status, PointerStatus::Failed);
}

#[test]
fn an_answer_that_is_there_is_taken_whatever_limit_passed_while_the_instance_stood_still() {
    for after in [1, 2] {
        let mut world = world(begin().activity("act", resize().fail_after(|_, _| 90 * HOUR / 60)));
        world.open();
        world.ask(Control::Suspend);
        let answer = success(json!("done"));
        plan_answer(&mut world, HOUR * after, "it//act//1", "wfe.activity:resize", &answer);
        world.plan_ask(3 * HOUR, Control::Resume);
        world.play();
        assert_eq!((line(&world).as_str(), world.failures.len()), ("done", 0), "answered after {after} h");
    }
    let task = approval().escalate(|_, _| 2 * HOUR, |b| b.then("e", mark("e")));
    let mut asked = world(begin().user_task("ask", task));
    asked.open();
    asked.ask(Control::Suspend);
    plan_answer(&mut asked, HOUR, "it//ask//1", USER_TASK, &chosen("no"));
    asked.plan_ask(3 * HOUR, Control::Resume);
    asked.play();
    assert_eq!(line(&asked), "bob", "nothing is escalated that was answered");
}

fn approval() -> UserTask<Line, ()> {
    user_task(|line: &Line, _| format!("after {} words?", line.len()))
        .assignee(|_, _| "ann")
        .option("yes", |yes| yes.then("y1", mark("y1")).then("y2", mark("y2")))
        .plain_option("no")
        .output(|answer: &UserAnswer, line: &mut Line| line.push(answer.user.clone().unwrap_or_default()))
}

fn chosen(option: &str) -> WorkerAnswer {
    success(json!({"option": option, "user": "bob", "data": {"note": 7}}))
}

#[test]
fn a_user_task_shows_what_it_asks_and_leads_into_the_chosen_option() {
    let make = |option: &'static str| {
        move || {
            let mut world = world(begin().user_task("ask", approval()).then("after", mark("after")));
            plan_answer(&mut world, HOUR, "it//ask//1", USER_TASK, &chosen(option));
            world
        }
    };
    let mut waiting = make("yes")();
    waiting.planned.clear();
    waiting.play();
    let view: UserTaskView =
        serde_json::from_value(waiting.waits[0].subscription_data.clone().unwrap()).unwrap();
    let expected = UserTaskView {
        step: "ask".to_owned(),
        prompt: "after 0 words?".to_owned(),
        assignee: Some("ann".to_owned()),
        options: vec!["yes".to_owned(), "no".to_owned()],
    };
    assert_eq!(view, expected);
    let yes = everywhere(make("yes"));
    assert_eq!(line(&yes), "bob y1 y2 after");
    assert_eq!(yes.pointer("ask").outcome.as_ref().unwrap()["data"], json!({"note": 7}));
    assert_eq!(line(&everywhere(make("no"))), "bob after");
    let mut unknown = make("maybe")();
    unknown.play();
    assert_eq!(
        (unknown.ending, unknown.failures[0].code.as_str()),
        (Some(Ending::Failed), StepError::UNREADABLE)
    );
}

#[test]
fn an_escalation_runs_beside_the_task_which_stays_open() {
    let make = |answer_after: u32| {
        move || {
            let task = approval().escalate(
                |_, _| HOUR,
                |late| late.then("e1", mark("e1")).delay("d", |_, _| HOUR).then("e2", mark("e2")),
            );
            let mut world = world(begin().user_task("ask", task).then("after", mark("after")));
            plan_answer(&mut world, HOUR / 2 * answer_after, "it//ask//1", USER_TASK, &chosen("yes"));
            world
        }
    };
    assert_eq!(line(&everywhere(make(1))), "bob y1 y2 after");
    assert_eq!(line(&everywhere(make(3))), "e1 bob y1 y2 after");
    let late = everywhere(make(9));
    assert_eq!(line(&late), "e1 e2 bob y1 y2 after");
    assert_eq!(late.history_ids()[..3], ["ask/escalation/e1", "ask/escalation/d", "ask/escalation/e2"]);
}

#[test]
fn a_task_that_goes_to_somebody_else_is_a_new_one() {
    let make = |wait: &'static str| {
        move || {
            let task = approval().reassign(|_, _| HOUR, |_, _| "eve");
            let mut world = world(begin().user_task("ask", task));
            plan_answer(&mut world, 2 * HOUR, wait, USER_TASK, &chosen("no"));
            world
        }
    };
    let whole = everywhere(make("it//ask//2"));
    assert_eq!(line(&whole), "bob");
    let opened: Vec<_> = whole
        .commits
        .iter()
        .flat_map(|c| &c.subscribed)
        .map(|w| w.subscription_data.clone().unwrap())
        .collect();
    assert_eq!((&opened[0]["assignee"], &opened[1]["assignee"]), (&json!("ann"), &json!("eve")));
    let mut refused = make("it//ask//1")();
    refused.play();
    assert_eq!((line(&refused).as_str(), refused.ending), ("", None), "the first one is closed");
}

#[test]
fn a_user_task_that_makes_no_sense_is_refused() {
    let problem = |task: UserTask<Line, ()>| match begin().user_task("ask", task).build() {
        Err(WfeError::InvalidDefinition { problem, .. }) => problem,
        other => panic!("built: {other:?}"),
    };
    assert!(problem(user_task(|_: &Line, _| "?")).contains("no options"));
    assert!(problem(user_task(|_: &Line, _| "?").plain_option("a").plain_option("a")).contains("twice"));
    let both = approval().escalate(|_, _| HOUR, |b| b.then("e", mark("e"))).fail_after(|_, _| HOUR);
    assert!(problem(both).contains("one of the two"));
    assert!(matches!(
        begin().activity("a", activity("", |_: &Line, _| 0)).build(),
        Err(WfeError::InvalidDefinition { .. })
    ));
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Part {
    number: u32,
    result: Option<String>,
}

fn part(version: u32) -> Definition {
    WorkflowBuilder::<Part>::new("part", version)
        .delay("work", |part, _| HOUR * part.number)
        .then(
            "write",
            inline(move |_, part: std::sync::Arc<Part>| async move {
                if part.number == 13 {
                    Err(StepError::fatal("unlucky").with_code("thirteen"))
                } else {
                    Ok(format!("v{version}-{}", part.number))
                }
            })
            .output(|text: &String, part: &mut Part| part.result = Some(text.clone())),
        )
        .build()
        .unwrap()
}

fn begins(number: u32) -> Child<Line, ()> {
    child("part", move |_: &Line, _| Part { number, result: None })
        .output(|part: &Part, line: &mut Line| line.extend(part.result.clone()))
}

fn parent(child: Child<Line, ()>) -> WorkflowBuilder<Line> {
    begin().sub_workflow("sub", child).then("after", mark("after"))
}

#[test]
fn a_child_runs_as_an_instance_of_its_own_and_its_end_reaches_the_parent() {
    let make = |version: Option<u32>| {
        move || {
            let child = version.map_or(begins(1), |version| begins(1).version(version));
            Town::new(&[parent(child).build().unwrap(), part(1), part(2)], &Line::new())
        }
    };
    let mut whole = town::everywhere(make(None));
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
    let mut old = town::everywhere(make(Some(1)));
    assert_eq!(line(old.parent()), "v1-1 after");
}

#[test]
fn a_child_that_ended_while_its_parent_stood_still_is_not_begun_again_for_its_limit() {
    let child = begins(1).fail_after(|_, _| 2 * HOUR);
    let builder = begin().sub_workflow("sub", child).retry(Retry::up_to(3)).then("after", mark("after"));
    let mut town = Town::new(&[builder.build().unwrap(), part(1)], &Line::new());
    town.parent().open();
    town.parent().ask(Control::Suspend);
    town.parent().plan_ask(9 * HOUR, Control::Resume);
    town.play();
    assert_eq!((line(town.parent()).as_str(), town.worlds.len()), ("v1-1 after", 2));
}

#[test]
fn a_child_that_fails_is_a_failure_of_the_step_and_a_retry_begins_a_new_one() {
    let make = || {
        let child = child("part", |line: &Line, _| Part {
            number: if line.is_empty() { 13 } else { 1 },
            result: None,
        })
        .output(|part: &Part, line: &mut Line| line.extend(part.result.clone()));
        let builder = begin().parallel("p", |all| {
            all.branch(|b| b.sub_workflow("sub", child).retry(Retry::up_to(1).first_pause(HOUR).jitter(0.0)))
                .branch(|b| b.delay("d", |_, _| 13 * HOUR).then("m", mark("m")))
        });
        Town::new(&[builder.build().unwrap(), part(1)], &Line::new())
    };
    let mut whole = town::everywhere(make);
    assert_eq!(line(whole.parent()), "m v1-1");
    let failed = &whole.parent().failures[0];
    assert_eq!((failed.code.as_str(), failed.causes[0].as_str()), ("thirteen", "unlucky"));
    assert_eq!(whole.worlds["it//p/0/sub//1"].ending, Some(Ending::Failed));
    assert_eq!(whole.worlds["it//p/0/sub//2"].ending, Some(Ending::Completed));
}

#[test]
fn whatever_takes_the_parents_step_away_cancels_the_child() {
    let cancels = |build: &dyn Fn() -> Town, why: &str| {
        let mut whole = town::everywhere(build);
        assert_eq!(whole.worlds["it//sub//1"].ending, Some(Ending::Cancelled), "{why}");
        assert_eq!(whole.worlds["it"].woken, ["it//sub//1", "it//sub//1"], "to begin, and to end");
        line(whole.parent())
    };
    for control in [Control::Cancel, Control::Terminate] {
        let asked = || {
            let mut town = Town::new(&[parent(begins(9)).build().unwrap(), part(1)], &Line::new());
            town.parent().plan_ask(HOUR, control);
            town
        };
        assert_eq!(cancels(&asked, "its parent was ended"), "");
    }
    let limited = || {
        let child = begins(9).timeout(|_, _| HOUR, |late| late.then("late", mark("late")));
        Town::new(&[parent(child).build().unwrap(), part(1)], &Line::new())
    };
    assert_eq!(cancels(&limited, "it took too long"), "late after");
    let condition = || {
        let builder = begin()
            .schedule("soon", |_, _| HOUR, |b| b.then("stop", mark("stop")))
            .sub_workflow("sub", begins(9))
            .cancel_when(|line, _| !line.is_empty())
            .then("after", mark("after"));
        Town::new(&[builder.build().unwrap(), part(1)], &Line::new())
    };
    assert_eq!(cancels(&condition, "its step was cancelled"), "stop after");
    let late = || Town::new(&[parent(begins(9)).deadline(HOUR).build().unwrap(), part(1)], &Line::new());
    assert_eq!(cancels(&late, "the parent met its deadline"), "");
}

#[test]
fn a_child_that_somebody_cancels_is_a_failure_of_the_parents_step() {
    let builder =
        begin().sub_workflow("sub", begins(9)).on_failure(OnFailure::Continue).then("after", mark("after"));
    let mut town = Town::new(&[builder.build().unwrap(), part(1)], &Line::new());
    town.parent().open();
    town.look_around();
    town.worlds.get_mut("it//sub//1").unwrap().ask(Control::Terminate);
    town.play();
    assert_eq!(line(town.parent()), "after");
    assert_eq!(town.parent().failures[0].code, StepError::CHILD_ENDED);
}

#[test]
fn children_fan_out_and_in_and_have_children_of_their_own() {
    let middle = WorkflowBuilder::<Part>::new("middle", 1)
        .sub_workflow(
            "inner",
            child("part", |part: &Part, _| Part { number: part.number, result: None })
                .output(|inner: &Part, part: &mut Part| part.result = inner.result.clone()),
        )
        .build()
        .unwrap();
    let make = || {
        let builder = begin()
            .for_each("each", each(|_: &Line| vec![3_u32, 1, 2]).parallel(3), |b| {
                b.sub_workflow(
                    "sub",
                    child("middle", |_: &Line, n: &u32| Part { number: *n, result: None })
                        .output(|part: &Part, line: &mut Line| line.extend(part.result.clone())),
                )
            })
            .then("after", mark("after"));
        Town::new(&[builder.build().unwrap(), middle.clone(), part(1)], &Line::new())
    };
    let mut whole = town::everywhere(make);
    assert_eq!(line(whole.parent()), "v1-1 v1-2 v1-3 after");
    let inner = &whole.worlds["it//each/0/sub//1//inner//1"];
    assert_eq!(inner.instance.root_workflow_id.as_deref(), Some("it"));
}

#[test]
fn a_child_in_a_failed_saga_is_cancelled_and_a_completed_one_is_undone_by_its_compensation() {
    let make = || {
        let builder = begin().saga("saga", |b| {
            b.sub_workflow("done", begins(1))
                .compensate_with(|undo| undo.then("un-done", mark("-done")))
                .parallel("p", |all| {
                    all.branch(|b| b.sub_workflow("open", begins(9)))
                        .branch(|b| b.delay("d", |_, _| HOUR).then("x", broken()))
                })
        });
        Town::new(&[builder.build().unwrap(), part(1)], &Line::new())
    };
    let mut whole = town::everywhere(make);
    assert_eq!(line(whole.parent()), "v1-1 -done");
    assert_eq!(whole.worlds["it//saga/1/p/0/open//1"].ending, Some(Ending::Cancelled));
}

#[test]
fn a_child_whose_definition_is_not_known_and_data_that_cannot_be_made_are_failures_of_the_step() {
    let mut unknown = world(parent(begins(1)));
    unknown.play();
    assert_eq!(unknown.failures[0].code, StepError::DEFINITION);
    let panics = child("part", |_: &Line, _| -> Part { panic!("no data") });
    let mut panicking = world(begin().sub_workflow("sub", panics).on_failure(OnFailure::Continue));
    panicking.play();
    assert_eq!(
        (panicking.failures[0].code.as_str(), panicking.ending),
        (StepError::PANIC, Some(Ending::Completed))
    );
}

#[test]
fn a_child_that_was_not_stored_yet_is_never_begun_if_its_step_is_taken_away() {
    // Both branches move in one pass: the child is begun and cancelled before anything is stored.
    let builder = begin().parallel("p", |all| {
        all.branch(|b| b.sub_workflow("sub", begins(1).version(1))).branch(|b| b.end("end"))
    });
    let mut world = world(builder);
    world.play();
    assert_eq!(world.ending, Some(Ending::Completed));
    let commit = &world.commits[0];
    assert!(commit.created.is_empty() && commit.subscribed.is_empty() && commit.requested.is_empty());
}
