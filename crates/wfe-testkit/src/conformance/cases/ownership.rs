//! Ownership: which owner may write to an instance, and when another owner takes over the instance.

use std::collections::HashSet;

use futures_util::future::try_join_all;
use wfe_core::traits::{Control, StepStore};

use super::{
    claiming::{NONE, claim, only, started},
    prelude::*,
};

cases! { "ownership":
    every_owner_has_an_id_of_its_own,
    every_claim_gives_a_greater_fence,
    two_owners_never_claim_the_same_instance,
    owners_at_two_providers_never_claim_the_same_instance,
    an_instance_of_a_dead_owner_can_be_claimed,
    another_provider_does_not_claim_an_instance_of_a_living_owner,
    an_instance_of_an_owner_whose_provider_is_gone_can_be_claimed,
    plain_writes_do_not_change_ownership,
    a_child_has_no_owner_when_it_is_created,
    many_instances_are_loaded_as_each_by_itself_and_unknown_ids_are_skipped,
}

async fn every_owner_has_an_id_of_its_own(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let mut ids = HashSet::new();
    for _ in 0..3 {
        let (one, two) = (steps.register().await?, steps.register().await?);
        assert!(ids.insert(one.id()) && ids.insert(two.id()));
    }
    Ok(())
}

async fn every_claim_gives_a_greater_fence(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let (_owner, mut last) = owned(&store, &instance("i")).await?;
    let owner = steps.register().await?;
    for _ in 0..3 {
        done(&store, last, StepCommit { release: true, ..commit("i") }).await?;
        let claimed = only(steps.claim(&owner, &definitions(), bench.now(), 9).await?);
        assert!(claimed.fence > last);
        assert_eq!(steps.load("i").await?.fence, claimed.fence);
        assert_eq!(steps.commit_step(last, &commit("i")).await?, Committed::Lost);
        last = claimed.fence;
    }
    Ok(())
}

/// Several owners claim concurrently, a few instances at a time, until no instance is left. Each owner
/// commits the instances that it has claimed.
async fn claim_all(bench: &Bench, stores: &[Store]) -> Checked<()> {
    let instances: Vec<_> = (0..60).map(|n| instance(&format!("i{n:02}"))).collect();
    started(&stores[0], &instances).await?;
    let mut hosts: Vec<(Arc<dyn StepStore>, Owner)> = Vec::new();
    for n in 0..4 {
        let steps = steps(&stores[n % stores.len()])?;
        let owner = steps.register().await?;
        hosts.push((steps, owner));
    }
    let claiming = hosts.iter().map(|(steps, owner)| async move {
        let mut mine = Vec::new();
        loop {
            let claimed = steps.claim(owner, &definitions(), bench.now(), 3).await?;
            if claimed.is_empty() {
                return Ok::<_, WfeError>(mine);
            }
            for one in claimed {
                let run = StepCommit { data: Some(json!(owner.id())), ..commit(&one.id) };
                assert_eq!(steps.commit_step(one.fence, &run).await?, Committed::Done);
                mine.push(one.id);
            }
        }
    });
    let mut ids = try_join_all(claiming).await?.concat();
    ids.sort();
    assert_eq!(ids, instances.into_iter().map(|one| one.id).collect::<Vec<_>>());
    Ok(())
}

async fn two_owners_never_claim_the_same_instance(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    claim_all(&bench, &[store]).await
}

async fn owners_at_two_providers_never_claim_the_same_instance(bench: Bench) -> Checked<()> {
    let one = bench.open().await?;
    steps(&one)?;
    let two = bench.open_another().await?;
    claim_all(&bench, &[one, two]).await
}

async fn an_instance_of_a_dead_owner_can_be_claimed(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let (dead, old) = owned(&store, &instance("i")).await?;
    let (_alive, _fence) = owned(&store, &instance("j")).await?;
    done(&store, old, StepCommit { data: Some(json!("half way")), ..commit("i") }).await?;
    let heir = steps.register().await?;
    assert_eq!(claim(&bench, &store, &heir).await?, NONE);
    drop(dead);
    let claimed = only(steps.claim(&heir, &definitions(), bench.now(), 9).await?);
    assert!(claimed.id == "i" && claimed.fence > old);
    assert_eq!(steps.commit_step(old, &commit("i")).await?, Committed::Lost);
    assert_eq!(steps.load("i").await?.instance.data, "half way");
    Ok(())
}

async fn another_provider_does_not_claim_an_instance_of_a_living_owner(bench: Bench) -> Checked<()> {
    let one = bench.open().await?;
    let (owner, _fence) = owned(&one, &instance("i")).await?;
    let two = bench.open_another().await?;
    let other = steps(&two)?.register().await?;
    assert_ne!(other.id(), owner.id());
    assert_eq!(claim(&bench, &two, &other).await?, NONE);
    assert_eq!(steps(&two)?.acquire(&other, &definitions(), "i", bench.now()).await?, None);
    drop(owner);
    assert_eq!(claim(&bench, &two, &other).await?, ["i"]);
    Ok(())
}

async fn an_instance_of_an_owner_whose_provider_is_gone_can_be_claimed(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (owner, old) = owned(&store, &instance("i")).await?;
    let dead = owner.id();
    drop(owner);
    let store = bench.reopen(store).await?;
    let steps = steps(&store)?;
    let heir = steps.register().await?;
    assert_ne!(heir.id(), dead, "an owner's id was given out again");
    let Some(claimed) = steps.acquire(&heir, &definitions(), "i", bench.now()).await? else {
        unmet("nothing to acquire")
    };
    assert!(claimed.fence > old);
    Ok(())
}

async fn plain_writes_do_not_change_ownership(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    store.persist_workflow(&full_instance("i", 1)).await?;
    store.persist_workflow(&instance("i")).await?;
    let other = steps(&store)?.register().await?;
    assert_eq!(claim(&bench, &store, &other).await?, NONE);
    done(&store, fence, commit("i")).await
}

async fn a_child_has_no_owner_when_it_is_created(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    done(&store, fence, StepCommit { created: vec![instance("child")], ..commit("i") }).await?;
    let other = steps(&store)?.register().await?;
    assert_eq!(claim(&bench, &store, &other).await?, ["child"]);
    Ok(())
}

async fn many_instances_are_loaded_as_each_by_itself_and_unknown_ids_are_skipped(
    bench: Bench,
) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    started(&store, &["plain", "a\0b", "'x'"].map(instance)).await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    let waits = ["w", "v"].map(|id| wait(id, "i", "n", "k", bench.now())).to_vec();
    let opened = StepCommit { subscribed: waits, ..commit("i") };
    done(&store, fence, opened).await?;
    store.create_event(&event("e", "n", "k", bench.now())).await?;
    steps.request("i", Control::Suspend).await?;
    let ids = ["i", "unknown", "a\0b", "plain", "'x'"].map(str::to_owned);
    let mut many = Vec::new();
    for (id, one) in steps.load_many(&ids).await? {
        let one = one?;
        assert_eq!(one.instance.id, id);
        many.push(one);
    }
    many.sort_by(|one, other| one.instance.id.cmp(&other.instance.id));
    let mut each = Vec::new();
    for id in ["'x'", "a\0b", "i", "plain"] {
        each.push(steps.load(id).await?);
    }
    assert_eq!(each[2].deliveries.len(), 2);
    assert_eq!(many, each);
    assert!(steps.load_many(&[]).await?.is_empty());
    Ok(())
}
