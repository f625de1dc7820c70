use serde_json::json;

use super::{
    scenario::{Body, Line, begin, everywhere, line, mark, world},
    world::Step,
};
use crate::{
    definition::{OnFailure, Retry, WorkflowBuilder},
    models::{PointerStatus, WorkflowStatus},
    traits::{Control, Ending},
};

fn has(word: &'static str) -> impl Fn(&Line) -> bool + Send + Sync + 'static {
    move |line| line.iter().any(|w| w == word)
}

#[test]
fn if_and_else_run_the_branch_for_the_answer_and_none_goes_on() {
    let story = |first: &'static str| {
        everywhere(move || {
            world(
                begin()
                    .step("first", mark(first))
                    .if_else(
                        "choice",
                        has("yes"),
                        |b| b.step("a", mark("a")),
                        |b| b.step("b", mark("b")).step("c", mark("c")),
                    )
                    .if_("only", has("yes"), |b| b.step("d", mark("d")))
                    .step("last", mark("last")),
            )
        })
    };
    let yes = story("yes");
    assert_eq!(line(&yes), "yes a d last");
    assert_eq!(yes.history_ids(), ["choice/0/a", "only/0/d"]);
    assert_eq!(yes.instance.execution_pointers.len(), 4, "the main path stays");
    let no = story("no");
    assert_eq!(line(&no), "no b c last");
    assert_eq!(no.history_ids(), ["choice/1/b", "choice/1/c"]);
}

#[test]
fn while_runs_as_long_as_its_condition_holds() {
    let story = |rounds: usize| {
        everywhere(move || {
            world(
                begin()
                    .while_(
                        "loop",
                        move |line| line.len() < 2 * rounds,
                        |b| b.step("a", mark("a")).step("b", mark("b")),
                    )
                    .step("last", mark("last")),
            )
        })
    };
    assert_eq!(line(&story(0)), "last");
    let three = story(3);
    assert_eq!(line(&three), "a b a b a b last");
    assert_eq!(three.history_ids()[..3], ["loop/0/a", "loop/0/b", "loop/1/a"]);
    assert_eq!(three.instance.execution_pointers.len(), 2);
}

#[test]
fn a_long_while_leaves_the_live_instance_and_every_commit_small() {
    let definition = WorkflowBuilder::<u32>::new("w", 1)
        .while_("loop", |n| *n < 2000, |b| b.change("one", |n| *n += 1))
        .build()
        .unwrap();
    let mut world = super::world::World::new(&definition, &0_u32);
    world.play();
    assert_eq!(world.data::<u32>(), 2000);
    let largest = world.commits.iter().map(|c| c.upserted.len() + c.finished.len()).max();
    assert!(largest <= Some(4), "{largest:?} pointers in one commit");
    assert_eq!(world.instance.execution_pointers.len(), 1);
}

#[test]
fn a_loop_without_a_body_is_stored_now_and_then() {
    // Nothing but conditions: no job ever interrupts it.
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let count = asked.clone();
    let more = move |_: &Line| count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 5000;
    let mut world =
        world(begin().while_("loop", more, |b| b.if_("never", |_| false, |b| b.step("x", mark("x")))));
    world.play();
    assert_eq!(world.ending, Some(Ending::Completed));
    assert!(world.commits.len() >= 5, "{} commits", world.commits.len());
    assert_eq!(asked.load(std::sync::atomic::Ordering::Relaxed), 5001);
}

#[test]
fn all_branches_that_match_a_value_or_condition_run_at_once() {
    let story = |first: &'static str| {
        everywhere(move || {
            world(
                begin()
                    .step("first", mark(first))
                    .decide(
                        "by-value",
                        |line| line[0].clone(),
                        |by| {
                            by.when("x".to_owned(), |b| b.step("x1", mark("x1")))
                                .when("x".to_owned(), |b| b.step("x2", mark("x2")))
                                .when("y".to_owned(), |b| b.step("y1", mark("y1")))
                                .otherwise(|b| b.step("o1", mark("o1")))
                        },
                    )
                    .branch("by-condition", |by| {
                        by.when(has("x"), |b| b.step("x3", mark("x3")))
                            .when(has("x2"), |b| b.step("x4", mark("x4")))
                            .otherwise(|b| b.step("o2", mark("o2")))
                    })
                    .decide("nothing", |_| 1, |by| by.when(2, |b| b.step("z", mark("z"))))
                    .step("last", mark("last")),
            )
        })
    };
    assert_eq!(line(&story("x")), "x x1 x2 x3 x4 last");
    assert_eq!(line(&story("y")), "y y1 o2 last");
    assert_eq!(line(&story("q")), "q o1 o2 last");
    let mut both = story("x");
    both.crash();
    let together =
        both.commits.iter().any(|c| c.upserted.iter().filter(|p| p.id.starts_with("by-value/")).count() == 2);
    assert!(together);
}

#[test]
fn parallel_branches_run_at_once_and_are_joined() {
    let make = || {
        world(
            begin()
                .parallel("all", |all| {
                    all.branch(|b| b.step("a1", mark("a1")).step("a2", mark("a2")))
                        .branch(|b| b.step("b1", mark("b1")))
                        .branch(|b| b.step("c1", mark("c1")))
                })
                .step("last", mark("last")),
        )
    };
    let whole = everywhere(make);
    assert_eq!(line(&whole), "a1 b1 c1 a2 last");
    let mut world = make();
    world.open();
    assert_eq!(world.waiting(), ["all/0/a1", "all/1/b1", "all/2/c1"]);
}

