use std::time::Duration;

use serde_json::{Value, json};

use super::{
    scenario::{Builder, begin, built, everywhere, line, mark, world},
    world::World,
};
use crate::{
    WfeError,
    definition::{Activity, Awaits, OfActivity, OfTask, OnFailure, Retry},
    executor::{ACTIVITY, USER_TASK},
    models::{Event, PointerStatus},
    steps::{StepError, UserAnswer, UserTaskView, WorkerAnswer},
    traits::{Control, Ending},
};

const HOUR: Duration = Duration::from_hours(1);

/// Plans the answer of a worker. The worker answers the subscription `wait` when the duration `after` has passed.
fn plan_answer(world: &mut World, after: Duration, wait: &str, name: &str, answer: &WorkerAnswer) {
    world.plan(after, name, wait, answer);
}

/// A worker is to resize something, and its answer is a path. As a step, the activity gets another id.
fn resize() -> Builder<Awaits<String, OfActivity>> {
    begin().activity("act", Activity::new("resize"), Vec::len).output(|path, line| line.push(path))
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
            world(begin().step("a", mark("a")).step("act", resize()).step("after", mark("after")));
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
    let mut world = world(resize());
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
            let mut world = world(resize().retry(Retry::exponential().attempts(2).initial(HOUR)));
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
        resize().on_timeout(|_| HOUR, |late| late.step("late", mark("late"))).step("after", mark("after")),
    );
    plan_answer(&mut world, 2 * HOUR, "it//act//1", "wfe.activity:resize", &success(json!("x")));
    world.play();
    assert_eq!(line(&world), "late after");

    let mut odd = super::scenario::world(resize().on_failure(OnFailure::Continue));
    odd.plan(HOUR, "wfe.activity:resize", "it//act//1", "neither success nor failure");
    odd.play();
    assert_eq!(odd.failures[0].code, StepError::UNREADABLE);
    assert_eq!(odd.pointer("act").status, PointerStatus::Failed);
}

#[test]
fn an_answer_that_is_there_is_taken_whatever_limit_passed_while_the_instance_stood_still() {
    for after in [1, 2] {
        let mut world = world(resize().fail_after(|_| 90 * HOUR / 60));
        world.open();
        world.ask(Control::Suspend);
        let answer = success(json!("done"));
        plan_answer(&mut world, HOUR * after, "it//act//1", "wfe.activity:resize", &answer);
        world.plan_ask(3 * HOUR, Control::Resume);
        world.play();
        assert_eq!((line(&world).as_str(), world.failures.len()), ("done", 0), "answered after {after} h");
    }
    let mut asked = world(approval().escalate(|_| 2 * HOUR, |b| b.step("e", mark("e"))));
    asked.open();
    asked.ask(Control::Suspend);
    plan_answer(&mut asked, HOUR, "it//ask//1", USER_TASK, &chosen("no"));
    asked.plan_ask(3 * HOUR, Control::Resume);
    asked.play();
    assert_eq!(line(&asked), "bob", "nothing is escalated that was answered");
}

#[test]
fn a_wait_whose_limit_goes_from_the_definition_just_before_it_takes_effect_is_opened_anew() {
    let mut world = world(resize().on_timeout(|_| HOUR, |late| late.step("late", mark("late"))));
    while !world.commits.iter().any(|commit| !commit.unanswerable.is_empty()) {
        world.dies_after = Some(world.commits.len() + 1);
        if !world.act(&mut |_| super::world::Step::Finish(1)) {
            world.now = world.next_time().expect("the limit comes");
        }
    }
    world.dies_after = None;
    assert!(world.run.is_none(), "it died right after that commit");
    world.definition = built(resize());
    world.play();
    assert_eq!(world.waits.iter().map(|wait| wait.id.as_str()).collect::<Vec<_>>(), ["it//act//2"]);
    plan_answer(&mut world, HOUR, "it//act//2", "wfe.activity:resize", &success(json!("x")));
    world.play();
    assert_eq!(line(&world), "x");
}

