//! How many statements the hot paths run, how many of them must be prepared, and how many switches between threads they cost.
//! Nothing is timed. A number that has become smaller is lowered here.

#![expect(clippy::disallowed_methods, reason = "a store under the system clock is tested by that clock")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test says what it expects by unwrapping it, and prints what it finds"
)]

use std::{fs, path::Path, sync::Arc};

use chrono::Utc;
use futures_util::future::join_all;
use serde_json::json;
use tokio::sync::Mutex;
use wfe::{Outcome, WorkflowHost, definition::WorkflowBuilder};
use wfe_core::{
    models::{ExecutionPointer, WorkflowInstance, WorkflowStatus},
    traits::{Ending, Fence, StepCommit, StepStore, WorkflowRepository},
};
use wfe_sqlite::SqlitePersistenceProvider;

/// One test at a time: the switches of the whole process are counted.
static ALONE: Mutex<()> = Mutex::const_new(());

async fn both(folder: &tempfile::TempDir) -> [SqlitePersistenceProvider; 2] {
    [
        SqlitePersistenceProvider::new(":memory:").await.unwrap(),
        SqlitePersistenceProvider::file(folder.path().join("a.db")).open().await.unwrap(),
    ]
}

/// The number of statements that a call runs, and how many of them must be prepared.
async fn counted(store: &SqlitePersistenceProvider, of: impl Future) -> (u64, u64) {
    let (statements, prepared) = store.statements();
    of.await;
    let after = store.statements();
    (after.0 - statements, after.1 - prepared)
}

fn pointer(id: &str) -> ExecutionPointer {
    ExecutionPointer { id: id.to_owned(), ..ExecutionPointer::new(0) }
}

/// The commit of a step: one pointer ends, and the next one begins.
fn step(id: &str, number: usize) -> StepCommit {
    StepCommit {
        instance_id: id.to_owned(),
        data: Some(json!(number)),
        finished: vec![pointer(&format!("p{number}"))],
        upserted: vec![pointer(&format!("p{}", number + 1))],
        ..StepCommit::default()
    }
}

/// How often each client runs a flow.
const ROUNDS: u64 = 20;

/// BEGIN and COMMIT are among the statements.
#[tokio::test]
async fn calls_of_the_engine_run_a_fixed_number_of_statements_which_stay_prepared() {
    let _alone = ALONE.lock().await;
    let folder = tempfile::tempdir().unwrap();
    for store in both(&folder).await {
        let owner = store.register().await.unwrap();
        let definitions = [("d".to_owned(), 1)];
        let mut prepared = 0;
        for _ in 0..20 {
            let mut instance = WorkflowInstance::new("d", 1, json!(0));
            instance.execution_pointers = vec![pointer("p0")];
            let id = instance.id.clone();
            let start = counted(&store, async { store.start(Some(&owner), &instance).await.unwrap() }).await;
            let fence = store.load(&id).await.unwrap().fence;
            let first =
                counted(&store, async { store.commit_step(fence, &step(&id, 0)).await.unwrap() }).await;
            let load = counted(&store, async { store.load(&id).await.unwrap() }).await;
            let lost =
                counted(&store, async { store.commit_step(Fence(9), &step(&id, 1)).await.unwrap() }).await;
            let claim = counted(&store, async {
                store.claim(&owner, &definitions, Utc::now(), 9).await.unwrap();
            })
            .await;
            let found = [start, first, load, lost, claim];
            let statements = found.map(|(statements, _)| statements);
            assert_eq!(statements[..4], [5, 5, 8, 4]);
            // From time to time, a claim also reads how far other owners have come.
            assert!((5..=6).contains(&statements[4]), "{statements:?}");
            prepared += found.map(|(_, prepared)| prepared).iter().sum::<u64>();
        }
        println!("{prepared} preparations in 20 rounds of 27 statements");
        // The writer and each of the three readers prepare a statement once; which reader serves a call is left to chance.
        assert!(prepared <= 4 * 27, "{prepared}");
    }
}

/// What a call writes: commits (each is one fsync of the log), rows, and pages of the log. The log of a new file only grows.
async fn written(store: &SqlitePersistenceProvider, log: &Path, of: impl Future) -> [u64; 3] {
    // A frame is a page of 4 KiB with a header of 24 bytes. `metadata` opens no file: closing one would release SQLite's locks.
    let pages = || fs::metadata(log).unwrap().len() / (4096 + 24);
    let (before, pages_before) = (store.written(), pages());
    of.await;
    let after = store.written();
    [after.0 - before.0, after.1 - before.1, pages() - pages_before]
}

