#![doc = include_str!("../README.md")]

mod codec;
mod connection;
mod error;
mod file;
mod instance;
mod options;
mod processes;
mod provider;
mod repository;
mod request;
mod schema;
mod sql;
mod step_store;

// Named so that a bundled SQLite with the WAL-reset corruption bug fails to resolve; sqlx is the only way to it.
use libsqlite3_sys as _;

pub use file::sidecar_names::is_sidecar;
pub use options::{BUSY_TIMEOUT, CACHE_BYTES, LEASE, SqliteOptions};
pub use provider::SqlitePersistenceProvider;
