use serde_json::json;

use super::{
    scenario::{
        Body, Builder, HOUR, Line, begin, broken, built, does, everywhere, line, mark, saga, unmark, world,
    },
    world::{Step, World, advanced},
};
use crate::{
    WfeError,
    definition::{Branch, Event, IntoStep, OnFailure, Retry, WorkflowBuilder, task},
    models::{PointerStatus, WorkflowStatus},
    steps::{Next, StepError},
    traits::{Control, Ending},
};

#[test]
fn a_failure_undoes_what_has_completed_in_reverse_and_then_the_instance_goes_on() {
    let whole = everywhere(|| {
        world(
            saga(|b| does(does(does(b, "a"), "b").step("plain", mark("plain")), "c").step("d", broken()))
                .step("after", mark("after")),
        )
    });
    assert_eq!(line(&whole), "a b plain c -c -b -a after");
    assert_eq!(whole.ending, Some(Ending::Completed));
    let pointer = whole.pointer("saga");
    assert_eq!(pointer.status, PointerStatus::Compensated);
    assert_eq!(pointer.outcome, Some(json!({"code": "error", "causes": ["broken"], "attempts": 1})));
    assert_eq!(whole.failures.len(), 1);
}

#[test]
fn a_saga_in_which_nothing_fails_undoes_nothing() {
    let whole = everywhere(|| world(saga(|b| does(does(b, "a"), "b")).step("after", mark("after"))));
    assert_eq!(line(&whole), "a b after");
    assert_eq!(whole.pointer("saga").status, PointerStatus::Complete);
}

#[test]
fn a_failure_before_anything_has_completed_has_nothing_to_undo() {
    let whole = everywhere(|| {
        world(saga(|b| b.step("a", broken()).step("b", mark("b"))).step("after", mark("after")))
    });
    assert_eq!(line(&whole), "after");
}

#[test]
fn nested_containers_are_undone_in_the_reverse_order_in_which_their_steps_completed() {
    let make = || {
        world(
            saga(|b| {
                does(b, "a")
                    .for_each(
                        "each",
                        |_| vec![1, 2],
                        |b| {
                            b.if_("i", |_, _| true, |b| does(b, "b")).parallel("p", |all| {
                                all.branch(|b| does(b, "c"))
                                    .branch(|b| b.while_("w", |line, _| line.len() < 4, |b| does(b, "d")))
                            })
                        },
                    )
                    .step("e", broken())
            })
            .step("after", mark("after")),
        )
    };
    let whole = everywhere(make);
    let said = line(&whole);
    let words: Vec<_> = said.split(' ').collect();
    let (done, undone) = words.split_at(words.iter().position(|w| w.starts_with('-')).unwrap());
    let expected: Vec<_> = done.iter().rev().map(|w| format!("-{w}")).chain(["after".to_owned()]).collect();
    assert_eq!(undone, expected, "{words:?}");
    assert_eq!(whole.instance.execution_pointers.len(), 2);
}

#[test]
fn a_failure_takes_the_other_live_branches_of_the_saga_away_first() {
    let whole = everywhere(|| {
        world(
            begin()
                .parallel("outside", |all| {
                    all.branch(|b| {
                        b.saga("saga", |b| {
                            b.parallel("inside", |all| {
                                all.branch(|b| {
                                    does(b, "a").delay("long", |_| 9 * HOUR).step("never", mark("never"))
                                })
                                .branch(|b| b.wait_for("w", Event::<()>::new("e"), |_| "k"))
                                .branch(|b| b.delay("short", |_| HOUR).step("x", broken()))
                            })
                        })
                    })
                    .branch(|b| b.delay("other", |_| 2 * HOUR).step("lives", mark("lives")))
                })
                .step("after", mark("after")),
        )
    });
    assert_eq!(line(&whole), "a -a lives after");
    assert!(whole.waits.is_empty());
    let long = whole.history.iter().find(|r| r.pointer.id.ends_with("/long")).unwrap();
    assert_eq!(long.pointer.status, PointerStatus::Cancelled);
}

