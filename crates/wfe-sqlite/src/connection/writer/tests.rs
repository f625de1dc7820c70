use super::*;
use crate::{file::open, request::Sql, sqlx::Executor};

/// This query ends the thread of the connection that executes it, because sqlx panics when a column's name is
/// not UTF-8.
const ENDS: Sql<0> = Sql::new("SELECT * FROM v");

async fn spoiled() -> SqliteConnection {
    const SPOIL: &str = "CREATE VIEW v AS SELECT 1; PRAGMA writable_schema = ON; \
        UPDATE sqlite_schema SET sql = 'CREATE VIEW v AS SELECT 1 AS a' || CAST(x'ff' AS TEXT) WHERE name = 'v'; \
        PRAGMA writable_schema = RESET";
    let mut connection = open::memory().await.unwrap();
    connection.execute(SPOIL).await.unwrap();
    connection
}

#[tokio::test]
async fn a_database_in_memory_whose_thread_has_ended_is_lost_for_every_call() {
    for first in ["read", "write"] {
        let (cache, busy) = (Arc::new(Cache::new(0)), Duration::from_secs(5));
        let recovery = Recovery { options: None, cache, location: ":memory:".to_owned(), busy };
        let open = async || Ok((spoiled().await, None, ChangeSignal::in_memory(), ()));
        let (writer, ()) = Writer::start(recovery, open).await.unwrap();
        for call in [first, "read", "write", "ensure", "read"] {
            let mut script = Script::default();
            script.add(&ENDS, []);
            let answer = match call {
                "read" => writer.read(Caller::Program, script).await.map(drop),
                "write" => writer.run(script).await.map(drop),
                _ => writer.ensure().await,
            };
            let Err(WfeError::Unusable { path, .. }) = &answer else { panic!("{first}, {call}: {answer:?}") };
            assert_eq!(path.to_str(), Some(":memory:"));
        }
        writer.close().await;
    }
}
