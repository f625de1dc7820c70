use wfe::definition::{Each, IntoStep, item_task, task};

use super::prelude::*;

scenarios!("loops":
    a_while_checks_its_condition_before_each_round,
    a_for_each_goes_over_its_items_in_order,
    a_for_each_over_nothing_completes,
    a_parallel_for_each_keeps_its_limit,
    the_results_of_a_for_each_can_be_read_by_what_follows,
    a_helper_that_is_used_twice_reads_the_results_of_its_own_for_each,
    results_distinguish_compensated_items_from_recovered_ones,
    a_step_that_answers_branches_runs_its_body_for_each_of_them,
    each_iteration_has_an_idempotency_key_of_its_own,
    a_loop_made_by_a_go_to_enters_its_steps_again,
);

async fn a_while_checks_its_condition_before_each_round(stage: Stage) -> Checked<()> {
    let down = begin("down").while_(
        "left",
        |story| story.n > 0,
        |round| round.change("take", |story| story.n -= 1).step("note", mark("round")),
    );
    let host = stage.host([built(down)?]).await?;
    for n in [0, 1, 4] {
        let id = host.start_workflow("down", &Story { n, ..Story::default() }).await?;
        let story = completed(&host, &id).await?;
        assert_eq!((story.n, u64::try_from(story.words.len())?), (0, n));
    }
    Ok(())
}

async fn a_for_each_goes_over_its_items_in_order(stage: Stage) -> Checked<()> {
    let all = begin("each").for_each(
        "all",
        |story| (0..story.n).collect(),
        |one| one.step("a", mark_item("a")).step("b", mark_item("b")),
    );
    let host = stage.host([built(all.step("after", mark("after")))?]).await?;
    let id = host.start_workflow("each", &Story { n: 3, ..Story::default() }).await?;
    assert_eq!(words(&host, &id).await?, "a0 b0 a1 b1 a2 b2 after");
    Ok(())
}

async fn a_for_each_over_nothing_completes(stage: Stage) -> Checked<()> {
    let none = begin("none")
        .for_each("all", |_| Vec::<u64>::new(), |one| one.step("a", mark_item("a")))
        .concurrent(3)
        .for_each(
            "one",
            |_| vec![(), ()],
            |one| one.for_each("inner", |_, ()| Vec::<u64>::new(), |one| one.step("b", mark_item("b"))),
        )
        .step("after", mark("after"));
    let host = stage.host([built(none)?]).await?;
    let id = host.start_workflow("none", &Story::default()).await?;
    assert_eq!(words(&host, &id).await?, "after");
    Ok(())
}

async fn a_parallel_for_each_keeps_its_limit(stage: Stage) -> Checked<()> {
    let gate = Gate::default();
    let few = begin("few")
        .for_each("all", |_| (0..7_u64).collect(), |one| one.step("hold", gate.step()))
        .concurrent(3);
    let host = stage.host([built(few)?]).await?;
    let id = host.start_workflow("few", &Story::default()).await?;
    for done in 0..=4 {
        gate.reached(done + 3).await;
        let live = host.pointers(&id).await?.into_iter().filter(|p| p.step_name.as_deref() == Some("hold"));
        assert!(live.count() <= 3);
        gate.open();
    }
    gate.open();
    gate.open();
    completed(&host, &id).await?;
    assert_eq!(gate.entered(), 7);
    Ok(())
}

async fn the_results_of_a_for_each_can_be_read_by_what_follows(stage: Stage) -> Checked<()> {
    let all = begin("sum")
        .for_each("all", |_| (1..=10_u64).collect(), |one| one.call("double", |_, _, n| Ok(n * 2)))
        .concurrent(4)
        .then("sum", async |ctx, _| {
            let (mut results, mut sum) = (ctx.results::<u64>("all"), 0);
            while let Some(result) = results.next().await? {
                sum += result.item + result.result.ok().flatten().and_then(|v| v.as_u64()).unwrap_or(0);
            }
            Ok(sum)
        })
        .output(|sum, story| story.n = sum);
    let host = stage.host_that_waits([built(all)?]).await?;
    let id = host.start_workflow("sum", &Story::default()).await?;
    assert_eq!(completed(&host, &id).await?.n, 55 * 3);
    Ok(())
}

/// Doubles the numbers below `n` and adds them up.
fn sum() -> impl IntoStep<Story> {
    let double = task::<Story>().change(|_| ()).for_each(
        "double",
        |story| (0..story.n).collect(),
        |one| one.call("times-two", |_, _, n: &u64| Ok(n * 2)),
    );
    double
        .then("add", async |ctx, _| {
            let (mut sum, mut all) = (0, ctx.results::<u64>("double"));
            while let Some(one) = all.next().await? {
                sum += one.result.ok().flatten().and_then(|n| n.as_u64()).unwrap_or(0);
            }
            Ok(sum)
        })
        .output(|sum, story| story.n = sum)
}