#[test]
fn a_running_body_of_a_failed_saga_is_told_and_what_it_answers_is_passed_over() {
    let mut world = world(saga(|b| {
        b.parallel("p", |all| all.branch(|b| does(b, "slow")).branch(|b| b.step("x", broken())))
    }));
    world.open();
    let slow = world.jobs.remove(0);
    let broken = world.jobs.remove(0);
    world.finish(vec![broken]);
    assert!(slow.token().is_cancelled());
    let id = slow.pointer().to_owned();
    let end = futures_util::FutureExt::now_or_never(slow.run(None)).unwrap();
    if world.run.is_some() {
        world.with_run(|run, env| run.ended(&id, end, env).unwrap());
    }
    world.play();
    assert_eq!((line(&world).as_str(), world.ending), ("", Some(Ending::Completed)));
}

#[test]
fn a_compensation_sees_the_newest_data_and_what_it_undoes() {
    let whole = everywhere(|| {
        let definition = WorkflowBuilder::<Line>::new("w", 1)
            .saga("saga", |b| {
                b.for_each(
                    "each",
                    |_| vec![7],
                    |b| {
                        b.call("a", |_, _, n| Next::outcome(&(n + 1))?.keeping(&"state"))
                            .output(|_, line, _| line.push("a".to_owned()))
                            .compensate_with(|undo| {
                                undo.if_(
                                    "always",
                                    |_, n| *n == 7,
                                    |b| {
                                        b.then("un-a", async |ctx, line, n| {
                                            let undone = ctx.compensated().cloned();
                                            Ok((line.len(), n, undone, ctx.idempotency_key()))
                                        })
                                        .output(|seen, line, _| {
                                            line.push(serde_json::to_string(&seen).unwrap());
                                        })
                                    },
                                )
                            })
                    },
                )
                .step("b", mark("b"))
                .step("c", broken())
            })
            .build()
            .unwrap();
        World::new(&definition, &Line::new())
    });
    let said: Line = whole.data();
    let undone = json!({"step": "a", "pointer": "saga/1/each/0/a", "idempotency_key": "it/saga/1/each/0/a", "outcome": 8, "state": "state"});
    let seen: serde_json::Value = serde_json::from_str(&said[2]).unwrap();
    assert_eq!(seen, json!([2, 7, undone, "it/saga/undo0/always/0/un-a"]));
}

#[test]
fn a_failing_compensation_follows_its_own_behaviour_and_the_others_still_run() {
    fn story<B: Branch<Line>>(build: impl Fn(Body) -> B) -> impl Fn() -> World {
        move || {
            world(
                saga(|b| {
                    does(b, "a")
                        .step("b", mark("b"))
                        .compensate_with(&build)
                        .step("c", mark("c"))
                        .compensate_with(|undo| undo.step("un-c", unmark("c")))
                        .step("d", broken())
                })
                .step("after", mark("after")),
            )
        }
    }
    let on = everywhere(story(|undo| undo.step("un-b", broken())));
    assert_eq!(line(&on), "a b c -c -a after");
    assert_eq!(on.failures.len(), 2);

    let instead = everywhere(story(|undo| undo.step("un-b", broken()).fallback(|f| f.step("f", mark("f")))));
    assert_eq!(line(&instead), "a b c -c f -a after");

    let ended = everywhere(story(|undo| undo.step("un-b", broken()).on_failure(OnFailure::Fail)));
    assert_eq!((line(&ended).as_str(), ended.ending), ("a b c -c", Some(Ending::Failed)));
    assert_eq!(ended.cause.unwrap().step, "un-b");

    let mut stands = story(|undo| {
        undo.call("un-b", |ctx, _| if ctx.attempt() < 4 { Err(StepError::retryable("no")) } else { Ok(()) })
            .retry(Retry::exponential().attempts(2))
            .on_failure(OnFailure::Suspend)
    })();
    stands.play();
    assert_eq!(stands.instance.status, WorkflowStatus::Suspended);
    stands.ask(Control::Resume);
    stands.play();
    assert_eq!(line(&stands), "a b c -c -a after");
}

