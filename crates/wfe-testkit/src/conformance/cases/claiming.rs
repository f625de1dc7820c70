//! Claiming: which instances have something to do, now or soon.

use std::collections::HashSet;

use wfe_core::traits::{Claimed, Control};

use super::prelude::*;

cases! { "claiming":
    a_due_instance_is_claimed_once,
    instances_that_are_not_due_or_cannot_run_are_not_claimed,
    only_the_requested_definitions_are_claimed,
    no_more_than_the_limit_are_claimed,
    a_claim_is_never_early,
    a_claim_that_finds_nothing_writes_nothing,
    a_pending_request_makes_an_instance_claimable,
    an_event_makes_an_unscheduled_instance_claimable,
    an_event_dated_ahead_makes_an_instance_claimable_from_its_date_on,
    an_event_that_was_consumed_makes_no_instance_claimable,
    an_open_wait_whose_next_event_was_processed_long_ago_makes_its_instance_claimable,
    an_event_from_before_its_wait_makes_an_instance_claimable,
    an_event_from_before_another_wait_of_its_instance_makes_it_claimable,
    an_event_that_is_marked_unprocessed_again_makes_an_instance_claimable,
    a_suspended_instance_is_not_claimed_for_its_time_or_its_event,
    what_is_claimed_with_its_load_equals_a_load,
    upcoming_instances_come_earliest_first,
    only_unowned_runnable_instances_of_the_definitions_are_upcoming,
    upcoming_is_what_becomes_due_after_the_bound,
}

/// Claims all instances that can be claimed now, and returns their ids in alphabetical order.
pub(super) async fn claim(bench: &Bench, store: &Store, owner: &Owner) -> Checked<Vec<String>> {
    let claimed = steps(store)?.claim(owner, &definitions(), bench.now(), 100).await?;
    let mut ids: Vec<_> = claimed.into_iter().map(|one| one.id).collect();
    ids.sort();
    Ok(ids)
}

pub(super) async fn started(store: &Store, instances: &[WorkflowInstance]) -> Checked<()> {
    for instance in instances {
        steps(store)?.start(None, instance).await?;
    }
    Ok(())
}

pub(super) fn due(id: &str, ms: i64) -> WorkflowInstance {
    WorkflowInstance { next_execution: Some(ms), ..instance(id) }
}

/// Asserts that exactly one instance was claimed, and returns it.
pub(super) fn only(mut claimed: Vec<Claimed>) -> Claimed {
    match claimed.pop() {
        Some(one) if claimed.is_empty() => one,
        last => unmet(&format!("expected one instance, got {claimed:?} and {last:?}")),
    }
}

pub(super) const NONE: [&str; 0] = [];

async fn a_due_instance_is_claimed_once(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    started(&store, &[instance("started")]).await?;
    store.create_new_workflow(&due("created", second_ms(0))).await?;
    let (one, two) = (steps.register().await?, steps.register().await?);
    assert_eq!(claim(&bench, &store, &one).await?, ["created", "started"]);
    assert_eq!(claim(&bench, &store, &two).await?, NONE);
    assert_eq!(claim(&bench, &store, &one).await?, NONE);
    Ok(())
}

async fn instances_that_are_not_due_or_cannot_run_are_not_claimed(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    started(&store, &[due("later", second_ms(10)), parked("parked")]).await?;
    for status in [WorkflowStatus::Suspended, WorkflowStatus::Complete, WorkflowStatus::Terminated] {
        started(&store, &[WorkflowInstance { status, ..instance(&status.to_string()) }]).await?;
    }
    let owner = steps(&store)?.register().await?;
    assert_eq!(claim(&bench, &store, &owner).await?, NONE);
    bench.clock.set(second(10));
    assert_eq!(claim(&bench, &store, &owner).await?, ["later"]);
    Ok(())
}

async fn only_the_requested_definitions_are_claimed(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    for (definition, version) in [("a", 1), ("a", 2), ("b", 1), ("c\"'", 7)] {
        let one = WorkflowInstance {
            workflow_definition_id: definition.to_owned(),
            version,
            ..instance(&format!("{definition} {version}"))
        };
        started(&store, &[one]).await?;
    }
    let owner = steps.register().await?;
    let claim = async |definitions: &[(&str, u32)]| -> Checked<Vec<String>> {
        let definitions: Vec<_> = definitions.iter().map(|&(id, version)| (id.to_owned(), version)).collect();
        let claimed = steps.claim(&owner, &definitions, bench.now(), 9).await?;
        let mut ids: Vec<_> = claimed.into_iter().map(|one| one.id).collect();
        ids.sort();
        Ok(ids)
    };
    assert_eq!(claim(&[]).await?, NONE);
    assert_eq!(claim(&[("b", 2), ("A", 1), ("a", 3)]).await?, NONE);
    assert_eq!(claim(&[("a", 2)]).await?, ["a 2"]);
    assert_eq!(claim(&[("c\"'", 7), ("a", 1), ("unknown", 1)]).await?, ["a 1", "c\"' 7"]);
    assert_eq!(claim(&[("b", 1)]).await?, ["b 1"]);
    Ok(())
}

