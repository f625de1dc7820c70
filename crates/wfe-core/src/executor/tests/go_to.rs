use std::time::Duration;

use super::scenario::{Body, Line, begin, broken, everywhere, line, mark, world};
use crate::{
    WfeError,
    definition::{OnFailure, WorkflowBuilder, each, inline},
    models::PointerStatus,
    steps::Ctx,
    traits::Ending,
};

fn count(line: &Line, word: &str) -> usize {
    line.iter().filter(|w| *w == word).count()
}

#[test]
fn a_go_to_back_visits_steps_again_and_only_their_last_visit_stays() {
    let make = || {
        world(
            begin()
                .then("a", mark("a"))
                .then("b", mark("b"))
                .if_("again", |line: &Line, _| count(line, "b") < 3, |then| then.go_to("back", "a"))
                .then("c", mark("c")),
        )
    };
    let whole = everywhere(make);
    assert_eq!(line(&whole), "a b a b a b c");
    let live: Vec<_> = whole.instance.execution_pointers.iter().map(|p| p.id.as_str()).collect();
    assert_eq!(live, ["a#3", "b#3", "again#3", "c"]);
    assert_eq!(whole.pointer("a#3").predecessor_id.as_deref(), Some("again#2"));
    let left = whole.history.iter().find(|row| row.pointer.id == "again").unwrap();
    assert_eq!(left.pointer.status, PointerStatus::Cancelled, "it was left half-way");
}

#[test]
fn a_long_loop_by_go_to_leaves_the_live_instance_and_every_commit_small() {
    let definition = WorkflowBuilder::<(u32, String)>::new("w", 1)
        .then(
            "a",
            inline(|ctx: Ctx, _| async move { Ok(ctx.idempotency_key()) }).output(
                |key: &String, data: &mut (u32, String)| {
                    assert_ne!(*key, data.1, "each visit has a key of its own");
                    *data = (data.0 + 1, key.clone());
                },
            ),
        )
        .if_("again", |data, _| data.0 < 500, |then| then.go_to("back", "a"))
        .build()
        .unwrap();
    let mut world = super::world::World::new(&definition, &(0_u32, String::new()));
    world.play();
    assert_eq!(world.ending, Some(Ending::Completed));
    assert_eq!(world.data::<(u32, String)>().0, 500);
    let largest = world.commits.iter().map(|c| c.upserted.len() + c.finished.len()).max();
    assert!(largest <= Some(8), "{largest:?} pointers in one commit");
    assert_eq!(world.instance.execution_pointers.len(), 2);
}

#[test]
fn a_go_to_leads_forward_and_out_of_loops() {
    let world = everywhere(|| {
        world(
            begin()
                .while_(
                    "forever",
                    |_, _| true,
                    |b| {
                        b.then("a", mark("a"))
                            .if_(
                                "enough",
                                |line: &Line, _| count(line, "a") == 2,
                                |then| then.go_to("out", "after"),
                            )
                            .then("b", mark("b"))
                            .go_to("skip", "last-of-round")
                            .then("never", mark("never"))
                            .then("last-of-round", mark("z"))
                            .if_("more", |_, _| false, |then| then.go_to("to-never", "never"))
                    },
                )
                .then("between", mark("between"))
                .then("after", mark("after")),
        )
    });
    assert_eq!(line(&world), "a b z a after");
}

#[test]
fn what_a_go_to_leaves_is_taken_away_with_its_parallel_branches_waits_and_timers() {
    let world = everywhere(|| {
        world(
            begin()
                .then("start", mark("start"))
                .parallel("both", |all| {
                    all.branch(|b| b.delay("long", |_, _| Duration::from_hours(9)).then("late", mark("late")))
                        .branch(|b| {
                            b.then("quick", mark("quick")).if_(
                                "once",
                                |line: &Line, _| count(line, "start") < 2,
                                |then| then.go_to("back", "start"),
                            )
                        })
                })
                .then("end", mark("end")),
        )
    });
    assert_eq!(line(&world), "start quick start quick late end");
    let cancelled: Vec<_> = world
        .history
        .iter()
        .filter(|r| r.pointer.status == PointerStatus::Cancelled)
        .map(|r| r.pointer.id.as_str())
        .collect();
    assert_eq!(cancelled, ["both/0/long", "both/1/once", "both"]);
}

#[test]
fn end_ends_the_workflow_well_and_takes_the_rest_away() {
    let world = everywhere(|| {
        world(
            begin()
                .parallel("both", |all| {
                    all.branch(|b| b.delay("long", |_, _| Duration::from_hours(9)).then("late", mark("late")))
                        .branch(|b| b.then("quick", mark("quick")).end("now"))
                })
                .then("after", mark("after")),
        )
    });
    assert_eq!((line(&world).as_str(), world.ending), ("quick", Some(Ending::Completed)));
    assert_eq!(world.pointer("both").status, PointerStatus::Cancelled);
    assert_eq!(world.instance.next_execution, None);
}

