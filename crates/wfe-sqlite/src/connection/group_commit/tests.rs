use super::*;
use crate::{request::Sql, sqlx};

const ONE: Sql<1> = Sql::new("SELECT ?");
const OTHER: Sql<1> = Sql::new("SELECT 1 + ?");

#[test]
fn requests_of_one_shape_go_together_and_those_of_one_key_stay_in_order() {
    let script = |key: &str, sql: &Sql<1>| {
        let mut script = Script::about(key);
        script.add(sql, [1_i64.into()]);
        script
    };
    let scripts =
        [script("a", &ONE), script("b", &OTHER), script("c", &ONE), script("a", &OTHER), script("d", &ONE)];
    let chunks = chunks(&scripts.iter().collect::<Vec<_>>());
    let chunks: Vec<_> = chunks.into_iter().map(|chunk| chunk.requests).collect();
    assert_eq!(chunks, [vec![0, 2], vec![4], vec![1], vec![3]]);
}

const PUT: Sql<2> = Sql::new(
    "INSERT INTO execution_errors (error_time, workflow_id, execution_pointer_id, message) VALUES (?, ?, '', '')",
);
const EVEN: Sql<1> = Sql::new("INSERT INTO execution_errors (error_time) SELECT NULL WHERE ? % 2 = 1");
const TWICE: Sql<1> = Sql::new("INSERT INTO workflows (id) VALUES (?)");

fn put(number: i64, times: i64) -> Script {
    let mut script = Script::about(&number.to_string());
    script.guard(&EVEN, [number.into()]);
    for _ in 0..times {
        script.add(&PUT, [number.into(), "w".into()]);
    }
    script
}

async fn stored(connection: &mut SqliteConnection) -> Vec<i64> {
    sqlx::query_scalar("SELECT DISTINCT error_time FROM execution_errors ORDER BY 1")
        .fetch_all(connection)
        .await
        .unwrap()
}

async fn answers(connection: &mut SqliteConnection, scripts: &[Script]) -> Vec<Answer> {
    let scripts: Vec<_> = scripts.iter().collect();
    match run(connection, &mut Texts::default(), &scripts).await {
        Batch::Answered(answers) => answers,
        _ => panic!("not answered"),
    }
}

#[tokio::test]
async fn a_request_that_fails_spoils_only_itself_whatever_the_size_of_batch_and_request() {
    for (requests, times) in [(1, 1), (2, 1), (7, 2), (70, 1), (5, 50), (1, 50)] {
        let mut connection = crate::file::open::memory().await.unwrap();
        let mut scripts: Vec<_> = (0..requests).map(|number| put(number, times)).collect();
        let mut bad = Script::about("bad");
        bad.add(&PUT, [99.into(), "w".into()]);
        bad.add(&TWICE, ["x".into()]);
        scripts.insert(scripts.len() / 2, bad);
        let answers = answers(&mut connection, &scripts).await;
        let mut expected = Vec::new();
        for (script, answer) in scripts.iter().zip(answers) {
            match (script.statements.len(), answer) {
                (2, Err(WfeError::Storage { .. }))
                    if times != 1 || script.key == Script::about("bad").key => {}
                (_, Ok(Written::Refused(0))) => {}
                (length, Ok(Written::Done(done))) => {
                    assert_eq!(done.len(), length);
                    assert!(done[1..].iter().all(|done| done.changes == 1));
                    expected.push(script.values[0].clone());
                }
                (_, Ok(Written::Refused(other))) => panic!("refused by {other}"),
                (_, Err(error)) => panic!("{error}"),
            }
        }
        let even: Vec<i64> = (0..requests).filter(|number| number % 2 == 0).collect();
        assert_eq!(expected.len(), even.len());
        assert_eq!(stored(&mut connection).await, even, "{requests} requests of {times}");
        // Nothing is left open.
        sqlx::query("BEGIN").execute(&mut connection).await.unwrap();
    }
}

#[tokio::test]
async fn a_full_database_ends_the_batch_and_writes_nothing_of_it() {
    let mut connection = crate::file::open::memory().await.unwrap();
    let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(&mut connection).await.unwrap();
    let limit = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {}", pages + 1));
    sqlx::query(limit).execute(&mut connection).await.unwrap();
    let mut large = Script::about("large");
    large.add(&PUT, [7.into(), "w".repeat(100_000).into()]);
    let scripts = [put(2, 1), large];
    let outcome = run(&mut connection, &mut Texts::default(), &scripts.iter().collect::<Vec<_>>()).await;
    assert!(matches!(outcome, Batch::Ended(error) if error::is_full(&error)));
    assert!(stored(&mut connection).await.is_empty());
    let answers = answers(&mut connection, &scripts[..1]).await;
    assert!(matches!(answers[0], Ok(Written::Done(_))));
}

#[test]
fn sizes_repeat() {
    let sizes = |count, length| {
        sized((0..count).collect(), length).iter().map(|chunk| chunk.requests.len()).collect::<Vec<_>>()
    };
    assert_eq!(sizes(77, 5), [32, 32, 8, 4, 1]);
    assert_eq!(sizes(13, 40), [4, 4, 4, 1]);
    assert_eq!(sizes(2, 1000), [1, 1]);
}