async fn no_more_than_the_limit_are_claimed(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let instances: Vec<_> = (0..10).map(|n| instance(&format!("i{n}"))).collect();
    started(&store, &instances).await?;
    let owner = steps.register().await?;
    let mut ids = HashSet::new();
    for expected in [4, 4, 2, 0] {
        let claimed = steps.claim(&owner, &definitions(), bench.now(), 4).await?;
        assert_eq!(claimed.len(), expected);
        ids.extend(claimed.into_iter().map(|one| one.id));
    }
    assert_eq!(ids.len(), 10);
    Ok(())
}

async fn a_claim_is_never_early(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    started(&store, &[due("i", second_ms(1))]).await?;
    let owner = steps.register().await?;
    let early = second(1) - chrono::TimeDelta::nanoseconds(1);
    assert_eq!(steps.claim(&owner, &definitions(), early, 9).await?, []);
    assert_eq!(steps.acquire(&owner, &definitions(), "i", early).await?, None);
    assert_eq!(only(steps.claim(&owner, &definitions(), second(1), 9).await?).id, "i");
    Ok(())
}

async fn a_claim_that_finds_nothing_writes_nothing(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    started(&store, &[parked("i"), due("j", second_ms(10))]).await?;
    let before = [steps.load("i").await?, steps.load("j").await?];
    let owner = steps.register().await?;
    assert_eq!(claim(&bench, &store, &owner).await?, NONE);
    assert_eq!(steps.acquire(&owner, &definitions(), "i", bench.now()).await?, None);
    assert_eq!([steps.load("i").await?, steps.load("j").await?], before);
    Ok(())
}

async fn a_pending_request_makes_an_instance_claimable(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let suspended = WorkflowInstance { status: WorkflowStatus::Suspended, ..parked("suspended") };
    started(&store, &[parked("parked"), suspended, due("later", second_ms(10)), parked("unasked")]).await?;
    steps.request("parked", Control::Suspend).await?;
    steps.request("suspended", Control::Resume).await?;
    steps.request("later", Control::Cancel).await?;
    let owner = steps.register().await?;
    assert_eq!(claim(&bench, &store, &owner).await?, ["later", "parked", "suspended"]);
    Ok(())
}

/// Starts instances that are not scheduled. Each has waited since the start for an event with the name `name`
/// and the key `key`.
pub(super) async fn waiting(store: &Store, ids: &[&str]) -> Checked<()> {
    for id in ids {
        started(store, &[parked(id)]).await?;
        store.create_event_subscription(&wait(&format!("of {id}"), id, "name", "key", second(0))).await?;
    }
    Ok(())
}

async fn an_event_makes_an_unscheduled_instance_claimable(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    waiting(&store, &["i", "j", "closed"]).await?;
    store.terminate_subscription("of closed").await?;
    let owner = steps(&store)?.register().await?;
    store.create_event(&event("other", "name", "other", second(0))).await?;
    store.create_event(&event("old", "name", "key", second(-1))).await?;
    assert_eq!(claim(&bench, &store, &owner).await?, NONE);
    store.create_event(&event("e", "name", "key", second(0))).await?;
    assert_eq!(claim(&bench, &store, &owner).await?, ["i", "j"]);
    Ok(())
}

async fn an_event_dated_ahead_makes_an_instance_claimable_from_its_date_on(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    waiting(&store, &["i"]).await?;
    let owner = steps(&store)?.register().await?;
    store.create_event(&event("e", "name", "key", second(10))).await?;
    bench.clock.set(second(10) - chrono::TimeDelta::nanoseconds(1));
    assert_eq!(claim(&bench, &store, &owner).await?, NONE);
    bench.clock.set(second(10));
    assert_eq!(claim(&bench, &store, &owner).await?, ["i"]);
    Ok(())
}