fn approval() -> Builder<Awaits<UserAnswer, OfTask>> {
    begin()
        .user_task("ask", |line| format!("after {} words?", line.len()))
        .assignee(|_| "ann")
        .option("yes", |yes| yes.step("y1", mark("y1")).step("y2", mark("y2")))
        .plain_option("no")
        .label("No, not now")
        .output(|answer, line| line.push(answer.user.unwrap_or_default()))
}

fn chosen(option: &str) -> WorkerAnswer {
    success(json!({"option": option, "user": "bob", "data": {"note": 7}}))
}

#[test]
fn a_user_task_shows_what_it_asks_and_leads_into_the_chosen_option() {
    let make = |option: &'static str| {
        move || {
            let mut world = world(approval().step("after", mark("after")));
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
        labels: [("no".to_owned(), "No, not now".to_owned())].into(),
    };
    assert_eq!(view, expected);
    assert_eq!((view.label("yes"), view.label("no")), ("yes", "No, not now"));
    let mut older = serde_json::to_value(&view).unwrap();
    older.as_object_mut().unwrap().remove("labels");
    let older: UserTaskView = serde_json::from_value(older).unwrap();
    assert_eq!(older.label("no"), "no", "a task that an earlier version has opened");
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
                |_| HOUR,
                |late| late.step("e1", mark("e1")).delay("d", |_| HOUR).step("e2", mark("e2")),
            );
            let mut world = world(task.step("after", mark("after")));
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
            let mut world = world(approval().reassign(|_| HOUR, |_| "eve"));
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
fn a_task_is_escalated_and_passed_on_each_in_its_own_time() {
    for (escalate, reassign) in [(1, 4), (4, 1), (2, 2)] {
        let make = |answer_after: Duration, wait: &'static str| {
            move || {
                let mut world = world(
                    begin()
                        .after("clock", |_| HOUR * 3, |b| b.step("three", mark("three")))
                        .step("ask", approval())
                        .escalate(move |_| HOUR * escalate, |late| late.step("late", mark("late")))
                        .reassign(move |_| HOUR * reassign, |_| "eve"),
                );
                plan_answer(&mut world, answer_after, wait, USER_TASK, &chosen("no"));
                world
            }
        };
        let whole = everywhere(make(5 * HOUR, "it//ask//2"));
        assert_eq!(line(&whole), if escalate < 3 { "late three bob" } else { "three late bob" });
        let first = |after: Duration| everywhere(make(after, "it//ask//1")).ending;
        assert_eq!(first(HOUR / 2 * (2 * reassign - 1)), Some(Ending::Completed));
        let mut late = make(HOUR / 2 * (2 * reassign + 1), "it//ask//1")();
        late.play();
        assert_eq!(late.ending, None, "it is somebody else's by then");
    }
}

#[test]
fn a_user_task_that_makes_no_sense_is_refused() {
    let problem = |task: Builder<Awaits<UserAnswer, OfTask>>| match task.build() {
        Err(WfeError::InvalidDefinition { problem, .. }) => problem,
        other => panic!("built: {other:?}"),
    };
    let asks = || begin().user_task("ask", |_| "?");
    assert!(problem(asks()).contains("no options"));
    assert!(problem(asks().plain_option("a").plain_option("a")).contains("twice"));
    let both = approval().escalate(|_| HOUR, |b| b.step("e", mark("e"))).fail_after(|_| HOUR);
    assert!(problem(both).contains("neither an escalation nor a reassignment"));
    let twice = approval().reassign(|_| HOUR, |_| "eve").reassign(|_| HOUR, |_| "sue");
    assert!(problem(twice).contains("it has `reassign` twice"));
    let late =
        |task: Builder<Awaits<UserAnswer, OfTask>>| task.escalate(|_| HOUR, |b| b.step("e", mark("e")));
    assert!(problem(late(late(approval()))).contains("it has `escalate` twice"));
    let limits = approval().on_timeout(|_| HOUR, |b| b.step("e", mark("e"))).fail_after(|_| HOUR);
    assert!(problem(limits).contains("it has a time limit (`on_timeout` or `fail_after`) twice"));
    assert!(matches!(
        begin().activity("a", Activity::<_, ()>::new(""), |_| 0).build(),
        Err(WfeError::InvalidDefinition { .. })
    ));
}