async fn a_helper_that_is_used_twice_reads_the_results_of_its_own_for_each(stage: Stage) -> Checked<()> {
    let twice = begin("twice").step("first", sum()).block("around", |all| all.step("second", sum()));
    let host = stage.host([built(twice)?]).await?;
    let id = host.start_workflow("twice", &Story { n: 3, ..Story::default() }).await?;
    assert_eq!(completed(&host, &id).await?.n, 30); // 0 + 2 + 4 is 6, and 0 + 2 + … + 10 is 30
    Ok(())
}

async fn results_distinguish_compensated_items_from_recovered_ones(stage: Stage) -> Checked<()> {
    fn items(_: &Story) -> Vec<u64> {
        vec![1, 2]
    }
    fn even(code: &'static str) -> impl IntoStep<Story, Each<u64>> {
        item_task::<Story, u64>().call(move |_, _, n| {
            if n.is_multiple_of(2) { Ok(*n) } else { Err(StepError::fatal("odd").with_code(code)) }
        })
    }
    let all = begin("all")
        .for_each("compensated", items, |one| {
            one.saga("saga", |saga| {
                saga.step("do", mark_item("do"))
                    .compensate_with(|b| b.step("revert", mark_item("revert")))
                    .step("pick", even("picky"))
            })
        })
        .for_each("recovered", items, |one| {
            one.step("try", even("try")).fallback(|b| b.call("instead", |_, _, n| Ok(n * 10)))
        })
        .for_each("failed", items, |one| {
            one.step("first", even("first"))
                .fallback(|b| b.step("second", even("second")).on_failure(OnFailure::Continue))
        })
        .then("tell", async |ctx, _| {
            let mut told = Vec::new();
            for step in ["compensated", "recovered", "failed"] {
                let mut results = ctx.results::<u64>(step);
                while let Some(one) = results.next().await? {
                    told.push(match one.result {
                        Ok(outcome) => format!("{step}{}={}", one.item, outcome.unwrap_or_default()),
                        Err(failure) => format!("{step}{}!{}", one.item, failure.code),
                    });
                }
            }
            Ok(told)
        })
        .output(|lines, story| story.words = lines);
    let host = stage.host_that_waits([built(all)?]).await?;
    let id = host.start_workflow("all", &Story::default()).await?;
    assert_eq!(
        completed(&host, &id).await?.words,
        [
            "compensated1!picky",
            "compensated2=null",
            "recovered1=10",
            "recovered2=2",
            "failed1!first",
            "failed2=2"
        ]
    );
    Ok(())
}

async fn a_step_that_answers_branches_runs_its_body_for_each_of_them(stage: Stage) -> Checked<()> {
    let all = begin("branches")
        .call("list", |_, _| Next::branch([5_u64, 6]))
        .each(|one| one.step("note", mark_item::<_, u64>("got")))
        .all_at_once()
        .step("after", mark("after"));
    let host = stage.host([built(all)?]).await?;
    let id = host.start_workflow("branches", &Story::default()).await?;
    let mut wrote = completed(&host, &id).await?.words;
    wrote[..2].sort_unstable();
    assert_eq!(wrote, ["got5", "got6", "after"]);
    Ok(())
}

/// A step that fails once, and then writes its idempotency key.
fn key() -> impl IntoStep<Story> {
    task::<Story>()
        .call(
            |ctx, _| {
                if ctx.attempt() == 1 { Err(StepError::retryable("once")) } else { Ok(ctx.idempotency_key()) }
            },
        )
        .output(note)
        .retry(Retry::exponential().attempts(2))
}

async fn each_iteration_has_an_idempotency_key_of_its_own(stage: Stage) -> Checked<()> {
    let all =
        begin("keys").for_each("all", |_| (0..4_u64).collect(), |one| one.step("key", key())).concurrent(2);
    let host = stage.host([built(all)?]).await?;
    let id = host.start_workflow("keys", &Story::default()).await?;
    let mut keys = completed(&host, &id).await?.words;
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 4);
    Ok(())
}

async fn a_loop_made_by_a_go_to_enters_its_steps_again(stage: Stage) -> Checked<()> {
    let back = begin("visits").step("count", count()).step("key", key()).if_(
        "again",
        |story| story.n < 20,
        |then| then.go_to("back", "count"),
    );
    let host = stage.host([built(back)?]).await?;
    let id = host.start_workflow("visits", &Story::default()).await?;
    let mut keys = completed(&host, &id).await?.words;
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 20);
    assert!(host.pointers(&id).await?.len() < 10, "steps that are entered again do not accumulate");
    Ok(())
}
