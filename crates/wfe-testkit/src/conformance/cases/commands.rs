//! Scheduled commands: wake-ups, none of which may be delayed or lost.

use std::sync::Mutex;

use chrono::{DateTime, Utc};
use tokio::sync::Notify;
use wfe_core::{
    models::{CommandName, ScheduledCommand},
    sync::lock,
    traits::CommandFuture,
};

use super::prelude::*;

cases! { "commands":
    a_store_says_whether_it_keeps_commands,
    a_due_command_runs_once,
    due_commands_run_in_time_order,
    a_command_that_is_not_due_stays,
    one_command_of_each_name_and_data_is_kept,
    scheduling_again_keeps_the_earlier_time,
    a_failing_handler_keeps_its_command_and_the_others_still_run,
    the_first_error_of_a_handler_is_returned,
    a_command_scheduled_again_while_its_handler_runs_stays,
    a_command_scheduled_again_keeps_the_earliest_time_requested_since_its_handler_started,
    a_command_scheduled_again_while_its_handler_fails_is_due_at_its_old_time,
    scheduling_another_command_does_not_keep_the_one_that_runs,
    a_handler_may_use_the_store,
    nothing_is_locked_while_a_handler_runs,
    a_command_whose_handler_was_dropped_is_due_again_at_its_old_time,
    two_callers_leave_no_command_behind,
    a_command_scheduled_again_while_two_callers_run_it_is_not_lost,
    hundreds_of_commands_run,
}

async fn command_store(bench: &Bench) -> Checked<Store> {
    let store = bench.open().await?;
    must_keep_commands(&store)?;
    Ok(store)
}

/// A `ProcessWorkflow` command that is due this many seconds after the start.
fn command(data: &str, at: i64) -> ScheduledCommand {
    ScheduledCommand::process_workflow(data, second_ms(at))
}

fn ready(result: wfe_core::Result<()>) -> CommandFuture {
    Box::pin(std::future::ready(result))
}

/// Runs the commands that are due, with a handler that always succeeds, and returns them in the order in which they
/// ran.
async fn run_due(store: &Store, as_of: DateTime<Utc>) -> Checked<Vec<ScheduledCommand>> {
    let ran: Arc<Mutex<Vec<ScheduledCommand>>> = Arc::default();
    let handler = {
        let ran = Arc::clone(&ran);
        move |command| {
            lock(&ran).push(command);
            ready(Ok(()))
        }
    };
    store.process_commands(as_of, &handler).await?;
    let ran = lock(&ran).clone();
    Ok(ran)
}

async fn a_store_says_whether_it_keeps_commands(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let kept = store.supports_scheduled_commands();
    assert_eq!(store.schedule_command(&command("i", 1)).await.is_ok(), kept);
    assert_eq!(store.process_commands(second(0), &|_| ready(Ok(()))).await.is_ok(), kept);
    Ok(())
}

async fn a_due_command_runs_once(bench: Bench) -> Checked<()> {
    let store = command_store(&bench).await?;
    let (one, two) = (command("i", 10), ScheduledCommand::process_event("e", second_ms(11)));
    store.schedule_command(&one).await?;
    store.schedule_command(&two).await?;
    assert_eq!(run_due(&store, second(11)).await?, [one, two]);
    assert_eq!(run_due(&store, second(99)).await?, []);
    Ok(())
}

async fn due_commands_run_in_time_order(bench: Bench) -> Checked<()> {
    let store = command_store(&bench).await?;
    for (data, at) in [("c", 30), ("z", 10), ("y", 20), ("b", -50)] {
        store.schedule_command(&command(data, at)).await?;
    }
    let expected = [command("b", -50), command("z", 10), command("y", 20), command("c", 30)];
    assert_eq!(run_due(&store, second(30)).await?, expected);
    Ok(())
}

async fn a_command_that_is_not_due_stays(bench: Bench) -> Checked<()> {
    let store = command_store(&bench).await?;
    store.schedule_command(&command("i", 10)).await?;
    assert_eq!(run_due(&store, second(9)).await?, []);
    assert_eq!(run_due(&store, second(10)).await?, [command("i", 10)]);
    Ok(())
}

