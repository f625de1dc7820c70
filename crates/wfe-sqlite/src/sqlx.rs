//! What this crate uses of `SQLx`, from the crates that make it up.
//!
//! The facade crate `sqlx` enables the migrations of `sqlx-core`, and with them ten crates that WFE does not need (digests,
//! checksums). `sqlx-core` is used without a runtime: only its pools and its network code need one. A connection to
//! SQLite has a thread of its own.
//!
//! The names here are those of the facade, which re-exports the same items under its promise of compatibility. Only their
//! paths in `sqlx-core` are without such a promise; no other file depends on these paths.

pub(crate) use sqlx_core::{
    connection::{ConnectOptions, Connection},
    error::{Error, Result},
    executor::Executor,
    query::query,
    row::Row,
    // For the views of `schema::earlier`, whose names come from the schema scripts. All other texts are constants.
    sql_str::AssertSqlSafe,
};
#[cfg(test)]
pub(crate) use sqlx_core::{query_scalar::query_scalar, sql_str::SqlSafeStr};
pub(crate) use sqlx_sqlite::{self as sqlite, SqliteConnection};
