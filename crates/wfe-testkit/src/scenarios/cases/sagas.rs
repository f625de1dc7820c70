use wfe::definition::{After, Main, Sequence, task};

use super::prelude::*;

scenarios!("sagas":
    a_saga_that_fails_is_compensated_in_reverse_order_of_completion,
    what_follows_a_saga_comes_after_its_compensation,
    a_saga_is_retried_as_a_whole,
    a_saga_in_a_for_each_in_an_if_compensates_only_itself,
    a_failure_cancels_the_other_branches_of_its_saga,
    nested_sagas_are_compensated_with_the_one_around_them,
    a_completed_block_is_compensated_as_a_whole_and_an_open_one_step_by_step,
    two_sagas_inside_of_one_are_compensated_at_once,
    a_fallback_that_fails_has_the_saga_around_compensated,
    a_compensation_that_fails_keeps_no_other_from_running,
    a_compensation_knows_what_it_compensates,
    a_step_that_asks_for_it_is_compensated_first_when_it_has_failed,
    a_step_that_was_cut_short_is_compensated_when_its_body_has_ended,
    cancel_compensates_an_open_saga_and_terminate_does_not,
    cancel_compensates_every_open_saga_also_beside_one_that_has_done_nothing,
    compensations_may_wait,
);

/// Adds a step with its compensation.
fn done<L>(steps: Sequence<Story, Main, (), L>, word: &'static str) -> Sequence<Story> {
    let undone = format!("un-{word}");
    steps.step(word, mark(word)).compensate_with(|undo| undo.step(undone.clone(), mark(undone))).closed()
}

async fn a_saga_that_fails_is_compensated_in_reverse_order_of_completion(stage: Stage) -> Checked<()> {
    let slow = begin("order").saga("saga", |saga| {
        done(saga, "a")
            .parallel("both", |all| {
                all.branch(|b| done(b.delay("two", |_| 2 * HOUR), "b"))
                    .branch(|b| done(b.delay("one", |_| HOUR), "c"))
            })
            .step("fail", fail())
    });
    let host = stage.host([built(slow.step("after", mark("after")))?]).await?;
    let id = host.start_workflow("order", &Story::default()).await?;
    assert_eq!(words(&host, &id).await?, "a c b un-b un-c un-a after");
    Ok(())
}

async fn what_follows_a_saga_comes_after_its_compensation(stage: Stage) -> Checked<()> {
    let gate = Gate::default();
    let slow = begin("slow")
        .saga("saga", |saga| {
            saga.step("a", mark("a")).compensate_with(|b| b.step("undo", gate.step())).step("fail", fail())
        })
        .step("after", mark("after"));
    let host = stage.host([built(slow)?]).await?;
    let id = host.start_workflow("slow", &Story::default()).await?;
    gate.reached(1).await;
    assert_eq!(host.data::<Story>(&id).await?.words, ["a"]);
    gate.open();
    assert_eq!(words(&host, &id).await?, "a after");
    Ok(())
}

async fn a_saga_is_retried_as_a_whole(stage: Stage) -> Checked<()> {
    let again = Retry::exponential().attempts(4).initial(HOUR).jitter(0.0);
    let saga = begin("again")
        .saga("saga", |saga| {
            done(saga.step("count", count()), "a").call("fail", |_, story| {
                if story.n < 2 { Err(StepError::retryable("not yet")) } else { Ok(()) }
            })
        })
        .retry(again)
        .step("after", mark("after"));
    let host = stage.host([built(saga)?]).await?;
    let id = host.start_workflow("again", &Story::default()).await?;
    assert_eq!(words(&host, &id).await?, "a un-a a after");
    Ok(())
}

async fn a_saga_in_a_for_each_in_an_if_compensates_only_itself(stage: Stage) -> Checked<()> {
    let all = begin("nested").if_(
        "yes",
        |_| true,
        |then| {
            then.for_each(
                "all",
                |_| vec![0_u64, 1, 2],
                |one| {
                    one.saga("saga", |saga| {
                        saga.step("do", mark_item("do"))
                            .compensate_with(|b| b.step("undo", mark_item("un")))
                            .call(
                                "pick",
                                |_, _, n| {
                                    if *n == 1 { Err(StepError::fatal("one")) } else { Ok(()) }
                                },
                            )
                    })
                    .on_failure(OnFailure::Continue)
                },
            )
        },
    );
    let host = stage.host([built(all.step("after", mark("after")))?]).await?;
    let id = host.start_workflow("nested", &Story::default()).await?;
    assert_eq!(words(&host, &id).await?, "do0 do1 un1 do2 after");
    Ok(())
}

async fn a_failure_cancels_the_other_branches_of_its_saga(stage: Stage) -> Checked<()> {
    let both = begin("both").saga("saga", |saga| {
        saga.parallel("both", |all| {
            all.branch(|b| done(b, "a").delay("long", |_| DAY).step("never", mark("never")))
                .branch(|b| b.delay("hour", |_| HOUR).step("fail", fail()))
        })
    });
    let host = stage.host([built(both.step("after", mark("after")))?]).await?;
    let (id, began) = (host.start_workflow("both", &Story::default()).await?, stage.clock.now());
    assert_eq!(words(&host, &id).await?, "a un-a after");
    assert_eq!(stage.clock.now() - began, chrono::TimeDelta::hours(1));
    Ok(())
}