async fn one_command_of_each_name_and_data_is_kept(bench: Bench) -> Checked<()> {
    let store = command_store(&bench).await?;
    for at in [5, 5, 5] {
        store.schedule_command(&command("x", at)).await?;
        store.schedule_command(&ScheduledCommand::process_event("x", second_ms(at + 1))).await?;
        store.schedule_command(&command("X", at + 2)).await?;
    }
    let ran: Vec<_> =
        run_due(&store, second(9)).await?.into_iter().map(|c| (c.command_name, c.data)).collect();
    let expected = [
        (CommandName::ProcessWorkflow, "x".to_owned()),
        (CommandName::ProcessEvent, "x".to_owned()),
        (CommandName::ProcessWorkflow, "X".to_owned()),
    ];
    assert_eq!(ran, expected);
    Ok(())
}

async fn scheduling_again_keeps_the_earlier_time(bench: Bench) -> Checked<()> {
    let store = command_store(&bench).await?;
    store.schedule_command(&command("later", 10)).await?;
    store.schedule_command(&command("later", 20)).await?;
    store.schedule_command(&command("sooner", 20)).await?;
    store.schedule_command(&command("sooner", 11)).await?;
    assert_eq!(run_due(&store, second(9)).await?, []);
    assert_eq!(run_due(&store, second(11)).await?, [command("later", 10), command("sooner", 11)]);
    assert_eq!(run_due(&store, second(99)).await?, []);
    Ok(())
}

async fn a_failing_handler_keeps_its_command_and_the_others_still_run(bench: Bench) -> Checked<()> {
    let store = command_store(&bench).await?;
    for (data, at) in [("a", 1), ("bad", 2), ("c", 3)] {
        store.schedule_command(&command(data, at)).await?;
    }
    let ran: Arc<Mutex<Vec<String>>> = Arc::default();
    let handler = {
        let ran = Arc::clone(&ran);
        move |command: ScheduledCommand| {
            let failed = command.data == "bad";
            lock(&ran).push(command.data);
            ready(if failed { Err(WfeError::Cancelled) } else { Ok(()) })
        }
    };
    assert_err!(store.process_commands(second(9), &handler).await, WfeError::Cancelled);
    assert_eq!(*lock(&ran), ["a", "bad", "c"]);
    assert_eq!(run_due(&store, second(1)).await?, []);
    assert_eq!(run_due(&store, second(2)).await?, [command("bad", 2)]);
    Ok(())
}

async fn the_first_error_of_a_handler_is_returned(bench: Bench) -> Checked<()> {
    let store = command_store(&bench).await?;
    for (data, at) in [("third", 3), ("first", 1), ("second", 2)] {
        store.schedule_command(&command(data, at)).await?;
    }
    let fail = |command: ScheduledCommand| ready(Err(WfeError::StepExecution(command.data)));
    assert_err!(
        store.process_commands(second(9), &fail).await,
        WfeError::StepExecution(data) if data == "first"
    );
    let all = [command("first", 1), command("second", 2), command("third", 3)];
    assert_eq!(run_due(&store, second(9)).await?, all);
    Ok(())
}

/// Runs the commands that are due at second 10. The handler schedules `i` at each of `times` and then returns `result`.
async fn reschedule(store: &Store, times: &'static [i64], result: fn() -> wfe_core::Result<()>) {
    let again = Arc::clone(store);
    let handler = move |_| -> CommandFuture {
        let store = Arc::clone(&again);
        Box::pin(async move {
            for &at in times {
                store.schedule_command(&command("i", at)).await?;
            }
            result()
        })
    };
    assert_eq!(store.process_commands(second(10), &handler).await.is_ok(), result().is_ok());
}

