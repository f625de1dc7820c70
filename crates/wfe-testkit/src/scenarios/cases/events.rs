use std::sync::Mutex;

use wfe::{
    WfeError, WorkflowHost,
    definition::{Awaits, IntoStep, Main, OfEvent, Sequence, task},
    error::Kind,
    steps::EventWait,
};
use wfe_core::sync::lock;

use super::prelude::*;

scenarios!("events":
    an_event_reaches_a_wait_that_came_before_it,
    an_event_reaches_a_wait_that_comes_after_it,
    waits_in_a_loop_take_each_event_once_and_in_order,
    an_event_of_the_same_id_is_accepted_and_has_no_effect,
    an_event_under_the_id_of_one_of_another_name_or_key_is_refused,
    an_event_reaches_every_instance_that_waits_for_it,
    only_an_event_of_its_key_reaches_a_wait,
    an_event_dated_in_the_future_reaches_no_wait_before,
    an_event_from_before_the_effective_date_is_skipped,
    an_event_from_before_the_start_is_skipped_though_the_clock_does_not_move,
    an_event_from_before_the_start_is_skipped_though_the_clock_was_set_back,
    an_event_from_after_the_start_counts_whatever_the_clock_shows,
    an_effective_date_counts_even_if_it_is_that_of_the_start,
    an_event_that_a_step_publishes_counts_as_any_other,
    a_wait_in_a_branch_that_timed_out_takes_no_event_any_more,
    a_cancel_condition_cancels_a_wait,
    an_event_reaches_an_instance_whose_step_runs,
    a_body_that_waits_for_an_event_finds_it,
    two_waits_of_one_instance_that_are_open_at_once_share_an_event,
);

const WORD: Event<String> = Event::new("word");

fn wait(id: &str) -> Sequence<Story, Main, (), Awaits<String, OfEvent>> {
    begin(id).wait_for("wait", WORD, |_| "k").output(note)
}

async fn an_event_reaches_a_wait_that_came_before_it(stage: Stage) -> Checked<()> {
    let host = stage.host_that_waits([built(wait("wait"))?]).await?;
    let id = host.start_workflow("wait", &Story::default()).await?;
    host.idle().await?;
    assert_eq!(host.current_steps(&id).await?, ["wait"]);
    host.publish_event("word", "k", "hello").await?;
    assert_eq!(words(&host, &id).await?, "hello");
    Ok(())
}

async fn an_event_reaches_a_wait_that_comes_after_it(stage: Stage) -> Checked<()> {
    let late = begin("late").delay("long", |_| DAY).wait_for("wait", WORD, |_| "k").output(note);
    let host = stage.host_that_waits([built(late)?]).await?;
    let id = host.start_workflow("late", &Story::default()).await?;
    host.publish_event("word", "k", "early").await?;
    host.idle().await?;
    assert_eq!(host.current_steps(&id).await?, ["long"]);
    assert_eq!(words(&host, &id).await?, "early");
    // The instance does not receive an event from before its start.
    let id = host.start_workflow("late", &Story::default()).await?;
    host.advance(2 * DAY).await?;
    assert_eq!(host.current_steps(&id).await?, ["wait"]);
    Ok(())
}

async fn waits_in_a_loop_take_each_event_once_and_in_order(stage: Stage) -> Checked<()> {
    let all = begin("loop").while_(
        "more",
        |s| s.words.len() < 6,
        |round| round.wait_for("wait", WORD, |_| "k").output(note),
    );
    let host = stage.host_that_waits([built(all)?]).await?;
    let id = host.start_workflow("loop", &Story::default()).await?;
    for word in ["a", "b", "c"] {
        host.publish_event("word", "k", word).await?;
    }
    host.idle().await?;
    for word in ["d", "e", "f"] {
        host.publish_event("word", "k", word).await?;
        host.idle().await?;
    }
    assert_eq!(words(&host, &id).await?, "a b c d e f");
    Ok(())
}

