use serde_json::Value;
use wfe::{
    definition::{Awaits, Main, OfActivity, OfTask, Sequence},
    status::Waits,
    steps::UserAnswer,
};

use super::prelude::*;

scenarios!("external tasks":
    an_activity_continues_with_its_worker_s_result,
    an_activity_whose_worker_fails_is_offered_again_as_its_policy_says,
    an_activity_that_no_worker_does_in_time_takes_its_timeout_branch,
    an_activity_that_no_worker_claims_in_time_takes_its_timeout_branch,
    the_first_claim_of_an_activity_ends_its_claim_limit,
    activities_of_a_parallel_for_each_are_all_open_at_once,
    a_body_that_waits_for_a_worker_finds_the_result,
    an_activity_and_an_event_are_found_by_what_the_instance_makes_of_their_names,
    a_user_task_takes_the_branch_of_the_option_chosen,
    a_user_task_without_an_answer_is_escalated_and_stays_open,
    a_user_task_without_an_answer_is_reassigned,
    an_activity_of_a_cancelled_instance_is_not_offered_any_more,
);

const PRICE: Activity<u64, u64> = Activity::new("price");
const DOUBLE: Activity<u64, u64> = Activity::new("double");

fn priced(id: &str) -> Sequence<Story, Main, (), Awaits<u64, OfActivity>> {
    begin(id).activity("price", PRICE, |story| story.n).output(|n, story| story.n = n)
}

fn doubled(input: &Value) -> Result<u64, StepError> {
    Ok(input.as_u64().ok_or_else(|| StepError::fatal("no number"))? * 2)
}

async fn an_activity_continues_with_its_worker_s_result(stage: Stage) -> Checked<()> {
    let host = stage.host_that_waits([built(priced("price").step("a", mark("after")))?]).await?;
    let id = host.start_workflow("price", &Story { n: 21, ..Story::default() }).await?;
    host.idle().await?;
    assert_eq!(host.work("price", doubled).await?, Some(id.clone()));
    let story = completed(&host, &id).await?;
    assert_eq!((story.n, story.words.join(" ").as_str()), (42, "after"));
    assert_eq!(host.work("price", doubled).await?, None);
    Ok(())
}

async fn an_activity_whose_worker_fails_is_offered_again_as_its_policy_says(stage: Stage) -> Checked<()> {
    let again = Retry::exponential().attempts(2).initial(HOUR).jitter(0.0);
    let retried = priced("retried").retry(again).on_failure(OnFailure::Continue);
    let host = stage.host_that_waits([built(retried.step("a", mark("after")))?]).await?;
    let id = host.start_workflow("retried", &Story::default()).await?;
    for _ in 0..2 {
        host.advance(HOUR).await?;
        let failed =
            host.work("price", |_| Err::<u64, _>(StepError::retryable("no").with_code("sold-out"))).await?;
        assert_eq!(failed, Some(id.clone()));
    }
    assert_eq!(words(&host, &id).await?, "after");
    let codes: Vec<_> = host.failures(&id).await?.into_iter().map(|f| (f.code, f.attempt)).collect();
    assert_eq!(codes, [("sold-out".to_owned(), 1), ("sold-out".to_owned(), 2)]);
    Ok(())
}

async fn an_activity_that_no_worker_does_in_time_takes_its_timeout_branch(stage: Stage) -> Checked<()> {
    let timed = begin("late")
        .activity("price", PRICE, |story| story.n)
        .on_timeout(|_| DAY, |late| late.step("late", mark("late")));
    let host = stage.host_that_waits([built(timed)?]).await?;
    let id = host.start_workflow("late", &Story::default()).await?;
    assert_eq!(words(&host, &id).await?, "late");
    assert_eq!(host.activities("price").await?, []);
    Ok(())
}

fn claimed_within_an_hour(id: &str) -> Sequence<Story, Main, (), Awaits<u64, OfActivity>> {
    priced(id).claim_within(|_| HOUR).on_timeout(|_| DAY, |late| late.step("late", mark("late")))
}