async fn a_command_scheduled_again_while_its_handler_runs_stays(bench: Bench) -> Checked<()> {
    let store = command_store(&bench).await?;
    store.schedule_command(&command("i", 10)).await?;
    reschedule(&store, &[20], || Ok(())).await;
    assert_eq!(run_due(&store, second(19)).await?, []);
    assert_eq!(run_due(&store, second(20)).await?, [command("i", 20)]);
    assert_eq!(run_due(&store, second(99)).await?, []);
    Ok(())
}

async fn a_command_scheduled_again_keeps_the_earliest_time_requested_since_its_handler_started(
    bench: Bench,
) -> Checked<()> {
    let store = command_store(&bench).await?;
    store.schedule_command(&command("i", 10)).await?;
    store.schedule_command(&command("i", 15)).await?;
    reschedule(&store, &[30, 20, 40], || Ok(())).await;
    assert_eq!(run_due(&store, second(19)).await?, []);
    assert_eq!(run_due(&store, second(20)).await?, [command("i", 20)]);
    Ok(())
}

async fn a_command_scheduled_again_while_its_handler_fails_is_due_at_its_old_time(
    bench: Bench,
) -> Checked<()> {
    let store = command_store(&bench).await?;
    store.schedule_command(&command("i", 10)).await?;
    reschedule(&store, &[20], || Err(WfeError::Cancelled)).await;
    assert_eq!(run_due(&store, second(10)).await?, [command("i", 10)]);
    assert_eq!(run_due(&store, second(99)).await?, []);
    Ok(())
}

async fn scheduling_another_command_does_not_keep_the_one_that_runs(bench: Bench) -> Checked<()> {
    let store = command_store(&bench).await?;
    store.schedule_command(&ScheduledCommand::process_event("i", second_ms(10))).await?;
    reschedule(&store, &[20], || Ok(())).await;
    assert_eq!(run_due(&store, second(99)).await?, [command("i", 20)]);
    Ok(())
}

async fn a_handler_may_use_the_store(bench: Bench) -> Checked<()> {
    let store = command_store(&bench).await?;
    store.create_new_workflow(&instance_with("i", &["p"])).await?;
    store.schedule_command(&command("i", 1)).await?;
    let used = Arc::clone(&store);
    let handler = move |command: ScheduledCommand| -> CommandFuture {
        let store = Arc::clone(&used);
        Box::pin(async move {
            let mut instance = store.get_workflow_instance(&command.data).await?;
            instance.data = json!("woken");
            let waits = [wait("w", "i", "name", "key", second(0))];
            store.persist_workflow_with_subscriptions(&instance, &waits).await?;
            store.create_event(&event("e", "name", "key", second(1))).await?;
            store.schedule_command(&ScheduledCommand::process_event("e", second_ms(50))).await
        })
    };
    store.process_commands(second(1), &handler).await?;
    assert_eq!(store.get_workflow_instance("i").await?.data, "woken");
    assert_eq!(store.get_subscription("w").await?.workflow_id, "i");
    let next = run_due(&store, second(99)).await?;
    assert_eq!(next, [ScheduledCommand::process_event("e", second_ms(50))]);
    Ok(())
}

async fn nothing_is_locked_while_a_handler_runs(bench: Bench) -> Checked<()> {
    let store = command_store(&bench).await?;
    store.schedule_command(&command("i", 1)).await?;
    let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let processing = {
        let (store, entered, leave) = (Arc::clone(&store), Arc::clone(&entered), Arc::clone(&leave));
        tokio::spawn(async move {
            let handler = move |_| -> CommandFuture {
                let (entered, leave) = (Arc::clone(&entered), Arc::clone(&leave));
                Box::pin(async move {
                    entered.notify_one();
                    leave.notified().await;
                    Ok(())
                })
            };
            store.process_commands(second(1), &handler).await
        })
    };
    entered.notified().await;
    store.create_new_workflow(&instance("meanwhile")).await?;
    assert_eq!(store.get_workflow_instance("meanwhile").await?, instance("meanwhile"));
    store.schedule_command(&command("i", 2)).await?;
    leave.notify_one();
    processing.await??;
    assert_eq!(run_due(&store, second(99)).await?, [command("i", 2)]);
    Ok(())
}

