//! Every statement, one file a table, and the reasons for its form. The schema is `schema.sql`.
//!
//! A statement called a *guard* inserts a NULL where none may be, exactly if its condition does not hold: so a script
//! of many statements stops at an expected miss without a round trip, and SQLite undoes nothing but the script.

/// A guard: fails unless `$condition` holds. It would insert into the table with the fewest indexes.
macro_rules! guard {
    ($condition:expr) => {
        concat!("INSERT INTO execution_errors (error_time) SELECT NULL WHERE NOT (", $condition, ")")
    };
}

pub(crate) mod commands;
pub(crate) mod counters;
pub(crate) mod errors;
pub(crate) mod events;
pub(crate) mod ownership;
pub(crate) mod pointers;
pub(crate) mod streams;
pub(crate) mod subscriptions;
pub(crate) mod workflows;