async fn nested_sagas_are_compensated_with_the_one_around_them(stage: Stage) -> Checked<()> {
    let outer = begin("outer").saga("outer", |outer| {
        done(outer, "a").saga("inner", |inner| done(done(inner, "b"), "c")).step("fail", fail())
    });
    let host = stage.host([built(outer)?]).await?;
    let id = host.start_workflow("outer", &Story::default()).await?;
    assert_eq!(words(&host, &id).await?, "a b c un-c un-b un-a");
    Ok(())
}

async fn a_completed_block_is_compensated_as_a_whole_and_an_open_one_step_by_step(
    stage: Stage,
) -> Checked<()> {
    let blocks = begin("blocks").saga("saga", |saga| {
        saga.block("first", |first| done(done(first, "a"), "b"))
            .compensate_with(|undo| undo.step("un-first", mark("un-first")))
            .block("second", |second| done(second, "c").step("fail", fail()))
            .compensate_with(|undo| undo.step("un-second", mark("un-second")))
    });
    let host = stage.host([built(blocks.step("after", mark("after")))?]).await?;
    let id = host.start_workflow("blocks", &Story::default()).await?;
    assert_eq!(words(&host, &id).await?, "a b c un-c un-first after");
    Ok(())
}

async fn two_sagas_inside_of_one_are_compensated_at_once(stage: Stage) -> Checked<()> {
    let (gate, left, right) = (Gate::default(), Gate::default(), Gate::default());
    let outer = begin("outer").saga("outer", |outer| {
        outer
            .parallel("both", |all| {
                all.branch(|b| {
                    b.saga("left", |b| done(b, "a").step("gate", left.step()).step("x", fail()))
                        .on_failure(OnFailure::Continue)
                })
                .branch(|b| {
                    b.saga("right", |b| done(b, "c").step("wait", right.step()).step("y", fail()))
                        .on_failure(OnFailure::Continue)
                })
                .branch(|b| b.step("slow", gate.step()))
            })
            .step("last", mark("last"))
    });
    let host = stage.host([built(outer)?]).await?;
    let id = host.start_workflow("outer", &Story::default()).await?;
    for entered in [&left, &right, &gate] {
        entered.reached(1).await;
    }
    for open in [&left, &right, &gate] {
        open.open();
    }
    let mut wrote = completed(&host, &id).await?.words;
    assert_eq!(wrote.pop().as_deref(), Some("last"));
    wrote.sort_unstable();
    assert_eq!(wrote, ["a", "c", "un-a", "un-c"]);
    Ok(())
}

async fn a_fallback_that_fails_has_the_saga_around_compensated(stage: Stage) -> Checked<()> {
    let outer = begin("outer")
        .saga("outer", |outer| {
            done(outer, "a")
                .saga("inner", |inner| done(inner, "b").step("x", fail()))
                .fallback(|instead| instead.step("f", fail()))
        })
        .step("after", mark("after"));
    let host = stage.host([built(outer)?]).await?;
    let id = host.start_workflow("outer", &Story::default()).await?;
    assert_eq!(words(&host, &id).await?, "a b un-b un-a after");
    Ok(())
}

async fn a_compensation_that_fails_keeps_no_other_from_running(stage: Stage) -> Checked<()> {
    let saga = begin("stuck").saga("saga", |saga| {
        done(saga, "a").step("b", mark("b")).compensate_with(|b| b.step("un-b", fail())).step("fail", fail())
    });
    let host = stage.host([built(saga.step("after", mark("after")))?]).await?;
    let id = host.start_workflow("stuck", &Story::default()).await?;
    assert_eq!(words(&host, &id).await?, "a b un-a after");
    Ok(())
}

async fn a_compensation_knows_what_it_compensates(stage: Stage) -> Checked<()> {
    let saga = begin("knows").saga("saga", |saga| {
        saga.for_each(
            "all",
            |_| vec![1_u64, 2],
            |one| {
                one.call("make", |_, _, n| Ok(n * 10)).compensate_with(|b| {
                    b.call("report", |ctx, story, n| {
                        let made =
                            ctx.compensated().ok_or_else(|| StepError::fatal("it compensates nothing"))?;
                        let outcome = made.outcome.clone().unwrap_or_default();
                        Ok(format!("{}{n}{outcome}{}", made.step, story.n))
                    })
                    .output(|word, story, _| note(word, story))
                })
            },
        )
        .step("count", count())
        .step("fail", fail())
    });
    let host = stage.host([built(saga)?]).await?;
    let id = host.start_workflow("knows", &Story::default()).await?;
    assert_eq!(words(&host, &id).await?, "make2201 make1101");
    Ok(())
}