#[test]
fn a_slow_branch_delays_no_other() {
    let mut world = world(begin().parallel("all", |all| {
        all.branch(|b| b.step("slow", mark("slow")))
            .branch(|b| b.step("b1", mark("b1")).step("b2", mark("b2")))
    }));
    world.open();
    let slow = world.jobs.remove(0);
    while let Some(job) = world.jobs.pop() {
        world.finish(vec![job]);
    }
    assert_eq!(line(&world), "b1 b2");
    world.finish(vec![slow]);
    assert_eq!((line(&world).as_str(), world.ending), ("b1 b2 slow", Some(Ending::Completed)));
}

#[test]
fn a_thousand_parallel_branches_run_and_end() {
    let mut world = world(begin().parallel("all", |mut all| {
        for n in 0..1000 {
            all = all.branch(|b| b.step(format!("s{n}"), mark("x")));
        }
        all
    }));
    world.play_with(|waiting| Step::Finish(waiting.min(50)));
    assert_eq!(world.ending, Some(Ending::Completed));
    assert_eq!(world.data::<Line>().len(), 1000);
    assert_eq!(world.instance.execution_pointers.len(), 1);
}

#[test]
fn containers_nest_fifty_deep() {
    fn nested(body: Body, depth: u32) -> Body {
        let id = format!("n{depth}");
        if depth == 50 {
            return body.step("leaf", mark("leaf")).closed();
        }
        let body = match depth % 4 {
            0 => body.if_(id, |_| true, |b| nested(b, depth + 1)),
            1 => body.while_(id, Line::is_empty, |b| nested(b, depth + 1)),
            2 => body.parallel(id, |all| all.branch(|b| nested(b, depth + 1))),
            _ => body.saga(id, |b| nested(b, depth + 1)),
        };
        body.closed()
    }
    let world =
        everywhere(|| world(begin().if_("top", |_| true, |b| nested(b, 0)).step("last", mark("last"))));
    assert_eq!(line(&world), "leaf last");
}

#[test]
fn a_condition_that_panics_is_a_failure_of_its_step_with_its_policy_and_nothing_else() {
    let tries = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let count = tries.clone();
    let condition = move |_: &Line| {
        assert!(count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) > 0, "not at first");
        true
    };
    let mut again = world(
        begin().if_("c", condition, |b| b.step("a", mark("a"))).retry(Retry::exponential().attempts(2)),
    );
    again.play();
    assert_eq!((line(&again).as_str(), again.ending), ("a", Some(Ending::Completed)));
    assert_eq!((again.failures[0].code.as_str(), again.failures[0].step.as_str()), ("panic", "c"));

    let mut on = world(
        begin()
            .while_("w", |_| panic!("no"), |b| b.step("a", mark("a")))
            .on_failure(OnFailure::Continue)
            .decide("d", |_| -> u32 { panic!("no") }, |by| by.when(1, |b| b.step("b", mark("b"))))
            .on_failure(OnFailure::Continue)
            .step("last", mark("last")),
    );
    on.play();
    assert_eq!(line(&on), "last");
    assert_eq!(on.pointer("w").status, PointerStatus::Failed);

    let mut ended = world(begin().if_("c", |_| panic!("no"), |b| b.step("a", mark("a"))));
    ended.play();
    assert_eq!((ended.ending, ended.cause.unwrap().step.as_str()), (Some(Ending::Failed), "c"));
}

#[test]
fn a_condition_that_panics_in_the_middle_of_a_loop_lets_it_go_on_where_it_was() {
    let mut world = world(
        begin()
            .while_(
                "loop",
                |line| {
                    assert!(line.len() != 2 || line[0] == "mended", "a broken line");
                    line.len() < 4
                },
                |b| b.step("a", mark("a")),
            )
            .on_failure(OnFailure::Suspend),
    );
    world.play();
    assert_eq!(world.instance.status, WorkflowStatus::Suspended);
    world.instance.data = json!(["mended", "a"]);
    world.ask(Control::Resume);
    world.play();
    assert_eq!(line(&world), "mended a a a");
    assert_eq!(world.history_ids(), ["loop/0/a", "loop/1/a", "loop/2#2/a", "loop/3#2/a"]);
}

#[test]
fn the_item_of_a_for_each_reaches_what_is_nested_in_it() {
    let world = everywhere(|| {
        let definition = WorkflowBuilder::<Line>::new("w", 1)
            .for_each(
                "all",
                |_| vec![1_u32, 2, 3],
                |b| {
                    b.if_(
                        "odd",
                        |_, n| n % 2 == 1,
                        |b| {
                            b.while_(
                                "twice",
                                |line, n| line.iter().filter(|w| **w == n.to_string()).count() < 2,
                                |b| {
                                    b.then("say", async |_, _, n| Ok(n))
                                        .output(|n, line, _| line.push(n.to_string()))
                                },
                            )
                        },
                    )
                },
            )
            .build()
            .unwrap();
        super::world::World::new(&definition, &Line::new())
    });
    assert_eq!(line(&world), "1 1 3 3");
}