/// A step whose body waits in this way for a word. When the word has come, the step writes it.
fn ask(wait: Next) -> impl IntoStep<Story> {
    task::<Story>()
        .call(move |ctx, _| match ctx.event::<String>()? {
            None => Ok(wait.clone()),
            Some(word) => Next::outcome(&word),
        })
        .output(|next, story| {
            if let Next::Outcome(word) = next {
                story.words.extend(word.as_str().map(str::to_owned));
            }
        })
}

async fn an_event_of_the_same_id_is_accepted_and_has_no_effect(stage: Stage) -> Checked<()> {
    let twice = wait("twice").wait_for("again", WORD, |_| "k").output(note);
    let host = stage.host_that_waits([built(twice)?]).await?;
    let id = host.start_workflow("twice", &Story::default()).await?;
    for own in ["1", "1", "2", "1"] {
        host.publish(WORD, "k", own.to_owned()).id(own).await?;
        host.idle().await?;
    }
    assert_eq!(words(&host, &id).await?, "1 2");
    Ok(())
}

async fn an_event_under_the_id_of_one_of_another_name_or_key_is_refused(stage: Stage) -> Checked<()> {
    let host = stage.host_that_waits([built(wait("own"))?]).await?;
    let id = host.start_workflow("own", &Story::default()).await?;
    let publish =
        |name, key, data: &str| host.publish(Event::<String>::new(name), key, data.to_owned()).id("mine");
    for (name, key) in [("other", "k"), ("word", "other"), ("word", "k")] {
        match publish(name, key, "first").await {
            Ok(_) if name == "other" => {}
            Err(WfeError::AlreadyExists { kind: Kind::Event, id }) if name != "other" => {
                assert_eq!(id, "mine");
            }
            told => unmet(&format!("{name} {key}: {told:?}")),
        }
    }
    host.idle().await?;
    assert_eq!(host.current_steps(&id).await?, ["wait"]);
    publish("other", "k", "again").await?;
    host.publish_event("word", "k", "hello").await?;
    assert_eq!(words(&host, &id).await?, "hello");
    Ok(())
}

async fn an_event_reaches_every_instance_that_waits_for_it(stage: Stage) -> Checked<()> {
    let host = stage.host_that_waits([built(wait("all"))?]).await?;
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(host.start_workflow("all", &Story::default()).await?);
    }
    host.idle().await?;
    host.publish_event("word", "k", "hello").await?;
    host.idle().await?;
    for id in &ids {
        assert_eq!(words(&host, id).await?, "hello");
    }
    Ok(())
}

async fn only_an_event_of_its_key_reaches_a_wait(stage: Stage) -> Checked<()> {
    let keyed = begin("keyed").wait_for("wait", WORD, |story| story.text.clone()).output(note);
    let host = stage.host_that_waits([built(keyed)?]).await?;
    let id = host.start_workflow("keyed", &Story { text: "mine".to_owned(), ..Story::default() }).await?;
    host.publish_event("word", "other", "no").await?;
    host.publish_event("another", "mine", "no").await?;
    host.idle().await?;
    assert_eq!(host.current_steps(&id).await?, ["wait"]);
    host.publish_event("word", "mine", "yes").await?;
    assert_eq!(words(&host, &id).await?, "yes");
    Ok(())
}

async fn an_event_dated_in_the_future_reaches_no_wait_before(stage: Stage) -> Checked<()> {
    let host =
        stage.host_that_waits([built(wait("ahead").wait_for("again", WORD, |_| "k").output(note))?]).await?;
    let id = host.start_workflow("ahead", &Story::default()).await?;
    host.hosts()[0].publish(WORD, "k", "tomorrow".to_owned()).effective(stage.clock.now() + DAY).await?;
    host.publish_event("word", "k", "today").await?;
    host.advance(DAY.saturating_sub(Duration::from_millis(1))).await?;
    assert_eq!(host.data::<Story>(&id).await?.words, ["today"]);
    host.advance(Duration::from_millis(1)).await?;
    assert_eq!(words(&host, &id).await?, "today tomorrow");
    Ok(())
}