async fn cancel_compensates_an_open_saga_and_terminate_does_not(stage: Stage) -> Checked<()> {
    let open = begin("open").saga("saga", |saga| done(saga, "a").delay("long", |_| DAY));
    let host = stage.host([built(open)?]).await?;
    let ids = [
        host.start_workflow("open", &Story::default()).await?,
        host.start_workflow("open", &Story::default()).await?,
    ];
    host.idle().await?;
    host.cancel(&ids[0]).await?;
    host.terminate(&ids[1]).await?;
    host.idle().await?;
    assert_eq!(host.outcome::<Story>(&ids[0]).await?, Some(Outcome::Cancelled));
    assert_eq!(host.outcome::<Story>(&ids[1]).await?, Some(Outcome::Terminated));
    assert_eq!(host.data::<Story>(&ids[0]).await?.words, ["a", "un-a"]);
    assert_eq!(host.data::<Story>(&ids[1]).await?.words, ["a"]);
    Ok(())
}

async fn cancel_compensates_every_open_saga_also_beside_one_that_has_done_nothing(
    stage: Stage,
) -> Checked<()> {
    let both = begin("both").parallel("both", |all| {
        all.branch(|b| b.saga("empty", |saga| saga.delay("day", |_| DAY)))
            .branch(|b| b.saga("full", |saga| done(saga, "a").delay("long", |_| DAY)))
    });
    let host = stage.host([built(both)?]).await?;
    let id = host.start_workflow("both", &Story::default()).await?;
    host.idle().await?;
    host.cancel(&id).await?;
    host.idle().await?;
    assert_eq!(host.outcome::<Story>(&id).await?, Some(Outcome::Cancelled));
    assert_eq!(host.data::<Story>(&id).await?.words, ["a", "un-a"]);
    Ok(())
}

async fn compensations_may_wait(stage: Stage) -> Checked<()> {
    let saga = begin("wait").saga("saga", |saga| {
        saga.step("a", mark("a"))
            .compensate_with(|b| {
                b.delay("night", |_| DAY)
                    .wait_for("ok", Event::<()>::new("ok"), |_| "k")
                    .on_timeout(|_| DAY, |b| b.step("late", mark("late")))
                    .step("un-a", flaky(2, "un-a"))
                    .retry(Retry::exponential().attempts(3))
            })
            .step("fail", fail())
    });
    let host = stage.host_that_waits([built(saga.step("after", mark("after")))?]).await?;
    let id = host.start_workflow("wait", &Story::default()).await?;
    assert_eq!(words(&host, &id).await?, "a late un-a after");
    Ok(())
}

/// Gives a step a compensation that also runs if the step has not completed, and then writes the code of its failure.
fn cleaned<L: After>(steps: Sequence<Story, Main, (), L>, word: &'static str) -> Sequence<Story> {
    let told = task::<Story>()
        .call(move |ctx, _| {
            let failure = ctx.compensated().and_then(|step| step.failure.as_ref());
            Ok(failure.map_or_else(|| format!("un-{word}"), |why| format!("{}-{word}", why.code)))
        })
        .output(note);
    steps.compensate_even_if_failed(|undo| undo.step(format!("un-{word}"), told)).closed()
}

async fn a_step_that_asks_for_it_is_compensated_first_when_it_has_failed(stage: Stage) -> Checked<()> {
    let saga = begin("half")
        .saga("saga", |saga| {
            let saga = cleaned(done(saga, "a").step("b", flaky(1, "b")).retry(Retry::every(HOUR)), "b");
            let fails = saga.call("x", |ctx, _| match ctx.attempt() {
                1 => Err::<(), _>(StepError::retryable("not yet")),
                _ => explode(),
            });
            cleaned(fails.retry(Retry::every(HOUR).attempts(2)), "x")
        })
        .step("after", mark("after"));
    let host = stage.host([built(saga)?]).await?;
    let id = host.start_workflow("half", &Story::default()).await?;
    assert_eq!(words(&host, &id).await?, "a b panic-x un-b un-a after");
    Ok(())
}

async fn a_step_that_was_cut_short_is_compensated_when_its_body_has_ended(stage: Stage) -> Checked<()> {
    let (gate, other) = (Gate::default(), Gate::default());
    let slow = task::<Story>().with(gate.clone()).then(async |ctx, _| {
        ctx.app.enter();
        ctx.cancellation().cancelled().await;
        ctx.app.enter();
        Ok(())
    });
    let cleans = task::<Story>().with(gate.clone()).call(|ctx, _| {
        let ended = ctx.app.entered() == 2;
        Ok(if ended { "cleaned" } else { "too-soon" })
    });
    let saga = begin("short").saga("saga", |saga| {
        saga.parallel("both", |all| {
            all.branch(|b| {
                b.step("slow", slow).compensate_even_if_failed(|undo| undo.step("clean", cleans.output(note)))
            })
            .branch(|b| cleaned(b.step("wait", other.step()).step("x", fail()), "x"))
        })
    });
    let host = stage.host([built(saga)?]).await?;
    let id = host.start_workflow("short", &Story::default()).await?;
    gate.reached(1).await;
    other.reached(1).await;
    other.open();
    assert_eq!(words(&host, &id).await?, "error-x cleaned");
    Ok(())
}
