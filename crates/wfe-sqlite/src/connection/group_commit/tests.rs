use std::sync::atomic::Ordering::Relaxed;

use super::*;
use crate::{
    connection::execute::{self, Counts},
    file::open,
    request::{Sql, Value},
    sqlx::{self, SqliteConnection},
};
use wfe_sqlite_handle::LentHandle;

const PUT: Sql<2> = Sql::new(
    "INSERT INTO execution_errors (error_time, workflow_id, execution_pointer_id, message) VALUES (?, ?, '', '')",
);
const IS_EVEN: Sql<1> = Sql::new("SELECT 1 WHERE ? % 2 = 1");
const INVALID: Sql<1> = Sql::new("INSERT INTO workflows (id) VALUES (?)");
const ALL_OF: Sql<1> = Sql::new("DELETE FROM execution_errors WHERE workflow_id = ?");

/// Writes a number several times, if it is even.
fn put(number: i64, times: i64) -> Script {
    let mut script = Script::about(&number.to_string());
    script.guard(&IS_EVEN, [number.into()]);
    for _ in 0..times {
        script.add(&PUT, [number.into(), "w".into()]);
    }
    script
}

struct Place {
    connection: SqliteConnection,
    counts: Arc<Counts>,
}

impl Place {
    async fn new() -> Self {
        Self { connection: open::memory().await.unwrap(), counts: Arc::default() }
    }

    async fn lend(&mut self) -> LentHandle<'_> {
        execute::lend(&mut self.connection).await.unwrap()
    }

    async fn stored(&mut self) -> Vec<i64> {
        sqlx::query_scalar("SELECT DISTINCT error_time FROM execution_errors ORDER BY 1")
            .fetch_all(&mut self.connection)
            .await
            .unwrap()
    }
}

fn answers(lent: &Lent<'_>, scripts: &[Script]) -> Vec<Answer> {
    match run(lent, &scripts.iter().collect::<Vec<_>>()) {
        Batch::Answered(answers) => answers,
        Batch::NotBegun(error) | Batch::Ended(error) | Batch::Unknown(error) => panic!("{error}"),
        Batch::Lost(_) | Batch::LostSince(_) => panic!("lost"),
    }
}

#[tokio::test]
async fn a_request_that_fails_spoils_only_itself_whatever_the_size_of_batch_and_request() {
    for (requests, times) in [(1, 1), (2, 1), (7, 2), (70, 1), (5, 50), (1, 50)] {
        let mut place = Place::new().await;
        let mut scripts: Vec<_> = (0..requests).map(|number| put(number, times)).collect();
        let mut bad = Script::about("bad");
        bad.add(&PUT, [99_i64.into(), "w".into()]);
        bad.add(&INVALID, ["x".into()]);
        scripts.insert(scripts.len() / 2, bad);
        let counts = Arc::clone(&place.counts);
        let handle = place.lend().await;
        let lent = Lent::new(&handle, &counts);
        let mut expected = Vec::new();
        for (script, answer) in scripts.iter().zip(answers(&lent, &scripts)) {
            let is_bad = script.key == Script::about("bad").key;
            match answer {
                Err(WfeError::Storage { .. }) if is_bad => {}
                Ok(Written::Refused(0)) if !is_bad => {}
                Ok(Written::Done(done)) => {
                    assert_eq!(done.len(), script.statements.len());
                    assert!(done[1..].iter().all(|done| done.changes == 1));
                    expected.push(script.values[0].clone());
                }
                Ok(Written::Refused(other)) => panic!("refused by {other}"),
                Err(error) => panic!("{error}"),
            }
        }
        assert!(!lent.is_in_transaction());
        drop(lent);
        let even: Vec<i64> = (0..requests).filter(|number| number % 2 == 0).collect();
        assert_eq!(expected, even.iter().copied().map(Value::Int).collect::<Vec<_>>());
        drop(handle);
        assert_eq!(place.stored().await, even, "{requests} requests of {times}");
    }
}

#[tokio::test]
async fn requests_run_in_their_order_and_each_sees_what_those_before_it_have_written() {
    let mut place = Place::new().await;
    for failing in [false, true] {
        let mut clear = Script::about("2");
        clear.add(&ALL_OF, ["w".into()]);
        let mut scripts = vec![put(2, 3), put(4, 1), clear, put(6, 1)];
        if failing {
            let mut bad = put(8, 1);
            bad.add(&INVALID, ["x".into()]);
            scripts.push(bad);
        }
        let counts = Arc::clone(&place.counts);
        let handle = place.lend().await;
        let lent = Lent::new(&handle, &counts);
        let Ok(Written::Done(done)) = answers(&lent, &scripts).swap_remove(2) else { panic!("refused") };
        // The second round also finds what the first one has left.
        assert_eq!(done[0].changes, if failing { 5 } else { 4 });
        drop(lent);
        drop(handle);
        assert_eq!(place.stored().await, [6]);
    }
}

