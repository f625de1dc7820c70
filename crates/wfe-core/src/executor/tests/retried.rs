//! Retries of instances that have failed or were cancelled.

use std::{cell::Cell, time::Duration};

use serde_json::json;

use super::{
    scenario::{Body, Line, begin, broken, built, does, everywhere, line, mark, saga, unmark, world},
    world::{Step, World},
};
use crate::{
    RetryRefusal, WfeError,
    definition::{Activity, Event, Every, IntoStep, OnFailure, Retry, WorkflowName, task},
    executor::{ACTIVITY, CHILD_ENDED, ChildEnd, Lifecycle, Surroundings, USER_TASK, reopen},
    models::{self, PointerStatus, WorkflowStatus},
    steps::{Next, StepError, WorkerAnswer},
    traits::{Control, Ending, Loaded},
};

const SOON: Duration = Duration::from_secs(1);
const PAID: Event<u32> = Event::new("paid");

/// A step that fails in its first execution, and writes `word` in each later one.
fn second_time(word: &'static str) -> impl IntoStep<Line> {
    task::<Line>()
        .call(|ctx, _| {
            let again = ctx.idempotency_key().contains('#');
            if again { Ok(()) } else { Err(StepError::fatal("broken").with_code("broken")) }
        })
        .output(move |(), line| line.push(word.to_owned()))
}

/// A step that writes its idempotency key.
fn key() -> impl IntoStep<Line> {
    task::<Line>().call(|ctx, _| Ok(ctx.idempotency_key())).output(|key, line| line.push(key))
}

/// The world, in which an operator retries the instance an hour after its start.
fn retried_later(mut world: World) -> World {
    world.plan_retry(Duration::from_hours(1));
    world
}

fn refusal(world: &mut World) -> RetryRefusal {
    match world.retry() {
        Err(WfeError::CannotRetry { id, reason }) => {
            assert_eq!(id, "it");
            reason
        }
        other => panic!("it was not refused: {other:?}"),
    }
}

#[test]
fn a_step_that_waited_for_an_event_of_which_nothing_is_stored_is_corrupt() {
    let mut world = world(begin().wait_for("hear", PAID, |_| "k"));
    world.plan_ask(SOON, Control::Cancel);
    world.play();
    let mut loaded = world.loaded();
    let closed = loaded.instance.execution_pointers[0].clone();
    let wait = models::EventSubscription::new("it", 0, &closed.id, "paid", "k", world.now);
    loaded.instance.execution_pointers[0].event_name = None;
    let mut surroundings = Surroundings::default();
    surroundings.waits.insert("it//hear//1".to_owned(), wait);
    match reopen(&loaded, &surroundings, world.now) {
        Err(WfeError::Corrupt { table: "execution_pointers", row, .. }) => assert_eq!(row, "hear of it"),
        other => panic!("{other:?}"),
    }
}

fn completed(world: &World) -> bool {
    world.ending == Some(Ending::Completed) && world.instance.status == WorkflowStatus::Complete
}

#[test]
fn the_failed_step_begins_again_with_all_its_attempts_and_another_key() {
    let whole = everywhere(|| {
        let flaky = task::<Line>()
            .call(|ctx, _| {
                let (again, last) = (ctx.idempotency_key().contains('#'), ctx.attempt() == 2);
                if again && last { Ok(ctx.idempotency_key()) } else { Err(StepError::retryable("broken")) }
            })
            .output(|key, line| line.push(key));
        let builder = begin()
            .step("a", mark("a"))
            .step("b", flaky)
            .retry(Retry::every(SOON).attempts(2))
            .step("c", mark("c"));
        retried_later(world(builder))
    });
    assert!(completed(&whole));
    assert_eq!(line(&whole), "a it/b#2 c");
    assert_eq!(whole.failures.iter().map(|f| f.attempt).collect::<Vec<_>>(), [1, 2, 1]);
    assert_eq!(whole.history_ids(), ["b"]);
    assert_eq!(whole.history[0].pointer.status, PointerStatus::Failed);
    assert_eq!((whole.cause.clone(), whole.instance.complete_time), (None, Some(whole.now)));
    let told: Vec<_> = whole.events.iter().filter(|e| !matches!(e, Lifecycle::StepStarted { .. })).collect();
    let at = told.iter().position(|e| **e == Lifecycle::Retried).unwrap();
    assert_eq!(told[at - 1], &Lifecycle::Terminated { ending: Ending::Failed });
    assert!(matches!(told[at + 1], Lifecycle::Error(_)));
    assert_eq!(told.iter().filter(|e| ***e == Lifecycle::Retried).count(), 1);
}