#[test]
fn a_compensation_can_be_a_sequence_that_waits_and_nests() {
    let whole = everywhere(|| {
        let mut world = world(
            saga(|b| {
                does(b, "a")
                    .step("b", mark("b"))
                    .compensate_with(|undo| {
                        undo.delay("first", |_| HOUR)
                            .wait_for("then", Event::<()>::new("e"), |_| "k")
                            .parallel("both", |all| {
                                all.branch(|b| b.step("u1", mark("u1"))).branch(|b| b.step("u2", mark("u2")))
                            })
                            .saga("inner", |b| does(b, "i").step("x", broken()))
                            .step("last", mark("last"))
                    })
                    .step("c", broken())
            })
            .step("after", mark("after")),
        );
        world.plan(2 * HOUR, "e", "k", ());
        world
    });
    assert_eq!(line(&whole), "a b u1 u2 i -i last -a after");
}

fn failing_rounds(rounds: u32) -> impl IntoStep<Line> {
    task::<Line>().call(move |_, line| {
        let round = line.iter().filter(|word| *word == "a").count();
        if round <= rounds as usize { Err(StepError::retryable("not yet")) } else { Ok(0) }
    })
}

#[test]
fn a_saga_with_retries_is_undone_and_runs_again_from_its_beginning() {
    let make = |rounds: u32, retries: u32| {
        move || {
            let retry =
                Retry::exponential().attempts(retries.saturating_add(1)).initial(HOUR).max(HOUR).jitter(0.0);
            world(
                saga(|b| does(does(b, "a"), "b").step("c", failing_rounds(rounds)))
                    .retry(retry)
                    .step("after", mark("after")),
            )
        }
    };
    let whole = everywhere(make(2, 3));
    assert_eq!(line(&whole), "a b -b -a a b -b -a a b after");
    assert_eq!(whole.now, make(0, 0)().now + 2 * HOUR);
    assert_eq!(whole.pointer("saga").status, PointerStatus::Complete);
    let first: Vec<_> = whole.history_ids().into_iter().filter(|id| id.ends_with("/a")).collect();
    assert_eq!(first, ["saga/1/a", "saga/2/a", "saga/3/a"], "each round has keys of its own");
    let gone = everywhere(make(9, 1));
    assert_eq!(line(&gone), "a b -b -a a b -b -a after");
    assert_eq!(gone.pointer("saga").outcome.as_ref().unwrap()["attempts"], 2);
}

#[test]
fn what_follows_an_undone_saga_is_its_own_policy() {
    let make = |behaviour| {
        move || {
            world(
                saga(|b| does(b, "a").step("x", broken())).on_failure(behaviour).step("after", mark("after")),
            )
        }
    };
    let ended = everywhere(make(OnFailure::Fail));
    assert_eq!((line(&ended).as_str(), ended.ending), ("a -a", Some(Ending::Failed)));
    assert_eq!(ended.cause.as_ref().unwrap().step, "x", "the cause is the step that failed");
    let mut stands = make(OnFailure::Suspend)();
    stands.play();
    assert_eq!((line(&stands).as_str(), stands.instance.status), ("a -a", WorkflowStatus::Suspended));
    stands.ask(Control::Resume);
    stands.play();
    assert_eq!(line(&stands), "a -a a -a");
    let instead = everywhere(|| {
        world(
            saga(|b| does(b, "a").step("x", broken()))
                .fallback(|f| f.step("f", mark("f")))
                .step("after", mark("after")),
        )
    });
    assert_eq!(line(&instead), "a -a f after");
}

#[test]
fn steps_in_a_saga_may_say_otherwise() {
    let on = everywhere(|| {
        world(saga(|b| does(b, "a").step("x", broken()).on_failure(OnFailure::Continue).step("b", mark("b"))))
    });
    assert_eq!(line(&on), "a b");
    let ended = everywhere(|| world(saga(|b| does(b, "a").step("x", broken()).on_failure(OnFailure::Fail))));
    assert_eq!((line(&ended).as_str(), ended.ending), ("a", Some(Ending::Failed)), "terminated, not undone");
    let explicit =
        everywhere(|| world(saga(|b| does(b, "a").step("x", broken()).on_failure(OnFailure::Compensate))));
    assert_eq!(line(&explicit), "a -a");
}

