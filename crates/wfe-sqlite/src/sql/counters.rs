//! Named counters, kept in SQLite's own `sqlite_sequence`, which survives VACUUM and needs no table of ours. A name of
//! ours has a colon in it, so that it never meets a table's.

use crate::request::Sql;

/// Makes a counter, if it is not there. (`sqlite_sequence` can have no unique index; the writer's transaction makes
/// this safe.)
pub(crate) const MAKE: Sql<2> = Sql::new(
    "INSERT INTO sqlite_sequence (name, seq) SELECT ?, 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = ?)",
);

/// Draws the next number.
pub(crate) const NEXT: Sql<1> =
    Sql::new("UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = ? RETURNING seq");

/// All of them, for the tests.
#[cfg(test)]
pub(crate) const ALL: &[(&str, &str)] = &[("MAKE", MAKE.text()), ("NEXT", NEXT.text())];