#[test]
fn branches_that_the_end_has_cancelled_continue_where_they_stood() {
    let whole = everywhere(|| {
        let builder = begin().parallel("all", |all| {
            all.branch(|b| b.delay("pause", |_| SOON).step("fails", second_time("fails")))
                .branch(|b| b.wait_for("first", PAID, |_| "k").step("got-1", mark("got-1")))
                .branch(|b| {
                    b.wait_for("early", PAID, |_| "k")
                        .wait_for("second", PAID, |_| "k")
                        .output(|n, line| line.push(n.to_string()))
                })
                .branch(|b| b.delay("long", |_| Duration::from_hours(3)).step("slept", mark("slept")))
        });
        let mut world = retried_later(world(builder));
        for (at, number) in [(0, 1), (1800, 2), (5400, 3)] {
            world.plan(Duration::from_secs(at), "paid", "k", number);
        }
        world
    });
    assert!(completed(&whole));
    // The second event came between the end and the retry, the third one after it.
    assert_eq!(line(&whole), "got-1 2 fails slept");
    assert_eq!(whole.now, whole.instance.create_time + Duration::from_hours(3), "the due time stays");
}

#[test]
fn a_body_that_was_running_runs_again_with_the_same_key() {
    let builder = begin().parallel("all", |all| {
        all.branch(|b| b.step("fails", second_time("fails"))).branch(|b| b.step("works", key()))
    });
    let mut world = world(builder);
    world.open();
    let fails = world.jobs.iter().position(|job| job.pointer().ends_with("fails")).unwrap();
    let job = world.jobs.remove(fails);
    world.finish(vec![job]);
    assert_eq!(world.ending, Some(Ending::Failed));
    world.retry().unwrap();
    world.play();
    assert!(completed(&world));
    assert_eq!(line(&world), "it/all/1/works fails");
}

#[test]
fn a_failed_container_begins_again_from_its_start() {
    let whole = everywhere(|| {
        let panics = |line: &Line| if line.len() == 2 { panic!("no") } else { line.len() < 5 };
        retried_later(world(begin().while_("while", panics, |b| b.step("a", mark("a"))).step("b", mark("b"))))
    });
    assert_eq!(whole.ending, Some(Ending::Failed), "the data is as it was");
    assert_eq!((line(&whole).as_str(), whole.failures.len()), ("a a", 2));
    assert_eq!(whole.pointer("while#2").status, PointerStatus::Failed);
}

#[test]
fn iterations_go_on_at_the_cursor_and_the_failed_one_at_its_failed_step() {
    let whole = everywhere(|| {
        let builder = begin()
            .for_each(
                "each",
                |_| (0..9_u32).collect(),
                |b| {
                    b.call("one", |ctx, _, n| {
                        if *n == 4 && !ctx.idempotency_key().contains('#') {
                            return Err(StepError::fatal("four"));
                        }
                        Ok(*n)
                    })
                    .output(|n, line, _| line.push(n.to_string()))
                    .step("then", crate::definition::item_task::<Line, u32>().change(|_, _| ()))
                },
            )
            .concurrent(1);
        retried_later(world(builder))
    });
    assert!(completed(&whole));
    assert_eq!(line(&whole), "0 1 2 3 4 5 6 7 8");
}

#[test]
fn a_compensated_saga_begins_another_round() {
    let whole = everywhere(|| {
        let late = task::<Line>()
            .call(|ctx, _| {
                if ctx.idempotency_key().contains("/3/") {
                    Ok(())
                } else {
                    Err(StepError::retryable("not yet"))
                }
            })
            .output(|(), line| line.push("b".to_owned()));
        let builder = saga(|b| does(b.step("first", mark("first")), "a").step("b", late).closed())
            .retry(Retry::every(SOON).attempts(2))
            .on_failure(OnFailure::Fail)
            .step("after", mark("after"));
        retried_later(world(builder))
    });
    assert!(completed(&whole));
    assert_eq!(line(&whole), "first a -a first a -a first a b after");
}

