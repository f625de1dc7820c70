//! Files as programs of earlier versions left them.

use std::path::Path;

use sqlx::{ConnectOptions, Executor, SqliteConnection, sqlite::SqliteConnectOptions};

/// The scripts that created a store of each earlier version, from the first on.
pub const EARLIER: [&str; 6] = [
    include_str!("../../src/sql/schema.sql"),
    include_str!("../../src/sql/version_2.sql"),
    include_str!("../../src/sql/version_3.sql"),
    include_str!("../../src/sql/version_4.sql"),
    include_str!("../../src/sql/version_5.sql"),
    include_str!("../../src/sql/version_6.sql"),
];

/// A store without rows, as a program of this version left it.
pub async fn empty(version: usize, path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let mut connection = options.connect().await.unwrap();
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; BEGIN").await.unwrap();
    for script in &EARLIER[..version] {
        connection.execute(*script).await.unwrap();
    }
    connection.execute("PRAGMA application_id = 1464223025; COMMIT").await.unwrap();
    let mark = sqlx::AssertSqlSafe(format!("PRAGMA user_version = {version}"));
    connection.execute(mark).await.unwrap();
    connection
}