#[tokio::test]
async fn a_call_writes_a_fixed_number_of_rows_and_a_bounded_number_of_pages() {
    let _alone = ALONE.lock().await;
    let folder = tempfile::tempdir().unwrap();
    let (path, log) = (folder.path().join("a.db"), folder.path().join("a.db-wal"));
    let store = SqlitePersistenceProvider::file(&path).open().await.unwrap();
    let owner = store.register().await.unwrap();
    // After more rounds, a page of some table or index is full and divided.
    for round in 0..7 {
        let mut instance = WorkflowInstance::new("d", 1, json!({ "note": "x".repeat(200) }));
        instance.execution_pointers = vec![pointer("p0")];
        let create = written(&store, &log, async {
            instance.id = store.create_new_workflow(&instance).await.unwrap();
        });
        let create = create.await;
        instance = store.get_workflow_instance(&instance.id).await.unwrap();
        instance.execution_pointers[0].retry_count += 1;
        instance.execution_pointers.push(pointer("p1"));
        let persist = written(&store, &log, async { store.persist_workflow(&instance).await.unwrap() }).await;
        let same = written(&store, &log, async { store.persist_workflow(&instance).await.unwrap() }).await;
        let id = WorkflowInstance::new("d", 1, json!(0)).id;
        let other = WorkflowInstance { id, execution_pointers: vec![pointer("p0")], ..instance.clone() };
        let other = WorkflowInstance { name: String::new(), ..other };
        let mut started = None;
        let start = written(&store, &log, async {
            started = Some(store.start(Some(&owner), &other).await.unwrap());
        });
        let start = start.await;
        let id = started.unwrap().id;
        let fence = store.load(&id).await.unwrap().fence;
        let commit =
            written(&store, &log, async { store.commit_step(fence, &step(&id, 0)).await.unwrap() }).await;
        let last = StepCommit {
            status: Some(WorkflowStatus::Complete),
            ending: Some(Ending::Completed),
            complete_time: Some(Utc::now()),
            next_execution: Some(None),
            release: true,
            finished: vec![pointer("p1")],
            ..step(&id, 1)
        };
        let last = StepCommit { upserted: Vec::new(), ..last };
        let end = written(&store, &log, async { store.commit_step(fence, &last).await.unwrap() }).await;
        let found = [create, persist, same, start, commit, end];
        println!("round {round}: create, persist, persist the same, start, commit, end: {found:?}");
        let expected = [[1, 2], [1, 3], [1, 1], [1, 2], [1, 3], [1, 2]];
        assert_eq!(found.map(|[commits, rows, _]| [commits, rows]), expected);
        // The indexes of operators cost a start two pages and an end two, each of which the other starts and ends of a batch
        // share; a step writes to none of them.
        for (at, [.., pages]) in found.into_iter().enumerate() {
            let most = [9, 3, 1, 10, 4, 8][at];
            assert!(pages <= most, "{pages} pages, at most {most} expected, in {found:?}");
        }
    }
}

#[tokio::test]
async fn a_flow_of_three_steps_runs_a_bounded_number_of_statements_alone_and_beside_others() {
    let _alone = ALONE.lock().await;
    let folder = tempfile::tempdir().unwrap();
    for store in both(&folder).await {
        let store = Arc::new(store);
        let host = WorkflowHost::builder_shared(store.clone()).build();
        let definition = WorkflowBuilder::<u64>::new("flow", 1)
            .then("one", async |_, _| Ok(()))
            .then("two", async |_, _| Ok(()))
            .then("three", async |_, _| Ok(()));
        host.register(definition.build().unwrap()).unwrap();
        host.start().await.unwrap();
        // Alone, each of the four commits has a BEGIN and a COMMIT of its own. The numbers leave room for what a host does
        // besides: it looks for work, and marks events. In memory, a commit is short, so that fewer requests share one.
        for (clients, most) in [(1, 22), (64, 18)] {
            let flow = async |number: u64| {
                let id = host.start_workflow("flow", &number).await.unwrap();
                let end = host.outcome::<u64>(&id).await.unwrap();
                assert!(matches!(end, Outcome::Completed(data) if data == number));
            };
            join_all((0..clients).map(&flow)).await;
            let (statements, _) = counted(&store, async {
                for _ in 0..ROUNDS {
                    join_all((0..clients).map(&flow)).await;
                }
            })
            .await;
            let of_each = statements / (ROUNDS * clients);
            let mut least = u64::MAX;
            for _ in 0..3 {
                let (commits, _) = store.written();
                flow(0).await;
                least = least.min(store.written().0 - commits);
            }
            assert_eq!(
                least, 4,
                "a flow alone is its start and its steps; the host may commit something else meanwhile"
            );
            println!("{of_each} statements for each of {clients} flows");
            assert!((4..=most).contains(&of_each), "{of_each} statements for each of {clients} flows");
        }
        host.stop().await.unwrap();
    }
}

/// The voluntary switches of all threads of this process, ended ones included: each wait of a thread for another one is one.
fn switches() -> i64 {
    use nix::sys::resource::{UsageWho, getrusage};
    getrusage(UsageWho::RUSAGE_SELF).unwrap().voluntary_context_switches()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_statement_and_a_row_cost_no_switch_between_threads() {
    let _alone = ALONE.lock().await;
    let folder = tempfile::tempdir().unwrap();
    for store in both(&folder).await {
        let cost = async |pointers: usize| {
            let mut instance = WorkflowInstance::new("d", 1, json!(0));
            instance.execution_pointers = (0..pointers).map(|number| pointer(&number.to_string())).collect();
            let before = switches();
            store.create_new_workflow(&instance).await.unwrap();
            assert_eq!(store.load(&instance.id).await.unwrap().instance.execution_pointers.len(), pointers);
            switches() - before
        };
        cost(1).await;
        let (few, many) = (cost(1).await, cost(1_000).await);
        assert!(many < few + 200, "{many} switches for 1 000 statements and rows, {few} for one");
    }
}