#[test]
fn a_saga_whose_inner_saga_fails_the_instance_goes_on_and_can_still_be_compensated() {
    let whole = everywhere(|| {
        let builder = saga(|b| {
            does(b, "a")
                .saga("inner", |b| {
                    does(b, "b")
                        .call("c", |ctx, _| {
                            if ctx.idempotency_key().contains("/2/") {
                                Ok(())
                            } else {
                                Err(StepError::fatal("once"))
                            }
                        })
                        .closed()
                })
                .on_failure(OnFailure::Fail)
                .step("d", broken())
        })
        .on_failure(OnFailure::Continue);
        retried_later(world(builder))
    });
    assert!(completed(&whole));
    assert_eq!(line(&whole), "a b -b b -b -a");
}

#[test]
fn a_failed_compensation_continues_with_another_key() {
    let whole = everywhere(|| {
        let undo = |b: Body| b.step("un-b", second_time("-b")).on_failure(OnFailure::Fail).closed();
        let builder = saga(|b| does(b, "a").step("b", mark("b")).compensate_with(undo).step("c", broken()))
            .on_failure(OnFailure::Continue)
            .step("after", mark("after"));
        retried_later(world(builder))
    });
    assert!(completed(&whole));
    assert_eq!(line(&whole), "a b -b -a after");
}

#[test]
fn a_closing_instance_whose_compensation_failed_continues_closing() {
    let whole = everywhere(|| {
        let undo = |b: Body| b.step("un-a", second_time("-a")).on_failure(OnFailure::Fail).closed();
        let builder = begin().parallel("all", |all| {
            all.branch(|b| {
                b.saga("saga", |b| {
                    b.step("a", mark("a")).compensate_with(undo).delay("long", |_| SOON * 90).closed()
                })
            })
            .branch(|b| b.delay("other", |_| SOON * 90).step("never", mark("never")))
        });
        let mut world = retried_later(world(builder));
        world.plan_ask(SOON, Control::Cancel);
        world
    });
    assert_eq!(whole.ending, Some(Ending::Cancelled));
    assert_eq!(line(&whole), "a -a");
}

#[test]
fn a_fallback_continues_at_its_failed_step_with_the_failure_that_it_is_for() {
    let whole = everywhere(|| {
        let builder = begin().step("a", broken()).fallback(|b| {
            b.step("x", mark("x"))
                .call("y", |ctx, _| {
                    let failure = ctx.failure().map(|failure| failure.causes.join(" "));
                    if ctx.idempotency_key().contains('#') {
                        Ok(failure)
                    } else {
                        Err(StepError::fatal("no"))
                    }
                })
                .output(|failure, line| line.extend(failure))
        });
        retried_later(world(builder.step("z", mark("z"))))
    });
    assert!(completed(&whole));
    assert_eq!(line(&whole), "x broken z");
}

#[test]
fn a_go_to_works_from_the_second_execution_of_its_step() {
    let whole = everywhere(|| {
        let builder = begin().step("a", mark("a")).step("b", second_time("b")).if_(
            "if",
            |line| line.len() < 5,
            |b| b.go_to("go", "b"),
        );
        retried_later(world(builder))
    });
    assert!(completed(&whole));
    assert_eq!(line(&whole), "a b b b b");
}

#[test]
fn the_deadline_counts_anew() {
    let whole = everywhere(|| {
        let builder = begin()
            .deadline(SOON * 60)
            .step("a", mark("a"))
            .delay("long", |_| SOON * 90)
            .step("b", mark("b"));
        let mut world = World::new(&built(builder), &Line::new());
        world.plan_retry(SOON * 80);
        world
    });
    assert!(completed(&whole));
    assert_eq!(line(&whole), "a b");
    assert_eq!(whole.failures.iter().map(|f| f.code.as_str()).collect::<Vec<_>>(), [StepError::DEADLINE]);
    assert_eq!(whole.now, whole.instance.create_time + SOON * 90);
}