async fn an_event_that_was_consumed_makes_no_instance_claimable(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    waiting(&store, &["i"]).await?;
    store.create_event(&event("e", "name", "key", second(0))).await?;
    let owner = steps.register().await?;
    let claimed = only(steps.claim(&owner, &definitions(), bench.now(), 9).await?);
    let taken = StepCommit {
        consumed: vec![consumed("of i", "e")],
        subscribed: vec![wait("again", "i", "name", "key", second(0))],
        release: true,
        ..commit("i")
    };
    done(&store, claimed.fence, taken).await?;
    assert_eq!(claim(&bench, &store, &owner).await?, NONE);
    store.create_event(&event("next", "name", "key", second(0))).await?;
    assert_eq!(claim(&bench, &store, &owner).await?, ["i"]);
    Ok(())
}

async fn an_open_wait_whose_next_event_was_processed_long_ago_makes_its_instance_claimable(
    bench: Bench,
) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let (owner, fence) = owned(&store, &parked("i")).await?;
    for id in ["e1", "e2"] {
        store.create_event(&event(id, "name", "key", second(0))).await?;
        assert!(steps.finish_event(id).await?);
    }
    let subscribed = ["v", "w"].map(|id| wait(id, "i", "name", "key", second(0))).into();
    done(&store, fence, StepCommit { subscribed, ..commit("i") }).await?;
    // One of the two waits takes the first event, so the other wait takes the second event next.
    let taken = StepCommit { consumed: vec![consumed("v", "e1")], release: true, ..commit("i") };
    done(&store, fence, taken).await?;
    assert_eq!(claim(&bench, &store, &owner).await?, ["i"]);
    let loaded = steps.load("i").await?;
    assert_eq!(loaded.deliveries.len(), 1);
    assert_eq!(
        (loaded.deliveries[0].subscription_id.as_str(), loaded.deliveries[0].event.id.as_str()),
        ("w", "e2")
    );
    Ok(())
}

async fn an_event_from_before_its_wait_makes_an_instance_claimable(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    for (id, at) in [("now", 0), ("ahead", 10)] {
        store.create_event(&event(id, "name", id, second(at))).await?;
    }
    for kind in ["commit", "plain", "with its instance"] {
        let id = |key: &str| format!("{key} {kind}");
        for key in ["now", "ahead"] {
            let (_owner, fence) = owned(&store, &parked(&id(key))).await?;
            let wait = wait(&id(key), &id(key), "name", key, second(0));
            let mut subscribed = Vec::new();
            match kind {
                "commit" => subscribed.push(wait),
                "plain" => drop(store.create_event_subscription(&wait).await?),
                _ => store.persist_workflow_with_subscriptions(&parked(&id(key)), &[wait]).await?,
            }
            let waiting = StepCommit { subscribed, release: true, ..commit(&id(key)) };
            done(&store, fence, waiting).await?;
        }
    }
    let owner = steps(&store)?.register().await?;
    assert_eq!(claim(&bench, &store, &owner).await?, ["now commit", "now plain", "now with its instance"]);
    bench.clock.set(second(10));
    let ahead = ["ahead commit", "ahead plain", "ahead with its instance"];
    assert_eq!(claim(&bench, &store, &owner).await?, ahead);
    Ok(())
}

async fn an_event_from_before_another_wait_of_its_instance_makes_it_claimable(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let mut owners = Vec::new();
    for plain in [false, true] {
        let (id, key) = (format!("i {plain}"), plain.to_string());
        for event_id in ["e", "f"] {
            store.create_event(&event(&format!("{event_id} {plain}"), "name", &key, second(0))).await?;
        }
        let (owner, fence) = owned(&store, &parked(&id)).await?;
        let waits =
            ["v", "w"].map(|wait_id| wait(&format!("{wait_id} {plain}"), &id, "name", &key, second(0)));
        let [first, second] = waits;
        let mut subscribed = vec![first];
        if !plain {
            subscribed.push(second.clone());
        }
        done(&store, fence, StepCommit { subscribed, ..commit(&id) }).await?;
        let consumed = vec![consumed(&format!("v {plain}"), &format!("e {plain}"))];
        done(&store, fence, StepCommit { consumed, release: true, ..commit(&id) }).await?;
        if plain {
            store.create_event_subscription(&second).await?;
        }
        assert_eq!(claim(&bench, &store, &owner).await?, [id]);
        // The owner is not dropped, so that it keeps the instances that it has claimed.
        owners.push(owner);
    }
    Ok(())
}