async fn a_command_whose_handler_was_dropped_is_due_again_at_its_old_time(bench: Bench) -> Checked<()> {
    let store = command_store(&bench).await?;
    store.schedule_command(&command("i", 1)).await?;
    let entered = Arc::new(Notify::new());
    let handler = {
        let entered = Arc::clone(&entered);
        move |_| -> CommandFuture {
            entered.notify_one();
            Box::pin(std::future::pending())
        }
    };
    tokio::select! {
        done = store.process_commands(second(1), &handler) => assert!(false, "ended with {done:?}"),
        () = entered.notified() => {}
    }
    assert_eq!(run_due(&store, second(0)).await?, []);
    assert_eq!(run_due(&store, second(1)).await?, [command("i", 1)]);
    Ok(())
}

async fn two_callers_leave_no_command_behind(bench: Bench) -> Checked<()> {
    let store = command_store(&bench).await?;
    let mut expected = Vec::new();
    for n in 0..40 {
        let command = command(&format!("i{n:02}"), n);
        store.schedule_command(&command).await?;
        expected.push(command);
    }
    let (one, two) = tokio::join!(run_due(&store, second(99)), run_due(&store, second(99)));
    let mut ran = [one?, two?].concat();
    ran.sort_by(|a, b| a.data.cmp(&b.data));
    ran.dedup();
    assert_eq!(ran, expected);
    assert_eq!(run_due(&store, second(99)).await?, []);
    Ok(())
}

/// A gate at which a handler waits until the test opens it.
#[derive(Default)]
struct Gate {
    reached: Notify,
    open: Notify,
}

/// Spawns a task that runs the due commands with a handler that waits at a gate. Returns once the handler waits, or
/// once the task has ended without a call of the handler.
async fn caller(store: &Store, gate: &Arc<Gate>) -> tokio::task::JoinHandle<wfe_core::Result<()>> {
    let task = tokio::spawn({
        let (store, gate) = (Arc::clone(store), Arc::clone(gate));
        async move {
            let handler = |_| -> CommandFuture {
                let gate = Arc::clone(&gate);
                Box::pin(async move {
                    gate.reached.notify_one();
                    gate.open.notified().await;
                    Ok(())
                })
            };
            let result = store.process_commands(second(20), &handler).await;
            gate.reached.notify_one();
            result
        }
    });
    gate.reached.notified().await;
    task
}

async fn a_command_scheduled_again_while_two_callers_run_it_is_not_lost(bench: Bench) -> Checked<()> {
    let store = command_store(&bench).await?;
    for is_first_done in [false, true] {
        store.schedule_command(&command("i", 10)).await?;
        let (one, two) = (Arc::<Gate>::default(), Arc::<Gate>::default());
        let (first, other) = (caller(&store, &one).await, caller(&store, &two).await);
        if !is_first_done {
            store.schedule_command(&command("i", 30)).await?;
        }
        one.open.notify_one();
        first.await??;
        if is_first_done {
            store.schedule_command(&command("i", 30)).await?;
        }
        two.open.notify_one();
        other.await??;
        assert_eq!(run_due(&store, second(40)).await?, [command("i", 30)]);
        assert_eq!(run_due(&store, second(40)).await?, []);
    }
    Ok(())
}

async fn hundreds_of_commands_run(bench: Bench) -> Checked<()> {
    let store = command_store(&bench).await?;
    let commands: Vec<_> = (0..600).map(|n| command(&format!("i{n}"), n / 3)).collect();
    let scheduled = commands.iter().map(|command| store.schedule_command(command));
    for stored in futures_util::future::join_all(scheduled).await {
        stored?;
    }
    let mut ran = run_due(&store, second(1_000)).await?;
    assert!(ran.is_sorted_by_key(|command| command.execute_time));
    ran.sort_by_key(|command| commands.iter().position(|c| c == command));
    assert_eq!(ran, commands);
    Ok(())
}
