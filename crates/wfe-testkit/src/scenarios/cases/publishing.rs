use chrono::{DateTime, Utc};
use wfe::{
    WfeError,
    definition::{Awaits, Main, OfEvent, Sequence},
    error::NoEffectReason,
    host::Published,
};

use super::prelude::*;

scenarios!("publishing":
    an_approval_that_comes_too_early_is_received_and_comes_again_without_effect,
    an_id_that_was_used_too_early_is_told,
    an_event_tells_how_many_waits_it_met,
    an_event_for_an_instance_is_refused_before_its_start_and_after_its_end,
);

const APPROVED: Event<String> = Event::new("approved");

/// What the answer says, without the id of the event: is it new, is it consumed, how many waits did it meet?
fn told(published: &Published) -> (bool, bool, usize) {
    (published.is_new, published.is_consumed, published.waits)
}

/// An order that waits for its approval, which has the key `order-17`.
fn order() -> Sequence<Story, Main, (), Awaits<String, OfEvent>> {
    begin("order").wait_for("approval", APPROVED, |_| "order-17").output(note)
}

async fn an_approval_that_comes_too_early_is_received_and_comes_again_without_effect(
    stage: Stage,
) -> Checked<()> {
    // The order remembers when it was placed, and accepts every approval from then on.
    let placed: DateTime<Utc> = stage.clock.now();
    let host = stage.host_that_waits([built(order().effective(move |_| placed))?]).await?;
    let approve = async |by: &str| {
        let id = "approval of order-17"; // derived from what is approved
        host.publish(APPROVED, "order-17", by.to_owned()).id(id).await.map(|published| told(&published))
    };
    stage.clock.advance(MINUTE);
    assert_eq!(approve("ada").await?, (true, false, 0));
    stage.clock.advance(MINUTE);
    let id = host.start_workflow("order", &Story::default()).await?;
    assert_eq!(words(&host, &id).await?, "ada");
    assert_eq!(approve("bob").await?, (false, true, 0));
    host.idle().await?;
    assert_eq!(host.data::<Story>(&id).await?.words, ["ada"]);
    Ok(())
}

async fn an_id_that_was_used_too_early_is_told(stage: Stage) -> Checked<()> {
    let host = stage.host_that_waits([built(order())?]).await?;
    let approve = async |id: &str| {
        host.publish(APPROVED, "order-17", id.to_owned()).id(id).await.map(|published| told(&published))
    };
    assert_eq!(approve("one").await?, (true, false, 0));
    stage.clock.advance(MINUTE);
    let id = host.start_workflow("order", &Story::default()).await?;
    host.idle().await?;
    // No instance receives it, and publishing it again does not help.
    assert_eq!(approve("one").await?, (false, false, 0));
    assert_eq!(approve("two").await?, (true, false, 1));
    assert_eq!(words(&host, &id).await?, "two");
    assert_eq!(approve("two").await?, (false, true, 0));
    Ok(())
}

async fn an_event_tells_how_many_waits_it_met(stage: Stage) -> Checked<()> {
    let host = stage.host_that_waits([built(order())?]).await?;
    for _ in 0..3 {
        host.start_workflow("order", &Story::default()).await?;
    }
    host.idle().await?;
    let tomorrow = stage.clock.now() + DAY;
    let ahead = host.publish(APPROVED, "order-17", "later".to_owned()).effective(tomorrow).await?;
    assert_eq!(told(&ahead), (true, false, 0));
    assert_eq!(told(&host.publish(APPROVED, "order-17", "ada".to_owned()).await?), (true, false, 3));
    host.idle().await?;
    assert_eq!(told(&host.publish(APPROVED, "order-17", "bob".to_owned()).await?), (true, false, 0));
    Ok(())
}

async fn an_event_for_an_instance_is_refused_before_its_start_and_after_its_end(stage: Stage) -> Checked<()> {
    let waits = begin("waits")
        .then("know", async |ctx, _| Ok(ctx.instance_id().to_owned()))
        .output(|id, story| story.text = id)
        .wait_for("approval", APPROVED, |story| story.text.clone())
        .output(note);
    let host = stage.host_that_waits([built(waits)?]).await?;
    let early = host.instance::<Story>("not started").publish(APPROVED, "ada".to_owned()).id("1").await;
    assert!(matches!(&early, Err(WfeError::WorkflowNotFound(id)) if id == "not started"), "{early:?}");
    let id = host.start_workflow("waits", &Story::default()).await?;
    host.idle().await?;
    let instance = host.instance::<Story>(&id);
    let approve = async |own: &str| instance.publish(APPROVED, own.to_owned()).id(own).await;
    assert_eq!(told(&approve("1").await?), (true, false, 1), "the refused call has not used up its id");
    assert_eq!(words(&host, &id).await?, "1");
    assert_eq!(told(&approve("1").await?), (false, true, 0));
    let late = approve("2").await;
    assert!(
        matches!(
            &late,
            Err(WfeError::NoEffect {
                request: "publish",
                reason: NoEffectReason::Ended(Ending::Completed),
                ..
            })
        ),
        "{late:?}"
    );
    Ok(())
}
