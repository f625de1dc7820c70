//! Runs prepared statements on a connection of sqlx, in the caller's own thread.
//!
//! sqlx gives each SQLite connection a thread, and sends every statement to that thread. The way there and back takes
//! longer than most statements do. A [`LentHandle`] borrows the connection: sqlx's thread waits, and the caller's thread
//! runs statements on the connection through rusqlite. sqlx opens and configures the connection beforehand, and uses it
//! again, or closes it, after the `LentHandle` was dropped.
//!
//! ```
//! use sqlx::{Connection, SqliteConnection};
//! use wfe_sqlite_handle::LentHandle;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut connection = SqliteConnection::connect(":memory:").await?;
//! {
//!     let lent = LentHandle::of(&mut connection, 16).await?;
//!     let two: i64 = lent.prepare("SELECT 1 + ?")?.query_row([1], |row| row.get(0))?;
//!     assert_eq!(two, 2);
//! }
//! connection.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! A `LentHandle` should be kept for as long as sqlx is not needed. All prepared statements are dropped with it.
//!
//! # Unsafe code
//! This crate contains the only `unsafe` block of WFE, which adopts the handle of the connection. The reasons why it is
//! sound are written beside it, and the tests of this crate check the facts behind these reasons. Miri cannot run C code,
//! so the tests are run under valgrind instead:
//!
//! ```text
//! CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="valgrind --error-exitcode=9" cargo test -p wfe-sqlite-handle --tests
//! ```
//!
//! sqlx and rusqlite use the same SQLite: cargo allows only one crate of a program to link it. The compiler checks this
//! too, because the handle has the same type in both.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use rusqlite::Connection;
use sqlx_core::connection::Connection as _;
use sqlx_sqlite::{LockedSqliteHandle, SqliteConnection};

pub use rusqlite::{
    CachedStatement, Error, Result, Row, Rows, StatementStatus, ToSql,
    types::{ToSqlOutput, ValueRef},
};

/// A connection of sqlx's that is lent to this thread. As long as this value lives, sqlx's own thread waits.
///
/// Only statements are handed out, never rusqlite's `Connection`: no caller can close it, or attach a callback to it that
/// outlives the loan. When the value is dropped, a transaction that is still open is rolled back, and all prepared
/// statements are finalized.
///
/// If the value is leaked (`mem::forget`), sqlx's thread waits for ever. If a statement is leaked, sqlx panics when it closes
/// the connection.
pub struct LentHandle<'c> {
    // Fields are dropped in this order: all statements are finalized before sqlx's thread may continue.
    statements: Connection,
    lock: LockedSqliteHandle<'c>,
    /// Whether a callback is attached, which must not outlive the loan.
    has_end: bool,
}

impl<'c> LentHandle<'c> {
    /// Takes a connection over. At most `capacity` statements stay prepared.
    ///
    /// # Errors
    /// Fails if sqlx's thread has ended.
    #[allow(unsafe_code, reason = "adopting a raw handle is the purpose of this crate")]
    pub async fn of(connection: &'c mut SqliteConnection, capacity: usize) -> Result<Self, sqlx_core::Error> {
        // `lock_handle` asks sqlx's thread by a message to release the mutex. If the mutex happens to be free, the
        // loan begins before the thread has read the message, and the message stays in the thread's bounded queue. Once
        // the queue is full of such messages, `lock_handle` waits for ever. The thread answers a ping after it has read
        // all earlier messages.
        connection.ping().await?;
        let mut lock = connection.lock_handle().await?;
        let handle = lock.as_raw_handle();
        // SAFETY: `from_handle` demands an open connection that nobody else uses or closes while it is used here.
        // - It is open: the lock borrows the `SqliteConnection`, which owns the state whose drop closes the handle. So
        //   neither `close` nor a drop can happen before `lock` is gone, even if sqlx's thread has died.
        // - Nobody else uses it: sqlx uses the handle only on its thread and while that thread holds the mutex, which
        //   is locked here. Every command to that thread needs the connection, which is borrowed. Rows that sqlx has
        //   returned are copies. The mutex orders the memory accesses of the two threads. SQLite is compiled with
        //   THREADSAFE=1, and sqlx opens connections with NOMUTEX: a connection may be used by one thread at a time,
        //   and not always by the same thread.
        // - It is not closed here: rusqlite does not own the handle. Dropping the `Connection` finalizes its statements,
        //   and leaves the handle open. `lock` is declared after it, so the lock is still held at that moment.
        // - If this value is leaked, the lock stays locked: sqlx's thread waits for ever, and does not use the handle.
        let statements = unsafe { Connection::from_handle(handle.as_ptr()) }
            .map_err(|error| sqlx_core::Error::AnyDriverError(Box::new(error)))?;
        statements.set_prepared_statement_cache_capacity(capacity);
        Ok(Self { statements, lock, has_end: false })
    }

    /// Returns the statement with this text. The statement is prepared when it is first used, and stays prepared.
    ///
    /// # Errors
    /// Fails if SQLite refuses the text.
    pub fn prepare(&self, sql: &str) -> Result<CachedStatement<'_>> {
        self.statements.prepare_cached(sql)
    }

    /// From now on, statements fail with `SQLITE_INTERRUPT` while `is_ended` is set: those that run, within about a thousand
    /// steps of SQLite's machine, and those that begin. Another thread may set it at any time. The loan ends it.
    ///
    /// (rusqlite's own handle for interrupts has no effect on a connection that rusqlite does not own.)
    pub fn end_when(&mut self, is_ended: Arc<AtomicBool>) {
        const STEPS: i32 = 1_000;
        self.lock.set_progress_handler(STEPS, move || !is_ended.load(Ordering::Relaxed));
        self.has_end = true;
    }

    /// Whether a transaction is open.
    #[must_use]
    pub fn is_in_transaction(&self) -> bool {
        !self.statements.is_autocommit()
    }

    /// The number of rows that the last statement that changes rows has changed.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.statements.changes()
    }

    /// The row number of the row that was inserted last on this connection.
    #[must_use]
    pub fn last_insert_rowid(&self) -> i64 {
        self.statements.last_insert_rowid()
    }

    /// The number of rows that all statements of the connection have changed, triggers included.
    #[must_use]
    pub fn total_changes(&self) -> u64 {
        self.statements.total_changes()
    }
}

impl Drop for LentHandle<'_> {
    fn drop(&mut self) {
        if self.has_end {
            self.lock.remove_progress_handler();
        }
        // sqlx does not know of the transaction: its next BEGIN would fail.
        if self.is_in_transaction() {
            // A failed ROLLBACK leaves a connection that only its close can help.
            let _ = self.prepare("ROLLBACK").and_then(|mut statement| statement.raw_execute());
        }
    }
}

impl std::fmt::Debug for LentHandle<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LentHandle").finish_non_exhaustive()
    }
}
