//! Hosts: what they say about themselves, and who is asked for it.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use wfe_core::traits::{Host, HostCard, RunningBody, StepStore};

use super::prelude::*;

cases! { "hosts":
    a_card_is_read_as_it_was_written_until_the_next_one,
    a_card_with_whatever_text_is_read_back,
    a_long_card_is_read_back,
    an_owner_without_a_card_is_listed_and_one_that_has_ended_is_not,
    hosts_of_another_provider_are_listed,
    an_owner_that_died_is_listed_with_its_card_until_others_take_its_instances,
    a_question_reaches_every_host_and_a_mere_look_none,
    who_wants_fresh_cards_gets_them_and_does_not_wait_longer,
    a_host_that_does_not_answer_delays_only_for_the_time_given,
}

/// How long an answer may take, even on a busy machine. A case that waits for one fails after this time.
const PATIENCE: Duration = Duration::from_secs(20);

/// The hosts as they are listed without asking them. Skips the case if the store knows no hosts.
async fn listed(steps: &Arc<dyn StepStore>) -> Checked<Vec<Host>> {
    Ok(steps.hosts(Duration::ZERO).await?)
}

/// Registers an owner. Skips the case if the store does not list it.
async fn registered(steps: &Arc<dyn StepStore>) -> Checked<Owner> {
    let owner = steps.register().await?;
    if listed(steps).await?.is_empty() {
        return Err(Stop::Skipped("the store does not list hosts"));
    }
    Ok(owner)
}

fn card(owner: &Owner, program: &str) -> HostCard {
    let mut card = HostCard::new(owner.id(), program, second(0));
    card.machine = Some("machine".to_owned());
    card
}

fn host(owner: u64, is_alive: bool, card: Option<HostCard>) -> Host {
    let mut host = Host::new(owner);
    (host.is_alive, host.card) = (Some(is_alive), card);
    host
}

async fn a_card_is_read_as_it_was_written_until_the_next_one(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let owner = registered(&steps).await?;
    let mut full = card(&owner, "program");
    full.written = second(1);
    full.definitions = vec![("a".to_owned(), 1), ("a".to_owned(), u32::MAX)];
    (full.bodies_limit, full.bodies_running) = (u64::MAX, 1);
    (full.instances_limit, full.instances_busy) = (7, 2);
    let body = RunningBody { instance: "i".to_owned(), step: "s".to_owned(), since: second(-1) };
    (full.running, full.next_due) = (vec![body], Some(second(9)));
    for card in [card(&owner, "before"), full, card(&owner, "after")] {
        steps.describe(&owner, &card).await?;
        // A heartbeat does not change the card.
        steps.heartbeat(&owner).await?;
        assert_eq!(listed(&steps).await?, [host(owner.id(), true, Some(card))]);
    }
    Ok(())
}

async fn a_card_with_whatever_text_is_read_back(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let owner = registered(&steps).await?;
    let long = "wide 𝕎".repeat(99);
    let texts =
        ["", "naïve café", "\0", "\u{1b}[31m\n\"\\", "card 1, 2 bytes", "lease 1 ms, heartbeat 2", &long];
    for text in texts {
        let mut card = card(&owner, text);
        card.definitions = vec![(text.to_owned(), 1)];
        steps.describe(&owner, &card).await?;
        assert_eq!(listed(&steps).await?, [host(owner.id(), true, Some(card))], "{text:?}");
    }
    Ok(())
}

async fn a_long_card_is_read_back(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let owner = registered(&steps).await?;
    let mut long = card(&owner, "program");
    // 64 KiB as JSON, which every store must allow.
    long.definitions = (0..1_200).map(|n| (format!("definition-with-a-long-name-{n:010}"), n)).collect();
    for card in [long, card(&owner, "program")] {
        assert!(serde_json::to_string(&card)?.len() <= 64 << 10);
        steps.describe(&owner, &card).await?;
        assert_eq!(listed(&steps).await?, [host(owner.id(), true, Some(card))]);
    }
    Ok(())
}

