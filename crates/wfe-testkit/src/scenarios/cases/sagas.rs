use super::prelude::*;

scenarios!("sagas":
    a_saga_that_fails_is_compensated_in_reverse_order_of_completion,
    what_follows_a_saga_comes_after_its_compensation,
    a_saga_is_retried_as_a_whole,
    a_saga_in_a_for_each_in_an_if_compensates_only_itself,
    a_failure_cancels_the_other_branches_of_its_saga,
    nested_sagas_are_compensated_with_the_one_around_them,
    two_sagas_inside_of_one_are_compensated_at_once,
    a_fallback_that_fails_has_the_saga_around_compensated,
    a_compensation_that_fails_keeps_no_other_from_running,
    a_compensation_knows_what_it_compensates,
    cancel_compensates_an_open_saga_and_terminate_does_not,
    cancel_compensates_every_open_saga_also_beside_one_that_has_done_nothing,
    compensations_may_wait,
);

/// A step with its compensation.
fn done<I: wfe::definition::Item>(body: Body<I>, word: &'static str) -> Body<I> {
    body.then(word, mark(word))
        .compensate_with(|undo| undo.then(format!("un-{word}"), mark(format!("un-{word}"))))
}

async fn a_saga_that_fails_is_compensated_in_reverse_order_of_completion(stage: Stage) -> Checked<()> {
    let slow = begin("order").saga("saga", |saga| {
        done(saga, "a")
            .parallel("both", |all| {
                all.branch(|b| done(b.delay("two", |_, ()| 2 * HOUR), "b"))
                    .branch(|b| done(b.delay("one", |_, ()| HOUR), "c"))
            })
            .then("fail", fail())
    });
    let host = stage.host([built(slow.then("after", mark("after")))?]).await?;
    let id = host.start_workflow("order", &Story::default()).await?;
    assert_eq!(words(&host, &id).await?, "a c b un-b un-c un-a after");
    Ok(())
}

async fn what_follows_a_saga_comes_after_its_compensation(stage: Stage) -> Checked<()> {
    let gate = Gate::default();
    let undo = gate.clone();
    let slow = begin("slow")
        .saga("saga", move |saga| {
            saga.then("a", mark("a"))
                .compensate_with(move |b| b.then("undo", undo.step()))
                .then("fail", fail())
        })
        .then("after", mark("after"));
    let host = stage.host([built(slow)?]).await?;
    let id = host.start_workflow("slow", &Story::default()).await?;
    gate.reached(1).await;
    assert_eq!(host.data::<Story>(&id).await?.words, ["a"]);
    gate.open();
    assert_eq!(words(&host, &id).await?, "a after");
    Ok(())
}

async fn a_saga_is_retried_as_a_whole(stage: Stage) -> Checked<()> {
    let fails_once: Plain<(), ()> = inline(|_, story: Arc<Story>| async move {
        if story.n < 2 { Err(StepError::retryable("not yet")) } else { Ok(()) }
    });
    let again = Retry::up_to(3).initial(HOUR).jitter(0.0);
    let saga = begin("again")
        .saga("saga", |saga| done(saga.then("count", count()), "a").then("fail", fails_once))
        .retry(again)
        .then("after", mark("after"));
    let host = stage.host([built(saga)?]).await?;
    let id = host.start_workflow("again", &Story::default()).await?;
    assert_eq!(words(&host, &id).await?, "a un-a a after");
    Ok(())
}

async fn a_saga_in_a_for_each_in_an_if_compensates_only_itself(stage: Stage) -> Checked<()> {
    let picky: Plain<(), u64> = wfe::definition::inline_item(|_, _, n: u64| async move {
        if n == 1 { Err(StepError::fatal("one")) } else { Ok(()) }
    });
    let undo: Plain<String, u64> = mark_item("un");
    let all = begin("nested").if_(
        "yes",
        |_, ()| true,
        |then| {
            then.for_each("all", each(|_: &Story| vec![0_u64, 1, 2]), |one| {
                one.saga("saga", |saga| {
                    saga.then("do", mark_item("do"))
                        .compensate_with(|b| b.then("undo", undo))
                        .then("pick", picky)
                })
                .on_failure(OnFailure::Continue)
            })
        },
    );
    let host = stage.host([built(all.then("after", mark("after")))?]).await?;
    let id = host.start_workflow("nested", &Story::default()).await?;
    assert_eq!(words(&host, &id).await?, "do0 do1 un1 do2 after");
    Ok(())
}

async fn a_failure_cancels_the_other_branches_of_its_saga(stage: Stage) -> Checked<()> {
    let both = begin("both").saga("saga", |saga| {
        saga.parallel("both", |all| {
            all.branch(|b| done(b, "a").delay("long", |_, ()| DAY).then("never", mark("never")))
                .branch(|b| b.delay("hour", |_, ()| HOUR).then("fail", fail()))
        })
    });
    let host = stage.host([built(both.then("after", mark("after")))?]).await?;
    let (id, began) = (host.start_workflow("both", &Story::default()).await?, stage.clock.now());
    assert_eq!(words(&host, &id).await?, "a un-a after");
    assert_eq!(stage.clock.now() - began, chrono::TimeDelta::hours(1));
    Ok(())
}