/// Savepoints, and a second run of the batch, are the price of a failure after a write only.
#[tokio::test]
async fn a_request_that_is_refused_or_fails_before_it_has_written_costs_the_others_nothing() {
    let mut place = Place::new().await;
    let counts = Arc::clone(&place.counts);
    let handle = place.lend().await;
    let lent = Lent::new(&handle, &counts);
    let counted = |scripts: &[Script]| {
        let before = counts.statements.load(Relaxed);
        (answers(&lent, scripts), counts.statements.load(Relaxed) - before)
    };
    let mut invalid = Script::about("x");
    invalid.add(&ALL_OF, ["nobody".into()]);
    invalid.add(&INVALID, ["x".into()]);
    // BEGIN and COMMIT, and each statement that was reached, once.
    let (results, statements) = counted(&[put(2, 2), put(1, 9), invalid, put(4, 2)]);
    assert_eq!(statements, 2 + 3 + 1 + 2 + 3);
    assert!(matches!(results[1], Ok(Written::Refused(0))) && results[2].is_err());
    // A guard after a write takes that write back.
    let mut late = Script::about("late");
    late.add(&PUT, [50_i64.into(), "w".into()]);
    late.guard(&IS_EVEN, [1_i64.into()]);
    let (results, statements) = counted(&[put(6, 1), late, put(8, 1)]);
    let (first, second) = (1 + 2 + 2 + 1, 1 + 4 + 5 + 4 + 1);
    assert_eq!(statements, first + second);
    assert!(matches!(results[..], [Ok(Written::Done(_)), Ok(Written::Refused(1)), Ok(Written::Done(_))]));
    drop(lent);
    drop(handle);
    assert_eq!(place.stored().await, [2, 4, 6, 8]);
}

#[tokio::test]
async fn a_statement_is_prepared_once() {
    let mut place = Place::new().await;
    let counts = Arc::clone(&place.counts);
    let handle = place.lend().await;
    let lent = Lent::new(&handle, &counts);
    answers(&lent, &[put(2, 2), put(1, 1)]);
    assert_eq!(counts.prepared.load(Relaxed), 4, "BEGIN, COMMIT, and two");
    for number in 0..50 {
        answers(&lent, &[put(number, 3), put(number + 1, 1), put(4, 2)]);
    }
    assert_eq!(counts.prepared.load(Relaxed), 4);
}

#[tokio::test]
async fn a_full_database_ends_the_batch_and_writes_nothing_of_it() {
    let mut place = Place::new().await;
    let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(&mut place.connection).await.unwrap();
    let limit = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {}", pages + 1));
    sqlx::query(limit).execute(&mut place.connection).await.unwrap();
    let mut large = Script::about("large");
    large.add(&PUT, [7_i64.into(), "w".repeat(100_000).into()]);
    let scripts = [put(2, 1), large];
    let counts = Arc::clone(&place.counts);
    let handle = place.lend().await;
    let lent = Lent::new(&handle, &counts);
    let outcome = run(&lent, &scripts.iter().collect::<Vec<_>>());
    assert!(matches!(outcome, Batch::Ended(error) if error::is_full(&error)));
    drop(lent);
    drop(handle);
    assert!(place.stored().await.is_empty());
    let counts = Arc::clone(&place.counts);
    let handle = place.lend().await;
    let lent = Lent::new(&handle, &counts);
    assert!(matches!(answers(&lent, &scripts[..1])[0], Ok(Written::Done(_))));
}

#[tokio::test]
async fn a_batch_without_the_write_lock_writes_nothing() {
    let mut place = Place::new().await;
    let counts = Arc::clone(&place.counts);
    let handle = place.lend().await;
    let lent = Lent::new(&handle, &counts);
    lent.plain("BEGIN IMMEDIATE").unwrap();
    // SQLite refuses a second BEGIN of one connection as it refuses that of another one: before it does anything.
    let outcome = run(&lent, &[&put(2, 1)]);
    assert!(matches!(outcome, Batch::NotBegun(_)));
    assert!(!lent.is_in_transaction());
}
