//! Deaths of processes: which deaths are counted for the instances that were running, and which are not.

use std::time::Duration;

use wfe_core::{
    models::ExecutionPointer,
    traits::{Claimed, Control, Deaths, Isolation, StepStore},
};

use super::{
    claiming::{NONE, claim, only, started},
    prelude::*,
};

cases! { "deaths":
    the_deaths_of_a_process_are_counted_until_a_commit,
    a_death_counts_for_all_instances_of_the_owner,
    an_instance_that_an_owner_loses_in_another_way_counts_no_death,
    releasing_an_instance_is_no_commit,
    a_suspect_that_is_released_before_it_runs_keeps_its_deaths,
    a_death_counts_as_alone_if_it_ran_alone_under_that_fence,
    a_commit_ends_the_isolation,
    a_death_among_other_instances_is_no_death_alone,
    a_suspect_whose_process_died_on_its_turn_among_others_is_claimed_first,
    the_isolation_of_an_instance_of_another_owner_is_not_noted,
    a_death_is_counted_once_however_many_owners_see_it,
}

/// Simulates a crash of the owner's process. Returns a new owner and the instance that this owner claims.
async fn after_death(bench: &Bench, store: &Store, owner: Owner) -> Checked<(Owner, Claimed)> {
    bench.kill(owner).await?;
    let heir = steps(store)?.register().await?;
    let claimed = only(steps(store)?.claim(&heir, &definitions(), bench.now(), 9).await?);
    Ok((heir, claimed))
}

/// An instance whose owner's process has crashed twice.
async fn suspect(bench: &Bench, store: &Store) -> Checked<(Owner, Claimed)> {
    let (owner, _) = owned(store, &instance("i")).await?;
    let (heir, _) = after_death(bench, store, owner).await?;
    let (heir, claimed) = after_death(bench, store, heir).await?;
    assert!(claimed.deaths.is_suspect(), "{claimed:?}");
    Ok((heir, claimed))
}

/// Simulates a crash of the owner's process while the instance runs there with this isolation.
async fn death(
    bench: &Bench,
    store: &Store,
    (owner, claimed): (Owner, Claimed),
    isolation: Isolation,
) -> Checked<(Owner, Claimed)> {
    assert!(steps(store)?.isolate("i", claimed.fence, isolation).await?);
    after_death(bench, store, owner).await
}

async fn the_deaths_of_a_process_are_counted_until_a_commit(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (owner, _) = owned(&store, &instance("i")).await?;
    let (owner, claimed) = after_death(&bench, &store, owner).await?;
    assert_eq!(claimed.deaths, Deaths { in_a_row: 1, ..Deaths::default() });
    assert!(!claimed.deaths.is_suspect());
    bench.kill(owner).await?;
    let owner = steps(&store)?.register().await?;
    let acquired = steps(&store)?.acquire(&owner, &definitions(), "i", bench.now()).await?;
    let Some(claimed) = acquired else { unmet("nothing to acquire") };
    assert!(claimed.deaths.is_suspect());
    assert_eq!((claimed.deaths.alone, claimed.deaths.beside), (0, 0));
    done(&store, claimed.fence, commit("i")).await?;
    let (_owner, claimed) = after_death(&bench, &store, owner).await?;
    assert_eq!(claimed.deaths, Deaths { in_a_row: 1, ..Deaths::default() });
    Ok(())
}

async fn a_death_counts_for_all_instances_of_the_owner(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    started(&store, &[instance("i"), instance("j"), instance("other")]).await?;
    let one = steps.register().await?;
    assert_eq!(steps.claim(&one, &definitions(), bench.now(), 2).await?.len(), 2);
    bench.kill(one).await?;
    let heir = steps.register().await?;
    let mut claimed = steps.claim(&heir, &definitions(), bench.now(), 9).await?;
    claimed.sort_by(|one, other| one.id.cmp(&other.id));
    let deaths: Vec<_> = claimed.iter().map(|one| (one.id.as_str(), one.deaths.in_a_row)).collect();
    assert_eq!(deaths, [("i", 1), ("j", 1), ("other", 0)]);
    Ok(())
}