async fn an_event_that_is_marked_unprocessed_again_makes_an_instance_claimable(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    waiting(&store, &["i"]).await?;
    let owner = steps(&store)?.register().await?;
    store.create_event(&event("e", "name", "key", second(0))).await?;
    store.mark_event_processed("e").await?;
    store.mark_event_unprocessed("e").await?;
    assert_eq!(claim(&bench, &store, &owner).await?, ["i"]);
    Ok(())
}

async fn a_suspended_instance_is_not_claimed_for_its_time_or_its_event(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    waiting(&store, &["i"]).await?;
    let suspended = WorkflowInstance { status: WorkflowStatus::Suspended, ..instance("i") };
    store.persist_workflow(&suspended).await?;
    store.create_event(&event("e", "name", "key", second(0))).await?;
    let owner = steps(&store)?.register().await?;
    assert_eq!(claim(&bench, &store, &owner).await?, NONE);
    assert_eq!(steps(&store)?.acquire(&owner, &definitions(), "i", bench.now()).await?, None);
    store.persist_workflow(&parked("i")).await?;
    assert_eq!(claim(&bench, &store, &owner).await?, ["i"]);
    Ok(())
}

async fn what_is_claimed_with_its_load_equals_a_load(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let owner = steps.register().await?;
    assert!(steps.claim_loaded(&owner, &definitions(), bench.now(), 9).await?.is_empty());
    waiting(&store, &["i"]).await?;
    store.create_event(&event("e", "name", "key", second(0))).await?;
    steps.request("i", Control::Suspend).await?;
    for ids in [&["i"][..], &["a", "b", "c"]] {
        if ids.len() > 1 {
            started(&store, &ids.iter().map(|id| instance(id)).collect::<Vec<_>>()).await?;
        }
        let mut claimed = steps.claim_loaded(&owner, &definitions(), bench.now(), 9).await?;
        claimed.sort_by(|(one, _), (other, _)| one.id.cmp(&other.id));
        assert_eq!(claimed.iter().map(|(claimed, _)| claimed.id.as_str()).collect::<Vec<_>>(), ids);
        for (claimed, loaded) in claimed {
            let loaded = loaded?;
            assert_eq!((loaded.fence, loaded.owner), (claimed.fence, Some(owner.id())));
            assert_eq!(loaded, steps.load(&claimed.id).await?);
        }
    }
    Ok(())
}

async fn upcoming_instances_come_earliest_first(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    for (id, at) in [("c", 30), ("z", 10), ("a", 40), ("y", 20)] {
        started(&store, &[due(id, second_ms(at))]).await?;
    }
    let expected =
        [(10, "z"), (20, "y"), (30, "c"), (40, "a")].map(|(at, id)| (second_ms(at), id.to_owned()));
    assert_eq!(steps.upcoming(&definitions(), bench.now(), 9).await?, expected);
    assert_eq!(steps.upcoming(&definitions(), bench.now(), 2).await?, expected[..2]);
    assert_eq!(steps.upcoming(&definitions(), second(20), 9).await?, expected[2..]);
    let owner = steps.register().await?;
    assert_eq!(claim(&bench, &store, &owner).await?, NONE);
    Ok(())
}

async fn only_unowned_runnable_instances_of_the_definitions_are_upcoming(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let at = second_ms(10);
    let other = WorkflowInstance { version: 2, ..due("other version", at) };
    let suspended = WorkflowInstance { status: WorkflowStatus::Suspended, ..due("suspended", at) };
    started(&store, &[due("i", at), other, suspended, parked("parked"), instance("due now")]).await?;
    let (_owner, _fence) = owned(&store, &due("owned", at)).await?;
    assert_eq!(steps.upcoming(&definitions(), bench.now(), 9).await?, [(at, "i".to_owned())]);
    assert_eq!(steps.upcoming(&[], bench.now(), 9).await?, []);
    Ok(())
}

async fn upcoming_is_what_becomes_due_after_the_bound(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    started(&store, &[due("i", second_ms(10))]).await?;
    let nanosecond = chrono::TimeDelta::nanoseconds(1);
    let listed = [(second_ms(10), "i".to_owned())];
    let early = [second(10) - nanosecond, chrono::DateTime::<chrono::Utc>::MIN_UTC];
    for bound in early {
        assert_eq!(steps.upcoming(&definitions(), bound, 9).await?, listed, "{bound}");
    }
    let late = [second(10), second(10) + nanosecond, chrono::DateTime::<chrono::Utc>::MAX_UTC];
    for bound in late {
        assert_eq!(steps.upcoming(&definitions(), bound, 9).await?, [], "{bound}");
    }
    Ok(())
}