#[test]
fn a_deadline_that_has_compensated_a_saga_lets_it_begin_another_round() {
    let whole = everywhere(|| {
        let builder = begin()
            .deadline(SOON * 60)
            .parallel("all", |all| {
                all.branch(|b| {
                    b.saga("saga", |b| does(b, "a").delay("long", |_| SOON * 50).delay("on", |_| SOON * 20))
                })
                .branch(|b| b.delay("other", |_| SOON * 100).step("b", mark("b")))
            })
            .step("after", mark("after"));
        let mut world = World::new(&built(builder), &Line::new());
        world.plan_retry(SOON * 80);
        world.plan_retry(SOON * 200);
        world
    });
    // The saga takes 70 seconds, so it does not end before the deadline in any round.
    assert_eq!(whole.ending, Some(Ending::Failed));
    assert_eq!(line(&whole), "a -a a b -a a -a");
}

#[test]
fn a_cancelled_instance_is_retried_if_nothing_was_compensated() {
    let whole = everywhere(|| {
        let builder = begin()
            .step("a", mark("a"))
            .saga("saga", |b| b.step("b", mark("b")).delay("c", |_| SOON * 10))
            .step("d", mark("d"));
        let mut world = retried_later(world(builder));
        world.plan_ask(SOON, Control::Cancel);
        world
    });
    assert!(completed(&whole));
    // The saga had nothing to compensate, and begins another round.
    assert_eq!(line(&whole), "a b b d");
}

#[test]
fn a_suspended_instance_that_was_cancelled_is_retried_at_its_failed_step() {
    let whole = everywhere(|| {
        let builder = begin().step("a", second_time("a")).on_failure(OnFailure::Suspend).step("b", mark("b"));
        let mut world = retried_later(world(builder));
        world.plan_ask(SOON, Control::Cancel);
        world
    });
    assert!(completed(&whole));
    assert_eq!(line(&whole), "a b");
}

#[test]
fn what_cannot_be_retried_is_refused_with_the_reason() {
    let mut running = world(begin().delay("long", |_| SOON));
    running.open();
    assert_eq!(refusal(&mut running), RetryRefusal::NotEnded);
    running.play();
    assert_eq!(refusal(&mut running), RetryRefusal::Completed);

    let mut terminated = world(begin().delay("long", |_| SOON));
    terminated.ask(Control::Terminate);
    assert_eq!(refusal(&mut terminated), RetryRefusal::Terminated);

    let mut compensated = world(saga(|b| does(b, "a").delay("long", |_| SOON * 10)));
    compensated.plan_ask(SOON, Control::Cancel);
    compensated.play();
    assert_eq!(refusal(&mut compensated), RetryRefusal::Compensated);

    let mut earlier = world(begin().step("a", broken()));
    earlier.play();
    for pointer in &mut earlier.instance.execution_pointers {
        pointer.extension_attributes.remove("stopped");
    }
    assert_eq!(refusal(&mut earlier), RetryRefusal::NotRecorded);

    let mut failed = world(begin().step("a", broken()));
    failed.play();
    let replaced = Loaded { restarted_as: Some("new".to_owned()), ..failed.loaded() };
    let error = reopen(&replaced, &Surroundings::default(), failed.now).unwrap_err();
    assert!(error.to_string().ends_with("it was restarted as \"new\"; use that instance"), "{error}");
    failed.retry().unwrap();
    assert_eq!(refusal(&mut failed), RetryRefusal::NotEnded, "the second of two callers");
    failed.ending = None;
    failed.instance.status = WorkflowStatus::Terminated;
    assert_eq!(refusal(&mut failed), RetryRefusal::NotRecorded, "ended through the base traits");
}

#[test]
fn an_instance_is_retried_as_often_as_it_fails() {
    let third = task::<Line>().call(|ctx, _| match ctx.idempotency_key().as_str() {
        "it/a#3" => Ok(()),
        _ => Err(StepError::fatal("not yet")),
    });
    let mut world = world(begin().step("a", third).step("b", mark("b")));
    world.play();
    for _ in 0..2 {
        assert_eq!(world.ending, Some(Ending::Failed));
        world.retry().unwrap();
        world.play();
    }
    assert!(completed(&world));
    assert_eq!(world.history_ids(), ["a", "a#2"]);
}

