//! Many concurrent callers: no reader ever sees only a part of a commit, and no write is lost.

use std::{
    collections::HashSet,
    future::Future,
    pin::pin,
    sync::atomic::{AtomicBool, Ordering},
};

use futures_util::future::{join_all, poll_immediate};
use wfe_core::models::{ExecutionPointer, ScheduledCommand};

use super::prelude::*;

cases! { "concurrency":
    of_many_creations_of_one_id_exactly_one_succeeds,
    of_many_creations_of_one_event_exactly_one_succeeds,
    everything_that_was_stored_at_once_is_there,
    sequence_numbers_drawn_at_once_are_all_different,
    a_refused_call_spoils_no_other,
    readers_never_see_half_a_write,
    readers_of_many_instances_never_see_half_a_write,
    a_command_scheduled_by_many_keeps_the_earliest_time,
    a_dropped_write_leaves_all_of_its_effect_or_none,
    a_dropped_creation_leaves_all_of_its_effect_or_none,
    a_dropped_read_leaves_the_store_usable,
    several_providers_can_open_a_new_store_at_once,
    providers_of_one_store_see_each_others_writes,
    sequence_numbers_drawn_by_two_providers_are_all_different,
    of_workers_at_two_providers_only_one_gets_the_wait,
}

async fn of_many_creations_of_one_id_exactly_one_succeeds(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let candidates: Vec<_> = (0..16).map(|tag| full_instance("i", tag)).collect();
    let results = join_all(candidates.iter().map(|one| store.create_new_workflow(one))).await;
    let mut winner = None;
    for (candidate, result) in candidates.iter().zip(results) {
        match result {
            Ok(_) => assert!(winner.replace(candidate).is_none(), "two creations succeeded"),
            refused => assert_err!(refused, WfeError::AlreadyExists { .. }),
        }
    }
    assert_eq!(Some(&store.get_workflow_instance("i").await?), winner);
    Ok(())
}

async fn of_many_creations_of_one_event_exactly_one_succeeds(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let candidates: Vec<_> = (0..16).map(|n| event("e", "name", "key", second(n))).collect();
    let results = join_all(candidates.iter().map(|one| store.create_event(one))).await;
    let winners: Vec<_> =
        candidates.iter().zip(&results).filter(|(_, result)| result.is_ok()).map(|(one, _)| one).collect();
    assert_eq!(winners, [&store.get_event("e").await?]);
    Ok(())
}

async fn everything_that_was_stored_at_once_is_there(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let instances: Vec<_> = (0..100).map(|tag| full_instance(&format!("i{tag}"), tag)).collect();
    for created in join_all(instances.iter().map(|one| store.create_new_workflow(one))).await {
        created?;
    }
    let changed: Vec<_> = (0..100).map(|tag| full_instance(&format!("i{tag}"), tag + 500)).collect();
    for persisted in join_all(changed.iter().map(|one| store.persist_workflow(one))).await {
        persisted?;
    }
    let ids: Vec<_> = changed.iter().map(|one| one.id.clone()).collect();
    assert_eq!(store.get_workflow_instances(&ids).await?, changed);
    Ok(())
}

async fn sequence_numbers_drawn_at_once_are_all_different(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    different_numbers(&[Arc::clone(&store), store], "concurrent").await
}

async fn different_numbers(stores: &[Store], definition: &str) -> Checked<()> {
    let drawing = (0..50).flat_map(|_| stores).map(|store| store.next_definition_sequence(definition));
    let mut drawn = Vec::new();
    for number in join_all(drawing).await {
        drawn.push(number?);
    }
    drawn.sort_unstable();
    assert_eq!(drawn, (1..=drawn.len() as u64).collect::<Vec<_>>());
    Ok(())
}

async fn a_refused_call_spoils_no_other(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    store.create_new_workflow(&instance("taken")).await?;
    let instances: Vec<_> = (0..60)
        .map(|n| if n % 3 == 0 { instance("taken") } else { full_instance(&format!("i{n}"), n) })
        .collect();
    let results = join_all(instances.iter().map(|one| store.create_new_workflow(one))).await;
    for (one, result) in instances.iter().zip(results) {
        if one.id == "taken" {
            assert_err!(result, WfeError::AlreadyExists { .. });
        } else {
            assert_eq!(result?, one.id);
            assert_eq!(store.get_workflow_instance(&one.id).await?, *one);
        }
    }
    Ok(())
}