fn problem(builder: WorkflowBuilder<Line>) -> String {
    match builder.build() {
        Err(WfeError::InvalidDefinition { problem, .. }) => problem,
        other => panic!("built: {other:?}"),
    }
}

#[test]
fn steps_that_cannot_be_reached_and_go_tos_into_nowhere_are_refused() {
    let a = || begin().then("a", mark("a"));
    assert_eq!(
        problem(a().go_to("g", "nowhere")),
        "step \"g\" goes to \"nowhere\", but the definition has no such step"
    );
    assert!(problem(a().end("e").then("b", mark("b"))).starts_with("step \"b\" cannot be reached"));
    let island = a().end("e").then("b", mark("b")).go_to("g", "b");
    assert!(problem(island).starts_with("step \"b\" cannot be reached"));
    let into = a().if_("i", |_, _| true, |b| b.then("inner", mark("x"))).go_to("g", "inner");
    assert!(problem(into).contains("inside a container that \"g\" is not in"));
    assert!(problem(a().go_to("g", "g")).contains("goes to itself"));
    let across = a().parallel("p", |all| {
        all.branch(|b| b.then("left", mark("x")))
            .branch(|b: Body| b.then("right", mark("x")).go_to("g", "left"))
    });
    assert!(problem(across).contains("\"left\""));
    let side = a().after("s", |_, _| Duration::ZERO, |b| b.go_to("g", "a"));
    assert!(problem(side).contains("out of a side branch"));
    let undo = |undo: fn(Body) -> Body| {
        begin().then("z", mark("z")).saga("s", move |b| b.then("a", mark("a")).compensate_with(undo))
    };
    assert!(problem(undo(|b| b.go_to("g", "a"))).contains("out of a compensation"));
    assert!(
        problem(undo(|b| b.if_("i", |_, _| true, |b| b.go_to("g", "z")))).contains("out of a compensation")
    );
    assert!(problem(undo(|b| b.end("e"))).contains("in the middle of a compensation"));
    let within = undo(|b| b.then("u", mark("u")).if_("i", |_, _| false, |b| b.go_to("g", "u")));
    within.build().unwrap();
    assert!(problem(begin().name("x").then("a", mark("a"))).contains("before the first step"));
    assert!(problem(a().parallel("p", |all| all)).contains("no branches"));
    let empty = a().then("b", mark("b")).fallback(|f| f);
    assert!(problem(empty).contains("the fallback of step \"b\" has no steps"));
    let empty = a().parallel("p", |all| all.branch(|b| b.then("x", mark("x"))).branch(|b| b));
    assert_eq!(problem(empty), "a branch of step \"p\" has no steps; add at least one");
    let otherwise = a().decide(
        "d",
        |_, _| 1,
        |by| {
            by.when(1, |b| b.then("x", mark("x")))
                .otherwise(|b| b.then("y", mark("y")))
                .otherwise(|b| b.then("z", mark("z")))
        },
    );
    assert!(problem(otherwise).contains("more than one `otherwise` branch"));
    assert!(problem(begin().deadline(Duration::ZERO).then("a", mark("a"))).contains("deadline"));
    assert!(problem(begin().then("a", mark("a").timeout(Duration::ZERO))).contains("timeout"));
}

#[test]
fn what_would_have_no_effect_is_refused_naming_the_step() {
    let a = || begin().then("a", mark("a"));
    let twice = a().fallback(|f| f.then("f", mark("f"))).fallback(|f| f.then("g", mark("g")));
    assert_eq!(problem(twice), "step \"a\": it has two fallbacks; the first one would have no effect");
    let twice = a().cancel_when(|_, _| false).cancel_when(|_, _| true);
    assert!(problem(twice).starts_with("step \"a\": it has two cancel conditions"));
    let twice = begin().saga("s", |s| {
        s.then("a", mark("a"))
            .compensate_with(|u| u.then("u", mark("u")))
            .compensate_with(|u| u.then("v", mark("v")))
    });
    assert!(problem(twice).starts_with("step \"a\": it has two compensations"));
    let lost = |change: fn(Body) -> Body| {
        begin().saga("s", move |s| {
            change(s.then("a", mark("a")).if_("i", |_, _| false, |b| b.go_to("g", "a")).end("e"))
        })
    };
    for problem in [
        problem(lost(|b| b.cancel_when(|_, _| true))),
        problem(lost(|b| b.compensate_with(|u| u.then("u", mark("u"))))),
        problem(lost(|b| b.fallback(|f| f.then("f", mark("f"))))),
        problem(lost(|b| b.on_failure(OnFailure::Suspend))),
    ] {
        assert!(
            problem.starts_with("step \"e\": it is an end, so its ")
                && problem.contains("would have no effect"),
            "{problem}"
        );
    }
    let back = a().go_to("g", "a").cancel_when(|_, _| true);
    assert!(problem(back).starts_with("step \"g\": it is a go-to, so its "));
    let none = WorkflowBuilder::<Line>::new("w", 0).then("a", mark("a"));
    assert!(problem(none).contains("version is 0"));
}