#[test]
fn an_event_that_the_failed_step_has_received_is_not_lost() {
    let whole = everywhere(|| {
        let builder = begin()
            .wait_for("wait", PAID, |_| "k")
            .output(|n, line| if line.is_empty() { panic!("no") } else { line.push(n.to_string()) });
        let mut world = retried_later(world(builder));
        world.plan(SOON, "paid", "k", 1);
        world.plan(SOON * 2, "paid", "k", 2);
        world
    });
    assert_eq!(whole.ending, Some(Ending::Failed), "the output fails again");
    assert_eq!(whole.pointer("wait#2").event_data, Some(json!(1)));
    let whole = everywhere(|| {
        let builder = begin().then("body", async |ctx, _| match ctx.event::<u32>() {
            Ok(None) => Ok(Next::wait_for_event(PAID, "k")),
            Ok(Some(n)) if ctx.idempotency_key().contains('#') => Next::outcome(&n),
            _ => Err(StepError::fatal("broken")),
        });
        let mut world = retried_later(world(builder));
        world.plan(SOON, "paid", "k", 1);
        world.plan(SOON * 2, "paid", "k", 2);
        world
    });
    assert!(completed(&whole));
    assert_eq!(whole.pointer("body#2").outcome, Some(json!(1)));
}

#[test]
fn an_activity_and_a_user_task_are_opened_again_with_the_same_input() {
    let builder = begin().parallel("all", |all| {
        all.branch(|b| b.delay("pause", |_| SOON).step("fails", second_time("fails")))
            .branch(|b| b.activity("act", Activity::<_, u32>::new("act"), |_| 7))
            .branch(|b| {
                b.user_task("ask", |_| "well?")
                    .option("yes", |b| b.step("yes", mark("yes")))
                    .escalate(|_| SOON * 30, |b| b.step("late", mark("late")))
            })
    });
    let mut world = retried_later(world(builder));
    let before = Cell::new(Vec::new());
    world.play_with(|_| Step::Finish(1));
    let open = |world: &World| {
        let seen =
            |w: &models::EventSubscription| (w.id.clone(), w.event_key.clone(), w.subscription_data.clone());
        world.waits.iter().map(seen).collect::<Vec<_>>()
    };
    before.set(open(&world));
    assert_eq!(world.instance.status, WorkflowStatus::Runnable);
    let waits = before.take();
    assert_eq!(waits.len(), 2);
    for (id, key, data) in &waits {
        assert!(id.ends_with("//2") && id == key && data.is_some(), "{id} {key} {data:?}");
    }
    assert_eq!(line(&world), "fails late", "the escalation was due when the retry came");
    let (_, key, _) = waits.iter().find(|(id, ..)| id.contains("ask")).unwrap().clone();
    let answer = WorkerAnswer::Success(json!({"option": "yes", "user": "ada", "data": null}));
    world.publish(models::Event::new(USER_TASK, key, serde_json::to_value(answer).unwrap()));
    let (_, key, _) = waits.iter().find(|(id, ..)| id.contains("act")).unwrap().clone();
    let answer = serde_json::to_value(WorkerAnswer::Success(json!(1))).unwrap();
    world.publish(models::Event::new(format!("{ACTIVITY}act"), key, answer));
    world.play();
    assert!(completed(&world));
    assert_eq!(line(&world), "fails late yes");
}

#[test]
fn side_branches_that_failed_do_not_begin_the_next_step_a_second_time() {
    let whole = everywhere(|| {
        let builder = begin()
            .recur(
                "recur",
                Every::interval(SOON * 2),
                |line| line.len() > 2 && panic_once(line),
                |b| b.step("tick", mark("tick")),
            )
            .after("after", |_| SOON, |b| b.step("aside", second_time("aside")))
            .step("main", mark("main"))
            .delay("long", |_| SOON * 9)
            .step("end", mark("end"));
        let mut world = world(builder);
        world.plan_retry(SOON * 3);
        world
    });
    assert!(completed(&whole));
    assert_eq!(line(&whole), "main aside tick end");
}

/// Whether the recurrence is over.
fn panic_once(line: &Line) -> bool {
    line.iter().any(|word| word == "tick")
}

/// An instance that waits for a child while another branch fails.
fn with_child() -> World {
    let builder = begin().parallel("all", |all| {
        all.branch(|b| b.delay("pause", |_| SOON).step("fails", second_time("fails"))).branch(|b| {
            b.sub_workflow("sub", WorkflowName::<serde_json::Value>::new("child"), |_| json!(null))
                .version(1)
                .step("got", mark("got"))
        })
    });
    let mut world = world(builder);
    world.play();
    assert_eq!(world.ending, Some(Ending::Failed));
    let end = world.commits.last().unwrap();
    assert_eq!(end.requested, [(CHILD.to_owned(), Control::Cancel)]);
    world
}