/// The instance as the write with this number stores it: every part contains the number. The number of pointers differs
/// from write to write.
fn generation(id: &str, number: u32) -> WorkflowInstance {
    let pointers = (0..=number % 5).map(|n| ExecutionPointer {
        outcome: Some(json!(number)),
        retry_count: number,
        ..pointer(&format!("p{}", (n + number) % 7))
    });
    WorkflowInstance { data: json!(number), execution_pointers: pointers.collect(), ..instance(id) }
}

/// Asserts that all parts of the instance come from the same write, and returns the number of this write.
fn whole(got: &WorkflowInstance) -> u32 {
    let number = got.data.as_u64().and_then(|number| u32::try_from(number).ok()).unwrap_or(u32::MAX);
    assert_eq!(*got, generation(&got.id, number), "two writes are mixed");
    number
}

/// Sets its flag when it is dropped, even if a panic drops it.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

async fn readers_never_see_half_a_write(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    store.create_new_workflow(&generation("i", 0)).await?;
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..3)
        .map(|reader| {
            let (store, done) = (Arc::clone(&store), Arc::clone(&done));
            tokio::spawn(async move {
                let mut newest = 0;
                while !done.load(Ordering::Acquire) {
                    let got = match reader {
                        0 => store.get_workflow_instance("i").await?,
                        1 => store.get_workflow_instance_by_name("i").await?,
                        _ => store.get_workflow_instances(&["i".to_owned()]).await?.remove(0),
                    };
                    let number = whole(&got);
                    assert!(number >= newest, "an older state came back after a newer one");
                    newest = number;
                }
                Ok::<_, WfeError>(())
            })
        })
        .collect();
    {
        let _done = Done(&done);
        for number in 1..=150 {
            store.persist_workflow(&generation("i", number)).await?;
        }
    }
    for reader in readers {
        reader.await??;
    }
    Ok(())
}

async fn readers_of_many_instances_never_see_half_a_write(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let ids = texts(&["a", "b", "c"]);
    for id in &ids {
        store.create_new_workflow(&generation(id, 0)).await?;
    }
    let done = Arc::new(AtomicBool::new(false));
    let reader = {
        let (store, done, ids) = (Arc::clone(&store), Arc::clone(&done), ids.clone());
        tokio::spawn(async move {
            while !done.load(Ordering::Acquire) {
                let got = store.get_workflow_instances(&ids).await?;
                assert_eq!(got.len(), 3);
                for one in &got {
                    whole(one);
                }
            }
            Ok::<_, WfeError>(())
        })
    };
    {
        let _done = Done(&done);
        for number in 1..=50 {
            let writes: Vec<_> = ids.iter().map(|id| generation(id, number)).collect();
            for written in join_all(writes.iter().map(|one| store.persist_workflow(one))).await {
                written?;
            }
        }
    }
    reader.await??;
    Ok(())
}

async fn a_command_scheduled_by_many_keeps_the_earliest_time(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    must_keep_commands(&store)?;
    let commands: Vec<_> =
        (0..40).map(|n| ScheduledCommand::process_workflow("i", second_ms(10 + (n * 17) % 40))).collect();
    for scheduled in join_all(commands.iter().map(|one| store.schedule_command(one))).await {
        scheduled?;
    }
    let fail = |command: ScheduledCommand| -> wfe_core::traits::CommandFuture {
        Box::pin(std::future::ready(Err(WfeError::StepExecution(command.execute_time.to_string()))))
    };
    assert_err!(
        store.process_commands(second(99), &fail).await,
        WfeError::StepExecution(time) if time == second_ms(10).to_string()
    );
    Ok(())
}

/// Polls a future at most this many times, yields after each poll, and then drops the future. Returns whether it
/// completed.
async fn polled_and_dropped(polls: usize, future: impl Future) -> bool {
    let mut future = pin!(future);
    for _ in 0..polls {
        if poll_immediate(future.as_mut()).await.is_some() {
            return true;
        }
        tokio::task::yield_now().await;
    }
    false
}

