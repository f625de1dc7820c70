//! Reads stores of earlier schema versions as they are, without an upgrade.
//!
//! For each table that lacks columns of the current version, the connection gets a temporary view with the name of the table.
//! SQLite looks for a name among the temporary ones first, so every statement reads the view. The view has all columns of the
//! table, and the missing ones with their defaults: what an upgrade would give to the rows. A temporary view belongs to its
//! connection, and nothing of it is in the file.
//!
//! If another program upgrades the file meanwhile, the columns of the table come before those of the view, and are read.

use std::{collections::BTreeMap, fmt::Write, sync::Arc};

use wfe_core::Result;

use super::{UPGRADES, VERSION, connect};
use crate::{
    error,
    sqlx::{self, Connection, Executor, Row, SqliteConnection, sqlite::SqliteConnectOptions},
};

/// The columns of all tables, each with its default.
const COLUMNS: &str = "SELECT t.name, c.name, c.dflt_value FROM sqlite_schema AS t JOIN pragma_table_info(t.name) AS c \
    WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY t.name, c.cid";

type Columns = BTreeMap<String, Vec<(String, Option<String>)>>;

/// Makes the tables of a store of this version look, on this connection, as those of the current version.
pub(crate) async fn adapt(connection: &mut SqliteConnection, version: i64) -> Result<()> {
    if version >= VERSION {
        return Ok(());
    }
    let failed = |error: sqlx::Error| error::storage("reading the schema", &Arc::new(error.into()));
    let found = columns(connection).await.map_err(failed)?;
    for view in views(&found, &current().await.map_err(failed)?) {
        connection.execute(sqlx::AssertSqlSafe(view)).await.map_err(failed)?;
    }
    Ok(())
}

/// The columns of the current version.
async fn current() -> std::result::Result<Columns, sqlx::Error> {
    let mut connection = connect(&SqliteConnectOptions::new().in_memory(true)).await?;
    for upgrade in UPGRADES {
        connection.execute(upgrade).await?;
    }
    let columns = columns(&mut connection).await?;
    connection.close().await?;
    Ok(columns)
}

async fn columns(connection: &mut SqliteConnection) -> std::result::Result<Columns, sqlx::Error> {
    let mut columns = Columns::new();
    for row in connection.fetch_all(COLUMNS).await? {
        let table: String = row.try_get(0)?;
        columns.entry(table).or_default().push((row.try_get(1)?, row.try_get(2)?));
    }
    Ok(columns)
}

/// The statements that create the views. All names come from the schema scripts.
fn views(found: &Columns, current: &Columns) -> Vec<String> {
    let mut views = Vec::new();
    for (table, columns) in current {
        let known = found.get(table).map_or(&[][..], Vec::as_slice);
        let missing = columns.iter().filter(|(name, _)| !known.iter().any(|(known, _)| known == name));
        let mut added = String::new();
        for (name, default) in missing {
            // Writing to a string cannot fail.
            let _ = write!(added, ", {} AS {name}", default.as_deref().unwrap_or("NULL"));
        }
        if !added.is_empty() {
            views.push(format!("CREATE TEMP VIEW {table} AS SELECT t.*{added} FROM main.{table} AS t"));
        }
    }
    views
}

/// The statement for a connection whose tables may be views. A view has no indexes of its own, so the statement names none:
/// SQLite then chooses among the indexes of the table.
pub(crate) fn adapted(text: &str) -> String {
    const HINT: &str = "INDEXED BY ";
    let mut parts = text.split(HINT);
    let mut adapted = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(part.len());
        adapted.push_str(&part[end..]);
    }
    adapted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_for_a_view_names_no_index() {
        for (text, expected) in [
            ("SELECT 1 FROM a", "SELECT 1 FROM a"),
            ("SELECT 1 FROM a INDEXED BY a_b WHERE c", "SELECT 1 FROM a  WHERE c"),
            ("SELECT 1 FROM a INDEXED BY a_1 JOIN b AS c INDEXED BY d", "SELECT 1 FROM a  JOIN b AS c "),
        ] {
            assert_eq!(adapted(text), expected);
        }
    }

    #[tokio::test]
    async fn every_statement_can_be_prepared_on_every_version_that_is_read_as_it_is() {
        for version in super::super::OLDEST_READ..VERSION {
            let mut connection = connect(&SqliteConnectOptions::new().in_memory(true)).await.unwrap();
            for upgrade in UPGRADES.iter().take(usize::try_from(version).unwrap()) {
                connection.execute(*upgrade).await.unwrap();
            }
            adapt(&mut connection, version).await.unwrap();
            for (name, text) in crate::sql::tests::reads() {
                let prepared = sqlx::AssertSqlSafe(adapted(text));
                let prepared = connection.prepare(sqlx::SqlSafeStr::into_sql_str(prepared)).await;
                assert!(prepared.is_ok(), "version {version}, {name}: {:?}", prepared.err());
            }
        }
    }
}
