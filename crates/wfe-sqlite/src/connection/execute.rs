//! Runs statements on a connection that sqlx has lent to this thread.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, hash_map::Entry},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use wfe_core::logging;
use wfe_sqlite_handle::{CachedStatement, Error, LentHandle};

use crate::{
    metrics,
    request::{Done, Script, Statement, Taken, Value, text_bytes},
    row::{Row, Rows},
    schema,
    sqlx::{self, SqliteConnection},
};

/// The capacity of rusqlite's own cache of statements: more than this crate has. [`Lent`] keeps each statement that it has
/// prepared, so the cache only receives them when the loan ends.
const PREPARED: usize = 256;
/// A prepared statement keeps arguments of at most this many bytes.
const KEPT: usize = 64 << 10;

/// Counts the statements that have run on the connections of one provider, and what was written.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) statements: AtomicU64,
    /// How many of the statements had to be prepared first.
    pub(crate) prepared: AtomicU64,
    /// The number of transactions that were committed, and the number of rows that they have changed.
    pub(crate) commits: AtomicU64,
    pub(crate) rows: AtomicU64,
}

/// Takes a connection over from sqlx, until the handle is dropped.
pub(crate) async fn lend(connection: &mut SqliteConnection) -> Result<LentHandle<'_>, sqlx::Error> {
    logging::unlogged(LentHandle::of(connection, PREPARED)).await
}

/// A connection that is lent to this thread, and its prepared statements.
pub(crate) struct Lent<'h> {
    handle: &'h LentHandle<'h>,
    /// By the address of the text: all texts are constants of this crate, and most are longer than it pays to hash. If the
    /// compiler has stored a text twice, the statement is prepared twice.
    prepared: RefCell<HashMap<(usize, usize), CachedStatement<'h>>>,
    counts: Arc<Counts>,
    /// Whether the tables are views on those of an earlier schema version (see [`schema::earlier`]).
    is_of_earlier_version: bool,
    /// How long the last COMMIT took.
    commit_time: Cell<metrics::Time>,
}

impl<'h> Lent<'h> {
    pub(crate) fn new(handle: &'h LentHandle<'h>, counts: &Arc<Counts>) -> Self {
        Self {
            handle,
            prepared: RefCell::default(),
            counts: Arc::clone(counts),
            is_of_earlier_version: false,
            commit_time: Cell::default(),
        }
    }

    /// The same connection, of which the tables are views on those of an earlier schema version if `is_of_earlier_version`.
    pub(crate) fn of_earlier_version(self, is_of_earlier_version: bool) -> Self {
        Self { is_of_earlier_version, ..self }
    }

    pub(crate) fn is_in_transaction(&self) -> bool {
        self.handle.is_in_transaction()
    }

    /// The number of rows that all statements of this connection have changed.
    pub(crate) fn total_changes(&self) -> u64 {
        self.handle.total_changes()
    }

    /// A number that changes if another connection has committed since this connection last asked for the number.
    pub(crate) fn data_version(&self) -> Result<i64, Error> {
        self.with("PRAGMA data_version", |prepared| prepared.query_row([], |row| row.get(0)))
    }

    /// Counts a transaction that was committed. `before` is the number of changes before it; the timer was started just
    /// before the COMMIT.
    pub(crate) fn has_committed(&self, before: u64, timer: metrics::Timer) {
        let rows = self.total_changes() - before;
        self.commit_time.set(metrics::synced(timer, rows > 0));
        self.counts.commits.fetch_add(1, Relaxed);
        self.counts.rows.fetch_add(rows, Relaxed);
    }

    /// How long the COMMIT took that was made since this was last called, if there was one that has written.
    pub(crate) fn take_commit_time(&self) -> metrics::Time {
        self.commit_time.take()
    }

    /// Runs a statement that has no arguments and returns no rows.
    pub(crate) fn plain(&self, text: &'static str) -> Result<(), Error> {
        self.with(text, |prepared| prepared.raw_execute().map(drop))
    }

    /// Runs a statement, and collects its rows.
    pub(crate) fn run(&self, statement: &Statement, values: &[Value]) -> Result<Done, Error> {
        self.run_taking(statement, values, |_| Taken::Collect)
    }