async fn an_event_from_before_the_effective_date_is_skipped(stage: Stage) -> Checked<()> {
    let from = stage.clock.now() + DAY;
    let host = stage.host_that_waits([built(wait("from").effective(move |_| from))?]).await?;
    let id = host.start_workflow("from", &Story::default()).await?;
    host.publish_event("word", "k", "early").await?;
    host.advance(DAY).await?;
    assert_eq!(host.current_steps(&id).await?, ["wait"]);
    host.publish_event("word", "k", "late").await?;
    assert_eq!(words(&host, &id).await?, "late");
    Ok(())
}

async fn an_event_from_before_the_start_is_skipped_though_the_clock_does_not_move(
    stage: Stage,
) -> Checked<()> {
    let host = stage.host_that_waits([built(wait("still"))?]).await?;
    host.publish_event("word", "k", "before").await?;
    let id = host.start_workflow("still", &Story::default()).await?;
    host.idle().await?;
    assert_eq!(host.current_steps(&id).await?, ["wait"]);
    host.publish_event("word", "k", "after").await?;
    assert_eq!(words(&host, &id).await?, "after");
    Ok(())
}

async fn an_event_from_before_the_start_is_skipped_though_the_clock_was_set_back(
    stage: Stage,
) -> Checked<()> {
    let host = stage.host_that_waits([built(wait("back"))?]).await?;
    host.publish_event("word", "k", "before").await?;
    stage.clock.set(stage.clock.now() - HOUR);
    let id = host.start_workflow("back", &Story::default()).await?;
    host.advance(DAY).await?;
    assert_eq!(host.current_steps(&id).await?, ["wait"]);
    host.publish_event("word", "k", "after").await?;
    assert_eq!(words(&host, &id).await?, "after");
    Ok(())
}

async fn an_event_from_after_the_start_counts_whatever_the_clock_shows(stage: Stage) -> Checked<()> {
    let late = begin("late")
        .wait_for("go", Event::<()>::new("go"), |_| "k")
        .wait_for("wait", WORD, |_| "k")
        .output(note);
    let host = stage.host_that_waits([built(late)?]).await?;
    let same_instant = host.start_workflow("late", &Story::default()).await?;
    host.publish_event("word", "k", "now").await?;
    let set_back = host.start_workflow("late", &Story::default()).await?;
    stage.clock.set(stage.clock.now() - HOUR);
    host.publish_event("word", "k", "earlier").await?;
    host.publish_event("go", "k", &()).await?;
    assert_eq!(words(&host, &same_instant).await?, "now");
    assert_eq!(words(&host, &set_back).await?, "earlier");
    Ok(())
}

async fn an_effective_date_counts_even_if_it_is_that_of_the_start(stage: Stage) -> Checked<()> {
    let from = stage.clock.now();
    let dated = wait("dated").effective(move |_| from);
    let event = EventWait { name: "word".to_owned(), key: "k".to_owned(), effective: Some(from) };
    let by_body = begin("body").step("ask", ask(Next::WaitForEvent(event)));
    let host = stage.host_that_waits([built(dated)?, built(by_body)?]).await?;
    host.publish_event("word", "k", "before").await?;
    for definition in ["dated", "body"] {
        let id = host.start_workflow(definition, &Story::default()).await?;
        assert_eq!(words(&host, &id).await?, "before");
    }
    Ok(())
}

async fn an_event_that_a_step_publishes_counts_as_any_other(stage: Stage) -> Checked<()> {
    // The host is dropped after the scenario, because a host that its own steps keep alive would never end.
    let publisher: Arc<Mutex<Option<WorkflowHost>>> = Arc::default();
    let publish = |word: &'static str| {
        task::<Story>().with(publisher.clone()).then(async move |ctx, _| {
            let host = lock(&ctx.app).clone();
            let host = host.ok_or_else(|| StepError::fatal("there is no host"))?;
            host.publish(WORD, "k", word.to_owned()).await?;
            Ok(())
        })
    };
    let parent = begin("parent")
        .step("before", publish("before"))
        .sub_workflow("child", WorkflowName::new("child"), |_| Story::default())
        .output(|of, story| story.words.extend(of.words));
    let within = begin("child").step("after", publish("after")).wait_for("wait", WORD, |_| "k").output(note);
    let host = stage.host_that_waits([built(parent)?, built(within)?]).await?;
    *lock(&publisher) = Some(host.host().clone());
    let id = host.start_workflow("parent", &Story::default()).await?;
    let words = words(&host, &id).await;
    lock(&publisher).take();
    assert_eq!(words?, "after");
    Ok(())
}

