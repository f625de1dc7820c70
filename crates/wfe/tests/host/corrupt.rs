//! Rows that were lost or spoilt behind the engine's back: each stops its own instance, with the place named, and no other.

use std::{path::Path, sync::Arc, time::Duration};

use chrono::DateTime;
use sqlx::{ConnectOptions, Executor, SqliteConnection, sqlite::SqliteConnectOptions};
use wfe::{
    Outcome, WfeError, WorkflowHost,
    definition::{AnyDefinition, Definition, Event, OnFailure, WorkflowBuilder, WorkflowName},
    models::ExecutionError,
    schedules::{NewSchedule, Timetable},
    status::State,
    steps::{StepError, UserAnswer},
    traits::PersistenceProvider,
};
use wfe_sqlite::SqlitePersistenceProvider;

use crate::support::{Count, Store, Tally, completed, ended, nothing, started, until};

const HOUR: Duration = Duration::from_hours(1);
const DELIVERED: Event<()> = Event::new("delivered");

/// Somebody who changes rows by hand, with neither CHECKs nor triggers.
struct Hand(SqliteConnection);

impl Hand {
    async fn at(path: &Path) -> Self {
        let mut hand = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
        hand.execute("PRAGMA ignore_check_constraints = ON").await.unwrap();
        let triggers: Vec<String> =
            sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
                .fetch_all(&mut hand)
                .await
                .unwrap();
        for trigger in triggers {
            hand.execute(sqlx::AssertSqlSafe(format!("DROP TRIGGER {trigger}"))).await.unwrap();
        }
        Self(hand)
    }

    /// Does this; a `?` is the instance.
    async fn does(&mut self, statement: &str, id: &str) {
        let text = sqlx::AssertSqlSafe(statement.replace('?', &format!("'{id}'")));
        assert!(self.0.execute(text).await.unwrap().rows_affected() > 0, "{statement}");
    }

    /// Status and cause, from the row itself.
    async fn row(&mut self, id: &str) -> (String, String) {
        let row: (String, Option<String>) =
            sqlx::query_as("SELECT status, cause FROM workflows WHERE id = ?")
                .bind(id)
                .fetch_one(&mut self.0)
                .await
                .unwrap();
        (row.0, row.1.unwrap_or_default())
    }

    /// Waits until the instance is suspended, and compares why.
    async fn is_suspended(&mut self, id: &str, place: &str) {
        until(async || self.row(id).await.0 == "Suspended").await;
        let cause = self.row(id).await.1;
        assert!(cause.contains("\"code\":\"corrupt\"") && cause.contains(place), "{cause}");
    }
}

/// Table, column and row that `status` names.
async fn told(host: &WorkflowHost, id: &str) -> (&'static str, &'static str, String) {
    match host.status(id).await {
        Err(WfeError::Corrupt { table, column, row, .. }) => (table, column, row),
        other => panic!("{other:?}"),
    }
}

/// A host that keeps no copies of what others change.
async fn host(store: &Store, definitions: &[&AnyDefinition]) -> WorkflowHost {
    let provider =
        SqlitePersistenceProvider::file(store.path().unwrap()).cache_bytes(0).open().await.unwrap();
    let host = WorkflowHost::builder_shared(Arc::new(provider) as Arc<dyn PersistenceProvider>);
    started(host.poll_interval(Duration::from_millis(20)).build(), definitions).await
}

/// A step with an effect outside, then a wait.
fn pays(paid: &Count) -> Definition<Tally> {
    let paid = paid.clone();
    WorkflowBuilder::<Tally>::new("pays", 1)
        .call("pay", move |_, _| {
            paid.up();
            Ok(())
        })
        .wait_for("wait", DELIVERED, |_| "k")
        .step("end", nothing())
        .build()
        .unwrap()
}

