use super::prelude::*;

scenarios!("branching":
    an_if_takes_the_branch_that_its_condition_names,
    a_decision_takes_the_branch_of_its_value,
    a_decision_takes_the_branch_of_the_value_that_the_step_before_it_gave,
    all_branches_that_match_run_and_otherwise_only_if_none_does,
    what_follows_a_parallel_comes_after_all_of_its_branches,
    branches_that_run_at_once_lose_no_update,
    a_slow_branch_delays_no_other,
    a_go_to_leads_back_and_out_of_a_branch,
    an_end_in_a_branch_ends_the_whole_instance,
);

async fn an_if_takes_the_branch_that_its_condition_names(stage: Stage) -> Checked<()> {
    let tossed = begin("if")
        .if_else(
            "large",
            |story| story.n > 10,
            |then| then.step("yes", mark("large")),
            |otherwise| otherwise.step("no", mark("small")),
        )
        .step("after", mark("after"));
    let host = stage.host([built(tossed)?]).await?;
    for (n, expected) in [(11, "large after"), (10, "small after")] {
        let id = host.start_workflow("if", &Story { n, ..Story::default() }).await?;
        assert_eq!(words(&host, &id).await?, expected);
    }
    Ok(())
}

async fn a_decision_takes_the_branch_of_its_value(stage: Stage) -> Checked<()> {
    let decide = begin("decide").decide(
        "by-number",
        |story| story.n,
        |by| {
            by.when(1, |one| one.step("one", mark("one")))
                .when(2, |two| two.step("two", mark("two")))
                .otherwise(|other| other.step("other", mark("other")))
        },
    );
    let host = stage.host([built(decide)?]).await?;
    for (n, expected) in [(1, "one"), (2, "two"), (u64::MAX, "other")] {
        let id = host.start_workflow("decide", &Story { n, ..Story::default() }).await?;
        assert_eq!(words(&host, &id).await?, expected);
    }
    Ok(())
}

async fn a_decision_takes_the_branch_of_the_value_that_the_step_before_it_gave(stage: Stage) -> Checked<()> {
    let weighed = begin("weigh")
        .then("weigh", async |_, story| Ok(if story.n > 10 { "heavy" } else { "light" }))
        .then_decide("by-weight", |by| {
            by.when("heavy", |heavy| heavy.step("two", mark("two people")))
                .otherwise(|light| light.step("one", mark("one person")))
        })
        .decide_text(
            "by-text",
            |story| &story.text,
            |by| by.when("fragile", |fragile| fragile.step("wrap", mark("wrapped"))),
        );
    let host = stage.host([built(weighed)?]).await?;
    for (n, text, expected) in [(11, "fragile", "two people wrapped"), (10, "", "one person")] {
        let story = Story { n, text: text.to_owned(), ..Story::default() };
        let id = host.start_workflow("weigh", &story).await?;
        assert_eq!(words(&host, &id).await?, expected);
    }
    Ok(())
}

async fn all_branches_that_match_run_and_otherwise_only_if_none_does(stage: Stage) -> Checked<()> {
    let branch = begin("branch").branch("what", |by| {
        by.when(|story| story.n > 1, |one| one.step("above", mark("above")))
            .when(|story| story.n % 2 == 1, |one| one.step("odd", mark("odd")))
            .otherwise(|none| none.step("neither", mark("neither")))
    });
    let host = stage.host([built(branch)?]).await?;
    for (n, expected) in [(3, &["above", "odd"][..]), (2, &["above"]), (1, &["odd"]), (0, &["neither"])] {
        let id = host.start_workflow("branch", &Story { n, ..Story::default() }).await?;
        let mut wrote = completed(&host, &id).await?.words;
        wrote.sort_unstable();
        assert_eq!(wrote, expected);
    }
    Ok(())
}

async fn what_follows_a_parallel_comes_after_all_of_its_branches(stage: Stage) -> Checked<()> {
    let gates = [Gate::default(), Gate::default()];
    let both = begin("both")
        .parallel("both", |all| {
            all.branch(|b| b.step("one", gates[0].step()).step("a", mark("a")))
                .branch(|b| b.step("two", gates[1].step()).step("b", mark("b")))
        })
        .step("after", mark("after"));
    let host = stage.host([built(both)?]).await?;
    let id = host.start_workflow("both", &Story::default()).await?;
    // Both branches run at the same time.
    for gate in &gates {
        gate.reached(1).await;
    }
    gates[1].open();
    host.until(async || host.data::<Story>(&id).await.is_ok_and(|story| story.words == ["b"])).await?;
    gates[0].open();
    assert_eq!(words(&host, &id).await?, "b a after");
    Ok(())
}

async fn branches_that_run_at_once_lose_no_update(stage: Stage) -> Checked<()> {
    let add = begin("add").parallel("all", |mut all| {
        for at in 0..50 {
            all = all.branch(|b| {
                b.then(format!("add-{at}"), async |_, _| {
                    tokio::task::yield_now().await;
                    Ok(())
                })
                .output(move |(), story| story.n += at)
            });
        }
        all
    });
    let host = stage.host([built(add)?]).await?;
    let id = host.start_workflow("add", &Story::default()).await?;
    assert_eq!(completed(&host, &id).await?.n, (0..50).sum::<u64>());
    Ok(())
}

async fn a_slow_branch_delays_no_other(stage: Stage) -> Checked<()> {
    let gate = Gate::default();
    let both = begin("slow").parallel("both", |all| {
        all.branch(|b| b.step("slow", gate.step()).step("last", mark("slow")))
            .branch(|b| b.step("one", mark("one")).step("two", mark("two")).step("three", mark("three")))
    });
    let host = stage.host([built(both)?]).await?;
    let id = host.start_workflow("slow", &Story::default()).await?;
    host.until(async || host.data::<Story>(&id).await.is_ok_and(|story| story.words.len() == 3)).await?;
    gate.open();
    assert_eq!(words(&host, &id).await?, "one two three slow");
    Ok(())
}

async fn a_go_to_leads_back_and_out_of_a_branch(stage: Stage) -> Checked<()> {
    let back = begin("back")
        .step("first", count())
        .if_("again", |story| story.n < 3, |then| then.step("note", mark("again")).go_to("up", "first"))
        .step("last", mark("last"));
    let host = stage.host([built(back)?]).await?;
    let id = host.start_workflow("back", &Story::default()).await?;
    let story = completed(&host, &id).await?;
    assert_eq!((story.n, story.words.join(" ").as_str()), (3, "again again last"));
    Ok(())
}

async fn an_end_in_a_branch_ends_the_whole_instance(stage: Stage) -> Checked<()> {
    let end = begin("end")
        .parallel("both", |all| {
            all.branch(|b| b.delay("long", |_| DAY).step("late", mark("late")))
                .branch(|b| b.step("enough", mark("enough")).end("stop"))
        })
        .step("after", mark("after"));
    let host = stage.host([built(end)?]).await?;
    let id = host.start_workflow("end", &Story::default()).await?;
    host.idle().await?;
    assert_eq!(words(&host, &id).await?, "enough");
    let status = host.status(&id).await?;
    assert_eq!((status.state, status.end_step.as_deref()), (State::Completed, Some("stop")));
    host.advance(2 * DAY).await?;
    assert_eq!(host.data::<Story>(&id).await?.words, ["enough"]);
    Ok(())
}
