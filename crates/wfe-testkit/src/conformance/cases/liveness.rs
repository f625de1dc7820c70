//! Unresponsive owners: when another owner takes over the instances of an owner, and when it does not.

use std::time::Duration;

use super::{
    claiming::{NONE, claim, only, started},
    prelude::*,
};

cases! { "liveness":
    an_owner_that_is_frozen_for_its_lease_loses_what_it_has,
    a_commit_within_the_lease_keeps_the_instances_of_an_owner,
    a_heartbeat_within_the_lease_keeps_the_instances_of_an_owner,
    an_owner_that_runs_one_short_instance_after_the_other_keeps_them,
    an_owner_that_wakes_up_cannot_commit_what_it_lost_and_continues_with_other_work,
    an_observer_that_was_frozen_itself_takes_nothing,
    an_observer_at_another_provider_sees_which_owner_is_frozen,
    a_wall_clock_that_is_set_makes_no_owner_look_dead,
    what_a_dead_owner_ran_is_due_whatever_the_wall_clock_says,
    a_load_returns_the_owner,
}

/// The number of times that the observer claims during one lease. This is often enough to detect an
/// unresponsive owner in time.
const LOOKS: u32 = 16;

/// The lease of an owner. Skips the case if the owners of this store have no lease.
fn lease(owner: &Owner) -> Checked<Duration> {
    owner.lease().ok_or(Stop::Skipped("owners of this store have no lease"))
}

/// Lets one part of the lease pass, and then lets the observer claim. Returns the ids of the instances that
/// the observer claims.
async fn look(bench: &Bench, store: &Store, observer: &Owner) -> Checked<Vec<String>> {
    bench.clock.advance(lease(observer)? / LOOKS);
    claim(bench, store, observer).await
}

async fn an_owner_that_is_frozen_for_its_lease_loses_what_it_has(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let (frozen, fence) = owned(&store, &instance("i")).await?;
    let observer = steps.register().await?;
    assert_eq!(claim(&bench, &store, &observer).await?, NONE);
    for _ in 1..LOOKS {
        assert_eq!(look(&bench, &store, &observer).await?, NONE);
    }
    let mut taken = Vec::new();
    for _ in 0..3 {
        taken.extend(look(&bench, &store, &observer).await?);
    }
    assert_eq!(taken, ["i"]);
    assert!(steps.load("i").await?.fence > fence);
    drop(frozen);
    Ok(())
}

enum Sign {
    Commit,
    Heartbeat,
}

/// Lets three leases pass. During this time, an owner shows every half lease, by a commit or a heartbeat,
/// that it is alive.
async fn keeps_with(bench: Bench, sign: Sign) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let (owner, fence) = owned(&store, &instance("i")).await?;
    let observer = steps.register().await?;
    for at in 0..3 * LOOKS {
        assert_eq!(look(&bench, &store, &observer).await?, NONE);
        match sign {
            _ if at % (LOOKS / 2) > 0 => {}
            Sign::Commit => done(&store, fence, commit("i")).await?,
            Sign::Heartbeat => steps.heartbeat(&owner).await?,
        }
    }
    done(&store, fence, commit("i")).await
}

async fn a_commit_within_the_lease_keeps_the_instances_of_an_owner(bench: Bench) -> Checked<()> {
    keeps_with(bench, Sign::Commit).await
}

async fn a_heartbeat_within_the_lease_keeps_the_instances_of_an_owner(bench: Bench) -> Checked<()> {
    keeps_with(bench, Sign::Heartbeat).await
}

/// At each claim of the observer, the owner has exactly one instance. It is always a new instance, but
/// differs from the previous one only in its id.
async fn an_owner_that_runs_one_short_instance_after_the_other_keeps_them(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let (owner, observer) = (steps.register().await?, steps.register().await?);
    for at in 0..3 * LOOKS {
        let id = format!("i{at}");
        let Some(fence) = steps.start(Some(&owner), &instance(&id)).await?.fence else {
            unmet("a new instance with an owner came without a fence")
        };
        assert_eq!(look(&bench, &store, &observer).await?, NONE);
        let end = StepCommit {
            status: Some(WorkflowStatus::Complete),
            ending: Some(Ending::Completed),
            release: true,
            ..commit(&id)
        };
        done(&store, fence, end).await?;
    }
    Ok(())
}