async fn a_dropped_write_leaves_all_of_its_effect_or_none(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    store.create_new_workflow(&generation("i", 0)).await?;
    let mut before = 0;
    for round in 1..=60 {
        let written = generation("i", round);
        let wait_id = format!("w{round}");
        let waits = [wait(&wait_id, "i", "name", "key", second(0))];
        let ended = polled_and_dropped(
            round as usize % 12,
            store.persist_workflow_with_subscriptions(&written, &waits),
        )
        .await;
        let number = whole(&store.get_workflow_instance("i").await?);
        assert!(number == round || (number == before && !ended), "round {round} left {number}");
        // This write of the same instance comes after everything that the dropped write may still do.
        store.persist_workflow(&generation("i", number)).await?;
        assert_eq!(whole(&store.get_workflow_instance("i").await?), number);
        if number == round {
            assert_eq!(store.get_subscription(&wait_id).await?, waits[0]);
        }
        before = number;
    }
    Ok(())
}

async fn a_dropped_creation_leaves_all_of_its_effect_or_none(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    for round in 0..30 {
        let created = generation(&format!("i{round}"), round);
        let ended = polled_and_dropped(round as usize % 10, store.create_new_workflow(&created)).await;
        // Creating the instance again is refused or succeeds. In both cases, the instance is stored as a whole.
        let again = store.create_new_workflow(&created).await;
        assert!(!(ended && again.is_ok()), "what was stored is gone");
        if again.is_err() {
            assert_err!(again, WfeError::AlreadyExists { .. });
        }
        assert_eq!(store.get_workflow_instance(&created.id).await?, created);
    }
    Ok(())
}

async fn a_dropped_read_leaves_the_store_usable(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    store.create_new_workflow(&generation("i", 0)).await?;
    for round in 1..=60 {
        polled_and_dropped(round as usize % 6, store.get_workflow_instance("i")).await;
        polled_and_dropped(round as usize % 5, store.get_runnable_instances(second(0))).await;
        store.persist_workflow(&generation("i", round)).await?;
        assert_eq!(whole(&store.get_workflow_instance("i").await?), round);
    }
    Ok(())
}

async fn several_providers_can_open_a_new_store_at_once(bench: Bench) -> Checked<()> {
    bench.must_be_shared()?;
    let mut stores = Vec::new();
    for opened in join_all((0..6).map(|_| bench.open())).await {
        stores.push(opened?);
    }
    for (tag, store) in (0..).zip(&stores) {
        store.create_new_workflow(&full_instance(&format!("i{tag}"), tag)).await?;
    }
    for store in &stores {
        for tag in 0..6 {
            let id = format!("i{tag}");
            assert_eq!(store.get_workflow_instance(&id).await?, full_instance(&id, tag));
        }
    }
    Ok(())
}

async fn providers_of_one_store_see_each_others_writes(bench: Bench) -> Checked<()> {
    let one = bench.open().await?;
    let two = bench.open_another().await?;
    one.create_new_workflow(&generation("i", 0)).await?;
    for number in 1..=20 {
        let (writer, reader) = if number % 3 == 0 { (&two, &one) } else { (&one, &two) };
        writer.persist_workflow(&generation("i", number)).await?;
        assert_eq!(whole(&reader.get_workflow_instance("i").await?), number);
        assert_eq!(whole(&writer.get_workflow_instance("i").await?), number);
    }
    assert_err!(two.create_new_workflow(&generation("i", 1)).await, WfeError::AlreadyExists { .. });
    Ok(())
}

async fn sequence_numbers_drawn_by_two_providers_are_all_different(bench: Bench) -> Checked<()> {
    let one = bench.open().await?;
    let two = bench.open_another().await?;
    different_numbers(&[one, two], "concurrent").await
}

async fn of_workers_at_two_providers_only_one_gets_the_wait(bench: Bench) -> Checked<()> {
    let stores = [bench.open().await?, bench.open_another().await?];
    for round in 0..5 {
        let id = format!("w{round}");
        stores[0].create_event_subscription(&wait(&id, "i", "name", "key", second(0))).await?;
        let takers = (0..8_usize).map(|n| {
            let (store, id) = (&stores[n % 2], &id);
            async move { store.set_subscription_token(id, &n.to_string(), "worker", second(10)).await }
        });
        let mut winners = HashSet::new();
        for (n, taken) in join_all(takers).await.into_iter().enumerate() {
            if taken? {
                winners.insert(n.to_string());
            }
        }
        assert_eq!(winners.len(), 1);
        let held = stores[1].get_subscription(&id).await?.external_token;
        assert_eq!(winners.into_iter().next(), held);
    }
    Ok(())
}