#[test]
fn a_completed_container_with_a_compensation_of_its_own_is_undone_by_that_alone() {
    let make = |fails_inside: bool| {
        move || {
            world(saga(|b| {
                let b = does(b, "a")
                    .for_each(
                        "each",
                        |_| vec![1, 2],
                        |b| {
                            let b = does(b, "i");
                            if fails_inside { b.step("y", broken()).closed() } else { b }
                        },
                    )
                    .compensate_with(|undo| undo.step("un-each", unmark("each")));
                does(b, "b").step("x", broken())
            }))
        }
    };
    assert_eq!(line(&everywhere(make(false))), "a i i b -b -each -a");
    assert_eq!(line(&everywhere(make(true))), "a i -i -a", "it has not completed");
    let nested = everywhere(|| {
        world(saga(|b| {
            b.saga("inner", |b| does(b, "i"))
                .compensate_with(|undo| undo.step("un-inner", unmark("inner")))
                .step("x", broken())
        }))
    });
    assert_eq!(line(&nested), "i -inner");
}

#[test]
fn sagas_nest_in_other_verbs_and_others_in_them() {
    let whole = everywhere(|| {
        world(
            begin()
                .if_(
                    "if",
                    |_| true,
                    |b| {
                        b.for_each(
                            "each",
                            |_| vec![1, 2, 3],
                            |b| {
                                b.saga("saga", |b| {
                                    does(b, "a").call("odd", |_, _, n| {
                                        if *n == 2 { Err(StepError::fatal("even")) } else { Ok(()) }
                                    })
                                })
                                .step("next", mark("next"))
                            },
                        )
                    },
                )
                .step("after", mark("after")),
        )
    });
    assert_eq!(line(&whole), "a next a -a next a next after");
}

#[test]
fn a_go_to_out_of_a_saga_leaves_it_done_and_back_inside_undoes_each_visit() {
    let out = everywhere(|| {
        world(
            saga(|b| does(b, "a").go_to("g", "after"))
                .step("skipped", mark("skipped"))
                .step("after", mark("after")),
        )
    });
    assert_eq!(line(&out), "a after");
    let inside = everywhere(|| {
        world(saga(|b| {
            does(b, "a").if_("i", |line| line.len() < 3, |b| b.go_to("g", "a")).step("x", broken())
        }))
    });
    assert_eq!(line(&inside), "a a a -a -a -a");
}

#[test]
fn a_long_saga_is_undone_with_small_commits_and_a_small_live_instance() {
    let mut world = world(
        saga(|b| b.for_each("each", |_| (0..500_u32).collect(), |b| does(b, "i")).step("x", broken()))
            .step("after", mark("after")),
    );
    world.play_with(|_| Step::Finish(1));
    assert_eq!(world.data::<Line>().len(), 1001);
    let largest = world.commits.iter().map(|c| c.upserted.len() + c.finished.len() + c.items.len()).max();
    assert!(largest <= Some(510), "{largest:?}");
    let without_items = world.commits.iter().map(|c| c.upserted.len() + c.finished.len()).max();
    assert!(without_items <= Some(6), "{without_items:?} pointers in one commit");
    assert_eq!(world.instance.execution_pointers.len(), 2);
    let kept = world.commits.iter().flat_map(|c| &c.upserted).filter(|p| p.id == "saga");
    let longest = kept.map(|p| serde_json::to_string(p).unwrap().len()).max();
    assert!(longest < Some(1500), "{longest:?} bytes of the saga's pointer");
}

#[test]
fn undoing_many_containers_keeps_the_sagas_pointer_small() {
    let mut world = world(saga(|b| {
        b.for_each(
            "each",
            |_| (0..200_u32).collect(),
            |b| {
                b.if_("i", |_, _| true, |b| does(b, "x"))
                    .compensate_with(|undo| undo.step("un-i", unmark("i")))
            },
        )
        .step("y", broken())
    }));
    world.play();
    assert_eq!(line(&world).matches("-i").count(), 200);
    assert_eq!(line(&world).matches("-x").count(), 0);
    let kept = world.commits.iter().flat_map(|c| &c.upserted).filter(|p| p.id == "saga");
    let longest = kept.map(|p| serde_json::to_string(p).unwrap().len()).max();
    assert!(longest < Some(1500), "{longest:?} bytes");
}