async fn an_owner_that_wakes_up_cannot_commit_what_it_lost_and_continues_with_other_work(
    bench: Bench,
) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let (frozen, old) = owned(&store, &instance("i")).await?;
    let observer = steps.register().await?;
    let mut taken = Vec::new();
    for _ in 0..2 * LOOKS {
        bench.clock.advance(lease(&observer)? / LOOKS);
        taken.extend(steps.claim(&observer, &definitions(), bench.now(), 9).await?);
    }
    let taken = only(taken);
    let late = StepCommit { data: Some(json!("late")), ..commit("i") };
    assert_eq!(steps.commit_step(old, &late).await?, Committed::Lost);
    done(&store, taken.fence, StepCommit { data: Some(json!("in time")), ..commit("i") }).await?;
    assert_eq!(steps.load("i").await?.instance.data, "in time");
    // The owner that was unresponsive is a valid owner again.
    steps.heartbeat(&frozen).await?;
    started(&store, &[instance("j")]).await?;
    let other = only(steps.claim(&frozen, &definitions(), bench.now(), 9).await?);
    assert_eq!(other.id, "j");
    done(&store, other.fence, commit("j")).await
}

async fn an_observer_that_was_frozen_itself_takes_nothing(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (owner, fence) = owned(&store, &instance("i")).await?;
    let observer = steps(&store)?.register().await?;
    assert_eq!(claim(&bench, &store, &observer).await?, NONE);
    // This simulates that the whole machine was suspended.
    bench.clock.advance(100 * lease(&owner)?);
    assert_eq!(claim(&bench, &store, &observer).await?, NONE);
    assert_eq!(look(&bench, &store, &observer).await?, NONE);
    done(&store, fence, commit("i")).await
}

async fn an_observer_at_another_provider_sees_which_owner_is_frozen(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_frozen, _) = owned(&store, &instance("i")).await?;
    let (beating, kept) = owned(&store, &instance("j")).await?;
    let other = bench.open_another().await?;
    let observer = steps(&other)?.register().await?;
    let mut taken = Vec::new();
    for _ in 0..LOOKS + 3 {
        steps(&store)?.heartbeat(&beating).await?;
        taken.extend(look(&bench, &other, &observer).await?);
    }
    assert_eq!(taken, ["i"]);
    done(&store, kept, commit("j")).await
}

async fn a_wall_clock_that_is_set_makes_no_owner_look_dead(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    let observer = steps(&store)?.register().await?;
    for at in 0..8 {
        assert_eq!(look(&bench, &store, &observer).await?, NONE);
        let now = bench.now();
        let jump = chrono::TimeDelta::hours(if at % 2 == 0 { 1_000 } else { -2_000 });
        bench.clock.set(now + jump);
        assert_eq!(claim(&bench, &store, &observer).await?, NONE);
    }
    done(&store, fence, commit("i")).await
}

async fn what_a_dead_owner_ran_is_due_whatever_the_wall_clock_says(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let (owner, fence) = owned(&store, &instance_with("i", &["a", "b"])).await?;
    done(&store, fence, StepCommit { next_execution: Some(Some(second_ms(0))), ..commit("i") }).await?;
    let copy = store.get_workflow_instance("i").await?;
    drop(owner);
    bench.clock.set(second(-3_600));
    let heir = steps.register().await?;
    let claimed = only(steps.claim(&heir, &definitions(), bench.now(), 9).await?);
    // No other part of the instance has changed. The store must not use a cached copy from before.
    let stored = store.get_workflow_instance("i").await?;
    let due = stored.next_execution.unwrap_or(i64::MAX);
    assert!(due <= second_ms(-3_600), "{due}");
    assert_eq!(json!(stored.execution_pointers), json!(copy.execution_pointers));
    done(&store, claimed.fence, commit("i")).await?;
    store.persist_workflow(&copy).await?;
    assert_eq!(store.get_workflow_instance("i").await?.next_execution, copy.next_execution);
    Ok(())
}

async fn a_load_returns_the_owner(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let (owner, fence) = owned(&store, &instance("i")).await?;
    assert_eq!(steps.load("i").await?.owner, Some(owner.id()));
    done(&store, fence, StepCommit { release: true, ..commit("i") }).await?;
    assert_eq!(steps.load("i").await?.owner, None);
    Ok(())
}