async fn an_activity_that_no_worker_claims_in_time_takes_its_timeout_branch(stage: Stage) -> Checked<()> {
    let host = stage.host_that_waits([built(claimed_within_an_hour("w"))?]).await?;
    let id = host.start_workflow("w", &Story { n: 4, ..Story::default() }).await?;
    host.advance(HOUR.saturating_sub(Duration::from_millis(1))).await?;
    // A worker that gives the activity back has not claimed it.
    let lease = Duration::from_mins(1);
    let Some(claim) = host.host().activities().claim_by_name("price", "one", lease).await? else {
        unmet("there is work")
    };
    claim.release().await?;
    host.advance(Duration::from_millis(1)).await?;
    assert_eq!(host.work("price", doubled).await?, None, "it is withdrawn");
    let began = stage.clock.now();
    assert_eq!(words(&host, &id).await?, "late");
    assert_eq!(stage.clock.now(), began);
    Ok(())
}

async fn the_first_claim_of_an_activity_ends_its_claim_limit(stage: Stage) -> Checked<()> {
    let host = stage.host_that_waits([built(claimed_within_an_hour("w"))?]).await?;
    let id = host.start_workflow("w", &Story { n: 4, ..Story::default() }).await?;
    host.idle().await?;
    let lease = Duration::from_mins(1);
    let Some(lost) = host.host().activities().claim_by_name("price", "one", lease).await? else {
        unmet("there is work")
    };
    // Its lease expires, as that of a worker that has died.
    host.advance(5 * HOUR).await?;
    assert!(lost.succeed(&7).await.is_err(), "its lease has expired");
    assert_eq!(host.work_as("two", "price", doubled).await?, Some(id.clone()));
    assert_eq!(completed(&host, &id).await?.n, 8);
    let other = host.start_workflow("w", &Story::default()).await?;
    host.idle().await?;
    let until = async || match host.status(&other).await?.positions.remove(0).waits {
        Waits::Activity { until, .. } => Ok::<_, wfe::WfeError>(until),
        waits => unmet(&format!("it waits for {waits:?}")),
    };
    assert_eq!(until().await?, Some(stage.clock.now() + HOUR));
    let held = host.host().activities().claim_by_name("price", "three", lease).await?;
    assert!(held.is_some());
    assert_eq!(until().await?, Some(stage.clock.now() + DAY));
    assert_eq!(words(&host, &other).await?, "late", "the other limit counts, claimed or not");
    Ok(())
}

async fn activities_of_a_parallel_for_each_are_all_open_at_once(stage: Stage) -> Checked<()> {
    let all = begin("all")
        .for_each(
            "all",
            |_| (1..=5_u64).collect(),
            |one| one.activity("do", DOUBLE, |_, n| *n).output(|n, story, _| story.n += n),
        )
        .concurrent(5);
    let host = stage.host_that_waits([built(all)?]).await?;
    let id = host.start_workflow("all", &Story::default()).await?;
    host.idle().await?;
    assert_eq!(host.activities("double").await?.len(), 5);
    while host.work("double", doubled).await?.is_some() {}
    assert_eq!(completed(&host, &id).await?.n, 30);
    Ok(())
}

async fn a_body_that_waits_for_a_worker_finds_the_result(stage: Stage) -> Checked<()> {
    let ask = begin("body")
        .call("ask", |ctx, _| match ctx.received(DOUBLE)? {
            None => Next::wait_for_activity(DOUBLE, &4),
            Some(n) => Next::outcome(&n),
        })
        .output(|next, story| {
            if let Next::Outcome(n) = next {
                story.n = n.as_u64().unwrap_or(0);
            }
        });
    let host = stage.host_that_waits([built(ask)?]).await?;
    let id = host.start_workflow("body", &Story::default()).await?;
    host.idle().await?;
    assert_eq!(host.work("double", doubled).await?, Some(id.clone()));
    assert_eq!(completed(&host, &id).await?.n, 8);
    Ok(())
}

fn asked<L>(steps: Sequence<Story, Main, (), L>) -> Sequence<Story, Main, (), Awaits<UserAnswer, OfTask>> {
    steps
        .user_task("ask", |_| "May it pass?")
        .assignee(|_| "ada")
        .option("yes", |yes| yes.step("passed", mark("passed")))
        .option("no", |no| no.step("refused", mark("refused")))
        .label("No, it may not")
        .plain_option("later")
}