const CHILD: &str = "it//all/1/sub//1";

/// The child, as it is stored after this end.
fn child(world: &World, ending: Option<Ending>) -> Loaded {
    let mut child = world.commits.iter().flat_map(|c| &c.created).find(|c| c.id == CHILD).unwrap().clone();
    if ending.is_some() {
        child.status = WorkflowStatus::Terminated;
    }
    Loaded { instance: child, ending, cause: None, ..world.loaded() }
}

fn child_end(world: &mut World, ending: Ending) {
    let end = ChildEnd { ending, data: json!(null), cause: None, retryable: false };
    world.publish(end.event(CHILD));
    world.play();
}

#[test]
fn the_end_of_a_child_that_was_still_being_cancelled_is_awaited() {
    for ending in [Ending::Completed, Ending::Cancelled] {
        let mut world = with_child();
        world.children.insert(CHILD.to_owned(), child(&world, None));
        world.retry().unwrap();
        world.play();
        assert_eq!(world.waits.iter().map(|w| w.event_key.as_str()).collect::<Vec<_>>(), [CHILD]);
        child_end(&mut world, ending);
        if ending == Ending::Completed {
            assert!(completed(&world));
            continue;
        }
        let wait = &world.waits[0];
        assert_eq!((wait.event_name.as_str(), wait.event_key.as_str()), (CHILD_ENDED, "it//all/1/sub#2//1"));
        assert_eq!(world.history_ids().last(), Some(&"all/1/sub"));
        assert_eq!(world.commits.iter().flat_map(|c| &c.created).count(), 2);
    }
}

#[test]
fn a_child_that_has_ended_counts_if_it_completed_and_is_replaced_otherwise() {
    let mut world = with_child();
    world.children.insert(CHILD.to_owned(), child(&world, Some(Ending::Completed)));
    world.retry().unwrap();
    world.play();
    assert!(completed(&world));
    for ended in [Some(Ending::Cancelled), None] {
        let mut world = with_child();
        if ended.is_some() {
            world.children.insert(CHILD.to_owned(), child(&world, ended));
        }
        world.retry().unwrap();
        world.play();
        assert_eq!(world.waits[0].event_key, "it//all/1/sub#2//1", "{ended:?}");
    }
}

#[test]
fn a_cancel_or_a_suspend_right_after_the_retry_takes_effect() {
    let mut world = world(begin().step("a", second_time("a")).step("b", mark("b")));
    world.play();
    world.retry().unwrap();
    world.ask(Control::Suspend);
    assert_eq!(world.instance.status, WorkflowStatus::Suspended);
    world.ask(Control::Cancel);
    assert_eq!(world.ending, Some(Ending::Cancelled));
    world.retry().unwrap();
    world.play();
    assert!(completed(&world));
    assert_eq!(line(&world), "a b");
    assert_eq!(world.events.iter().filter(|e| **e == Lifecycle::Retried).count(), 2);
}

#[test]
fn the_undoing_step_and_the_saga_know_nothing_of_a_retry_before_them() {
    // The step that was retried completes as its second execution, and is compensated as such.
    let whole = everywhere(|| {
        let builder = saga(|b| {
            b.step("a", second_time("a"))
                .on_failure(OnFailure::Fail)
                .compensate_with(|undo| undo.step("un-a", unmark("a")))
                .step("b", broken())
        })
        .on_failure(OnFailure::Continue);
        retried_later(world(builder))
    });
    assert!(completed(&whole));
    assert_eq!(line(&whole), "a -a");
}

#[test]
fn what_the_failed_step_has_half_done_is_compensated_too_when_its_saga_fails_after_the_retry() {
    let whole = everywhere(|| {
        let builder = saga(|b| {
            b.step("a", second_time("a"))
                .on_failure(OnFailure::Fail)
                .compensate_even_if_failed(|undo| {
                    undo.call("un-a", |ctx, _| Ok(ctx.compensated().map(|step| format!("-{}", step.pointer))))
                        .output(|word, line| line.extend(word))
                })
                .step("b", broken())
        })
        .on_failure(OnFailure::Continue);
        retried_later(world(builder))
    });
    assert!(completed(&whole));
    assert_eq!(line(&whole), "a -saga/1/a#2 -saga/1/a");
}