/// Lets the lease of the instance's owner expire while the observer claims regularly. Returns the instance that the
/// observer takes over.
async fn taken_over(bench: &Bench, store: &dyn StepStore, observer: &Owner) -> Checked<Claimed> {
    let lease = observer.lease().ok_or(Stop::Skipped("owners of this store have no lease"))?;
    let mut taken = Vec::new();
    for _ in 0..20 {
        taken.extend(store.claim(observer, &definitions(), bench.now(), 9).await?);
        bench.clock.advance(lease / 16);
    }
    Ok(only(taken))
}

async fn an_instance_that_an_owner_loses_in_another_way_counts_no_death(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let (mut owner, mut fence) = owned(&store, &instance("i")).await?;
    for _ in 0..3 {
        // The owner loses the instance because its host is dropped.
        drop(owner);
        owner = steps.register().await?;
        let claimed = only(steps.claim(&owner, &definitions(), bench.now(), 9).await?);
        assert_eq!(claimed.deaths, Deaths::default());
        fence = claimed.fence;
    }
    // The owner loses the instance because it releases the instance.
    done(&store, fence, StepCommit { release: true, ..commit("i") }).await?;
    let claimed = only(steps.claim(&owner, &definitions(), bench.now(), 9).await?);
    assert_eq!(claimed.deaths, Deaths::default());
    // The owner loses the instance because it is unresponsive.
    for _ in 0..3 {
        let heir = steps.register().await?;
        assert_eq!(taken_over(&bench, &*steps, &heir).await?.deaths, Deaths::default());
    }
    Ok(())
}

async fn releasing_an_instance_is_no_commit(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let (owner, claimed) = death(&bench, &store, suspect(&bench, &store).await?, Isolation::Alone).await?;
    let known = claimed.deaths;
    assert_eq!(known.alone, 1);
    let mut fence = claimed.fence;
    for next_execution in [None, Some(Some(0))] {
        done(&store, fence, StepCommit { release: true, next_execution, ..commit("i") }).await?;
        let claimed = only(steps.claim(&owner, &definitions(), bench.now(), 9).await?);
        assert_eq!(claimed.deaths, known);
        fence = claimed.fence;
    }
    let step = StepCommit { upserted: vec![ExecutionPointer::new(0)], release: true, ..commit("i") };
    done(&store, fence, step).await?;
    let claimed = only(steps.claim(&owner, &definitions(), bench.now(), 9).await?);
    assert_eq!(claimed.deaths, Deaths::default());
    Ok(())
}

async fn a_suspect_that_is_released_before_it_runs_keeps_its_deaths(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (owner, claimed) = suspect(&bench, &store).await?;
    // A request neither counts as progress nor resets the count.
    steps(&store)?.request("i", Control::Suspend).await?;
    steps(&store)?.request("i", Control::Resume).await?;
    drop(owner);
    let heir = steps(&store)?.register().await?;
    let again = only(steps(&store)?.claim(&heir, &definitions(), bench.now(), 9).await?);
    assert_eq!(again.deaths, claimed.deaths);
    Ok(())
}

async fn a_death_counts_as_alone_if_it_ran_alone_under_that_fence(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let mut held = suspect(&bench, &store).await?;
    for alone in 1..=3 {
        held = death(&bench, &store, held, Isolation::Alone).await?;
        assert_eq!((held.1.deaths.alone, held.1.deaths.beside), (alone, 0));
    }
    // The next death does not count as alone, because the instance has not begun to run.
    held = after_death(&bench, &store, held.0).await?;
    assert_eq!((held.1.deaths.alone, held.1.deaths.beside), (3, 0));
    // The next death does not count as alone either, because another owner has the instance by then.
    assert!(steps(&store)?.isolate("i", held.1.fence, Isolation::Alone).await?);
    drop(held.0);
    let heir = steps(&store)?.register().await?;
    let claimed = only(steps(&store)?.claim(&heir, &definitions(), bench.now(), 9).await?);
    assert_eq!(claimed.deaths.alone, 3);
    held = after_death(&bench, &store, heir).await?;
    assert_eq!((held.1.deaths.alone, held.1.deaths.beside), (3, 0));
    Ok(())
}