async fn an_activity_and_an_event_are_found_by_what_the_instance_makes_of_their_names(
    stage: Stage,
) -> Checked<()> {
    const DONE: Event<u64> = Event::new("done");
    let named = begin("named")
        .activity_named(
            "do",
            |step, story| Activity::<u64, u64>::named(format!("{}-{}", story.text, step.instance_id())),
            |story| story.n,
        )
        .output(|n, story| story.n = n)
        .wait_for_keyed("hear", DONE, |step, _| step.instance_id())
        .output(|n, story| story.n += n);
    let host = stage.host_that_waits([built(named)?]).await?;
    let id = host.start_workflow("named", &Story { n: 4, text: "do".into(), ..Story::default() }).await?;
    host.idle().await?;
    assert_eq!(host.work("do", doubled).await?, None);
    assert_eq!(host.work_as("ada", &format!("do-{id}"), doubled).await?, Some(id.clone()));
    host.publish(DONE, &*id, 10).await?;
    assert_eq!(completed(&host, &id).await?.n, 18);
    Ok(())
}

async fn a_user_task_takes_the_branch_of_the_option_chosen(stage: Stage) -> Checked<()> {
    let host = stage.host_that_waits([built(asked(begin("ask")).step("a", mark("after")))?]).await?;
    for (option, expected) in [("yes", "passed after"), ("no", "refused after"), ("later", "after")] {
        let id = host.start_workflow("ask", &Story::default()).await?;
        host.idle().await?;
        let tasks = host.user_tasks().await?;
        let [open] = &tasks[..] else { unmet(&format!("open are {tasks:?}")) };
        assert_eq!((&*open.instance_id, open.task.assignee.as_deref()), (&*id, Some("ada")));
        assert_eq!(open.task.options, ["yes", "no", "later"]);
        assert_eq!((open.task.label("no"), open.task.label("later")), ("No, it may not", "later"));
        host.choose(&open.id, UserAnswer::new(option).by("ada")).await?;
        assert_eq!(words(&host, &id).await?, expected);
        assert!(host.choose(&open.id, option).await.is_err(), "it is answered once");
    }
    Ok(())
}

async fn a_user_task_without_an_answer_is_escalated_and_stays_open(stage: Stage) -> Checked<()> {
    let escalated = asked(begin("ask"))
        .escalate(|_| DAY, |b| b.step("remind", mark("reminded")).delay("w", |_| DAY).step("x", mark("x")))
        .step("a", mark("after"));
    let host = stage.host_that_waits([built(escalated)?]).await?;
    let id = host.start_workflow("ask", &Story::default()).await?;
    host.advance(DAY + HOUR).await?;
    assert_eq!(host.data::<Story>(&id).await?.words, ["reminded"]);
    let open = host.user_tasks().await?.remove(0);
    host.choose(&open.id, "yes").await?;
    assert_eq!(words(&host, &id).await?, "reminded passed after");
    Ok(())
}

async fn a_user_task_without_an_answer_is_reassigned(stage: Stage) -> Checked<()> {
    let passed = asked(begin("ask")).reassign(|_| DAY, |_| "grace");
    let host = stage.host_that_waits([built(passed)?]).await?;
    let id = host.start_workflow("ask", &Story::default()).await?;
    host.idle().await?;
    let first = host.user_tasks().await?.remove(0);
    host.advance(DAY).await?;
    let second = host.user_tasks().await?.remove(0);
    assert_eq!(second.task.assignee.as_deref(), Some("grace"));
    assert!(host.choose(&first.id, "yes").await.is_err(), "the first assignee can no longer answer it");
    host.choose(&second.id, "no").await?;
    assert_eq!(words(&host, &id).await?, "refused");
    Ok(())
}

async fn an_activity_of_a_cancelled_instance_is_not_offered_any_more(stage: Stage) -> Checked<()> {
    let host = stage.host_that_waits([built(asked(priced("gone")))?]).await?;
    let id = host.start_workflow("gone", &Story::default()).await?;
    host.idle().await?;
    host.cancel(&id).await?;
    host.idle().await?;
    assert_eq!(host.activities("price").await?, []);
    assert_eq!(host.outcome::<Story>(&id).await?, Some(Outcome::Cancelled));
    Ok(())
}