    /// Like [`run`](Self::run), but collects only the rows for which `keep` says so.
    fn run_taking(
        &self,
        statement: &Statement,
        values: &[Value],
        mut keep: impl FnMut(Row<'_>) -> Taken,
    ) -> Result<Done, Error> {
        let rows = self.with(statement.text, |prepared| {
            for (at, value) in values.iter().enumerate() {
                prepared.raw_bind_parameter(at + 1, value)?;
            }
            let (columns, mut rows) = (prepared.column_count(), Rows::default());
            // `PRAGMA incremental_vacuum` has no columns, and pauses after each page as after a row.
            if columns == 0 && !statement.text.starts_with("PRAGMA") {
                prepared.raw_execute()?;
            } else {
                let mut found = prepared.raw_query();
                while let Some(row) = found.next()? {
                    if rows.push(row, columns, &mut keep)? == Taken::End {
                        break;
                    }
                }
            }
            if text_bytes(values) > KEPT {
                // The statement keeps its arguments until it runs again.
                prepared.clear_bindings();
            }
            Ok(rows)
        })?;
        Ok(Done { changes: self.handle.changes(), inserted: self.handle.last_insert_rowid(), rows })
    }

    /// Runs a script of reads. Several reads run in one transaction, so that they all see the same commit.
    pub(crate) fn read(&self, script: &mut Script) -> Result<Vec<Done>, Error> {
        let timer = metrics::Timer::start();
        let done = self.read_snapshot(script);
        metrics::read(timer);
        done
    }

    fn read_snapshot(&self, script: &mut Script) -> Result<Vec<Done>, Error> {
        if script.statements.len() <= 1 {
            return self.read_all(script);
        }
        self.plain("BEGIN")?;
        let done = self.read_all(script).and_then(|done| self.plain("COMMIT").map(|()| done));
        if self.is_in_transaction() {
            // The error of the read is more useful than an error of the ROLLBACK.
            let _ = self.plain("ROLLBACK");
        }
        done
    }

    fn read_all(&self, script: &mut Script) -> Result<Vec<Done>, Error> {
        let (mut values, mut done) = (&script.values[..], Vec::with_capacity(script.statements.len()));
        for (at, statement) in script.statements.iter().enumerate() {
            let (own, rest) = values.split_at(statement.parameters);
            values = rest;
            done.push(match &mut script.take {
                None => self.run(statement, own)?,
                Some(take) => self.run_taking(statement, own, |row| take(at, row))?,
            });
        }
        Ok(done)
    }

    /// Calls `act` with the prepared statement. A statement is prepared when it is first used.
    fn with<T>(
        &self,
        text: &'static str,
        act: impl FnOnce(&mut CachedStatement<'h>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        // No `act` runs another statement.
        let mut all = self.prepared.borrow_mut();
        let statement = match all.entry((text.as_ptr().addr(), text.len())) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let prepared = if self.is_of_earlier_version {
                    self.handle.prepare(&schema::earlier::adapted(text))?
                } else {
                    self.handle.prepare(text)?
                };
                self.counts.prepared.fetch_add(1, Relaxed);
                entry.insert(prepared)
            }
        };
        self.counts.statements.fetch_add(1, Relaxed);
        act(statement)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{file::open, request::Sql};

    const MANY: &str = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1000) \
        SELECT n, hex(zeroblob(500)) FROM n";

    #[tokio::test]
    async fn a_row_that_is_taken_is_not_kept() {
        let mut connection = open::memory().await.unwrap();
        let handle = lend(&mut connection).await.unwrap();
        let lent = Lent::new(&handle, &Arc::default());
        let mut script = Script::default();
        script.add(&Sql::<0>::new(MANY), []);
        script.add(&Sql::<1>::new("SELECT ?"), ["a".into()]);
        let sum = Arc::new(AtomicU64::new(0));
        let taken = Arc::clone(&sum);
        script.take = Some(Box::new(move |at, row| {
            taken.fetch_add(row.get::<i64>(0).map_or(0, i64::unsigned_abs), Relaxed);
            match row.get::<i64>(0) {
                Ok(600) => Taken::End,
                number => Taken::collect_if(at == 1 || number.is_ok_and(|number| number == 500)),
            }
        }));
        let done = lent.read(&mut script).unwrap();
        assert_eq!(sum.load(Relaxed), 600 * 601 / 2, "the statement has ended with row 600");
        assert_eq!(done[0].rows.iter().map(|row| row.get::<i64>(0).unwrap()).collect::<Vec<_>>(), [500]);
        assert_eq!(done[1].rows.first().unwrap().get::<&str>(0).unwrap(), "a");
    }

    #[tokio::test]
    async fn a_read_that_fails_leaves_no_transaction_open() {
        let mut connection = open::memory().await.unwrap();
        let handle = lend(&mut connection).await.unwrap();
        let lent = Lent::new(&handle, &Arc::default());
        let mut script = Script::default();
        script.add(&Sql::<0>::new(MANY), []);
        script.add(&Sql::<0>::new("SELECT nothing"), []);
        assert!(lent.read(&mut script).is_err());
        assert!(!lent.is_in_transaction());
        script.statements.pop();
        assert_eq!(lent.read(&mut script).unwrap()[0].rows.iter().count(), 1000);
    }
}