#[test]
fn a_timeout_of_a_step_that_runs_no_body_is_refused_and_says_what_to_use() {
    use crate::definition::{activity, child, event, user_task};
    let hour = Duration::from_hours(1);
    for step in [
        begin().wait_for("s", event("e", |_: &Line, _| "k")),
        begin().activity("s", activity("work", |_: &Line, _| 1)),
        begin().user_task("s", user_task(|_: &Line, _| "?").plain_option("yes")),
        begin().sub_workflow("s", child("other", |_: &Line, _| 1_u32)),
        begin().saga("s", |saga| saga.then("a", mark("a"))),
        begin().parallel("s", |all| all.branch(|b| b.then("a", mark("a")))),
        begin().delay("s", move |_, _| hour),
    ] {
        let problem = problem(step.timeout(hour));
        assert!(problem.starts_with("step \"s\": ") && problem.contains("fail_after"), "{problem}");
    }
    begin().then("s", mark("s")).timeout(hour).build().unwrap();
}

#[test]
fn a_fallback_runs_in_place_of_a_failed_step_and_knows_why() {
    let world = everywhere(|| {
        world(
            begin()
                .then("try", broken())
                .fallback(|instead| {
                    instead
                        .then(
                            "f1",
                            inline(
                                |ctx: Ctx, _| async move { Ok(ctx.failure().map(|f| f.causes[0].clone())) },
                            )
                            .output(|why: &Option<String>, line: &mut Line| {
                                line.push(why.clone().unwrap_or_default());
                            }),
                        )
                        .if_(
                            "f2",
                            |_, _| true,
                            |b| {
                                b.then(
                                    "f3",
                                    inline(|ctx: Ctx, _| async move { Ok(ctx.failure().is_some()) })
                                        .output(|knows: &bool, line: &mut Line| line.push(knows.to_string())),
                                )
                            },
                        )
                })
                .then(
                    "after",
                    inline(|ctx: Ctx, _| async move { Ok(ctx.failure().is_some()) })
                        .output(|knows: &bool, line: &mut Line| line.push(knows.to_string())),
                ),
        )
    });
    assert_eq!(line(&world), "broken true false");
    assert_eq!(world.ending, Some(Ending::Completed));
    assert_eq!(world.pointer("try").status, PointerStatus::Failed);
    assert_eq!(world.pointer("try").outcome.as_ref().unwrap()["code"], "error");
    assert_eq!(world.history_ids(), ["try/fallback/f2/0/f3", "try/fallback/f1", "try/fallback/f2"]);
}

#[test]
fn a_go_to_leads_out_of_a_fallback_and_out_of_the_branch_of_a_time_limit() {
    let out = everywhere(|| {
        world(
            begin()
                .then("start", mark("start"))
                .then(
                    "try",
                    crate::definition::inline(|_, line: std::sync::Arc<Line>| async move {
                        if line.len() < 2 { Err(crate::steps::StepError::fatal("once")) } else { Ok(()) }
                    }),
                )
                .fallback(|f| f.then("f", mark("f")).go_to("again", "start"))
                .wait_for(
                    "w",
                    crate::definition::event("e", |_: &Line, _| "k").timeout(
                        |_, _| Duration::from_secs(1),
                        |late| late.then("late", mark("late")).go_to("skip", "end"),
                    ),
                )
                .then("never", mark("never"))
                .then("end", mark("end")),
        )
    });
    assert_eq!(line(&out), "start f start late end");
    assert_eq!(out.pointer("w").status, PointerStatus::Cancelled);
}

#[test]
fn a_for_each_whose_items_cannot_be_computed_has_a_fallback_too() {
    let world = everywhere(|| {
        world(
            begin()
                .for_each("all", each(|_: &Line| -> Vec<u32> { panic!("no list") }), |b| {
                    b.then("x", mark("x"))
                })
                .fallback(|f| f.then("f", mark("f")))
                .then("after", mark("after")),
        )
    });
    assert_eq!(line(&world), "f after");
}

#[test]
fn a_failing_fallback_is_a_failure_by_itself() {
    let mut world =
        world(begin().then("try", broken()).fallback(|f| f.then("f", broken())).then("after", mark("after")));
    world.play();
    assert_eq!((world.ending, world.cause.unwrap().step.as_str()), (Some(Ending::Failed), "f"));
}