async fn a_wait_in_a_branch_that_timed_out_takes_no_event_any_more(stage: Stage) -> Checked<()> {
    let timed = begin("timed").parallel("both", |all| {
        all.branch(|b| {
            b.wait_for("wait", WORD, |_| "k")
                .output(note)
                .on_timeout(|_| HOUR, |late| late.step("late", mark("late")))
                .step("after", mark("after"))
        })
        .branch(|b| b.delay("long", |_| DAY).wait_for("other", WORD, |_| "k").output(note))
    });
    let host = stage.host_that_waits([built(timed)?]).await?;
    let id = host.start_workflow("timed", &Story::default()).await?;
    host.advance(HOUR).await?;
    assert_eq!(host.data::<Story>(&id).await?.words, ["late", "after"]);
    host.publish_event("word", "k", "hello").await?;
    host.idle().await?;
    assert_eq!(host.current_steps(&id).await?, ["long"]);
    assert_eq!(words(&host, &id).await?, "late after hello");
    Ok(())
}

async fn a_cancel_condition_cancels_a_wait(stage: Stage) -> Checked<()> {
    let cancel = begin("cancel").parallel("both", |all| {
        all.branch(|b| {
            b.wait_for("wait", WORD, |_| "k")
                .output(note)
                .cancel_when(|story| story.n == 1)
                .step("a", mark("on"))
        })
        .branch(|b| b.delay("hour", |_| HOUR).step("count", count()))
    });
    let host = stage.host_that_waits([built(cancel)?]).await?;
    let id = host.start_workflow("cancel", &Story::default()).await?;
    assert_eq!(words(&host, &id).await?, "on");
    Ok(())
}

async fn an_event_reaches_an_instance_whose_step_runs(stage: Stage) -> Checked<()> {
    stage.must_be_notified()?;
    let gate = Gate::default();
    let both = begin("busy").parallel("both", |all| {
        all.branch(|b| b.step("slow", gate.step())).branch(|b| b.wait_for("wait", WORD, |_| "k").output(note))
    });
    let host = stage.host_that_waits([built(both)?]).await?;
    let id = host.start_workflow("busy", &Story::default()).await?;
    gate.reached(1).await;
    host.publish_event("word", "k", "hello").await?;
    host.until(async || host.data::<Story>(&id).await.is_ok_and(|story| story.words == ["hello"])).await?;
    assert_eq!(gate.entered(), 1, "its step still runs");
    gate.open();
    completed(&host, &id).await?;
    Ok(())
}

async fn a_body_that_waits_for_an_event_finds_it(stage: Stage) -> Checked<()> {
    let asking = begin("ask").step("ask", ask(Next::wait_for_event(Event::<u64>::new("word"), "k")));
    let host = stage.host_that_waits([built(asking)?]).await?;
    let id = host.start_workflow("ask", &Story::default()).await?;
    host.idle().await?;
    host.publish_event("word", "k", "answer").await?;
    assert_eq!(words(&host, &id).await?, "answer");
    Ok(())
}

async fn two_waits_of_one_instance_that_are_open_at_once_share_an_event(stage: Stage) -> Checked<()> {
    let both = begin("share").parallel("both", |all| {
        all.branch(|b| b.wait_for("one", WORD, |_| "k").output(note))
            .branch(|b| b.wait_for("two", WORD, |_| "k").output(note))
    });
    let host = stage.host_that_waits([built(both)?]).await?;
    let id = host.start_workflow("share", &Story::default()).await?;
    host.idle().await?;
    host.publish_event("word", "k", "hello").await?;
    assert_eq!(words(&host, &id).await?, "hello hello");
    Ok(())
}
