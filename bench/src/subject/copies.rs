//! Copies of stored rows, made in the file: a million instances in seconds.

use std::{
    thread,
    time::{Duration, Instant},
};

use rusqlite::{Connection, named_params};
use wfe_bench_workloads::{Done, Place};

/// How long other connections to a file may take to close.
const PATIENCE: Duration = Duration::from_secs(10);

/// The rows of one object in one table, and what is different in a copy of them.
pub struct Rows {
    pub table: &'static str,
    /// A condition for the rows, in which `:id` is the id of the object.
    pub of: &'static str,
    /// Columns and their values in a copy. `nth` is the number of the copy, from 1; `base` the [`Object::base`].
    pub replaced: &'static [(&'static str, &'static str)],
    /// Columns that SQLite fills.
    pub omitted: &'static [&'static str],
}

/// An object that is stored in several tables.
pub struct Object {
    /// A query for a number from which the copies can count up.
    pub base: &'static str,
    pub rows: &'static [Rows],
}

/// Makes so many copies of an object.
pub fn multiply(place: &Place, id: &str, copies: usize, object: &Object) -> Done {
    let file = Connection::open(place.on_disk()?)?;
    leave_log(&file)?;
    // A crash would lose the file; then the run fails. Copies of this size need no journal.
    file.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")?;
    let base: i64 = file.query_row(object.base, [], |row| row.get(0))?;
    file.execute_batch("BEGIN")?;
    // All originals are set apart before the first copy exists.
    for (number, rows) in object.rows.iter().enumerate() {
        let sql =
            format!("CREATE TEMP TABLE rows_{number} AS SELECT * FROM {} WHERE {}", rows.table, rows.of);
        file.execute(&sql, named_params! { ":id": id })?;
    }
    for (number, rows) in object.rows.iter().enumerate() {
        let columns = columns(&file, rows)?;
        let value = |column: &String| {
            let replaced = rows.replaced.iter().find(|(name, _)| name == column);
            replaced.map_or_else(|| column.clone(), |(_, value)| (*value).to_owned())
        };
        let values: Vec<String> = columns.iter().map(value).collect();
        let sql = format!(
            "INSERT INTO {} ({}) WITH RECURSIVE copy (nth) AS \
               (SELECT 1 UNION ALL SELECT nth + 1 FROM copy WHERE nth < :copies) \
             SELECT {} FROM copy CROSS JOIN temp.rows_{number}, (SELECT :base AS base)",
            rows.table,
            columns.join(", "),
            values.join(", "),
        );
        file.execute(&sql, named_params! { ":copies": i64::try_from(copies)?, ":base": base })?;
    }
    file.execute_batch("COMMIT; PRAGMA journal_mode = WAL")?;
    let faults: String = file.query_row("PRAGMA quick_check", [], |row| row.get(0))?;
    if faults != "ok" {
        return Err(format!("the copies are broken: {faults}").into());
    }
    file.close().map_err(|(_, error)| error)?;
    // Otherwise the first run would pay for writing the copies to the disk.
    Ok(std::fs::File::open(place.on_disk()?)?.sync_all()?)
}

/// Switches the write-ahead log off, which needs the file alone. Connections of a subject that was just closed may take a moment
/// to go.
fn leave_log(file: &Connection) -> Done {
    let until = Instant::now() + PATIENCE;
    loop {
        let mode = file.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get::<_, String>(0));
        if mode.as_deref() == Ok("delete") {
            return Ok(());
        }
        if Instant::now() >= until {
            return Err(format!("the file stays in use: {mode:?}").into());
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn columns(file: &Connection, rows: &Rows) -> Done<Vec<String>> {
    let mut statement = file.prepare("SELECT name FROM pragma_table_info(?1)")?;
    let names: Vec<String> =
        statement.query_map([rows.table], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for (column, _) in rows.replaced {
        if !names.iter().any(|name| name == column) {
            return Err(format!("{} has no column {column}", rows.table).into());
        }
    }
    Ok(names.into_iter().filter(|name| !rows.omitted.contains(&name.as_str())).collect())
}

/// The answer of a query that counts.
pub fn count(place: &Place, query: &str) -> Done<usize> {
    let file = Connection::open(place.on_disk()?)?;
    let count: i64 = file.query_row(query, [], |row| row.get(0))?;
    Ok(usize::try_from(count)?)
}

/// The answer of a query with two columns: a number that is stored as text, and an integer.
pub fn pairs(place: &Place, query: &str) -> Done<Vec<(u64, i64)>> {
    let file = Connection::open(place.on_disk()?)?;
    let mut statement = file.prepare(query)?;
    let pairs = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))?;
    pairs.map(|pair| pair.map_err(Into::into).and_then(|(text, time)| Ok((text.parse()?, time)))).collect()
}