async fn a_commit_ends_the_isolation(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (owner, claimed) = death(&bench, &store, suspect(&bench, &store).await?, Isolation::Alone).await?;
    assert!(steps(&store)?.isolate("i", claimed.fence, Isolation::Alone).await?);
    done(&store, claimed.fence, commit("i")).await?;
    let (mut owner, mut claimed) = after_death(&bench, &store, owner).await?;
    assert_eq!(claimed.deaths, Deaths { in_a_row: 1, ..Deaths::default() });
    for _ in 0..2 {
        (owner, claimed) = after_death(&bench, &store, owner).await?;
        assert_eq!((claimed.deaths.alone, claimed.deaths.beside), (0, 0));
    }
    Ok(())
}

async fn a_death_among_other_instances_is_no_death_alone(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (owner, claimed) = suspect(&bench, &store).await?;
    assert!(steps(&store)?.isolate("i", claimed.fence, Isolation::Alone).await?);
    // The instance runs alongside others again, so the earlier note that it runs alone no longer counts.
    let mut held = death(&bench, &store, (owner, claimed), Isolation::Over).await?;
    assert_eq!((held.1.deaths.alone, held.1.deaths.beside), (0, 1));
    held = death(&bench, &store, held, Isolation::Turn).await?;
    assert_eq!((held.1.deaths.alone, held.1.deaths.beside), (0, 2));
    held = death(&bench, &store, held, Isolation::Alone).await?;
    assert_eq!((held.1.deaths.alone, held.1.deaths.beside), (1, 2));
    Ok(())
}

async fn a_suspect_whose_process_died_on_its_turn_among_others_is_claimed_first(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let ids = ["i", "j", "k"];
    started(&store, &ids.map(instance)).await?;
    let mut owner = steps.register().await?;
    for _ in 0..2 {
        assert_eq!(claim(&bench, &store, &owner).await?, ids);
        bench.kill(owner).await?;
        owner = steps.register().await?;
    }
    for claimed in steps.claim(&owner, &definitions(), bench.now(), 9).await? {
        let isolation = if claimed.id == "k" { Isolation::Turn } else { Isolation::Over };
        assert!(steps.isolate(&claimed.id, claimed.fence, isolation).await?);
    }
    let copy = store.get_workflow_instance("k").await?;
    bench.kill(owner).await?;
    // This also holds if the clock has moved.
    bench.clock.set(second(-3_600));
    let heir = steps.register().await?;
    let first = only(steps.claim(&heir, &definitions(), bench.now(), 1).await?);
    assert_eq!((first.id.as_str(), first.deaths.alone, first.deaths.beside), ("k", 0, 1));
    // The store must not use a cached copy from before the crash.
    store.persist_workflow(&copy).await?;
    assert_eq!(store.get_workflow_instance("k").await?.next_execution, copy.next_execution);
    Ok(())
}

async fn the_isolation_of_an_instance_of_another_owner_is_not_noted(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let (_owner, claimed) = suspect(&bench, &store).await?;
    assert!(!steps.isolate("i", Fence(claimed.fence.0 - 1), Isolation::Alone).await?);
    assert!(!steps.isolate("unknown", claimed.fence, Isolation::Alone).await?);
    assert!(steps.isolate("i", claimed.fence, Isolation::Alone).await?);
    Ok(())
}

async fn a_death_is_counted_once_however_many_owners_see_it(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let other = bench.open_another().await?;
    let (owner, _) = owned(&store, &instance("i")).await?;
    bench.kill(owner).await?;
    // A new process reads the store before any owner has claimed the instance.
    let (one, two) = (steps(&other)?.register().await?, steps(&store)?.register().await?);
    let claimed = only(steps(&store)?.claim(&two, &definitions(), bench.now(), 9).await?);
    assert_eq!(claimed.deaths.in_a_row, 1);
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(claim(&bench, &other, &one).await?, NONE);
    drop(two);
    let claimed = only(steps(&other)?.claim(&one, &definitions(), bench.now(), 9).await?);
    assert_eq!(claimed.deaths.in_a_row, 1);
    Ok(())
}