/// An instance that has paid and waits; its host has stopped.
async fn waiting(store: &Store, definition: &Definition<Tally>) -> String {
    let first = host(store, &[definition]).await;
    let id = first.start_workflow("pays", &Tally::default()).await.unwrap();
    until(async || first.status(&id).await.unwrap().current_steps == ["wait"]).await;
    first.stop().await.unwrap();
    id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_whose_pointers_are_gone_does_not_begin_again() {
    let (store, paid) = (Store::file(), Count::default());
    let definition = pays(&paid);
    let id = waiting(&store, &definition).await;
    let mut hand = Hand::at(&store.path().unwrap()).await;
    hand.does(
        "DELETE FROM execution_pointers WHERE workflow = (SELECT seq FROM workflows WHERE id = ?)",
        &id,
    )
    .await;
    let asks = store.builder().await.build();
    assert_eq!(told(&asks, &id).await, ("execution_pointers", "workflow", id.clone()));
    let host = host(&store, &[&definition]).await;
    host.publish_event("delivered", "k", &()).await.unwrap();
    hand.is_suspended(&id, "execution_pointers.workflow").await;
    assert_eq!((paid.get(), told(&host, &id).await.2), (1, id.clone()));
    // A resume that finds it as it was leaves it so; an end is an end.
    host.resume(&id).await.unwrap();
    let mut failures = 0;
    until(async || {
        failures = host.failures(&id).all().await.unwrap().len();
        failures == 2
    })
    .await;
    assert_eq!((hand.row(&id).await.0.as_str(), paid.get()), ("Suspended", 1));
    host.terminate(&id).await.unwrap();
    until(async || hand.row(&id).await.0 == "Terminated").await;
    assert_eq!(ended(&host, &id).await, Outcome::Terminated);
    assert_eq!(paid.get(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_was_put_back_lets_the_instance_go_on() {
    let (store, paid) = (Store::file(), Count::default());
    let definition = pays(&paid);
    let id = waiting(&store, &definition).await;
    let mut hand = Hand::at(&store.path().unwrap()).await;
    let of = "WHERE id = 'wait' AND workflow = (SELECT seq FROM workflows WHERE id = ?)";
    hand.does(&format!("UPDATE execution_pointers SET scope = '{{' {of}"), &id).await;
    let host = host(&store, &[&definition]).await;
    host.publish_event("delivered", "k", &()).await.unwrap();
    hand.is_suspended(&id, "execution_pointers.scope, row wait of").await;
    hand.does(&format!("UPDATE execution_pointers SET scope = '[]' {of}"), &id).await;
    host.resume(&id).await.unwrap();
    completed(&host, &id).await;
    assert_eq!(paid.get(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_whose_row_is_gone_or_changed_is_told_and_stops_its_instance() {
    for (spoils, column) in [
        ("DELETE FROM event_subscriptions WHERE workflow_id = ?", "id"),
        ("UPDATE event_subscriptions SET is_open = 0 WHERE workflow_id = ?", "is_open"),
        ("UPDATE event_subscriptions SET workflow_id = 'other' WHERE workflow_id = ?", "workflow_id"),
        ("UPDATE event_subscriptions SET kind = 'position' WHERE workflow_id = ?", "kind"),
        ("UPDATE event_subscriptions SET kind = '5' WHERE workflow_id = ?", "kind"),
        ("UPDATE event_subscriptions SET born = 1000000 WHERE workflow_id = ?", "born"),
    ] {
        let (store, paid) = (Store::file(), Count::default());
        let definition = pays(&paid);
        let id = waiting(&store, &definition).await;
        let mut hand = Hand::at(&store.path().unwrap()).await;
        hand.does(spoils, &id).await;
        let wait = format!("{id}//wait//1");
        let asks = store.builder().await.build();
        asks.publish_event("other", "k", &()).await.unwrap();
        assert_eq!(told(&asks, &id).await, ("event_subscriptions", column, wait));
        let host = host(&store, &[&definition]).await;
        // Whatever lets somebody take it up.
        host.suspend(&id).await.unwrap();
        hand.is_suspended(&id, &format!("event_subscriptions.{column}")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_that_a_caller_closed_is_opened_again() {
    let (store, paid) = (Store::file(), Count::default());
    let definition = pays(&paid);
    let id = waiting(&store, &definition).await;
    store.provider().await.terminate_subscription(&format!("{id}//wait//1")).await.unwrap();
    let host = host(&store, &[&definition]).await;
    host.status(&id).await.unwrap();
    host.suspend(&id).await.unwrap(); // somebody looks
    host.resume(&id).await.unwrap();
    let again = format!("{id}//wait//2");
    let provider = store.provider().await;
    until(async || provider.get_subscription(&again).await.is_ok()).await;
    host.publish_event("delivered", "k", &()).await.unwrap();
    completed(&host, &id).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_at_which_nobody_would_look_again_says_so() {
    let sleeps = WorkflowBuilder::<Tally>::new("sleeps", 1).delay("d", |_| HOUR).build().unwrap();
    let store = Store::file();
    let first = host(&store, &[&sleeps]).await;
    let id = first.start_workflow("sleeps", &Tally::default()).await.unwrap();
    until(async || first.status(&id).await.unwrap().due > Some(DateTime::UNIX_EPOCH)).await;
    first.stop().await.unwrap();
    let mut hand = Hand::at(&store.path().unwrap()).await;
    for lost in ["NULL", "9223372036854775807"] {
        hand.does(&format!("UPDATE workflows SET next_execution = {lost} WHERE id = ?"), &id).await;
        let asks = store.builder().await.build();
        assert_eq!(told(&asks, &id).await, ("workflows", "next_execution", id.clone()));
    }
    // As the error says.
    hand.does("UPDATE workflows SET next_execution = 0 WHERE id = ?", &id).await;
    let host = host(&store, &[&sleeps]).await;
    until(async || host.status(&id).await.unwrap().due > Some(DateTime::UNIX_EPOCH)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_rows_stop_their_own_instances_and_no_other() {
    let two =
        WorkflowBuilder::<Tally>::new("two", 1).step("a", nothing()).step("b", nothing()).build().unwrap();
    let store = Store::file();
    let first = store.builder().await.build();
    first.register(two.clone()).unwrap();
    let mut ids = Vec::new();
    for _ in 0..40 {
        ids.push(first.start_workflow("two", &Tally::default()).await.unwrap());
    }
    let pointers = "(SELECT seq FROM workflows WHERE id = ?)";
    let spoilt = [
        ("UPDATE workflows SET owner = -1 WHERE id = ?".to_owned(), "workflows.owner"),
        ("UPDATE workflows SET fence = -7 WHERE id = ?".to_owned(), "workflows.fence"),
        ("UPDATE workflows SET claims = -1 WHERE id = ?".to_owned(), "workflows.claims"),
        ("UPDATE workflows SET revision = 9223372036854775807 WHERE id = ?".to_owned(), "workflows.revision"),
        ("UPDATE workflows SET data = '{' WHERE id = ?".to_owned(), "workflows.data"),
        (
            format!("UPDATE execution_pointers SET children = '1' WHERE workflow = {pointers}"),
            "execution_pointers.children",
        ),
        (
            format!("DELETE FROM execution_pointers WHERE workflow = {pointers}"),
            "execution_pointers.workflow",
        ),
    ];
    let mut hand = Hand::at(&store.path().unwrap()).await;
    for ((spoils, _), id) in spoilt.iter().zip(&ids) {
        hand.does(spoils, id).await;
    }
    let (one, other) = (host(&store, &[&two]).await, host(&store, &[&two]).await);
    for id in &ids[spoilt.len()..] {
        completed(&one, id).await;
    }
    for ((_, place), id) in spoilt.iter().zip(&ids) {
        hand.is_suspended(id, place).await;
    }
    let id = other.start_workflow("two", &Tally::default()).await.unwrap();
    completed(&one, &id).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_user_task_takes_the_inbox_from_nobody() {
    let asks = WorkflowBuilder::<Tally>::new("asks", 1)
        .user_task("ask", |_| "May he?")
        .assignee(|_| "boss")
        .plain_option("yes")
        .build()
        .unwrap();
    let store = Store::file();
    let host = host(&store, &[&asks]).await;
    for _ in 0..6 {
        host.start_workflow("asks", &Tally::default()).await.unwrap();
    }
    let tasks = host.user_tasks();
    let open = async |assignee: Option<&str>, limit: usize| {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = tasks.open(assignee, after, limit).await.unwrap();
            all.extend(page.rows);
            after = page.next;
            if after.is_none() {
                return all;
            }
        }
    };
    until(async || open(None, 9).await.len() == 6).await;
    let before = open(None, 9).await;
    let mut hand = Hand::at(&store.path().unwrap()).await;
    for (at, spoilt) in [(0, "\"no task\""), (1, "{\"prompt\":7}"), (3, "{")] {
        let spoils = format!("UPDATE event_subscriptions SET subscription_data = '{spoilt}' WHERE id = ?");
        hand.does(&spoils, &before[at].id).await;
    }
    hand.does("UPDATE event_subscriptions SET kind = 'position' WHERE id = ?", &before[5].id).await;
    let of_no_kind = ("event_subscriptions", "kind", before[5].id.clone());
    assert_eq!(told(&host, &before[5].instance_id).await, of_no_kind);
    let expected: Vec<_> = [2, 4].map(|at| before[at].clone()).into();
    for limit in [1, 2, 9] {
        assert_eq!(open(None, limit).await, expected, "{limit}");
        assert_eq!(open(Some("boss"), limit).await, expected, "{limit}");
    }
    let answer = UserAnswer::new("yes");
    tasks.answer(&expected[0].id, &answer).await.unwrap();
    completed(&host, &expected[0].instance_id).await;
    match tasks.answer(&before[1].id, &answer).await {
        Err(WfeError::Corrupt { table, column, row, .. }) => {
            assert_eq!((table, column, &row), ("event_subscriptions", "subscription_data", &before[1].id));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_behind_whole_pages_that_do_not_decode_are_read() {
    let store = Store::file();
    let provider = store.provider().await;
    let errors: Vec<_> = (0..700).map(|n| ExecutionError::new("i", "p", format!("{n}"))).collect();
    provider.persist_errors(&errors).await.unwrap();
    let mut hand = Hand::at(&store.path().unwrap()).await;
    hand.does(
        "UPDATE execution_errors SET causes = '{' WHERE seq BETWEEN 2 AND 699 AND workflow_id = ?",
        "i",
    )
    .await;
    let asks = store.builder().await.build();
    let said: Vec<_> =
        asks.failures("i").all().await.unwrap().into_iter().map(|one| one.error.message).collect();
    assert_eq!(said, ["0", "699"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_that_cannot_be_read_is_left_out_of_the_list() {
    let report = WorkflowBuilder::<Tally>::new("report", 1).step("a", nothing()).build().unwrap();
    let store = Store::file();
    let host = host(&store, &[&report]).await;
    for id in ["one", "two", "three"] {
        let yearly = NewSchedule::new(id, "report", Timetable::interval(365 * 24 * HOUR));
        host.schedules().create(yearly, &Tally::default()).await.unwrap();
    }
    until(async || host.schedules().list(None, 9).await.unwrap().rows.len() == 3).await;
    let one = host.schedules().get("one").await.unwrap().instance_id;
    let two = host.schedules().get("two").await.unwrap().instance_id;
    let mut hand = Hand::at(&store.path().unwrap()).await;
    hand.does("UPDATE workflows SET data = '7' WHERE id = ?", &one).await;
    hand.does("UPDATE workflows SET data = '{' WHERE id = ?", &two).await;
    let listed = host.schedules().list(None, 9).await.unwrap();
    assert_eq!(listed.rows.into_iter().map(|one| one.id).collect::<Vec<_>>(), ["three"]);
    for id in ["one", "two"] {
        assert!(matches!(host.schedules().get(id).await, Err(WfeError::Corrupt { .. })), "{id}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_lets_no_commit_through_suspends_its_instance_and_no_other() {
    let (store, ran) = (Store::file(), Count::default());
    let counts = ran.clone();
    let two = WorkflowBuilder::<Tally>::new("two", 1)
        .parallel("both", |all| {
            all.branch(|b| {
                b.wait_for("wait", DELIVERED, |_| "k").call("count", move |_, _| {
                    counts.up();
                    Ok(())
                })
            })
        })
        .build()
        .unwrap();
    let first = host(&store, &[&two]).await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        let id = first.start_workflow("two", &Tally::default()).await.unwrap();
        until(async || first.status(&id).await.unwrap().current_steps == ["wait"]).await;
        ids.push(id);
    }
    first.stop().await.unwrap();
    let mut hand = Hand::at(&store.path().unwrap()).await;
    // The number that the end of the wait is to have is taken.
    let taken = "INSERT INTO execution_pointers (workflow, kind, number, position, id, step_id, active, status, \
         event_published, retry_count, children, scope, extension_attributes, container) \
         SELECT seq, 'history', completions + 1, 0, 'both/0/wait', 0, 0, 'Complete', 0, 0, '[]', '[]', '{}', '' \
         FROM workflows WHERE id = ?";
    hand.does(taken, &ids[0]).await;
    hand.does(taken, &ids[1]).await;
    let host = host(&store, &[&two]).await;
    host.publish_event("delivered", "k", &()).await.unwrap();
    for id in &ids[2..] {
        completed(&host, id).await;
    }
    for id in &ids[..2] {
        hand.is_suspended(id, &format!("execution_pointers.number, row both/0/wait of {id}")).await;
    }
    let failures = async |id: &str| host.failures(id).all().await.unwrap().len();
    // Nobody tries again, until somebody says so; then once.
    assert_eq!((failures(&ids[0]).await, failures(&ids[1]).await), (1, 1));
    host.resume(&ids[0]).await.unwrap();
    until(async || failures(&ids[0]).await == 2).await;
    hand.is_suspended(&ids[0], "execution_pointers.number").await;
    // An end is an end, and what is mended goes on.
    host.terminate(&ids[0]).await.unwrap();
    assert_eq!(ended(&host, &ids[0]).await, Outcome::Terminated);
    let mends = "DELETE FROM execution_pointers WHERE kind = 'history' AND id = 'both/0/wait' \
         AND workflow = (SELECT seq FROM workflows WHERE id = ?)";
    hand.does(mends, &ids[1]).await;
    host.resume(&ids[1]).await.unwrap();
    completed(&host, &ids[1]).await;
    // What had run when its commit was not stored runs again, as after a crash.
    assert_eq!((failures(&ids[1]).await, ran.get()), (1, 6));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_in_a_status_in_which_nothing_goes_on_is_told_and_stops_its_instance() {
    let of = "WHERE id = 'wait' AND workflow = (SELECT seq FROM workflows WHERE id = ?)";
    for (spoils, column) in [
        ("status = 'Complete'", "status"),
        ("status = 'Running'", "status"),
        ("active = 4611686018427387904", "active"),
        ("event_key = 'other'", "event_key"),
    ] {
        let (store, paid) = (Store::file(), Count::default());
        let definition = pays(&paid);
        let id = waiting(&store, &definition).await;
        let mut hand = Hand::at(&store.path().unwrap()).await;
        hand.does(&format!("UPDATE execution_pointers SET {spoils} {of}"), &id).await;
        let asks = store.builder().await.build();
        asks.register(definition.clone()).unwrap();
        assert_eq!(told(&asks, &id).await.1, column);
        let host = host(&store, &[&definition]).await;
        host.publish_event("delivered", "k", &()).await.unwrap();
        hand.is_suspended(&id, &format!(".{column}, row ")).await;
        assert_eq!(paid.get(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_was_set_going_by_hand_before_its_failed_step_is_suspended_again() {
    let (store, ran) = (Store::file(), Count::default());
    let counts = ran.clone();
    let fails = WorkflowBuilder::<Tally>::new("fails", 1)
        .call("a", move |_, _| if counts.up() == 1 { Err(StepError::fatal("not yet")) } else { Ok(()) })
        .on_failure(OnFailure::Suspend)
        .build()
        .unwrap();
    let first = host(&store, &[&fails]).await;
    let id = first.start_workflow("fails", &Tally::default()).await.unwrap();
    until(async || first.status(&id).await.unwrap().state == State::Suspended).await;
    first.stop().await.unwrap();
    let mut hand = Hand::at(&store.path().unwrap()).await;
    hand.does("UPDATE workflows SET status = 'Runnable', cause = NULL WHERE id = ?", &id).await;
    let host = host(&store, &[&fails]).await;
    assert_eq!(told(&host, &id).await, ("workflows", "status", id.clone()));
    host.suspend(&id).await.unwrap(); // somebody looks
    hand.is_suspended(&id, "workflows.status").await;
    // That was the mend.
    host.resume(&id).await.unwrap();
    completed(&host, &id).await;
    assert_eq!(ran.get(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_is_gone_or_nobodys_is_told_of_its_parent() {
    for (spoils, column) in [
        ("DELETE FROM workflows WHERE parent = ?", "id"),
        ("UPDATE workflows SET parent = NULL WHERE parent = ?", "parent"),
    ] {
        let store = Store::file();
        let sleeps = WorkflowBuilder::<Tally>::new("sleeps", 1).delay("d", |_| HOUR).build().unwrap();
        let asks = WorkflowBuilder::<Tally>::new("asks", 1)
            .sub_workflow("sub", WorkflowName::new("sleeps"), Tally::clone)
            .build()
            .unwrap();
        let first = host(&store, &[&sleeps, &asks]).await;
        let id = first.start_workflow("asks", &Tally::default()).await.unwrap();
        until(async || first.status(&id).await.unwrap().current_steps == ["sub"]).await;
        first.stop().await.unwrap();
        let mut hand = Hand::at(&store.path().unwrap()).await;
        hand.does(spoils, &id).await;
        let host = host(&store, &[&sleeps, &asks]).await;
        assert_eq!(told(&host, &id).await, ("workflows", column, format!("{id}//sub//1")));
        host.suspend(&id).await.unwrap(); // somebody looks
        hand.is_suspended(&id, &format!("workflows.{column}")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_does_not_decode_suspends_its_instance_and_others_go_on() {
    let (store, paid) = (Store::file(), Count::default());
    let definition = pays(&paid);
    let id = waiting(&store, &definition).await;
    let mut hand = Hand::at(&store.path().unwrap()).await;
    hand.does("UPDATE workflows SET control = 'Dancing' WHERE id = ?", &id).await;
    let host = host(&store, &[&definition]).await;
    hand.is_suspended(&id, "workflows.control").await;
    host.publish_event("delivered", "k", &()).await.unwrap();
    host.resume(&id).await.unwrap();
    completed(&host, &id).await;
}