async fn an_owner_without_a_card_is_listed_and_one_that_has_ended_is_not(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let (one, other) = (registered(&steps).await?, steps.register().await?);
    steps.describe(&one, &card(&one, "one")).await?;
    let mut both = vec![host(one.id(), true, Some(card(&one, "one"))), host(other.id(), true, None)];
    both.sort_by_key(|host| host.owner);
    assert_eq!(listed(&steps).await?, both);
    drop(one);
    assert_eq!(listed(&steps).await?, [host(other.id(), true, None)]);
    drop(other);
    assert_eq!(listed(&steps).await?, []);
    Ok(())
}

async fn hosts_of_another_provider_are_listed(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let other = bench.open_another().await?;
    let (steps, others) = (steps(&store)?, steps(&other)?);
    let owner = registered(&steps).await?;
    assert_eq!(listed(&others).await?, [host(owner.id(), true, None)]);
    steps.describe(&owner, &card(&owner, "one")).await?;
    assert_eq!(listed(&others).await?, [host(owner.id(), true, Some(card(&owner, "one")))]);
    Ok(())
}

async fn an_owner_that_died_is_listed_with_its_card_until_others_take_its_instances(
    bench: Bench,
) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    drop(registered(&steps).await?);
    let (owner, _) = owned(&store, &instance("i")).await?;
    let (id, described) = (owner.id(), card(&owner, "one"));
    steps.describe(&owner, &described).await?;
    bench.kill(owner).await?;
    assert_eq!(listed(&steps).await?, [host(id, false, Some(described))]);
    let heir = steps.register().await?;
    assert_eq!(steps.claim(&heir, &definitions(), bench.now(), 9).await?.len(), 1);
    assert_eq!(listed(&steps).await?, [host(heir.id(), true, None)]);
    Ok(())
}

async fn a_question_reaches_every_host_and_a_mere_look_none(bench: Bench) -> Checked<()> {
    bench.must_tell_news()?;
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let _owner = registered(&steps).await?;
    let mut questions = [steps.questions(), steps.questions()];
    let mut news = steps.news();
    listed(&steps).await?;
    for questions in &mut questions {
        assert_eq!(questions.next().now_or_never(), None, "a look is no question");
    }
    steps.hosts(Duration::from_millis(1)).await?;
    for questions in &mut questions {
        let came = tokio::time::timeout(PATIENCE, questions.next()).await;
        assert_eq!(came.ok().flatten(), Some(()), "no question came");
    }
    assert_eq!(news.next().now_or_never(), None, "a question is no news");
    Ok(())
}

async fn who_wants_fresh_cards_gets_them_and_does_not_wait_longer(bench: Bench) -> Checked<()> {
    bench.must_tell_news()?;
    let store = bench.open().await?;
    let steps = steps(&store)?;
    // The one answers, the other has no card, and so is not waited for.
    let (one, other) = (registered(&steps).await?, steps.register().await?);
    steps.describe(&one, &card(&one, "stale")).await?;
    let mut questions = steps.questions();
    let answers = async {
        while let Some(()) = questions.next().await {
            steps.describe(&one, &card(&one, "fresh")).await?;
        }
        Checked::Ok(())
    };
    let hosts = tokio::select! {
        hosts = tokio::time::timeout(PATIENCE, steps.hosts(2 * PATIENCE)) => hosts,
        _ = answers => unmet("the questions ended"),
    };
    let Ok(hosts) = hosts else {
        unmet("the call waited for a host that had answered, or for one without a card")
    };
    let mut both = vec![host(one.id(), true, Some(card(&one, "fresh"))), host(other.id(), true, None)];
    both.sort_by_key(|host| host.owner);
    assert_eq!(hosts?, both);
    Ok(())
}

async fn a_host_that_does_not_answer_delays_only_for_the_time_given(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let owner = registered(&steps).await?;
    steps.describe(&owner, &card(&owner, "silent")).await?;
    let hosts = tokio::time::timeout(PATIENCE, steps.hosts(Duration::from_millis(20))).await;
    let Ok(hosts) = hosts else { unmet("the call waited longer") };
    assert_eq!(hosts?, [host(owner.id(), true, Some(card(&owner, "silent")))]);
    Ok(())
}
