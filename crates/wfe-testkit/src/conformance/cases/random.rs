//! Long random sequences of writes, whose results are compared with a simple model. The seeds are fixed, so
//! that a failure can be reproduced.

use std::time::Duration;

use chrono::{DateTime, Utc};
use fastrand::Rng;
use wfe_core::models::ExecutionPointer;

use super::prelude::*;

cases! { "random histories":
    plain_writes_of_random_pointers_leave_exactly_those,
    commits_and_plain_writes_in_turn_leave_what_was_written,
    commits_and_plain_writes_at_two_providers_leave_what_was_written,
    random_events_are_read_in_the_order_in_which_they_became_due,
}

/// A random selection of ten pointers, in random order, each in one of three states.
fn pointers(random: &mut Rng) -> Vec<ExecutionPointer> {
    let mut ids: Vec<_> = (0..10).collect();
    random.shuffle(&mut ids);
    ids.truncate(random.usize(0..=10));
    ids.into_iter().map(|id| full_pointer(&format!("p{id}"), random.u32(0..3))).collect()
}

async fn plain_writes_of_random_pointers_leave_exactly_those(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let mut random = Rng::with_seed(1);
    store.create_new_workflow(&instance("i")).await?;
    for round in 0..150 {
        let wanted = WorkflowInstance {
            execution_pointers: pointers(&mut random),
            data: json!(random.u32(0..2)),
            ..instance("i")
        };
        store.persist_workflow(&wanted).await?;
        assert_eq!(store.get_workflow_instance("i").await?, wanted, "round {round}");
    }
    Ok(())
}

/// Writes one instance again and again, by commits and through the base traits, and reads it back after each
/// write. Each write and each read uses a random provider.
async fn write_in_turn(stores: &[Store]) -> Checked<()> {
    let mut random = Rng::with_seed(2);
    let (_owner, fence) = owned(&stores[0], &instance("i")).await?;
    let mut live = instance("i");
    let mut history: Vec<Finished> = Vec::new();
    for round in 0..150 {
        let store = &stores[random.usize(..stores.len())];
        if random.bool() {
            live.execution_pointers = pointers(&mut random);
            live.data = json!(random.u32(0..2));
            store.persist_workflow(&live).await?;
        } else {
            let mut step = commit("i");
            for id in 0..10 {
                let id = format!("p{id}");
                let at = live.execution_pointers.iter().position(|pointer| pointer.id == id);
                match (random.u32(0..8), at) {
                    (0 | 1, Some(at)) => {
                        let changed = full_pointer(&id, random.u32(0..3));
                        live.execution_pointers[at] = changed.clone();
                        step.upserted.push(changed);
                    }
                    (2, Some(at)) => {
                        let gone = finished_pointer(&id, &[]);
                        live.execution_pointers.remove(at);
                        history.push(Finished { number: history.len() as u64 + 1, pointer: gone.clone() });
                        step.finished.push(gone);
                    }
                    (3, None) => {
                        let new = full_pointer(&id, random.u32(0..3));
                        live.execution_pointers.push(new.clone());
                        step.upserted.push(new);
                    }
                    _ => {}
                }
            }
            if random.bool() {
                live.data = json!(random.u32(0..2));
                step.data = Some(live.data.clone());
            }
            done(store, fence, step).await?;
        }
        let reader = &stores[random.usize(..stores.len())];
        assert_eq!(reader.get_workflow_instance("i").await?, live, "round {round}");
        let loaded = steps(reader)?.load("i").await?;
        assert_eq!((loaded.instance, loaded.fence), (live.clone(), fence), "round {round}");
    }
    assert_eq!(finished_rows(&stores[0], "i", "", 0, 1_000).await?, history);
    Ok(())
}

async fn commits_and_plain_writes_in_turn_leave_what_was_written(bench: Bench) -> Checked<()> {
    write_in_turn(&[bench.open().await?]).await
}

async fn commits_and_plain_writes_at_two_providers_leave_what_was_written(bench: Bench) -> Checked<()> {
    let one = bench.open().await?;
    steps(&one)?;
    write_in_turn(&[one, bench.open_another().await?]).await
}

/// An event of the model: its due time, and a number that distinguishes it from other events of the same due
/// time.
type Due = (DateTime<Utc>, u32);

async fn random_events_are_read_in_the_order_in_which_they_became_due(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let mut random = Rng::with_seed(3);
    let readers = ["i", "j"];
    let mut fences = Vec::new();
    for id in readers {
        fences.push(owned(&store, &instance(id)).await?);
    }
    let (mut stream, mut read): (Vec<Due>, [usize; 2]) = (Vec::new(), [0, 0]);
    for number in 0..200_u32 {
        // The clock shows a whole second, and future due times lie between two whole seconds. Therefore no event
        // becomes due at the time at which another event is published.
        bench.clock.advance(Duration::from_secs(random.u64(1..4)));
        let now = bench.now();
        let ahead = Duration::from_millis(random.u64(0..8) * 1_000 + 1 + u64::from(number));
        let date = if random.u32(0..3) == 0 { now + ahead } else { now - ahead };
        store.create_event(&event(&number.to_string(), "name", "key", date)).await?;
        stream.push((date.max(now), number));
        stream.sort_unstable();

        let reader = random.usize(0..2);
        let (id, fence) = (readers[reader], fences[reader].1);
        let wait_id = format!("w{number}");
        let begins = second(-1_000);
        let subscribed = vec![wait(&wait_id, id, "name", "key", begins)];
        done(&store, fence, StepCommit { subscribed, ..commit(id) }).await?;
        let next = stream.get(read[reader]).filter(|(due, _)| *due <= now).map(|(_, n)| n.to_string());
        let delivered = steps.load(id).await?.deliveries.pop().map(|delivery| delivery.event.id);
        assert_eq!(delivered, next, "reader {id} after event {number}");
        let step = match &next {
            Some(event) => StepCommit { consumed: vec![consumed(&wait_id, event)], ..commit(id) },
            None => StepCommit { unsubscribed: vec![wait_id], ..commit(id) },
        };
        done(&store, fence, step).await?;
        read[reader] += usize::from(next.is_some());
    }
    assert!(read.iter().all(|read| *read > 50), "{read:?}");
    Ok(())
}