#[test]
fn a_saga_is_undone_without_reading_what_was_done_before_it() {
    let mut world = world(saga(|b| {
        b.for_each("each", |_| (0..200_u32).collect(), |b| does(b, "i"))
            .saga("inner", |b| does(b, "a").call("x", |_, _| Err::<(), _>(StepError::retryable("no"))))
            .retry(Retry::exponential().attempts(4))
            .on_failure(OnFailure::Continue)
    }));
    world.play();
    assert_eq!(line(&world).matches("-a").count(), 4);
    // The items of the loop, and the inner saga's own entry in each round.
    assert!(world.reads <= 200_usize.div_ceil(5) + 4, "{} reads", world.reads);
}

#[test]
fn an_instance_that_waits_for_its_log_is_not_given_back() {
    let mut world = world(saga(|b| does(b, "a").step("x", broken())));
    world.open();
    let jobs = world.jobs.drain(..).collect();
    world.finish(jobs);
    let job = world.jobs.pop().unwrap();
    let end = futures_util::FutureExt::now_or_never(job.run(None)).unwrap();
    world.with_run(|run, env| {
        run.ended("saga/1/x", end, env).unwrap();
        assert!(!advanced(run, env).unwrap().unwrap().release);
        assert_eq!(run.committed(env).unwrap().requests.len(), 1);
        // Something else happens before the entry is read.
        run.control(
            crate::traits::ControlRequest { number: 1, control: Control::Resume, intervention: None },
            env,
        )
        .unwrap();
        assert!(!advanced(run, env).unwrap().unwrap().release);
    });
}

#[test]
fn compensations_without_a_saga_are_refused() {
    fn problem<L>(builder: Builder<L>) -> String {
        match builder.build() {
            Err(WfeError::InvalidDefinition { problem, .. }) => problem,
            other => panic!("built: {other:?}"),
        }
    }
    let alone = begin().step("a", mark("a")).compensate_with(|undo| undo.step("u", mark("u")));
    assert!(problem(alone).contains("it is not inside a saga"));
    let alone = begin().step("a", mark("a")).on_failure(OnFailure::Compensate);
    assert!(problem(alone).contains("it is not inside a saga"));
    let other =
        saga(|b| b.step("a", mark("a")).on_failure(OnFailure::Suspend).fallback(|f| f.step("f", mark("f"))));
    assert!(problem(other).contains("fallback"));
}

#[test]
fn a_compensation_that_is_gone_from_the_definition_parks_the_instance() {
    let mut world = world(saga(|b| does(b, "a").step("d", mark("d")).step("x", broken())));
    world.open();
    let jobs = world.jobs.drain(..).collect();
    world.finish(jobs);
    world.crash();
    let without = saga(|b| b.step("a", mark("a")).step("d", mark("d")).step("x", broken()));
    world.definition = built(without);
    world.open();
    let jobs = world.jobs.drain(..).collect();
    world.finish(jobs);
    let jobs = world.jobs.drain(..).collect();
    world.try_finish(jobs).unwrap_err();
    assert_eq!(line(&world), "a d", "what is in memory is void, what is stored says where it stands");
}

#[test]
fn a_log_entry_that_is_gone_or_does_not_decode_is_a_corrupt_row() {
    for stored in [vec![], vec![json!("no entry")]] {
        let mut world = world(saga(|b| does(b, "a").step("x", broken())));
        world.open();
        let a = world.jobs.drain(..).collect();
        world.finish(a);
        assert!(world.items.insert("saga/log/0".to_owned(), stored).is_some());
        let x = world.jobs.drain(..).collect();
        match world.try_finish(x).unwrap_err() {
            WfeError::Corrupt { table, column, row, .. } => {
                assert_eq!((table, column, &*row), ("execution_pointers", "item_values", "it/saga/log/0"));
            }
            other => panic!("{other:?}"),
        }
    }
}
