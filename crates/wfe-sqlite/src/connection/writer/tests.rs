use super::*;
use crate::{connection::thread::Timer, file::open, request::Sql, sqlx::Executor};

/// A connection whose thread has ended, because sqlx panics when a column's name is not UTF-8.
async fn crashed() -> SqliteConnection {
    const SPOIL: &str = "CREATE VIEW v AS SELECT 1; PRAGMA writable_schema = ON; \
        UPDATE sqlite_schema SET sql = 'CREATE VIEW v AS SELECT 1 AS a' || CAST(x'ff' AS TEXT) WHERE name = 'v'; \
        PRAGMA writable_schema = RESET";
    let mut connection = open::memory().await.unwrap();
    connection.execute(SPOIL).await.unwrap();
    drop(connection.fetch_all("SELECT * FROM v").await);
    // While the thread unwinds, a message to it is lost, and its sender would wait for ever.
    let wait = Duration::from_millis(20);
    while !matches!(tokio::time::timeout(wait, connection.ping()).await, Ok(Err(_))) {}
    connection
}

fn recovery(options: Option<(SqliteConnectOptions, Sidecars)>) -> Recovery {
    let (cache, busy) = (Arc::new(Cache::new(0)), Duration::from_secs(5));
    Recovery { options, cache, location: ":memory:".to_owned(), busy }
}

fn script() -> Script {
    let mut script = Script::default();
    script.add(&Sql::<0>::new("SELECT count(*) FROM workflows"), []);
    script
}

/// What each kind of call returns.
async fn call(writer: &Writer, call: &str) -> Result<()> {
    match call {
        "read" => writer.read(Caller::Program, script()).await.map(drop),
        "write" => writer.run(script()).await.map(drop),
        _ => writer.ensure().await,
    }
}

const CALLS: [&str; 3] = ["read", "write", "ensure"];

#[tokio::test]
async fn a_database_in_memory_whose_thread_has_ended_is_lost_for_every_call() {
    for first in CALLS {
        let open = async || Ok((crashed().await, None, ChangeSignal::in_memory(), ()));
        let timer = Timer::start().unwrap();
        let (writer, ()) =
            Writer::start(recovery(None), &Arc::default(), timer.runtime().clone(), open).await.unwrap();
        for name in [first, "read", "write", "ensure", "read"] {
            let answer = call(&writer, name).await;
            let Err(WfeError::Unusable { path, .. }) = &answer else { panic!("{first}, {name}: {answer:?}") };
            assert_eq!(path.to_str(), Some(":memory:"));
        }
        writer.close().await;
        assert!(matches!(call(&writer, first).await, Err(WfeError::Closed(_))));
    }
}

#[tokio::test]
async fn a_file_whose_thread_has_ended_is_opened_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    crate::SqlitePersistenceProvider::file(&path).open().await.unwrap().close().await;
    for first in CALLS {
        let options = (open::writing(&path, Duration::ZERO), Sidecars::of(&path).unwrap());
        let open = async || Ok((crashed().await, None, ChangeSignal::in_memory(), ()));
        let timer = Timer::start().unwrap();
        let recovery = recovery(Some(options));
        let (writer, ()) =
            Writer::start(recovery, &Arc::default(), timer.runtime().clone(), open).await.unwrap();
        for name in [first, "write"] {
            call(&writer, name).await.unwrap();
        }
        writer.close().await;
    }
}
