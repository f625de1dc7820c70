//! Named counters in SQLite's own table `sqlite_sequence`. SQLite keeps the contents of this table during a `VACUUM`,
//! so WFE needs no table of its own for counters. The name of each counter contains a colon, so that no counter has the
//! name of a table.

use crate::request::Sql;

/// Creates a counter if it does not exist. (No unique index can be created on `sqlite_sequence`; instead, the writer's
/// transaction prevents duplicates.)
pub(crate) const MAKE: Sql<2> = Sql::new(
    "INSERT INTO sqlite_sequence (name, seq) SELECT ?, 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = ?)",
);

/// Increments a counter and returns the new number.
pub(crate) const NEXT: Sql<1> =
    Sql::new("UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = ? RETURNING seq");

/// All statements of this file, for the tests.
#[cfg(test)]
pub(crate) const ALL: &[(&str, &str)] = &[("MAKE", MAKE.text()), ("NEXT", NEXT.text())];