async fn nested_sagas_are_compensated_with_the_one_around_them(stage: Stage) -> Checked<()> {
    let outer = begin("outer").saga("outer", |outer| {
        done(outer, "a").saga("inner", |inner| done(done(inner, "b"), "c")).then("fail", fail())
    });
    let host = stage.host([built(outer)?]).await?;
    let id = host.start_workflow("outer", &Story::default()).await?;
    assert_eq!(words(&host, &id).await?, "a b c un-c un-b un-a");
    Ok(())
}

async fn two_sagas_inside_of_one_are_compensated_at_once(stage: Stage) -> Checked<()> {
    let (gate, left, right) = (Gate::default(), Gate::default(), Gate::default());
    let (slow, fails_left, fails_right) = (gate.clone(), left.clone(), right.clone());
    let outer = begin("outer").saga("outer", move |outer| {
        outer
            .parallel("both", |all| {
                all.branch(|b| {
                    b.saga("left", |b| done(b, "a").then("gate", fails_left.step()).then("x", fail()))
                        .on_failure(OnFailure::Continue)
                })
                .branch(|b| {
                    b.saga("right", |b| done(b, "c").then("wait", fails_right.step()).then("y", fail()))
                        .on_failure(OnFailure::Continue)
                })
                .branch(|b| b.then("slow", slow.step()))
            })
            .then("last", mark("last"))
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
                .saga("inner", |inner| done(inner, "b").then("x", fail()))
                .fallback(|instead| instead.then("f", fail()))
        })
        .then("after", mark("after"));
    let host = stage.host([built(outer)?]).await?;
    let id = host.start_workflow("outer", &Story::default()).await?;
    assert_eq!(words(&host, &id).await?, "a b un-b un-a after");
    Ok(())
}

async fn a_compensation_that_fails_keeps_no_other_from_running(stage: Stage) -> Checked<()> {
    let saga = begin("stuck").saga("saga", |saga| {
        done(saga, "a").then("b", mark("b")).compensate_with(|b| b.then("un-b", fail())).then("fail", fail())
    });
    let host = stage.host([built(saga.then("after", mark("after")))?]).await?;
    let id = host.start_workflow("stuck", &Story::default()).await?;
    assert_eq!(words(&host, &id).await?, "a b un-a after");
    Ok(())
}

async fn a_compensation_knows_what_it_compensates(stage: Stage) -> Checked<()> {
    let report: Plain<String, u64> =
        wfe::definition::inline_item(|ctx: Ctx, story: Arc<Story>, n: u64| async move {
            let compensated = ctx.compensated().ok_or_else(|| StepError::fatal("it compensates nothing"))?;
            Ok(format!(
                "{}{n}{}{}",
                compensated.step,
                compensated.outcome.clone().unwrap_or_default(),
                story.n
            ))
        });
    let report = report.output(|word: &String, story: &mut Story| story.words.push(word.clone()));
    let make: Plain<u64, u64> = wfe::definition::inline_item(|_, _, n: u64| async move { Ok(n * 10) });
    let saga = begin("knows").saga("saga", |saga| {
        saga.for_each("all", each(|_: &Story| vec![1_u64, 2]), |one| {
            one.then("make", make).compensate_with(|b| b.then("report", report))
        })
        .then("count", count())
        .then("fail", fail())
    });
    let host = stage.host([built(saga)?]).await?;
    let id = host.start_workflow("knows", &Story::default()).await?;
    assert_eq!(words(&host, &id).await?, "make2201 make1101");
    Ok(())
}

async fn cancel_compensates_an_open_saga_and_terminate_does_not(stage: Stage) -> Checked<()> {
    let open = begin("open").saga("saga", |saga| done(saga, "a").delay("long", |_, ()| DAY));
    let host = stage.host([built(open)?]).await?;
    let ids = [
        host.start_workflow("open", &Story::default()).await?,
        host.start_workflow("open", &Story::default()).await?,
    ];
    host.idle().await?;
    host.host().cancel(&ids[0]).await?;
    host.host().terminate(&ids[1]).await?;
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
        all.branch(|b| b.saga("empty", |saga| saga.delay("day", |_, ()| DAY)))
            .branch(|b| b.saga("full", |saga| done(saga, "a").delay("long", |_, ()| DAY)))
    });
    let host = stage.host([built(both)?]).await?;
    let id = host.start_workflow("both", &Story::default()).await?;
    host.idle().await?;
    host.host().cancel(&id).await?;
    host.idle().await?;
    assert_eq!(host.outcome::<Story>(&id).await?, Some(Outcome::Cancelled));
    assert_eq!(host.data::<Story>(&id).await?.words, ["a", "un-a"]);
    Ok(())
}

async fn compensations_may_wait(stage: Stage) -> Checked<()> {
    let saga = begin("wait").saga("saga", |saga| {
        saga.then("a", mark("a"))
            .compensate_with(|b| {
                b.delay("night", |_, ()| DAY)
                    .wait_for(
                        "ok",
                        event("ok", |_: &Story, ()| "k")
                            .timeout(|_, ()| DAY, |b| b.then("late", mark("late"))),
                    )
                    .then("un-a", flaky(2, "un-a").retry(Retry::up_to(2)))
            })
            .then("fail", fail())
    });
    let host = stage.host_that_waits([built(saga.then("after", mark("after")))?]).await?;
    let id = host.start_workflow("wait", &Story::default()).await?;
    assert_eq!(words(&host, &id).await?, "a late un-a after");
    Ok(())
}
